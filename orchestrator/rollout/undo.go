package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// undoing reports whether the rollout is on its way back.
func (s State) undoing() bool {
	return s.Status == Aborting || s.Status == Reverting || s.Status == Failed && s.Backward != nil
}

// applyAbort ends the rollout: scripts are told to stop, traffic is put back, data is not.
func (s State) applyAbort(e Event) (State, error) {
	switch s.Status {
	case Queued, Running, Failed, Reverting:
	case Amending:
		return s.abortAmending(e), nil
	default:
		return s, fmt.Errorf("%w: rollout %s is %s, it cannot be aborted", ErrStale, s.ID, s.Status)
	}
	s.Status, s.Ended, s.Paused = Aborting, time.Time{}, nil
	for i := range s.Steps {
		step := s.edit(i)
		switch {
		case step.Kind == Approving && step.Status == StepRunning:
			step.withdraw(e.At, "the rollout was aborted")
		case s.lifted(*step): // what served before serves: it is not put under maintenance once more
		case !step.works():
			step.undo()
		case step.Status == StepRunning:
			step.Status, step.Ended, step.Deadline, step.Left, step.Cancelled = StepFailed, e.At, time.Time{}, 0, false
			step.Error = &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "the rollout was aborted"}
		case step.Status == StepRetrying:
			step.Status, step.Next, step.Left = StepFailed, time.Time{}, 0
		}
	}
	return s.advance(e.At), nil
}

// lifted reports whether a step is about a maintenance that has ended before any gate opened.
func (s State) lifted(step Step) bool {
	off, _ := s.Step(liftID(step.Name))
	return step.Kind == Maintenance && off.Status == StepDone
}

// applyBackward turns the rollout round: what was done is undone in reverse order. Scripts
// that run are told to stop, and waited for.
func (s State) applyBackward(e Event) (State, error) {
	switch {
	case s.Status == Running, s.Status == Completed, s.Status == Failed && s.Backward == nil:
	case s.Status == Amending:
		return s, fmt.Errorf("%w: rollout %s is %s, it cannot be taken backward: abort it first", ErrStale, s.ID, s.Status)
	default:
		return s, fmt.Errorf("%w: rollout %s is %s, it cannot be taken backward", ErrStale, s.ID, s.Status)
	}
	s.Status, s.Ended, s.Paused, s.Backward = Reverting, time.Time{}, nil, &Backward{}
	if e.Backward != nil {
		s.Backward = e.Backward
	}
	for i := range s.Steps {
		step := s.edit(i)
		step.NoRevert = slices.Contains(e.Missing, step.ID)
		if step.Kind == Approving && step.Status == StepRunning {
			step.withdraw(e.At, "the rollout was taken backward")
		}
		if step.works() && step.Status == StepRunning {
			step.Cancelled, step.Paused = true, nil
			s.hold(step, e.At)
			continue
		}
		if now, known := e.Routes[step.Name]; known && step.Replaces != nil { // a later rollout that was undone has written it last
			step.Replaces = &Replace{Revision: now, Online: step.Replaces.Online}
		}
		step.undo()
	}
	return s.advance(e.At), nil
}

// undo makes a step that has begun one that is to be undone. A move of traffic that has
// failed has been led back already.
func (s *Step) undo() {
	s.Paused, s.Cancelled, s.Next, s.Left = nil, false, time.Time{}, 0
	if s.Status == StepRetrying {
		s.Status = StepFailed
	}
	switch {
	case s.Attempt == 0, s.Status == StepReverted, s.NoRevert, !s.works() && s.Status == StepFailed,
		s.Kind == Approving, s.Work != nil && !s.Work.Backward:
		return
	}
	s.Status, s.Revert, s.Back, s.Deadline, s.Error = StepPending, true, false, time.Time{}, nil
	s.Failures, s.Lost, s.Reached, s.PutAside, s.Records = 0, 0, 0, 0, false
}

// advanceBack is advance on the way back.
func (s State) advanceBack(at time.Time) State {
	if s.Status != Aborting && len(s.FailedSteps()) > 0 {
		return s.fail(at)
	}
	left, blocked := false, s.blockedBack()
	for i, step := range s.Steps {
		if s.Status == Aborting && step.works() {
			continue
		}
		if step.Status == StepPending && step.Revert && !s.holds(*step) && !blocked[i] {
			step = s.edit(i)
			step.begin(at)
		}
		left = left || step.unsettled()
	}
	switch {
	case left:
		return s
	case s.Status == Aborting:
		s.Status = Aborted
	default:
		s.Status = Reverted
	}
	s.Ended, s.Paused = at, nil
	return s
}

// unsettled reports whether there is something left to do about a step on the way back.
func (s *Step) unsettled() bool {
	return s.Status == StepRunning || s.Status == StepRetrying || s.Revert && s.Status == StepPending
}

// blockedBack reports, by the index of a step, whether something that came after it has
// not been undone yet: in a later stage, or because it waited for the step, also by way of
// others.
func (s State) blockedBack() []bool {
	blocked := make([]bool, len(s.Steps))
	var block func(step Step)
	block = func(step Step) {
		for _, n := range step.Needs {
			if !blocked[n-1] {
				blocked[n-1] = true
				block(*s.Steps[n-1])
			}
		}
	}
	latest := stageBefore
	for _, step := range s.All() {
		if step.unsettled() && (s.Status != Aborting || !step.works()) {
			block(step)
			latest = max(latest, step.stage())
		}
	}
	for i, step := range s.All() {
		blocked[i] = blocked[i] || step.stage() < latest
	}
	return blocked
}
