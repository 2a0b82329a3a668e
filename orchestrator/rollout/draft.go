package rollout

import (
	"fmt"
	"slices"
	"time"
)

// draft is a state while an event changes it. Its slice of steps is its own; the steps in it
// are those of the state before until [draft.edit] has put a copy in their place.
type draft struct{ State }

// edit gives a step that the caller may change.
func (d *draft) edit(i int) *Step {
	step := *d.Steps[i]
	d.Steps[i] = &step
	return &step
}

// named finds the step called id.
func (d *draft) named(id string) (*Step, error) {
	for i := range d.Steps {
		if d.Steps[i].ID == id {
			return d.edit(i), nil
		}
	}
	return nil, fmt.Errorf("%w: rollout %s has no step called %q", ErrStale, d.ID, id)
}

// attempt finds the step that e is about, if that attempt of it runs.
func (d *draft) attempt(e Event, kinds ...Kind) (*Step, error) {
	for i := range d.Steps {
		step := d.Steps[i]
		if step.ID != e.Step || !slices.Contains(kinds, step.Kind) {
			continue
		}
		if step.Status != StepRunning {
			return nil, fmt.Errorf("%w: step %s is %s, it waits for nothing", ErrStale, e.Step, step.Status)
		}
		if step.Attempt != e.Attempt {
			return nil, fmt.Errorf("%w: step %s runs at attempt %d, not at attempt %d", ErrStale, e.Step, step.Attempt, e.Attempt)
		}
		return d.edit(i), nil
	}
	return nil, fmt.Errorf("%w: rollout %s has no step for %s called %q", ErrStale, d.ID, e.Type, e.Step)
}

// advance starts what may start, and ends the rollout when there is nothing left.
// After a failure nothing new starts, but what runs may finish.
func (d *draft) advance(at time.Time) {
	switch {
	case undoing(d.State):
		d.advanceBack(at)
		return
	case d.Status == Amending:
		d.advanceAmended(at)
		return
	}
	if len(d.FailedSteps()) > 0 {
		d.fail(at)
		return
	}
	unfinished, last := false, min(lastStage(d.State), barrier(d.Steps))
	for i, step := range d.Steps {
		if step.Status == StepPending && step.stage() <= last && !holds(d.State, *step) && needsDone(d.Steps, step) {
			d.edit(i).begin(at)
		}
		unfinished = unfinished || !step.finished()
	}
	if !unfinished {
		d.Status, d.Ended, d.Paused = Completed, at, nil
	}
}

// fail ends the rollout for now, once nothing runs any more.
func (d *draft) fail(at time.Time) {
	if len(d.Running()) > 0 {
		return
	}
	for i := range d.Steps {
		if d.Steps[i].Status == StepRetrying {
			step := d.edit(i)
			step.Status, step.Next, step.Left = StepFailed, time.Time{}, 0
		}
	}
	d.Status, d.Ended, d.Paused = Failed, at, nil
}

// needsDone reports whether the steps that a step needs have finished.
func needsDone(steps []*Step, step *Step) bool {
	return !slices.ContainsFunc(step.Needs, func(n int) bool { return !steps[n-1].finished() })
}
