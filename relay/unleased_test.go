package relay_test

import (
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// awaitUnleased waits until an instance says that it has, or has not, a lease.
func (c *confirmations) awaitUnleased(without bool) confirmation {
	c.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if last := c.next(); (last.Unleased > 0) == without {
			return last
		}
	}
	c.t.Fatalf("no instance has said that its being without a lease is %t", without)
	panic("not reached")
}

// storeNoLeases has the bus take no lease any more, until the function that it gives is called.
func storeNoLeases(t *testing.T, r *relay.Relay) (again func()) {
	t.Helper()
	js, err := jetstream.New(r.Conn())
	must(t, err)
	must(t, js.DeleteStream(within(t, patience), "KV_"+protocol.LeasesBucket))
	return func() {
		_, err := bus.Make(within(t, patience), r.Conn(), bus.Leases, "", 1)
		must(t, err)
	}
}

func TestAnInstanceSaysThatItHasNoLease(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	b := relaytest.Start(t)
	r := b.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	revision := route(t, r, "todos", "0.0.1 online")
	again := storeNoLeases(t, r)
	s := says("todos", "0.0.1", "here")
	s.Lease = relay.MinLease
	b.Serve(s)
	first := confirmed.awaitUnleased(true)
	if first.Revision != 0 || first.State != protocol.StateOffline || first.Version != "0.0.1" {
		t.Errorf("an instance that has never had a lease says %+v", first)
	}
	again()
	if last := confirmed.awaitUnleased(false); last.Revision != revision {
		t.Errorf("with its first lease it says %+v", last)
	}
	again = storeNoLeases(t, r)
	last := confirmed.awaitUnleased(true)
	if last.Revision != revision || last.State != protocol.StateOnline || last.Unleased < protocol.Duration(100*time.Millisecond) {
		t.Errorf("once its lease has run out it says %+v", last)
	}
	if longer := confirmed.awaitUnleased(true); longer.Unleased <= last.Unleased {
		t.Errorf("later it says %s, after %s", time.Duration(longer.Unleased), time.Duration(last.Unleased))
	}
	again()
	confirmed.awaitUnleased(false)
	if got, err := ask(t, r, "todos.say"); got != "here" || err != nil {
		t.Errorf("with a lease it answers %q, %v", got, err)
	}
}

// NATS tells at once when an instance is gone: it has an address of its own.
func TestAnInstanceAnswersAtItsAddressForAsLongAsItIsThere(t *testing.T) {
	b := relaytest.Start(t)
	r := b.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	stops := []func(){b.Serve(says("todos", "0.0.1", "here")), b.Serve(says("todos", "0.0.1", "here"))}
	one := confirmed.awaitOther(0, protocol.StateOffline)
	other := one
	for other.instance == one.instance {
		other = confirmed.awaitOther(0, protocol.StateOffline)
	}
	there := func(c confirmation) bool {
		t.Helper()
		if !c.Address {
			t.Errorf("%+v tells of no address", c)
		}
		for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
			m, err := r.Conn().Request(protocol.InstanceSubject("todos", "0.0.1", c.instance), nil, soon)
			switch {
			case err == nil && len(m.Data) == 0:
				return true
			case errors.Is(err, nats.ErrNoResponders):
				return false
			case !errors.Is(err, nats.ErrTimeout): // it came while the instance was leaving
				t.Fatalf("at the address of %s: %v, %v", c.instance, m, err)
			}
		}
		t.Fatalf("at the address of %s nobody answers, and nobody is told to be gone", c.instance)
		return false
	}
	if !there(one) || !there(other) {
		t.Error("an instance that is there does not answer")
	}
	stops[0]()
	if there(one) == there(other) {
		t.Error("of two instances, one has stopped")
	}
	stops[1]()
	if there(one) || there(other) {
		t.Error("both have stopped")
	}
}

// A process that is cut off keeps its place in its queue group until the server drops it.
func TestAnInstanceThatIsCutOffIsSentNothingAfterTenSeconds(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	b := relaytest.Start(t)
	caller := b.Connect().Conn()
	cable := b.Cable()
	for _, url := range []string{b.URL(), cable.URL()} {
		nc := b.ConnectTo(url).Conn()
		_, err := nc.QueueSubscribe("todos.say", "todos", func(m *nats.Msg) { _ = m.Respond(nil) })
		must(t, err)
		must(t, nc.Flush())
	}
	cable.Hold()
	cut := time.Now()
	defer cable.Release()
	var lost int
	var last time.Time // that a request was lost
	for time.Since(cut) < 15*time.Second {
		sent, wait := time.Now(), 50*time.Millisecond
		if sent.Sub(cut) > 12*time.Second {
			wait = patience // none may be lost any more, and the machine may be busy
		}
		if _, err := caller.Request("todos.say", nil, wait); err != nil {
			lost, last = lost+1, sent
		}
	}
	t.Logf("%d requests were lost, the last one %s after the cut", lost, last.Sub(cut).Round(time.Millisecond))
	if lost == 0 || last.Sub(cut) > 12*time.Second {
		t.Errorf("%d requests were lost, the last one %s after the cut", lost, last.Sub(cut))
	}
}
