package command

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// pace has the script of a step work faster, or slower. Who asks for what is so already has
// the script told again: it may not have heard.
func (c *interventions) pace(ctx context.Context, q api.PaceRequest) (api.RolloutView, error) {
	asked := protocol.Pace{Rate: q.Rate, InFlight: q.InFlight}
	if asked == (protocol.Pace{}) {
		return api.RolloutView{}, refuse(api.CodeInvalid, "name rate, in records a second, or inFlight, in batches at the same time, or both",
			"nothing is asked for: how fast shall the script work?")
	}
	if err := rollout.ValidatePace(asked); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "a rate of 0 sets no limit; golive pause holds a script", "%v", err)
	}
	var again *rollout.Step
	v, err := c.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		again = nil
		step, err := scriptOf(s, q.Step)
		if err != nil {
			return nil, err
		}
		e := rollout.Event{Type: rollout.PaceAsked, Step: q.Step, Pace: &asked, By: q.By, Reason: q.Reason}
		next, err := s.Apply(e)
		if err != nil {
			return nil, refuse(api.CodeConflict, "golive show "+s.ID+" tells how it stands",
				"step %s of rollout %s is %s: its script does not run any more", step.ID, s.ID, step.Status)
		}
		if then, _ := next.Step(step.ID); rollout.SamePace(then.Script.Pace, step.Script.Pace) {
			again = &step
			return nil, nil
		}
		return &e, nil
	})
	if err == nil && again != nil && again.Status == rollout.StepRunning {
		err = c.Setup.SendPace(ctx, v.State, *again)
	}
	return v, err
}
