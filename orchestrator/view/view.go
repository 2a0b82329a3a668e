// Package view holds the open rollouts as the journal tells them, and what was observed of
// their running attempts, and it has the one way of changing a rollout: load, decide, append,
// take in. All that is kept in memory here is an index over the journal or a mere observation:
// losing it loses nothing.
package view

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// View is the open rollouts, and what was observed of their running attempts. Make it with
// [New]; it is safe for concurrent use.
type View struct {
	mu       sync.Mutex
	open     map[string]*viewed // by rollout
	followed uint64             // the sequence that the journal was followed to
	further  chan struct{}      // closed and replaced when it is followed further
	apps     map[string]*viewedApp
	ended    map[string]uint64 // rollouts whose end the journal was not followed to yet: its sequence
	last     rollout.Position  // of the newest event that was taken in
}

// viewedApp is what is known here of an app.
type viewedApp struct {
	newest uint64             // sequence of its newest known event
	open   map[string]*viewed // by rollout
	unread string             // a rollout of which an event cannot be read here; empty: none
	ended  string             // the rollout that ended last, as far as is known here; empty: none
	asked  string             // which request had that one go further; empty: none
	last   journal.Record     // the newest one of that rollout
}

type viewed struct {
	record  journal.Record
	recent  []journal.Record     // the last ones, up to record, without a gap
	steps   map[string]*Observed // by attempt
	changed chan struct{}        // closed and replaced when the record is
}

// New makes a view that knows of no rollout.
func New() *View {
	return &View{
		open: make(map[string]*viewed), further: make(chan struct{}),
		apps: make(map[string]*viewedApp), ended: make(map[string]uint64),
	}
}

// Track takes in the journal's next event, and forgets a rollout that is final.
func (x *View) Track(r journal.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.set(r)
}

// Followed says that everything up to sequence has been taken in, here and elsewhere.
func (x *View) Followed(sequence uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.followed = sequence
	maps.DeleteFunc(x.ended, func(_ string, end uint64) bool { return end <= sequence })
	close(x.further)
	x.further = make(chan struct{})
}

// reached reports whether everything up to sequence has been taken in, and gives a
// channel that is closed when more is.
func (x *View) reached(sequence uint64) (bool, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.followed >= sequence, x.further
}

// Reach blocks until everything up to sequence has been taken in.
func (x *View) Reach(ctx context.Context, sequence uint64) error {
	for {
		reached, further := x.reached(sequence)
		if reached {
			return nil
		}
		select {
		case <-further:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// NewestOf is the sequence of the newest known event of an app; 0 when none is known.
func (x *View) NewestOf(app string) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.apps[app]; known != nil {
		return known.newest
	}
	return 0
}

// Meet takes in an event that whoever follows the journal may not have come to yet.
func (x *View) Meet(r journal.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if r.Sequence > x.followed {
		x.set(r)
	}
}

// Last is the newest event that was taken in here, also where the journal was not followed to it
// yet.
func (x *View) Last() rollout.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.last
}

func (x *View) set(r journal.Record) {
	if r.Sequence > x.last.Sequence {
		x.last = rollout.PositionOf(r.State, r.Sequence)
	}
	name := r.State.Release.App
	if x.apps[name] == nil {
		x.apps[name] = &viewedApp{open: make(map[string]*viewed)}
	}
	app := x.apps[name]
	app.newest = max(app.newest, r.Sequence)
	if r.Sequence < x.ended[r.State.ID] {
		return // it comes late
	}
	found := x.open[r.State.ID]
	if found == nil {
		found = &viewed{steps: make(map[string]*Observed), changed: make(chan struct{})}
		x.open[r.State.ID], app.open[r.State.ID] = found, found
	}
	if r.Sequence > found.record.Sequence {
		found.take(r)
	}
	if r.State.Status.Final() {
		delete(x.open, r.State.ID)
		delete(app.open, r.State.ID)
		app.ended, app.asked = r.State.ID, r.State.Asked
		app.last = r
		if r.Sequence > x.followed {
			x.ended[r.State.ID] = r.Sequence
		}
	}
}

// Forget takes out a rollout of which an event cannot be read here.
func (x *View) Forget(r journal.Record) {
	x.mu.Lock()
	defer x.mu.Unlock()
	name := r.State.Release.App
	if x.apps[name] == nil {
		x.apps[name] = &viewedApp{open: make(map[string]*viewed)}
	}
	app := x.apps[name]
	app.newest, app.unread = max(app.newest, r.Sequence), r.State.ID
	delete(app.open, r.State.ID)
	if found := x.open[r.State.ID]; found != nil {
		close(found.changed)
		found.changed = make(chan struct{})
		delete(x.open, r.State.ID)
	}
}

// Readable is [rollout.ErrUnknown] if an app has a rollout that cannot be read here: nothing
// else of the app may begin then.
func (x *View) Readable(app string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if known := x.apps[app]; known != nil && known.unread != "" {
		return fmt.Errorf("rollout %s of %s is %w", known.unread, app, rollout.ErrUnknown)
	}
	return nil
}

// AskedOf is the request that had a rollout go further that has ended, empty if none had; false
// says that it is not known here.
func (x *View) AskedOf(app, id string) (request string, known bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if a := x.apps[app]; a != nil && a.ended == id {
		return a.asked, true
	}
	return "", false
}

// LeftBehind lists what the rollout of an app has left behind that ended last, see
// [rollout.State.LeftBehind]; false says that it is not known here.
func (x *View) LeftBehind(app, id string) (left []rollout.AttemptID, known bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if a := x.apps[app]; a != nil && a.ended == id {
		return a.last.State.LeftBehind(), true
	}
	return nil, false
}

// Newest is the newest known state of an open rollout.
func (x *View) Newest(id string) (journal.Record, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.open[id]
	if found == nil {
		return journal.Record{}, false
	}
	return found.record, true
}

// newsPatience is how long an event of somebody else is waited for, until the leader is asked.
const newsPatience = 250 * time.Millisecond

// AwaitNewer gives the rollout once it is known here with an event after the one at a sequence;
// false when that takes too long.
func (x *View) AwaitNewer(ctx context.Context, id string, sequence uint64) (journal.Record, bool) {
	late := time.NewTimer(newsPatience)
	defer late.Stop()
	for {
		x.mu.Lock()
		found := x.open[id]
		if found == nil {
			x.mu.Unlock()
			return journal.Record{}, false
		}
		r, changed := found.record, found.changed
		x.mu.Unlock()
		if r.Sequence > sequence {
			return r, true
		}
		select {
		case <-changed:
		case <-late.C:
			return journal.Record{}, false
		case <-ctx.Done():
			return journal.Record{}, false
		}
	}
}

// AwaitChange blocks until an open rollout has an event after the one at a sequence, or is no
// longer open, or ctx ends. It gives the records from the one at the sequence on, if they are
// remembered here: those of the last few events are. Whoever has seen that the rollout is open
// says so: it may have ended since. One that is not open may become so again.
func (x *View) AwaitChange(ctx context.Context, id string, sequence uint64, open bool) []journal.Record {
	var was *viewed
	for {
		x.mu.Lock()
		found, changed := x.open[id], x.further
		if found != nil {
			was, changed = found, found.changed
		}
		if was != nil && (found == nil || found.record.Sequence > sequence) {
			defer x.mu.Unlock()
			return was.since(sequence)
		}
		x.mu.Unlock()
		if open && found == nil {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil
		}
	}
}

// since gives the remembered records from the one at a sequence on; none if that one is not
// remembered. The caller holds the view.
func (v *viewed) since(sequence uint64) []journal.Record {
	i := slices.IndexFunc(v.recent, func(r journal.Record) bool { return r.Sequence == sequence })
	if i < 0 {
		return nil
	}
	return slices.Clone(v.recent[i:])
}

// maxRecent is how many events of an open rollout are remembered for those who follow it.
const maxRecent = 64

// take takes in a newer record. The caller holds the view.
func (v *viewed) take(r journal.Record) {
	switch {
	case r.Previous != v.record.Sequence:
		v.recent = nil // something between them is not known
	case len(v.recent) == maxRecent:
		v.recent = slices.Clone(v.recent[maxRecent/2:])
	}
	v.record, v.recent = r, append(v.recent, r)
	close(v.changed)
	v.changed = make(chan struct{})
}

// All lists the open rollouts.
func (x *View) All() []journal.Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	records := make([]journal.Record, 0, len(x.open))
	for _, s := range x.open {
		records = append(records, s.record)
	}
	return records
}

// Wants reports whether a step of a rollout is still to be acted on in the same way, as far
// as is known, and gives a channel that is closed when something happens to the rollout.
func (x *View) Wants(id string, step rollout.Step) (_ <-chan struct{}, wanted bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.open[id]
	if found == nil {
		return nil, false
	}
	for _, now := range found.record.State.Todo() {
		if now.ID == step.ID {
			same := now.Attempt == step.Attempt && now.Cancelled == step.Cancelled && now.Backwards() == step.Backwards()
			return found.changed, same
		}
	}
	return nil, false
}

// OfApp lists the open rollouts of an app, by the sequence of their newest events.
func (x *View) OfApp(app string) []journal.Record {
	x.mu.Lock()
	defer x.mu.Unlock()
	var all []journal.Record
	if known := x.apps[app]; known != nil {
		for _, s := range known.open {
			all = append(all, s.record)
		}
	}
	slices.SortFunc(all, func(a, b journal.Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return all
}

// Watch calls stop when a step is no longer wanted, or ctx ends, in a goroutine of watching;
// false says that it is not even wanted now.
func (x *View) Watch(ctx context.Context, stop func(), watching *sync.WaitGroup, id string, step rollout.Step) bool {
	changed, wanted := x.Wants(id, step)
	if !wanted {
		return false
	}
	watching.Go(func() {
		for wanted := true; wanted; {
			select {
			case <-changed:
				changed, wanted = x.Wants(id, step)
			case <-ctx.Done():
				return
			}
		}
		stop()
	})
	return true
}
