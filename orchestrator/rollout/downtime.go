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
	for _, step := range s.Steps {
		if step.Kind != Maintenance || step.Status != StepDone {
			continue
		}
		o := Outage{Service: step.Name, From: step.Effective}
		if opened, ok := s.Step(trafficID(step.Name)); ok && opened.Status == StepDone {
			o.To = opened.Effective
		}
		all = append(all, o)
	}
	slices.SortStableFunc(all, func(a, b Outage) int { return a.From.Compare(b.From) })
	return all
}

// Downtime is how long any service of the app was under maintenance, until the time now
// where one still is. 0 means that none was.
func (s State) Downtime(now time.Time) time.Duration {
	var from, to time.Time
	for _, o := range s.Outages() {
		if o.To.IsZero() {
			o.To = now
		}
		if from.IsZero() || o.From.Before(from) {
			from = o.From
		}
		if o.To.After(to) {
			to = o.To
		}
	}
	return to.Sub(from)
}

// RetryAfter is what callers of a service under maintenance are told to wait; it is 0
// where the step is not to put, or leave, its service under maintenance.
func (s State) RetryAfter(step Step) time.Duration {
	_, closes := s.Step(step.Name + "/maintenance")
	if step.Kind == Traffic && !(step.Back && closes) {
		return 0
	}
	if step.Kind == Maintenance && step.Back {
		return 0
	}
	if s.Release.RetryAfter == 0 {
		return DefaultRetryAfter
	}
	return time.Duration(s.Release.RetryAfter)
}
