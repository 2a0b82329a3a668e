package command

import (
	"context"
	"errors"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// turnRestoreBack has a restore that has failed put data and traffic back as they were when it
// began.
func (c *returner) turnRestoreBack(ctx context.Context, r journal.Record) error {
	why := "the restore has failed"
	for _, step := range r.State.FailedSteps() {
		why = rollout.Clip("the step " + step.ID + " has failed: " + step.Error.Message)
	}
	const by = "golive"
	_, err := c.Recorder.Change(ctx, r.State.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if !s.TurnsBack() {
			return nil, nil // somebody was faster
		}
		return &rollout.Event{Type: rollout.BackwardAsked, At: c.Recorder.Now(), By: by, Reason: why, Backward: &rollout.Backward{By: by, Reason: why}}, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		return nil
	}
	return err
}
