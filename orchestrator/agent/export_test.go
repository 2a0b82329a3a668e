package agent

import "time"

// SetLease makes the agent's lease last for so long, in whole seconds.
func (a *Agent) SetLease(d time.Duration) { a.lasts = d }

// Instance is who the agent is.
func (a *Agent) Instance() string { return a.identity.Instance }
