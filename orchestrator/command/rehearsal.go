package command

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
)

// rehearsals is where it is kept what came of them.
func (c *base) rehearsals() rehearsed.Store {
	return rehearsed.Store{Conn: c.Conn, Environment: c.Journal.Environment(), Replicas: c.Replicas}
}

// tellRehearsal keeps what came of a rehearsal. Nobody here can tell whether it is true.
func (c *base) tellRehearsal(ctx context.Context, q api.RehearsalRequest) (rehearsed.Outcome, error) {
	o := q.Outcome
	if err := o.Validate(); err != nil {
		return o, refuse(api.CodeInvalid, "golive rehearse tells what came of it by itself", "what came of the rehearsal: %v", err)
	}
	o.By = rollout.Clip(q.By)
	kept, err := c.rehearsals().Tell(ctx, o, c.Recorder.Now())
	if errors.Is(err, rehearsed.ErrFull) {
		return kept, refuse(api.CodeConflict, "wait, or have those tell less who rehearse that much: golive rehearse --tell=false", "%v", err)
	}
	if err == nil {
		c.Log.Info("rehearsal told", zap.String("rehearsal", o.ID), zap.String("app", o.App), zap.String("version", o.Version), zap.Bool("passed", o.Passed), zap.String("by", o.By))
	}
	return kept, err
}

// checkRehearsed refuses a release that has not passed a rehearsal in time, where that is wanted.
func (c *planner) checkRehearsed(ctx context.Context, r rollout.Release) error {
	within := time.Duration(r.Approvals.Rehearsed)
	if within == 0 {
		return nil
	}
	wants := fmt.Sprintf("the environment takes only what has passed a rehearsal within %s (approvals.rehearsed), and this very release of %s %s", brief(within), r.App, r.Version)
	const hint = "golive rehearse, with the same DIR, --commit and --env; then deploy again"
	o, err := c.rehearsals().Of(ctx, r.App, r.Digest)
	switch ago := c.Recorder.Now().Sub(o.At); {
	case errors.Is(err, rehearsed.ErrNone):
		return refuse(api.CodeNotRehearsed, hint, "%s has passed none", wants)
	case err != nil:
		return err
	case !o.Passed:
		return refuse(api.CodeNotRehearsed, "mend it, and rehearse again: golive rehearse", "%s has failed in the last one, %s ago", wants, ago.Round(time.Second))
	case ago > within:
		return refuse(api.CodeNotRehearsed, hint, "%s has passed the last one %s ago", wants, ago.Round(time.Second))
	}
	return nil
}

// brief is a duration without what is zero: 24h, where Go writes 24h0m0s.
func brief(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// rehearsedBefore fills in what the last rehearsal of the very release predicts, where it is known:
// how long steps take that have never run here, and the time offline.
func (c *planner) rehearsedBefore(ctx context.Context, r rollout.Release, p *api.PlanView) error {
	o, err := c.rehearsals().Of(ctx, r.App, r.Digest)
	if errors.Is(err, rehearsed.ErrNone) {
		return nil
	}
	if err != nil {
		return err
	}
	growth, err := c.growth(ctx, r, o)
	if err != nil {
		return err
	}
	took := make(map[string]rollout.Duration)
	downtime := o.Downtime
	for _, s := range o.Steps {
		took[s.ID] = predicted(s, growth)
		if s.Offline {
			downtime += took[s.ID] - s.Took
		}
	}
	for i, s := range p.Steps {
		if predicts, known := took[s.ID]; known && s.Last == nil && s.Kind != rollout.Approving && s.Snapshot == nil {
			p.Steps[i].Last = &api.LastRun{Rehearsal: true, Duration: predicts, At: o.At, Rollout: o.ID}
		}
	}
	p.Rehearsed = &api.PlannedRehearsal{
		Rehearsal: o.ID, At: o.At, By: o.By, Passed: o.Passed, Drilled: o.Drilled, Snapshot: o.Snapshot, Partial: o.Partial, Commit: o.Commit,
		Downtime: max(downtime, 0),
	}
	return nil
}

// maxGrowth bounds what is predicted: beyond that a rehearsal tells nothing.
const maxGrowth = 1e6

// predicted is how long a step will take that deals with records: longer as the data has grown. Any
// other one takes as long as it took.
func predicted(s rehearsed.Step, growth float64) rollout.Duration {
	if s.Records == 0 {
		return s.Took
	}
	return rollout.Duration(time.Duration(float64(s.Took) * math.Min(growth, maxGrowth)).Round(time.Millisecond))
}

// growth is how many times as many messages the streams of a release hold now as they did in the
// rehearsal; 1 where that cannot be told.
func (c *planner) growth(ctx context.Context, r rollout.Release, o rehearsed.Outcome) (float64, error) {
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return 1, err
	}
	held := make(map[string]uint64)
	for _, h := range o.Held {
		held[h.Stream] = h.Messages
	}
	var then, now float64
	for _, service := range snapshot.ServicesOf(r) {
		for _, p := range service.Parts {
			before, known := held[p.Stream()]
			if !known {
				continue
			}
			stream, err := js.Stream(ctx, p.Stream())
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				continue
			}
			if err != nil {
				return 1, err
			}
			then += float64(before)
			now += float64(stream.CachedInfo().State.Msgs)
		}
	}
	if then == 0 {
		return 1, nil
	}
	return now / then, nil
}
