package gate_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// says is a service whose message "say" is answered with its version.
func says(version string) relay.Service {
	return relay.Service{Name: "todos", Version: version, Handlers: map[string]relay.Handler{
		"say": func(context.Context, *relay.Message) (any, error) { return version, nil },
	}}
}

func (b *bench) ask(opts ...relay.RequestOption) (string, error) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), patience)
	defer cancel()
	var version string
	err := b.caller.Request(ctx, "todos.say", nil, &version, opts...)
	return version, err
}

// history is every route that the service has had since.
func (b *bench) history(since uint64) []string {
	b.t.Helper()
	var all []string
	for _, r := range b.seen() {
		if r.Revision > since {
			all = append(all, r.String())
		}
	}
	return all
}

// record keeps every route that is written.
func (b *bench) record() {
	b.t.Helper()
	routes, _, err := bus.MakeRoutes(b.t.Context(), b.nc, "", 1)
	b.must(err)
	js, err := jetstream.New(b.nc)
	b.must(err)
	stream, err := js.Stream(b.t.Context(), "KV_"+protocol.RoutesBucket)
	b.must(err)
	c := stream.CachedInfo().Config
	c.MaxMsgsPerSubject = 64 // else one that is replaced at once may not be seen
	_, err = js.UpdateStream(b.t.Context(), c)
	b.must(err)
	w, err := routes.Watch(b.t.Context(), "todos", jetstream.UpdatesOnly())
	b.must(err)
	b.routes = w.Updates()
}

func (b *bench) seen() []gate.Route {
	b.t.Helper()
	last := b.route("todos").Revision
	for n := len(b.written); n == 0 || b.written[n-1].Revision < last; n = len(b.written) {
		select {
		case e := <-b.routes:
			if e != nil {
				b.written = append(b.written, readRoute(b.t, e))
			}
		case <-time.After(patience):
			b.t.Fatalf("route revision %d was not seen", last)
		}
	}
	return b.written
}

func TestACutoverGoesByTheBarrier(t *testing.T) {
	b := newBench(t)
	b.record()
	b.bus.Serve(says("1.0.0"))
	b.bus.Serve(says("2.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	if got, err := b.ask(); got != "1.0.0" || err != nil {
		t.Fatalf("answered by %q, %v", got, err)
	}
	second := b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1})
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Fatalf("answered by %q, %v", got, err)
	}
	want := []string{
		"1.0.0 online, 2.0.0 standby",
		"1.0.0 fenced, 2.0.0 standby",
		"1.0.0 fenced, 2.0.0 online",
		"1.0.0 draining, 2.0.0 online",
		"2.0.0 online",
	}
	if got := b.history(first); !slices.Equal(got, want) {
		t.Errorf("the route went by\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	for _, i := range b.instances("todos") {
		if i.Revision != second {
			t.Errorf("%s has confirmed revision %d, want %d", i, i.Revision, second)
		}
	}
}

func TestAVersionIsNotFencedBeforeItsSuccessorStandsBy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	told := make(chan string, 10)
	opened := make(chan error, 1)
	go func() {
		_, err := b.Open(t.Context(), gate.Order{
			Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1,
			Tell: func(waiting string) { told <- waiting },
		})
		opened <- err
	}()
	if got := <-told; !strings.HasPrefix(got, "0 of 1 instances of todos 2.0.0 have confirmed route revision") {
		t.Errorf("it waits for %q", got)
	}
	if got, err := b.ask(); got != "1.0.0" || err != nil {
		t.Errorf("meanwhile answered by %q, %v", got, err)
	}
	b.bus.Serve(says("2.0.0"))
	b.must(<-opened)
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("answered by %q, %v", got, err)
	}
}

func TestAnInstanceThatHangsIsNamedAndTheOldVersionIsPutBack(t *testing.T) {
	b := benchWith(t, gate.Config{Patience: 300 * time.Millisecond})
	b.bus.Serve(says("1.0.0"))
	b.bus.Serve(says("2.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	end := b.lease("todos", "1.0.0", "0123456789ab")
	_, err := b.Open(t.Context(), gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1})
	var stuck *gate.UnconfirmedError
	if !errors.As(err, &stuck) || !strings.Contains(err.Error(), "instance 01234567 of 1.0.0 (test, pid 7) did not confirm") {
		t.Fatalf("error %v", err)
	}
	if got, err := b.ask(); got != "1.0.0" || err != nil {
		t.Errorf("in the middle answered by %q, %v", got, err)
	}
	end()
	back := gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Sequence: 1, Replaces: first}
	b.open(back)
	if got := b.route("todos").String(); got != "1.0.0 online" {
		t.Errorf("the route is %s", got)
	}
	// Whoever still works on the order that was turned back is refused.
	_, err = b.Open(t.Context(), gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1})
	mustConflict(t, err)
}

func TestAnInstanceIsWaitedForNoLongerThanItsLease(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	b.bus.Serve(says("2.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	end := b.lease("todos", "1.0.0", "hangs")
	b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1,
		Tell: func(waiting string) {
			if strings.HasPrefix(waiting, "instance hangs of 1.0.0 (test, pid 7), alive by lease, to confirm route revision") {
				end()
			}
		}})
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("answered by %q, %v", got, err)
	}
}

func TestAnInstanceThatHasLeftIsNotWaitedFor(t *testing.T) {
	b := newBench(t)
	stop := b.bus.Serve(says("1.0.0"))
	b.bus.Serve(says("2.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	stop()
	b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1,
		Tell: func(waiting string) {
			if waiting != "" {
				t.Errorf("it waits for %s", waiting)
			}
		}})
}

// leave makes an instance known that has left, and whose lease has not run out yet.
func (b *bench) leave(version, id string) {
	b.t.Helper()
	b.lease("todos", version, id)
	listed := func() bool {
		return slices.ContainsFunc(b.instances("todos"), func(i gate.Instance) bool { return i.ID == id })
	}
	if !listed() {
		b.t.Errorf("%s is not alive before it has left", id)
	}
	b.confirm("todos", id, protocol.Confirmation{Version: version, State: protocol.StateLeft})
	b.until("the gate has heard that "+id+" has left", func() bool { return !listed() })
}

// Nobody of the version before is alive who could answer meanwhile, or hand over what it
// holds: the steps that are for those are left out.
func TestAVersionThatHasLeftIsReplacedInFewerSteps(t *testing.T) {
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	b.leave("1.0.0", "gone")
	b.bus.Serve(says("2.0.0"))
	b.until("2.0.0 is alive", func() bool { return len(b.instances("todos")) > 0 })
	second := b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1})
	// The steps are fenced and standby, fenced and online, online: no more are written.
	if steps := second - first; steps != 3 {
		t.Errorf("the route went there in %d steps, want 3", steps)
	}
}

// An instance that has left is none of those that the new version needs: the version before
// keeps its traffic until there are enough.
func TestAnInstanceThatHasLeftDoesNotTakeOver(t *testing.T) {
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	b.leave("2.0.0", "gone")
	opened := make(chan error, 1)
	go func() {
		_, err := b.Open(t.Context(), gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: 1})
		opened <- err
	}()
	b.until("the route is written", func() bool { return b.route("todos").Revision > first })
	if got := b.route("todos").String(); got != "1.0.0 online, 2.0.0 standby" {
		t.Errorf("while nobody of 2.0.0 is alive the route is %s", got)
	}
	b.bus.Serve(says("2.0.0"))
	b.must(<-opened)
	if got := b.route("todos").String(); got != "2.0.0 online" {
		t.Errorf("the route is %s", got)
	}
}

func TestSeveralVersionsOnline(t *testing.T) {
	b := newBench(t)
	for _, v := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		b.bus.Serve(says(v))
	}
	r := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	r = b.open(gate.Order{Service: "todos", Version: "2.0.0", Keep: []string{"1.0.0"}, Rollout: "r2", Replaces: r, Instances: 1})
	r = b.open(gate.Order{Service: "todos", Version: "3.0.0", Keep: []string{"1.0.0", "2.0.0"}, Rollout: "r3", Replaces: r, Instances: 1})
	answered := make(map[string]bool)
	for range 200 {
		got, err := b.ask()
		b.must(err)
		answered[got] = true
	}
	if len(answered) != 3 {
		t.Errorf("answered by %v, want all three", answered)
	}
	// One that has left is brought back, alone.
	r = b.open(gate.Order{Service: "todos", Version: "3.0.0", Rollout: "r4", Replaces: r, Instances: 1})
	b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r5", Replaces: r, Instances: 1})
	for range 20 {
		if got, err := b.ask(); got != "1.0.0" || err != nil {
			t.Fatalf("answered by %q, %v", got, err)
		}
	}
}

func TestMaintenance(t *testing.T) {
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	b.bus.Serve(says("2.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	closing := gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Replaces: first, RetryAfter: 7 * time.Second}
	closed, err := b.Open(t.Context(), closing)
	b.must(err)
	if since := b.route("todos").Maintenance.Since; !closed.At.Equal(since) {
		t.Errorf("closed at %s, the route says %s", closed.At, since)
	}
	for range 10 {
		began := time.Now()
		_, err := b.ask()
		var answered *relay.Error
		if !errors.As(err, &answered) || !errors.Is(err, relay.ErrMaintenance) || answered.Code != "503" || answered.RetryAfter != 7*time.Second {
			t.Fatalf("under maintenance: %v", err)
		}
		if took := time.Since(began); took > patience/4 {
			t.Errorf("it took %s to hear that", took)
		}
	}
	if got, err := b.ask(relay.ToVersion("2.0.0")); got != "2.0.0" || err != nil {
		t.Errorf("privately answered by %q, %v", got, err)
	}
	waited := make(chan string, 1)
	go func() {
		got, _ := b.ask(relay.AwaitMaintenance()) // an error shows in the answer
		waited <- got
	}()
	again, err := b.Open(t.Context(), closing)
	b.must(err)
	if again.Revision != closed.Revision {
		t.Errorf("closed twice, the second time as revision %d, the first as %d", again.Revision, closed.Revision)
	}
	b.open(gate.Order{Service: "todos", Version: "2.0.0", Rollout: "r2", Sequence: 1, Replaces: first, Instances: 1})
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("answered by %q, %v", got, err)
	}
	if got := <-waited; got != "2.0.0" {
		t.Errorf("who waited was answered by %q", got)
	}
	if r := b.route("todos"); r.String() != "2.0.0 online" || r.Maintenance != nil {
		t.Errorf("the route is %s", r)
	}
	_ = protocol.StateOnline
}
