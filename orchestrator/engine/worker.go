package engine

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
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/protocol"
)

// Limits of hellos: each costs a question to the leader for each attempt that runs.
const (
	helloPause = 100 * time.Millisecond // in which a second one of a version is not looked into
	maxHellos  = 1000                   // versions that this is remembered of
)

// hearHellos looks after the attempts of the scripts of each setup service that comes up:
// it may have come in the place of one that has died.
func (g *liveness) hearHellos(ctx context.Context) error {
	var group tasks.Group
	defer group.Dismiss()
	heard := make(map[protocol.Hello]time.Time) // by name and version; one callback at a time
	sub, err := g.Conn.Subscribe(protocol.HelloSubject, func(m *nats.Msg) {
		var h protocol.Hello
		if json.Unmarshal(m.Data, &h) != nil {
			return
		}
		of := protocol.Hello{Name: h.Name, Version: h.Version}
		if time.Since(heard[of]) < helloPause {
			return
		}
		if len(heard) >= maxHellos {
			clear(heard)
		}
		heard[of] = time.Now()
		group.Do(func() { g.lookAfter(ctx, h) })
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
func (g *liveness) lookAfter(ctx context.Context, h protocol.Hello) {
	app := g.Ledger.Owner(h.Name)
	if app == "" {
		app = h.Name
	}
	for _, r := range g.View.OfApp(app) {
		for _, step := range r.State.Todo() {
			if step.Kind != rollout.Migration || step.Name != h.Name || step.Version != h.Version {
				continue
			}
			if err := g.lookInto(ctx, r, step, h); err != nil && ctx.Err() == nil {
				g.Log.Debug("attempt not looked after", zap.String("step", step.ID), zap.Error(err))
			}
		}
	}
}

// lookInto finds out what has become of a running attempt: a start that nobody has claimed
// is sent again, and an answer that its worker could not give is taken. A worker that is no
// longer on the bus may be at work all the same, so its lease is waited for.
func (g *liveness) lookInto(ctx context.Context, r journal.Record, step rollout.Step, h protocol.Hello) error {
	claim, err := g.Setup.Claim(ctx, r.State.Attempt(step))
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		if step.Cancelled || !g.View.Of(r.State.ID, step.ID, step.Attempt).Sent {
			return nil
		}
		_, err := g.scripts.publishStart(ctx, r.State, step)
		return err
	case err != nil || claim.Instance == h.Instance || claim.Answer == nil:
		return err
	}
	return g.takeRemembered(ctx, r, step, *claim.Answer)
}

// takeRemembered makes the answer durable that stands in the claim of an attempt: its worker
// had finished, and has died before it could tell.
func (g *liveness) takeRemembered(ctx context.Context, r journal.Record, step rollout.Step, answer protocol.Answer) error {
	e := rollout.Event{Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert, Answer: rollout.Clipped(answer)}
	if answer.Done {
		e.Type = rollout.StepAnswered
	}
	return g.Recorder.Record(ctx, r, e)
}
