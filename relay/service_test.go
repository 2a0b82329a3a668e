package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestAServiceThatIsNotCompleteIsRefused(t *testing.T) {
	r := relaytest.Start(t).Connect()
	say := says("todos", "0.0.1", "").Handlers
	tests := []struct {
		service relay.Service
		why     string
	}{
		{relay.Service{}, `service: name "" must not be empty`},
		{relay.Service{Name: "Todos", Version: "0.0.1", Handlers: say}, `service: name "Todos" may hold only lower-case letters, digits and hyphens`},
		{relay.Service{Name: "todos", Handlers: say}, `service todos: version "" must not be empty`},
		{relay.Service{Name: "todos", Version: "1", Handlers: say}, `service todos: version "1" must be a SemVer 2.0 version such as 1.0.0 or 1.0.0-rc.1+build.5`},
		{relay.Service{Name: "todos", Version: "0.0.1"}, "service todos 0.0.1: Handlers is empty: give a handler for each message"},
		{
			relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{"a b": say["say"]}},
			`service todos 0.0.1: message "a b" must be tokens of letters, digits, _ and -, joined by dots`,
		},
		{
			relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{"say": nil}},
			"service todos 0.0.1: the handler of say is nil: give a function",
		},
		{
			relay.Service{Name: "todos", Version: "0.0.1", Handlers: say, Concurrency: -1},
			"service todos 0.0.1: Concurrency, DrainTimeout and MaxHeld must not be negative: 0 is their default",
		},
		{
			relay.Service{Name: "todos", Version: "0.0.1", Handlers: say, DrainTimeout: -1},
			"service todos 0.0.1: Concurrency, DrainTimeout and MaxHeld must not be negative: 0 is their default",
		},
	}
	for _, tt := range tests {
		if err := r.Serve(t.Context(), tt.service); err == nil || err.Error() != tt.why {
			t.Errorf("error %v, want %s", err, tt.why)
		}
	}
}

// info asks the instances of a service what they are, as `nats micro info` does.
func info(t *testing.T, r *relay.Relay, service string) micro.Info {
	t.Helper()
	m, err := r.Conn().Request("$SRV.INFO."+service, nil, patience)
	must(t, err)
	var i micro.Info
	must(t, json.Unmarshal(m.Data, &i))
	return i
}

func TestAServiceShowsItselfToNATS(t *testing.T) {
	bus := relaytest.Start(t)
	s := says("todos", "1.0.0-rc.1+build.5", "")
	s.Metadata = map[string]string{"url": "http://localhost:8080"}
	bus.Serve(s)
	i := info(t, bus.Connect(), "todos")
	if i.Name != "todos" || i.Version != s.Version || i.Metadata["url"] != "http://localhost:8080" || i.Metadata["golive-instance"] == "" {
		t.Errorf("it says %+v", i)
	}
	if len(i.Endpoints) != 1 || i.Endpoints[0].Name != "say" || i.Endpoints[0].QueueGroup != "todos" ||
		i.Endpoints[0].Subject != protocol.PrivateSubject("todos", s.Version, "say") {
		t.Errorf("its endpoints are %+v", i.Endpoints)
	}
}

func TestMessagesThatLookAlikeAreKeptApart(t *testing.T) {
	messages := []string{"a.b", "a-b", "a_b", "a.b_", "a_b_", "a", "a.b.c.d"}
	handlers := make(map[string]relay.Handler)
	for _, message := range messages {
		handlers[message] = func(context.Context, *relay.Message) (any, error) { return message, nil }
	}
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: handlers})
	r := bus.Connect()
	endpoints := make(map[string]bool)
	for _, e := range info(t, r, "todos").Endpoints {
		endpoints[e.Name] = true
	}
	if len(endpoints) != len(messages) {
		t.Errorf("%d messages are shown as %v", len(messages), endpoints)
	}
	for _, message := range messages {
		if answer, err := ask(t, r, "todos."+message, relay.ToVersion("0.0.1")); answer != message || err != nil {
			t.Errorf("%s answered %q, %v", message, answer, err)
		}
	}
}

func TestInstancesShareTheLoad(t *testing.T) {
	const requests = 300
	for name, opts := range map[string][]relay.RequestOption{"privately": {relay.ToVersion("0.0.1")}, "in production": nil} {
		t.Run(name, func(t *testing.T) {
			bus := relaytest.Start(t)
			r := bus.Connect()
			confirmed := listenToConfirmations(t, r, "todos")
			revision := route(t, r, "todos", "0.0.1 online")
			var counts [2]atomic.Int64
			online := make(map[string]bool)
			for n := range counts {
				bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
					"say": func(context.Context, *relay.Message) (any, error) { return counts[n].Add(1), nil },
				}})
			}
			for len(online) < len(counts) {
				online[confirmed.await(revision, protocol.StateOnline).instance] = true
			}
			for range requests {
				must(t, r.Request(within(t, patience), "todos.say", nil, nil, opts...))
			}
			a, b := counts[0].Load(), counts[1].Load()
			if a == 0 || b == 0 || a+b != requests {
				t.Errorf("one got %d, the other %d of %d requests", a, b, requests)
			}
		})
	}
}

func TestNoMoreMessagesAreHandledAtOnceThanAllowed(t *testing.T) {
	const allowed, requests = 3, 20
	bus := relaytest.Start(t)
	var now, most atomic.Int64
	full := make(chan bool, requests)
	proceed := make(chan struct{})
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Concurrency: allowed, Handlers: map[string]relay.Handler{
		"say": func(context.Context, *relay.Message) (any, error) {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
				continue // another handler was faster
			}
			if n == allowed {
				full <- true
			}
			<-proceed
			return nil, nil
		},
	}})
	r := bus.Connect()
	var asking sync.WaitGroup
	for range requests {
		asking.Go(func() {
			if err := r.Request(within(t, patience), "todos.say", nil, nil, relay.ToVersion("0.0.1")); err != nil {
				t.Error(err)
			}
		})
	}
	receive(t, full, "as many as allowed")
	close(proceed)
	asking.Wait()
	if n := most.Load(); n > allowed {
		t.Errorf("%d were handled at once, want at most %d", n, allowed)
	}
}

func TestHandlersThatBlockHoldUpNobody(t *testing.T) {
	const concurrency = 4
	bus := relaytest.Start(t)
	begun, proceed := make(chan bool, concurrency), make(chan struct{})
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Concurrency: concurrency, Handlers: map[string]relay.Handler{
		"wait": func(context.Context, *relay.Message) (any, error) { begun <- true; <-proceed; return "done", nil },
		"say":  func(context.Context, *relay.Message) (any, error) { return "at once", nil },
	}})
	r := bus.Connect()
	var waiting []<-chan string
	for range concurrency - 1 {
		waiting = append(waiting, later(t, r, "todos.wait", relay.ToVersion("0.0.1")))
	}
	for range waiting {
		receive(t, begun, "a handler that blocks")
	}
	for range 100 {
		if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "at once" || err != nil {
			t.Fatalf("answer %q, error %v", answer, err)
		}
	}
	close(proceed)
	for _, answered := range waiting {
		if answer := receive(t, answered, "an answer"); answer != "done" {
			t.Errorf("answered %q", answer)
		}
	}
}

// slow is a service whose message "say" is answered once proceed is closed, one at a
// time; begun tells of each that was begun with.
func slow(begun chan<- bool, proceed <-chan struct{}) relay.Service {
	return relay.Service{Name: "todos", Version: "0.0.1", Concurrency: 1, Handlers: map[string]relay.Handler{
		"say": func(ctx context.Context, _ *relay.Message) (any, error) {
			begun <- true
			select {
			case <-proceed:
				return "done", nil
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		},
	}}
}

// burst sends requests and gives the subscription to their answers, once all requests
// have reached the server.
func burst(t *testing.T, r *relay.Relay, subject string, requests int) *nats.Subscription {
	t.Helper()
	inbox := r.Conn().NewInbox()
	answers, err := r.Conn().SubscribeSync(inbox)
	must(t, err)
	for range requests {
		must(t, r.Conn().PublishRequest(subject, inbox, nil))
	}
	must(t, r.Conn().Flush())
	return answers
}

func TestWhatWasTakenBeforeTheStopIsAnswered(t *testing.T) {
	const requests = 100
	for name, subject := range map[string]string{
		"privately":     protocol.PrivateSubject("todos", "0.0.1", "say"),
		"in production": protocol.ProductionSubject("todos", "say"),
	} {
		t.Run(name, func(t *testing.T) {
			bus := relaytest.Start(t)
			r := bus.Connect()
			confirmed := listenToConfirmations(t, r, "todos")
			begun, proceed := make(chan bool, requests), make(chan struct{})
			it := serve(t, bus.Connect(), slow(begun, proceed))
			confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)

			answers := burst(t, r, subject, requests)
			receive(t, begun, "the first message")
			it.stop()
			close(proceed)
			for n := range requests {
				m, err := answers.NextMsg(patience)
				if err != nil || string(m.Data) != `"done"` {
					t.Fatalf("answer %d of %d: %v, error %v", n+1, requests, m, err)
				}
			}
			must(t, receive(t, it.ended, "the end of Serve"))
			if _, err := ask(t, r, "todos.say"); !errors.Is(err, relay.ErrNobodyListens) {
				t.Errorf("in production after the stop: %v", err)
			}
			if _, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); !errors.Is(err, relay.ErrNobodyListens) {
				t.Errorf("privately after the stop: %v", err)
			}
		})
	}
}

func TestHandlersThatTakeTooLongAreEnded(t *testing.T) {
	const requests = 10
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	begun := make(chan bool, requests)
	s := slow(begun, nil)
	s.DrainTimeout = 50 * time.Millisecond
	it := serve(t, bus.Connect(), s)
	confirmed.await(0, protocol.StateOffline)

	answers := burst(t, r, protocol.PrivateSubject("todos", "0.0.1", "say"), requests)
	receive(t, begun, "the first message")
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
	first, err := answers.NextMsg(patience)
	must(t, err)
	if got := first.Header.Get(protocol.HeaderError); got != "context canceled" {
		t.Errorf("the message that took too long was answered %q, error %q", first.Data, got)
	}
	for n := range requests - 1 {
		m, err := answers.NextMsg(patience)
		must(t, err)
		got := m.Header.Get(protocol.HeaderError)
		if got != "context canceled" && got != "the instance was stopped before it could begin" {
			t.Errorf("message %d, which had to wait, was answered %q, error %q", n+2, m.Data, got)
		}
	}
}

func TestServeEndsWhenItsRelayIsClosed(t *testing.T) {
	bus := relaytest.Start(t)
	book, log := newLogbook(t)
	r, err := relay.Connect(t.Context(), relay.Config{URL: bus.URL(), Logger: log})
	must(t, err)
	caller := bus.Connect()
	confirmed := listenToConfirmations(t, caller, "todos")
	it := serve(t, r, says("todos", "0.0.1", ""))
	confirmed.await(route(t, caller, "todos", "0.0.1 online"), protocol.StateOnline)
	book.await("route")
	r.Close()
	if err := receive(t, it.ended, "the end of Serve"); err == nil || err.Error() != "serve todos 0.0.1: nats: connection closed" {
		t.Errorf("error %v", err)
	}
	if err := r.Serve(t.Context(), says("todos", "0.0.1", "")); !errors.Is(err, nats.ErrConnectionClosed) {
		t.Errorf("on a closed relay: %v", err)
	}
	if lines := book.all(); len(lines) > 0 {
		t.Errorf("it complained: %q", lines)
	}
}

func TestServicesOfOneRelayDoNotMind(t *testing.T) {
	bus := relaytest.Start(t)
	shared := bus.Connect()
	caller := bus.Connect()
	var servings []*serving
	for n := range 3 {
		name := fmt.Sprintf("todos-%d", n)
		confirmed := listenToConfirmations(t, caller, name)
		servings = append(servings, serve(t, shared, says(name, "0.0.1", name)))
		confirmed.await(0, protocol.StateOffline)
	}
	servings[1].stop()
	must(t, receive(t, servings[1].ended, "the end of one"))
	for n, name := range []string{"todos-0", "", "todos-2"} {
		if name == "" {
			continue
		}
		if answer, err := ask(t, caller, name+".say", relay.ToVersion("0.0.1")); answer != name || err != nil {
			t.Errorf("service %d answered %q, %v", n, answer, err)
		}
	}
}

func TestNothingIsLeftBehind(t *testing.T) {
	mustLeaveNothing(t)
	t.Run("serving", func(t *testing.T) {
		bus := relaytest.Start(t)
		r := bus.Connect()
		confirmed := listenToConfirmations(t, r, "todos")
		it := serve(t, bus.Connect(), says("todos", "0.0.1", ""))
		confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
		_, err := ask(t, r, "todos.say")
		must(t, err)
		it.stop()
		must(t, receive(t, it.ended, "the end of Serve"))
	})
	mustLeaveNothing(t)
}

func TestServeEndsAlsoWhileTheBusIsStuck(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	cable := bus.Cable()
	it := serve(t, bus.ConnectTo(cable.URL()), says("todos", "0.0.1", ""))
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	cable.Hold()
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

func TestTheLogTellsTheStory(t *testing.T) {
	bus := relaytest.Start(t)
	book, log := newLogbook(t)
	r, err := relay.Connect(t.Context(), relay.Config{URL: bus.URL(), Logger: log})
	must(t, err)
	caller := bus.Connect()
	confirmed := listenToConfirmations(t, caller, "todos")
	it := serve(t, r, says("todos", "0.0.1", ""))
	confirmed.await(route(t, caller, "todos", "0.0.1 online"), protocol.StateOnline)
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
	r.Close()
	if lines := book.all(); !slices.Equal(lines, []string{"route"}) {
		t.Errorf("an ordinary life logged %q", lines)
	}
}
