package rollout

import (
	"fmt"
	"time"
)

// holds reports whether a step must not go on: it or the whole rollout is paused, or it waits
// for a script to stop.
func holds(s State, step Step) bool {
	return s.Paused != nil || step.Paused != nil || blocked(s, step)
}

// applyPause holds the rollout or, if the event names one, a step: nothing that is held
// begins, scripts that run are told, and their clocks stand still. A move of traffic that
// is under way is finished, since requests wait for it.
func applyPause(d *draft, e Event) error {
	if d.Status != Running && d.Status != Reverting && d.Status != Amending {
		return fmt.Errorf("%w: rollout %s is %s, it cannot be paused", ErrStale, d.ID, d.Status)
	}
	pause := &Pause{Since: e.At, By: e.By, Reason: e.Reason}
	if e.Step == "" {
		if d.Paused != nil {
			return fmt.Errorf("%w: rollout %s is paused already", ErrStale, d.ID)
		}
		d.Paused = pause
	} else {
		step, err := pausable(d, e.Step)
		if err != nil {
			return err
		}
		if step.Paused != nil {
			return fmt.Errorf("%w: step %s is paused already", ErrStale, e.Step)
		}
		step.Paused = pause
	}
	d.holdAll(e.At)
	return nil
}

// applyResume lets the rollout or a step go on.
func applyResume(d *draft, e Event) error {
	if d.Status != Running && d.Status != Reverting && d.Status != Amending {
		return fmt.Errorf("%w: rollout %s is %s, it cannot be resumed", ErrStale, d.ID, d.Status)
	}
	if e.Step == "" {
		if d.Paused == nil {
			return fmt.Errorf("%w: rollout %s is not paused", ErrStale, d.ID)
		}
		d.Paused = nil
	} else {
		step, err := pausable(d, e.Step)
		if err != nil {
			return err
		}
		if step.Paused == nil {
			return fmt.Errorf("%w: step %s is not paused", ErrStale, e.Step)
		}
		step.Paused = nil
	}
	d.holdAll(e.At)
	d.advance(e.At)
	return nil
}

// pausable finds a step that has not ended and can be held.
func pausable(d *draft, id string) (*Step, error) {
	step, err := d.named(id)
	switch {
	case err != nil:
		return nil, err
	case step.Status == StepRunning && step.Kind == Approving:
		return nil, fmt.Errorf("%w: step %s waits for a person, there is nothing to hold", ErrStale, id)
	case step.Status == StepRunning && !step.works():
		return nil, fmt.Errorf("%w: step %s is moving traffic, which cannot be held in the middle", ErrStale, id)
	case step.Status == StepRunning, step.Status == StepRetrying, step.Status == StepPending:
		return step, nil
	}
	return nil, fmt.Errorf("%w: step %s is %s, it waits for nothing", ErrStale, id, step.Status)
}

// holdAll stops and starts the clocks of all steps as the pauses say.
func (d *draft) holdAll(at time.Time) {
	for i, step := range d.Steps {
		if step.Status == StepRunning || step.Status == StepRetrying {
			d.hold(d.edit(i), at)
		}
	}
}

// hold stops the clock of a step that is held, and starts that of one that no longer is.
func (d *draft) hold(step *Step, at time.Time) {
	clock := &step.Deadline
	switch {
	case step.Status == StepRetrying:
		clock = &step.Next
	case step.Status != StepRunning || !step.works():
		return
	}
	switch held := holds(d.State, *step); {
	case held && !clock.IsZero():
		step.Left, *clock = Duration(max(clock.Sub(at), 1)), time.Time{}
	case !held && step.Left > 0:
		step.Left, *clock = 0, at.Add(time.Duration(step.Left))
	}
}
