package rollout_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Several orchestrators, each as slow as it likes, work on one journal and one gate, while
// items come twice, acknowledgements are lost, orchestrators die between any two of their
// steps, and people deploy, abort, retry, pause, amend and go backward: the gate never opens
// too early or for a rollout that has ended, there are never two open rollouts, and none is
// announced twice as complete.
func TestSlowOrchestratorsKeepThePromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := newFleet(t)
		for range 3 {
			for range rapid.IntRange(20, 200).Draw(t, "moments") {
				f.moment()
			}
			f.rest()
			f.amend()
		}
		f.rest()
	})
}

// amend has the records of the newest rollout tried again that were put aside.
func (f *fleet) amend() {
	if n := len(f.order); n > 0 {
		f.apply(f.order[n-1], rollout.Event{Type: rollout.RecordsAsked, By: "ada"})
	}
}

// fleet is an environment with one app and its orchestrators, as far as they can do harm:
// the journal and the routes are conditional on what is newest, as those of NATS are.
type fleet struct {
	t        *rapid.T
	now      time.Time
	sequence uint64                   // of the journal's newest message
	newest   map[string]entry         // by rollout
	order    []string                 // rollouts in the order of their beginning
	items    []entry                  // of the queue that were not acknowledged for good
	routes   map[string]route         // by service
	working  []*job                   // what orchestrators are in the middle of
	asked    map[string]bool          // starts that were sent: step and attempt, by rollout
	answered map[protocol.Script]bool // scripts that have answered done since they were voided
	complete map[string]int           // how often completion was announced, by rollout
	said     map[string]bool          // work that was done and questions that were answered with yes: step, by rollout
	deployed int
}

type entry struct {
	state    rollout.State
	sequence uint64
}

type route struct {
	revision uint64
	rollout  string
	sequence uint64
	online   string
}

// job is one thing that an orchestrator does, in steps between which anything may happen:
// a move of traffic, or the deploy that takes the place of a failed rollout.
type job struct {
	item entry
	step rollout.Step
	seen route
	next func() (done bool)
}

func newFleet(t *rapid.T) *fleet {
	return &fleet{
		t: t, now: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC),
		newest: make(map[string]entry), routes: make(map[string]route),
		asked: make(map[string]bool), answered: make(map[protocol.Script]bool), complete: make(map[string]int),
		said: make(map[string]bool),
	}
}

func (f *fleet) release() rollout.Release {
	version := rapid.SampledFrom([]string{"1.0.0", "1.0.0", "2.0.0"}).Draw(f.t, "version")
	r := rollout.Release{App: "shop", Version: version, Strategy: rapid.SampledFrom([]rollout.Strategy{rollout.Parallel, rollout.Downtime}).Draw(f.t, "strategy")}
	for _, name := range []string{"a", "b"} {
		s := rollout.Service{Name: name, Version: version, Migrations: []protocol.Phase{protocol.Offline}, Instances: 1}
		if name == "b" {
			s.DependsOn = []string{"a"}
			s.Migrations = append(s.Migrations, protocol.Online)
		}
		r.Services = append(r.Services, s)
	}
	if rapid.Bool().Draw(f.t, "workflow") {
		r.Workflow = []rollout.Item{
			{Name: "stop", Work: &rollout.Work{Backward: true}}, {Phase: protocol.Offline}, {Name: "ready", Work: &rollout.Work{Check: true}},
			{Name: "go", Approval: &rollout.Question{Text: "Shall it?"}}, {Phase: protocol.Online}, {Name: "smoke", Work: &rollout.Work{Check: true}},
		}
	}
	return r
}

// moment lets one thing happen.
func (f *fleet) moment() {
	f.now = f.now.Add(time.Millisecond)
	switch rapid.IntRange(0, 13).Draw(f.t, "what") {
	case 0, 1, 2: // an orchestrator is given an item, which may have been given out before
		if len(f.items) > 0 {
			f.take(rapid.SampledFrom(f.items).Draw(f.t, "item"))
		}
	case 3, 4, 5: // one that is in the middle of something takes its next step
		if len(f.working) > 0 {
			f.advance(rapid.IntRange(0, len(f.working)-1).Draw(f.t, "job"))
		}
	case 6: // one dies: what it was doing ends, and its item comes again
		if len(f.working) > 0 {
			n := rapid.IntRange(0, len(f.working)-1).Draw(f.t, "dies")
			f.working = slices.Delete(f.working, n, n+1)
		}
	case 7, 8, 9:
		f.script()
	case 10:
		f.person()
	case 11:
		f.deploy()
	case 12:
		f.amend()
	case 13:
		f.stop()
	}
}

// stop has a script stop that has not answered.
func (f *fleet) stop() {
	for _, n := range f.newest {
		if left := n.state.AllUnanswered(); len(left) > 0 && !n.state.Status.Final() {
			f.apply(n.state.ID, rollout.Event{Type: rollout.Stopped, Of: &left[0]})
			return
		}
	}
}

// store appends a state if after is still the sequence of its rollout's newest message.
func (f *fleet) store(s rollout.State, after uint64) bool {
	if f.newest[s.ID].sequence != after {
		return false
	}
	f.sequence++
	e := entry{s, f.sequence}
	if after == 0 {
		f.order = append(f.order, s.ID)
	}
	f.newest[s.ID] = e
	f.items = append(f.items, e)
	open := 0
	for _, n := range f.newest {
		if !n.state.Status.Final() {
			open++
		}
	}
	if open > 1 {
		f.t.Fatalf("%d rollouts are open at once", open)
	}
	for _, a := range s.Announcements() {
		if a.Fact && a.Subject == protocol.CompletedSubject(s.Release.App, s.Release.Version) {
			f.complete[s.ID]++
		}
	}
	if f.complete[s.ID] > 1 {
		f.t.Fatalf("rollout %s was announced as complete %d times", s.ID, f.complete[s.ID])
	}
	return true
}

// apply records an event on whatever is newest.
func (f *fleet) apply(id string, e rollout.Event) bool {
	f.now = f.now.Add(time.Nanosecond) // no two events have the same time, as those of the bus's clock
	e.At = f.now
	n := f.newest[id]
	next, err := n.state.Apply(e)
	return err == nil && f.store(next, n.sequence)
}

// take acts on the steps that are in the care of an item, whether or not it is still the
// newest: the orchestrator may not have heard of anything else.
func (f *fleet) take(item entry) {
	for _, step := range item.state.Todo() {
		e := item.state.Event
		turned := e.Type == rollout.TurnedBack && e.Step == step.ID
		resumed := e.Type == rollout.ResumeAsked && works(step)
		if !step.Started.Equal(e.At) && !turned && !resumed {
			continue
		}
		if works(step) {
			f.asked[attempt(item.state.ID, step)] = true
			continue
		}
		j := &job{item: item, step: step}
		j.next = func() bool { return f.read(j) }
		f.working = append(f.working, j)
	}
}

func attempt(id string, step rollout.Step) string {
	return fmt.Sprintf("%s %s %d", id, step.ID, step.Attempt)
}

func (f *fleet) advance(n int) {
	if f.working[n].next() {
		f.working = slices.Delete(f.working, n, n+1)
	}
}

// read and write are the steps of the gate: it looks, and writes on what it has seen.
func (f *fleet) read(j *job) bool {
	j.seen = f.routes[j.step.Name]
	owns := j.seen.rollout == j.item.state.ID && j.seen.sequence <= j.item.sequence
	if !owns && j.seen.revision != j.step.Move.Replaces.Revision {
		f.apply(j.item.state.ID, rollout.Event{Type: rollout.StepBroke, Step: j.step.ID, Attempt: j.step.Attempt,
			Answer: &protocol.Answer{Error: &protocol.ScriptError{Code: "conflict", Message: "the route has changed"}}})
		return true
	}
	j.next = func() bool { return f.write(j) }
	return false
}

func (f *fleet) write(j *job) bool {
	s, target := j.item.state, j.step.Version
	if j.step.Backwards() || j.step.Kind == rollout.Maintenance {
		target = ""
		if len(j.step.Move.Replaces.Online) > 0 {
			target = j.step.Move.Replaces.Online[0]
		}
	}
	sealed := j.seen.rollout == s.ID && j.seen.sequence == j.item.sequence
	if j.seen.online != target || !sealed {
		if f.routes[j.step.Name].revision != j.seen.revision {
			j.next = func() bool { return f.read(j) }
			return false
		}
		f.routes[j.step.Name] = route{j.seen.revision + 1, s.ID, j.item.sequence, target}
		f.look(j, target)
	}
	j.next = func() bool { return f.record(j) }
	return false
}

// look checks the promise at the moment at which a route is written.
func (f *fleet) look(j *job, online string) {
	now := f.newest[j.item.state.ID].state
	if s := now.Status; s.Final() && s != rollout.Completed {
		f.t.Fatalf("the route of %s was written for rollout %s, which is %s", j.step.Name, now.ID, s)
	}
	if now.Status == rollout.Amending || now.Amended > 0 && now.Status == rollout.Completed {
		f.t.Fatalf("the route of %s was written for rollout %s, which is %s", j.step.Name, now.ID, now.What())
	}
	if online != j.step.Version || j.step.Backwards() || j.step.Kind == rollout.Maintenance {
		return
	}
	for _, step := range now.All() {
		if step.Script.Phase == protocol.Offline && !f.answered[step.ScriptID()] {
			f.t.Fatalf("%s %s was opened before %s had answered: %+v", j.step.Name, online, step.ID, now.Steps)
		}
		if slices.Contains([]string{"stop", "ready", "go"}, step.ID) && !f.said[now.ID+" "+step.ID] {
			f.t.Fatalf("%s %s was opened before %s had finished: %+v", j.step.Name, online, step.ID, now.Steps)
		}
	}
	if last := f.order[len(f.order)-1]; last != now.ID {
		f.t.Fatalf("%s %s was opened for rollout %s, although %s has begun", j.step.Name, online, now.ID, last)
	}
}

func (f *fleet) record(j *job) bool {
	e := rollout.Event{Step: j.step.ID, Attempt: j.step.Attempt, Revision: f.routes[j.step.Name].revision, Effective: f.now}
	switch {
	case j.step.Revert:
		e.Type = rollout.Restored
	case j.step.Move.Back:
		e.Type = rollout.StepBroke
	case j.step.Kind == rollout.Maintenance:
		e.Type = rollout.Closed
	case rapid.IntRange(0, 5).Draw(f.t, "turned back") == 0:
		e.Type = rollout.TurnedBack
	default:
		e.Type = rollout.Opened
	}
	f.apply(j.item.state.ID, e)
	return true
}

// script has an attempt that was started answer, perhaps one that is over.
func (f *fleet) script() {
	if len(f.order) == 0 {
		return
	}
	id := rapid.SampledFrom(f.order).Draw(f.t, "rollout")
	for _, step := range f.newest[id].state.All() {
		if !works(step) || !f.asked[attempt(id, step)] || rapid.Bool().Draw(f.t, "silent") {
			continue
		}
		e := rollout.Event{Type: rollout.StepAnswered, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert}
		e.Answer = &protocol.Answer{PutAside: rapid.SampledFrom([]int64{0, 2}).Draw(f.t, "put aside")}
		if rapid.IntRange(0, 3).Draw(f.t, "failed") == 0 {
			e.Type = rollout.StepBroke
		}
		if f.apply(id, e) && e.Type == rollout.StepAnswered {
			f.answered[step.ScriptID()] = !step.Revert
			f.said[id+" "+step.ID] = !step.Revert
		}
	}
}

func (f *fleet) person() {
	if len(f.order) == 0 {
		return
	}
	id := f.order[len(f.order)-1]
	e := rollout.Event{Type: rapid.SampledFrom([]rollout.EventType{
		rollout.Retried, rollout.AbortAsked, rollout.BackwardAsked, rollout.PauseAsked, rollout.ResumeAsked,
		rollout.PaceAsked, rollout.ApprovedBy, rollout.ApprovedBy, rollout.RejectedBy,
	}).Draw(f.t, "wants"), By: "ada"}
	if e.Type == rollout.ApprovedBy || e.Type == rollout.RejectedBy {
		e.Step = "go"
		f.said[id+" go"] = f.apply(id, e) && e.Type == rollout.ApprovedBy || f.said[id+" go"]
		return
	}
	if e.Type == rollout.PaceAsked {
		e.Step, e.Pace = rapid.SampledFrom(f.newest[id].state.Steps).Draw(f.t, "step").ID, &protocol.Pace{InFlight: 2}
	}
	if f.apply(id, e) && f.newest[id].state.Status == rollout.Aborted {
		f.void(id)
	}
}

// void forgets what prepared a rollout that has ended otherwise than it should have.
func (f *fleet) void(id string) {
	for _, step := range f.newest[id].state.All() {
		delete(f.answered, step.ScriptID())
	}
}

// deploy begins a rollout if none is open, or a failed one gives way: it is sealed off from
// its routes first, in steps between which anything may happen.
func (f *fleet) deploy() {
	r := f.release()
	var last entry
	if n := len(f.order); n > 0 {
		last = f.newest[f.order[n-1]]
	}
	if s := last.state.Status; s == rollout.Running || s == rollout.Aborting || s == rollout.Reverting || s == rollout.Amending {
		return
	}
	f.deployed++
	id := fmt.Sprintf("r%d", f.deployed)
	if last.state.Status != rollout.Failed {
		f.begin(id, r, last)
		return
	}
	j := &job{}
	steps := slices.DeleteFunc(slices.Clone(last.state.Steps), func(s *rollout.Step) bool {
		return s.Kind != rollout.Traffic || s.Status == rollout.StepDone
	})
	j.next = func() bool {
		if len(steps) > 0 {
			found := f.routes[steps[0].Name]
			f.routes[steps[0].Name] = route{found.revision + 1, id, 0, found.online}
			steps = steps[1:]
			return false
		}
		next, err := last.state.Apply(rollout.Event{Type: rollout.Replaced, At: f.now, By: "ada"})
		if err == nil && f.store(next, last.sequence) {
			f.void(last.state.ID)
			f.begin(id, r, f.newest[last.state.ID])
		}
		return true
	}
	f.working = append(f.working, j)
}

// begin makes the plan on what is known when the app's newest event is last, and stores it
// only if it still is.
func (f *fleet) begin(id string, r rollout.Release, last entry) {
	if last.sequence != 0 && f.newest[last.state.ID].sequence != last.sequence || f.newest[id].sequence != 0 {
		return
	}
	facts := rollout.Facts{Routes: make(map[string]rollout.Replace), Ran: func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false }}
	for _, s := range r.Services {
		found := f.routes[s.Name]
		replace := rollout.Replace{Revision: found.revision}
		if found.online != "" {
			replace.Online = []string{found.online}
		}
		facts.Routes[s.Name] = replace
		for _, phase := range s.Migrations { // this plan runs them anew
			delete(f.answered, protocol.Script{Name: s.Name, Version: s.Version, Phase: phase})
		}
	}
	s, err := rollout.Compile(id, "ada", f.now, r, facts)
	if err != nil {
		f.t.Fatal(err)
	}
	f.store(s, 0)
}

// rest lets everybody do what is left to do, without further trouble: every rollout comes
// to its end, or waits for a person and says so.
func (f *fleet) rest() {
	for range 200 {
		f.now = f.now.Add(time.Second)
		for len(f.working) > 0 {
			f.advance(0)
		}
		if len(f.order) == 0 {
			return
		}
		n := f.newest[f.order[len(f.order)-1]]
		switch s := n.state; {
		case s.Status.Final():
			return
		case s.Status == rollout.Failed:
			f.apply(s.ID, rollout.Event{Type: rollout.AbortAsked, By: "ada"})
			continue
		case s.Paused != nil:
			f.apply(s.ID, rollout.Event{Type: rollout.ResumeAsked, By: "ada"})
			continue
		}
		if left := n.state.AllUnanswered(); len(left) > 0 {
			f.apply(n.state.ID, rollout.Event{Type: rollout.Stopped, Of: &left[0]})
			continue
		}
		todo := n.state.Todo()
		if f.apply(n.state.ID, rollout.Event{Type: rollout.ApprovedBy, Step: "go", By: "ada"}) {
			f.said[n.state.ID+" go"] = true
			continue
		}
		if len(todo) == 0 {
			f.t.Fatalf("%s, nothing to do, and it waits for nobody: %+v", n.state.Status, n.state.Steps)
		}
		for _, item := range slices.Clone(f.items) {
			if item.state.ID == n.state.ID {
				f.take(item)
			}
		}
		if step := todo[0]; works(step) {
			f.apply(n.state.ID, rollout.Event{Type: rollout.StepAnswered, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert,
				Answer: &protocol.Answer{PutAside: rapid.SampledFrom([]int64{0, 2}).Draw(f.t, "put aside")}})
			f.answered[step.ScriptID()] = !step.Revert
			f.said[n.state.ID+" "+step.ID] = !step.Revert
		}
	}
	f.t.Fatalf("it does not come to rest: %+v", f.newest[f.order[len(f.order)-1]].state)
}
