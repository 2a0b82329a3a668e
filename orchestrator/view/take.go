package view

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/tasks"
)

// ErrBusy says that too many answers wait at the same time: whoever sends one again is heard
// then.
var ErrBusy = errors.New("too many answers are looked into at once")

// Take is [Recorder.Change] for what anybody may send, in any number. What leads to no event by
// what is known here is decided by that, once all is known here that had happened when it came:
// many wait together for one question to the leader, and questions are paced. The leader is
// asked about one rollout only where nothing is known of it here, rarely and one after the
// other. [ErrBusy] says that too many wait already. What does lead to an event waits for none
// of this, and not behind what does not.
func (c *Recorder) Take(ctx context.Context, app, id string, event func(rollout.State) (*rollout.Event, error)) error {
	s, known := c.view.Lately(app, id)
	if changes, _ := leads(s, known, event); changes {
		_, err := c.Change(ctx, app, id, event)
		return err
	}
	if err := c.CatchUpTogether(ctx); err != nil {
		return err
	}
	if s, known = c.view.Lately(app, id); !known {
		return c.takeUnknown(ctx, app, id, event)
	}
	changes, err := leads(s, known, event)
	if !changes {
		return err
	}
	_, err = c.Change(ctx, app, id, event)
	return err
}

// takeUnknown decides by what the leader has of a rollout.
func (c *Recorder) takeUnknown(ctx context.Context, app, id string, event func(rollout.State) (*rollout.Event, error)) error {
	var r journal.Record
	err := c.asking.ask(ctx, func(ctx context.Context) (err error) {
		r, err = c.journal.Load(ctx, app, id)
		return err
	})
	if err != nil {
		return err
	}
	changes, err := leads(r.State, true, event)
	if changes {
		_, err = c.Change(ctx, app, id, event)
	}
	return err
}

// leads reports whether what came leads to an event of a rollout that is in this state. The
// error is why it does not; none: nothing is left to do.
func leads(s rollout.State, known bool, event func(rollout.State) (*rollout.Event, error)) (bool, error) {
	if !known {
		return false, rollout.ErrNotFound
	}
	e, err := event(s)
	if err == nil && e != nil {
		_, err = s.Apply(*e)
	}
	return err == nil && e != nil, err
}

// CatchUpTogether is [Recorder.CatchUp] for many at once, who share the question to the leader;
// the error is [ErrBusy] where too many wait for it.
func (c *Recorder) CatchUpTogether(ctx context.Context) error {
	return c.catching.await(ctx, c.CatchUp)
}

// Limits of what is looked into because of what anybody may send.
const (
	maxTogether = 2048 // who wait for one question
	maxAsking   = 8    // who wait for a question each
	askPause    = 100 * time.Millisecond
)

// together has many wait for one question at a time: whoever comes while it is asked waits for
// the next one. Questions begin no sooner one after the other than askPause. It is safe for
// concurrent use.
type together struct {
	asking chan time.Time // holds when the last question began, while none is asked

	mu      sync.Mutex
	next    *round // that has not begun; nil: nobody waits for one
	waiting int
}

type round struct {
	over chan struct{} // closed once err says how it has ended
	err  error
}

func newTogether() *together {
	t := &together{asking: make(chan time.Time, 1)}
	t.asking <- time.Time{}
	return t
}

// await blocks until a question that begins after the call is answered, or ctx ends. One of
// those who wait asks it.
func (t *together) await(ctx context.Context, question func(context.Context) error) error {
	r := t.join()
	if r == nil {
		return ErrBusy
	}
	defer t.leave()
	select {
	case <-r.over:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	case began := <-t.asking:
		defer func() { t.asking <- began }()
		select {
		case <-r.over: // whoever asked before has taken it along
			return r.err
		default:
		}
		if tasks.Pause(ctx, askPause-time.Since(began)); ctx.Err() != nil {
			return ctx.Err() // the next one asks
		}
		t.mu.Lock()
		t.next = nil
		t.mu.Unlock()
		began = time.Now()
		r.err = question(ctx)
		close(r.over)
		return r.err
	}
}

// join gives the round that begins next; nil where too many wait.
func (t *together) join() *round {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.waiting == maxTogether {
		return nil
	}
	if t.next == nil {
		t.next = &round{over: make(chan struct{})}
	}
	t.waiting++
	return t.next
}

func (t *together) leave() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting--
}

// oneByOne lets one after the other ask, no sooner than askPause after the one before. It is
// safe for concurrent use.
type oneByOne struct {
	places chan struct{}  // of those who wait
	turn   chan time.Time // holds when the last one began, while nobody asks
}

func newOneByOne() *oneByOne {
	o := &oneByOne{make(chan struct{}, maxAsking), make(chan time.Time, 1)}
	o.turn <- time.Time{}
	return o
}

// ask asks when it is the caller's turn; [ErrBusy] says that too many wait for theirs.
func (o *oneByOne) ask(ctx context.Context, question func(context.Context) error) error {
	select {
	case o.places <- struct{}{}:
		defer func() { <-o.places }()
	default:
		return ErrBusy
	}
	select {
	case began := <-o.turn:
		defer func() { o.turn <- began }()
		if tasks.Pause(ctx, askPause-time.Since(began)); ctx.Err() != nil {
			return ctx.Err()
		}
		began = time.Now()
		return question(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Lately gives the newest known state of a rollout of an app that is open, or has ended as the
// app's last one; false says that it is neither, as far as is known.
func (x *View) Lately(app, id string) (rollout.State, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if found := x.open[id]; found != nil {
		return found.record.State, found.record.State.Release.App == app
	}
	if known := x.apps[app]; known != nil && known.last.State.ID == id {
		return known.last.State, true
	}
	return rollout.State{}, false
}
