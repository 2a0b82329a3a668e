package orchestrator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// tale is evidence that is made up: rollouts that go as they should, told by everybody in
// the same way.
type tale struct {
	evidence
	t        *testing.T
	now      time.Time
	sequence uint64
	number   int64
}

func newTale(t *testing.T) *tale {
	return &tale{t: t, now: time.Unix(1_800_000_000, 0).UTC(), evidence: evidence{
		histories: make(map[string][]journal.Record), books: make(map[string][]ledger.Entry),
		versions: make(map[string][]ledger.AppVersion),
	}}
}

// later is the time of what happens next.
func (x *tale) later() time.Time {
	x.now = x.now.Add(time.Millisecond)
	return x.now
}

func (x *tale) store(s rollout.State) {
	x.sequence++
	x.histories[s.ID] = append(x.histories[s.ID], journal.Record{State: s, Sequence: x.sequence})
}

func (x *tale) newest(id string) rollout.State {
	h := x.histories[id]
	return h[len(h)-1].State
}

// roll has a rollout of two services, of which one depends on the other, go to its end.
func (x *tale) roll(id string) {
	x.t.Helper()
	release := two()
	release.Version = id
	for i := range release.Services {
		release.Services[i].Version = id
	}
	x.bring(id, release)
}

// bring has a rollout of a release go to its end.
func (x *tale) bring(id string, release rollout.Release) {
	x.t.Helper()
	s, err := rollout.Compile(id, "test", x.later(), release, rollout.Facts{
		Ran: func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false },
	})
	if err != nil {
		x.t.Fatal(err)
	}
	x.accepted = append(x.accepted, id)
	x.store(s)
	x.finish(id)
	x.heard = append(x.heard, heard{protocol.CompletedSubject(release.App, release.Version), id, "message of " + id, x.sequence})
	x.versions[release.App] = append(x.versions[release.App], ledger.AppVersion{Version: release.Version, Rollout: id, Sequence: x.sequence})
}

// asideIn is the step whose script puts three records aside; each attempt at them deals with
// one.
const asideIn = "todos/online"

// amend has the records of a rollout tried again.
func (x *tale) amend(id string) {
	x.t.Helper()
	x.apply(id, rollout.Event{Type: rollout.RecordsAsked})
	x.finish(id)
}

// at is the index of the event of a rollout that ok holds for, for the nth time from 0 on.
func (x *tale) at(id string, nth int, ok func(rollout.State) bool) int {
	x.t.Helper()
	for i, r := range x.histories[id] {
		if ok(r.State) {
			if nth--; nth < 0 {
				return i
			}
		}
	}
	x.t.Fatalf("rollout %s has no such event", id)
	return 0
}

// asked and amended are events of a rollout whose records are tried again.
func asked(s rollout.State) bool   { return s.Event.Type == rollout.RecordsAsked }
func amended(s rollout.State) bool { return s.Event.Type == rollout.StepAnswered && s.Amended > 0 }

// alter changes the steps of the state of a rollout from event n on, as if each event had made
// that of them.
func (x *tale) alter(id string, n int, change func(s *rollout.State, step *rollout.Step)) {
	for i := n; i < len(x.histories[id]); i++ {
		s := &x.histories[id][i].State
		s.Steps = slices.Clone(s.Steps)
		for k, step := range s.All() {
			s.Steps[k] = &step
			change(s, &step)
		}
	}
}

// finish has all steps of a rollout that run answer until none does.
func (x *tale) finish(id string) {
	x.t.Helper()
	for s := x.newest(id); len(s.Running()) > 0; s = x.newest(id) {
		step := s.Running()[0]
		e := rollout.Event{Type: rollout.StepAnswered, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert}
		switch {
		case step.Kind == rollout.Migration:
			x.number++
			d := action{What: began, Rollout: id, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert, Records: step.Script.Records, By: "setup-0", At: x.later()}
			x.actions = append(x.actions, d)
			d.What, d.Number, d.At = ended, x.number, x.later()
			switch {
			case step.Script.Records:
				d.Aside = step.Script.PutAside - 1
			case step.ID == asideIn && !step.Revert:
				d.Aside = 3
			}
			x.actions = append(x.actions, d)
			e.Answer = &protocol.Answer{Done: true, Items: x.number, PutAside: d.Aside}
		case step.Work != nil:
			e.Answer = &protocol.Answer{Hosts: x.work(id, step)}
		case step.Kind == rollout.Approving:
			x.actions = append(x.actions, action{What: approves, Rollout: id, Step: step.ID, By: "test", At: x.later()})
			e.Type, e.By = rollout.ApprovedBy, "test"
		case step.Revert:
			e.Type, e.Revert = rollout.Restored, false
		default:
			e.Type = rollout.Opened
			x.routes = append(x.routes, gate.Route{Revision: x.sequence, Since: x.later(), Route: protocol.Route{
				Service: step.Name, Versions: []protocol.RouteVersion{{Version: step.Version, State: protocol.StateOnline}},
			}})
			x.answers = append(x.answers, answer{step.Name, told{step.Version, x.later().UnixNano()}})
		}
		x.apply(id, e)
		if step.Script.Records {
			for i, entry := range x.books[s.Release.App] {
				if entry.Rollout == id && entry.Script() == step.ScriptID() {
					x.books[s.Release.App][i].Items += e.Answer.Items
					x.books[s.Release.App][i].PutAside = e.Answer.PutAside
				}
			}
		} else if step.Kind == rollout.Migration && !step.Revert {
			x.books[s.Release.App] = append(x.books[s.Release.App], ledger.Entry{
				App: s.Release.App, Name: step.Name, Version: step.Version, Phase: step.Script.Phase,
				Rollout: id, Sequence: x.sequence, Items: e.Answer.Items, PutAside: e.Answer.PutAside,
			})
		}
	}
}

func (x *tale) apply(id string, e rollout.Event) {
	x.t.Helper()
	e.At = x.later()
	next, err := x.newest(id).Apply(e)
	if err != nil {
		x.t.Fatal(err)
	}
	x.store(next)
}

// undo takes a rollout backward.
func (x *tale) undo(id string) {
	x.t.Helper()
	x.apply(id, rollout.Event{Type: rollout.BackwardAsked})
	x.finish(id)
	for app, book := range x.books {
		for i := range book {
			if book[i].Rollout == id {
				x.books[app][i].Void = "reverted"
			}
		}
		for i, v := range x.versions[app] {
			if v.Rollout == id {
				x.versions[app][i].Void = "reverted"
			}
		}
	}
}

// toldTale is a tale of two rollouts. The records of both are tried again, and the second is
// undone.
func toldTale(t *testing.T) *tale {
	x := newTale(t)
	x.roll("1.0.0")
	x.amend("1.0.0")
	x.amend("1.0.0")
	x.roll("1.0.1")
	x.amend("1.0.1")
	x.undo("1.0.1")
	return x
}

// action finds what a script did.
func (x *tale) action(what, id, step string, revert bool) int {
	x.t.Helper()
	n := slices.IndexFunc(x.actions, func(d action) bool { return d.What == what && d.Rollout == id && d.Step == step && d.Revert == revert })
	if n < 0 {
		x.t.Fatalf("nobody has %s %s of %s", what, step, id)
	}
	return n
}

// move has an action take the place of another one.
func (x *tale) move(from, to int) {
	d := x.actions[from]
	x.actions = slices.Insert(slices.Delete(x.actions, from, from+1), to, d)
}

func TestFaultJudgeFindsNothingWrongWithAGoodTale(t *testing.T) {
	x := toldTale(t)
	if s := x.newest("1.0.0").Status; s != rollout.Completed {
		t.Errorf("the first rollout is %s", s)
	}
	if s := x.newest("1.0.1").Status; s != rollout.Reverted {
		t.Errorf("the second rollout is %s", s)
	}
	if found := x.findings(); len(found) > 0 {
		t.Errorf("%d findings: %s", len(found), some(found))
	}
}

func TestFaultJudgeFindsWhatIsWrong(t *testing.T) {
	const a, b, app = "1.0.0", "1.0.1", "todo-app"
	tests := []struct {
		name  string
		spoil func(x *tale)
		want  string
	}{
		{"an attempt ran twice", func(x *tale) {
			x.actions = append(x.actions, x.actions[x.action(began, a, "todos/offline", false)])
		}, "ran 2 times"},
		{"a step began before the phase before it had ended", func(x *tale) {
			x.move(x.action(began, a, "todos/offline", false), x.action(ended, a, "todo-search/before", false))
		}, "todos/offline ran (by setup-0"},
		{"a step began before that of a service it depends on had ended", func(x *tale) {
			x.move(x.action(began, a, "todo-search/offline", false), x.action(ended, a, "todos/offline", false))
		}, "todo-search/offline ran (by setup-0"},
		{"a step is done that no script has said", func(x *tale) {
			n := x.action(ended, a, "todos/online", false)
			x.actions = slices.Delete(x.actions, n, n+1)
		}, "which no script has said"},
		{"the answer of an earlier attempt was taken", func(x *tale) {
			h := x.histories[a]
			before := &h[x.at(a, 0, asked)-2].State
			before.Steps = slices.Clone(before.Steps)
			before.Steps[len(before.Steps)-1].Attempt = 2
		}, "was taken when attempt 2 was running"},
		{"the answer of another attempt was taken", func(x *tale) {
			x.actions[x.action(ended, a, "todos/online", false)].Attempt = 2
		}, "which no script has said"},
		{"the answer of another run was taken", func(x *tale) {
			x.actions[x.action(ended, a, "todos/online", false)].Number = 4711
		}, "which no script has said"},
		{"a step is recorded twice", func(x *tale) {
			h := x.histories[a]
			x.histories[a] = append(slices.Clone(h[:2]), h[1:]...)
		}, "is recorded as done 2 times"},
		{"a state is not what its event makes of the one before", func(x *tale) {
			h := slices.Clone(x.histories[a])
			h[3].State.Steps = slices.Clone(h[3].State.Steps)
			step := *h[3].State.Steps[0]
			step.Script.Items = 4711
			h[3].State.Steps = append([]*rollout.Step{&step}, h[3].State.Steps[1:]...)
			x.histories[a] = h
		}, "the state at sequence 4 is"},
		{"an event is lost", func(x *tale) {
			x.histories[a] = slices.Delete(slices.Clone(x.histories[a]), 2, 3)
		}, "has no place in it"},
		{"a rollout is lost", func(x *tale) { x.accepted = append(x.accepted, "4711") }, "the journal does not know it"},
		{"reverts out of order", func(x *tale) {
			x.move(x.action(began, b, "todos/before", true), x.action(began, b, "todos/online", true))
		}, "the revert of todos/before began before"},
		{"a script goes on while it is undone", func(x *tale) {
			x.actions = append(x.actions, action{What: broke, Rollout: b, Step: "todos/online", Attempt: 1})
		}, "after its revert had begun"},
		{"traffic moves too early", func(x *tale) {
			x.routes[0].Since = x.actions[x.action(ended, a, "todo-search/offline", false)].At.Add(-1)
		}, "was put on the route"},
		{"a version answers too early", func(x *tale) {
			x.answers[0].Began = x.actions[x.action(began, a, "todo-search/offline", false)].At.UnixNano()
		}, "before the offline scripts were done"},
		{"a version answers after the one behind it", func(x *tale) {
			x.roll("1.0.2")
			x.answers = append(x.answers, answer{"todos", told{a, x.later().UnixNano()}})
		}, "rollout 1.0.2: todos 1.0.0 answered"},
		{"an offline script works in the dark", func(x *tale) { x.lateWork(a, "todos/offline", works) }, "todos/offline (attempt 1, by setup-0) was at work"},
		{"an offline script ends in the dark", func(x *tale) { x.lateWork(a, "todo-search/offline", ended) }, "todo-search/offline (attempt 1, by setup-0) was at work"},
		{"no completion event", func(x *tale) { x.heard = x.heard[1:] }, "no completion event was heard"},
		{"no completion event, long after the bus was away", func(x *tale) {
			at := x.histories[a][0].State.Created
			x.heard, x.away = x.heard[1:], []span{{at.Add(-time.Hour), at.Add(-time.Minute)}}
		}, "no completion event was heard"},
		{"two completion events", func(x *tale) {
			h := x.heard[0]
			h.id = "another"
			x.heard = append(x.heard, h)
		}, "came with 2 ids"},
		{"a completion event of something else", func(x *tale) { x.heard[0].sequence-- }, "a completion event says sequence"},
		{"a double entry in the ledger", func(x *tale) { x.books[app] = append(x.books[app], x.books[app][0]) }, "or twice"},
		{"no entry in the ledger", func(x *tale) { x.books[app] = x.books[app][1:] }, "is not in the ledger"},
		{"an entry that says something else", func(x *tale) { x.books[app][0].Items = 4711 }, "the ledger says of"},
		{"what was undone counts", func(x *tale) { x.books[app][len(x.books[app])-1].Void = "" }, "though the rollout is reverted"},
		{"two rollouts at one time", func(x *tale) { x.histories[b][0].Sequence = 2 }, "are both under way"},
		{"a way back that ends too early", func(x *tale) {
			h := x.histories[b]
			for i := range h {
				if h[i].State.Backward != nil {
					h[i].State.Backward = &rollout.Backward{To: "0.9.0"}
				}
			}
		}, "was to go back to 0.9.0"},
		{"an attempt at records that is recorded twice", func(x *tale) {
			h := x.histories[a]
			n := x.at(a, 0, amended)
			x.histories[a] = slices.Insert(slices.Clone(h), n+1, h[n-1], h[n])
		}, "attempt 2 at the records of todos/online of rollout 1.0.0 is recorded as done 2 times"},
		{"an attempt at records that dealt with all of them", func(x *tale) {
			for i, d := range x.actions {
				if d.Rollout == a && d.Step == asideIn && d.Attempt == 2 {
					x.actions[i].Records = false
				}
			}
		}, "which no script has said"},
		{"records that a script has not put aside", func(x *tale) {
			x.actions[x.action(ended, a, asideIn, false)].Aside = 4711
		}, "which no script has said"},
		{"items that do not add up", func(x *tale) {
			x.alter(a, x.at(a, 1, amended), func(_ *rollout.State, step *rollout.Step) {
				if step.ID == asideIn {
					step.Script.Items--
				}
			})
		}, "at the records of todos/online of rollout 1.0.0 has the items"},
		{"records that are put aside, and that the journal forgets", func(x *tale) {
			x.alter(a, x.at(a, 0, amended), func(_ *rollout.State, step *rollout.Step) {
				if step.ID == asideIn {
					step.Script.PutAside = 0
				}
			})
		}, "has put 0 aside, its answer says 2"},
		{"a failed attempt at records that has achieved something", func(x *tale) {
			n := x.at(a, 0, amended)
			x.histories[a][n].State.Event.Type = rollout.StepBroke
		}, "and after a failed attempt"},
		{"a rollout that fails for its records", func(x *tale) {
			x.histories[a][x.at(a, 0, amended)].State.Status = rollout.Failed
		}, "was amending and is failed"},
		{"records that are tried again before the rollout is complete", func(x *tale) {
			x.histories[a][x.at(a, 0, asked)-1].State.Status = rollout.Running
		}, "was running and is amending"},
		{"a rollout that forgets that it was complete", func(x *tale) {
			x.histories[a][x.at(a, 0, asked)].State.Amended = 0
		}, "and says that it never has"},
		{"a step of traffic that moves with the records", func(x *tale) {
			x.alter(a, x.at(a, 0, asked), func(_ *rollout.State, step *rollout.Step) {
				if step.Kind == rollout.Traffic {
					step.Move.Revision++
				}
			})
		}, "traffic has moved while records were tried again"},
		{"a route that is written meanwhile", func(x *tale) {
			x.routes[0].Since = x.histories[a][x.at(a, 0, asked)].State.Event.At.Add(1)
		}, "was written (revision"},
		{"a script that has put nothing aside", func(x *tale) {
			n := x.at(a, 0, asked)
			for i := range x.histories[a][:n] {
				x.histories[a][i].State.Steps = slices.Clone(x.histories[a][i].State.Steps)
				for k, step := range x.histories[a][i].State.All() {
					step.Script.PutAside = 0
					x.histories[a][i].State.Steps[k] = &step
				}
			}
		}, "to try 0 records again"},
		{"records of a rollout after which another has begun", func(x *tale) {
			x.histories[b][0].Sequence = x.histories[a][x.at(a, 1, asked)].Sequence - 1
		}, "were tried again at sequence"},
		{"a completion that is told again", func(x *tale) {
			h := x.heard[0]
			h.sequence = x.histories[a][x.at(a, 0, amended)].Sequence
			x.heard = append(x.heard, h)
		}, "a completion event says sequence"},
		{"a version that is completed twice in the ledger", func(x *tale) {
			x.versions[app] = append(x.versions[app], x.versions[app][0])
		}, "or twice"},
		{"a version that was completed later in the ledger", func(x *tale) { x.versions[app][0].Sequence++ }, "was completed at sequence"},
		{"a version that is not in the ledger", func(x *tale) { x.versions[app] = x.versions[app][1:] }, "the ledger does not know it"},
		{"an undone version that counts", func(x *tale) { x.versions[app][1].Void = "" }, "counts as completed in the ledger"},
		{"the ledger does not know what is still put aside", func(x *tale) {
			for i := range x.books[app] {
				x.books[app][i].PutAside = 0
			}
		}, "the ledger says of"},
		{"a script whose workers all die is tried for ever", func(x *tale) {
			n := x.at(a, 0, asked)
			lost := x.histories[a][n]
			lost.State.Event = rollout.Event{Type: rollout.StepBroke, Step: asideIn, Answer: &protocol.Answer{Items: 7, Error: &protocol.ScriptError{Code: protocol.CodeLost}}}
			for range rollout.MaxLost + 1 {
				x.histories[a] = slices.Insert(slices.Clone(x.histories[a]), n+1, lost)
			}
		}, "is tried again after 6 workers were lost"},
		{"a rollout that does not end", func(x *tale) { x.histories[a] = x.histories[a][:3] }, "is running at the end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := toldTale(t)
			tt.spoil(x)
			found := x.findings()
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("the findings are %q, want one with %q", found, tt.want)
			}
		})
	}
}
