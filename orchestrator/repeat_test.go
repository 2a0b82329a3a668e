package orchestrator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const offlineRevert = "deployment-todo-search-0.0.1-offline-revert-start"

// backward asks for an app to go back, and gives the rollout that is undone first.
func (e *environment) backward(q api.BackwardRequest) string {
	e.t.Helper()
	q.App, q.By = "todo-app", "ada"
	v, err := e.client.Backward(e.t.Context(), q)
	e.must(err)
	return v.ID
}

// A release that is deployed once more, when all of it is there, stands in nobody's way: what is
// undone, and whose records are tried again, is the rollout that did the work.
func TestARolloutThatOnlyRepeatsStandsInNobodysWay(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	e.service("todo-search", "0.0.0")
	e.awaitStatus(e.deploy(appOf("0.0.0")), rollout.Completed)
	id, starts, _ := e.withAside(search(protocol.Offline))
	reverts := e.starts(offlineRevert)
	again := e.deploy(search(protocol.Offline))
	story := e.awaitStatus(again, rollout.Completed)
	if !story.IsRepeat() || story.Repeats != id {
		t.Errorf("it repeats %q, want %s: %+v", story.Repeats, id, story.State)
	}
	e.awaitStatus(e.deploy(search(protocol.Offline)), rollout.Completed)
	stop()
	e.orchestrate() // which has made its ledger anew

	status, err := e.client.Status(t.Context(), api.AppRequest{App: "todo-app"})
	e.must(err)
	if len(status) != 1 || status[0].Rollout.ID != id {
		t.Errorf("the status tells of rollout %s, want the one that did something, %s", status[0].Rollout.ID, id)
	}
	err = e.retryRecords(again, "")
	e.refused(err, api.CodeConflict, "rollout "+again+" has run no script, it only repeated rollout "+id)
	var refusal *protocol.ServiceError
	if !errors.As(err, &refusal) || refusal.Hint != "golive retry "+id+" --failed-records" {
		t.Errorf("the hint is %q", refusal.Hint)
	}
	e.must(e.retryRecords(id, ""))
	m := next(e, "the second start", starts)
	if s := start(m); !s.FailedRecords || s.Attempt != 2 || s.Rollout != id {
		t.Errorf("the second start is %s", m.Data)
	}
	e.must(m.Respond([]byte(`{"done": true, "items": 2, "putAside": 0}`)))
	e.awaitStatus(id, rollout.Completed)

	if undone := e.backward(api.BackwardRequest{}); undone != id {
		t.Fatalf("rollout %s is undone, want %s", undone, id)
	}
	e.must(next(e, "the revert", reverts).Respond([]byte(`{"done": true}`)))
	e.awaitStatus(id, rollout.Reverted)
	e.answeredBy("0.0.0")
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.refused(err, api.CodeConflict, "todo-app 0.0.0 is the first version of the app here")
	status, err = e.client.Status(t.Context(), api.AppRequest{App: "todo-app"})
	e.must(err)
	if s := status[0].Rollout; s.ID != id || s.Status != rollout.Reverted {
		t.Errorf("the status tells of rollout %s, %s: what is online is not what that has brought", s.ID, s.Status)
	}
}

// Also over several versions, with repetitions between them.
func TestBackwardGoesOverRolloutsThatOnlyRepeat(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	var did, repeated []string
	for _, v := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		release := e.version(v, nothing)
		id := e.deploy(release)
		e.awaitStatus(id, rollout.Completed)
		again := e.deploy(release)
		e.awaitStatus(again, rollout.Completed)
		did, repeated = append(did, id), append(repeated, again)
	}
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", Rollout: repeated[2]})
	e.refused(err, api.CodeConflict, "that is "+did[2])
	if undone := e.backward(api.BackwardRequest{To: "1.0.0"}); undone != did[2] {
		t.Errorf("rollout %s is undone first, want %s", undone, did[2])
	}
	e.settledAs(did[2], rollout.Reverted)
	e.settledAs(did[1], rollout.Reverted)
	for _, id := range append(repeated, did[0]) {
		if s := e.show(id); s.Status != rollout.Completed {
			t.Errorf("rollout %s is %s, want left alone", id, s.Status)
		}
	}
}

// A repetition that waits, here for its instance, is ended by a backward, and what it repeats is
// undone with it; records are tried again once it has ended.
func TestARepetitionThatIsUnderWayIsGoneOver(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.0")
	e.awaitStatus(e.deploy(appOf("0.0.0")), rollout.Completed)
	stop := e.service("todo-search", "0.0.1")
	starts, reverts := e.starts(offlineStart), e.starts(offlineRevert)
	did := e.deploy(search(protocol.Offline))
	e.must(next(e, "the start", starts).Respond([]byte(`{"done": true, "items": 10, "putAside": 2}`)))
	e.awaitStatus(did, rollout.Completed)
	stop() // so that the repetition has nobody to wait for
	again := e.deploy(search(protocol.Offline))
	e.running(again, "todo-search/traffic", 1)
	e.refused(e.retryRecords(did, ""), api.CodeConflict, "rollout "+again+" of 0.0.2 is running")

	undone, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.must(err)
	if undone.ID != again || undone.Backward.Last != did {
		t.Errorf("rollout %s is undone first, and %q last: want %s and %s", undone.ID, undone.Backward.Last, again, did)
	}
	e.awaitStatus(again, rollout.Reverted)
	e.must(next(e, "the revert", reverts).Respond([]byte(`{"done": true}`)))
	e.awaitStatus(did, rollout.Reverted)
	e.answeredBy("0.0.0")
}

// One that was aborted, or has failed, before it did anything bars nothing; one that is of
// another version and under way is undone alone.
func TestARolloutThatHasDoneNothingBarsNothing(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id, starts, _ := e.withAside(search(protocol.Offline))
	asks := search()
	asks.Version = "0.0.3"
	asks.Workflow = []rollout.Item{{Name: "go", Approval: &rollout.Question{Text: "go?"}}, {Phase: protocol.Online}}
	waiting := e.deploy(asks)
	e.running(waiting, "go", 1)
	if undone := e.backward(api.BackwardRequest{}); undone != waiting {
		t.Errorf("rollout %s is undone, want the one that waits, %s", undone, waiting)
	}
	if s := e.awaitStatus(waiting, rollout.Reverted); s.Backward.Last != "" {
		t.Errorf("%s would be undone, too", s.Backward.Last)
	}
	rejected := e.deploy(asks)
	e.running(rejected, "go", 1)
	_, err := e.client.Reject(t.Context(), api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: rejected, By: "ada"}})
	e.must(err)
	e.awaitStatus(rejected, rollout.Failed)

	e.must(e.retryRecords(id, ""))
	m := next(e, "the second start", starts)
	if s := e.show(rejected); s.Status != rollout.Superseded || !strings.Contains(s.Event.Reason, "the records of rollout "+id) {
		t.Errorf("the one that has failed is %s: %s", s.Status, s.Event.Reason)
	}
	e.must(m.Respond([]byte(`{"done": true, "items": 1, "putAside": 1}`)))
	e.awaitStatus(id, rollout.Completed)

	tried := e.deploy(appOf("0.0.4", protocol.Offline)) // whose script has begun, as far as is known
	e.running(tried, "todo-search/offline", 1)
	_, err = e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: tried}, Force: true})
	e.must(err)
	e.awaitStatus(tried, rollout.Aborted)
	e.refused(e.retryRecords(id, ""), api.CodeConflict, "rollout "+tried+" has begun after rollout "+id)
}

// A request that is repeated still finds its rollout when that was only a repetition, and
// nothing of it is begun a second time.
func TestARepetitionThatIsAskedForAgainIsFound(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	e.awaitStatus(e.deploy(search()), rollout.Completed)
	heard := make(chan *nats.Msg, 100)
	e.bare(offlineStart, func(_ *nats.Conn, m *nats.Msg) { heard <- m })
	q := api.DeployRequest{Rollout: newID(t), Release: search(), By: "test"}
	_, err := e.client.Deploy(t.Context(), q)
	e.must(err)
	e.awaitStatus(q.Rollout, rollout.Completed)
	v, err := e.client.Deploy(t.Context(), q)
	e.must(err)
	if v.ID != q.Rollout || !v.IsRepeat() {
		t.Errorf("rollout %s is found, want %s", v.ID, q.Rollout)
	}
	page, err := e.client.List(t.Context(), api.ListRequest{App: "todo-app"})
	e.must(err)
	if n := len(page.Rollouts); n != 2 {
		t.Errorf("there are %d rollouts, want 2", n)
	}
}
