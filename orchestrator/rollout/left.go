package rollout

import (
	"fmt"
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

// Unanswered is an attempt of a step that has ended without an answer of its script, which may
// be at work all the same: it was too late, or the rollout was aborted.
type Unanswered struct {
	Attempt int  `json:"attempt"`
	Revert  bool `json:"revert,omitempty"`
}

// leave notes that the newest attempt of a script has ended without an answer. One that waits for
// the one before it has not begun.
func (s *Step) leave() {
	if s.Kind == Migration && s.Script.Unanswered == nil {
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

// AllUnanswered lists the attempts that have ended without an answer, here and in the rollouts
// of the app before, and that are not known to have stopped.
func (s State) AllUnanswered() []AttemptID {
	all := slices.Clone(s.Unanswered)
	for _, step := range s.Steps {
		if left, found := s.unanswered(*step); found {
			all = append(all, left)
		}
	}
	return all
}

// blocked reports whether a step has to wait until nobody is at work any more on an attempt of
// a script of the same service that has ended without an answer; a snapshot, of any service of the
// app. What served before serves again without waiting.
func blocked(s State, step Step) bool {
	if undoing(s) && (s.Status == Aborting || step.Kind != Migration) {
		return false
	}
	if slices.ContainsFunc(s.Unanswered, func(a AttemptID) bool { return a.Name == step.Name || step.Kind == Snapshot || step.Kind == Put }) {
		return true
	}
	return slices.ContainsFunc(s.Steps, func(other *Step) bool {
		return other.Script.Unanswered != nil && other.Name == step.Name
	})
}

// applyStopped lets go on what has waited until nobody is at work any more on an attempt.
func applyStopped(d *draft, e Event) error {
	if e.Of == nil || d.Status.Final() || !slices.Contains(d.AllUnanswered(), *e.Of) {
		return fmt.Errorf("%w: rollout %s waits for no such attempt to stop", ErrStale, d.ID)
	}
	others := slices.DeleteFunc(slices.Clone(d.Unanswered), func(a AttemptID) bool { return a == *e.Of })
	if d.Unanswered = others; len(others) == 0 {
		d.Unanswered = nil
	}
	for i, step := range d.Steps {
		if left, found := d.unanswered(*step); found && left == *e.Of {
			d.edit(i).Script.Unanswered = nil
		}
	}
	if d.Status == Running || d.Status == Reverting || d.Status == Amending {
		d.holdAll(e.At)
		d.advance(e.At)
	}
	return nil
}

// maxUnanswered is how many attempts are passed on from rollout to rollout, the newest ones.
const maxUnanswered = 100

// LeftBehind lists the attempts of scripts that may be at work although the rollout has ended.
func (s State) LeftBehind() []AttemptID {
	all := s.AllUnanswered()
	return all[max(0, len(all)-maxUnanswered):]
}
