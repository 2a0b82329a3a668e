package command

import (
	"context"

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
	for _, step := range s.All() {
		p.Steps = append(p.Steps, api.RestoreStep{Number: step.Number, ID: step.ID, Kind: step.Kind, Name: step.Name, Version: step.Version})
	}
	return p, nil
}
