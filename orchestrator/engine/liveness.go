package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/setup"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// liveness finds out what has become of attempts of which nobody hears any more. How many
// signs of life may be missed, and how long a claim lasts, is [protocol.LeaseBeats].
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
		last := g.View.Of(r.State.ID, step.ID, step.Attempt).Heard
		if last.IsZero() {
			g.checkArrival(ctx, r, step)
			continue
		}
		patience := g.lease()
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
// that nobody has claimed it. Of any other the server tells whether it is still there.
func (g *liveness) checkArrival(ctx context.Context, r journal.Record, step rollout.Step) {
	if _, wanted := g.View.Wants(r.State.ID, step); !wanted {
		return // it is held
	}
	if !g.View.Silent(r.State, step, g.Resend) || !g.scripts.lastSign(ctx, r.State, step).IsZero() || step.Cancelled {
		return
	}
	if _, err := g.Setup.About(ctx, step.ScriptID()); err != nil {
		g.checkReceiver(ctx, r, step)
		return
	}
	g.Log.Info("no sign of life since the start, sending it again", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
	if _, err := g.scripts.publishStart(ctx, r.State, step); err != nil {
		g.Log.Warn("start not sent again", zap.Error(err))
	}
}

// checkReceiver looks whether the connection is still there that has got the start of an
// attempt, whose script gives no signs of life. When it has gone the attempt is over, after as
// long as a script may be at work that the bus does not answer: it may be cut off, and not dead.
func (g *liveness) checkReceiver(ctx context.Context, r journal.Record, step rollout.Step) {
	seen := g.View.Of(r.State.ID, step.ID, step.Attempt)
	if !seen.Sent && seen.Waiting != "" {
		return // it is being sent
	}
	gone := func(at time.Time) {
		g.View.Note(r.State.ID, step.ID, step.Attempt, func(s *view.Observed) { s.Gone = at })
	}
	tell := func(waiting string) {
		g.Notices.Tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Sent: true, Waiting: waiting})
	}
	who := setup.Receiver{Server: seen.Server, Connection: seen.Connection}
	there, known, err := false, false, error(nil)
	if who.Known() {
		there, known, err = g.Setup.There(ctx, step.ScriptID().Subject(protocol.StartVerb(step.Revert)), who)
	}
	switch {
	case err != nil:
		g.Log.Debug("who got the start", zap.Error(err)) // it is asked again
	case !known:
		tell("an answer; its script gives no signs of life, and golive cannot know whether it is at work")
	case there:
		gone(time.Time{})
		tell("")
	case seen.Gone.IsZero():
		g.Log.Warn("who got the start has left the bus", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
		gone(time.Now())
		tell(fmt.Sprintf("an answer; its script has left the bus, and %s after that its attempt is over", g.lease()))
	case time.Since(seen.Gone) >= g.lease():
		if err := g.Recorder.Record(ctx, r, g.scripts.lost(r.State, step, "its script has left the bus, and has not answered since")); err != nil {
			g.Log.Warn("worker's death not recorded, trying again", zap.Error(err))
		}
	}
}
