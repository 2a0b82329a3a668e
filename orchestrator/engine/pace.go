package engine

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// overtaken tells a script its pace once more when it turns out that somebody had asked for
// that before its start was sent from here: who told it so then has spoken before the start,
// which said what had been so until then.
func (g *scripts) overtaken(r journal.Record) {
	e := r.State.Event
	step, _ := r.State.Step(e.Step)
	if e.Type != rollout.PaceAsked || step.Status != rollout.StepRunning {
		return
	}
	if started := g.View.Of(r.State.ID, step.ID, step.Attempt).Started; started.IsZero() || e.At.After(g.Journal.Clock().Of(started)) {
		return
	}
	if err := g.Setup.PublishPace(r.State, g.withPace(r.State.ID, step)); err != nil {
		g.Log.Warn("pace not told again", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Error(err))
	}
}

// settlePace sees to it that a script that was told of a pace by the item of an event ends up
// with its newest one: the item may come late, when that of a newer event is done.
func (g *scripts) settlePace(ctx context.Context, r journal.Record) error {
	told, _ := r.State.Step(r.State.Event.Step)
	for told.Status == rollout.StepRunning {
		newest, err := g.Journal.Load(ctx, r.State.Release.App, r.State.ID)
		if errors.Is(err, rollout.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		now, _ := newest.State.Step(told.ID)
		if now.Status != rollout.StepRunning || now.Attempt != told.Attempt || rollout.SamePace(now.Script.Pace, told.Script.Pace) {
			return nil
		}
		if err := g.Setup.SendPace(ctx, newest.State, now); err != nil {
			return err
		}
		told = now
	}
	return nil
}

// withPace is an attempt of a step with the newest pace that is known here: whoever acts on it
// may have begun before somebody has changed it.
func (g *scripts) withPace(id string, step rollout.Step) rollout.Step {
	newest, known := g.View.Newest(id)
	if !known {
		return step
	}
	if now, _ := newest.State.Step(step.ID); now.Attempt == step.Attempt {
		step.Script.Pace = now.Script.Pace
	}
	return step
}
