package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Apply is the state after e. An event that is about something over gives
// [ErrStale], and a state that this version does not know [ErrUnknown]. With an error the
// state is s, unchanged.
func (s State) Apply(e Event) (State, error) {
	if err := knownParts(s); err != nil {
		return s, err
	}
	d := draft{s}
	d.Steps, d.Event = slices.Clone(s.Steps), e
	if err := apply(&d, e); err != nil {
		return s, err
	}
	return d.State, nil
}

// apply makes of a draft what the event makes of it. After an error the draft is worth
// nothing.
func apply(d *draft, e Event) error {
	switch e.Type {
	case StepAnswered, StepBroke:
		return applyAnswer(d, e)
	case StepDue:
		return applyDue(d, e)
	case Opened:
		return applyMoved(d, e, Traffic)
	case Closed:
		return applyMoved(d, e, Maintenance)
	case TurnedBack:
		return applyTurnedBack(d, e)
	case Restored:
		return applyRestored(d, e)
	case Retried:
		return applyRetried(d, e)
	case Replaced:
		return applyReplaced(d, e)
	case AbortAsked:
		return applyAbort(d, e)
	case BackwardAsked:
		return applyBackward(d, e)
	case PauseAsked:
		return applyPause(d, e)
	case ResumeAsked:
		return applyResume(d, e)
	case PaceAsked:
		return applyPace(d, e)
	case RecordsAsked:
		return applyRecords(d, e)
	case ApprovedBy:
		return applyApproved(d, e)
	case RejectedBy:
		return applyRejected(d, e)
	case ItemConfirmed:
		return applyConfirmed(d, e)
	case Reminded:
		return applyReminded(d, e)
	case FurtherAsked:
		return applyFurther(d, e)
	case Stopped:
		return applyStopped(d, e)
	}
	return fmt.Errorf("rollout %s: unknown event %q", d.ID, e.Type)
}

// applyAnswer ends an attempt with what its script or the agents have answered, or with why
// there is no answer; of a move of traffic, with why it has failed.
func applyAnswer(d *draft, e Event) error {
	kinds := []Kind{Migration, Command, Check, Snapshot, Put}
	if e.Type == StepBroke {
		kinds = append(kinds, Traffic, Maintenance)
	}
	step, err := d.attempt(e, kinds...)
	if err != nil {
		return err
	}
	if step.works() && step.Revert != e.Revert {
		return fmt.Errorf("%w: step %s is not running in that direction", ErrStale, e.Step)
	}
	answer := protocol.Answer{}
	if e.Answer != nil {
		answer = *e.Answer
	}
	step.Ended, step.Deadline, step.Left = e.At, time.Time{}, 0
	step.learn(answer, e.Type == StepAnswered)
	step.took(e.Snapshot)
	step.put(e.Put)
	if e.Type == StepAnswered {
		step.Status, step.Error = StepDone, nil
		if step.Revert {
			step.Status = StepReverted
		}
	} else {
		step.Status = StepFailed
		if answer.Error != nil || !step.Move.Back {
			step.Error = answer.Error
		}
		if step.Error == nil {
			step.Error = &protocol.ScriptError{Code: protocol.CodeFailed, Message: "it gave no reason"}
		}
		if step.Error.Code == protocol.CodeTimeout && !e.Named {
			step.leave()
		}
	}
	switch {
	case step.Cancelled && d.Status == Amending: // it has stopped, or had finished
		step.giveUp()
	case step.Cancelled: // going backward: whatever it has done is to be undone
		step.undo()
	case step.Status == StepFailed && step.works():
		tryAgain(d, step, answer, e.At)
	}
	if step.Status == StepFailed && d.Status == Amending {
		step.giveUp()
	}
	d.advance(e.At)
	return nil
}

// tryAgain has a script that has failed tried once more where that may help: at once if its
// worker was lost, else after a pause.
func tryAgain(d *draft, step *Step, answer protocol.Answer, at time.Time) {
	if step.Error.Code == protocol.CodeLost {
		if items := answer.Items; items > step.Tries.Reached { // it did not die of where it was
			step.Tries.Lost, step.Tries.Reached = 0, items
		}
		step.Tries.Lost++
		switch {
		case step.Tries.Lost > MaxLost || len(failedBeside(d.State, *step)) > 0:
		case holds(d.State, *step):
			step.Status, step.Left = StepRetrying, 1
		default:
			step.begin(at)
		}
		return
	}
	step.Tries.Failures++
	mayHelp := step.Error.Code != protocol.CodeCancelled && (step.Error.Retry == nil || *step.Error.Retry)
	if step.Tries.Failures > step.Tries.Retries || !mayHelp {
		return
	}
	step.Status = StepRetrying
	if pause := backoff(step.Tries.Backoff, step.Tries.Failures); holds(d.State, *step) {
		step.Left = Duration(pause)
	} else {
		step.Next = at.Add(pause)
	}
}

// backoff is the pause after so many failures.
func backoff(first Duration, failures int) time.Duration {
	pause := time.Duration(first)
	if pause == 0 {
		pause = DefaultBackoff
	}
	for range failures - 1 {
		if pause *= 2; pause >= MaxBackoff {
			return MaxBackoff
		}
	}
	return pause
}

// failedBeside lists the steps that have failed, beside one.
func failedBeside(s State, step Step) []Step {
	return slices.DeleteFunc(s.FailedSteps(), func(other Step) bool { return other.ID == step.ID })
}

// applyDue begins the next attempt of a step once the pause before it is over.
func applyDue(d *draft, e Event) error {
	for i := range d.Steps {
		step := d.Steps[i]
		if step.ID != e.Step {
			continue
		}
		if step.Status != StepRetrying || step.Attempt != e.Attempt || holds(d.State, *step) || len(d.FailedSteps()) > 0 {
			break
		}
		d.edit(i).begin(e.At)
		return nil
	}
	return fmt.Errorf("%w: step %q does not wait for the attempt after %d", ErrStale, e.Step, e.Attempt)
}

// applyMoved ends a step whose instances have confirmed its move of traffic.
func applyMoved(d *draft, e Event, kind Kind) error {
	step, err := d.attempt(e, kind)
	if err != nil {
		return err
	}
	if step.Backwards() {
		return fmt.Errorf("%w: step %s is being led back", ErrStale, e.Step)
	}
	step.Status, step.Ended, step.Move.Revision, step.Move.Effective = StepDone, e.At, e.Revision, e.Effective
	d.advance(e.At)
	return nil
}

// applyTurnedBack has the route of a move that could not be finished led back.
func applyTurnedBack(d *draft, e Event) error {
	step, err := d.attempt(e, Traffic, Maintenance)
	if err != nil {
		return err
	}
	if step.Backwards() {
		return fmt.Errorf("%w: step %s is being led back already", ErrStale, e.Step)
	}
	step.Move.Back, step.Error = true, &protocol.ScriptError{Code: protocol.CodeFailed, Message: "it could not be finished"}
	if e.Answer != nil && e.Answer.Error != nil {
		step.Error = e.Answer.Error
	}
	return nil
}

// applyRestored ends a step whose move of traffic has been undone.
func applyRestored(d *draft, e Event) error {
	step, err := d.attempt(e, Traffic, Maintenance)
	if err != nil {
		return err
	}
	if !step.Revert {
		return fmt.Errorf("%w: step %s is not being undone", ErrStale, e.Step)
	}
	step.Status, step.Ended, step.Move.Revision, step.Move.Undone = StepReverted, e.At, e.Revision, e.Effective
	d.advance(e.At)
	return nil
}

// applyRetried has all steps tried again that have failed.
func applyRetried(d *draft, e Event) error {
	if d.Status != Failed {
		return fmt.Errorf("%w: rollout %s is %s, only a failed one can be retried", ErrStale, d.ID, d.Status)
	}
	d.Status, d.Ended = Running, time.Time{}
	if d.Backward != nil {
		d.Status = Reverting
	}
	for _, failed := range d.FailedSteps() {
		step := d.edit(failed.Number - 1)
		step.Tries.forget()
		step.Paused = nil
		step.begin(e.At)
		d.hold(step, e.At)
	}
	d.advance(e.At)
	return nil
}

// applyReplaced ends a failed rollout whose place a later deploy has taken.
func applyReplaced(d *draft, e Event) error {
	if d.Status != Failed {
		return fmt.Errorf("%w: rollout %s is %s, only a failed one can be superseded", ErrStale, d.ID, d.Status)
	}
	d.Status, d.Ended = Superseded, e.At
	return nil
}

// begin starts the next attempt of a step, in the direction that it has. An attempt at
// records that were put aside adds to what the step has achieved.
func (s *Step) begin(at time.Time) {
	s.Attempt++
	s.Status, s.Started, s.Ended, s.Error = StepRunning, at, time.Time{}, nil
	s.Next, s.Left, s.Deadline, s.Move.Back, s.Script.Checks = time.Time{}, 0, time.Time{}, false, nil
	if !s.Script.Records {
		s.Script.Items, s.Script.Note, s.Script.Digest = 0, "", ""
	}
	if s.works() && s.Timeout > 0 {
		s.Deadline = at.Add(time.Duration(s.Timeout))
	}
	if s.Kind == Approving {
		s.ask(at)
	}
}
