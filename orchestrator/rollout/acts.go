package rollout

import (
	"slices"

	"github.com/golive-dev/golive/relay/protocol"
)

// ActKind is what is to be done about a step.
type ActKind string

// The kinds of acts.
const (
	SendStart      ActKind = "send-start"      // of its script
	AwaitCancelled ActKind = "await-cancelled" // until its script, which was told to stop, has answered or is dead
	LeadTraffic    ActKind = "lead-traffic"    // to where the step says
	AskAgents      ActKind = "ask-agents"      // to do its command or check; of one that was cancelled, until they have stopped
	StopAgents     ActKind = "stop-agents"     // the step has ended without them
	TakeSnapshot   ActKind = "take-snapshot"   // of the data of the app; of one that was cancelled, say so
	PutData        ActKind = "put-data"        // of a service back; of one that was cancelled, say so
)

// Act is something to be done about a step.
type Act struct {
	Step Step
	Kind ActKind
}

// Acts lists what the work item of the event that led to this state has to do. Each attempt
// of a step is in the care of one item, that of the event which began it, turned it or let it
// go on: the item comes again until the step is done. So nothing is done twice side by side,
// and nothing is left undone when somebody dies. Acting twice must be harmless all the same.
func (s State) Acts() []Act {
	var acts []Act
	for _, step := range s.All() {
		if leftToAgents(s, step) {
			acts = append(acts, Act{step, StopAgents})
		}
	}
	for _, step := range s.Todo() {
		if !inCare(s, step) {
			continue
		}
		act := Act{step, SendStart}
		switch {
		case step.Work != nil:
			act.Kind = AskAgents
		case step.Kind == Snapshot:
			act.Kind = TakeSnapshot
		case step.Kind == Put:
			act.Kind = PutData
		case step.Kind != Migration:
			act.Kind = LeadTraffic
		case step.Cancelled:
			act.Kind = AwaitCancelled
		}
		acts = append(acts, act)
	}
	return acts
}

// inCare reports whether it is the item of the state's own event that acts on a step.
func inCare(s State, step Step) bool {
	e := s.Event
	if step.Started.Equal(e.At) {
		return true
	}
	switch e.Type {
	case TurnedBack:
		return step.ID == e.Step
	case BackwardAsked, AbortAsked:
		return step.Cancelled
	case ResumeAsked: // it may have been paused before its start was sent
		return step.works() && (e.Step == "" || e.Step == step.ID)
	case Stopped: // it was begun, and has waited
		return e.Of != nil && step.Kind == Migration && step.Name == e.Of.Name
	}
	return false
}

// leftToAgents reports whether the state's own event has ended a step without the agents that
// do it: the rollout was aborted.
func leftToAgents(s State, step Step) bool {
	return s.Event.Type == AbortAsked && step.Work != nil && step.Ended.Equal(s.Event.At) &&
		step.Error != nil && step.Error.Code == protocol.CodeCancelled
}

// Stops lists the attempts that the work item of the event that led to this state has to see to
// that they stop: they have ended without an answer. The item comes again until they have.
func (s State) Stops() []AttemptID {
	e := s.Event
	switch e.Type {
	case Created, RecordsAsked, BackwardAsked:
		return s.AllUnanswered()
	case AbortAsked:
		return slices.DeleteFunc(s.AllUnanswered(), func(a AttemptID) bool { return a.Rollout != s.ID })
	case StepBroke:
		return slices.DeleteFunc(s.AllUnanswered(), func(a AttemptID) bool {
			return a.Rollout != s.ID || a.Script().Step() != e.Step || a.Number != e.Attempt
		})
	}
	return nil
}
