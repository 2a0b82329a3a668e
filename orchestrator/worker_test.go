package orchestrator_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// claim writes a claim of the first attempt of the offline script.
func (e *environment) claim(id string, c protocol.Claim) {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	claims, err := js.KeyValue(e.t.Context(), protocol.ClaimsBucket)
	e.must(err)
	value, err := json.Marshal(c)
	e.must(err)
	_, err = claims.Create(e.t.Context(), protocol.ClaimKey(id, "todo-search/offline", 1, false), value)
	e.must(err)
}

// claimOf reads the claim of the first attempt of the offline script.
func (e *environment) claimOf(id string) (claim protocol.Claim, err error) {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	claims, err := js.KeyValue(e.t.Context(), protocol.ClaimsBucket)
	e.must(err)
	entry, err := claims.Get(e.t.Context(), protocol.ClaimKey(id, "todo-search/offline", 1, false))
	if err != nil {
		return claim, err
	}
	return claim, json.Unmarshal(entry.Value(), &claim)
}

// What a script has finished is not run again, although its worker has died before it could
// tell: it is found in the claim, when signs of life are missing.
func TestAnswerOfADeadWorkerIsFoundInItsClaim(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	observed := e.observe(offlineDone)
	id := e.deploy(search(protocol.Offline))
	e.claim(id, protocol.Claim{Instance: "gone", At: time.Now(), Answer: &protocol.Answer{Done: true, Items: 7}})
	step, _ := e.awaitStatus(id, rollout.Completed).Step("todo-search/offline")
	if step.Attempt != 1 || step.Script.Items != 7 {
		t.Errorf("the step is %+v, want attempt 1 with 7 items", step)
	}
	observed.await(offlineDone, nil)
}

// A setup service that comes up takes the place of one that has left the bus, at once.
func TestAttemptOfAWorkerThatLeftGoesOnWhenAnotherComes(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	begun, die := e.dyingWorker("todo-search")
	id := e.deploy(search(protocol.Offline))
	next(e, "the script's begin", begun)
	died := time.Now()
	die()
	again := make(chan struct{}, 1)
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(context.Context, *sdk.Run) error {
		again <- struct{}{}
		return nil
	}})
	next(e, "the next attempt", again)
	if took := time.Since(died); took > (protocol.LeaseBeats+2)*heartbeat {
		t.Errorf("the next attempt began after %s, as if nobody had come up", took)
	}
	e.running(id, "todo-search/traffic", 1)
}

// Who has finished, and left, is not waited for either.
func TestAnswerOfAWorkerThatLeftIsTakenWhenAnotherComes(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	e.claim(id, protocol.Claim{Instance: "gone", At: time.Now(), Answer: &protocol.Answer{Done: true}})
	hello, err := json.Marshal(protocol.Hello{Instance: "new", Name: "todo-search", Version: "0.0.1"})
	e.must(err)
	e.must(e.nc.Publish(protocol.HelloSubject, hello))
	e.running(id, "todo-search/traffic", 1)
}

// A start that is lost with whoever got it keeps no way back waiting: a setup service that
// claims attempts cannot begin it any more.
func TestLostStartIsWithheldOnTheWayBack(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	script := protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: protocol.Offline}
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", SkipMissing: true})
	e.must(err)
	e.bare(protocol.AboutScriptSubject(script), func(_ *nats.Conn, m *nats.Msg) { e.must(m.Respond([]byte(`{"instance": "new"}`))) })
	e.awaitStatus(id, rollout.Reverted)
	js, err := jetstream.New(e.nc)
	e.must(err)
	claims, err := js.KeyValue(t.Context(), protocol.ClaimsBucket)
	e.must(err)
	if _, err := claims.Create(t.Context(), protocol.ClaimKey(id, "todo-search/offline", 1, false), nil); err == nil {
		t.Error("the attempt could still be claimed")
	}
}
