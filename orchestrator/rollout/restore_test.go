package rollout_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// putBack begins a restore of snapshot s1: "a=1.0.0" says what was online then, "put:a" that a
// has data in it, and "drop:a=NEW" that a stream was not there. Each service needs one instance.
func (w *world) putBack(args []string) (string, error) {
	r := rollout.Restoring{
		Restore: rollout.Restore{Snapshot: "s1", Of: "r0"}, Release: w.release, Now: w.routes,
		Then: make(map[string][]string), Need: make(map[string]int), Unanswered: w.left,
	}
	for _, arg := range args {
		name, value, valued := strings.Cut(arg, "=")
		what, service, of := strings.Cut(name, ":")
		switch {
		case of && what == "put" && !valued:
			r.Puts = append(r.Puts, rollout.ServicePut{Service: service, Version: "1.0.0"})
		case of && what == "drop" && valued:
			r.Puts = append(r.Puts, rollout.ServicePut{Service: service, Version: "1.0.0", PutRun: rollout.PutRun{Drop: []string{value}}})
		case !of && valued:
			r.Then[name], r.Need[name] = []string{value}, 1
		default:
			return "", errWords
		}
	}
	state, err := rollout.CompileRestore("r1", "ada", w.now, r)
	if err != nil {
		return "refused: " + err.Error() + "\n", nil
	}
	w.state = state
	return w.show(rollout.State{}), nil
}

func describePut(step rollout.Step) string {
	switch {
	case step.Cancelled:
		return "stop " + step.ID
	case step.Revert:
		return fmt.Sprintf("put the data of %s back as it was #%d", step.Name, step.Attempt)
	case len(step.Put.Drop) > 0:
		return fmt.Sprintf("delete %v of %s #%d", step.Put.Drop, step.Name, step.Attempt)
	}
	return fmt.Sprintf("put the data of %s back #%d", step.Name, step.Attempt)
}

// Whatever happens to a restore, and in whatever order: as long as anybody is answered, all data is
// that of before, and all of the traffic, or all is that of then. And it can be brought to its end.
func TestARestoreIsBeforeOrAfterWhenTrafficFlows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRestoring(t)
		s, err := rollout.CompileRestore("r1", "ada", time.Unix(0, 0).UTC(), r)
		if err != nil {
			t.Fatal(err)
		}
		w := &keeper{t: t, r: r, now: time.Unix(0, 0).UTC(), data: make(map[string]string)}
		w.see(rollout.State{}, s)
		for range rapid.IntRange(0, 60).Draw(t, "events") {
			w.anything()
		}
		w.finish()
	})
}

// keeper drives a restore, and knows what its steps have done to the data.
type keeper struct {
	t     *rapid.T
	r     rollout.Restoring
	now   time.Time
	state rollout.State
	data  map[string]string // by step: "" as it was, "then", or "between"
	ends  bool              // it was ended by force, as it was
}

func drawRestoring(t *rapid.T) rollout.Restoring {
	names := []string{"a", "b", "c"}[:rapid.IntRange(1, 3).Draw(t, "services")]
	r := rollout.Restoring{
		Restore: rollout.Restore{Snapshot: "s1"}, Release: rollout.Release{App: "shop", Version: "1.0.0", Strategy: rollout.Parallel},
		Now: make(map[string]rollout.Replace), Then: make(map[string][]string), Need: make(map[string]int),
	}
	for n, name := range names {
		service := rollout.Service{Name: name, Version: "1.0.0", Instances: 1}
		for _, other := range names[:n] {
			if rapid.Bool().Draw(t, "depends") {
				service.DependsOn = append(service.DependsOn, other)
			}
		}
		r.Release.Services = append(r.Release.Services, service)
		online := rapid.SampledFrom([]string{"1.0.0", "2.0.0", ""}).Draw(t, "online")
		if online != "" {
			r.Now[name] = rollout.Replace{Revision: 3, Online: []string{online}, Closed: rapid.IntRange(0, 4).Draw(t, "closed") == 0}
		}
		if rapid.IntRange(0, 4).Draw(t, "then") > 0 {
			r.Then[name], r.Need[name] = []string{"1.0.0"}, 1
		}
		if rapid.Bool().Draw(t, "data") {
			r.Puts = append(r.Puts, rollout.ServicePut{Service: name, Version: "1.0.0"})
		}
	}
	if rapid.Bool().Draw(t, "since") {
		r.Now["new"] = rollout.Replace{Revision: 9, Online: []string{"2.0.0"}}
		r.Puts = append(r.Puts, rollout.ServicePut{Service: "new", Version: "2.0.0", PutRun: rollout.PutRun{Drop: []string{"NEW"}}})
	}
	return r
}

// anything has something happen that may happen.
func (w *keeper) anything() {
	e := rollout.Event{Type: rapid.SampledFrom([]rollout.EventType{
		"", "", "", "", "", rollout.StepBroke, rollout.StepBroke, rollout.TurnedBack, rollout.StepDue, rollout.AbortAsked, rollout.BackwardAsked,
		rollout.PauseAsked, rollout.ResumeAsked, rollout.Retried,
	}).Draw(w.t, "event")}
	switch running := w.state.Running(); {
	case e.Type == rollout.StepDue:
		for _, step := range w.state.All() {
			if step.Status == rollout.StepRetrying {
				e.Step, e.Attempt = step.ID, step.Attempt
			}
		}
	case len(running) == 0:
	case e.Type == "":
		e = answerTo(rapid.SampledFrom(running).Draw(w.t, "step"))
	case e.Type == rollout.StepBroke, e.Type == rollout.TurnedBack:
		step := rapid.SampledFrom(running).Draw(w.t, "step")
		if step.Backwards() && step.Kind != rollout.Put { // what led back is led back until it is
			return
		}
		e.Step, e.Attempt, e.Revert = step.ID, step.Attempt, step.Revert
		e.Answer = &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeFailed, Message: "no"}}
	}
	w.apply(e)
}

// answerTo is how a step succeeds.
func answerTo(step rollout.Step) rollout.Event {
	e := rollout.Event{Type: rollout.StepAnswered, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert}
	switch {
	case step.Kind == rollout.Put:
		e.Put = &rollout.PutRun{Digest: "d"}
	case step.Kind == rollout.Snapshot:
		e.Snapshot = &rollout.SnapshotRun{ID: "r1"}
	case step.Revert:
		e.Type = rollout.Restored
	case step.Move.Back:
		e.Type = rollout.StepBroke
	case step.Kind == rollout.Maintenance:
		e.Type = rollout.Closed
	default:
		e.Type = rollout.Opened
	}
	if step.Kind == rollout.Traffic || step.Kind == rollout.Maintenance {
		e.Revert = false
	}
	return e
}

func (w *keeper) apply(e rollout.Event) {
	if e.Type == "" {
		return
	}
	w.now = w.now.Add(time.Second)
	e.At, e.Effective = w.now, w.now
	if e.Type == rollout.AbortAsked && w.state.Backward != nil && w.state.Status == rollout.Failed {
		w.ends = true // by force
	}
	next, err := w.state.Apply(e)
	if err != nil {
		return
	}
	back, err := w.state.Fold(next.ChangeFrom(w.state, 1), 1)
	if err != nil || !reflect.DeepEqual(back, next) {
		w.t.Fatalf("what is stored of %+v gives %+v, %v", next, back, err)
	}
	w.see(w.state, next)
}

// see takes in what the steps that run do to the data, and looks at who is answered.
func (w *keeper) see(before, s rollout.State) {
	w.state = s
	for _, step := range s.All() {
		was, _ := before.Step(step.ID)
		if step.Kind != rollout.Put {
			continue
		}
		switch {
		case step.Status == rollout.StepRunning:
			w.data[step.ID] = "between"
		case step.Status == rollout.StepDone && was.Status != rollout.StepDone:
			w.data[step.ID] = "then"
		case step.Status == rollout.StepReverted && was.Status != rollout.StepReverted:
			w.data[step.ID] = ""
		}
		if taken, _ := s.Step(rollout.SnapshotID("shop")); step.Attempt > 0 && taken.Status != rollout.StepDone {
			w.t.Fatalf("%s has begun without a snapshot of now: %+v", step.ID, s)
		}
	}
	for service, route := range w.r.Now {
		w.check(service, route)
	}
}

// check looks whether the data is whole as long as a service is answered.
func (w *keeper) check(service string, route rollout.Replace) {
	closing, planned := w.state.Step(service + "/maintenance")
	led := slices.ContainsFunc(w.state.Steps, func(step *rollout.Step) bool {
		return step.Kind == rollout.Traffic && step.Name == service && step.Attempt > 0 && step.Status != rollout.StepReverted && step.Status != rollout.StepFailed
	})
	want := ""
	switch {
	case led: // it may be answered by the version of then already, or still
		want = "then"
	case len(route.Online) == 0, route.Closed, planned && closing.Status == rollout.StepDone && !closing.Revert, planned && closing.Status == rollout.StepPending && closing.Revert:
		return // nobody is
	}
	for _, step := range w.state.All() {
		if step.Kind == rollout.Put && w.data[step.ID] != want {
			w.t.Fatalf("%s is answered, and the data of %s is %q instead of %q: %+v", service, step.Name, w.data[step.ID], want, w.state)
		}
	}
}

// finish brings it to its end: what runs succeeds, what has failed is tried again.
func (w *keeper) finish() {
	for range 200 {
		switch running := w.state.Running(); {
		case w.state.Status.Final():
			if w.state.Status != rollout.Completed && w.state.Status != rollout.Reverted && !w.ends {
				w.t.Fatalf("it is %s", w.state.Status)
			}
			return
		case w.state.Paused != nil:
			w.apply(rollout.Event{Type: rollout.ResumeAsked})
		case w.state.TurnsBack():
			w.apply(rollout.Event{Type: rollout.BackwardAsked})
		case w.state.Status == rollout.Failed:
			w.apply(rollout.Event{Type: rollout.Retried})
		case len(running) > 0:
			w.apply(answerTo(running[0]))
		default:
			for _, step := range w.state.All() {
				if step.Status == rollout.StepRetrying {
					w.apply(rollout.Event{Type: rollout.StepDue, Step: step.ID, Attempt: step.Attempt})
				}
			}
		}
	}
	w.t.Fatalf("it does not end: %+v", w.state)
}
