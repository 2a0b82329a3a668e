package rollout

import (
	"slices"

	"github.com/golive-dev/golive/relay/protocol"
)

// AttemptID names an attempt of a script. It is comparable.
type AttemptID struct {
	Rollout string         `json:"rollout"`
	Name    string         `json:"name"` // of the service; of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
	Number  int            `json:"attempt"` // from 1
	Revert  bool           `json:"revert,omitempty"`
}

// Script is the script whose attempt it is.
func (a AttemptID) Script() protocol.Script {
	return protocol.Script{Name: a.Name, Version: a.Version, Phase: a.Phase}
}

// Attempt names the newest attempt of a step that runs a script.
func (s State) Attempt(step Step) AttemptID {
	return AttemptID{s.ID, step.Name, step.Version, step.Script.Phase, step.Attempt, step.Revert}
}

// Unanswered is an attempt that has ended without an answer of its script, which may be at work
// all the same: it was too late, or the rollout was aborted.
type Unanswered struct {
	Attempt int  `json:"attempt"`
	Revert  bool `json:"revert,omitempty"`
}

// leave notes that the newest attempt of a script has ended without an answer.
func (s *Step) leave() {
	if s.Kind == Migration {
		s.Script.Unanswered = &Unanswered{s.Attempt, s.Revert}
	}
}

// unanswered names the attempt of a step that has ended without an answer, if there is one.
func (s State) unanswered(step Step) (AttemptID, bool) {
	left := step.Script.Unanswered
	if left == nil {
		return AttemptID{}, false
	}
	return AttemptID{s.ID, step.Name, step.Version, step.Script.Phase, left.Attempt, left.Revert}, true
}

// Before lists the attempts that have to be over before the newest one of a step may begin:
// those of scripts of the same service that have ended without an answer, here and in the
// rollouts before.
func (s State) Before(step Step) []AttemptID {
	return slices.DeleteFunc(s.allUnanswered(), func(a AttemptID) bool { return a.Name != step.Name })
}

// maxUnanswered is how many attempts are passed on from rollout to rollout, the newest ones.
const maxUnanswered = 100

// LeftBehind lists the attempts of scripts that may be at work although the rollout has ended.
// One that got to an end of its own has waited for them.
func (s State) LeftBehind() []AttemptID {
	if s.Status == Completed || s.Status == Reverted {
		return nil
	}
	all := s.allUnanswered()
	return all[max(0, len(all)-maxUnanswered):]
}

func (s State) allUnanswered() []AttemptID {
	all := slices.Clone(s.Unanswered)
	for _, step := range s.Steps {
		if left, found := s.unanswered(*step); found {
			all = append(all, left)
		}
	}
	return all
}
