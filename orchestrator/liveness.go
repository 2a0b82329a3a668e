package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// watchHearts ends the attempts of workers whose signs of life have stopped coming.
// What counts is what this orchestrator could have heard: since it began to listen,
// was connected, and was not itself stopped for a while.
func (o *Orchestrator) watchHearts(ctx context.Context) error {
	tick := time.NewTicker(min(o.cfg.Heartbeat/2, o.cfg.Resend/2))
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
		var checking errgroup.Group
		checking.SetLimit(checkAtOnce)
		for _, r := range o.view.all() {
			checking.Go(func() error { o.checkHearts(ctx, r, since); return nil })
		}
		_ = checking.Wait() // nothing fails
	}
}

// checkAtOnce is how many rollouts are looked at at the same time: many workers may die
// together.
const checkAtOnce = 32

func (o *Orchestrator) checkHearts(ctx context.Context, r journal.Record, since time.Time) {
	patience := protocol.HeartbeatsMissed * o.cfg.Heartbeat
	for _, step := range r.State.Running() {
		if step.Kind != rollout.Migration {
			continue
		}
		last := o.view.of(r.State.ID, step.ID, step.Attempt).Beat
		if last.IsZero() {
			o.checkArrival(ctx, r, step)
			continue
		}
		if time.Since(last) <= patience || time.Since(since) <= patience {
			continue
		}
		if claim, err := o.claimOf(ctx, r.State, step); err == nil && claim.Answer != nil {
			if err := o.takeRemembered(ctx, r, step, *claim.Answer); err != nil {
				o.log.Warn("remembered answer not recorded, trying again", zap.Error(err))
			}
			continue
		}
		o.log.Warn("worker taken for dead", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
		err := o.record(ctx, r, o.lost(r.State, step, fmt.Sprintf("no sign of life for %s: the worker is taken for dead", patience)))
		if err != nil {
			o.log.Warn("worker's death not recorded, trying again", zap.Error(err))
		}
	}
}

// checkArrival looks into the silence of an attempt: who got its start may have died with
// it. It is sent again to a setup service that says of itself that it claims attempts, and
// that nobody has claimed it; of any other nothing more can be known.
func (o *Orchestrator) checkArrival(ctx context.Context, r journal.Record, step rollout.Step) {
	if !o.view.silent(r.State, step, o.cfg.Resend) || !o.lastSign(ctx, r.State, step).IsZero() || step.Cancelled {
		return
	}
	if _, err := o.about(ctx, step.Script()); err != nil {
		return
	}
	o.log.Info("no sign of life since the start, sending it again", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Int("attempt", step.Attempt))
	if _, err := o.publishStart(ctx, r.State, step); err != nil {
		o.log.Warn("start not sent again", zap.Error(err))
	}
}

// aboutTimeout is how long a setup service may take to tell about a script.
const aboutTimeout = 500 * time.Millisecond

// about asks the setup service of a script about it.
func (o *Orchestrator) about(ctx context.Context, script protocol.Script) (protocol.ScriptInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, aboutTimeout)
	defer cancel()
	var info protocol.ScriptInfo
	m, err := o.nc.RequestWithContext(ctx, protocol.AboutScriptSubject(script), nil)
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(m.Data, &info)
}

// lastSign is when the running attempt of a script gave its last sign of life; zero
// when it has given none. A claim that is found counts as one, given now: whoever took
// it has promised more, which only orchestrators that are gone may have heard.
func (o *Orchestrator) lastSign(ctx context.Context, s rollout.State, step rollout.Step) time.Time {
	if o.view.of(s.ID, step.ID, step.Attempt).Beat.IsZero() && o.claimed(ctx, s, step) {
		o.view.note(s.ID, step.ID, step.Attempt, func(seen *observed) {
			seen.Beat, seen.Sent, seen.Waiting = time.Now().UTC(), true, ""
		})
	}
	return o.view.of(s.ID, step.ID, step.Attempt).Beat
}

// claimed reports whether a worker has claimed the attempt.
func (o *Orchestrator) claimed(ctx context.Context, s rollout.State, step rollout.Step) bool {
	_, err := o.claimOf(ctx, s, step)
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		o.log.Debug("read claim", zap.Error(err))
	}
	return err == nil
}
