package relay

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// The tests of this file guard moments that no test from outside can hit: between two looks
// at the role, and when a lease runs out. Their instance does nothing by itself. It gets
// leases and roles when the test says so, and reads the clock that the test sets.

// guardPatience is how long these tests wait for what must happen.
const guardPatience = 20 * time.Second

// testClock is a clock that a test moves.
type testClock struct{ at atomic.Pointer[bus.Instant] }

func newTestClock() *testClock {
	c := &testClock{}
	c.at.Store(&bus.Instant{Ticks: time.Hour, Wall: 24 * time.Hour})
	return c
}

func (c *testClock) read() bus.Instant { return *c.at.Load() }

// pass has time pass by each of the two clocks.
func (c *testClock) pass(ticks, wall time.Duration) {
	now := c.read()
	c.at.Store(&bus.Instant{Ticks: now.Ticks + ticks, Wall: now.Wall + wall})
}

// puppet is an instance of todos 0.0.1 that is moved by hand.
type puppet struct {
	*instance
	t      *testing.T
	clock  *testClock
	routes jetstream.KeyValue
	caller *nats.Conn
}

func newPuppet(t *testing.T, s Service) *puppet {
	t.Helper()
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	r, err := Connect(t.Context(), Config{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	caller, err := Connect(t.Context(), Config{Server: server})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	p := &puppet{t: t, clock: newTestClock(), caller: caller.nc}
	r.clock, r.pulse = p.clock.read, time.Hour
	if p.routes, _, err = bus.MakeRoutes(t.Context(), r.nc, "", 1); err != nil {
		t.Fatal(err)
	}
	s.Name, s.Version = "todos", "0.0.1"
	p.instance = newInstance(t.Context(), r, s.withDefaults())
	p.follower.lingering = time.NewTimer(linger)
	t.Cleanup(func() {
		p.requests.streams.end()
		p.requests.streams.running.Wait()
		p.requests.resuming.Wait()
		p.requests.workers.end()
	})
	return p
}

// route writes the route, "0.0.1 online, 0.0.2 standby". The instance does not read it yet.
func (p *puppet) route(versions string) {
	p.t.Helper()
	route := protocol.Route{Service: "todos"}
	for text := range strings.SplitSeq(versions, ", ") {
		version, state, _ := strings.Cut(text, " ")
		route.Versions = append(route.Versions, protocol.RouteVersion{Version: version, State: protocol.VersionState(state)})
	}
	data, err := json.Marshal(route)
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := p.routes.Put(p.t.Context(), "todos", data); err != nil {
		p.t.Fatal(err)
	}
}

// lease renews the instance's lease as followRoute does: it reads the route first.
func (p *puppet) lease() {
	p.t.Helper()
	l := &lease{until: p.clock.read().Add(DefaultLease)}
	if p.follower.renew(p.t.Context(), l); p.requests.traffic.leased.Load() != l {
		p.t.Fatal("the lease was not taken")
	}
}

// ask hands the instance a production request, and gives what will answer it.
func (p *puppet) ask(header nats.Header) *nats.Subscription {
	p.t.Helper()
	to := p.caller.NewInbox()
	sub, err := p.caller.SubscribeSync(to)
	if err != nil {
		p.t.Fatal(err)
	}
	if err := p.caller.Flush(); err != nil {
		p.t.Fatal(err)
	}
	p.requests.produce(request{to: p.requests.endpoints["say"], header: header, reply: to})
	return sub
}

// mustAnswer waits for an answer, and fails the test unless it is that text, or an error with
// that code.
func (p *puppet) mustAnswer(sub *nats.Subscription, want string) {
	p.t.Helper()
	m, err := sub.NextMsg(guardPatience)
	if err != nil {
		p.t.Fatalf("no answer: %v", err)
	}
	got := m.Header.Get(protocol.HeaderErrorCode)
	if got == "" {
		got = string(m.Data)
	}
	if got != want {
		p.t.Errorf("answered %q %v, want %s", m.Data, m.Header, want)
	}
}

// saying is a service that answers "say", after it has told that it was begun with and was
// let go on.
func saying(begun chan<- bool, proceed <-chan bool) Service {
	return Service{Handlers: map[string]Handler{"say": func(context.Context, *Message) (any, error) {
		begun <- true
		<-proceed
		return "old", nil
	}}}
}

// heard waits for a word.
func heard(t *testing.T, c <-chan bool, what string) {
	t.Helper()
	select {
	case <-c:
	case <-time.After(guardPatience):
		t.Fatalf("%s: nothing within %s", what, guardPatience)
	}
}

// An instance that is behind would send a request back to where it came from, and so in a
// circle, until it has read the revision that the other one acts on.
func TestAboutARequestThatWasForwarded(t *testing.T) {
	const now = 7
	route := func(maintenance bool, ours, other protocol.VersionState) *role {
		r := protocol.Route{Versions: []protocol.RouteVersion{{Version: "0.0.1", State: ours}, {Version: "0.0.2", State: other}}}
		if maintenance {
			r.Maintenance = &protocol.Maintenance{}
		}
		return newRole(r, now, "todos", "0.0.1")
	}
	const online, standby, fenced, draining = protocol.StateOnline, protocol.StateStandby, protocol.StateFenced, protocol.StateDraining
	for name, tt := range map[string]struct {
		role                        *role
		plain, before, same, behind verdict
	}{
		"online":            {route(false, online, standby), answer, answer, answer, answer},
		"standby, other on": {route(false, standby, online), forward, forward, hold, hold},
		"draining":          {route(false, draining, online), forward, forward, hold, hold},
		"standby alone":     {route(false, standby, standby), hold, hold, hold, hold},
		"fenced":            {route(false, fenced, online), hold, hold, hold, hold},
		"nobody":            {route(false, draining, draining), nobody, nobody, nobody, hold},
		"maintenance":       {route(true, online, standby), refuse, refuse, refuse, hold},
		"leaving":           {route(false, online, standby).left(), giveBack, giveBack, giveBack, giveBack},
	} {
		for by, want := range map[uint64]verdict{0: tt.plain, now - 1: tt.before, now: tt.same, now + 1: tt.behind} {
			q := request{}
			if by > 0 {
				q.header = nats.Header{protocol.HeaderForwarded: {strconv.FormatUint(by, 10)}}
			}
			if got := tt.role.about(&q); got != want {
				t.Errorf("%s at revision %d, forwarded under %d: verdict %d, want %d", name, now, by, got, want)
			}
		}
	}
}

// The role is looked at, then the request is counted, then the role is looked at again. One
// that changes in between finds nothing to wait for: so the request must not go on under the
// one before.
func TestTheRoleMayChangeBeforeARequestIsCounted(t *testing.T) {
	begun, proceed := make(chan bool, 1), make(chan bool)
	close(proceed)
	p := newPuppet(t, saying(begun, proceed))
	p.route("0.0.1 online, 0.0.2 standby")
	p.lease()
	p.requests.traffic.looked = func() {
		p.requests.traffic.looked = nil // once; nobody else asks
		p.route("0.0.1 fenced, 0.0.2 standby")
		if !p.follower.reread(p.t.Context()) || !p.follower.settled() {
			t.Error("the new role was not taken on, or has something to wait for")
		}
	}
	answer := p.ask(nil)
	if n := p.requests.traffic.held.count(); n != 1 {
		t.Errorf("%d requests are held, want 1", n)
	}
	if n := p.requests.traffic.busy.n.Load(); n != 0 {
		t.Errorf("%d requests are being answered", n)
	}
	p.route("0.0.1 online")
	if len(begun) > 0 {
		t.Error("it was answered by a version that is fenced")
	}
	p.follower.reread(t.Context())
	p.mustAnswer(answer, `"old"`)
}

// While the machine is suspended, the monotonic clock stands still. The one on the wall may
// be set back. A lease has run out when either says so.
func TestALeaseRunsOutByEitherClock(t *testing.T) {
	for name, passed := range map[string]struct {
		ticks, wall time.Duration
		over        bool
	}{
		"at once":                {0, 0, false},
		"shortly before the end": {DefaultLease - 1, DefaultLease - 1, false},
		"at its end":             {DefaultLease, DefaultLease, true},
		"suspended":              {0, time.Hour, true},
		"set back":               {DefaultLease, -time.Hour, true},
	} {
		begun, proceed := make(chan bool, 1), make(chan bool)
		close(proceed)
		p := newPuppet(t, saying(begun, proceed))
		p.route("0.0.1 online")
		p.lease()
		p.clock.pass(passed.ticks, passed.wall)
		answer := p.ask(nil)
		if passed.over {
			select {
			case <-p.requests.traffic.lapsed: // it asks for a new lease
			case <-begun:
				t.Errorf("%s: answered without a lease", name)
			case <-time.After(guardPatience):
				t.Fatalf("%s: nothing happens", name)
			}
			p.lease()
		}
		p.mustAnswer(answer, `"old"`)
	}
}

// A lease that runs out while the handler is at work: nobody waits for it any more, and
// another version may have taken over. Its answer is given only if the route, read after the
// next lease, says that the own version is online.
func TestALeaseRunsOutInAHandler(t *testing.T) {
	for name, tt := range map[string]struct {
		route, want string
	}{
		"another has taken over": {"0.0.2 online, 0.0.1 draining", CodeFailed},
		"another was taken back": {"0.0.1 online, 0.0.2 standby", `"old"`},
		"it is fenced":           {"0.0.1 fenced, 0.0.2 standby", CodeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			begun, proceed := make(chan bool), make(chan bool)
			p := newPuppet(t, saying(begun, proceed))
			p.route("0.0.1 online")
			p.lease()
			answer := p.ask(nil)
			heard(t, begun, "the request")
			p.clock.pass(time.Hour, time.Hour)
			p.route(tt.route)
			proceed <- true
			select {
			case <-p.requests.traffic.lapsed: // the handler has ended, and its answer waits for a lease
			case <-time.After(guardPatience):
				t.Error("nobody asks for a new lease")
			}
			p.lease()
			p.mustAnswer(answer, tt.want)
		})
	}
}

// The same, when the next lease comes before the handler ends. That a lease is there is not
// enough: nobody has waited for this request.
func TestALeaseIsRenewedTooLateInAHandler(t *testing.T) {
	for name, tt := range map[string]struct {
		passes      time.Duration
		route, want string
	}{
		"another has taken over": {time.Hour, "0.0.2 online, 0.0.1 draining", CodeFailed},
		"another was taken back": {time.Hour, "0.0.1 online, 0.0.2 standby", `"old"`},
		"in time, and fenced":    {DefaultLease - 1, "0.0.1 fenced, 0.0.2 standby", `"old"`}, // the gate waits for it
	} {
		t.Run(name, func(t *testing.T) {
			begun, proceed := make(chan bool), make(chan bool)
			p := newPuppet(t, saying(begun, proceed))
			p.route("0.0.1 online")
			p.lease()
			answer := p.ask(nil)
			heard(t, begun, "the request")
			p.clock.pass(tt.passes, tt.passes)
			p.route(tt.route)
			p.lease()
			proceed <- true
			p.mustAnswer(answer, tt.want)
		})
	}
}

// The same, while the request waits for a worker: no handler has seen it, so it goes where
// the route says now.
func TestALeaseIsRenewedTooLateBeforeAHandlerBegins(t *testing.T) {
	begun, proceed := make(chan bool, 2), make(chan bool)
	s := saying(begun, proceed)
	s.Concurrency = 1
	p := newPuppet(t, s)
	p.route("0.0.1 online")
	p.lease()
	first := p.ask(nil)
	heard(t, begun, "the first request")
	second := p.ask(nil)
	p.clock.pass(time.Hour, time.Hour)
	p.route("0.0.1 fenced, 0.0.2 standby")
	p.lease()
	close(proceed)
	p.mustAnswer(first, CodeFailed)
	p.requests.workers.end() // the second one has been dealt with
	if n := p.requests.traffic.held.count(); n != 1 || len(begun) > 0 {
		t.Errorf("%d requests are held, want 1", n)
	}
	if n := p.requests.traffic.busy.n.Load(); n != 0 {
		t.Errorf("%d requests are being answered", n)
	}
	if m, err := second.NextMsg(time.Millisecond); err == nil {
		t.Errorf("the second one was answered %q %v", m.Data, m.Header)
	}
}

// What a stream has sent so far was read before another version may have been online: it
// does not go on as if nothing had been, even when its own version is online again.
func TestAStreamEndsWithALeaseThatHasLapsed(t *testing.T) {
	begun, proceed, sent := make(chan bool), make(chan bool), make(chan error, 1)
	p := newPuppet(t, Service{Streams: map[string]StreamHandler{"say": func(_ context.Context, _ *Message, out *Sender) error {
		begun <- true
		<-proceed
		sent <- out.Send(1, "1")
		return nil
	}}})
	p.route("0.0.1 online")
	p.lease()
	p.ask(nats.Header{protocol.HeaderStream: {strconv.Itoa(protocol.StreamWindow)}})
	heard(t, begun, "the request")
	p.clock.pass(time.Hour, time.Hour)
	p.lease()
	proceed <- true
	select {
	case err := <-sent:
		if err != errLeaseLapsed {
			t.Errorf("a record was sent: %v", err)
		}
	case <-time.After(guardPatience):
		t.Fatal("nothing was sent")
	}
}
