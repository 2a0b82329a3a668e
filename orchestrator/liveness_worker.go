package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// hearHellos looks after the attempts of the scripts of each setup service that comes up:
// it may have come in the place of one that has died.
func (o *Orchestrator) hearHellos(ctx context.Context) error {
	var tasks tasks
	defer tasks.dismiss()
	sub, err := o.nc.Subscribe(protocol.HelloSubject, func(m *nats.Msg) {
		var h protocol.Hello
		if json.Unmarshal(m.Data, &h) == nil {
			tasks.do(func() { o.lookAfter(ctx, h) })
		}
	})
	if err != nil {
		return fmt.Errorf("listen to %s: %w", protocol.HelloSubject, err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // the connection may be gone
	return nil
}

// lookAfter has attempts that were left behind go on at once, rather than when their signs
// of life have been missed.
func (o *Orchestrator) lookAfter(ctx context.Context, h protocol.Hello) {
	app := o.index.Owner(h.Name)
	if app == "" {
		app = h.Name
	}
	for _, r := range o.view.ofApp(app) {
		for _, step := range r.State.Todo() {
			if step.Kind != rollout.Migration || step.Name != h.Name || step.Version != h.Version {
				continue
			}
			if err := o.lookInto(ctx, r, step, h); err != nil && ctx.Err() == nil {
				o.log.Debug("attempt not looked after", zap.String("step", step.ID), zap.Error(err))
			}
		}
	}
}

// lookInto finds out what has become of a running attempt: a start that nobody has claimed
// is sent again, and a worker that is no longer on the bus is taken for dead.
func (o *Orchestrator) lookInto(ctx context.Context, r journal.Record, step rollout.Step, h protocol.Hello) error {
	claim, err := o.claimOf(ctx, r.State, step)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		if step.Cancelled || !o.view.of(r.State.ID, step.ID, step.Attempt).Sent {
			return nil
		}
		_, err := o.publishStart(ctx, r.State, step)
		return err
	case err != nil || claim.Instance == h.Instance:
		return err
	case claim.Answer != nil:
		return o.takeRemembered(ctx, r, step, *claim.Answer)
	}
	if left, err := o.left(ctx, claim.Instance); err != nil || !left {
		return err
	}
	o.log.Warn("worker has left the bus", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
	return o.record(ctx, r, o.lost(r.State, step, "its worker is no longer on the bus, and another has come"))
}

// takeRemembered makes the answer durable that stands in the claim of an attempt: its worker
// had finished, and has died before it could tell.
func (o *Orchestrator) takeRemembered(ctx context.Context, r journal.Record, step rollout.Step, answer protocol.Answer) error {
	e := rollout.Event{Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert, Answer: clipped(answer)}
	if answer.Done {
		e.Type = rollout.StepAnswered
	}
	return o.record(ctx, r, e)
}

// A worker whose connection is cut for a moment is given time to come back: it has left
// when nobody answers for it twice in a row.
const (
	leftTries = 6
	leftPause = 250 * time.Millisecond
)

// left reports whether an instance of a setup service is no longer on the bus. It asks for
// a while: the server may not have noticed yet that a connection is gone.
func (o *Orchestrator) left(ctx context.Context, instance string) (bool, error) {
	gone := 0
	for range leftTries {
		there, err := o.there(ctx, instance)
		switch {
		case there:
			return false, nil
		case errors.Is(err, nats.ErrNoResponders):
			gone++
		default:
			gone = 0
		}
		if gone == 2 || ctx.Err() != nil {
			break
		}
		pause(ctx, leftPause)
	}
	return gone == 2, ctx.Err()
}

// there asks an instance of a setup service whether it is on the bus.
func (o *Orchestrator) there(ctx context.Context, instance string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, aboutTimeout)
	defer cancel()
	_, err := o.nc.RequestWithContext(ctx, protocol.WorkerSubject(instance), nil)
	return err == nil, err
}

// claimOf reads who has claimed an attempt; [jetstream.ErrKeyNotFound] when nobody has.
func (o *Orchestrator) claimOf(ctx context.Context, s rollout.State, step rollout.Step) (protocol.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	var claim protocol.Claim
	entry, err := o.claims.Get(ctx, claimKey(s, step))
	if err != nil {
		return claim, err
	}
	_ = json.Unmarshal(entry.Value(), &claim) // whatever it says, it is taken
	return claim, nil
}

func claimKey(s rollout.State, step rollout.Step) string {
	return protocol.ClaimKey(s.ID, step.ID, step.Attempt, step.Revert)
}

// withhold claims an attempt, so that no setup service that claims begins it any more. It
// reports whether nobody had.
func (o *Orchestrator) withhold(ctx context.Context, s rollout.State, step rollout.Step) (bool, error) {
	value, err := json.Marshal(protocol.Claim{Instance: "golive", At: time.Now().UTC()})
	if err != nil {
		return false, err
	}
	_, err = o.claims.Create(ctx, claimKey(s, step), value)
	if err == nil {
		return true, nil
	}
	claim, readErr := o.claimOf(ctx, s, step)
	if readErr != nil {
		return false, errors.Join(err, readErr)
	}
	return claim.Instance == "golive", nil
}
