package rollout

import "fmt"

// Known is nil if this version of golive knows everything that the state is made of; else it
// is [ErrUnknown]. Where versions work side by side, a newer one may have written it: whoever
// does not know what it means must leave it to that one.
func (s State) Known() error {
	switch s.Event.Type {
	case Created, StepAnswered, StepBroke, Closed, Opened, TurnedBack, Retried, Replaced, Enqueued, StepDue, Restored,
		AbortAsked, BackwardAsked, PauseAsked, ResumeAsked, MarkedRun, PaceAsked, RecordsAsked,
		ApprovedBy, RejectedBy, ItemConfirmed, Reminded, FurtherAsked, Stopped:
	default:
		return fmt.Errorf("rollout %s: event %q is %w", s.ID, s.Event.Type, ErrUnknown)
	}
	return knownParts(s)
}

// knownParts is [State.Known] but for the event that led to the state.
func knownParts(s State) error {
	switch s.Status {
	case Queued, Running, Failed, Completed, Aborting, Aborted, Reverting, Reverted, Superseded, Marked, Amending:
	default:
		return fmt.Errorf("rollout %s: status %q is %w", s.ID, s.Status, ErrUnknown)
	}
	for _, step := range s.Steps {
		switch step.Kind {
		case Migration, Traffic, Maintenance, Approving, Command, Check, Snapshot, Put:
		default:
			return fmt.Errorf("rollout %s: kind %q of step %s is %w", s.ID, step.Kind, step.ID, ErrUnknown)
		}
		switch step.Status {
		case StepPending, StepRunning, StepDone, StepFailed, StepSkipped, StepRetrying, StepReverted:
		default:
			return fmt.Errorf("rollout %s: status %q of step %s is %w", s.ID, step.Status, step.ID, ErrUnknown)
		}
	}
	return nil
}
