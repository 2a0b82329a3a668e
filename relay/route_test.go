package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestAServiceIsInProductionWhileItsRouteSaysSo(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	confirmed.await(0, protocol.StateOffline)
	if _, err := ask(t, r, "todos.say"); !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("without a route: %v", err)
	}
	steps := []struct {
		versions string
		state    protocol.VersionState
	}{
		{"", protocol.StateOffline},
		{"0.0.2 online", protocol.StateOffline},
		{"0.0.1 online", protocol.StateOnline},
		{"0.0.1 online, 0.0.2 standby", protocol.StateOnline},
		{"0.0.2 online", protocol.StateOffline},
		{"0.0.2 online, 0.0.1 standby", protocol.StateStandby},
		{"0.0.1 online", protocol.StateOnline},
		{"0.0.1 fenced", protocol.StateFenced},
		{"0.0.1 draining, 0.0.2 online", protocol.StateDraining},
		{"0.0.1 online", protocol.StateOnline},
		{"0.0.1 online", protocol.StateOnline},
		{"", protocol.StateOffline},
	}
	for _, step := range steps {
		revision := route(t, r, "todos", step.versions)
		if got := confirmed.await(revision, step.state); got.Version != "0.0.1" || got.instance == "" {
			t.Errorf("confirmed by %+v", got)
		}
		if step.state == protocol.StateStandby || step.state == protocol.StateFenced {
			continue // it passes requests on, or holds them
		}
		answer, err := ask(t, r, "todos.say")
		if step.state == protocol.StateOnline && (answer != "old" || err != nil) {
			t.Errorf("route %q: answer %q, error %v", step.versions, answer, err)
		}
		if step.state != protocol.StateOnline && !errors.Is(err, relay.ErrNobodyListens) {
			t.Errorf("route %q: answer %q, error %v", step.versions, answer, err)
		}
		if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "old" || err != nil {
			t.Errorf("route %q, privately: answer %q, error %v", step.versions, answer, err)
		}
	}
}

func TestARouteIsFollowedAtOnce(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	route(t, r, "todos", "")
	bus.Serve(says("todos", "0.0.1", ""))
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	fastest := time.Hour
	for range 5 {
		for versions, state := range map[string]protocol.VersionState{"": protocol.StateOffline, "0.0.1 online": protocol.StateOnline} {
			began := time.Now()
			confirmed.await(route(t, r, "todos", versions), state)
			fastest = min(fastest, time.Since(began))
		}
	}
	if fastest > protocol.ConfirmEvery/4 {
		t.Errorf("the fastest of ten changes was confirmed after %s: it was not told, it was found", fastest)
	}
}

func TestMessagesOfFourTokensAreRouted(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	messages := []string{"a", "a.b", "a.b.c", "a.b.c.D_-4"}
	handlers := make(map[string]relay.Handler)
	for _, message := range messages {
		handlers[message] = func(_ context.Context, m *relay.Message) (any, error) { return m.Name, nil }
	}
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: handlers})
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	for _, message := range messages {
		if answer, err := ask(t, r, "todos."+message); answer != message || err != nil {
			t.Errorf("%s in production: %q, %v", message, answer, err)
		}
		if answer, err := ask(t, r, "todos."+message, relay.ToVersion("0.0.1")); answer != message || err != nil {
			t.Errorf("%s privately: %q, %v", message, answer, err)
		}
	}
}

func TestInstancesOfTwoVersionsFollowOneRoute(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	bus.Serve(says("todos", "0.0.2", "new"))
	for _, online := range []string{"0.0.1", "0.0.2", "0.0.1"} {
		revision := route(t, r, "todos", online+" online")
		states := make(map[string]protocol.VersionState)
		for len(states) < 2 {
			c := receive(t, confirmed.heard, "confirmations of both")
			if c.Revision == revision {
				states[c.Version] = c.State
			}
		}
		want := map[string]string{"0.0.1": "old", "0.0.2": "new"}[online]
		for range 20 {
			if answer, err := ask(t, r, "todos.say"); answer != want || err != nil {
				t.Fatalf("%s is online, answer %q, error %v", online, answer, err)
			}
		}
	}
}

func TestAConfirmationIsRepeatedWhileTheInstanceLives(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	bus.Serve(says("todos", "0.0.1", ""))
	confirmed := listenToConfirmations(t, r, "todos")
	first := confirmed.await(0, protocol.StateOffline)
	second := confirmed.await(0, protocol.StateOffline)
	if first != second {
		t.Errorf("confirmed %+v, then %+v", first, second)
	}
}

func TestAnUnreadableRouteChangesNothing(t *testing.T) {
	server := relaytest.Start(t)
	caller := server.Connect()
	confirmed := listenToConfirmations(t, caller, "todos")
	book, log := newLogbook(t)
	r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL(), Logger: log})
	must(t, err)
	defer r.Close()
	it := serve(t, r, says("todos", "0.0.1", "still here"))
	confirmed.await(route(t, caller, "todos", "0.0.1 online"), protocol.StateOnline)

	ctx := within(t, patience)
	kv, err := bus.Make(ctx, caller.Conn(), bus.Routes, "", 1)
	must(t, err)
	_, err = kv.PutString(ctx, "todos", "{")
	must(t, err)
	book.await("route not read, acting on the one before")
	if answer, err := ask(t, caller, "todos.say"); answer != "still here" || err != nil {
		t.Errorf("answer %q, error %v", answer, err)
	}
	confirmed.await(route(t, caller, "todos", ""), protocol.StateOffline)
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

// A service on a bus whose routes are of a newer format than it knows says so and waits: it
// neither follows them nor ends.
func TestRoutesOfANewerFormatAreNotFollowed(t *testing.T) {
	t.Parallel()
	server := relaytest.Start(t)
	caller := server.Connect()
	core, log := observer.New(zap.WarnLevel)
	r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL(), Logger: zap.New(core)})
	must(t, err)
	defer r.Close()

	// Nor does it end when there is no bucket yet, and it says who makes it.
	it := serve(t, r, says("todos", "0.0.1", "here"))
	awaitLog(t, log, "lease not stored, without one no production request is answered", "golive-leases? It is made by golive serve, or golive up")

	ctx := within(t, patience)
	newer := bus.Routes
	newer.Format++
	kv, err := bus.Make(ctx, caller.Conn(), newer, "", 1)
	must(t, err)
	_, err = bus.Make(ctx, caller.Conn(), bus.Leases, "", 1)
	must(t, err)
	_, err = kv.PutString(ctx, "todos", `{"service":"todos","versions":[{"version":"0.0.1","state":"online"}]}`)
	must(t, err)
	awaitLog(t, log, "route not read, acting on the one before", "open bucket golive-routes: its format 2 is of a newer version of golive")
	if answer, err := ask(t, caller, "todos.say"); !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("answer %q, error %v", answer, err)
	}

	setFormat(t, caller, "1")
	eventually(t, "it is online", func() bool {
		answer, err := ask(t, caller, "todos.say")
		return err == nil && answer == "here"
	})
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

// setFormat writes the format into the bucket of routes.
func setFormat(t *testing.T, r *relay.Relay, format string) {
	t.Helper()
	js, err := jetstream.New(r.Conn())
	must(t, err)
	stream, err := js.Stream(within(t, patience), "KV_"+bus.Routes.Name)
	must(t, err)
	c := stream.CachedInfo().Config
	c.Metadata["golive-format"] = format
	_, err = js.UpdateStream(within(t, patience), c)
	must(t, err)
}

// awaitLog waits for a line whose error contains some text.
func awaitLog(t *testing.T, log *observer.ObservedLogs, message, text string) {
	t.Helper()
	eventually(t, message+": "+text, func() bool {
		return slices.ContainsFunc(log.FilterMessage(message).All(), func(e observer.LoggedEntry) bool {
			told, _ := e.ContextMap()["error"].(string)
			return strings.Contains(told, text)
		})
	})
}

// eventually waits until something holds.
func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !holds(); {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("it did not come to this:", what)
		}
	}
}

// hint tells the instances of todos a route, by a message.
func hint(t *testing.T, r *relay.Relay, revision uint64, proof string, to protocol.Route) {
	t.Helper()
	m := nats.NewMsg(protocol.RouteSubject(to.Service))
	m.Header.Set(protocol.HeaderRevision, strconv.FormatUint(revision, 10))
	m.Header.Set(protocol.HeaderProof, proof)
	var err error
	m.Data, err = json.Marshal(to)
	must(t, err)
	must(t, r.Conn().PublishMsg(m))
}

// A hint is acted on as it stands only if it proves that whoever wrote the route before has sent
// it. Any other one makes the instance read its route, and nothing else.
func TestAHintCountsIfItProvesItself(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "here"))
	proof, next := protocol.NewHint()
	at := func(state protocol.VersionState) protocol.Route {
		return protocol.Route{Service: "todos", Versions: []protocol.RouteVersion{{Version: "0.0.1", State: state}}, Next: next}
	}
	revision := writeRoute(t, r, at(protocol.StateOnline))
	confirmed.await(revision, protocol.StateOnline)

	other, _ := protocol.NewHint()
	of := at(protocol.StateOffline)
	of.Service = "web"
	for _, forged := range []func(){
		func() { hint(t, r, revision+1, other, at(protocol.StateOffline)) },
		func() { hint(t, r, revision+1, "", at(protocol.StateOffline)) },
		func() { hint(t, r, revision, proof, at(protocol.StateOffline)) },
		func() { hint(t, r, revision-1, proof, at(protocol.StateOffline)) },
		func() { must(t, r.Conn().Publish(protocol.RouteSubject("todos"), []byte("{"))) },
		func() {
			m := nats.NewMsg(protocol.RouteSubject("todos"))
			m.Header.Set(protocol.HeaderRevision, "99")
			m.Header.Set(protocol.HeaderProof, proof)
			m.Data, _ = json.Marshal(of)
			must(t, r.Conn().PublishMsg(m))
		},
	} {
		forged()
		must(t, r.Conn().Flush())
		if answer, err := ask(t, r, "todos.say"); answer != "here" || err != nil {
			t.Errorf("answer %q, error %v", answer, err)
		}
	}
	if last, heard := confirmed.has(revision + 1); heard {
		t.Errorf("confirmed what was forged: %+v", last)
	}

	eventually(t, "it acts on a hint that is not in the bucket", func() bool {
		hint(t, r, revision+1, proof, at(protocol.StateOffline))
		_, heard := confirmed.has(revision + 1)
		return heard
	})
}
