package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

const (
	patience  = 30 * time.Second // of everything a test waits for
	heartbeat = time.Second
	resend    = 100 * time.Millisecond
)

// environment is a bus for one test, and what runs on it.
type environment struct {
	t       *testing.T
	connect func() *relay.Relay // a connection of its own, closed when the test ends
	r       *relay.Relay
	nc      *nats.Conn
	client  *api.Client
	log     *zap.Logger
	logs    *observer.ObservedLogs // what all orchestrators have logged

	atSnapshot   func(snapshot.Point)
	gatePatience time.Duration  // of orchestrators to be made; 0: the default
	keep         time.Duration  // of orchestrators to be made
	probe        time.Duration  // of orchestrators to be made; 0: the default
	lease        time.Duration  // of services to be started; 0: the default
	compare      time.Duration  // of orchestrators to be made; 0: the default
	policy       rollout.Policy // of orchestrators to be made
	mask         snapshot.MaskedParts
}

func newEnvironment(t *testing.T) *environment {
	t.Helper()
	return environmentOn(t, relaytest.Start(t).Connect)
}

func environmentOn(t *testing.T, connect func() *relay.Relay) *environment {
	t.Helper()
	kept, logs := observer.New(zap.DebugLevel)
	shown := zaptest.NewLogger(t)
	e := &environment{t: t, connect: connect, logs: logs, log: shown.WithOptions(zap.WrapCore(func(c zapcore.Core) zapcore.Core {
		return zapcore.NewTee(c, kept)
	}))}
	e.r = connect()
	e.nc = e.r.Conn()
	e.client = api.NewClient(e.nc)
	return e
}

func (e *environment) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// run runs a program until the test ends or stop is called, which waits for its end.
func (e *environment) run(what string, program func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- program(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				e.t.Errorf("%s: %v", what, err)
			}
		})
	}
	e.t.Cleanup(stop)
	return stop
}

// orchestrate runs one orchestrator, and returns once it takes commands.
func (e *environment) orchestrate() (stop func()) {
	e.t.Helper()
	o := e.orchestrator(e.connect())
	stop = e.run("orchestrator", o.Run)
	next(e, "readiness", o.Ready())
	return stop
}

func (e *environment) orchestrator(r *relay.Relay) *orchestrator.Orchestrator {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	nc := r.Conn()
	j, err := journal.Make(ctx, nc, 1)
	e.must(err)
	l, err := ledger.Make(ctx, nc, "", 1)
	e.must(err)
	g, err := gate.Make(ctx, gate.Config{Conn: nc, Patience: e.gatePatience})
	e.must(err)
	f, err := fleet.Make(ctx, nc, "", 1)
	e.must(err)
	o, err := orchestrator.New(orchestrator.Config{
		Conn: nc, Journal: j, Ledger: l, Gate: g, Fleet: f, Heartbeat: heartbeat, Resend: resend, Keep: e.keep, Probe: e.probe, Compare: e.compare,
		Policy: e.policy, Mask: e.mask, Snapshots: snapshot.Config{At: e.atSnapshot}, Logger: e.log,
	})
	e.must(err)
	return o
}

// setup runs a setup service.
func (e *environment) setup(s sdk.SetupService) (stop func()) {
	e.t.Helper()
	r := e.connect()
	return e.run("setup service", func(ctx context.Context) error { return s.Run(ctx, r) })
}

// service runs an instance that tells its version, and returns once its private
// address answers.
func (e *environment) service(name, version string) (stop func()) {
	e.t.Helper()
	r := e.connect()
	stop = e.run("service "+name, func(ctx context.Context) error {
		return r.Serve(ctx, relay.Service{Name: name, Version: version, Lease: e.lease, Handlers: map[string]relay.Handler{
			"version": func(context.Context, *relay.Message) (any, error) { return version, nil },
		}})
	})
	asker := e.connect()
	e.until("service "+name+" is up", func() bool {
		return !errors.Is(asker.Request(e.t.Context(), name+".version", nil, nil, relay.ToVersion(version)), relay.ErrNobodyListens)
	})
	return stop
}

// bare listens to a start as a setup service written without our SDK does.
func (e *environment) bare(start string, answer func(nc *nats.Conn, m *nats.Msg)) (stop func()) {
	e.t.Helper()
	nc := e.connect().Conn()
	sub, err := nc.QueueSubscribe(start, start, func(m *nats.Msg) { answer(nc, m) })
	e.must(err)
	e.must(nc.Flush())
	return func() { e.must(sub.Unsubscribe()); e.must(nc.Flush()) }
}

// starts listens to a start as a setup service that leaves the answers to the test.
func (e *environment) starts(start string) <-chan *nats.Msg {
	e.t.Helper()
	heard := make(chan *nats.Msg, 100)
	e.bare(start, func(_ *nats.Conn, m *nats.Msg) { heard <- m })
	return heard
}

// next waits for what comes from a channel.
func next[T any](e *environment, what string, from <-chan T) T {
	e.t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(patience):
		e.t.Fatalf("%s did not come within %s", what, patience)
		panic("unreachable")
	}
}

// until blocks until ok holds.
func (e *environment) until(what string, ok func() bool) {
	e.t.Helper()
	e.untilIn(patience, what, ok)
}

// longPatience is for what is a lot of work.
const longPatience = 4 * patience

func (e *environment) untilIn(patience time.Duration, what string, ok func() bool) {
	e.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			e.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

// answer sends the named answer of a start as a request, and tells what an
// orchestrator made of it.
func (e *environment) answer(subject, id string, attempt int, payload string) protocol.Accepted {
	e.t.Helper()
	m := nats.NewMsg(subject)
	m.Data = []byte(payload)
	if id != "" {
		m.Header.Set(protocol.HeaderRollout, id)
	}
	if attempt > 0 {
		m.Header.Set(protocol.HeaderAttempt, strconv.Itoa(attempt))
	}
	var accepted protocol.Accepted
	reply, err := e.nc.RequestMsg(m, patience)
	e.must(err)
	e.must(json.Unmarshal(reply.Data, &accepted))
	if accepted.Accepted == nil {
		e.t.Fatalf("answer to %s is %s, no orchestrator's", subject, reply.Data)
	}
	return accepted
}

func newID(t *testing.T) string {
	t.Helper()
	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	return id.String()
}

// deploy begins a rollout and gives its id.
func (e *environment) deploy(r rollout.Release) string {
	e.t.Helper()
	id := newID(e.t)
	_, err := e.client.Deploy(e.t.Context(), api.DeployRequest{Rollout: id, Release: r, By: "test"})
	e.must(err)
	return id
}

// retry has the failed steps of a rollout tried again.
func (e *environment) retry(id string) {
	e.t.Helper()
	_, err := e.client.Retry(e.t.Context(), api.RetryRequest{Rollout: id, By: "test"})
	e.must(err)
}

// refused checks that an error is one of the API with this code and words.
func (e *environment) refused(err error, code, words string) {
	e.t.Helper()
	var refusal *protocol.ServiceError
	if !errors.As(err, &refusal) || refusal.Code != code || !strings.Contains(refusal.Message, words) {
		e.t.Errorf("the error is %v, want code %s and %q", err, code, words)
	}
}

func (e *environment) show(id string) api.RolloutStory {
	e.t.Helper()
	story, err := e.client.Show(e.t.Context(), api.RolloutRequest{Rollout: id})
	e.must(err)
	return story
}

// await blocks until the rollout is as ok wants it.
func (e *environment) await(id, what string, ok func(api.RolloutStory) bool) api.RolloutStory {
	e.t.Helper()
	ctx, cancel := context.WithTimeout(e.t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var story api.RolloutStory
	for {
		found, err := e.client.Show(ctx, api.RolloutRequest{Rollout: id})
		if err == nil {
			if story = found; ok(story) {
				return story
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			text, _ := json.MarshalIndent(story, "", " ")
			e.t.Fatalf("rollout %s is not %s within %s (%v): %s", id, what, patience, err, text)
		}
	}
}

func (e *environment) awaitStatus(id string, want rollout.Status) api.RolloutStory {
	e.t.Helper()
	return e.await(id, string(want), func(s api.RolloutStory) bool { return s.Status == want })
}

// running blocks until an attempt of a step runs.
func (e *environment) running(id, step string, attempt int) {
	e.t.Helper()
	e.await(id, "running "+step, func(s api.RolloutStory) bool {
		found, _ := s.Step(step)
		return found.Status == rollout.StepRunning && found.Attempt == attempt
	})
}

// recorder keeps every message that it heard on some subjects, in their order.
type recorder struct {
	e    *environment
	mu   sync.Mutex
	all  []*nats.Msg
	more chan struct{} // closed and replaced with every message
}

func (e *environment) observe(subjects ...string) *recorder {
	e.t.Helper()
	o := &recorder{e: e, more: make(chan struct{})}
	nc := e.connect().Conn()
	arriving := make(chan *nats.Msg, 10_000) // one for all subjects keeps the order
	for _, s := range subjects {
		_, err := nc.ChanSubscribe(s, arriving)
		e.must(err)
	}
	e.must(nc.Flush())
	e.run("observer", func(ctx context.Context) error {
		for {
			select {
			case m := <-arriving:
				o.keep(m)
			case <-ctx.Done():
				return nil
			}
		}
	})
	return o
}

func (o *recorder) keep(m *nats.Msg) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, m)
	close(o.more)
	o.more = make(chan struct{})
}

// count blocks until so many messages were heard.
func (o *recorder) count(n int) {
	o.e.t.Helper()
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		have, more := len(o.all), o.more
		o.mu.Unlock()
		if have >= n {
			return
		}
		select {
		case <-more:
		case <-deadline:
			o.e.t.Fatalf("%d messages were heard within %s, want %d: %v", have, patience, n, o.subjects())
		}
	}
}

// countUnless is count, but gives up when another recorder has heard something: then there were
// fewer.
func (o *recorder) countUnless(n int, other *recorder) {
	o.e.t.Helper()
	deadline := time.After(patience)
	for {
		o.mu.Lock()
		have, more := len(o.all), o.more
		o.mu.Unlock()
		other.mu.Lock()
		over, heard := len(other.all) > 0, other.more
		other.mu.Unlock()
		if have >= n || over {
			return
		}
		select {
		case <-more:
		case <-heard:
		case <-deadline:
			o.e.t.Fatalf("%d messages were heard within %s, want %d: %v", have, patience, n, o.subjects())
		}
	}
}

// heard gives what was heard on a subject so far.
func (o *recorder) heard(subject string) []*nats.Msg {
	found, _ := o.find(subject, nil)
	return found
}

func (o *recorder) find(subject string, ok func(*nats.Msg) bool) ([]*nats.Msg, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var found []*nats.Msg
	for _, m := range o.all {
		if m.Subject == subject && (ok == nil || ok(m)) {
			found = append(found, m)
		}
	}
	return found, o.more
}

// await blocks until a message on subject was heard for which ok holds (nil: any).
func (o *recorder) await(subject string, ok func(*nats.Msg) bool) *nats.Msg {
	o.e.t.Helper()
	deadline := time.After(patience)
	for {
		found, more := o.find(subject, ok)
		if len(found) > 0 {
			return found[0]
		}
		select {
		case <-more:
		case <-deadline:
			o.e.t.Fatalf("nobody heard %s within %s", subject, patience)
		}
	}
}

// subjects lists the subjects of all messages, in the order in which they were heard.
func (o *recorder) subjects() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	var all []string
	for _, m := range o.all {
		all = append(all, m.Subject)
	}
	return all
}

// fact reports whether a message states a fact of the journal.
func fact(m *nats.Msg) bool { return m.Header.Get(protocol.HeaderSequence) != "" }

// ids gives the different message ids of messages.
func ids(messages []*nats.Msg) map[string]bool {
	all := make(map[string]bool)
	for _, m := range messages {
		all[m.Header.Get(protocol.HeaderMessageID)] = true
	}
	return all
}

// steps writes the steps of a rollout in one line each.
func steps(s rollout.State) string {
	var b strings.Builder
	for _, step := range s.All() {
		b.WriteString(step.ID + " " + string(step.Status) + "\n")
	}
	return b.String()
}

// search is the release of the seeds: an app with one service, which has scripts for
// some phases.
func search(phases ...protocol.Phase) rollout.Release {
	return rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "todo-search", Version: "0.0.1", Migrations: phases, Instances: 1},
	}}
}

// Names of the messages of the search release.
const (
	offlineStart  = "deployment-todo-search-0.0.1-offline-start"
	offlineDone   = "deployment-todo-search-0.0.1-offline-done"
	offlineFailed = "deployment-todo-search-0.0.1-offline-failed"
	onlineDone    = "deployment-todo-search-0.0.1-online-done"
	appSetUp      = "todo-app-0.0.2-set-up"
	appFailed     = "todo-app-0.0.2-setup-failed"
)

func nothing(context.Context, *sdk.Run) error { return nil }
