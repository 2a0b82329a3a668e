package rollout_test

import (
	"errors"
	"reflect"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// A newer version may have written the state. Whoever goes on with what it does not
// understand may do the wrong thing, so it must leave the state as it is, whatever the event
// is about.
func TestNothingIsAppliedToAStateThatIsNotKnown(t *testing.T) {
	r := withEntry(rollout.Item{Name: "x", Work: &rollout.Work{}})
	r.Workflow = append(r.Workflow, rollout.Item{Name: "y", Work: &rollout.Work{}})
	known, err := rollout.Compile("r1", "ada", time.Time{}, r, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	events := []rollout.Event{
		{Type: rollout.StepAnswered, Step: "x", Attempt: 1},
		{Type: rollout.StepBroke, Step: "x", Attempt: 1},
		{Type: rollout.PauseAsked},
		{Type: rollout.AbortAsked},
		{Type: rollout.Replaced},
	}
	last := len(known.Steps) - 1
	for why, change := range map[string]func(*rollout.State){
		`rollout r1: status "x" is not known to this version of golive`:           func(s *rollout.State) { s.Status = "x" },
		`rollout r1: kind "x" of step x is not known to this version of golive`:   func(s *rollout.State) { s.Steps[0].Kind = "x" },
		`rollout r1: status "x" of step x is not known to this version of golive`: func(s *rollout.State) { s.Steps[0].Status = "x" },
		`rollout r1: kind "z" of step y is not known to this version of golive`:   func(s *rollout.State) { s.Steps[last].Kind = "z" },
		`rollout r1: status "z" of step y is not known to this version of golive`: func(s *rollout.State) { s.Steps[last].Status = "z" },
	} {
		s := known
		s.Steps = nil
		for _, step := range known.All() {
			s.Steps = append(s.Steps, &step)
		}
		change(&s)
		for _, e := range events {
			next, err := s.Apply(e)
			if !errors.Is(err, rollout.ErrUnknown) || err.Error() != why {
				t.Errorf("%s gives the error %v, want %s", e.Type, err, why)
			}
			if !reflect.DeepEqual(next, s) {
				t.Errorf("%s has changed the state: %s", e.Type, why)
			}
		}
	}
}

func TestAnEventThatIsNotKnownChangesNothing(t *testing.T) {
	s := deployed(t)
	next, err := s.Apply(rollout.Event{Type: "x", Step: "todo-search/traffic", Attempt: 1})
	if err == nil {
		t.Error("an event that nobody knows is applied")
	}
	if !reflect.DeepEqual(next, s) {
		t.Errorf("it has changed the state to %+v", next)
	}
}
