package rollout

import (
	"fmt"
	"time"
)

// holds reports whether a step must not go on, because it or the whole rollout is paused.
func (s State) holds(step Step) bool { return s.Paused != nil || step.Paused != nil }

// applyPause holds the rollout or, if the event names one, a step: nothing that is held
// begins, scripts that run are told, and their clocks stand still. A move of traffic that
// is under way is finished, since requests wait for it.
func (s State) applyPause(e Event) (State, error) {
	if s.Status != Running && s.Status != Reverting && s.Status != Amending {
		return s, fmt.Errorf("%w: rollout %s is %s, it cannot be paused", ErrStale, s.ID, s.Status)
	}
	pause := &Pause{Since: e.At, By: e.By, Reason: e.Reason}
	if e.Step == "" {
		if s.Paused != nil {
			return s, fmt.Errorf("%w: rollout %s is paused already", ErrStale, s.ID)
		}
		s.Paused = pause
	} else {
		step, err := s.pausable(e.Step)
		if err != nil {
			return s, err
		}
		if step.Paused != nil {
			return s, fmt.Errorf("%w: step %s is paused already", ErrStale, e.Step)
		}
		step.Paused = pause
	}
	s.holdAll(e.At)
	return s, nil
}

// applyResume lets the rollout or a step go on.
func (s State) applyResume(e Event) (State, error) {
	if s.Status != Running && s.Status != Reverting && s.Status != Amending {
		return s, fmt.Errorf("%w: rollout %s is %s, it cannot be resumed", ErrStale, s.ID, s.Status)
	}
	if e.Step == "" {
		if s.Paused == nil {
			return s, fmt.Errorf("%w: rollout %s is not paused", ErrStale, s.ID)
		}
		s.Paused = nil
	} else {
		step, err := s.pausable(e.Step)
		if err != nil {
			return s, err
		}
		if step.Paused == nil {
			return s, fmt.Errorf("%w: step %s is not paused", ErrStale, e.Step)
		}
		step.Paused = nil
	}
	s.holdAll(e.At)
	return s.advance(e.At), nil
}

// pausable finds a step that has not ended and can be held.
func (s State) pausable(id string) (*Step, error) {
	step, err := s.named(id)
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
func (s State) holdAll(at time.Time) {
	for i, step := range s.Steps {
		if step.Status == StepRunning || step.Status == StepRetrying {
			s.hold(s.edit(i), at)
		}
	}
}

// hold stops the clock of a step that is held, and starts that of one that no longer is.
func (s State) hold(step *Step, at time.Time) {
	clock := &step.Deadline
	switch {
	case step.Status == StepRetrying:
		clock = &step.Next
	case step.Status != StepRunning || !step.works():
		return
	}
	switch held := s.holds(*step); {
	case held && !clock.IsZero():
		step.Left, *clock = Duration(max(clock.Sub(at), 1)), time.Time{}
	case !held && step.Left > 0:
		step.Left, *clock = 0, at.Add(time.Duration(step.Left))
	}
}
