package gate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/gate"
)

// followed tells what a gate tells of routes, until the test ends.
func followed(t *testing.T, g *gate.Gate) <-chan string {
	t.Helper()
	told := make(chan string, 100)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- g.Follow(ctx, func(r gate.Route) error {
			told <- r.Service + " " + r.String()
			return nil
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("follow: %v", err)
		}
	})
	return told
}

func mustBeTold(t *testing.T, told <-chan string, want string) {
	t.Helper()
	select {
	case got := <-told:
		if got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	case <-time.After(patience):
		t.Fatalf("%q was not told within %s", want, patience)
	}
}

func TestFollowTellsWhatIsAndWhatComes(t *testing.T) {
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	cable := b.bus.Cable()
	g, err := gate.Make(t.Context(), gate.Config{Conn: b.bus.ConnectTo(cable.URL()).Conn()})
	b.must(err)
	told := followed(t, g)
	mustBeTold(t, told, "todos 1.0.0 online")
	first = b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Replaces: first, RetryAfter: time.Second})
	mustBeTold(t, told, "todos 1.0.0 online, under maintenance")

	// After a loss of the bus it is the newest that counts.
	cable.Hold()
	b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r3", Replaces: first})
	b.open(gate.Order{Service: "web", Version: "3.0.0", Rollout: "r3"})
	cable.Cut()
	cable.Release()
	heard := map[string]bool{}
	for range 2 {
		select {
		case route := <-told:
			heard[route] = true
		case <-time.After(patience):
			t.Fatalf("heard only %v within %s", heard, patience)
		}
	}
	if !heard["todos 1.0.0 online"] || !heard["web 3.0.0 online"] {
		t.Errorf("heard %v", heard)
	}
}

func TestFollowEndsWithTheErrorOfWhoIsTold(t *testing.T) {
	b := newBench(t)
	b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	enough := errors.New("enough")
	if err := b.Follow(t.Context(), func(gate.Route) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("error %v", err)
	}
}

// What somebody else has had written in place of a route, such as the answer of a server, is
// replaced by the route before, where that is known; instances go by that one all the time.
func TestWhatIsNoRouteIsReplacedByTheRouteBefore(t *testing.T) {
	for _, garbage := range []string{`{"type":"io.nats.jetstream.api.v1.stream_msg_get_response"}`, `{"service":"web","versions":[]}`, "{", ""} {
		b := newBench(t)
		b.bus.Serve(says("1.0.0"))
		revision := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
		told := followed(t, b.Gate)
		mustBeTold(t, told, "todos 1.0.0 online")
		b.writeRoute(garbage)
		mustBeTold(t, told, "todos 1.0.0 online")
		r, err := b.Gate.Route(t.Context(), "todos")
		b.must(err)
		if r.Revision != revision+2 || r.Rollout != "r1" {
			t.Errorf("after %q the route is %+v", garbage, r)
		}
		b.writeRoute(garbage)
		r, err = b.Gate.Route(t.Context(), "todos") // also before that is heard
		b.must(err)
		if r.Revision != revision+4 || r.String() != "1.0.0 online" {
			t.Errorf("after %q the route is %+v", garbage, r)
		}
		b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Instances: 1, Replaces: r.Revision})

		b.writeRoute(garbage)
		stranger, err := gate.Make(t.Context(), gate.Config{Conn: b.bus.Connect().Conn()})
		b.must(err)
		if r, err = stranger.Route(t.Context(), "todos"); err != nil || r.Revision < revision+4 || r.Service != "todos" {
			t.Errorf("who does not know the route before reads %+v, %v", r, err)
		}
	}
}
