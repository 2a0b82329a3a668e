package fleet_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

const patience = 60 * time.Second // of everything a test waits for

// manifest is a release whose one step runs the script work.sh of its folder.
func manifest(dir string) *release.Manifest {
	return &release.Manifest{
		App: "todo-app", Version: "2.0.0", Strategy: rollout.Parallel, Dir: dir,
		Steps: []release.Step{{Name: "migrate", Command: &release.Command{Args: []string{"sh", "work.sh"}, Backward: true}}},
	}
}

// environment is a bus with a journal, a fleet, and a rollout whose step 3 is done by agents.
type environment struct {
	*fleet.Fleet
	t       *testing.T
	bus     servers
	nc      *nats.Conn
	journal *journal.Journal
	hosts   jetstream.KeyValue
	dir     string // of the release

	mu       sync.Mutex
	state    rollout.State
	sequence uint64
}

// servers is a server, or a cluster.
type servers interface {
	Connect() *relay.Relay
	URL() string
}

func newEnvironment(t *testing.T, script string) *environment {
	t.Helper()
	t.Parallel()
	return newEnvironmentOn(t, relaytest.Start(t), 1, script)
}

func newEnvironmentOn(t *testing.T, on servers, replicas int, script string) *environment {
	t.Helper()
	e := &environment{t: t, bus: on, nc: on.Connect().Conn(), dir: t.TempDir()}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var err error
	e.journal, err = journal.Make(ctx, e.nc, replicas)
	e.must(err)
	e.Fleet, err = fleet.Make(ctx, e.nc, "", replicas)
	e.must(err)
	e.hosts, err = bus.Make(ctx, e.nc, bus.Hosts, "", replicas)
	e.must(err)
	e.must(os.WriteFile(filepath.Join(e.dir, "work.sh"), []byte("echo $GOLIVE_HOST $1 $GOLIVE_ATTEMPT >>"+e.dir+"/ran\n"+script+"\n"), 0o600))
	id, err := uuid.NewV7()
	e.must(err)
	e.state = rollout.State{
		ID: id.String(), Status: rollout.Running, Created: time.Now().UTC(),
		Release: rollout.Release{App: "todo-app", Version: "2.0.0", Digest: manifest(e.dir).Digest()},
		Steps: []*rollout.Step{{Number: 1, ID: "first", Kind: rollout.Command, Status: rollout.StepDone}, {Number: 2, ID: "second", Kind: rollout.Command, Status: rollout.StepDone}, {
			Number: 3, ID: "migrate", Kind: rollout.Command, Status: rollout.StepRunning, Attempt: 1,
			Work: &rollout.Work{Backward: true, On: map[string]string{"role": "web"}},
		}},
	}
	e.change(func(*rollout.Step) {})
	return e
}

func (e *environment) must(err error) {
	e.t.Helper()
	if err != nil {
		e.t.Fatal(err)
	}
}

// change changes the step in the journal.
func (e *environment) change(f func(*rollout.Step)) {
	e.t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	step := *e.state.Steps[2]
	work := *step.Work
	step.Work = &work
	f(&step)
	e.state.Steps = append(e.state.Steps[:2:2], &step)
	sequence, err := e.journal.Append(e.t.Context(), e.state, e.sequence)
	e.must(err)
	e.sequence = sequence
}

func (e *environment) step() rollout.Step { return *e.state.Steps[2] }

func (e *environment) job() fleet.Job {
	return fleet.Job{Rollout: e.state.ID, Release: e.state.Release, Step: e.step()}
}

// result is what has come of a Do.
type result struct {
	hosts []protocol.Host
	err   error
}

// begin calls Do, and gives what will come of it.
func (e *environment) begin(ctx context.Context, j fleet.Job) <-chan result {
	done := make(chan result, 1)
	ended := make(chan struct{})
	ctx, cancel := context.WithTimeout(ctx, patience)
	go func() {
		defer close(ended)
		hosts, err := e.Do(ctx, j)
		done <- result{hosts, err}
	}()
	e.t.Cleanup(func() {
		cancel()
		<-ended
	})
	return done
}

func (e *environment) await(done <-chan result) result {
	e.t.Helper()
	select {
	case r := <-done:
		return r
	case <-time.After(patience + 10*time.Second):
		e.t.Fatal("Do goes on")
		return result{}
	}
}

func (e *environment) do() result {
	e.t.Helper()
	return e.await(e.begin(e.t.Context(), e.job()))
}

// stands writes results as "web-1 done, web-2 failed".
func stands(hosts []protocol.Host) string {
	var all []string
	for _, h := range hosts {
		all = append(all, h.Name+" "+string(h.Status))
	}
	return strings.Join(all, ", ")
}

// expect fails the test unless the result is as wanted; failure is the start of the error's
// text, and empty for none.
func (e *environment) expect(r result, hosts, failure string) {
	e.t.Helper()
	if got := stands(r.hosts); got != hosts {
		e.t.Errorf("hosts: %s, not %s (%v)", got, hosts, r.err)
	}
	failed := new(fleet.FailedError)
	switch {
	case failure == "" && r.err != nil:
		e.t.Error(r.err)
	case failure != "" && !errors.As(r.err, &failed):
		e.t.Errorf("error %v, not %s", r.err, failure)
	case failure != "" && !strings.HasPrefix(r.err.Error(), failure):
		e.t.Errorf("error %v, not %s", r.err, failure)
	case failure != "" && stands(failed.Hosts) != hosts:
		e.t.Error("the error has other hosts:", stands(failed.Hosts))
	}
}

// ran is what programs have been called with, sorted: "web-1 forward 1".
func (e *environment) ran() string {
	e.t.Helper()
	data, err := os.ReadFile(filepath.Join(e.dir, "ran"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		e.t.Fatal(err)
	}
	all := strings.Fields(strings.ReplaceAll(strings.TrimSpace(string(data)), " ", "_"))
	slices.Sort(all)
	return strings.ReplaceAll(strings.Join(all, ", "), "_", " ")
}

// write writes a file of the release's folder.
func (e *environment) write(name string) {
	e.t.Helper()
	e.must(os.WriteFile(filepath.Join(e.dir, name), nil, 0o600))
}

// agent runs an agent until the test ends or it is stopped.
func (e *environment) agent(name string, labels ...string) (stop func()) {
	e.t.Helper()
	all := map[string]string{"role": "web"}
	for _, l := range labels {
		key, value, _ := strings.Cut(l, "=")
		all[key] = value
	}
	return e.agentOf(name, all, manifest(e.dir))
}

func (e *environment) agentOf(name string, labels map[string]string, m *release.Manifest) (stop func()) {
	e.t.Helper()
	a, err := agent.New(agent.Config{Conn: e.bus.Connect().Conn(), Journal: e.journal, Name: name, Labels: labels, Releases: []*release.Manifest{m}})
	e.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			e.t.Error(err)
		}
	})
	e.t.Cleanup(stop)
	select {
	case <-a.Ready():
	case <-time.After(patience):
		e.t.Fatal("the agent did not become ready")
	}
	return stop
}

// double stands for an agent: the test does what it is told to.
type double struct {
	e    *environment
	name string
	runs chan protocol.Order // that it was told
	stop chan protocol.Order // that it was told to cancel

	mu     sync.Mutex
	answer string // to a run
	silent bool
	count  int // runs
}

func (e *environment) double(name, instance string) *double {
	e.t.Helper()
	d := &double{e: e, name: name, runs: make(chan protocol.Order, 1000), stop: make(chan protocol.Order, 1000), answer: "{}"}
	d.lease(instance)
	nc := e.bus.Connect().Conn()
	handle := func(message string, handler func(protocol.Order, *nats.Msg)) {
		_, err := nc.Subscribe(protocol.AgentSubject(name, message), func(m *nats.Msg) {
			var o protocol.Order
			if err := json.Unmarshal(m.Data, &o); err != nil {
				e.t.Error(err)
			}
			handler(o, m)
		})
		e.must(err)
	}
	handle("run", func(o protocol.Order, m *nats.Msg) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.count++
		d.runs <- o
		if !d.silent {
			_ = m.Respond([]byte(d.answer))
		}
	})
	handle("cancel", func(o protocol.Order, _ *nats.Msg) { d.stop <- o })
	e.must(nc.Flush())
	return d
}

// lease writes the double's lease.
func (d *double) lease(instance string) {
	d.e.t.Helper()
	data, err := json.Marshal(protocol.Agent{
		Name: d.name, Instance: instance, Labels: map[string]string{"role": "web"},
		Releases: []protocol.AgentRelease{{App: "todo-app", Version: "2.0.0", Digest: d.e.state.Release.Digest}},
	})
	d.e.must(err)
	js, err := jetstream.New(d.e.nc)
	d.e.must(err)
	_, err = js.Publish(d.e.t.Context(), protocol.KeySubject(protocol.AgentsBucket, d.name), data)
	d.e.must(err)
}

// die lets the double's lease be gone as one that has run out: no watcher hears of it.
func (d *double) die() {
	d.e.t.Helper()
	js, err := jetstream.New(d.e.nc)
	d.e.must(err)
	s, err := js.Stream(d.e.t.Context(), "KV_"+protocol.AgentsBucket)
	d.e.must(err)
	d.e.must(s.Purge(d.e.t.Context(), jetstream.WithPurgeSubject(protocol.KeySubject(protocol.AgentsBucket, d.name))))
}

// told blocks until the double is told to begin.
func (d *double) told() protocol.Order {
	d.e.t.Helper()
	select {
	case o := <-d.runs:
		return o
	case <-time.After(patience):
		d.e.t.Fatal(d.name, "was not told")
		return protocol.Order{}
	}
}

// says writes the double's entry.
func (d *double) says(instance string, status protocol.HostStatus) {
	d.e.t.Helper()
	s := d.e.step()
	h := protocol.Host{Name: d.name, Instance: instance, Attempt: s.Attempt, Status: status, Started: time.Now().UTC()}
	if status == protocol.HostFailed {
		h.Error = "exit code 1"
	}
	d.e.put(protocol.HostKey(d.e.state.ID, s.Number, s.Revert, d.name), h)
}

func (e *environment) put(key string, v any) {
	e.t.Helper()
	data, err := json.Marshal(v)
	e.must(err)
	_, err = e.hosts.Put(e.t.Context(), key, data)
	e.must(err)
}

func (e *environment) entry(name string) protocol.Host {
	e.t.Helper()
	s := e.step()
	entry, err := e.hosts.Get(e.t.Context(), protocol.HostKey(e.state.ID, s.Number, s.Revert, name))
	e.must(err)
	var h protocol.Host
	e.must(json.Unmarshal(entry.Value(), &h))
	return h
}

// reports collects what a job tells.
type reports struct {
	mu    sync.Mutex
	all   []string
	fresh chan struct{}
}

func newReports() *reports { return &reports{fresh: make(chan struct{}, 1000)} }

func (h *reports) add(s string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, s)
	h.fresh <- struct{}{}
}

// await blocks until something was told that begins so.
func (h *reports) await(t *testing.T, what string) {
	t.Helper()
	for deadline := time.After(patience); ; {
		h.mu.Lock()
		found := slices.ContainsFunc(h.all, func(s string) bool { return strings.HasPrefix(s, what) })
		all := fmt.Sprint(h.all)
		h.mu.Unlock()
		if found {
			return
		}
		select {
		case <-h.fresh:
		case <-deadline:
			t.Fatalf("%q was not told, but %s", what, all)
		}
	}
}

// eventually blocks until a condition holds that nobody tells about.
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
