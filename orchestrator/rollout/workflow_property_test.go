package rollout_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// people may answer questions, or try to; ada has started the rollout.
var people = []string{"ada", "bob", "eve", "carl", "mallory", ""}

// drawCourse gives a release a policy, perhaps a workflow, and what it does about a check
// that fails.
func drawCourse(t *rapid.T, r *rollout.Release) {
	r.AutoRevert = rapid.Bool().Draw(t, "autoRevert")
	r.Approvals = rollout.Policy{
		Required:   rapid.IntRange(0, 3).Draw(t, "required") == 0,
		By:         rapid.SampledFrom([][]string{nil, {"bob", "eve", "carl", "ada"}}).Draw(t, "by"),
		Count:      rapid.IntRange(0, 3).Draw(t, "count"),
		NotStarter: rapid.Bool().Draw(t, "notStarter"),
		Deadline:   rollout.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "deadline")),
	}
	if rapid.Bool().Draw(t, "workflow") {
		r.Workflow = drawWorkflow(t, *r)
		spoil(t, r)
	}
}

// spoil changes a workflow at random, as long as it is valid: whatever is, keeps the promises.
func spoil(t *rapid.T, r *rollout.Release) {
	for range rapid.SampledFrom([]int{0, 1, 5, 20}).Draw(t, "changes") {
		was := r.Workflow
		i, k := rapid.IntRange(0, len(was)-1).Draw(t, "one"), rapid.IntRange(0, len(was)-1).Draw(t, "other")
		r.Workflow = slices.Clone(was)
		switch rapid.IntRange(0, 4).Draw(t, "change") {
		case 0:
			r.Workflow[i], r.Workflow[k] = was[k], was[i]
		case 1:
			r.Workflow = slices.Delete(r.Workflow, i, i+1)
		case 2:
			r.Workflow = slices.Insert(r.Workflow, k, was[i])
		case 3:
			move := rapid.SampledFrom([]rollout.Move{rollout.Open, rollout.Drain, rollout.MaintenanceOn, rollout.MaintenanceOff}).Draw(t, "move")
			services := rapid.SampledFrom([][]string{nil, {"a"}, {"a-b", "b"}, {"c", "c"}, {"old"}, {"older", "old"}}).Draw(t, "of")
			r.Workflow = slices.Insert(r.Workflow, k, rollout.Item{Traffic: move, Services: services})
		case 4:
			r.Workflow[i].Name = rapid.SampledFrom([]string{"", "own-1", "own-2", "a", "approval"}).Draw(t, "name")
			r.Workflow[k].Services = rapid.SampledFrom([][]string{nil, {"a"}, {"old"}}).Draw(t, "services")
		}
		if r.Validate() != nil || len(r.Workflow) == 0 {
			r.Workflow = was
		}
	}
}

// drawWorkflow draws one that makes sense, from its beginning to its end.
func drawWorkflow(t *rapid.T, r rollout.Release) []rollout.Item {
	var items []rollout.Item
	add := func(i rollout.Item) { items = append(items, i) }
	own, drains := 0, []string{"old", "older"}
	extra := func() {
		for range rapid.IntRange(0, 2).Draw(t, "entries") {
			if own++; rapid.IntRange(0, 4).Draw(t, "drain") > 0 || len(drains) == 0 {
				add(drawOwn(t, fmt.Sprintf("own-%d", own)))
				continue
			}
			n := rapid.IntRange(1, len(drains)).Draw(t, "drained")
			add(rollout.Item{Traffic: rollout.Drain, Services: drains[:n]})
			drains = drains[n:]
		}
	}
	closing, lifting := drawMaintenance(t, r), drawMaintenance(t, r)
	closeAt := rapid.IntRange(0, 3).Draw(t, "close before") // 0: before the phase before, 1: before offline, 2: behind it, 3: never
	offline := has(r, protocol.Offline) || r.Strategy == rollout.Downtime && len(r.Services) > 0 && rapid.Bool().Draw(t, "offline")
	for at, phase := range []protocol.Phase{protocol.Before, protocol.Offline} {
		extra()
		if closeAt == at {
			items = append(items, closing...)
			extra()
		}
		if has(r, phase) || phase == protocol.Offline && offline {
			add(rollout.Item{Phase: phase})
		}
	}
	extra()
	if closeAt == 2 {
		items = append(items, closing...)
		extra()
	}
	closed := closeAt < 3 || r.Strategy == rollout.Downtime && offline
	all := func(i rollout.Item) bool { return len(i.Services) == 0 }
	if closed && (slices.ContainsFunc(closing, all) || r.Strategy == rollout.Downtime && offline || reflect.DeepEqual(closing, lifting)) {
		for _, i := range lifting {
			i.Traffic = rollout.MaintenanceOff
			add(i)
			extra()
		}
	}
	if rapid.Bool().Draw(t, "open") {
		add(rollout.Item{Traffic: rollout.Open})
		extra()
	}
	if len(r.Services) > 0 {
		add(rollout.Item{Phase: protocol.Online})
		extra()
	}
	if r.Setup {
		add(rollout.Item{Phase: protocol.Setup})
		extra()
	}
	return items
}

// drawMaintenance draws entries that put services under maintenance: some, all, or all
// after some.
func drawMaintenance(t *rapid.T, r rollout.Release) []rollout.Item {
	some := rollout.Item{Traffic: rollout.MaintenanceOn}
	for _, s := range r.Services {
		if rapid.Bool().Draw(t, "maintenance") {
			some.Services = append(some.Services, s.Name)
		}
	}
	all := rollout.Item{Traffic: rollout.MaintenanceOn}
	if len(some.Services) == 0 || rapid.Bool().Draw(t, "all at once") {
		return []rollout.Item{all}
	}
	return []rollout.Item{some, all}[:rapid.IntRange(1, 2).Draw(t, "some")]
}

func drawOwn(t *rapid.T, name string) rollout.Item {
	if rapid.IntRange(0, 2).Draw(t, "approval") == 0 {
		return rollout.Item{Name: name, Approval: &rollout.Question{
			Text: "May it go on?", Deadline: rollout.Duration(rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "deadline")),
			Checklist: rapid.SampledFrom([][]string{nil, {"tested"}, {"tested", "announced"}, {"a", "b", "c", "d", "e", "f"}}).Draw(t, "checklist"),
		}}
	}
	w := rollout.Work{Check: rapid.Bool().Draw(t, "check")}
	w.Backward = !w.Check && rapid.Bool().Draw(t, "backward")
	w.Timeout = rollout.Duration(rapid.SampledFrom([]time.Duration{0, time.Minute}).Draw(t, "timeout"))
	w.Retries = rapid.SampledFrom([]int{0, 0, 2}).Draw(t, "retries")
	if rapid.Bool().Draw(t, "labels") {
		w.On, w.Need = map[string]string{"role": "front"}, rollout.Need{Percent: 50}
	}
	return rollout.Item{Name: name, Work: &w}
}

func has(r rollout.Release, phase protocol.Phase) bool {
	return slices.ContainsFunc(r.Services, func(s rollout.Service) bool { return slices.Contains(s.Migrations, phase) })
}

// works reports whether somebody works on a step and answers.
func works(s rollout.Step) bool {
	return s.Kind == rollout.Migration || s.Kind == rollout.Command || s.Kind == rollout.Check || s.Kind == rollout.Snapshot
}

// undoable reports whether there is a way back for what a step does.
func undoable(s rollout.Step) bool {
	return s.Kind != rollout.Approving && s.Kind != rollout.Snapshot && (s.Work == nil || s.Work.Backward) && !s.NoRevert
}

// lifted reports whether a step is about a maintenance that is over, which an abort leaves so.
func (w *witness) lifted(step rollout.Step) bool {
	off, _ := w.state.Step(step.Name + "/maintenance-off")
	return step.Kind == rollout.Maintenance && off.Status == rollout.StepDone
}

// stretch is what one entry of a workflow stands for: steps that may begin when all steps of
// the entries above have finished.
type stretch struct {
	phase protocol.Phase
	ids   []string
}

// entries tells what a release does one after the other, also if it has phases alone, found
// another way than the planner finds it.
func entries(r rollout.Release, f rollout.Facts) []stretch {
	var all []stretch
	closed, lifted, opened := make(map[string]bool), make(map[string]bool), false
	closeAll := func(names []string) (ids []string) {
		for _, s := range r.Services {
			if routed := len(f.Routes[s.Name].Online) > 0; routed && !closed[s.Name] && (len(names) == 0 || slices.Contains(names, s.Name)) {
				closed[s.Name], ids = true, append(ids, s.Name+"/maintenance")
			}
		}
		return ids
	}
	scripts := func(phase protocol.Phase) (ids []string) {
		for _, s := range r.Services {
			if slices.Contains(s.Migrations, phase) {
				ids = append(ids, s.Name+"/"+string(phase))
			}
		}
		return ids
	}
	if r.Approvals.Required {
		all = append(all, stretch{ids: []string{rollout.ApprovalID}})
	}
	items := r.Workflow
	if len(items) == 0 {
		for _, phase := range phasesOf(r) {
			items = append(items, rollout.Item{Phase: phase})
		}
	}
	for _, i := range items {
		prepared := i.Phase != protocol.Offline && i.Phase != protocol.Online && i.Traffic != rollout.Open
		if r.Strategy == rollout.Downtime && !prepared && !opened {
			all = append(all, stretch{ids: closeAll(nil)})
		}
		e := stretch{phase: i.Phase, ids: scripts(i.Phase)}
		switch {
		case i.Name != "":
			e.ids = []string{i.Name}
		case i.Phase == protocol.Setup:
			e.ids = []string{r.App + "/setup"}
		case i.Traffic == rollout.MaintenanceOn:
			e.ids = closeAll(i.Services)
		case i.Traffic == rollout.MaintenanceOff:
			for _, s := range r.Services {
				if closed[s.Name] && !lifted[s.Name] && (len(i.Services) == 0 || slices.Contains(i.Services, s.Name)) {
					lifted[s.Name], e.ids = true, append(e.ids, s.Name+"/maintenance-off")
				}
			}
		case i.Traffic == rollout.Drain:
			for _, name := range i.Services {
				if len(f.Routes[name].Online) > 0 {
					e.ids = append(e.ids, name+"/drain")
				}
			}
		case !prepared && i.Phase != protocol.Offline && !opened:
			opened = true
			for _, s := range r.Services {
				e.ids = append(e.ids, s.Name+"/traffic")
			}
		}
		all = append(all, e)
	}
	return all
}

// phasesOf lists the phases that a rollout of the release can be told to stop behind.
func phasesOf(r rollout.Release) []protocol.Phase {
	var phases []protocol.Phase
	for _, i := range r.Workflow {
		if i.Phase != "" {
			phases = append(phases, i.Phase)
		}
	}
	if len(r.Workflow) > 0 {
		return phases
	}
	if has(r, protocol.Before) {
		phases = append(phases, protocol.Before)
	}
	if has(r, protocol.Offline) || r.Strategy == rollout.Downtime && len(r.Services) > 0 {
		phases = append(phases, protocol.Offline)
	}
	if len(r.Services) > 0 {
		phases = append(phases, protocol.Online)
	}
	if r.Setup {
		phases = append(phases, protocol.Setup)
	}
	return phases
}

// inOrder are the requirements of a release whose entries happen one after the other.
func inOrder(r rollout.Release, f rollout.Facts) requirements {
	need := make(requirements)
	var above []string
	for _, e := range entries(r, f) {
		for _, id := range e.ids {
			need[id] = slices.Clone(above)
		}
		add := func(id, before string) {
			if slices.Contains(e.ids, id) && slices.Contains(e.ids, before) {
				need[id] = append(need[id], before)
			}
		}
		for _, s := range r.Services {
			add(s.Name+"/online", s.Name+"/traffic")
			for _, d := range closure(r, s.Name) {
				for _, what := range []string{"/before", "/offline", "/online", "/traffic", "/maintenance-off"} {
					add(s.Name+what, d+what)
				}
				add(s.Name+"/online", d+"/traffic")
				add(d+"/maintenance", s.Name+"/maintenance")
			}
		}
		above = append(above, e.ids...)
	}
	return need
}

// drawUntil has the rollout run to the end of a phase, perhaps to one that it cannot.
func (w *witness) drawUntil(facts rollout.Facts) protocol.Phase {
	until := rapid.SampledFrom([]protocol.Phase{"", "", protocol.Before, protocol.Offline, protocol.Online, protocol.Setup, "later"}).Draw(w.t, "until")
	_, err := rollout.CompileUntil("r1", "ada", w.now, w.release, facts, until)
	phases := phasesOf(w.release)
	at := slices.Index(phases, until)
	possible := until == "" || at >= 0
	if at > 0 {
		plan, _ := rollout.Compile("r1", "ada", w.now, w.release, facts)
		for _, e := range w.entries {
			for _, id := range e.ids {
				step, _ := plan.Step(id)
				possible = possible && step.Status == rollout.StepSkipped
			}
			if e.phase == phases[at-1] {
				break
			}
		}
	}
	var wrong *rollout.PhaseError
	if possible != (err == nil) || !possible && !errors.As(err, &wrong) {
		w.t.Fatalf("until %s of %v: possible %t, error %v", until, phases, possible, err)
	}
	if !possible {
		return ""
	}
	return w.orEnd(until)
}

// orEnd is the phase to whose end a rollout runs; the end of the last one is its own.
func (w *witness) orEnd(phase protocol.Phase) protocol.Phase {
	if phases := phasesOf(w.release); phase == phases[len(phases)-1] {
		return ""
	}
	return phase
}

// beyond reports whether a step must not begin as far as the rollout is to run.
func (w *witness) beyond(id string) bool {
	if w.until == "" {
		return false
	}
	for _, e := range w.entries {
		if slices.Contains(e.ids, id) {
			return false
		}
		if e.phase == w.until {
			return true
		}
	}
	return false
}

// votes are what was said of a question since it was asked.
type votes struct {
	confirmed map[int]bool
	approved  map[string]bool
}

// vote has somebody say something about some step.
func (w *witness) vote(id string) {
	e := rollout.Event{
		Type: rapid.SampledFrom([]rollout.EventType{rollout.ApprovedBy, rollout.ApprovedBy, rollout.ItemConfirmed, rollout.ItemConfirmed, rollout.RejectedBy}).Draw(w.t, "says"),
		Step: id, By: rapid.SampledFrom(people).Draw(w.t, "who"), Item: rapid.IntRange(0, 7).Draw(w.t, "item"),
	}
	other := e
	other.By, other.At = rapid.SampledFrom(people).Draw(w.t, "who else"), w.now
	before := w.state
	if !w.apply(e) {
		return
	}
	copied := w.roundTrip(w.state)
	if _, err := before.Apply(other); !reflect.DeepEqual(copied, w.state) {
		w.t.Fatalf("%+v (%v), said of the state before, changed what came of %+v", other, err, e)
	}
}

// asked is a question that waits for an answer, or "".
func (w *witness) asked() string {
	for _, step := range w.state.All() {
		if step.Kind == rollout.Approving && step.Status == rollout.StepRunning {
			return step.ID
		}
	}
	return ""
}

// count checks a vote that was accepted against who may vote, and what it has led to.
func (w *witness) count(e rollout.Event) {
	policy := w.release.Approvals
	step, _ := w.state.Step(e.Step)
	if e.By == "" || len(policy.By) > 0 && !slices.Contains(policy.By, e.By) || policy.NotStarter && e.By == "ada" && e.Type != rollout.RejectedBy {
		w.t.Fatalf("%+v was accepted under %+v", e, policy)
	}
	v := w.said[e.Step]
	switch e.Type {
	case rollout.ItemConfirmed:
		if v.confirmed[e.Item] || e.Item < 1 || e.Item > len(step.Approval.Checklist) || step.Status != rollout.StepRunning {
			w.t.Fatalf("%+v was accepted: %+v", e, step)
		}
		v.confirmed[e.Item] = true
	case rollout.RejectedBy:
		if step.Status != rollout.StepFailed {
			w.t.Fatalf("rejected, and it is %+v", step)
		}
	case rollout.ApprovedBy:
		if v.approved[e.By] || len(v.confirmed) != len(step.Approval.Checklist) {
			w.t.Fatalf("%+v was accepted after %+v", e, v)
		}
		v.approved[e.By] = true
		if enough := len(v.approved) >= max(policy.Count, 1); enough != (step.Status == rollout.StepDone) {
			w.t.Fatalf("after %+v, %+v", v, step)
		}
		if step.Status == rollout.StepDone {
			w.success[e.Step]++
		}
	}
}

// lookAtCourse checks what holds of a step because of the workflow, of how far the rollout is
// to run, and of the way that it goes.
func (w *witness) lookAtCourse(before, step rollout.Step) {
	s := w.state
	begun := step.Attempt > before.Attempt
	if begun && step.Kind == rollout.Approving {
		w.said[step.ID] = votes{make(map[int]bool), make(map[string]bool)}
	}
	if begun && !step.Revert && w.beyond(step.ID) {
		w.t.Fatalf("%s was started, and the rollout runs until %s: %+v", step.ID, s.Until, s.Steps)
	}
	back := s.Status == rollout.Aborting || s.Status == rollout.Aborted
	if back && works(step) && (begun || step.Revert && !before.Revert || step.Status == rollout.StepReverted && before.Status != rollout.StepReverted) {
		w.t.Fatalf("%s, and %+v became %+v", s.Status, before, step)
	}
	if step.Revert && !undoable(step) {
		w.t.Fatalf("there is no way back of %+v", step)
	}
	if s.Event.Type == rollout.BackwardAsked && works(step) && before.Status == rollout.StepRunning &&
		(step.Status != rollout.StepRunning || !step.Cancelled || begun) {
		w.t.Fatalf("asked to go back, and it is not waited for: %+v became %+v", before, step)
	}
	if off, _ := s.Step(step.Name + "/maintenance-off"); s.Event.Type == rollout.AbortAsked && step.Kind == rollout.Maintenance &&
		before.Status == rollout.StepDone && w.success[off.ID] == 1 && step.Status != rollout.StepDone {
		w.t.Fatalf("aborted, and it served before: %+v became %+v", before, step)
	}
	if s.Backward != nil && begun && !step.Revert {
		w.t.Fatalf("on the way back, %+v was started", step)
	}
	if s.Status == rollout.Reverted {
		led := !works(step) && step.Status == rollout.StepFailed // it was put back when it failed
		if (step.Status == rollout.StepReverted) != (step.Attempt > 0 && undoable(step) && !led) {
			w.t.Fatalf("reverted, with %+v", step)
		}
	}
	if s.Status == rollout.Aborted && !works(step) && step.Kind != rollout.Approving && step.Status == rollout.StepDone && !w.lifted(step) {
		w.t.Fatalf("aborted, with %+v", step)
	}
}

// lookAtEnd checks that nobody is left under maintenance, and that the state says what it
// waits for.
func (w *witness) lookAtEnd(finished map[string]bool) {
	s := w.state
	if s.Until != w.until {
		w.t.Fatalf("it runs until %q, want %q", s.Until, w.until)
	}
	ended := true
	for _, step := range s.All() {
		ended = ended && (finished[step.ID] || w.beyond(step.ID))
	}
	if s.Held() != (s.Status == rollout.Running && s.Until != "" && ended) {
		w.t.Fatalf("held: %t, until %s, ended %t: %+v", s.Held(), s.Until, ended, s.Steps)
	}
	if s.Held() && (len(s.Todo()) > 0 || !s.Due().IsZero()) {
		w.t.Fatalf("held, to do %+v, due %s", s.Todo(), s.Due())
	}
	over := s.Status == rollout.Completed || s.Status == rollout.Aborted || s.Status == rollout.Reverted
	for _, o := range s.Outages() {
		closing, _ := s.Step(o.Service + "/maintenance")
		stuck := closing.Revert && closing.Status == rollout.StepFailed // it could not be put back
		if over && !stuck && o.To.IsZero() {
			w.t.Fatalf("%s, and %s is under maintenance: %+v", s.Status, o.Service, closing)
		}
	}
	for _, step := range s.Todo() {
		if !works(step) && (s.RetryAfter(step) > 0) != w.closes(step) {
			w.t.Fatalf("callers are told to wait %s, and the step is %+v of %+v", s.RetryAfter(step), step, s.Steps)
		}
	}
	w.lookAtTurn()
}

// closes reports whether a move of traffic puts its service under maintenance, or leaves it so.
func (w *witness) closes(step rollout.Step) bool {
	if !step.Backwards() {
		return step.Kind == rollout.Maintenance && !step.Move.Lift
	}
	holds := func(id string) bool { return id != step.ID && w.success[id] > w.undone[id] }
	return holds(step.Name+"/maintenance") && !holds(step.Name+"/maintenance-off")
}

// lookAtTurn checks that the rollout turns back by itself exactly if a check has failed that
// stands behind a gate that has begun to open.
func (w *witness) lookAtTurn() {
	s := w.state
	want := false
	for _, step := range s.All() {
		if step.Kind != rollout.Check || step.Status != rollout.StepFailed {
			continue
		}
		for _, id := range w.plan[step.ID] {
			gate, _ := s.Step(id)
			want = want || gate.Kind == rollout.Traffic && !gate.Move.Drain
		}
	}
	want = want && w.release.AutoRevert && s.Status == rollout.Failed && s.Backward == nil
	if s.TurnsBack() != want {
		w.t.Fatalf("turns back: %t, want %t: %+v", s.TurnsBack(), want, s.Steps)
	}
}
