package relay_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// The greeting of a server that is 2 s away comes after 6 s.
func TestABusThatIsSecondsAwayIsReached(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	b := relaytest.Start(t)
	b.Serve(says("todos", "0.0.1", "here"))
	cable := b.Cable()
	cable.Delay(2 * time.Second)
	c := receive(t, connect(within(t, patience), relay.Config{URL: cable.URL()}), "the connection")
	must(t, c.err)
	defer c.relay.Close()
	if got, err := ask(t, c.relay, "todos.say", relay.ToVersion("0.0.1")); got != "here" || err != nil {
		t.Errorf("from afar it is answered by %q, %v", got, err)
	}
	// A bus that is far away finds its clients alive all the same.
	cable.Delay(1500 * time.Millisecond)
	lost := make(chan struct{}, 1)
	c.relay.Conn().SetDisconnectErrHandler(func(*nats.Conn, error) { lost <- struct{}{} })
	select {
	case <-lost:
		t.Error("the bus has dropped a client that is far away")
	case <-time.After(15 * time.Second):
	}
}

// An instance that is more than a second away from the bus takes part in production: its lease is
// stored and its route is read in the time that answers take. (2 s away, it serves after 40 s.)
func TestAnInstanceThatIsFarAwayServes(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	b := relaytest.Start(t)
	near := b.Connect()
	listenToConfirmations(t, near, "todos")
	route(t, near, "todos", "0.0.1 online")
	cable := b.Cable()
	_, log := newLogbook(t)
	far, err := relay.Connect(within(t, patience), relay.Config{URL: cable.URL(), Logger: log})
	must(t, err)
	t.Cleanup(far.Close)
	cable.Delay(1200 * time.Millisecond)
	serve(t, far, says("todos", "0.0.1", "far"))
	began, tries := time.Now(), time.NewTicker(100*time.Millisecond)
	defer tries.Stop()
	for deadline := time.After(3 * patience); ; {
		got, err := ask(t, near, "todos.say")
		if err == nil && got == "far" {
			break
		}
		select {
		case <-tries.C:
		case <-deadline:
			t.Fatalf("from afar it is answered by %q, %v", got, err)
		}
	}
	t.Logf("it served after %s", time.Since(began))
}

// Who waits for the bus is told why.
func TestTheReasonStandsInTheLineThatTheBusIsWaitedFor(t *testing.T) {
	t.Parallel()
	core, logged := observer.New(zap.InfoLevel)
	ctx, cancel := context.WithCancel(t.Context())
	done := connect(ctx, relay.Config{URL: "nats://secret:word@127.0.0.1:1", Logger: zap.New(core)})
	deadline := time.After(patience)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for logged.FilterMessage("waiting for the bus").Len() == 0 {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatal("nothing was logged")
		}
	}
	line := logged.FilterMessage("waiting for the bus").All()[0].ContextMap()
	if line["url"] != "nats://xxxxx@127.0.0.1:1" || line["error"] != "dial 127.0.0.1:1: connect: connection refused" {
		t.Errorf("the line says %v", line)
	}
	cancel()
	err := receive(t, done, "the error").err
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("the error is %v", err)
	}
	if n := logged.FilterMessage("waiting for the bus").Len(); n != 1 {
		t.Errorf("the same reason was told %d times", n)
	}
}

// silence is how long a relay waits for a server that says nothing.
const silence = 10 * time.Second

// silent listens, and says nothing to whoever comes.
func silent(t *testing.T) (url string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	return "nats://" + listener.Addr().String()
}

// The client would wait for a server's greeting for as long as that may take.
func TestWhoConnectsToASilentServerCanGiveUp(t *testing.T) {
	t.Parallel()
	for _, patient := range []time.Duration{100 * time.Millisecond, 700 * time.Millisecond} {
		core, logged := observer.New(zap.InfoLevel)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patient)
		defer cancel()
		url := silent(t)
		c := receive(t, connect(ctx, relay.Config{URL: url + "," + silent(t), Logger: zap.New(core)}), "the error")
		if !errors.Is(c.err, context.DeadlineExceeded) || !strings.HasPrefix(c.err.Error(), "connect to "+url) {
			t.Errorf("the error is %v", c.err)
		}
		if took := time.Since(began); took > patient+silence/2 {
			t.Errorf("it took %s to give up after %s", took, patient)
		}
		if logged.FilterMessage("waiting for the bus").Len() == 0 && patient > 500*time.Millisecond {
			t.Errorf("that the bus is waited for is not told within %s", patient)
		}
	}
}

func TestClosingDoesNotWaitForASilentServer(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	cable := b.Cable()
	for _, closed := range []func(*relay.Relay){
		(*relay.Relay).Close,
		func(r *relay.Relay) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if err := r.Drain(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("drained, and the error is %v", err)
			}
		},
	} {
		book, log := newLogbook(t)
		r, err := relay.Connect(within(t, patience), relay.Config{URL: cable.URL(), Logger: log})
		must(t, err)
		cable.Hold()
		cable.Cut()
		book.await("bus lost")
		began := time.Now()
		closed(r)
		if took := time.Since(began); took > silence/2 {
			t.Errorf("closing took %s", took)
		}
		cable.Release()
	}
}
