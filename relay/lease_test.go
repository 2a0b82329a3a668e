package relay_test

import (
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// A gate that sees no lease takes everybody for dead. So a restart of the server, after
// which everybody still serves, must neither lose leases nor lengthen them. (A bucket in
// memory is gone after it, with its leases.)
func TestLeasesSurviveARestartOfTheServer(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	const lasts = 4 * time.Second
	data := t.TempDir()
	server := startServer(t, data, "")
	fixed := address(server)
	r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL()})
	must(t, err)
	defer r.Close()
	_, _, err = bus.MakeRoutes(within(t, patience), r.Conn(), "", 1)
	must(t, err)
	js, err := jetstream.New(r.Conn())
	must(t, err)
	began := time.Now()
	_, err = js.PublishMsg(within(t, patience), &nats.Msg{
		Subject: protocol.KeySubject(protocol.LeasesBucket, protocol.LeaseKey("todos", "0.0.1", "0123")),
	}, jetstream.WithMsgTTL(lasts))
	must(t, err)
	stored := time.Now()

	stopServer(t, server)
	startServer(t, data, fixed)
	again, err := relay.Connect(within(t, patience), relay.Config{URL: "nats://" + fixed})
	must(t, err)
	defer again.Close()
	awaitLeases(t, again, 1)
	if time.Since(began) > lasts {
		t.Fatal("the restart took longer than the lease")
	}
	awaitLeases(t, again, 0)
	if early, late := time.Since(began) < lasts, time.Since(stored) > lasts+2*time.Second; early || late {
		t.Errorf("a lease of %s was gone after %s", lasts, time.Since(began))
	}
}
