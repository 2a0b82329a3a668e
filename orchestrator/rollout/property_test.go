package rollout_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Whatever the release and whatever happens in whatever order, the machine keeps its
// promises, and the rollout can be brought to its end.
func TestTheMachineKeepsItsPromises(t *testing.T) {
	for _, size := range []int{10, 40, 100} {
		t.Run(fmt.Sprintf("up to %d events", size), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := newWitness(t)
				for range rapid.IntRange(0, size).Draw(t, "events") {
					w.anything()
				}
				w.finish()
			})
		})
	}
}

// Wherever a rollout is that has gone well until then, and is turned round or ended there, it
// keeps the same promises.
func TestAWorkflowCanBeLeftAnywhere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWitness(t)
		for range rapid.IntRange(0, 2*len(w.state.Steps)).Draw(t, "events") {
			w.forward()
		}
		switch rapid.IntRange(0, 3).Draw(t, "left") {
		case 0:
			w.apply(rollout.Event{Type: rollout.AbortAsked})
		case 1, 2:
			w.apply(rollout.Event{Type: rollout.BackwardAsked})
		case 3:
			if todo := w.state.Todo(); len(todo) > 0 && works(todo[0]) {
				never := false
				w.apply(rollout.Event{Type: rollout.StepBroke, Step: todo[0].ID, Attempt: todo[0].Attempt, Revert: todo[0].Revert,
					Answer: &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeFailed, Message: "502", Retry: &never}}})
			}
		}
		for range rapid.SampledFrom([]int{0, 0, 5, 20}).Draw(t, "meanwhile") {
			w.anything()
		}
		w.finish()
	})
}

// witness drives one rollout and looks at everything that it does.
type witness struct {
	t       *rapid.T
	now     time.Time
	release rollout.Release
	plan    requirements
	state   rollout.State
	last    rollout.Event   // that was accepted
	success map[string]int  // how often a step has succeeded
	undone  map[string]int  // how often a step was undone
	told    map[string]bool // keys of announcements
	ends    int             // how often its completion was announced

	entries []stretch        // of its workflow
	until   protocol.Phase   // to the end of which it is to run
	said    map[string]votes // by question
}

func newWitness(t *rapid.T) *witness {
	w := &witness{
		t: t, now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), release: drawRelease(t),
		success: make(map[string]int), undone: make(map[string]int), told: make(map[string]bool), said: make(map[string]votes),
	}
	facts := drawFacts(t, w.release)
	w.plan, w.entries = newRequirements(w.release, facts), entries(w.release, facts)
	w.until = w.drawUntil(facts)
	compile := func() rollout.State {
		s, err := rollout.CompileUntil("r1", "ada", w.now, w.release, facts, w.until)
		if err != nil {
			t.Fatalf("compile %+v: %v", w.release, err)
		}
		return s
	}
	w.state = compile()
	if again := compile(); !reflect.DeepEqual(again, w.state) {
		t.Fatalf("compiled %+v, then %+v", w.state, again)
	}
	withSnapshot(t, w.state, w.entries, w.plan)
	before := rollout.State{Steps: make([]*rollout.Step, len(w.state.Steps))}
	for i := range before.Steps {
		before.Steps[i] = &rollout.Step{}
	}
	w.look(before)
	return w
}

// drawRelease draws services that depend on each other without a circle.
func drawRelease(t *rapid.T) rollout.Release {
	names := []string{"a", "a-b", "b", "c", "d"}[:rapid.IntRange(0, 5).Draw(t, "services")]
	r := rollout.Release{App: "a", Version: "1.0.0", Strategy: rapid.SampledFrom([]rollout.Strategy{rollout.Parallel, rollout.Downtime}).Draw(t, "strategy"), Setup: len(names) == 0 || rapid.Bool().Draw(t, "setup")}
	for n, name := range names {
		s := rollout.Service{
			Name: name, Version: rapid.SampledFrom([]string{"1.0.0", "1.0.0-b", "2.0.0+build"}).Draw(t, "version"),
			Instances: rapid.IntRange(0, 3).Draw(t, "instances"),
			Timeout:   rollout.Duration(rapid.SampledFrom([]time.Duration{0, 0, time.Minute, time.Hour}).Draw(t, "timeout")),
			Retries:   rapid.SampledFrom([]int{0, 0, 1, 3}).Draw(t, "retries"),
			Backoff:   rollout.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "backoff")),
			Pace:      drawPace(t),
		}
		for _, phase := range protocol.ServicePhases() {
			if rapid.Bool().Draw(t, "phase") {
				s.Migrations = append(s.Migrations, phase)
			}
		}
		for _, other := range names[:n] {
			if rapid.Bool().Draw(t, "depends") {
				s.DependsOn = append(s.DependsOn, other)
			}
		}
		r.Services = append(r.Services, s)
	}
	r.Services = rapid.Permutation(r.Services).Draw(t, "order")
	if len(r.Services) == 0 {
		r.Services = nil
	}
	drawCourse(t, &r)
	drawState(t, &r)
	return r
}

// drawPace draws a pace, or none, or one that names nothing.
func drawPace(t *rapid.T) *protocol.Pace {
	rate := rapid.SampledFrom([]float64{0, 0.5, 200}).Draw(t, "rate")
	return rapid.SampledFrom([]*protocol.Pace{
		nil, {}, {Rate: &rate}, {InFlight: 3}, {Rate: &rate, InFlight: rollout.MaxInFlight},
	}).Draw(t, "pace")
}

func drawFacts(t *rapid.T, r rollout.Release) rollout.Facts {
	ran := make(map[protocol.Script]bool)
	add := func(s protocol.Script) { ran[s] = rapid.IntRange(0, 2).Draw(t, "ran") == 0 }
	routes := make(map[string]rollout.Replace)
	for _, s := range r.Services {
		for _, phase := range protocol.ServicePhases() {
			add(protocol.Script{Name: s.Name, Version: s.Version, Phase: phase})
		}
		if rapid.Bool().Draw(t, "route") {
			routes[s.Name] = rollout.Replace{Revision: 7, Online: []string{"0.9.0"}}
		}
	}
	add(protocol.Script{Name: r.App, Version: r.Version, Phase: protocol.Setup})
	for _, name := range []string{"old", "older"} {
		if rapid.Bool().Draw(t, "route") {
			routes[name] = rollout.Replace{Revision: 5, Online: []string{"0.8.0"}}
		}
	}
	f := rollout.Facts{Routes: routes, Ran: func(s protocol.Script) (rollout.Ran, bool) {
		return rollout.Ran{Rollout: "r0"}, ran[s]
	}}
	if rapid.IntRange(0, 5).Draw(t, "live") == 0 {
		f.Live = &rollout.Ran{Rollout: "r0", At: time.Date(2026, 11, 19, 10, 0, 0, 0, time.UTC)}
	}
	for _, s := range r.Services {
		if rapid.IntRange(0, 9).Draw(t, "left") == 0 {
			f.Unanswered = append(f.Unanswered, rollout.AttemptID{Rollout: "r0", Name: s.Name, Version: "0.9.0", Phase: protocol.Offline, Number: 1})
		}
	}
	return f
}

// requirements are the steps that have to be finished before a step may start, by id,
// as the READMEs tell it, and found another way than the planner finds them.
type requirements map[string][]string

func newRequirements(r rollout.Release, f rollout.Facts) requirements {
	if len(r.Workflow) > 0 || r.Approvals.Required {
		return inOrder(r, f)
	}
	need := make(requirements)
	has := make(map[string]bool)
	var all, befores, closings, offlines []string
	for _, s := range r.Services {
		if _, routed := f.Routes[s.Name]; routed && r.Strategy == rollout.Downtime { // every route that is drawn has another version online
			closings = append(closings, s.Name+"/maintenance")
		}
	}
	for _, s := range r.Services {
		all = append(all, s.Name+"/traffic")
		for _, phase := range s.Migrations {
			id := s.Name + "/" + string(phase)
			has[id] = true
			all = append(all, id)
			switch phase {
			case protocol.Before:
				befores = append(befores, id)
			case protocol.Offline:
				offlines = append(offlines, id)
			}
		}
	}
	for _, s := range r.Services {
		traffic := s.Name + "/traffic"
		need[traffic] = slices.Concat(befores, closings, offlines)
		need[s.Name+"/offline"] = slices.Concat(befores, closings)
		need[s.Name+"/maintenance"] = append(need[s.Name+"/maintenance"], befores...)
		need[s.Name+"/online"] = []string{traffic}
		for _, d := range closure(r, s.Name) {
			if slices.Contains(closings, s.Name+"/maintenance") {
				need[d+"/maintenance"] = append(need[d+"/maintenance"], s.Name+"/maintenance")
			}
			need[traffic] = append(need[traffic], d+"/traffic")
			need[s.Name+"/online"] = append(need[s.Name+"/online"], d+"/traffic")
			for _, phase := range protocol.ServicePhases() {
				if id := d + "/" + string(phase); has[id] {
					need[s.Name+"/"+string(phase)] = append(need[s.Name+"/"+string(phase)], id)
				}
			}
		}
	}
	need[r.App+"/setup"] = append(all, closings...)
	return need
}

// closure lists what a service depends on, also by way of others.
func closure(r rollout.Release, name string) []string {
	var found []string
	for _, s := range r.Services {
		if s.Name != name {
			continue
		}
		for _, d := range s.DependsOn {
			found = append(found, d)
			found = append(found, closure(r, d)...)
		}
	}
	return found
}

// anything lets something happen: what is expected, a repetition, something stale, or
// the passing of time.
func (w *witness) anything() {
	switch rapid.IntRange(0, 22).Draw(w.t, "what") {
	case 0, 1, 2, 3:
		if todo := w.state.Todo(); len(todo) > 0 {
			w.apply(w.outcome(rapid.SampledFrom(todo).Draw(w.t, "step"), rapid.IntRange(0, 2).Draw(w.t, "failed") == 0))
		}
	case 4:
		if w.last.Type != "" {
			w.apply(w.last)
		}
	case 5, 6:
		w.apply(w.stray())
	case 7:
		w.pass(time.Duration(rapid.IntRange(1, 3600).Draw(w.t, "seconds")) * time.Second)
	case 8:
		w.apply(rollout.Event{Type: rollout.Retried, By: "ada"})
	case 9:
		if rapid.IntRange(0, 9).Draw(w.t, "superseded") == 0 {
			w.apply(rollout.Event{Type: rollout.Replaced, By: "ada"})
		}
	case 10:
		for _, step := range w.state.Todo() {
			if !works(step) && w.apply(rollout.Event{Type: rollout.TurnedBack, Step: step.ID, Attempt: step.Attempt}) == step.Backwards() {
				w.t.Fatalf("turned back: %+v", step)
			}
		}
	case 11:
		w.apply(rollout.Event{Type: rollout.PauseAsked, By: "ada", Step: w.anyStep()})
	case 12:
		w.apply(rollout.Event{Type: rollout.ResumeAsked, By: "ada", Step: w.anyStep()})
	case 13:
		w.pace()
	case 14:
		w.apply(rollout.Event{Type: rollout.RecordsAsked, By: "ada", Step: w.anyStep()})
	case 15:
		switch rapid.IntRange(0, 11).Draw(w.t, "way") {
		case 0:
			w.apply(rollout.Event{Type: rollout.AbortAsked, By: "ada"})
		case 1:
			e := rollout.Event{Type: rollout.BackwardAsked, By: "ada"}
			for _, step := range w.state.All() {
				if works(step) && rapid.IntRange(0, 3).Draw(w.t, "missing") == 0 {
					e.Missing = append(e.Missing, step.ID)
				}
			}
			w.apply(e)
		}
	case 16, 17:
		w.vote(w.asked())
	case 18:
		w.vote(w.anyStep())
	case 19:
		w.apply(rollout.Event{Type: rollout.FurtherAsked, By: "ada", Until: rapid.SampledFrom(
			[]protocol.Phase{"", protocol.Before, protocol.Offline, protocol.Online, protocol.Setup, "later"}).Draw(w.t, "further")})
	case 21, 22:
		if all := w.state.AllUnanswered(); len(all) > 0 {
			of := rapid.SampledFrom(all).Draw(w.t, "stopped")
			if w.apply(rollout.Event{Type: rollout.Stopped, Of: &of}) == slices.Contains(w.state.AllUnanswered(), of) {
				w.t.Fatalf("%+v has stopped: %+v", of, w.state)
			}
		}
	case 20:
		if w.state.TurnsBack() && !w.apply(rollout.Event{Type: rollout.BackwardAsked}) {
			w.t.Fatalf("it does not turn back: %+v", w.state)
		}
	}
}

// pace has somebody ask for one, which must not change what else is known of the step.
func (w *witness) pace() {
	before, e := w.state, rollout.Event{Type: rollout.PaceAsked, By: "ada", Step: w.anyStep(), Pace: drawPace(w.t)}
	asked, _ := json.Marshal(e.Pace)
	if !w.apply(e) {
		return
	}
	for n, step := range w.state.All() {
		was := *before.Steps[n]
		if step.ID == e.Step {
			if e.Pace.Rate != nil && *step.Script.Pace.Rate != *e.Pace.Rate || e.Pace.InFlight != 0 && step.Script.Pace.InFlight != e.Pace.InFlight {
				w.t.Fatalf("asked for %s, and it is %+v", asked, step.Script.Pace)
			}
			was.Script.Pace = step.Script.Pace
		}
		if !reflect.DeepEqual(step, was) {
			w.t.Fatalf("asked for the pace of %s, and %+v became %+v", e.Step, was, step)
		}
	}
	if w.state.Status != before.Status || !w.state.Ended.Equal(before.Ended) {
		w.t.Fatalf("asked for a pace when it was %s: %s", before.Status, w.state.Status)
	}
}

// anyStep is the id of a step, or of none.
func (w *witness) anyStep() string {
	ids := []string{"", ""}
	for _, step := range w.state.All() {
		ids = append(ids, step.ID)
	}
	return rapid.SampledFrom(ids).Draw(w.t, "id")
}

// outcome is the event that a running step waits for.
func (w *witness) outcome(step rollout.Step, failed bool) rollout.Event {
	e := rollout.Event{
		Type: rollout.StepAnswered, Step: step.ID, Attempt: step.Attempt,
		Revert: step.Revert && works(step), Named: step.Kind == rollout.Migration && rapid.Bool().Draw(w.t, "named"),
	}
	switch {
	case step.Revert && !works(step) && !failed:
		e.Type, e.Revision, e.Effective = rollout.Restored, 9, w.now
	case failed && works(step) && rapid.Bool().Draw(w.t, "lost"):
		e.Type, e.Answer = rollout.StepBroke, &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeLost, Message: "silent"}}
	case failed || step.Move.Back:
		e.Type = rollout.StepBroke
		if rapid.Bool().Draw(w.t, "reason") {
			e.Answer = &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeFailed, Message: "disk full"}}
		}
	case step.Kind == rollout.Traffic:
		e.Type, e.Revision, e.Effective = rollout.Opened, 8, w.now
	case step.Kind == rollout.Maintenance:
		e.Type, e.Revision, e.Effective = rollout.Closed, 8, w.now
	case step.Kind == rollout.Snapshot:
		e.Snapshot = &rollout.SnapshotRun{ID: "r1", Bytes: 7}
	default:
		e.Answer = &protocol.Answer{Done: true, Items: 12, PutAside: rapid.SampledFrom([]int64{0, 0, 1, 7}).Draw(w.t, "put aside")}
	}
	return e
}

// stray is an event about any step and attempt, which may be the one that runs. That a move of
// traffic is confirmed is never recorded without its time: the outages of a rollout are made of
// these times, and an outage without an end is one that lasts.
func (w *witness) stray() rollout.Event {
	ids := []string{"", "nobody/before"}
	for _, step := range w.state.All() {
		ids = append(ids, step.ID)
	}
	e := rollout.Event{
		Type: rapid.SampledFrom([]rollout.EventType{
			rollout.StepAnswered, rollout.StepBroke, rollout.Opened, rollout.Closed, rollout.TurnedBack, rollout.Restored,
			rollout.StepDue, rollout.Created, "unheard of", rollout.Reminded, rollout.ApprovedBy, rollout.ItemConfirmed,
			rollout.RejectedBy,
		}).Draw(w.t, "type"),
		Revert: rapid.Bool().Draw(w.t, "revert"),
		Step:   rapid.SampledFrom(ids).Draw(w.t, "step"), Attempt: rapid.IntRange(0, 3).Draw(w.t, "attempt"),
	}
	if e.Type == rollout.Opened || e.Type == rollout.Closed || e.Type == rollout.Restored {
		e.Revision, e.Effective = 10, w.now
	}
	return e
}

// pass lets time pass and tells what is late.
func (w *witness) pass(d time.Duration) {
	due := w.state.Due()
	if !due.IsZero() {
		if early := w.state.Late(due.Add(-1)); len(early) > 0 {
			w.t.Fatalf("due at %s, late before: %+v", due, early)
		}
		if len(w.state.Late(due)) == 0 {
			w.t.Fatalf("due at %s, and nothing is late then", due)
		}
	}
	w.now = w.now.Add(d)
	late := w.state.Late(w.now)
	if (len(late) > 0) != (!due.IsZero() && !w.now.Before(due)) {
		w.t.Fatalf("at %s, due at %s, late are %+v", w.now, due, late)
	}
	for n := range late {
		if !w.apply(late[n]) && n == 0 { // what the first one does may end the wait of the others
			w.t.Fatalf("late, but not taken: %+v", late[n])
		}
	}
}

// apply lets an event happen; true when it was accepted.
// mustFold checks that what is stored of an event makes the state after it of the one before.
func (w *witness) mustFold(before, after rollout.State) {
	w.t.Helper()
	data, err := json.Marshal(after.ChangeFrom(before, 7))
	if err != nil {
		w.t.Fatal(err)
	}
	var c rollout.Change
	if err := json.Unmarshal(data, &c); err != nil {
		w.t.Fatal(err)
	}
	folded, err := w.roundTrip(before).Fold(c, 7)
	if err != nil || !reflect.DeepEqual(folded, after) {
		w.t.Fatalf("%s\nmakes %+v (%v), want %+v", data, folded, err, after)
	}
}

func (w *witness) apply(e rollout.Event) bool {
	w.now = w.now.Add(time.Millisecond) // no two events are of the same instant
	e.At = w.now
	before, copied := w.state, w.roundTrip(w.state)
	after, err := before.Apply(e)
	if !reflect.DeepEqual(before, copied) {
		w.t.Fatalf("%+v changed the state that it was applied to", e)
	}
	elsewhere, errElsewhere := copied.Apply(e)
	if !reflect.DeepEqual(elsewhere, after) || fmt.Sprint(err) != fmt.Sprint(errElsewhere) {
		w.t.Fatalf("a state that was stored goes on as %+v (%v), want %+v (%v)", elsewhere, errElsewhere, after, err)
	}
	if err != nil {
		known := e.Type != rollout.Created && e.Type != "unheard of"
		refused := errors.Is(err, rollout.ErrStale) || errors.Is(err, rollout.ErrNotAllowed)
		if wrong := new(rollout.PhaseError); e.Type == rollout.FurtherAsked && errors.As(err, &wrong) {
			refused = true
		}
		if refused != known || !reflect.DeepEqual(after, before) {
			w.t.Fatalf("%+v: error %v, state %+v", e, err, after)
		}
		return false
	}
	w.mustFold(before, after)
	person := slices.Contains([]rollout.EventType{
		rollout.PauseAsked, rollout.ResumeAsked, rollout.StepDue, rollout.PaceAsked, rollout.RecordsAsked,
		rollout.ApprovedBy, rollout.ItemConfirmed, rollout.RejectedBy, rollout.Reminded,
	}, e.Type)
	if step, about := before.Step(e.Step); about && !person && (step.Status != rollout.StepRunning || step.Attempt != e.Attempt) {
		w.t.Fatalf("%+v was accepted when the step was %+v", e, step)
	}
	switch {
	case e.Type == rollout.StepAnswered && e.Revert, e.Type == rollout.Restored:
		w.undone[e.Step]++
	case before.Status == rollout.Amending: // its work had been done before
	case e.Type == rollout.StepAnswered, e.Type == rollout.Opened, e.Type == rollout.Closed:
		w.success[e.Step]++
	}
	w.state, w.last = after, e
	switch e.Type {
	case rollout.ApprovedBy, rollout.ItemConfirmed, rollout.RejectedBy:
		w.count(e)
	case rollout.Reminded:
		if was, _ := before.Step(e.Step); was.Next.IsZero() || e.At.Before(was.Next) {
			w.t.Fatalf("reminded of %+v", was)
		}
	case rollout.FurtherAsked:
		w.until = w.orEnd(e.Until)
	}
	w.look(before)
	return true
}

// roundTrip writes a state as JSON and reads it back, which must change nothing.
func (w *witness) roundTrip(s rollout.State) rollout.State {
	data, err := json.Marshal(s)
	if err != nil {
		w.t.Fatal(err)
	}
	var back rollout.State
	if err := json.Unmarshal(data, &back); err != nil {
		w.t.Fatal(err)
	}
	if !reflect.DeepEqual(back, s) {
		w.t.Fatalf("%s was read as %+v, want %+v", data, back, s)
	}
	return back
}

// look checks what must hold of every state, and of the way from the one before.
func (w *witness) look(before rollout.State) {
	finished := make(map[string]bool)
	for _, step := range w.state.All() {
		finished[step.ID] = step.Status == rollout.StepDone || step.Status == rollout.StepSkipped
	}
	for n, step := range w.state.All() {
		w.lookAt(*before.Steps[n], step, finished)
		w.lookAtCourse(*before.Steps[n], step)
	}
	w.lookAtStatus(finished)
	w.lookAtEnd(finished)
	w.lookAtUnanswered()
	if before.Status == rollout.Amending || w.state.Status == rollout.Amending {
		w.lookAtAmending(before)
	}
	for _, a := range w.state.Announcements() {
		if w.told[a.Key] || a.Subject == "" {
			w.t.Fatalf("told twice under one key: %+v", a)
		}
		w.told[a.Key] = true
		if a.Fact && a.Subject == protocol.CompletedSubject(w.release.App, w.release.Version) {
			w.ends++
		}
	}
	if w.ends > 1 || w.ends == 0 && (w.state.Status == rollout.Completed || w.state.Amended > 0) {
		w.t.Fatalf("%s, and its completion was announced %d times", w.state.Status, w.ends)
	}
	if (w.state.What() == "amended") != (w.state.Status == rollout.Completed && w.state.Amended > 0) {
		w.t.Fatalf("%s after it was amended %d times is called %s", w.state.Status, w.state.Amended, w.state.What())
	}
}

// lookAtUnanswered: nothing that works on a service is to begin while a script of it may be at
// work whose attempt has ended.
func (w *witness) lookAtUnanswered() {
	w.t.Helper()
	for _, left := range w.state.AllUnanswered() {
		for _, act := range w.state.Acts() {
			back := slices.Contains([]rollout.Status{rollout.Aborting, rollout.Reverting, rollout.Failed}, w.state.Status)
			moves := act.Kind == rollout.LeadTraffic && !back && act.Step.Started.Equal(w.state.Event.At)
			if act.Step.Name == left.Name && (act.Kind == rollout.SendStart || moves) || act.Kind == rollout.TakeSnapshot && !act.Step.Cancelled {
				w.t.Fatalf("%s of %s while %+v may be at work: %+v", act.Kind, act.Step.ID, left, w.state)
			}
		}
	}
}

// lookAtAmending checks that nothing but the scripts that were asked for has moved.
func (w *witness) lookAtAmending(before rollout.State) {
	s := w.state
	if s.Status != rollout.Amending && s.Status != rollout.Completed {
		w.t.Fatalf("amending became %s", s.Status)
	}
	if s.Downtime(w.now.Add(time.Hour)) != before.Downtime(w.now) || !reflect.DeepEqual(s.Outages(), before.Outages()) {
		w.t.Fatalf("the downtime grew from %+v to %+v", before.Outages(), s.Outages())
	}
	answer := protocol.Answer{}
	if s.Event.Answer != nil {
		answer = *s.Event.Answer
	}
	for n, step := range s.All() {
		was := *before.Steps[n]
		if step.Kind != rollout.Migration || !step.Script.Records {
			if step.Script.Pace = was.Script.Pace; !reflect.DeepEqual(step, was) {
				w.t.Fatalf("amending, and %+v became %+v", was, step)
			}
			continue
		}
		want, aside := was.Script.Items, was.Script.PutAside
		if s.Event.Type == rollout.StepAnswered && s.Event.Step == step.ID {
			want, aside = was.Script.Items+answer.Items, answer.PutAside
			if step.Status != rollout.StepDone {
				w.t.Fatalf("%+v was answered and is %+v", was, step)
			}
		}
		if step.Script.Items != want || step.Script.PutAside != aside {
			w.t.Fatalf("%+v became %+v after %+v", was, step, s.Event)
		}
	}
}

func (w *witness) lookAt(before, step rollout.Step, finished map[string]bool) {
	if step.Attempt > before.Attempt { // it was started
		if step.Attempt != before.Attempt+1 || finished[step.ID] {
			w.t.Fatalf("%+v was started after %+v", step, before)
		}
		if w.state.Paused != nil || step.Paused != nil {
			w.t.Fatalf("%+v was started while it was held", step)
		}
		switch {
		case step.Revert:
			w.lookAtUndo(step)
		case w.state.Status == rollout.Amending:
			if !step.Script.Records || step.Script.PutAside == 0 || w.success[step.ID] != 1 {
				w.t.Fatalf("amending, and %+v was started", step)
			}
		default:
			for _, id := range w.plan[step.ID] {
				if !finished[id] {
					w.t.Fatalf("%s was started before %s had finished: %+v", step.ID, id, w.state.Steps)
				}
			}
		}
	}
	if before.Revert && !step.Revert || before.Status == rollout.StepReverted && step.Status != rollout.StepReverted {
		w.t.Fatalf("%+v became %+v: what was undone stays so", before, step)
	}
	if w.success[step.ID] > 1 || w.undone[step.ID] > 1 {
		w.t.Fatalf("%s has succeeded %d times and was undone %d times", step.ID, w.success[step.ID], w.undone[step.ID])
	}
	mending := w.state.Status == rollout.Amending && step.Script.Records && (step.Status == rollout.StepRunning || step.Status == rollout.StepRetrying)
	if (step.Status == rollout.StepDone) != (w.success[step.ID] == 1 && !step.Revert) && step.Status != rollout.StepPending && !mending ||
		(step.Status == rollout.StepReverted) != (w.undone[step.ID] == 1) {
		w.t.Fatalf("%s has succeeded %d times and was undone %d times: %+v", step.ID, w.success[step.ID], w.undone[step.ID], step)
	}
	if step.Status == rollout.StepSkipped && step.Attempt != 0 {
		w.t.Fatalf("%s was skipped and run", step.ID)
	}
	wantError := step.Status == rollout.StepFailed || step.Status == rollout.StepRetrying || step.Status == rollout.StepRunning && step.Move.Back
	mayError := step.Status == rollout.StepDone && step.Script.Records
	if wantError != (step.Error != nil) && !mayError {
		w.t.Fatalf("%s is %s with error %v", step.ID, step.Status, step.Error)
	}
	held := w.state.Paused != nil || step.Paused != nil
	asks := step.Kind == rollout.Approving // people are reminded all the same
	if held && !asks && (works(step) && !step.Deadline.IsZero() || !step.Next.IsZero()) {
		w.t.Fatalf("the clock of %+v goes on although it is held", step)
	}
	if !asks && (step.Status == rollout.StepRetrying) != (!step.Next.IsZero() || step.Status == rollout.StepRetrying && step.Left > 0) {
		w.t.Fatalf("%+v waits for no time", step)
	}
}

// lookAtUndo checks that what came after a step has been undone when it is its turn.
func (w *witness) lookAtUndo(step rollout.Step) {
	for _, other := range w.state.All() {
		if !slices.Contains(w.plan[other.ID], step.ID) || other.Attempt == 0 {
			continue
		}
		if w.state.Status == rollout.Aborting && (works(other) || w.lifted(other)) {
			continue
		}
		if !undoable(other) {
			if other.Status == rollout.StepRunning || other.Status == rollout.StepRetrying {
				w.t.Fatalf("%s is being undone while %+v", step.ID, other)
			}
			continue
		}
		led := !works(other) && other.Status == rollout.StepFailed // it was put back when it failed
		if other.Status != rollout.StepReverted && !led {
			w.t.Fatalf("%s is being undone before %+v, which came after it", step.ID, other)
		}
	}
}

func (w *witness) lookAtStatus(finished map[string]bool) {
	s := w.state
	all := true
	for _, yes := range finished {
		all = all && yes
	}
	busy, left := false, false
	mending := true // what has not finished deals with records that were put aside
	for _, step := range s.All() {
		mending = mending && (finished[step.ID] || step.Script.Records)
		b := step.Status == rollout.StepRunning || step.Status == rollout.StepRetrying || step.Revert && step.Status == rollout.StepPending
		busy = busy || b && step.Status == rollout.StepRunning
		left = left || b && (!works(step) || s.Status != rollout.Aborted && s.Status != rollout.Aborting)
	}
	failed := len(s.FailedSteps()) > 0
	want := map[rollout.Status]bool{
		rollout.Running:    !all && s.Backward == nil && (busy || !failed),
		rollout.Failed:     failed && !busy,
		rollout.Completed:  all && !left && s.Backward == nil,
		rollout.Amending:   left && mending && !failed && s.Backward == nil && s.Amended > 0,
		rollout.Superseded: failed && !busy,
		rollout.Aborting:   left,
		rollout.Aborted:    !left,
		rollout.Reverting:  left && s.Backward != nil && (busy || !failed),
		rollout.Reverted:   !left && s.Backward != nil,
	}
	if !want[s.Status] {
		w.t.Fatalf("%s: all finished %t, failed %t, busy %t, left %t: %+v", s.Status, all, failed, busy, left, s.Steps)
	}
	if s.Ended.IsZero() != (!s.Status.Final() && s.Status != rollout.Failed) {
		w.t.Fatalf("%s, ended at %s", s.Status, s.Ended)
	}
	if !s.Status.Final() && len(s.Todo()) == 0 && len(s.Waits()) == 0 {
		w.t.Fatalf("%s, there is nothing to do, and it does not say what it waits for: %+v", s.Status, s.Steps)
	}
	if s.Status.Final() && (len(s.Todo()) > 0 || !s.Due().IsZero()) {
		w.t.Fatalf("%s, to do %+v, due %s", s.Status, s.Todo(), s.Due())
	}
}

// finish brings the rollout to its end: from any state, success for all that is to do
// completes it. One that is complete may be amended then, and whatever happens meanwhile.
func (w *witness) finish() {
	w.end()
	for range 3 {
		if !w.apply(rollout.Event{Type: rollout.RecordsAsked, By: "ada"}) {
			return
		}
		for range rapid.IntRange(0, 20).Draw(w.t, "meanwhile") {
			w.anything()
		}
		w.end()
	}
}

func (w *witness) end() {
	for range 10*len(w.state.Steps) + 10 {
		switch {
		case w.state.Status.Final():
			return
		case w.state.Status == rollout.Failed:
			w.apply(rollout.Event{Type: rollout.Retried, By: "ada"})
			continue
		case w.state.Paused != nil:
			w.apply(rollout.Event{Type: rollout.ResumeAsked})
			continue
		}
		for _, step := range w.state.All() {
			if step.Paused != nil {
				w.apply(rollout.Event{Type: rollout.ResumeAsked, Step: step.ID})
			}
		}
		for _, of := range w.state.AllUnanswered() {
			w.apply(rollout.Event{Type: rollout.Stopped, Of: &of})
		}
		w.forward()
	}
	if !w.state.Status.Final() {
		w.t.Fatalf("it does not come to its end: %+v", w.state)
	}
}

// forward has happen what the rollout waits for next.
func (w *witness) forward() {
	if w.state.Held() && !w.apply(rollout.Event{Type: rollout.FurtherAsked}) {
		w.t.Fatalf("it is held, and cannot go on: %+v", w.state)
	}
	if id := w.asked(); id != "" {
		for item := range 6 {
			w.apply(rollout.Event{Type: rollout.ItemConfirmed, Step: id, By: "bob", Item: item + 1})
		}
		for _, who := range []string{"bob", "bob", "eve", "bob", "carl"} {
			w.apply(rollout.Event{Type: rollout.ApprovedBy, Step: id, By: who})
		}
	} else if todo := w.state.Todo(); len(todo) > 0 {
		w.apply(w.outcome(todo[0], false))
	} else if due := w.state.Due(); !due.IsZero() {
		w.pass(due.Sub(w.now))
	}
}

// A release comes over the wire: whatever it is, it is refused or can be planned.
func FuzzRelease(f *testing.F) {
	f.Add([]byte(`{"app":"todo-app","version":"0.0.2","strategy":"parallel","services":[{"name":"todos","version":"0.0.1","migrations":["before"],"dependsOn":["a"],"timeout":"1m","instances":1,"pace":{"rate":200,"inFlight":4}},{"name":"a","version":"1.0.0"}],"setup":true}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"downtime","setup":true}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"parallel","services":[{"name":"a","version":"1.0.0","dependsOn":["a"]}]}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"downtime","services":[{"name":"a","version":"1.0.0","migrations":["offline"]},{"name":"b","version":"1.0.0","dependsOn":["a"]}],"autoRevert":true,"requires":{"version":"0.9.0"},"approvals":{"required":true,"by":["bob","eve"],"count":2,"notStarter":true,"deadline":"1h"},"workflow":[{"name":"go","approval":{"text":"Shall it?","checklist":["tested"],"deadline":"1m"}},{"traffic":"maintenance-on","services":["b"]},{"name":"stop","work":{"backward":true,"on":{"role":"front"},"need":{"percent":50},"atOnce":2,"timeout":"1m","retries":2,"backoff":"1s"}},{"phase":"offline"},{"traffic":"maintenance-off"},{"traffic":"open"},{"name":"smoke","work":{"check":true}},{"phase":"online"},{"traffic":"drain","services":["old"]}]}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"parallel","setup":true,"workflow":[{"name":"x","phase":"setup"}]}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"parallel","setup":true,"workflow":[{"phase":"setup"},{"name":"x","traffic":"open"}]}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"parallel","services":[{"name":"a","version":"1.0.0"}],"workflow":[{"traffic":"maintenance-on"},{"traffic":"maintenance-off","services":["a"]},{"traffic":"maintenance-off"},{"phase":"online"}]}`))
	f.Add([]byte(`{"app":"a","version":"1.0.0","strategy":"parallel","services":[{"name":"a","version":"1.0.0","migrations":["before"]}],"workflow":[{"traffic":"open"},{"phase":"before"},{"phase":"online"}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var r rollout.Release
		if json.Unmarshal(data, &r) != nil {
			return
		}
		facts := rollout.Facts{Ran: neverRan, Routes: make(map[string]rollout.Replace)}
		for _, name := range r.Touches() {
			facts.Routes[name] = rollout.Replace{Revision: 3, Online: []string{"0.0.9"}}
		}
		s, err := rollout.Compile("r1", "", time.Time{}, r, facts)
		if (err == nil) != (r.Validate() == nil) {
			t.Fatalf("valid: %v, compiled: %v", r.Validate(), err)
		}
		if err != nil {
			return
		}
		if len(s.Todo()) == 0 && len(s.Waits()) == 0 {
			t.Fatalf("a plan with nothing to do: %+v", s)
		}
		mustReachAll(t, s)
		for _, phase := range r.Phases() {
			if _, err := rollout.CompileUntil("r1", "", time.Time{}, r, facts, phase); err != nil && phase == r.Phases()[0] {
				t.Fatalf("until %s: %v", phase, err)
			}
		}
	})
}

// mustReachAll checks that each step of a plan has an id of its own and is reached once, and
// no gate before the scripts that prepare it.
func mustReachAll(t *testing.T, s rollout.State) {
	ids, reached, prepared := make(map[string]bool), 0, 0
	for _, wave := range s.Waves() {
		for _, step := range wave {
			ids[step.ID] = true
			reached++
			if step.Script.Phase == protocol.Before || step.Script.Phase == protocol.Offline {
				prepared++
			}
			if step.Kind == rollout.Traffic && !step.Move.Drain && prepared < preparing(s) {
				t.Fatalf("%s does not wait for all scripts before it: %+v", step.ID, s.Steps)
			}
		}
	}
	if len(ids) != len(s.Steps) || reached != len(s.Steps) {
		t.Fatalf("%d steps with %d ids, %d are reached: %+v", len(s.Steps), len(ids), reached, s.Steps)
	}
}

func preparing(s rollout.State) int {
	n := 0
	for _, step := range s.All() {
		if step.Script.Phase == protocol.Before || step.Script.Phase == protocol.Offline {
			n++
		}
	}
	return n
}
