package command

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// approve answers the question of a step with yes, or confirms an item of its checklist.
func (c *interventions) approve(ctx context.Context, q api.ApproveRequest) (api.RolloutView, error) {
	what := rollout.ApprovedBy
	if q.Item != 0 {
		what = rollout.ItemConfirmed
	}
	return c.say(ctx, q.StepRequest, "approve", rollout.Event{Type: what, Item: q.Item})
}

// reject answers the question of a step with no.
func (c *interventions) reject(ctx context.Context, q api.StepRequest) (api.RolloutView, error) {
	return c.say(ctx, q, "reject", rollout.Event{Type: rollout.RejectedBy})
}

// say records what a person says to an approval. Without a step it is about the one that
// waits. Saying it twice is no error.
func (c *interventions) say(ctx context.Context, q api.StepRequest, command string, e rollout.Event) (api.RolloutView, error) {
	if err := c.identified(q.Known, command); err != nil {
		return api.RolloutView{}, err
	}
	if q.By == "" {
		return api.RolloutView{}, refuse(api.CodeInvalid, "name the person in the field by", "nobody is named who says so")
	}
	return c.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		step, err := asked(s, q.Step)
		if err != nil {
			return nil, err
		}
		e.Step, e.By, e.Reason = step.ID, q.By, q.Reason
		if said(step, e) {
			return nil, nil
		}
		return &e, nil
	})
}

// asked is the approval step called id or, if that is empty, the one that waits.
func asked(s rollout.State, id string) (rollout.Step, error) {
	if id != "" {
		return stepOf(s, id)
	}
	for _, step := range s.Running() {
		if step.Kind == rollout.Approving {
			return step, nil
		}
	}
	return rollout.Step{}, refuse(api.CodeConflict, "golive show "+s.ID+" tells how it stands", "rollout %s waits for nobody's approval", s.ID)
}

// said reports whether the same person has said the same already.
func said(step rollout.Step, e rollout.Event) bool {
	a := step.Approval
	if a == nil {
		return false
	}
	var votes []rollout.Vote
	switch e.Type {
	case rollout.ApprovedBy:
		votes = a.Approved
	case rollout.ItemConfirmed:
		votes = a.Confirmed
	default:
		return step.Status == rollout.StepFailed && a.Rejected != nil && a.Rejected.By == e.By
	}
	for _, v := range votes {
		if v.By == e.By && v.Item == e.Item {
			return true
		}
	}
	return false
}
