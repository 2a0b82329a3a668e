package orchestrator

import (
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// governed is a release under the policy of the environment as well as its own: what is
// stricter counts, and who may approve is the environment's word.
func (o *Orchestrator) governed(r rollout.Release) rollout.Release {
	own, p := o.cfg.Policy, r.Approvals
	p.Required = p.Required || own.Required
	p.NotStarter = p.NotStarter || own.NotStarter
	p.Count = max(p.Count, own.Count)
	if len(own.By) > 0 {
		p.By = own.By
	}
	if own.Deadline > 0 {
		p.Deadline = own.Deadline
	}
	r.Approvals = p
	return r
}
