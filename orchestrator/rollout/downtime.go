package rollout

import (
	"slices"
	"time"
)

// Outage is a time in which a service was under maintenance, as its callers saw it: from
// its first answer 503 to the first answer of the new version.
type Outage struct {
	Service string    `json:"service"`
	From    time.Time `json:"from"`
	To      time.Time `json:"to,omitzero"` // zero while it lasts
}

// Outages lists the times in which services were, or are, under maintenance in the
// rollout, in the order of their beginning.
func (s State) Outages() []Outage {
	var all []Outage
	for _, step := range s.All() {
		if step.Kind != Maintenance || step.Move.Lift || step.Move.Effective.IsZero() {
			continue
		}
		opened, lifted := s.Step(liftID(step.Name))
		if !lifted {
			opened, _ = s.Step(trafficID(step.Name))
		}
		if opened.Move.Effective.IsZero() {
			all = append(all, Outage{Service: step.Name, From: step.Move.Effective, To: step.Move.Undone})
			continue
		}
		all = append(all, Outage{Service: step.Name, From: step.Move.Effective, To: opened.Move.Effective})
		if !opened.Move.Undone.IsZero() {
			all = append(all, Outage{Service: step.Name, From: opened.Move.Undone, To: step.Move.Undone})
		}
	}
	slices.SortStableFunc(all, func(a, b Outage) int { return a.From.Compare(b.From) })
	return all
}

// Downtime is how long any service of the app was under maintenance, until the time now
// where one still is. 0 means that none was.
func (s State) Downtime(now time.Time) time.Duration {
	var total time.Duration
	var counted time.Time // until when
	for _, o := range s.Outages() {
		if o.To.IsZero() {
			o.To = now
		}
		if o.From.Before(counted) {
			o.From = counted
		}
		if o.To.After(o.From) {
			total += o.To.Sub(o.From)
			counted = o.To
		}
	}
	return total
}

// RetryAfter is what callers of a service under maintenance are told to wait; it is 0
// where the step is not to put, or leave, its service under maintenance.
func (s State) RetryAfter(step Step) time.Duration {
	closes := step.Kind == Maintenance && !step.Move.Lift
	if step.Backwards() { // to what the step of the service before it has left
		closes = step.Move.Replaces != nil && step.Move.Replaces.Closed
		for _, before := range s.Steps[:step.Number-1] {
			if before.Name == step.Name && before.Kind == Maintenance && before.Status != StepSkipped {
				closes = !before.Move.Lift
			}
		}
	}
	if !closes {
		return 0
	}
	if s.Release.RetryAfter == 0 {
		return DefaultRetryAfter
	}
	return time.Duration(s.Release.RetryAfter)
}
