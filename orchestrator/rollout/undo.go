package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// undoing reports whether the rollout is on its way back.
func undoing(s State) bool {
	return s.Status == Aborting || s.Status == Reverting || s.Status == Failed && s.Backward != nil
}

// applyAbort ends the rollout: scripts are told to stop, traffic is put back, data is not.
func applyAbort(d *draft, e Event) error {
	if d.Restore != nil {
		return applyRestoreEnd(d, e)
	}
	switch d.Status {
	case Queued, Running, Failed, Reverting:
	case Amending:
		abortAmending(d, e)
		return nil
	default:
		return fmt.Errorf("%w: rollout %s is %s, it cannot be aborted", ErrStale, d.ID, d.Status)
	}
	d.Status, d.Ended, d.Paused = Aborting, time.Time{}, nil
	for i := range d.Steps {
		step := d.edit(i)
		switch {
		case step.Kind == Approving && step.Status == StepRunning:
			step.withdraw(e.At, "the rollout was aborted")
		case lifted(d.State, *step): // what served before serves: it is not put under maintenance once more
		case !step.works():
			step.Move.Awaits = false
			step.undo()
		case step.Status == StepRunning:
			step.leave()
			step.Status, step.Ended, step.Deadline, step.Left, step.Cancelled = StepFailed, e.At, time.Time{}, 0, false
			step.Error = &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "the rollout was aborted"}
		case step.Status == StepRetrying:
			step.Status, step.Next, step.Left = StepFailed, time.Time{}, 0
		}
	}
	d.advance(e.At)
	return nil
}

// lifted reports whether a step is about a maintenance that has ended before any gate opened.
func lifted(s State, step Step) bool {
	off, _ := s.Step(liftID(step.Name))
	return step.Kind == Maintenance && off.Status == StepDone
}

// applyBackward turns the rollout round: what was done is undone in reverse order. Scripts
// that run are told to stop, and waited for.
func applyBackward(d *draft, e Event) error {
	switch {
	case d.Restore != nil && d.Status == Completed:
		return fmt.Errorf("%w: rollout %s is %s: what it has put back is undone by another restore", ErrStale, d.ID, d.Status)
	case d.Status == Running, d.Status == Completed, d.Status == Failed && d.Backward == nil:
	case d.Status == Amending:
		return fmt.Errorf("%w: rollout %s is %s, it cannot be taken backward: abort it first", ErrStale, d.ID, d.Status)
	default:
		return fmt.Errorf("%w: rollout %s is %s, it cannot be taken backward", ErrStale, d.ID, d.Status)
	}
	d.Status, d.Ended, d.Paused, d.Backward = Reverting, time.Time{}, nil, &Backward{}
	if e.Backward != nil {
		d.Backward = e.Backward
	}
	for i := range d.Steps {
		step := d.edit(i)
		step.NoRevert = slices.Contains(e.Missing, step.ID)
		step.Move.Awaits = slices.Contains(e.Awaits, step.ID)
		if step.Kind == Approving && step.Status == StepRunning {
			step.withdraw(e.At, "the rollout was taken backward")
		}
		if step.works() && step.Status == StepRunning {
			step.Cancelled, step.Paused = true, nil
			d.hold(step, e.At)
			continue
		}
		if now, known := e.Routes[step.Name]; known && step.Move.Replaces != nil { // a later rollout that was undone has written it last
			step.Move.Replaces = &Replace{Revision: now, Online: step.Move.Replaces.Online}
		}
		step.undo()
	}
	d.advance(e.At)
	return nil
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
		s.Kind == Approving, s.Kind == Snapshot, s.Work != nil && !s.Work.Backward:
		return
	}
	s.Status, s.Revert, s.Move.Back, s.Deadline, s.Error = StepPending, true, false, time.Time{}, nil
	s.Script.PutAside, s.Script.Records = 0, false
	s.Tries.forget()
}

// advanceBack is [draft.advance] on the way back.
func (d *draft) advanceBack(at time.Time) {
	if d.Status != Aborting && len(d.FailedSteps()) > 0 {
		d.fail(at)
		return
	}
	left, blocked := false, blockedBack(d.State)
	for i, step := range d.Steps {
		if d.Status == Aborting && step.works() {
			continue
		}
		if step.Status == StepPending && step.Revert && !holds(d.State, *step) && !blocked[i] {
			step = d.edit(i)
			step.begin(at)
		}
		left = left || step.unsettled()
	}
	switch {
	case left:
		return
	case d.Status == Aborting:
		d.Status = Aborted
	default:
		d.Status = Reverted
	}
	d.Ended, d.Paused = at, nil
}

// unsettled reports whether there is something left to do about a step on the way back.
func (s *Step) unsettled() bool {
	return s.Status == StepRunning || s.Status == StepRetrying || s.Revert && s.Status == StepPending
}

// blockedBack reports, by the index of a step, whether something that came after it has
// not been undone yet: in a later stage, or because it waited for the step, also by way of
// others.
func blockedBack(s State) []bool {
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
