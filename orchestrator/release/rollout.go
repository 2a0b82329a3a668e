package release

import "github.com/golive-dev/golive/orchestrator/rollout"

// Release is what a rollout has to know of the manifest. What a command or a check runs is
// no part of it: agents have that from the manifest itself.
func (m *Manifest) Release() rollout.Release {
	r := rollout.Release{
		App: m.App, Version: m.Version, Strategy: m.Strategy, RetryAfter: m.RetryAfter,
		Setup: m.Setup.Exists(), Digest: m.Digest(), MustNotSkip: m.MustNotSkip,
		AutoRevert: m.AutoRevert, Environment: m.Environment.Name, Approvals: m.Environment.Approvals,
	}
	if m.Requires != nil {
		r.Requires = &rollout.Requirement{Version: m.Requires.Version}
	}
	for _, s := range m.Steps {
		r.Workflow = append(r.Workflow, s.item())
	}
	for _, s := range m.Services {
		r.Services = append(r.Services, s.Service)
	}
	return r
}
