package agent

import "time"

// SetLease makes the agent's lease last for so long, in whole seconds.
func (a *Agent) SetLease(d time.Duration) { a.lease.lasts = d }

// Lapse lets the lease run out on the agent's side.
func (a *Agent) Lapse() { a.lease.lapse(errLapsed) }

// Instance is who the agent is.
func (a *Agent) Instance() string { return a.identity.Instance }
