package report

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// hosts are what agents have done: each word is a host's name and, behind a colon, what it
// has failed of.
func hosts(words ...string) *protocol.Answer {
	a := &protocol.Answer{}
	for _, word := range words {
		name, why, broke := strings.Cut(word, ":")
		h := protocol.Host{Name: name, Status: protocol.HostDone, Started: noon, Ended: noon.Add(2 * time.Second)}
		if broke {
			code := 1
			h.Status, h.Exit, h.Error, h.Output = protocol.HostFailed, &code, why, "copying\x1b[2J\n\none\ntwo\nthree\nfour\tfive\nno room\n"
		}
		a.Hosts = append(a.Hosts, h)
	}
	return a
}

func broken(why string, words ...string) *protocol.Answer {
	a := hosts(words...)
	a.Error = &protocol.ScriptError{Code: protocol.CodeFailed, Message: why}
	return a
}

// workflow is a release with a step of each kind.
func workflow() rollout.Release {
	return rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, AutoRevert: true,
		Approvals: rollout.Policy{By: []string{"ann", "bob"}, Count: 2, Deadline: rollout.Duration(time.Second)},
		Services:  []rollout.Service{{Name: "todos", Version: "0.0.2", Instances: 1}},
		Workflow: []rollout.Item{
			{Name: "go-ahead", Approval: &rollout.Question{Text: "Shall it\ngo live?", Checklist: []string{"the backup is fresh"}}},
			{Traffic: rollout.MaintenanceOn},
			{Name: "copy", Work: &rollout.Work{On: map[string]string{"role": "web"}, Retries: 1, Backoff: rollout.Duration(time.Second), Backward: true}},
			{Traffic: rollout.MaintenanceOff},
			{Phase: protocol.Online},
			{Traffic: rollout.Drain, Services: []string{"old-todos"}},
			{Name: "smoke", Work: &rollout.Work{Check: true}},
		},
	}
}

func workflowFacts() rollout.Facts {
	return rollout.Facts{
		Ran: func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false },
		Routes: map[string]rollout.Replace{
			"todos": {Revision: 3, Online: []string{"0.0.1"}}, "old-todos": {Revision: 4, Online: []string{"1.0.0"}},
		},
	}
}

func TestStoryOfAWorkflow(t *testing.T) {
	var out bytes.Buffer
	x := newTeller(t, &out, noon)
	x.story.Commands = true
	state, err := rollout.Compile("0199c6d2-1a2b-7000-8000-000000000001", "ann", noon, workflow(), workflowFacts())
	if err != nil {
		t.Fatal(err)
	}
	x.begin(state)
	say := func(what rollout.EventType, by, reason string, item int) {
		x.event(rollout.Event{Type: what, Step: "go-ahead", By: by, Reason: reason, Item: item})
	}
	moved := func(what rollout.EventType, step string) {
		s, _ := x.state.Step(step)
		x.event(rollout.Event{Type: what, Step: step, Attempt: s.Attempt, Revision: 9})
	}
	say(rollout.Reminded, "", "", 0)
	say(rollout.ItemConfirmed, "bob", "", 1)
	say(rollout.ApprovedBy, "ann", "", 0)
	say(rollout.RejectedBy, "bob", "not on a Friday", 0)
	x.event(rollout.Event{Type: rollout.Retried, By: "ann"})
	say(rollout.ItemConfirmed, "ann", "looked", 1)
	say(rollout.ApprovedBy, "bob", "it is Saturday", 0)
	say(rollout.ApprovedBy, "ann", "", 0)
	moved(rollout.Closed, "todos/maintenance")
	x.event(rollout.Event{Type: rollout.StepBroke, Step: "copy", Attempt: 1, Answer: broken("1 of 2 hosts has failed", "web-1", "web-2:the disk is full")})
	x.event(rollout.Event{Type: rollout.StepDue, Step: "copy", Attempt: 1})
	x.event(rollout.Event{Type: rollout.StepAnswered, Step: "copy", Attempt: 2, Answer: hosts("web-1", "web-2")})
	moved(rollout.Closed, "todos/maintenance-off")
	moved(rollout.Opened, "todos/traffic")
	moved(rollout.Opened, "old-todos/drain")
	x.event(rollout.Event{Type: rollout.StepBroke, Step: "smoke", Attempt: 1, Answer: broken("it answers 500", "web-1:status 500")})
	if !x.state.TurnsBack() || Stands(x.state) {
		t.Fatalf("rollout is %s", x.state.Status)
	}
	x.event(rollout.Event{Type: rollout.BackwardAsked, By: "golive", Reason: "the check smoke has failed behind the gate: it answers 500",
		Backward: &rollout.Backward{By: "golive", Reason: "the check smoke has failed behind the gate: it answers 500"}})
	for step := range x.state.Running() {
		moved(rollout.Restored, x.state.Running()[step].ID)
	}
	for _, step := range []string{"todos/traffic", "todos/maintenance-off"} {
		moved(rollout.Restored, step)
	}
	x.event(rollout.Event{Type: rollout.StepAnswered, Step: "copy", Attempt: 3, Revert: true, Answer: hosts("web-1", "web-2")})
	moved(rollout.Restored, "todos/maintenance")
	if x.state.Status != rollout.Reverted {
		t.Fatalf("rollout is %s", x.state.Status)
	}
	golden(t, "workflow.txt", out.Bytes())
	goldenReport(t, "workflow", x.report)
	if f := Failed(x.state); !strings.Contains(f.Message, "was taken backward\nstep smoke: failed: it answers 500\nthe check smoke has failed behind the gate") {
		t.Errorf("the failure is %+v", f)
	}
}

func TestWhatHelpsAfterACheckHasFailedUnderMaintenance(t *testing.T) {
	x := newTeller(t, &bytes.Buffer{}, noon)
	r := workflow()
	r.Workflow = []rollout.Item{{Traffic: rollout.MaintenanceOn}, {Name: "smoke", Work: &rollout.Work{Check: true}}, {Phase: protocol.Online}}
	state, err := rollout.Compile("0199c6d2", "ann", noon, r, workflowFacts())
	if err != nil {
		t.Fatal(err)
	}
	x.state = state
	x.event(rollout.Event{Type: rollout.Closed, Step: "todos/maintenance", Attempt: 1, Revision: 9, Effective: noon.Add(time.Second)})
	x.event(rollout.Event{Type: rollout.StepBroke, Step: "smoke", Attempt: 1, Answer: broken("it answers 500")})
	want := "correct the cause, then: golive retry 0199c6d2\n" +
		"to undo what was done, and have the previous version serve again: golive backward todo-app\n" +
		"to have it serve on what was done: golive abort 0199c6d2"
	if got := Failed(x.state).Hint; got != want {
		t.Errorf("it says:\n%s", got)
	}
}

func TestWorkflowInWords(t *testing.T) {
	web := map[string]string{"role": "web", "zone": "a"}
	asked := rollout.Approval{Question: rollout.Question{Text: "Shall it go live?"}}
	strict := rollout.Approval{Policy: rollout.Policy{By: []string{"ann", "bob", "cy"}, Count: 2, NotStarter: true},
		Question: rollout.Question{Text: "Shall it go live?", Checklist: []string{"a", "b"}}}
	three := rollout.Approval{Policy: rollout.Policy{Count: 3}, Question: rollout.Question{Text: "Sure?"}}
	many := []string{"web-1", "web-2", "web-3", "web-4", "web-5", "web-6", "web-7"}
	for _, c := range []struct {
		step api.PlanStep
		want string
	}{
		{api.PlanStep{Approval: &asked}, "ask somebody: Shall it go live?"},
		{api.PlanStep{Approval: &strict}, "ask 2 of ann, bob, cy, not who has started it: Shall it go live? (checklist of 2 items)"},
		{api.PlanStep{Approval: &three, Later: true}, "later: ask 3 people: Sure?"},
		{api.PlanStep{Work: &rollout.Work{}}, "run on any one host, of which none is there"},
		{api.PlanStep{Work: &rollout.Work{}, Hosts: many[:2]}, "run on one of web-1, web-2"},
		{api.PlanStep{Work: &rollout.Work{On: web, Check: true, AtOnce: 2, Need: rollout.Need{Percent: 50}}, Hosts: many},
			"check on web-1, web-2, web-3, web-4, web-5 and 2 more (role=web, zone=a), 50 % must succeed, 2 at once"},
		{api.PlanStep{Work: &rollout.Work{On: web, Need: rollout.Need{Hosts: 3}}}, "run on hosts with role=web, zone=a, of which none is there, 3 must succeed"},
		{api.PlanStep{Kind: rollout.Maintenance, Lift: true, Online: []string{"1.0.0"}}, "end the maintenance of 1.0.0"},
		{api.PlanStep{Kind: rollout.Traffic, Drain: true, Online: []string{"1.0.0"}, Later: true}, "later: take the traffic from 1.0.0"},
	} {
		if got := TellPlanned(c.step); got != c.want {
			t.Errorf("it says %q, want %q", got, c.want)
		}
	}
	s := rollout.State{By: "ann"}
	strict.Approved = []rollout.Vote{{By: "bob"}}
	strict.Confirmed = []rollout.Vote{{By: "bob", Item: 2}}
	three.Approved = strict.Approved
	left := strict
	left.Policy.By, left.Approved = []string{"ann", "bob"}, []rollout.Vote{{By: "bob"}}
	for _, c := range []struct {
		a    rollout.Approval
		want string
	}{
		{strict, "1 of 2 items confirmed, 1 of 2 have approved, cy may"},
		{left, "1 of 2 items confirmed, 1 of 2 have approved, and nobody else may"},
		{three, "1 of 3 have approved, anybody may but bob"},
		{asked, "0 of 1 have approved, anybody may"},
	} {
		if got := TellMissing(s, rollout.Step{Approval: &c.a}); got != c.want {
			t.Errorf("it says %q, want %q", got, c.want)
		}
	}
	lasted := api.LastRun{Environment: "staging", Duration: rollout.Duration(4 * time.Second), At: time.Now().Add(-49 * time.Hour)}
	if got, want := TellLast(lasted), "4s in staging, 2d ago"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

func TestPulsesOfAWorkflow(t *testing.T) {
	copying := NewPulse(rollout.Step{ID: "copy", Kind: rollout.Command, Status: rollout.StepRunning, Attempt: 1, Started: noon, Work: &rollout.Work{}})
	copying.Take(api.Observation{Sent: true, Waiting: "web-2 (1 of 2 hosts done)"})
	smoke := NewPulse(rollout.Step{ID: "smoke", Kind: rollout.Check, Status: rollout.StepRunning, Attempt: 1, Started: noon, Work: &rollout.Work{}})
	smoke.Take(api.Observation{Waiting: "no agent has the release"})
	asked := rollout.Step{ID: "go-ahead", Kind: rollout.Approving, Status: rollout.StepRunning, Attempt: 1, Started: noon,
		Approval: &rollout.Approval{Question: rollout.Question{Text: "Sure?"}}}
	approval := NewPulse(asked)
	approval.Waiting = TellApproval(rollout.State{}, asked)
	at := noon.Add(3 * time.Second)
	for _, c := range []struct {
		p           Pulse
		below, line string
	}{
		{copying, "web-2 (1 of 2 hosts done)", `state=running step=copy hosts="web-2 (1 of 2 hosts done)"`},
		{smoke, "waiting: no agent has the release", "state=running step=smoke"},
		{approval, "waiting: somebody to approve: Sure?", "state=running step=go-ahead"},
	} {
		if got := c.p.below(at); got != c.below {
			t.Errorf("below the bar of %s stands %q", c.p.Step, got)
		}
		if got := c.p.line(at); got != c.line {
			t.Errorf("the line of %s is %q", c.p.Step, got)
		}
	}
	var out bytes.Buffer
	terminal.Streams{Err: &out}.Talk(false).Tell(Running(&approval, at)...)
	if got := out.String(); !strings.Contains(got, "… state=waiting step=go-ahead for=") || !strings.HasSuffix(got, ": somebody to approve: Sure?\n") {
		t.Errorf("the line is %q", got)
	}
}
