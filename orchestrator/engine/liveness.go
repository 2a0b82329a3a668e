package engine

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// liveness finds out what has become of attempts of which nobody hears any more. How many
// signs of life may be missed is [protocol.HeartbeatsMissed].
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
	patience := protocol.HeartbeatsMissed * g.Heartbeat
	for _, step := range r.State.Running() {
		if step.Kind != rollout.Migration {
			continue
		}
		last := g.View.Of(r.State.ID, step.ID, step.Attempt).Beat
		if last.IsZero() {
			g.checkArrival(ctx, r, step)
			continue
		}
		if time.Since(last) <= patience || time.Since(since) <= patience {
			continue
		}
		if claim, err := g.Setup.Claim(ctx, r.State, step); err == nil && claim.Answer != nil {
			if err := g.takeRemembered(ctx, r, step, *claim.Answer); err != nil {
				g.Log.Warn("remembered answer not recorded, trying again", zap.Error(err))
			}
			continue
		}
		g.Log.Warn("worker taken for dead", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
		err := g.Recorder.Record(ctx, r, g.scripts.lost(r.State, step, fmt.Sprintf("no sign of life for %s: the worker is taken for dead", patience)))
		if err != nil {
			g.Log.Warn("worker's death not recorded, trying again", zap.Error(err))
		}
	}
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
