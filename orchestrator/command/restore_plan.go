package command

import (
	"context"
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// plan tells what a restore would do. It writes nothing, anywhere.
func (c *restorer) plan(ctx context.Context, q api.RestoreRequest) (api.RestorePlan, error) {
	w, err := c.wanted(ctx, q)
	if err != nil {
		return api.RestorePlan{}, err
	}
	s, err := rollout.CompileRestore("", "", c.Recorder.Now(), w.Restoring)
	if err != nil {
		return api.RestorePlan{}, err
	}
	p := api.RestorePlan{
		App: q.App, From: w.Restore.From, Version: w.Release.Version, Snapshot: w.snapshot.ID, Taken: w.snapshot.Taken, Of: w.Restore.Of,
		OneCut: w.snapshot.Moment.One, Stays: w.stays, Problems: w.problems(),
	}
	for _, service := range w.snapshot.Services {
		for _, part := range service.Parts {
			p.Bytes, p.Messages = p.Bytes+part.State.Bytes, p.Messages+part.Messages
		}
	}
	if p.Void, err = c.voided(ctx, q.App, w.Restore); err != nil {
		return p, err
	}
	var total, closed time.Duration
	known := true
	for _, step := range s.All() {
		one := api.RestoreStep{Number: step.Number, ID: step.ID, Kind: step.Kind, Name: step.Name, Version: step.Version, Drain: step.Move.Drain}
		if step.Move.Replaces != nil {
			one.Online = step.Move.Replaces.Online
		}
		if step.Put != nil {
			one.Bytes, one.Drop = step.Put.Bytes, step.Put.Drop
		}
		one.Checks = step.Snapshot != nil && step.Snapshot.Checks != ""
		lasts, measured, err := c.lasts(ctx, w, step)
		if err != nil {
			return p, err
		}
		if measured {
			one.Lasts = new(rollout.Duration)
			*one.Lasts = rollout.Duration(lasts.Round(time.Millisecond))
			if total += lasts; !one.Checks {
				closed += lasts
			}
		}
		known = known && (measured || step.Kind == rollout.Traffic || step.Kind == rollout.Maintenance)
		p.Steps = append(p.Steps, one)
	}
	if known {
		p.Lasts, p.Closed = new(rollout.Duration), new(rollout.Duration)
		*p.Lasts, *p.Closed = rollout.Duration(total.Round(time.Millisecond)), rollout.Duration(closed.Round(time.Millisecond))
	}
	return p, nil
}

// lasts is how long a step of a restore takes, as far as was measured: moves of traffic take next to
// nothing.
func (c *restorer) lasts(ctx context.Context, w wantedRestore, step rollout.Step) (time.Duration, bool, error) {
	return 0, false, nil
}

// voided lists the scripts that count as run now, and do not when a restore has completed.
func (c *restorer) voided(ctx context.Context, app string, r rollout.Restore) ([]string, error) {
	book, err := c.Ledger.Book(ctx, app)
	if err != nil {
		return nil, err
	}
	ran := make(map[rollout.RanIn]bool)
	for _, one := range r.Ran {
		ran[one] = true
	}
	var all []string
	for _, e := range book.Entries() {
		if e.Void == "" && !ran[rollout.RanIn{Name: e.Name, Version: e.Version, Phase: e.Phase, Rollout: e.Rollout}] {
			all = append(all, fmt.Sprintf("%s %s %s", e.Name, e.Version, e.Phase))
		}
	}
	return all, nil
}
