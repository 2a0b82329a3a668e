package relay_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// An instance that sends streams, and one that receives them, need no more than their rights.
func TestStreamsNeedNoMorePermissions(t *testing.T) {
	t.Parallel()
	const batches = 1000
	bus := relaytest.StartGuarded(t, embedded.User{Name: "admin"},
		relaytest.With("todos", protocol.InstanceRights("todos", "todos")), relaytest.With("web", protocol.InstanceRights("web", "web", "todos")))
	confirmed := listenToConfirmations(t, bus.As("admin"), "todos")
	book, log := newLogbook(t)
	connect := func(user string) *relay.Relay {
		r, err := relay.Connect(within(t, patience), relay.Config{URL: bus.URLOf(user), Inbox: protocol.Inbox(user), Logger: log})
		must(t, err)
		t.Cleanup(r.Close)
		r.SetPulse(100 * time.Millisecond)
		return r
	}
	payload := make([]byte, protocol.StreamBatch*3/4)
	it := serve(t, connect("todos"), streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		for i := range batches {
			if i%(batches/2) == 1 {
				<-time.After(1200 * time.Millisecond)
			}
			if err := out.Send(payload, strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return nil
	}))
	confirmed.await(route(t, bus.As("admin"), "todos", "0.0.1 online"), protocol.StateOnline)
	n := 0
	for _, err := range connect("web").Stream(within(t, patience), "todos.list", nil) {
		must(t, err)
		n++
	}
	if n != batches {
		t.Errorf("%d records of %d", n, batches)
	}
	for _, line := range book.all() {
		if line == "bus error" {
			t.Error("something was not permitted")
		}
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}
