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

// goldenReport compares both forms of a report with files in testdata, and holds that making it
// again gives the same.
func goldenReport(t *testing.T, name string, p *Reporter) {
	t.Helper()
	machine := func() []byte {
		var b bytes.Buffer
		if err := terminal.Print(&b, "json", p.Report(), nil); err != nil {
			t.Fatal(err)
		}
		return b.Bytes()
	}
	golden(t, "report-"+name+".md", []byte(p.Report().Markdown()))
	golden(t, "report-"+name+".json", machine())
	if !bytes.Equal(machine(), machine()) {
		t.Error("made twice, it is another one")
	}
}

// shop is a rollout of two services with a script each.
func shop(t *testing.T) *teller {
	t.Helper()
	x := newTeller(t, io.Discard, noon)
	r := rollout.Release{App: "shop", Version: "2.0.0", Strategy: rollout.Downtime, Digest: "d1", Source: &rollout.Source{Commit: strings.Repeat("a", 40), Dirty: true},
		Services: []rollout.Service{
			{Name: "stock", Version: "2.0.0", Instances: 1, Migrations: []protocol.Phase{protocol.Offline}},
			{Name: "search", Version: "2.0.0", Instances: 1, Migrations: []protocol.Phase{protocol.Online}, DependsOn: []string{"stock"}},
		}}
	never := func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false }
	online := map[string]rollout.Replace{"stock": {Revision: 1, Online: []string{"1.0.0"}}}
	state, err := rollout.Compile("0199c6d2", "ann", noon, r, rollout.Facts{Ran: never, Routes: online})
	if err != nil {
		t.Fatal(err)
	}
	x.begin(state)
	return x
}

func TestReportOfAnAbort(t *testing.T) {
	x := shop(t)
	x.event(rollout.Event{Type: rollout.Closed, Step: "stock/maintenance", Attempt: 1, Revision: 2, Effective: noon.Add(time.Second)})
	x.event(rollout.Event{Type: rollout.AbortAsked, By: "bob", Reason: "wrong | version"})
	r := x.report.Report()
	if r.Status != rollout.Aborting || !r.Ended.IsZero() || r.Outages[0].To != (time.Time{}) || time.Duration(r.Downtime) != 2*time.Second {
		t.Errorf("while it goes on: %s, ended %s, %+v, downtime %s", r.Status, r.Ended, r.Outages, time.Duration(r.Downtime))
	}
	x.event(rollout.Event{Type: rollout.Restored, Step: "stock/maintenance", Attempt: 2, Revision: 3, Effective: x.now.Add(time.Second)})
	if x.state.Status != rollout.Aborted {
		t.Fatalf("it is %s", x.state.Status)
	}
	goldenReport(t, "aborted", x.report)
}

func TestReportsTellWhatIsOtherwiseThanPlanned(t *testing.T) {
	x := shop(t)
	took := Timing{Took: rollout.Duration(200 * time.Millisecond)}
	x.report.Expected = func(protocol.Script) (Timing, bool) { return took, true }
	x.event(rollout.Event{Type: rollout.Closed, Step: "stock/maintenance", Attempt: 1, Revision: 2, Effective: noon.Add(time.Second)})
	x.event(rollout.Event{Type: rollout.StepAnswered, Step: "stock/offline", Attempt: 1, Answer: &protocol.Answer{Done: true, PutAside: 3, Items: 7}})
	r := x.report.Report()
	want := []Deviation{
		{Step: "stock/offline", What: "it took 1.5s, and 200ms before"},
		{Step: "stock/traffic", What: "it has not finished"},
		{Step: "search/traffic", What: "it was not begun"},
		{Step: "search/online", What: "it was not begun"},
	}
	if len(r.Deviations) != len(want) {
		t.Fatalf("it tells %+v", r.Deviations)
	}
	for i := range want {
		if r.Deviations[i] != want[i] {
			t.Errorf("it tells %+v, want %+v", r.Deviations[i], want[i])
		}
	}
	if r.PutAside != 3 || r.Steps[1].Records != 7 {
		t.Errorf("records: %d put aside, %+v", r.PutAside, r.Steps[1])
	}
	took.Took = rollout.Duration(750 * time.Millisecond) // half of what it took: not slow
	if r := x.report.Report(); len(r.Deviations) != len(want)-1 {
		t.Errorf("at the limit it tells %+v", r.Deviations)
	}
}

// TestAStepThatBeganTooEarlyIsTold holds that the report would show an orchestrator that does not
// keep to the plan.
func TestAStepThatBeganTooEarlyIsTold(t *testing.T) {
	x := shop(t)
	s := x.state
	s.Steps = append([]*rollout.Step{}, s.Steps...)
	for i, step := range s.Steps {
		if step.ID == "search/online" {
			early := *step
			early.Status, early.Attempt, early.Started = rollout.StepRunning, 1, noon
			s.Steps[i] = &early
		}
	}
	s.Event = rollout.Event{Type: rollout.StepDue, At: noon}
	x.see(s)
	for _, d := range x.report.Report().Deviations {
		if d.Step == "search/online" && d.What == "it began before search/traffic had finished" {
			return
		}
	}
	t.Errorf("it tells %+v", x.report.Report().Deviations)
}

func TestReportOfARolloutThatNeverBegan(t *testing.T) {
	p := NewReporter()
	s, err := rollout.Enqueue("0199c6d2", "ann", "later", noon, workflow())
	if err != nil {
		t.Fatal(err)
	}
	p.See(api.RolloutView{State: s, Sequence: 1})
	aborted, err := s.Apply(rollout.Event{Type: rollout.AbortAsked, At: noon.Add(time.Second), By: "bob"})
	if err != nil {
		t.Fatal(err)
	}
	p.See(api.RolloutView{State: aborted, Sequence: 2})
	r := p.Report()
	if r.Status != rollout.Aborted || len(r.Steps) != 0 || r.Reason != "later" || r.Outcome != "todo-app 0.0.2 is aborted: it had not begun" || len(r.Asked) != 1 {
		t.Errorf("it tells %+v", r)
	}
	if empty := NewReporter().Report(); empty.Rollout != "" || !strings.HasPrefix(empty.Markdown(), "# Rollout") {
		t.Errorf("of nothing it tells %+v", empty)
	}
}
