package orchestrator_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// A JetStream that is full is called so, whatever is asked for, and all goes on once there is
// room.
func TestAFullJetStreamIsCalledWhatItIs(t *testing.T) {
	t.Parallel()
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true, MaxStore: 8 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := environmentOn(t, func() *relay.Relay {
		r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	})
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)

	js, err := jetstream.New(e.nc)
	e.must(err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FILL", Subjects: []string{"fill"}})
	e.must(err)
	for part := 512 << 10; part > 0; { // ever smaller, until nothing fits
		if _, err := js.Publish(t.Context(), "fill", make([]byte, part)); err != nil {
			part /= 2
		}
	}
	const why = "JetStream is full (insufficient resources): raise max_file_store"
	full := func(what string, err error) {
		t.Helper()
		var refused *protocol.ServiceError
		if !errors.As(err, &refused) || refused.Code != api.CodeUnavailable || !strings.Contains(refused.Message, why) || strings.Contains(refused.Hint, "healthy") {
			t.Errorf("%s gives %+v, want that %s", what, err, why)
		}
	}
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: other("shop")})
	full("deploy", err)
	_, err = e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}})
	full("abort", err)
	m := nats.NewMsg(offlineDone)
	m.Header.Set(protocol.HeaderRollout, id)
	e.must(e.nc.PublishMsg(m))
	e.until("the log says so of an answer", func() bool {
		for _, line := range e.logs.FilterMessage("answer not taken").All() {
			if text, _ := line.ContextMap()["error"].(string); strings.Contains(text, why) {
				return true
			}
		}
		return false
	})

	e.must(js.DeleteStream(t.Context(), "FILL"))
	if a := e.answer(offlineDone, id, 1, ""); !*a.Accepted {
		t.Errorf("the answer is refused once there is room: %s", a.Reason)
	}
	if _, err := e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}}); err != nil {
		t.Errorf("abort gives %v once there is room", err)
	}
	e.awaitStatus(id, rollout.Aborted)
}

// other is a release of another app that has one script.
func other(app string) rollout.Release {
	return rollout.Release{App: app, Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: app + "-store", Version: "1.0.0", Migrations: []protocol.Phase{protocol.Offline}},
	}}
}
