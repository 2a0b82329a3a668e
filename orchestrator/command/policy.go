package command

import (
	"slices"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// governed is a release under the policy of the environment as well as its own: what is
// stricter counts, and who may approve is the environment's word.
func (c *planner) governed(r rollout.Release) rollout.Release {
	own, p := c.Policy, r.Approvals
	p.Required = p.Required || own.Required
	p.NotStarter = p.NotStarter || own.NotStarter
	p.Count = max(p.Count, own.Count)
	if len(own.By) > 0 {
		p.By = own.By
	}
	if own.Deadline > 0 {
		p.Deadline = own.Deadline
	}
	if own.Rehearsed > 0 && (p.Rehearsed == 0 || own.Rehearsed < p.Rehearsed) {
		p.Rehearsed = own.Rehearsed
	}
	r.Approvals = p
	return r
}

// answerable refuses a rollout that too few people could approve, as the one who starts it
// may not.
func answerable(p rollout.Policy, by string) error {
	others := len(p.By)
	if slices.Contains(p.By, by) {
		others--
	}
	if !p.NotStarter || len(p.By) == 0 || others >= max(p.Count, 1) {
		return nil
	}
	return refuse(api.CodeNotAllowed, "have somebody deploy who is not needed for that, or name more people in the approvals",
		"%s would start it and may not approve it then: of the others who may there are %d, and it needs %d", by, others, max(p.Count, 1))
}
