package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// liveness finds out what has become of attempts of which nobody hears any more. How many
// signs of life may be missed is [protocol.HeartbeatsMissed], how long a claim lasts
// [protocol.LeaseBeats].
type liveness struct {
	Config
	scripts *scripts
}

// watchHeartbeats ends the attempts of workers whose signs of life have stopped coming.
// What counts is what this orchestrator could have heard: since it began to listen,
// was connected, and was not itself stopped for a while.
func (g *liveness) watchHeartbeats(ctx context.Context) error {
	tick := time.NewTicker(min(g.Heartbeat/2, g.Resend/2))
	defer tick.Stop()
	since := time.Now()
	for looked := since; ; looked = time.Now() {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !g.Conn.IsConnected() || time.Since(looked) > g.Heartbeat {
			since = time.Now()
		}
		var checking errgroup.Group
		checking.SetLimit(checkAtOnce)
		for _, r := range g.View.All() {
			checking.Go(func() error { g.checkHeartbeats(ctx, r, since); return nil })
		}
		_ = checking.Wait() // nothing fails
	}
}

// checkAtOnce is how many rollouts are looked at at the same time: many workers may die
// together.
const checkAtOnce = 32

func (g *liveness) checkHeartbeats(ctx context.Context, r journal.Record, since time.Time) {
	for _, step := range r.State.Running() {
		if step.Kind != rollout.Migration {
			continue
		}
		last := g.View.Of(r.State.ID, step.ID, step.Attempt).Beat
		if last.IsZero() {
			g.checkArrival(ctx, r, step)
			continue
		}
		patience := protocol.HeartbeatsMissed * g.Heartbeat
		if time.Since(last) <= g.Heartbeat {
			continue
		}
		err := g.checkSilent(ctx, r, step, time.Since(last) > patience && time.Since(since) > patience)
		if err != nil && ctx.Err() == nil {
			g.Log.Warn("silent worker not looked after, trying again", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Error(err))
		}
	}
}

// checkSilent looks after an attempt whose signs of life do not come. It is over when its lease
// has run out, so that its worker has surely stopped; one that nobody has claimed, when so many
// have been missed that its worker is taken for dead.
func (g *liveness) checkSilent(ctx context.Context, r journal.Record, step rollout.Step, missed bool) error {
	attempt := r.State.Attempt(step)
	if !missed {
		if _, err := g.Setup.Claim(ctx, attempt); errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
	}
	over, answer, err := g.Setup.Over(ctx, attempt, g.lease())
	switch {
	case err != nil || !over:
		return err
	case answer != nil:
		return g.takeRemembered(ctx, r, step, *answer)
	}
	g.Log.Warn("worker taken for dead", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
	return g.Recorder.Record(ctx, r, g.scripts.lost(r.State, step, "no sign of life, and its lease has run out: the worker is taken for dead"))
}

// checkArrival looks into the silence of an attempt: who got its start may have died with
// it. It is sent again to a setup service that says of itself that it claims attempts, and
// that nobody has claimed it; of any other nothing more can be known.
func (g *liveness) checkArrival(ctx context.Context, r journal.Record, step rollout.Step) {
	if !g.View.Silent(r.State, step, g.Resend) || !g.scripts.lastSign(ctx, r.State, step).IsZero() || step.Cancelled {
		return
	}
	if _, err := g.Setup.About(ctx, step.ScriptID()); err != nil {
		return
	}
	g.Log.Info("no sign of life since the start, sending it again", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
	if _, err := g.scripts.publishStart(ctx, r.State, step); err != nil {
		g.Log.Warn("start not sent again", zap.Error(err))
	}
}
