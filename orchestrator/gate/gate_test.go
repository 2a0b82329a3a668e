package gate_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

const patience = 20 * time.Second // of everything a test waits for

// bench is a gate on a bus of its own, which hears its instances.
type bench struct {
	*gate.Gate
	t   testing.TB
	bus *relaytest.Bus
	nc  *nats.Conn
	js  jetstream.JetStream

	caller  *relay.Relay
	routes  <-chan jetstream.KeyValueEntry
	written []gate.Route
}

func readRoute(t testing.TB, e jetstream.KeyValueEntry) gate.Route {
	t.Helper()
	r := gate.Route{Revision: e.Revision()}
	if err := json.Unmarshal(e.Value(), &r.Route); err != nil {
		t.Fatal(err)
	}
	return r
}

func mustConflict(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, rollout.ErrConflict) {
		t.Errorf("error %v, want ErrConflict", err)
	}
}

func newBench(t testing.TB) *bench { return benchWith(t, gate.Config{}) }

// benchWith is a bench whose gate works as c says.
func benchWith(t testing.TB, c gate.Config) *bench {
	t.Helper()
	bus := relaytest.Start(t)
	b := benchOn(t, bus, c)
	b.bus = bus
	return b
}

// benchOn is a gate on any bus.
func benchOn(t testing.TB, bus interface{ Connect() *relay.Relay }, c gate.Config) *bench {
	t.Helper()
	nc := bus.Connect().Conn()
	c.Conn = nc
	g, err := gate.Make(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Gate: g, t: t, nc: nc, js: js, caller: bus.Connect()}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- g.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("gate: %v", err)
		}
	})
	b.lease("probe", "0.0.0", "i0")
	b.until("the gate listens", func() bool {
		b.confirm("probe", "i0", protocol.Confirmation{Version: "0.0.0"})
		return len(b.instances("probe")) > 0 && !b.instances("probe")[0].Seen.IsZero()
	})
	return b
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func (b *bench) confirm(service, instance string, c protocol.Confirmation) {
	b.t.Helper()
	data, err := json.Marshal(c)
	b.must(err)
	b.must(b.nc.Publish(protocol.ConfirmSubject(service, instance), data))
}

// lease makes an instance count as alive until it is taken from it.
func (b *bench) lease(service, version, id string) (end func()) {
	b.t.Helper()
	_, _, err := bus.MakeRoutes(b.t.Context(), b.nc, "", 1)
	b.must(err)
	value, err := json.Marshal(protocol.Lease{Version: version, Host: "test", PID: 7})
	b.must(err)
	key := protocol.LeaseKey(service, version, id)
	_, err = b.js.Publish(b.t.Context(), protocol.KeySubject(protocol.LeasesBucket, key), value, jetstream.WithMsgTTL(time.Hour))
	b.must(err)
	return func() {
		b.t.Helper()
		stream, err := b.js.Stream(b.t.Context(), "KV_"+protocol.LeasesBucket)
		b.must(err)
		b.must(stream.Purge(b.t.Context(), jetstream.WithPurgeSubject(protocol.KeySubject(protocol.LeasesBucket, key))))
	}
}

func (b *bench) instances(service string) []gate.Instance {
	b.t.Helper()
	all, err := b.Instances(b.t.Context(), service)
	b.must(err)
	return all
}

func (b *bench) open(o gate.Order) uint64 {
	b.t.Helper()
	moved, err := b.Open(b.t.Context(), o)
	b.must(err)
	return moved.Revision
}

func (b *bench) route(service string) gate.Route {
	b.t.Helper()
	r, err := b.Route(b.t.Context(), service)
	b.must(err)
	return r
}

func TestAGateRefusesWhatItCannotWorkWith(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	for want, c := range map[string]gate.Config{
		"a gate needs a connection to the bus":                   {},
		"the patience of a gate is -1s, it must not be negative": {Conn: nc, Patience: -time.Second},
	} {
		if _, err := gate.Make(t.Context(), c); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// Who only looks makes no bucket.
func TestOnlyAnOrchestratorMakesTheBucketsOfAGate(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	for range 2 {
		if _, err := gate.Open(t.Context(), gate.Config{Conn: nc}); !errors.Is(err, bus.ErrNone) {
			t.Fatalf("opening what is not there gives %v", err)
		}
	}
	if _, err := gate.Make(t.Context(), gate.Config{Conn: nc}); err != nil {
		t.Fatal(err)
	}
	if _, err := gate.Open(t.Context(), gate.Config{Conn: nc}); err != nil {
		t.Error(err)
	}
}

func TestServiceWithoutRoute(t *testing.T) {
	b := newBench(t)
	if r := b.route("todos"); r.Revision != 0 || r.Service != "todos" || len(r.Online()) != 0 {
		t.Errorf("the route of a service without one is %+v", r)
	}
	routes, err := b.Routes(t.Context())
	b.must(err)
	if len(routes) != 0 {
		t.Errorf("the routes are %+v, want none", routes)
	}
}

func TestOpenWritesTheRoute(t *testing.T) {
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Sequence: 7})
	r := b.route("todos")
	if r.Revision != first || r.Rollout != "r1" || r.Sequence != 7 || r.Since.IsZero() || !slices.Equal(r.Online(), []string{"1.0.0"}) {
		t.Errorf("the route is %+v", r)
	}
	second := b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Sequence: 9, Replaces: first})
	if r := b.route("todos"); r.Revision != second || second <= first || !slices.Equal(r.Online(), []string{"2.0.0"}) {
		t.Errorf("the route is %+v at %d", r, second)
	}
}

func TestOpenRepeatedFindsItsOwnWriting(t *testing.T) {
	b := newBench(t)
	o := gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Sequence: 7}
	first := b.open(o)
	for range 3 {
		if again := b.open(o); again != first {
			t.Errorf("repeated, it gives revision %d, want %d", again, first)
		}
	}
	// A later rollout of a version that serves already has nothing to write.
	if again := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Replaces: first}); again != first {
		t.Errorf("a version that serves is written again, as revision %d", again)
	}
}

func TestOpenThatComesLateIsRefused(t *testing.T) {
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	second := b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first})
	for name, late := range map[string]gate.Order{
		"on no route":       {Service: "todos", Version: "3.0.0", Rollout: "r3"},
		"on an old route":   {Service: "todos", Version: "3.0.0", Rollout: "r3", Replaces: first},
		"its own, replaced": {Service: "todos", Version: "1.0.0", Rollout: "r1"},
		"on a later route":  {Service: "todos", Version: "3.0.0", Rollout: "r3", Replaces: second + 1},
	} {
		if _, err := b.Open(t.Context(), late); !errors.Is(err, rollout.ErrConflict) {
			t.Errorf("an order %s gives %v, want ErrConflict", name, err)
		}
	}
	if r := b.route("todos"); r.Revision != second {
		t.Errorf("the route is at %d, want %d", r.Revision, second)
	}
}

func TestSealKeepsTheRouteAndRefusesWhoComesLate(t *testing.T) {
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	for _, service := range []string{"todos", "new"} {
		b.must(b.Seal(t.Context(), service, "r3"))
		b.must(b.Seal(t.Context(), service, "r3"))
	}
	sealed := b.route("todos")
	if sealed.Revision <= first || sealed.Rollout != "r3" || !slices.Equal(sealed.Online(), []string{"1.0.0"}) {
		t.Errorf("the sealed route is %+v", sealed)
	}
	for _, late := range []gate.Order{
		{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first},
		{Service: "new", Version: "2.0.0", Rollout: "r2"},
	} {
		if _, err := b.Open(t.Context(), late); !errors.Is(err, rollout.ErrConflict) {
			t.Errorf("opening %s late gives %v, want ErrConflict", late.Service, err)
		}
	}
	b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r3", Replaces: sealed.Revision})
	routes, err := b.Routes(t.Context())
	b.must(err)
	if len(routes) != 2 || routes[0].Service != "new" || routes[1].Service != "todos" {
		t.Errorf("the routes are %+v", routes)
	}
	data, err := json.Marshal(routes[0].Route)
	b.must(err)
	if want := `{"service":"new","rollout":"r3","versions":[]}`; string(data) != want {
		t.Errorf("the route of a service that nobody serves is %s, want %s", data, want)
	}
}

// A worker that has slept waits for confirmations which were given meanwhile, and to another
// worker of the same rollout: nobody gives them again.
func TestAWorkerThatWasOvertakenDoesNotWait(t *testing.T) {
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	b.bus.Serve(says("2.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	order := gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1}
	b.open(order)
	early := b.route("todos")
	early.Revision = first + 1
	early.Versions = []protocol.RouteVersion{{Version: "1.0.0", State: protocol.StateOnline}, {Version: "2.0.0", State: protocol.StateStandby}}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := b.Confirmed(ctx, order, early); !errors.Is(err, gate.ErrOvertaken) {
		t.Errorf("waiting for what nobody confirms any more ends with %v", err)
	}
	if again := b.open(order); again != b.route("todos").Revision {
		t.Errorf("the order leads to revision %d, the route is at %d", again, b.route("todos").Revision)
	}
}
