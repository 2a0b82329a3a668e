package relay_test

import (
	"bytes"
	"context"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/relay/transfer"
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

// A service needs only to hear orders to take and put its state, and whoever may not give any gets
// nothing.
func TestAStateNeedsNoMorePermissions(t *testing.T) {
	t.Parallel()
	bus := relaytest.StartGuarded(t, embedded.User{Name: "admin"},
		relaytest.With("todos", protocol.InstanceRights("todos", "todos").With(protocol.StateRights("todos"))),
		relaytest.With("web", protocol.InstanceRights("web", "web", "todos")))
	book, log := newLogbook(t)
	connect := func(user string) *relay.Relay {
		r, err := relay.Connect(within(t, patience), relay.Config{URL: bus.URLOf(user), Inbox: protocol.Inbox(user), Logger: log})
		must(t, err)
		t.Cleanup(r.Close)
		return r
	}
	k := &kept{data: append([]byte("book"), make([]byte, 2<<20)...)}
	s := says("todos", "0.0.1", "")
	s.State = k.state()
	it := serve(t, connect("todos"), s)
	admin := bus.As("admin")
	ask := func(r *relay.Relay, do string) transfer.Ask {
		a := stateAsk(r, do)
		a.Subject, a.Order.Service, a.Order.Most = protocol.StateSubject("todos", "0.0.1", do), "todos", 4<<20
		return a
	}
	var taken bytes.Buffer
	_, err := transfer.Fetch(t.Context(), ask(admin, protocol.StateTake), &taken)
	must(t, err)
	_, err = transfer.Deliver(t.Context(), ask(admin, protocol.StatePut), bytes.NewReader(taken.Bytes()))
	must(t, err)
	for _, line := range book.all() {
		if line == "bus error" {
			t.Error("something was not permitted")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer cancel()
	if _, err := transfer.Fetch(ctx, ask(connect("web"), protocol.StateTake), io.Discard); err == nil {
		t.Error("another service has taken it")
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}
