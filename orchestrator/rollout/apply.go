package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Apply is the state after e. An event that is about something over gives
// [ErrStale], and a state that this version does not know [ErrUnknown]. With an error the
// state is s, unchanged.
func (s State) Apply(e Event) (State, error) {
	if err := s.knownParts(); err != nil {
		return s, err
	}
	next := s
	next.Steps = slices.Clone(s.Steps)
	next.Event = e
	next, err := next.apply(e)
	if err != nil {
		return s, err
	}
	return next, nil
}

// apply may change the steps in place.
func (s State) apply(e Event) (State, error) {
	switch e.Type {
	case StepAnswered, StepBroke:
		return s.applyAnswer(e)
	case StepDue:
		return s.applyDue(e)
	case Opened:
		return s.applyMoved(e, Traffic)
	case Closed:
		return s.applyMoved(e, Maintenance)
	case TurnedBack:
		return s.applyTurnedBack(e)
	case Restored:
		return s.applyRestored(e)
	case Retried:
		return s.applyRetried(e)
	case Replaced:
		return s.applyReplaced(e)
	case AbortAsked:
		return s.applyAbort(e)
	case BackwardAsked:
		return s.applyBackward(e)
	case PauseAsked:
		return s.applyPause(e)
	case ResumeAsked:
		return s.applyResume(e)
	case PaceAsked:
		return s.applyPace(e)
	case RecordsAsked:
		return s.applyRecords(e)
	case ApprovedBy:
		return s.applyApproved(e)
	case RejectedBy:
		return s.applyRejected(e)
	case ItemConfirmed:
		return s.applyConfirmed(e)
	case Reminded:
		return s.applyReminded(e)
	case FurtherAsked:
		return s.applyFurther(e)
	}
	return s, fmt.Errorf("rollout %s: unknown event %q", s.ID, e.Type)
}

// attempt finds the step that e is about, if that attempt of it runs.
func (s State) attempt(e Event, kinds ...Kind) (*Step, error) {
	for i := range s.Steps {
		step := s.Steps[i]
		if step.ID != e.Step || !slices.Contains(kinds, step.Kind) {
			continue
		}
		if step.Status != StepRunning {
			return nil, fmt.Errorf("%w: step %s is %s, it waits for nothing", ErrStale, e.Step, step.Status)
		}
		if step.Attempt != e.Attempt {
			return nil, fmt.Errorf("%w: step %s runs at attempt %d, not at attempt %d", ErrStale, e.Step, step.Attempt, e.Attempt)
		}
		return s.edit(i), nil
	}
	return nil, fmt.Errorf("%w: rollout %s has no step for %s called %q", ErrStale, s.ID, e.Type, e.Step)
}

func (s State) applyAnswer(e Event) (State, error) {
	kinds := []Kind{Migration, Command, Check}
	if e.Type == StepBroke {
		kinds = append(kinds, Traffic, Maintenance)
	}
	step, err := s.attempt(e, kinds...)
	if err != nil {
		return s, err
	}
	if step.works() && step.Revert != e.Revert {
		return s, fmt.Errorf("%w: step %s is not running in that direction", ErrStale, e.Step)
	}
	answer := protocol.Answer{}
	if e.Answer != nil {
		answer = *e.Answer
	}
	step.Ended, step.Deadline, step.Left = e.At, time.Time{}, 0
	step.learn(answer, e.Type == StepAnswered)
	if e.Type == StepAnswered {
		step.Status, step.Error = StepDone, nil
		if step.Revert {
			step.Status = StepReverted
		}
	} else {
		step.Status = StepFailed
		if answer.Error != nil || !step.Back {
			step.Error = answer.Error
		}
		if step.Error == nil {
			step.Error = &protocol.ScriptError{Code: protocol.CodeFailed, Message: "it gave no reason"}
		}
	}
	switch {
	case step.Cancelled && s.Status == Amending: // it has stopped, or had finished
		step.giveUp()
	case step.Cancelled: // going backward: whatever it has done is to be undone
		step.undo()
	case step.Status == StepFailed && step.works():
		s.again(step, answer, e.At)
	}
	if step.Status == StepFailed && s.Status == Amending {
		step.giveUp()
	}
	return s.advance(e.At), nil
}

// again has a script that has failed tried once more where that may help: at once if its
// worker was lost, else after a pause.
func (s State) again(step *Step, answer protocol.Answer, at time.Time) {
	if step.Error.Code == protocol.CodeLost {
		if items := answer.Items; items > step.Reached { // it did not die of where it was
			step.Lost, step.Reached = 0, items
		}
		step.Lost++
		switch {
		case step.Lost > MaxLost || len(s.failedBeside(*step)) > 0:
		case s.holds(*step):
			step.Status, step.Left = StepRetrying, 1
		default:
			step.begin(at)
		}
		return
	}
	step.Failures++
	mayHelp := step.Error.Code != protocol.CodeCancelled && (step.Error.Retry == nil || *step.Error.Retry)
	if step.Failures > step.Retries || !mayHelp {
		return
	}
	step.Status = StepRetrying
	if pause := backoff(step.Backoff, step.Failures); s.holds(*step) {
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
func (s State) failedBeside(step Step) []Step {
	return slices.DeleteFunc(s.FailedSteps(), func(other Step) bool { return other.ID == step.ID })
}

func (s State) applyDue(e Event) (State, error) {
	for i := range s.Steps {
		step := s.Steps[i]
		if step.ID != e.Step {
			continue
		}
		if step.Status != StepRetrying || step.Attempt != e.Attempt || s.holds(*step) || len(s.FailedSteps()) > 0 {
			break
		}
		s.edit(i).begin(e.At)
		return s, nil
	}
	return s, fmt.Errorf("%w: step %q does not wait for the attempt after %d", ErrStale, e.Step, e.Attempt)
}

func (s State) applyMoved(e Event, kind Kind) (State, error) {
	step, err := s.attempt(e, kind)
	if err != nil {
		return s, err
	}
	if step.Backwards() {
		return s, fmt.Errorf("%w: step %s is being led back", ErrStale, e.Step)
	}
	step.Status, step.Ended, step.Revision, step.Effective = StepDone, e.At, e.Revision, e.Effective
	return s.advance(e.At), nil
}

func (s State) applyTurnedBack(e Event) (State, error) {
	step, err := s.attempt(e, Traffic, Maintenance)
	if err != nil {
		return s, err
	}
	if step.Backwards() {
		return s, fmt.Errorf("%w: step %s is being led back already", ErrStale, e.Step)
	}
	step.Back, step.Error = true, &protocol.ScriptError{Code: protocol.CodeFailed, Message: "it could not be finished"}
	if e.Answer != nil && e.Answer.Error != nil {
		step.Error = e.Answer.Error
	}
	return s, nil
}

func (s State) applyRestored(e Event) (State, error) {
	step, err := s.attempt(e, Traffic, Maintenance)
	if err != nil {
		return s, err
	}
	if !step.Revert {
		return s, fmt.Errorf("%w: step %s is not being undone", ErrStale, e.Step)
	}
	step.Status, step.Ended, step.Revision, step.Undone = StepReverted, e.At, e.Revision, e.Effective
	return s.advance(e.At), nil
}

func (s State) applyRetried(e Event) (State, error) {
	if s.Status != Failed {
		return s, fmt.Errorf("%w: rollout %s is %s, only a failed one can be retried", ErrStale, s.ID, s.Status)
	}
	s.Status, s.Ended = Running, time.Time{}
	if s.Backward != nil {
		s.Status = Reverting
	}
	for _, failed := range s.FailedSteps() {
		step := s.edit(failed.Number - 1)
		step.Failures, step.Lost, step.Reached, step.Paused = 0, 0, 0, nil
		step.begin(e.At)
	}
	return s.advance(e.At), nil
}

func (s State) applyReplaced(e Event) (State, error) {
	if s.Status != Failed {
		return s, fmt.Errorf("%w: rollout %s is %s, only a failed one can be superseded", ErrStale, s.ID, s.Status)
	}
	s.Status, s.Ended = Superseded, e.At
	return s, nil
}

// begin starts the next attempt of a step, in the direction that it has. An attempt at
// records that were put aside adds to what the step has achieved.
func (s *Step) begin(at time.Time) {
	s.Attempt++
	s.Status, s.Started, s.Ended, s.Error = StepRunning, at, time.Time{}, nil
	s.Next, s.Left, s.Deadline, s.Back, s.Checks = time.Time{}, 0, time.Time{}, false, nil
	if !s.Records {
		s.Items, s.Note, s.Digest = 0, "", ""
	}
	if s.works() && s.Timeout > 0 {
		s.Deadline = at.Add(time.Duration(s.Timeout))
	}
	if s.Kind == Approving {
		s.ask(at)
	}
}

// advance starts what may start, and ends the rollout when there is nothing left.
// After a failure nothing new starts, but what runs may finish.
func (s State) advance(at time.Time) State {
	switch {
	case s.undoing():
		return s.advanceBack(at)
	case s.Status == Amending:
		return s.advanceAmended(at)
	}
	if len(s.FailedSteps()) > 0 {
		return s.fail(at)
	}
	unfinished, last := false, min(s.bound(), s.barrier())
	for i, step := range s.Steps {
		if step.Status == StepPending && step.stage() <= last && !s.holds(*step) && s.needsDone(step) {
			s.edit(i).begin(at)
		}
		unfinished = unfinished || !step.finished()
	}
	if !unfinished {
		s.Status, s.Ended, s.Paused = Completed, at, nil
	}
	return s
}

// fail ends the rollout for now, once nothing runs any more.
func (s State) fail(at time.Time) State {
	if len(s.Running()) > 0 {
		return s
	}
	for i := range s.Steps {
		if s.Steps[i].Status == StepRetrying {
			step := s.edit(i)
			step.Status, step.Next, step.Left = StepFailed, time.Time{}, 0
		}
	}
	s.Status, s.Ended, s.Paused = Failed, at, nil
	return s
}

// barrier is the stage that the rollout has come to: nothing of a later one begins before
// all of this one has finished.
func (s State) barrier() int {
	stage := math.MaxInt
	for _, step := range s.Steps {
		if !step.finished() {
			stage = min(stage, step.stage())
		}
	}
	return stage
}

// needsDone reports whether the steps that a step needs have finished.
func (s State) needsDone(step *Step) bool {
	return !slices.ContainsFunc(step.Needs, func(n int) bool { return !s.Steps[n-1].finished() })
}

// The stages that phases are barriers between, in a release without a workflow. Traffic
// and online share one: a service goes online when its own gate is open, not when all are.
const (
	stageBefore = iota
	stageMaintenance
	stageOffline
	stageServe
	stageSetup
)

func (s *Step) stage() int {
	switch {
	case s.Stage > 0:
		return s.Stage
	case s.Kind == Maintenance:
		return stageMaintenance
	case s.Kind == Traffic, s.Phase == protocol.Online:
		return stageServe
	case s.Phase == protocol.Before:
		return stageBefore
	case s.Phase == protocol.Offline:
		return stageOffline
	}
	return stageSetup
}

// Late gives an event for each step whose time is over at the time now: for an answer,
// or for the pause before a retry.
func (s State) Late(now time.Time) []Event {
	var late []Event
	for _, step := range s.Steps {
		switch due := step.due(); {
		case due.IsZero() || now.Before(due) || s.Status.Final():
		case step.Status == StepRetrying:
			if len(s.FailedSteps()) == 0 {
				late = append(late, Event{Type: StepDue, At: now, Step: step.ID, Attempt: step.Attempt})
			}
		case step.Kind == Approving:
			late = append(late, Event{Type: Reminded, At: now, Step: step.ID, Attempt: step.Attempt})
		default:
			late = append(late, Event{
				Type: StepBroke, At: now, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert,
				Answer: &protocol.Answer{Rollout: s.ID, Attempt: step.Attempt, Error: &protocol.ScriptError{
					Code: protocol.CodeTimeout, Message: fmt.Sprintf("no answer within %s", time.Duration(step.Timeout)),
				}},
			})
		}
	}
	return late
}

// due is when something has to happen to the step; zero when time does not matter to it.
func (s *Step) due() time.Time {
	switch s.Status {
	case StepRunning:
		if s.Kind == Approving {
			return s.Next
		}
		return s.Deadline
	case StepRetrying:
		return s.Next
	}
	return time.Time{}
}

// Due is the earliest time at which something is late; zero when nothing can be.
func (s State) Due() time.Time {
	var due time.Time
	failed := len(s.FailedSteps()) > 0
	for _, step := range s.Steps {
		at := step.due()
		if at.IsZero() || s.Status.Final() || failed && step.Status == StepRetrying {
			continue
		}
		if due.IsZero() || at.Before(due) {
			due = at
		}
	}
	return due
}
