package rollout

import (
	"fmt"
	"reflect"
	"slices"
)

// Format is the number of the form in which releases, events and states are written. A
// reader leaves a rollout alone, whole, that has a change of another one.
const Format = 2

// KnownFormat is nil if this version of golive reads what is written in a format, else
// [ErrUnknown].
func KnownFormat(format int) error {
	if format != Format {
		return fmt.Errorf("format %d is %w, which reads %d", format, ErrUnknown, Format)
	}
	return nil
}

// Change is what an event has made of a rollout: all that is stored of it. A rollout's state
// is the fold of its changes, in their order: see [State.Fold].
type Change struct {
	Format   int     `json:"format"`
	App      string  `json:"app"`
	Version  string  `json:"version,omitempty"` // of the app
	Rollout  string  `json:"rollout"`
	Previous uint64  `json:"previous,omitempty"` // sequence of the change before; 0: this is the first one
	Event    Event   `json:"event"`
	Summary  Summary `json:"summary"` // of the state after it, for readers that do not fold

	StepHosts bool `json:"stepHosts,omitempty"` // the hosts of the event's answer stand in its step, and only there

	// State is the state after it but for what stands beside it here: the release is left out
	// unless this change brings one, and of the steps those are here that are not as before.
	// With a release all steps are here.
	State State `json:"state"`
}

// Summary is how far a rollout has come.
type Summary struct {
	Status  Status   `json:"status"`
	Done    int      `json:"done"`              // steps that are done, or need not be
	Of      int      `json:"of"`                // steps of the plan
	Running []string `json:"running,omitempty"` // steps that run, at most 20
}

// maxSummary is how many running steps a summary names.
const maxSummary = 20

// Summary tells how far the rollout has come.
func (s State) Summary() Summary {
	sum := Summary{Status: s.Status, Of: len(s.Steps)}
	for _, step := range s.Steps {
		switch {
		case step.finished():
			sum.Done++
		case step.Status == StepRunning && len(sum.Running) < maxSummary:
			sum.Running = append(sum.Running, step.ID)
		}
	}
	return sum
}

// ChangeFrom is the change that makes s of the state before, whose sequence is previous; the
// zero State and 0 are before the first one.
func (s State) ChangeFrom(before State, previous uint64) Change {
	c := Change{
		Format: Format, App: s.Release.App, Version: s.Release.Version, Rollout: s.ID, Previous: previous,
		Event: s.Event, Summary: s.Summary(), State: s,
	}
	c.State.ID, c.State.Event = "", Event{}
	if a := c.Event.Answer; a != nil && len(a.Hosts) > 0 { // the step has them, too
		if step, known := s.Step(c.Event.Step); known && reflect.DeepEqual(step.Hosts, a.Hosts) {
			answer := *a
			answer.Hosts = nil
			c.Event.Answer, c.StepHosts = &answer, true
		}
	}
	if previous == 0 || !samePlan(before, s) {
		return c
	}
	c.State.Release, c.State.Steps, c.State.Restore = Release{}, nil, nil
	for i, step := range s.Steps {
		if was := before.Steps[i]; was != step && !reflect.DeepEqual(was, step) {
			c.State.Steps = append(c.State.Steps, step)
		}
	}
	return c
}

// samePlan reports whether two states have the same release and the same steps, in whatever
// condition.
func samePlan(a, b State) bool {
	return reflect.DeepEqual(a.Release, b.Release) &&
		slices.EqualFunc(a.Steps, b.Steps, func(x, y *Step) bool { return x == y || x.ID == y.ID })
}

// Fold is the state after a change; sequence is that of the change which led to s, and the
// zero State and 0 are before the first one. The error is [ErrUnknown] where the change has a
// format that this version of golive does not know, and else says why it does not follow on s.
// With an error the state is s.
func (s State) Fold(c Change, sequence uint64) (State, error) {
	if err := c.Known(); err != nil {
		return s, err
	}
	next := c.State
	next.ID, next.Event = c.Rollout, c.Event
	for _, step := range c.State.Steps {
		if c.StepHosts && step != nil && step.ID == c.Event.Step && c.Event.Answer != nil {
			answer := *c.Event.Answer
			answer.Hosts = step.Hosts
			next.Event.Answer = &answer
		}
	}
	switch {
	case c.Previous != sequence:
		return s, fmt.Errorf("rollout %s: a change of event %d does not follow on event %d", c.Rollout, c.Previous, sequence)
	case c.Previous > 0 && (s.ID != c.Rollout || s.Release.App != c.App):
		return s, fmt.Errorf("rollout %s of %s: a change is about rollout %s of %s", s.ID, s.Release.App, c.Rollout, c.App)
	case next.Release.App != "":
		if next.Steps == nil {
			next.Steps = []*Step{}
		}
		return next, numbered(next)
	case c.Previous == 0:
		return s, fmt.Errorf("rollout %s: its first change has no release", c.Rollout)
	}
	next.Release, next.Steps, next.Restore = s.Release, slices.Clone(s.Steps), s.Restore
	for _, step := range c.State.Steps {
		if step == nil || step.Number < 1 || step.Number > len(next.Steps) || next.Steps[step.Number-1].ID != step.ID {
			return s, fmt.Errorf("rollout %s: a change is about a step that it does not have", c.Rollout)
		}
		next.Steps[step.Number-1] = step
	}
	return next, nil
}

// numbered reports whether the steps of a plan have their numbers.
func numbered(s State) error {
	for i, step := range s.Steps {
		if step == nil || step.Number != i+1 {
			return fmt.Errorf("rollout %s: step %d of its plan has another number", s.ID, i+1)
		}
	}
	return nil
}

// Known is nil if this version of golive reads changes of that format, else [ErrUnknown].
func (c Change) Known() error {
	if err := KnownFormat(c.Format); err != nil {
		return fmt.Errorf("rollout %s: %w", c.Rollout, err)
	}
	return nil
}
