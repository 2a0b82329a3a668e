package rollout

import (
	"fmt"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

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
