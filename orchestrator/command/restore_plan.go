package command

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
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
	if w.Restore.Live == "" {
		p.Version = ""
	}
	for _, service := range w.snapshot.Services {
		for _, part := range service.Parts {
			p.Bytes, p.Messages = p.Bytes+part.State.Bytes, p.Messages+part.Messages
		}
	}
	if p.Void, err = c.voided(ctx, q.App, w.Restore); err != nil {
		return p, err
	}
	v, err := c.speedOf(ctx, w.snapshot)
	if err != nil {
		return p, err
	}
	var total, closed time.Duration
	for _, step := range s.All() {
		one := api.RestoreStep{Number: step.Number, ID: step.ID, Kind: step.Kind, Name: step.Name, Version: step.Version, Drain: step.Move.Drain}
		if step.Move.Replaces != nil {
			one.Online = step.Move.Replaces.Online
		}
		if step.Put != nil {
			one.Bytes, one.Drop = step.Put.Bytes, step.Put.Drop
		}
		one.Checks = step.Snapshot != nil && step.Snapshot.Checks != ""
		lasts, exact := v.lasts(step, p.Bytes)
		one.Lasts, one.AtLeast = rollout.Duration(lasts.Round(time.Millisecond)), !exact
		p.AtLeast = p.AtLeast || !exact
		if total += lasts; !one.Checks {
			closed += lasts
		}
		p.Steps = append(p.Steps, one)
	}
	p.Lasts, p.Closed = rollout.Duration(total.Round(time.Millisecond)), rollout.Duration(closed.Round(time.Millisecond))
	return p, nil
}

// speed is how many bytes of data a second were read and written, as was measured; 0: it was not.
type speed struct {
	reads, takes, puts float64
}

// speedOf tells how fast the snapshot was read and taken, and how fast the newest restore of the app
// that is known has put data back.
func (c *restorer) speedOf(ctx context.Context, s snapshot.Snapshot) (speed, error) {
	var of speed
	var bytes uint64
	var reading time.Duration
	for _, service := range s.Services {
		for _, part := range service.Parts {
			bytes, reading = bytes+part.State.Bytes, reading+time.Duration(part.Took)
		}
	}
	of.takes = perSecond(bytes, time.Duration(s.Took))
	of.reads = perSecond(bytes, time.Duration(s.Took)-reading)
	page, _, err := c.Journal.Page(ctx, s.App, "", pageSince)
	if err != nil {
		return of, err
	}
	for _, ref := range page {
		r, err := c.Journal.Load(ctx, ref.App, ref.ID)
		if err != nil && !errors.Is(err, rollout.ErrNotFound) {
			return of, err
		}
		if of.puts = putSpeed(r.State); of.puts > 0 {
			break
		}
	}
	return of, nil
}

// putSpeed is how many bytes a second a restore has put back; 0: it has put none.
func putSpeed(s rollout.State) float64 {
	var bytes uint64
	var took time.Duration
	for _, step := range s.All() {
		if step.Put != nil && step.Status == rollout.StepDone {
			bytes, took = bytes+step.Put.Bytes, took+step.Ended.Sub(step.Started)
		}
	}
	return perSecond(bytes, took)
}

func perSecond(bytes uint64, in time.Duration) float64 {
	if in <= 0 {
		return 0
	}
	return float64(bytes) / in.Seconds()
}

// lasts is how long a step of a restore takes with a speed: moves of traffic take next to nothing.
// Exact says that it was measured; else it takes longer than that, as data is read faster than it
// is written.
func (v speed) lasts(step rollout.Step, bytes uint64) (lasts time.Duration, exact bool) {
	by := v.takes
	switch {
	case step.Put != nil && v.puts > 0:
		by, bytes = v.puts, step.Put.Bytes
	case step.Put != nil:
		bytes = step.Put.Bytes
	case step.Snapshot == nil:
		return 0, true
	case step.Snapshot.Checks != "":
		by = v.reads
	}
	if by > 0 {
		lasts = time.Duration(float64(bytes) / by * float64(time.Second))
	}
	return lasts, step.Put == nil || step.Put.Bytes == 0 || v.puts > 0
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
