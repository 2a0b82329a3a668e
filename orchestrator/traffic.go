package orchestrator

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Codes of a step that moves traffic and has failed.
const (
	codeRouteConflict = "conflict"    // somebody else has written the route
	codeUnconfirmed   = "unconfirmed" // instances have not confirmed, and the version before was put back
)

// moveTraffic leads the route of a service to where the step says and records what has
// come of it. It ends early when that is no longer wanted: whoever has the item of the
// event that says so goes on with the route as it is then.
func (o *Orchestrator) moveTraffic(ctx context.Context, r journal.Record, step rollout.Step) error {
	moving, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	if !o.watchWanted(moving, stop, &watching, r.State.ID, step) {
		return nil
	}
	moved, err := o.gate.Open(moving, o.order(r, step))
	stop()
	watching.Wait()
	if _, wanted := o.view.wants(r.State.ID, step); !wanted && err != nil {
		return nil
	}
	o.at(TrafficLed)
	return o.recordMove(ctx, r, step, moved, err)
}

// order is what a step asks of the gate.
func (o *Orchestrator) order(r journal.Record, step rollout.Step) gate.Order {
	order := forwards(r.State, step)
	if step.Backwards() {
		order = backwards(r.State, step)
	}
	order.Rollout, order.Sequence, order.Seal = r.State.ID, r.Sequence, step.Backwards()
	order.Tell = func(waiting string) {
		o.tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: waiting})
	}
	return order
}

// forwards is the order that a step is there for.
func forwards(s rollout.State, step rollout.Step) gate.Order {
	if step.Kind == rollout.Maintenance {
		order := backwards(s, step)
		order.RetryAfter = s.RetryAfter(step)
		return order
	}
	order := gate.Order{Service: step.Name, Version: step.Version, Keep: step.Keep, Instances: step.Instances}
	if step.Drain {
		order.Version = ""
	}
	if step.Replaces != nil {
		order.Replaces = step.Replaces.Revision
	}
	return order
}

// backwards is the order that puts back what the step has found.
func backwards(s rollout.State, step rollout.Step) gate.Order {
	order := gate.Order{Service: step.Name, RetryAfter: s.RetryAfter(step)}
	if step.Replaces != nil {
		order.Replaces = step.Replaces.Revision
		if online := step.Replaces.Online; len(online) > 0 {
			order.Version, order.Keep = online[0], online[1:]
		}
	}
	return order
}

// recordMove makes durable what has come of a move.
func (o *Orchestrator) recordMove(ctx context.Context, r journal.Record, step rollout.Step, moved gate.Moved, err error) error {
	e := rollout.Event{Step: step.ID, Attempt: step.Attempt}
	failed := func(code, message string) *protocol.Answer {
		return &protocol.Answer{Error: &protocol.ScriptError{Code: code, Message: message}}
	}
	var stuck *gate.UnconfirmedError
	switch {
	case errors.As(err, &stuck) && step.Backwards():
		o.log.Warn("the version before could not be put back yet, trying again", zap.String("step", step.ID), zap.Error(err))
		return err
	case errors.As(err, &stuck):
		e.Type, e.Answer = rollout.TurnedBack, failed(codeUnconfirmed, err.Error())
	case errors.Is(err, rollout.ErrConflict):
		e.Type, e.Answer = rollout.StepBroke, failed(codeRouteConflict, err.Error()+": deploy again, which plans on the route as it is")
	case err != nil:
		return err
	case step.Revert:
		e.Type = rollout.Restored
	case step.Back:
		e.Type = rollout.StepBroke
	case step.Kind == rollout.Maintenance:
		e.Type = rollout.Closed
	default:
		e.Type = rollout.Opened
	}
	if err == nil {
		e.Revision, e.Effective = moved.Revision, moved.At
		if e.Effective.IsZero() { // nobody is there who could have answered
			e.Effective = time.Now().UTC()
		}
	}
	return o.record(ctx, r, e)
}
