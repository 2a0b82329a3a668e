package rollout

import (
	"fmt"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// applyRecords has the scripts of a completed rollout try the records again that they have
// put aside. The rollout stays as complete as it was: no traffic moves, and nothing that
// happens to the scripts makes it fail.
func (s State) applyRecords(e Event) (State, error) {
	if s.Status != Completed {
		return s, fmt.Errorf("%w: rollout %s is %s, only a completed one can try records again that were put aside", ErrStale, s.ID, s.Status)
	}
	whose := "rollout " + s.ID
	if e.Step != "" {
		if _, err := s.named(e.Step); err != nil {
			return s, err
		}
		whose = "step " + e.Step + " of " + whose
	}
	begun := false
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.Status != StepDone || step.PutAside <= 0 || e.Step != "" && e.Step != step.ID {
			continue
		}
		step.Records, begun = true, true
		step.Failures, step.Lost, step.Reached, step.Paused = 0, 0, 0, nil
		step.begin(e.At)
	}
	if !begun {
		return s, fmt.Errorf("%w: no records were put aside by %s", ErrStale, whose)
	}
	s.Status, s.Ended = Amending, time.Time{}
	s.Amended++
	return s, nil
}

// advanceAmended completes the rollout again once no script deals with records any more.
func (s State) advanceAmended(at time.Time) State {
	for _, step := range s.Steps {
		if step.Status == StepRunning || step.Status == StepRetrying {
			return s
		}
	}
	s.Status, s.Ended, s.Paused = Completed, at, nil
	return s
}

// abortAmending ends the attempts at the records. What they have achieved stays, and so
// does the traffic.
func (s State) abortAmending(e Event) State {
	for i := range s.Steps {
		switch step := &s.Steps[i]; step.Status {
		case StepRunning:
			step.Ended, step.Error = e.At, &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "it was aborted"}
			step.giveUp()
		case StepRetrying:
			step.giveUp()
		}
	}
	return s.advance(e.At)
}

// giveUp leaves the records of a step where they are. The step is done, as it was before;
// its error tells of the attempt.
func (s *Step) giveUp() {
	s.Status, s.Paused = StepDone, nil
	s.Deadline, s.Next, s.Left = time.Time{}, time.Time{}, 0
}

// learn takes in what an answer says of the work. Records that were put aside were counted
// when they were: an attempt at them adds no items, and a failed one changes nothing.
func (s *Step) learn(answer protocol.Answer, done bool) {
	if done && !s.Revert {
		s.PutAside = answer.PutAside
	}
	switch {
	case !s.Records:
		s.Items, s.Note, s.Digest = answer.Items, answer.Note, answer.Digest
	case done:
		s.Note, s.Digest = answer.Note, answer.Digest
	}
}
