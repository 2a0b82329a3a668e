package view

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/protocol"
)

// Recorder changes rollouts: everything that happens to one is made durable here, and known
// here at once. Make it with [NewRecorder]; it is safe for concurrent use.
type Recorder struct {
	journal *journal.Journal
	view    *View
	log     *zap.Logger
	at      func(Point)
	turns   turns

	catching *together // up with the journal, see Take
	asking   *oneByOne // the leader, see Take
}

// NewRecorder makes a recorder that writes into a journal, takes what it has written into a
// view, and calls at, if it is not nil, at the points of [Points].
func NewRecorder(j *journal.Journal, v *View, log *zap.Logger, at func(Point)) *Recorder {
	return &Recorder{journal: j, view: v, log: log, at: at, catching: newTogether(), asking: newOneByOne()}
}

// At says that the engine has come to one of its points. The process may end there.
func (c *Recorder) At(p Point) {
	if c.at != nil {
		c.at(p)
	}
}

// Now is the time by which events are dated: that of the bus, as far as is known.
func (c *Recorder) Now() time.Time { return c.journal.Clock().Now() }

// Change makes an event durable: it takes the newest state that is known here, applies what
// event makes of it, and appends, again and again while somebody else is faster. What is
// known here may be behind, so only the leader's word is good for anything but an append,
// which fails then. A nil event means that there is nothing to do. [rollout.ErrStale] says
// that the event came too late, [rollout.ErrNotFound] that there is no such rollout. Changes
// of one rollout are made one after the other; event is not to block.
func (c *Recorder) Change(ctx context.Context, app, id string, event func(rollout.State) (*rollout.Event, error)) (journal.Record, error) {
	leave, err := c.turns.await(ctx, id)
	if err != nil {
		return journal.Record{}, err
	}
	defer leave()
	conflicts := 0
	for r, known := c.view.Newest(id); ; {
		if !known {
			if r, err = c.journal.Load(ctx, app, id); err != nil {
				return r, err
			}
		}
		e, err := event(r.State)
		next := r.State
		if err == nil && e != nil {
			next, err = r.State.Apply(*e)
		}
		if err != nil || e == nil {
			if known {
				known = false
				continue
			}
			return r, err
		}
		sequence, err := c.journal.Append(ctx, next, r.Sequence)
		if errors.Is(err, rollout.ErrTooLarge) && e.Answer != nil { // which no repetition makes smaller
			if next, err = r.State.Apply(withoutAnswer(*e, err)); err != nil {
				return r, err
			}
			sequence, err = c.journal.Append(ctx, next, r.Sequence)
		}
		if errors.Is(err, rollout.ErrConflict) { // the event of somebody else is on its way here
			r, known = c.view.AwaitNewer(ctx, id, r.Sequence)
			if conflicts++; known {
				r, known = c.standBack(ctx, id, conflicts)
			}
			continue
		}
		if err != nil {
			return r, err
		}
		return c.saved(journal.Record{State: next, Sequence: sequence, Previous: r.Sequence}), nil
	}
}

// standBack waits a little, each of several writers for another time: otherwise all of them
// who have lost against one event would try again at once, and all but one lose once more. It
// gives what is known then.
func (c *Recorder) standBack(ctx context.Context, id string, conflicts int) (journal.Record, bool) {
	tasks.Pause(ctx, rand.N(time.Duration(min(conflicts, mostConflicts))*standBack))
	return c.view.Newest(id)
}

// Times to stand back: about what an append takes, for each conflict in a row.
const (
	standBack     = 2 * time.Millisecond
	mostConflicts = 8
)

// withoutAnswer is the failure of a step whose answer is too large to be kept.
func withoutAnswer(e rollout.Event, why error) rollout.Event {
	e.Type = rollout.StepBroke
	e.Answer = &protocol.Answer{Error: &protocol.ScriptError{Code: api.CodeTooLarge, Message: rollout.Clip("its answer cannot be kept: " + why.Error())}}
	return e
}

// Record makes an event of our own durable; one that has become stale is dropped.
func (c *Recorder) Record(ctx context.Context, r journal.Record, e rollout.Event) error {
	_, err := c.Change(ctx, r.State.Release.App, r.State.ID, func(rollout.State) (*rollout.Event, error) {
		e.At = c.Now()
		return &e, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		return nil
	}
	return err
}

// Store is [journal.Journal.Begin] or, for a rollout that the journal has,
// [journal.Journal.AppendNext].
type Store func(context.Context, rollout.State, uint64) (uint64, error)

// Keep stores a state of a rollout if after is still the sequence of the app's newest
// event; else [rollout.ErrConflict].
func (c *Recorder) Keep(ctx context.Context, s rollout.State, after uint64, to Store) (journal.Record, error) {
	sequence, err := to(ctx, s, after)
	if err != nil {
		return journal.Record{}, err
	}
	known, _ := c.view.Newest(s.ID)
	return c.saved(journal.Record{State: s, Sequence: sequence, Previous: known.Sequence}), nil
}

// saved takes in an event that is durable.
func (c *Recorder) saved(r journal.Record) journal.Record {
	c.At(EventSaved)
	c.logEvent(r.State, r.Sequence)
	c.view.Meet(r)
	return r
}

func (c *Recorder) logEvent(s rollout.State, sequence uint64) {
	fields := []zap.Field{
		zap.String("rollout", s.ID), zap.String("app", s.Release.App), zap.String("version", s.Release.Version),
		zap.Uint64("sequence", sequence),
	}
	if s.Event.Step != "" {
		fields = append(fields, zap.String("step", s.Event.Step), zap.Int("attempt", s.Event.Attempt))
	}
	c.log.Info(s.What(), fields...)
}

// CatchUp blocks until all that had happened to rollouts when it was called is known here.
func (c *Recorder) CatchUp(ctx context.Context) error {
	last, err := c.journal.Last(ctx)
	if err != nil {
		return err
	}
	return c.view.Reach(ctx, last)
}

// AppNow gives the sequence of the app's newest event, once everything up to it is known
// here; 0 when there is none. [journal.ErrBehind] says that a later one is known here.
func (c *Recorder) AppNow(ctx context.Context, app string) (uint64, error) {
	known := c.view.NewestOf(app)
	newest, err := c.journal.NewestOf(ctx, app)
	if err != nil {
		return 0, err
	}
	if known > newest {
		return 0, fmt.Errorf("%w: event %d of app %s is known here, its newest is %d", journal.ErrBehind, known, app, newest)
	}
	return newest, c.view.Reach(ctx, newest)
}
