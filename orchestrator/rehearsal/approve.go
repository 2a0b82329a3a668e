package rehearsal

import (
	"context"
	"fmt"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// answering is who answers an approval, where the environment names nobody.
const answering = "rehearsal"

// Approve says yes to all of an approval that a rehearsal has come to, as often as it has to be
// said.
func Approve(ctx context.Context, client *api.Client, s rollout.State, step rollout.Step) error {
	q := api.ApproveRequest{StepRequest: api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: s.ID, Reason: "a rehearsal answers by itself"}, Step: step.ID}}
	q.By = voterOf(step, 0)
	for _, q.Item = range step.Approval.Unconfirmed() {
		if _, err := client.Approve(ctx, q); err != nil {
			return err
		}
	}
	q.Item = 0
	for n := len(step.Approval.Approved); n < max(step.Approval.Policy.Count, 1); n++ {
		q.By = voterOf(step, n)
		if _, err := client.Approve(ctx, q); err != nil {
			return err
		}
	}
	return nil
}

// voterOf is in whose name the rehearsal answers, as the person number n from 0: where the
// environment names who may, as them.
func voterOf(step rollout.Step, n int) string {
	switch may := step.Approval.Policy.By; {
	case n < len(may):
		return may[n]
	case n > 0:
		return fmt.Sprintf("%s-%d", answering, n+1)
	}
	return answering
}
