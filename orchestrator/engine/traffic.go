package engine

import (
	"context"
	"errors"
	"sync"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// Codes of a step that moves traffic and has failed.
const (
	codeRouteConflict = "conflict"    // somebody else has written the route
	codeUnconfirmed   = "unconfirmed" // instances have not confirmed, and the version before was put back
)

// traffic has production traffic moved.
type traffic struct{ Config }

// moveTraffic leads the route of a service to where the step says and records what has
// come of it. It ends early when that is no longer wanted: whoever has the item of the
// event that says so goes on with the route as it is then.
func (g *traffic) moveTraffic(ctx context.Context, r journal.Record, step rollout.Step) error {
	moving, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	if !g.View.Watch(moving, stop, &watching, r.State.ID, step) {
		return nil
	}
	moved, err := g.Gate.Open(moving, g.order(r, step))
	stop()
	watching.Wait()
	if _, wanted := g.View.Wants(r.State.ID, step); !wanted && err != nil {
		return nil
	}
	g.Recorder.At(view.TrafficLed)
	return g.recordMove(ctx, r, step, moved, err)
}

// order is what a step asks of the gate.
func (g *traffic) order(r journal.Record, step rollout.Step) gate.Order {
	order := gate.OrderFor(r.State, step)
	order.Rollout, order.Sequence, order.Seal = r.State.ID, r.Sequence, step.Backwards()
	order.Tell = func(waiting string) {
		g.Notices.Tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: waiting})
	}
	return order
}

// recordMove makes durable what has come of a move.
func (g *traffic) recordMove(ctx context.Context, r journal.Record, step rollout.Step, moved gate.Moved, err error) error {
	e := rollout.Event{Step: step.ID, Attempt: step.Attempt}
	failed := func(code, message string) *protocol.Answer {
		return &protocol.Answer{Error: &protocol.ScriptError{Code: code, Message: message}}
	}
	var stuck *gate.UnconfirmedError
	switch {
	case errors.As(err, &stuck) && step.Backwards():
		g.Log.Warn("the version before could not be put back yet, trying again", zap.String("step", step.ID), zap.Error(err))
		return err
	case errors.As(err, &stuck):
		e.Type, e.Answer = rollout.TurnedBack, failed(codeUnconfirmed, err.Error())
	case errors.Is(err, rollout.ErrConflict):
		e.Type, e.Answer = rollout.StepBroke, failed(codeRouteConflict, err.Error()+": deploy again, which plans on the route as it is")
	case err != nil:
		return err
	case step.Revert:
		e.Type = rollout.Restored
	case step.Move.Back:
		e.Type = rollout.StepBroke
	case step.Kind == rollout.Maintenance:
		e.Type = rollout.Closed
	default:
		e.Type = rollout.Opened
	}
	if err == nil {
		e.Revision, e.Effective = moved.Revision, moved.At
		if e.Effective.IsZero() { // nobody is there who could have answered
			e.Effective = g.Recorder.Now()
		}
	}
	return g.Recorder.Record(ctx, r, e)
}
