package relay_test

import (
	"context"
	"encoding/json"
	"os"
	"runtime/pprof"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// soon is how long something may take that must happen at once, on a busy machine.
const soon = 900 * time.Millisecond

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within gives a context for what must happen in time.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// receive waits for a value.
func receive[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		t.Fatalf("%s: nothing within %s", what, patience)
		panic("not reached")
	}
}

// serving runs Serve until its context ends.
type serving struct {
	stop  context.CancelFunc
	ended chan error
}

func serve(t *testing.T, r *relay.Relay, s relay.Service) *serving {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	it := &serving{stop: cancel, ended: make(chan error, 1)}
	go func() { it.ended <- r.Serve(ctx, s) }()
	t.Cleanup(cancel)
	return it
}

// confirmations are what the instances of a service confirm.
type confirmations struct {
	t       *testing.T
	service string
	heard   chan confirmation
}

type confirmation struct {
	protocol.Confirmation
	instance string
}

// listenToConfirmations listens, and makes the bucket of routes as an orchestrator
// does.
func listenToConfirmations(t *testing.T, r *relay.Relay, service string) *confirmations {
	t.Helper()
	_, _, err := bus.MakeRoutes(within(t, patience), r.Conn(), "", 1)
	must(t, err)
	c := &confirmations{t: t, service: service, heard: make(chan confirmation, 1000)}
	_, err = r.Conn().Subscribe(protocol.ConfirmSubject(service, "*"), func(m *nats.Msg) {
		var got protocol.Confirmation
		_, instance, ok := protocol.ParseConfirmSubject(m.Subject)
		if err := json.Unmarshal(m.Data, &got); err != nil || !ok {
			t.Errorf("confirmation %s on %s: %v", m.Data, m.Subject, err)
			return
		}
		c.heard <- confirmation{got, instance}
	})
	must(t, err)
	must(t, r.Conn().Flush())
	return c
}

// await waits until an instance confirms a revision and state.
func (c *confirmations) await(revision uint64, state protocol.VersionState) confirmation {
	c.t.Helper()
	var last confirmation
	deadline := time.After(patience)
	for {
		select {
		case last = <-c.heard:
			if last.Revision == revision && last.State == state {
				return last
			}
		case <-deadline:
			c.t.Fatalf("nobody confirmed revision %d of %s as %s within %s, the last was %+v", revision, c.service, state, patience, last)
		}
	}
}

// awaitOther is await, for a service of which others have confirmed: revision 0 is any.
func (c *confirmations) awaitOther(revision uint64, state protocol.VersionState) confirmation {
	c.t.Helper()
	for {
		last := c.next()
		if (revision == 0 || last.Revision == revision) && last.State == state {
			return last
		}
	}
}

// awaitAny waits until an instance confirms a revision in whatever state.
func (c *confirmations) awaitAny(revision uint64) confirmation {
	c.t.Helper()
	for {
		if last := c.next(); last.Revision == revision {
			return last
		}
	}
}

func (c *confirmations) next() confirmation {
	c.t.Helper()
	return receive(c.t, c.heard, "a confirmation")
}

// has reports whether a revision has been confirmed so far.
func (c *confirmations) has(revision uint64) (confirmation, bool) {
	for {
		select {
		case last := <-c.heard:
			if last.Revision == revision {
				return last, true
			}
		default:
			return confirmation{}, false
		}
	}
}

// route writes the route of a service, "0.0.1 online, 0.0.2 standby", and gives its
// revision.
func route(t *testing.T, r *relay.Relay, service, versions string) uint64 {
	t.Helper()
	route := protocol.Route{Service: service, Rollout: "test", Versions: []protocol.RouteVersion{}}
	for text := range strings.SplitSeq(versions, ",") {
		version, state, found := strings.Cut(strings.TrimSpace(text), " ")
		if found {
			route.Versions = append(route.Versions, protocol.RouteVersion{Version: version, State: protocol.VersionState(state)})
		}
	}
	return writeRoute(t, r, route)
}

func writeRoute(t *testing.T, r *relay.Relay, route protocol.Route) uint64 {
	t.Helper()
	ctx := within(t, patience)
	kv, _, err := bus.MakeRoutes(ctx, r.Conn(), "", 1)
	must(t, err)
	data, err := json.Marshal(route)
	must(t, err)
	revision, err := kv.Put(ctx, route.Service, data)
	must(t, err)
	must(t, r.Conn().Publish(protocol.RouteSubject(route.Service), nil))
	return revision
}

// ask sends a request for a text.
func ask(t *testing.T, r *relay.Relay, name string, opts ...relay.RequestOption) (string, error) {
	t.Helper()
	var answer string
	err := r.Request(within(t, patience), name, nil, &answer, opts...)
	return answer, err
}

// says is a service with one message, "say", that is answered with text.
func says(name, version, text string) relay.Service {
	return relay.Service{Name: name, Version: version, Handlers: map[string]relay.Handler{
		"say": func(context.Context, *relay.Message) (any, error) { return text, nil },
	}}
}

// logbook is a logger whose lines a test can wait for.
type logbook struct {
	t     *testing.T
	lines chan zapcore.Entry
}

func newLogbook(t *testing.T) (*logbook, *zap.Logger) {
	b := &logbook{t: t, lines: make(chan zapcore.Entry, 1000)}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.AddSync(testOutput{t}), zapcore.DebugLevel)
	return b, zap.New(core, zap.Hooks(func(e zapcore.Entry) error {
		b.lines <- e
		return nil
	}))
}

type testOutput struct{ t *testing.T }

func (o testOutput) Write(p []byte) (int, error) {
	o.t.Log(strings.TrimSpace(string(p)))
	return len(p), nil
}

// await waits for a line.
func (b *logbook) await(message string) {
	b.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case e := <-b.lines:
			if e.Message == message {
				return
			}
		case <-deadline:
			b.t.Fatalf("%q was not logged within %s", message, patience)
		}
	}
}

// all gives the lines that were logged and not waited for.
func (b *logbook) all() []string {
	var all []string
	for {
		select {
		case e := <-b.lines:
			all = append(all, e.Message)
		default:
			return all
		}
	}
}

// startServer starts a server that a test can stop and start again.
func startServer(t *testing.T, data, address string) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Data: data, Listen: address, Unsynced: true})
	must(t, err)
	t.Cleanup(func() { stopServer(t, s) })
	return s
}

func stopServer(t *testing.T, s *embedded.Server) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func address(s *embedded.Server) string { return strings.TrimPrefix(s.URL(), "nats://") }

// mustLeaveNothing fails the test unless all goroutines of relays end in time.
func mustLeaveNothing(t *testing.T) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		left := goroutines(t, "golive/relay.", "nats-io/nats.go")
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

// goroutines are those that run any of these.
func goroutines(t *testing.T, any ...string) (found []string) {
	t.Helper()
	var text strings.Builder
	must(t, pprof.Lookup("goroutine").WriteTo(&text, 1))
	for _, stack := range strings.Split(text.String(), "\n\n") {
		if slices.ContainsFunc(any, func(part string) bool { return strings.Contains(stack, part) }) {
			found = append(found, stack)
		}
	}
	return found
}

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(play(role))
	}
	relaytest.Parallel(6)
	os.Exit(m.Run())
}
