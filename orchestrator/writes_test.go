package orchestrator_test

import (
	"context"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// What a rollout writes, each time to disk, is what it costs: an event for its beginning and
// for each step that ends, and the route. What a rollout does not use takes no room in them.
func TestRolloutWritesLittle(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	js, err := jetstream.New(e.nc)
	e.must(err)
	kept := func(stream string) jetstream.StreamState {
		t.Helper()
		s, err := js.Stream(t.Context(), stream)
		e.must(err)
		return s.CachedInfo().State
	}
	const routes = "KV_" + protocol.RoutesBucket
	release := rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "todo-search", Version: "0.0.1", Migrations: []protocol.Phase{protocol.Offline, protocol.Online}},
	}}
	for _, script := range []string{offlineStart, "deployment-todo-search-0.0.1-online-start"} {
		e.bare(script, func(nc *nats.Conn, m *nats.Msg) {
			if err := answerByName(context.Background(), nc, m); err != nil {
				t.Error(err)
			}
		})
	}
	events, moves := kept(protocol.Stream), kept(routes)
	e.awaitStatus(e.deploy(release), rollout.Completed)
	after := kept(protocol.Stream)
	if n := after.LastSeq - events.LastSeq; n != 4 {
		t.Errorf("%d messages were written into the journal, want 4", n)
	}
	const most = 7000
	if n := after.Bytes - events.Bytes; n > most {
		t.Errorf("the journal has grown by %d bytes, want at most %d", n, most)
	}
	if n := kept(routes).LastSeq - moves.LastSeq; n != 1 {
		t.Errorf("%d routes were written, want 1", n)
	}
	t.Logf("%d bytes", after.Bytes-events.Bytes)
}
