package ledger

import (
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Book is what has run for one app, as of one sequence of the journal. It never changes:
// [Index.Book] gives the next one.
type Book struct {
	app      string
	sequence uint64
	entries  list[Entry]
	versions list[AppVersion]
	skips    []string
	highest  string           // of the versions that are not void
	changed  string           // the rollout that has run or moved something last
	last     rollout.Position // the event at sequence; zero where an older version has stored the book
}

// Ran reports whether a script has run and counts as run.
func (b *Book) Ran(script protocol.Script) (rollout.Ran, bool) {
	for e := range b.entries.backward() {
		if e.Void == "" && e.Script() == script {
			return rollout.Ran{Rollout: e.Rollout, At: e.At}, true
		}
	}
	return rollout.Ran{}, false
}

// Entries lists the entries, oldest first; those that no longer count too.
func (b *Book) Entries() []Entry { return b.entries.all() }

// Versions lists the completed rollouts, oldest first; those that were taken backward
// later too. Those that have only repeated the one before them are left out, or void.
func (b *Book) Versions() []AppVersion { return b.versions.all() }

// Highest is the highest version of the app, as SemVer orders them, that was completed and
// not taken backward since; empty when there is none.
func (b *Book) Highest() string { return b.highest }

// Brought gives the last completed rollout of a version of the app, beside that with an id, also
// if it was taken backward since; false when there is none.
func (b *Book) Brought(version, besides string) (AppVersion, bool) {
	for v := range b.versions.backward() {
		if v.Version == version && v.Rollout != besides {
			return v, true
		}
	}
	return AppVersion{}, false
}

// Completed reports whether a version of the app was completed and not taken backward since.
func (b *Book) Completed(version string) bool {
	for v := range b.versions.backward() {
		if v.Void == "" && v.Version == version {
			return true
		}
	}
	return false
}

// Skips lists the versions of the app over which no rollout may jump, in the order in
// which releases named them.
func (b *Book) Skips() []string { return slices.Clone(b.skips) }

// LastChange is the rollout that has run or moved something last; empty: none has, or the book
// was stored by a version that did not note it.
func (b *Book) LastChange() string { return b.changed }

// Sequence is that of the newest event of the app that the book has taken in; 0 for none.
func (b *Book) Sequence() uint64 { return b.sequence }

// apply is the book after the event of its app at sequence. An event that it knows
// already changes nothing.
func (b *Book) apply(s rollout.State, sequence uint64) *Book {
	if sequence <= b.sequence {
		return b
	}
	next := *b
	next.sequence, next.last = sequence, rollout.PositionOf(s, sequence)
	if !s.Idle() {
		next.changed = s.ID
	}
	if s.Restore != nil {
		if s.Status == rollout.Completed {
			next.restored(s)
		}
		return &next
	}
	switch s.Event.Type {
	case rollout.Created, rollout.Enqueued:
		next.mustNotSkip(s.Release.MustNotSkip)
	case rollout.StepAnswered:
		if step, known := s.Step(s.Event.Step); known && step.Kind == rollout.Migration {
			next.answered(s, step)
		}
	case rollout.Opened:
		if step, known := s.Step(s.Event.Step); known {
			next.opened(s, step)
		}
	case rollout.MarkedRun:
		if s.Mark != nil {
			next.marked(s)
		}
	}
	switch s.Status {
	case rollout.Completed:
		next.completed(s)
	case rollout.Superseded, rollout.Aborted:
		next.ended(s, preparing, "rollout "+s.ID+" did not complete")
	case rollout.Reverted:
		next.ended(s, func(protocol.Phase) bool { return true }, "rollout "+s.ID+" was reverted")
	}
	return &next
}

func (b *Book) mustNotSkip(versions []string) {
	for _, v := range versions {
		if !slices.Contains(b.skips, v) {
			b.skips = append(slices.Clone(b.skips), v)
		}
	}
}

// answered records a script that has run, or that what it had done has been undone.
func (b *Book) answered(s rollout.State, step rollout.Step) {
	if step.Status == rollout.StepReverted {
		b.void(func(e Entry) bool { return e.Rollout == s.ID && e.Script() == step.ScriptID() }, "reverted by rollout "+s.ID)
		return
	}
	if step.Script.Records {
		b.amended(s, step)
		return
	}
	e := Entry{
		App: b.app, Name: step.Name, Version: step.Version, Phase: step.Script.Phase,
		Rollout: s.ID, Sequence: b.sequence, By: short(s.By), At: s.Event.At,
	}
	if s.Event.Answer != nil {
		e.Digest, e.Items, e.PutAside = short(s.Event.Answer.Digest), s.Event.Answer.Items, s.Event.Answer.PutAside
	}
	if step.Ended.Equal(s.Event.At) { // else its revert has begun with the same event
		e.Duration = rollout.Duration(step.Ended.Sub(step.Started))
	}
	b.record(e, "run again in rollout "+s.ID)
}

// amended brings the entry of a script up to date that has dealt with records it had put
// aside. The script has not run again: when it ran, in which build, and whether that
// counts, stays.
func (b *Book) amended(s rollout.State, step rollout.Step) {
	b.entries = b.entries.change(b.sequence,
		func(e Entry) bool { return e.Rollout == s.ID && e.Script() == step.ScriptID() },
		func(e *Entry) { e.Items, e.PutAside = step.Script.Items, step.Script.PutAside })
}

func (b *Book) marked(s rollout.State) {
	b.record(Entry{
		App: b.app, Name: s.Mark.Name, Version: s.Mark.Version, Phase: s.Mark.Phase,
		Rollout: s.ID, Sequence: b.sequence, By: short(s.Event.By), Reason: short(s.Event.Reason), Marked: true, At: s.Event.At,
	}, "recorded by hand as run, in "+s.ID)
}

// record adds an entry in the place of those of the same script.
func (b *Book) record(e Entry, why string) {
	b.void(func(other Entry) bool { return other.Script() == e.Script() }, why)
	b.entries = b.entries.add(e, b.sequence)
}

// opened voids what prepared the versions that are offline from now on: the version
// that took over writes data that they have not seen.
func (b *Book) opened(s rollout.State, step rollout.Step) {
	b.void(func(e Entry) bool {
		return e.Name == step.Name && (step.Move.Drain || e.Version != step.Version) && preparing(e.Phase)
	},
		"taken offline by rollout "+s.ID)
}

// completed notes the version once: a completed rollout may have further events. One that has
// only repeated another has brought none, and is noted for its manifest alone, if that is
// another one.
func (b *Book) completed(s rollout.State) {
	for v := range b.versions.backward() {
		if v.Rollout == s.ID {
			return
		}
	}
	v := AppVersion{Version: s.Release.Version, Digest: s.Release.Digest, Rollout: s.ID, At: s.Ended, Sequence: b.sequence}
	if s.IsRepeat() {
		if last, known := b.Brought(v.Version, v.Rollout); !known || last.Digest == v.Digest {
			return
		}
		v.Void = "it only repeated rollout " + s.Repeats
	}
	b.versions = b.versions.add(v, b.sequence)
	if v.Void == "" {
		b.rise(v.Version)
	}
}

// rise makes a version the highest, if it is.
func (b *Book) rise(version string) {
	if b.highest == "" || Older(b.highest, version) {
		b.highest = version
	}
}

// Older reports whether a version comes before another, as SemVer orders them. What is no
// version is not older, and nothing is older than that.
func Older(version, than string) bool {
	return protocol.ValidateVersion(version) == nil && rollout.CompareVersions(version, than) < 0
}

// ended voids what a rollout ran in these phases that has come to another end than it
// should have, and its version, if it had been completed before. A gate that it was
// opening may have been open for a while.
func (b *Book) ended(s rollout.State, phases func(protocol.Phase) bool, why string) {
	b.void(func(e Entry) bool { return e.Rollout == s.ID && phases(e.Phase) }, why)
	b.versions = b.versions.change(b.sequence,
		func(v AppVersion) bool { return v.Void == "" && v.Rollout == s.ID }, func(v *AppVersion) { v.Void = why })
	if s.Release.Version == b.highest {
		b.findHighest()
	}
	for _, step := range s.All() {
		if step.Kind == rollout.Traffic && step.Attempt > 0 {
			b.opened(s, step)
		}
	}
}

func (b *Book) findHighest() {
	b.highest = ""
	for v := range b.versions.backward() {
		if v.Void == "" {
			b.rise(v.Version)
		}
	}
}

func (b *Book) void(which func(Entry) bool, why string) {
	b.entries = b.entries.change(b.sequence,
		func(e Entry) bool { return e.Void == "" && which(e) }, func(e *Entry) { e.Void = why })
}

// preparing reports whether the phase readies data for a version that is not online.
func preparing(p protocol.Phase) bool { return p == protocol.Before || p == protocol.Offline }

// maxText is how many bytes of a text that somebody else has written are kept.
const maxText = 400

func short(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "")
}

// After is the book as it would be if what led to s were the app's next event. The ledger
// itself does not change.
func (b *Book) After(s rollout.State) *Book { return b.apply(s, b.sequence+1) }

// Live lists the completed rollouts that were not taken backward since, oldest first.
func (b *Book) Live() []AppVersion {
	return slices.DeleteFunc(b.Versions(), func(v AppVersion) bool { return v.Void != "" })
}
