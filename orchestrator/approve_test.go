package orchestrator_test

import (
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// asking is a release that begins with a question, and then runs an offline script.
func asking(q rollout.Question, p rollout.Policy) rollout.Release {
	r := search(protocol.Offline)
	r.Approvals = p
	r.Workflow = []rollout.Item{
		{Name: "confirm", Approval: &q}, {Phase: protocol.Offline}, {Phase: protocol.Online},
	}
	return r
}

func (e *environment) approve(client *api.Client, id, step string, item int, by string) error {
	q := api.ApproveRequest{Item: item}
	q.Rollout, q.Step, q.By, q.Reason = id, step, by, "looks well"
	_, err := client.Approve(e.t.Context(), q)
	return err
}

func TestNothingRunsBeforeAPersonHasApproved(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	release := asking(rollout.Question{Text: "Shall it go live?", Checklist: []string{"backup", "support"}}, rollout.Policy{Count: 2})
	if p := e.plan(release); !p.Approval || p.Steps[0].Approval == nil || p.Steps[0].Approval.Text != "Shall it go live?" {
		t.Errorf("the plan does not tell of the approval: %+v", p)
	}
	id := e.deploy(release)
	e.running(id, "confirm", 1)
	e.refused(e.approve(e.client, id, "", 0, "ann"), api.CodeConflict, "item 1 of the checklist of confirm is not confirmed: backup")
	e.refused(e.approve(e.client, id, "confirm", 3, "ann"), api.CodeConflict, "there is no item 3")
	e.refused(e.approve(e.client, id, "todo-search/offline", 0, "ann"), api.CodeConflict, "asks nobody")
	e.refused(e.approve(e.client, id, "confirm", 0, ""), api.CodeInvalid, "nobody is named")
	e.must(e.approve(e.client, id, "", 1, "ann"))
	e.must(e.approve(e.client, id, "", 2, "bob"))
	e.must(e.approve(e.client, id, "", 2, "bob")) // the same said twice
	e.must(e.approve(e.client, id, "", 0, "ann"))
	e.must(e.approve(e.client, id, "", 0, "ann"))
	story := e.show(id)
	if step, _ := story.Step("confirm"); step.Status != rollout.StepRunning || len(step.Approval.Approved) != 1 {
		t.Fatalf("after one person: %+v", step)
	}
	if len(story.Waits) != 1 || !strings.Contains(story.Waits[0], "1 of 2 have approved") {
		t.Errorf("it waits for %q", story.Waits)
	}
	select {
	case m := <-starts:
		t.Fatalf("%s was sent before the second person had approved", m.Subject)
	default:
	}
	e.must(e.approve(e.client, id, "", 0, "bob"))
	next(e, "the start", starts)
	e.refused(e.approve(e.client, id, "", 0, "cleo"), api.CodeConflict, "waits for nobody's approval")
}

func TestARejectedRolloutCanBeAskedForAgain(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(asking(rollout.Question{Text: "Shall it?"}, rollout.Policy{}))
	e.running(id, "confirm", 1)
	q := api.StepRequest{}
	q.Rollout, q.By, q.Reason = id, "ann", "not on a Friday"
	for range 2 { // said twice, it counts once
		_, err := e.client.Reject(t.Context(), q)
		if e.awaitStatus(id, rollout.Failed); err != nil && !strings.Contains(err.Error(), "waits for nobody") {
			t.Fatal(err)
		}
	}
	step, _ := e.show(id).Step("confirm")
	if step.Error.Code != rollout.CodeRejected || step.Error.Message != "by ann: not on a Friday" {
		t.Errorf("the reason is %v", step.Error)
	}
	e.retry(id)
	e.running(id, "confirm", 2)
	e.must(e.approve(e.client, id, "confirm", 0, "ann"))
	e.running(id, "todo-search/offline", 1)
}

func TestWhoDoesNotAnswerIsReminded(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	id := e.deploy(asking(rollout.Question{Text: "Shall it?", Deadline: rollout.Duration(time.Second)}, rollout.Policy{}))
	e.running(id, "confirm", 1)
	stop() // nobody is there when the time is over
	e.orchestrate()
	story := e.await(id, "reminded twice", func(s api.RolloutStory) bool {
		step, _ := s.Step("confirm")
		return step.Approval.Reminded >= 2
	})
	if story.Status != rollout.Running {
		t.Errorf("it is %s", story.Status)
	}
	e.must(e.approve(e.client, id, "", 0, "ann"))
	e.running(id, "todo-search/offline", 1)
}

func TestThePolicyOfTheEnvironmentCounts(t *testing.T) {
	bus := relaytest.StartGuarded(t, embedded.User{Name: "golive"},
		embedded.User{Name: "ann.b", Publish: []string{"golive.api.*.ann=2Eb", "golive.api.*", "$SYS.REQ.USER.INFO"}},
		embedded.User{Name: "bob", Publish: []string{"golive.api.*.bob", "golive.api.*", "$SYS.REQ.USER.INFO"}})
	e := environmentOn(t, func() *relay.Relay { return bus.As("golive") })
	e.policy = rollout.Policy{Required: true, By: []string{"ann.b", "bob"}, NotStarter: true}
	e.orchestrate()
	ann, bob := api.NewClient(bus.As("ann.b").Conn()), api.NewClient(bus.As("bob").Conn())

	release := search()
	release.Approvals = rollout.Policy{By: []string{"mallory"}}
	id := newID(t)
	_, err := ann.Deploy(t.Context(), api.DeployRequest{Rollout: id, Release: release, By: "bob"})
	e.must(err)
	e.running(id, rollout.ApprovalID, 1)
	if by := e.show(id).By; by != "ann.b" {
		t.Errorf("it was started by %q, the bus says ann.b", by)
	}
	e.refused(e.approve(ann, id, "", 0, "bob"), api.CodeNotAllowed, "ann.b has started the rollout")
	e.refused(e.approve(e.client, id, "", 0, "bob"), api.CodeNotAllowed, "golive may not answer")
	bare := bus.As("bob").Conn()
	for _, subject := range []string{"golive.api.approve", "golive.api.approve.ann=2Eb"} {
		reply, err := bare.Request(subject, []byte(`{"rollout":"`+id+`","by":"ann.b"}`), 500*time.Millisecond)
		if err == nil && !strings.Contains(string(reply.Data), api.CodeNotAllowed) {
			t.Errorf("bob has said on %s that he is ann.b: %s", subject, reply.Data)
		}
	}
	if step, _ := e.show(id).Step(rollout.ApprovalID); len(step.Approval.Approved) != 0 {
		t.Fatalf("it counts as approved: %+v", step.Approval)
	}
	e.must(e.approve(bob, id, "", 0, "whoever"))
	step, _ := e.await(id, "approved", func(s api.RolloutStory) bool {
		step, _ := s.Step(rollout.ApprovalID)
		return step.Status == rollout.StepDone
	}).Step(rollout.ApprovalID)
	if step.Approval.Approved[0].By != "bob" {
		t.Errorf("%q has approved, it was bob", step.Approval.Approved[0].By)
	}
	_, err = api.NewClient(bare).Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: release})
	e.refused(err, api.CodeRolloutOpen, "one rollout at a time")
}

// A bus that lets in nobody who is unknown, but does not tell its users who they are, is none where
// people are believed to be who they say.
func TestApprovalsStayShutWhereTheBusDoesNotTellWhoIsWho(t *testing.T) {
	t.Parallel()
	bus := relaytest.StartGuarded(t,
		embedded.User{Name: "golive", Publish: []string{"golive.>", "todo-app-0.>", "_INBOX.>", "$JS.>", "$KV.>"}},
		embedded.User{Name: "ann", Publish: []string{"golive.api.*"}})
	e := environmentOn(t, func() *relay.Relay { return bus.As("golive") })
	e.policy = rollout.Policy{Required: true, By: []string{"ann"}}
	e.orchestrate()
	ann := api.NewClient(bus.As("ann").Conn())
	id := newID(t)
	_, err := ann.Deploy(t.Context(), api.DeployRequest{Rollout: id, Release: search(), By: "ann"})
	e.must(err)
	if by := e.show(id).By; by != "" {
		t.Errorf("it was started by %q, which nobody knows", by)
	}
	e.refused(e.approve(ann, id, "", 0, "ann"), api.CodeNotAllowed, "it has to be known who asks")
	if _, err := ann.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "bob"}}); err != nil {
		t.Fatal(err)
	}
	for _, event := range e.show(id).Events {
		if event.Event.By != "" {
			t.Errorf("%s is by %q, which nobody knows", event.Event.Type, event.Event.By)
		}
	}
}
