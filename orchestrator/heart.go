package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// watchHearts ends the attempts of workers whose signs of life have stopped coming.
// What counts is what this orchestrator could have heard: since it began to listen,
// was connected, and was not itself stopped for a while.
func (o *Orchestrator) watchHearts(ctx context.Context) error {
	tick := time.NewTicker(o.cfg.Heartbeat / 2)
	defer tick.Stop()
	since := time.Now()
	for looked := since; ; looked = time.Now() {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !o.nc.IsConnected() || time.Since(looked) > o.cfg.Heartbeat {
			since = time.Now()
		}
		for _, r := range o.sight.all() {
			o.checkHearts(ctx, r, since)
		}
	}
}

func (o *Orchestrator) checkHearts(ctx context.Context, r journal.Record, since time.Time) {
	patience := protocol.HeartbeatsMissed * o.cfg.Heartbeat
	for _, step := range r.State.Running() {
		last := o.lastSign(ctx, r.State, step)
		if last.IsZero() || time.Since(last) <= patience || time.Since(since) <= patience {
			continue
		}
		o.log.Warn("worker taken for dead", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
		err := o.record(ctx, r, rollout.Event{
			Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt,
			Answer: &protocol.Answer{Error: &protocol.ScriptError{
				Code: protocol.CodeLost, Message: fmt.Sprintf("no sign of life for %s: the worker is taken for dead", patience),
			}},
		})
		if err != nil {
			o.log.Warn("worker's death not recorded, trying again", zap.Error(err))
		}
	}
}

// lastSign is when the running attempt of a script gave its last sign of life; zero
// when it has given none. A claim that is found counts as one, given now: whoever took
// it has promised more, which only orchestrators that are gone may have heard.
func (o *Orchestrator) lastSign(ctx context.Context, s rollout.State, step rollout.Step) time.Time {
	if step.Kind != rollout.Migration {
		return time.Time{}
	}
	if o.sight.of(s.ID, step.ID, step.Attempt).Beat.IsZero() && o.claimed(ctx, s, step) {
		o.sight.note(s.ID, step.ID, step.Attempt, func(seen *Sighting) {
			seen.Beat, seen.Sent, seen.Waiting = time.Now(), true, ""
		})
	}
	return o.sight.of(s.ID, step.ID, step.Attempt).Beat
}

// claimed reports whether a worker has claimed the attempt.
func (o *Orchestrator) claimed(ctx context.Context, s rollout.State, step rollout.Step) bool {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	_, err := o.claims.Get(ctx, protocol.ClaimKey(s.ID, step.ID, step.Attempt, false))
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		o.log.Debug("read claim", zap.Error(err))
	}
	return err == nil
}
