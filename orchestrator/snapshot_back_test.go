package orchestrator_test

import (
	"bytes"
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
)

// restore begins to put an app's data and traffic back, and gives the rollout that does it.
func (e *environment) restore(app, target string) string {
	e.t.Helper()
	q := api.RestoreRequest{App: app, Rollout: newID(e.t), Target: target, By: "ann", Reason: "a test"}
	_, err := e.client.Restore(e.t.Context(), q)
	e.must(err)
	return q.Rollout
}

// holds is the digest of a stream, and how many messages it has.
func (e *environment) holds(stream string) (digest string, messages uint64) {
	e.t.Helper()
	js, err := bus.NewJetStream(e.nc)
	e.must(err)
	var archive bytes.Buffer
	_, err = snapshot.Take(e.t.Context(), js, stream, &archive)
	e.must(err)
	content, err := snapshot.Read(&archive)
	e.must(err)
	return content.Digest, content.Messages
}

func TestDataAndTrafficArePutBack(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	first := e.deploy(stateful())
	e.awaitStatus(first, rollout.Completed)
	e.data(50)
	before, _ := e.holds("DATA")
	ran := e.writer("1.1.0")
	second := e.deploy(changing("1.1.0"))
	e.awaitStatus(second, rollout.Completed)
	after, n := e.holds("DATA")
	if n != 51 || after == before {
		t.Fatalf("%d messages are there", n)
	}

	plan, err := e.client.PlanRestore(t.Context(), api.RestoreRequest{App: "shop"})
	e.must(err)
	if plan.Version != "1.0.0" || plan.From != "1.1.0" || plan.Of != second || plan.Snapshot != second || len(plan.Problems) > 0 {
		t.Errorf("the plan is %+v", plan)
	}
	id := e.restore("shop", "")
	s := e.awaitStatus(id, rollout.Completed).State
	if got, n := e.holds("DATA"); got != before || n != 50 {
		t.Errorf("%d messages are there, of digest %s instead of %s", n, got, before)
	}
	if taken := e.taken(s); taken.ID != id || !taken.One {
		t.Errorf("the snapshot of now is %+v", taken)
	}
	status, err := e.client.Status(t.Context(), api.AppRequest{App: "shop"})
	e.must(err)
	if status[0].Version != "1.0.0" {
		t.Errorf("it is at %s", status[0].Version)
	}
	routes, err := e.client.Routes(t.Context())
	e.must(err)
	if online := routes[0].Online(); len(online) != 1 || online[0] != "1.0.0" || routes[0].Maintenance != nil {
		t.Errorf("the route is %s", routes[0].Route)
	}

	third := e.deploy(changing("1.1.0"))
	e.awaitStatus(third, rollout.Completed)
	if ran.of("shop-service/offline") != 2 {
		t.Error("the script of the newer version did not run again")
	}
	e.awaitStatus(e.restore("shop", id), rollout.Completed) // as it was before the restore
	if got, _ := e.holds("DATA"); got != after {
		t.Errorf("the data is of digest %s instead of %s", got, after)
	}
	status, err = e.client.Status(t.Context(), api.AppRequest{App: "shop"})
	e.must(err)
	if status[0].Version != "1.1.0" {
		t.Errorf("it is at %s", status[0].Version)
	}
}
