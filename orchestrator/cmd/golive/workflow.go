package main

import (
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// policyOf is what a deploy request says of an environment's approvals.
func policyOf(a release.Approvals) rollout.Policy {
	return rollout.Policy{
		Required: a.Required, By: a.By, Count: a.Count, NotStarter: a.NotStarter, Deadline: rollout.Duration(a.Deadline),
	}
}

// itemOf is what a deploy request says of an entry of the manifest's steps. What a command
// or check runs stays with the agents.
func itemOf(s release.Step) rollout.Item {
	i := rollout.Item{Phase: s.Phase, Traffic: rollout.Move(s.Traffic), Services: s.Services, Name: s.Name}
	if a := s.Approval; a != nil {
		i.Approval = &rollout.Question{Text: a.Text, Checklist: a.Checklist, Deadline: rollout.Duration(a.Deadline)}
	}
	if s.Command != nil || s.Check != nil {
		i.Work = &rollout.Work{
			Check: s.Check != nil, Backward: s.Command != nil && s.Command.Backward,
			On: s.On, Need: rollout.Need(s.Need), AtOnce: s.AtOnce,
			Timeout: rollout.Duration(s.Timeout), Retries: s.Retries, Backoff: rollout.Duration(s.Backoff),
		}
	}
	return i
}
