package report

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// teller drives a rollout by hand and tells it.
type teller struct {
	t     *testing.T
	now   time.Time
	state rollout.State
	story *Story
	talk  *terminal.Talk

	report *Reporter // has seen all of it
	events uint64
}

// newTeller tells to a writer, in words alone.
func newTeller(t *testing.T, w io.Writer, now time.Time) *teller {
	return &teller{t: t, now: now, story: NewStory(), talk: terminal.Streams{Err: w}.Talk(false), report: NewReporter()}
}

// begin tells a rollout that has just been compiled.
func (x *teller) begin(state rollout.State) {
	x.see(state)
	x.talk.Tell(Plan(state)...)
	x.talk.Tell(x.story.Tell(state)...)
}

func (x *teller) event(e rollout.Event) {
	x.t.Helper()
	x.now = x.now.Add(1500 * time.Millisecond)
	e.At = x.now
	next, err := x.state.Apply(e)
	if err != nil {
		x.t.Fatal(err)
	}
	x.see(next)
	x.talk.Tell(x.story.Tell(next)...)
}

// see takes in the next state.
func (x *teller) see(state rollout.State) {
	x.state = state
	x.events++
	x.report.See(api.RolloutView{State: state, Sequence: 10 * x.events})
}

func TestStory(t *testing.T) {
	var out bytes.Buffer
	x := newTeller(t, &out, time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	release := rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Setup: true, Services: []rollout.Service{
		{Name: "todos", Version: "0.0.1", Instances: 1},
		{Name: "todo-search", Version: "0.0.1", Instances: 2, DependsOn: []string{"todos"},
			Migrations: []protocol.Phase{protocol.Before, protocol.Offline, protocol.Online}},
	}}
	facts := rollout.Facts{
		Ran: func(s protocol.Script) (rollout.Ran, bool) {
			return rollout.Ran{Rollout: "0199c6d2-0000-7000-8000-000000000000", At: x.now.Add(-time.Hour)}, s.Phase == protocol.Before
		},
		Routes: map[string]rollout.Replace{"todos": {Revision: 3, Online: []string{"0.0.0"}}},
	}
	state, err := rollout.Compile("0199c6d2-1a2b-7000-8000-000000000001", "ann@laptop", x.now, release, facts)
	if err != nil {
		t.Fatal(err)
	}
	x.begin(state)
	x.event(rollout.Event{Type: rollout.StepBroke, Step: "todo-search/offline", Attempt: 1,
		Answer: &protocol.Answer{Error: &protocol.ScriptError{Code: "failed", Message: "the disk is full"}}})
	x.event(rollout.Event{Type: rollout.Retried, By: "ann@laptop", Reason: "made room"})
	x.event(rollout.Event{Type: rollout.StepAnswered, Step: "todo-search/offline", Attempt: 2,
		Answer: &protocol.Answer{Done: true, Items: 1204, Note: "indexed"}})
	x.event(rollout.Event{Type: rollout.Opened, Step: "todos/traffic", Attempt: 1, Revision: 4})
	x.event(rollout.Event{Type: rollout.Opened, Step: "todo-search/traffic", Attempt: 1, Revision: 5})
	x.event(rollout.Event{Type: rollout.StepAnswered, Step: "todo-search/online", Attempt: 1, Answer: &protocol.Answer{Done: true, Items: 1}})
	x.event(rollout.Event{Type: rollout.StepAnswered, Step: "todo-app/setup", Attempt: 1, Answer: &protocol.Answer{Done: true}})
	if x.state.Status != rollout.Completed {
		t.Fatalf("rollout is %s", x.state.Status)
	}
	golden(t, "story.txt", out.Bytes())
	x.report.Expected = func(s protocol.Script) (Timing, bool) {
		return Timing{Took: rollout.Duration(100 * time.Millisecond), Rollout: "0199c6d2-0000-7000-8000-000000000000"}, s.Phase == protocol.Offline
	}
	goldenReport(t, "story", x.report)
}

// What a step prints stands behind the line that says that it runs, whichever of the two is
// here first.
func TestWhatAStepPrintsStandsBehindItsBeginning(t *testing.T) {
	var shown bytes.Buffer
	s, talk := NewStory(), terminal.Streams{Err: &shown}.Talk(false)
	running := func(attempt int) rollout.State {
		return rollout.State{ID: "id", Status: rollout.Running, Event: rollout.Event{Type: rollout.StepDue}, Steps: []*rollout.Step{
			{Number: 1, ID: "backup", Kind: rollout.Command, Status: rollout.StepRunning, Attempt: attempt, Work: &rollout.Work{}},
		}}
	}
	talk.Tell(s.Output("backup", 1, "early")...)
	talk.Tell(s.Tell(running(1))...)
	talk.Tell(s.Output("backup", 1, "in time")...)
	talk.Tell(s.Output("backup", 2, "again, early")...)
	talk.Tell(s.Tell(running(2))...)
	talk.Tell(s.Output("lost", 1, "of a step that is never told of")...)
	talk.Tell(s.Rest()...)
	var order []string
	for line := range strings.Lines(shown.String()) {
		order = append(order, strings.TrimSpace(line[strings.LastIndexAny(line, "|→")+1:]))
	}
	want := []string{"backup runs", "early", "in time", "backup runs (attempt 2)", "again, early", "of a step that is never told of"}
	for i := range want {
		if i >= len(order) || !strings.HasSuffix(order[i], want[i]) {
			t.Fatalf("shown:\n%s", shown.String())
		}
	}
}
