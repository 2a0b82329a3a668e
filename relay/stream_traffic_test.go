package relay_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// gatedNumbers is numbers(n), that sends no more than half of them before its context
// ends.
func gatedNumbers(n int) relay.StreamHandler {
	return func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
		for i := 1; i <= n/2; i++ {
			if err := out.Send(i, strconv.Itoa(i)); err != nil {
				return err
			}
		}
		<-ctx.Done()
		return context.Cause(ctx)
	}
}

func TestACutoverEndsAStreamThatIsTakenUpAgainAtTheNewVersion(t *testing.T) {
	t.Parallel()
	const n = 1000
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	h, ended := handled(gatedNumbers(n))
	bus.Serve(streams("0.0.1", h))
	bus.Serve(streams("0.0.2", numbers(n)))
	revision := route(t, r, "todos", "0.0.1 online, 0.0.2 standby")
	confirmed.await(revision, protocol.StateOnline)
	confirmed.awaitOther(revision, protocol.StateStandby)

	var got []int
	var cursor string
	var last error
	for record, err := range r.Stream(within(t, patience), "todos.list", nil) {
		if last = err; err != nil {
			break
		}
		got, cursor = append(got, len(got)+1), record.Cursor
		if len(got) == n/2 { // all that the old version sends
			confirmed.await(route(t, r, "todos", "0.0.1 fenced, 0.0.2 standby"), protocol.StateFenced)
			if err := receive(t, ended, "the end of the handler"); err == nil || !strings.Contains(err.Error(), "traffic moves") {
				t.Errorf("the handler's error: %v", err)
			}
		}
	}
	var reason *relay.Error
	if !errors.Is(last, relay.ErrStreamLost) || !errors.As(last, &reason) || reason.Code != relay.CodeUnavailable {
		t.Errorf("error %v", last)
	}
	type end struct {
		got []int
		err error
	}
	ends := make(chan end)
	go func() {
		rest, _, err := collect(t, r, relay.After(cursor))
		ends <- end{rest, err}
	}()
	awaitHeld(t, r, 1)
	route(t, r, "todos", "0.0.1 fenced, 0.0.2 online")
	route(t, r, "todos", "0.0.1 draining, 0.0.2 online")
	rest := receive(t, ends, "the rest")
	if all := append(got, rest.got...); rest.err != nil || !slices.Equal(all, upTo(1, n)) {
		t.Errorf("%d records, then %d, error %v", len(got), len(rest.got), rest.err)
	}
}

func TestAStreamIsForwardedByStandby(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(streams("0.0.1", numbers(100)))
	bus.Serve(streams("0.0.2", numbers(7)))
	revision := route(t, r, "todos", "0.0.1 online, 0.0.2 standby")
	confirmed.await(revision, protocol.StateStandby)
	confirmed.awaitOther(revision, protocol.StateOnline)
	for range 20 { // both get their share, and one of them answers
		got, _, err := collect(t, r, relay.After("90"))
		if err != nil || !slices.Equal(got, upTo(91, 100)) {
			t.Fatalf("%v, error %v", got, err)
		}
	}
	if got, _, err := collect(t, r, relay.ToVersion("0.0.2")); len(got) != 7 || err != nil {
		t.Errorf("of a version: %v, error %v", got, err)
	}
}

func TestStreamsAndMaintenance(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	h, ended := handled(gatedNumbers(10))
	bus.Serve(streams("0.0.1", h))
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	maintain := protocol.Route{
		Service: "todos", Versions: []protocol.RouteVersion{{Version: "0.0.1", State: protocol.StateOnline}},
		Maintenance: &protocol.Maintenance{Since: time.Now(), RetryAfter: protocol.Duration(7 * time.Second)},
	}
	n := 0
	var last error
	for _, err := range r.Stream(within(t, patience), "todos.list", nil) {
		if last = err; err != nil {
			break
		}
		if n++; n == 5 {
			confirmed.await(writeRoute(t, r, maintain), protocol.StateOnline)
		}
	}
	if n != 5 || !errors.Is(last, relay.ErrStreamLost) {
		t.Errorf("%d records, error %v", n, last)
	}
	receive(t, ended, "the end of the handler")
	var answered *relay.Error
	if _, _, err := collect(t, r); !errors.Is(err, relay.ErrMaintenance) || !errors.As(err, &answered) || answered.RetryAfter != 7*time.Second {
		t.Errorf("under maintenance: %v", err)
	}
	observer := bus.Connect().Conn()
	asked, err := observer.SubscribeSync("todos.list")
	must(t, err)
	must(t, observer.Flush())
	begun := make(chan error)
	go func() {
		var last error
		for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.AwaitMaintenance()) {
			last = err
			break
		}
		begun <- last
	}()
	_, err = asked.NextMsg(patience)
	must(t, err)
	_, err = asked.NextMsg(patience) // it was refused, and asks again
	must(t, err)
	route(t, r, "todos", "0.0.1 online")
	must(t, receive(t, begun, "the first record"))
}

func TestAnInstanceThatStopsEndsItsStreamsAtOnce(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	h, ended := handled(untilCut)
	s := streams("0.0.1", h)
	s.DrainTimeout = time.Hour
	it := serve(t, bus.Connect(), s)
	awaitPrivate(t, r)
	var last error
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		if last = err; err == nil {
			it.stop()
		}
	}
	if !errors.Is(last, relay.ErrStreamLost) || !strings.Contains(last.Error(), "the instance stops") {
		t.Errorf("the receiver's error: %v", last)
	}
	if err := receive(t, ended, "the end of the handler"); err == nil || err.Error() != "the instance stops" {
		t.Errorf("the handler's: %v", err)
	}
	must(t, receive(t, it.ended, "the end of Serve"))
	r.Close()
}

// An instance that is cut off may not send a thing from when another may have taken over.
func TestAStreamEndsWithTheLease(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	cable := bus.Cable()
	sent := make(chan bool)
	var cut atomic.Bool
	s := streams("0.0.1", func(ctx context.Context, _ *relay.Message, out *relay.Sender) error {
		for i := 1; ; i++ {
			if cut.Load() {
				select {
				case <-ctx.Done():
					return context.Cause(ctx)
				case sent <- true:
				}
			}
			if err := out.Send(i, strconv.Itoa(i)); err != nil {
				return err
			}
		}
	})
	h, ended := handled(s.Streams["list"])
	s.Streams["list"], s.Lease = h, relay.MinLease
	it := serve(t, bus.ConnectTo(cable.URL()), s)
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	var last error
	for _, err := range r.Stream(within(t, patience), "todos.list", nil) {
		if last = err; err == nil && !cut.Swap(true) {
			cable.Hold()
			if err := receive(t, ended, "the end of the handler"); err == nil || !strings.Contains(err.Error(), "cut off") {
				t.Errorf("the handler's error: %v", err)
			}
			cable.Release()
		}
	}
	if !errors.Is(last, relay.ErrStreamLost) {
		t.Errorf("the receiver's error: %v", last)
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

func TestNoMoreStreamsAtOnceThanAllowed(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(streams("0.0.1", untilCut))
	r := bus.Connect()
	ctx, cancel := context.WithCancel(within(t, patience))
	defer cancel()
	begun, ended := make(chan error), make(chan bool)
	for range relay.MaxStreams {
		go func() {
			for _, err := range r.Stream(ctx, "todos.list", nil, relay.ToVersion("0.0.1")) {
				if ctx.Err() == nil {
					begun <- err
				}
			}
			ended <- true
		}()
	}
	for range relay.MaxStreams {
		must(t, receive(t, begun, "a stream"))
	}
	_, _, err := collect(t, r, relay.ToVersion("0.0.1"))
	var answered *relay.Error
	if !errors.As(err, &answered) || answered.Code != relay.CodeUnavailable || !strings.Contains(answered.Message, "streams already") {
		t.Errorf("one more: %v", err)
	}
	cancel()
	for range relay.MaxStreams {
		receive(t, ended, "the end of a stream")
	}
}

func TestStreamsLeaveNothingBehind(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	stop := bus.Serve(streams("0.0.1", forEver))
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		break
	}
	stop()
	mustHaveNoStream(t)
}

func mustHaveNoStream(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		left := goroutines(t, "relay.(*Sender)", "relay.(*receiver)")
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("goroutines were left behind:\n%s", strings.Join(left, "\n\n"))
		}
	}
}

// From server to server it is the same, and so is the word that the other side is gone.
func TestAStreamThroughACluster(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	c := relaytest.StartCluster(t, 3)
	service, r := connectTo(t, c.URLs()[0]), connectTo(t, c.URLs()[1])
	var h atomic.Value
	h.Store(numbers(50_000))
	it := serve(t, service, streams("0.0.1", func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
		return h.Load().(relay.StreamHandler)(ctx, m, out)
	}))
	awaitPrivate(t, r)
	if got, _, err := collect(t, r, relay.ToVersion("0.0.1")); len(got) != 50_000 || err != nil {
		t.Errorf("%d records, error %v", len(got), err)
	}
	left, ended := handled(forEver)
	h.Store(left)
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		r.Close() // and not another word
		break
	}
	if err := receive(t, ended, "the end of the handler"); err == nil {
		t.Error("the handler ended without an error")
	}
	r = connectTo(t, c.URLs()[1])
	h.Store(relay.StreamHandler(untilCut))
	var last error
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		if last = err; err == nil {
			service.Close()
		}
	}
	if !errors.Is(last, relay.ErrStreamLost) {
		t.Errorf("error %v", last)
	}
	it.stop()
	receive(t, it.ended, "the end of Serve") // its relay is closed
}
