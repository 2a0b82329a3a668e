package ledger

import (
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// restored has those scripts count as run, and those versions as live, that did when the snapshot
// was taken which a restore has put back: nobody knows more than the data does. What has run since
// is void, and what was void only because of what has happened since counts again. Nothing is
// removed.
func (b *Book) restored(s rollout.State) {
	want := make(map[rollout.RanIn]bool)
	for _, ran := range s.Restore.Ran {
		want[ran] = true
	}
	counts := make(map[uint64]bool)
	for e := range b.entries.backward() {
		ran := rollout.RanIn{Name: e.Name, Version: e.Version, Phase: e.Phase, Rollout: e.Rollout}
		counts[e.Sequence] = counts[e.Sequence] || want[ran]
		delete(want, ran) // the newest entry of each
	}
	why := restoredBy(s.ID)
	b.entries = b.entries.change(b.sequence,
		func(e Entry) bool { return counts[e.Sequence] != (e.Void == "") },
		func(e *Entry) {
			if e.Void == "" {
				e.Void = why
			} else {
				e.Void = ""
			}
		})
	b.liveAgain(s, why)
	b.findHighest()
}

// liveAgain has the versions up to the one count as live that was so when the snapshot was taken,
// and none after it. Those before it count again that a restore since has made void; those that
// were taken backward since do not.
func (b *Book) liveAgain(s rollout.State, why string) {
	live := make(map[string]bool) // by rollout
	before := s.Restore.Live != ""
	for _, v := range b.versions.all() {
		live[v.Rollout] = before && (v.Void == "" || v.Rollout == s.Restore.Live || voidSince(v.Void, s.Restore.Snapshot))
		before = before && v.Rollout != s.Restore.Live
	}
	b.versions = b.versions.change(b.sequence,
		func(v AppVersion) bool { return live[v.Rollout] != (v.Void == "") },
		func(v *AppVersion) {
			if v.Void == "" {
				v.Void = why
			} else {
				v.Void = ""
			}
		})
}

const restoredText = " has put back what was before"

func restoredBy(id string) string { return "rollout " + id + restoredText }

// voidSince reports whether something is void because of a restore that has begun since a snapshot
// was taken: ids of both begin with the time.
func voidSince(why, snapshot string) bool {
	id, restored := strings.CutSuffix(why, restoredText)
	id, _ = strings.CutPrefix(id, "rollout ")
	return restored && id >= snapshot
}
