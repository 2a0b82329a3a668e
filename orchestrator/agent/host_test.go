package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap/zaptest"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

const patience = 30 * time.Second // of everything a test waits for

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// host is a host with a folder of a release, and the bus.
type host struct {
	t       *testing.T
	bus     *relaytest.Bus
	nc      *nats.Conn
	journal *journal.Journal
	hosts   jetstream.KeyValue
	agents  jetstream.KeyValue

	manifest *release.Manifest
	state    rollout.State
	sequence uint64
}

func newHost(t *testing.T, steps ...release.Step) *host {
	t.Helper()
	t.Parallel()
	bus := relaytest.Start(t)
	h := &host{t: t, bus: bus, nc: bus.Connect().Conn()}
	h.open(h.nc)
	h.manifest = &release.Manifest{
		App: "todo-app", Version: "2.0.0", Strategy: rollout.Parallel, Dir: t.TempDir(), Steps: steps,
		Services:     []release.Service{{Service: rollout.Service{Name: "todos", Version: "1.2.0"}}},
		Environment:  release.Environment{Name: "staging"},
		Environments: []string{"production", "staging"},
	}
	id, err := uuid.NewV7()
	must(t, err)
	h.state = rollout.State{
		ID: id.String(), Status: rollout.Running, Created: time.Now().UTC(),
		Release: rollout.Release{App: "todo-app", Version: "2.0.0", Digest: h.manifest.Digest(), Environment: "production"},
	}
	for i, s := range steps {
		kind := rollout.Command
		if s.Check != nil {
			kind = rollout.Check
		}
		h.state.Steps = append(h.state.Steps, &rollout.Step{
			Number: i + 1, ID: s.Name, Kind: kind, Status: rollout.StepRunning, Attempt: 1, Work: &rollout.Work{On: s.On},
		})
	}
	return h
}

// matches has the rollout be of the manifest as it is now.
func (h *host) matches() { h.state.Release.Digest = h.manifest.Digest() }

func (h *host) open(nc *nats.Conn) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	var err error
	h.journal, err = journal.Make(ctx, nc, 1)
	must(h.t, err)
	h.hosts, err = bus.Make(ctx, nc, bus.Hosts, "", 1)
	must(h.t, err)
	h.agents, err = bus.Make(ctx, nc, bus.Agents, "", 1)
	must(h.t, err)
}

// record writes the rollout's state to the journal.
func (h *host) record() {
	h.t.Helper()
	stored := h.state
	stored.Steps = nil
	for _, step := range h.state.All() { // of which a test may change its own
		stored.Steps = append(stored.Steps, &step)
	}
	sequence, err := h.journal.Append(h.t.Context(), stored, h.sequence)
	must(h.t, err)
	h.sequence = sequence
}

// script writes a program of the release, for sh to run: the system refuses to run a file that
// was written just now while another test starts a program, which has it open for a moment.
func (h *host) script(name, lines string) string {
	h.t.Helper()
	path := filepath.Join(h.manifest.Dir, name)
	must(h.t, os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o600))
	return "./" + name
}

// file is what programs have written to a file of the release's folder; empty when it is not there.
func (h *host) file(name string) string {
	h.t.Helper()
	data, err := os.ReadFile(filepath.Join(h.manifest.Dir, name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		h.t.Fatal(err)
	}
	return string(data)
}

func (h *host) config() agent.Config {
	return agent.Config{
		Conn: h.nc, Journal: h.journal, Name: "web-1", Labels: map[string]string{"role": "web"},
		Releases: []*release.Manifest{h.manifest}, Logger: zaptest.NewLogger(h.t),
	}
}

// running is an agent that runs until the test ends or it is stopped.
type running struct {
	*agent.Agent
	stop  context.CancelFunc
	ended chan error
}

// run starts an agent, and returns once it is ready.
func (h *host) run(c agent.Config, change ...func(*agent.Agent)) running {
	h.t.Helper()
	r := h.start(c, change...)
	select {
	case <-r.Ready():
	case err := <-r.ended:
		h.t.Fatal(err)
	case <-time.After(patience):
		h.t.Fatal("the agent did not become ready")
	}
	return r
}

func (h *host) start(c agent.Config, change ...func(*agent.Agent)) running {
	h.t.Helper()
	a, err := agent.New(c)
	must(h.t, err)
	for _, f := range change {
		f(a)
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := running{a, cancel, make(chan error, 1)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.ended <- a.Run(ctx)
	}()
	h.t.Cleanup(func() {
		cancel()
		<-done
	})
	return r
}

func (r running) end(t *testing.T) error {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		return err
	case <-time.After(patience):
		t.Fatal("the agent did not end")
		return nil
	}
}

func (h *host) order(step string) protocol.Order {
	return protocol.Order{Rollout: h.state.ID, App: "todo-app", Step: step, Attempt: 1}
}

// tell sends an order, and gives the code of the refusal, if it was refused.
func (h *host) tell(message string, o protocol.Order) (code string) {
	h.t.Helper()
	data, err := json.Marshal(o)
	must(h.t, err)
	m, err := h.nc.Request(protocol.AgentSubject("web-1", message), data, patience)
	must(h.t, err)
	var answer protocol.AgentAnswer
	must(h.t, json.Unmarshal(m.Data, &answer))
	if answer.Error == nil {
		return ""
	}
	if answer.Error.Message == "" {
		h.t.Error("a refusal without a reason")
	}
	return answer.Error.Code
}

func (h *host) key(number int, revert bool) string {
	return protocol.HostKey(h.state.ID, number, revert, "web-1")
}

// await blocks until the host's entry is as wanted.
func (h *host) await(key string, wanted func(protocol.Host) bool) protocol.Host {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	w, err := h.hosts.Watch(ctx, key)
	must(h.t, err)
	defer w.Stop()
	var last protocol.Host
	for {
		select {
		case e := <-w.Updates():
			if e == nil {
				continue
			}
			last = protocol.Host{}
			must(h.t, json.Unmarshal(e.Value(), &last))
			if wanted(last) {
				return last
			}
		case <-ctx.Done():
			h.t.Fatalf("entry %s is %+v", key, last)
		}
	}
}

func ended(h protocol.Host) bool { return h.Status != protocol.HostRunning }

// do has the step done and gives the result.
func (h *host) do(step string, revert bool) protocol.Host {
	h.t.Helper()
	o := h.order(step)
	o.Revert = revert
	if code := h.tell("run", o); code != "" {
		h.t.Fatal("refused:", code)
	}
	s, _ := h.state.Step(step)
	return h.await(h.key(s.Number, revert), ended)
}

func (h *host) put(key string, v any) {
	h.t.Helper()
	data, err := json.Marshal(v)
	must(h.t, err)
	_, err = h.hosts.Put(h.t.Context(), key, data)
	must(h.t, err)
}

// none fails the test if there is any entry of the rollout.
func (h *host) none() {
	h.t.Helper()
	keys, err := h.hosts.ListKeys(h.t.Context())
	must(h.t, err)
	for key := range keys.Keys() {
		h.t.Error("there is an entry:", key)
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

func command(args ...string) release.Step {
	return release.Step{Name: "migrate", Command: &release.Command{Args: args}}
}
