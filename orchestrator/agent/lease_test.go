package agent_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func short(a *agent.Agent) { a.SetLease(2 * time.Second) }

// holder is the instance that holds the name; empty when nobody does.
func (h *host) holder() string {
	h.t.Helper()
	e, err := h.agents.Get(h.t.Context(), "web-1")
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return ""
	}
	must(h.t, err)
	var a protocol.Agent
	must(h.t, json.Unmarshal(e.Value(), &a))
	return a.Instance
}

func TestLease(t *testing.T) {
	h := newHost(t)
	c := h.config()
	c.Version = "0.9.0"
	a := h.run(c, short)
	e, err := h.agents.Get(t.Context(), "web-1")
	must(t, err)
	var got protocol.Agent
	must(t, json.Unmarshal(e.Value(), &got))
	if got.Name != "web-1" || got.Instance != a.Instance() || got.Labels["role"] != "web" || got.Version != "0.9.0" || got.Since.IsZero() ||
		len(got.Releases) != 1 || got.Releases[0] != (protocol.AgentRelease{App: "todo-app", Version: "2.0.0", Digest: h.manifest.Digest()}) {
		t.Errorf("%s", e.Value())
	}
	first := e.Revision()
	began := time.Now()
	eventually(t, "it was renewed for longer than it lasts", func() bool {
		e, err := h.agents.Get(t.Context(), "web-1")
		must(t, err)
		return e.Revision() > first+2 && time.Since(began) > 3*time.Second
	})
	must(t, a.end(t))
	if by := h.holder(); by != "" {
		t.Error("it has left its lease behind")
	}
}

func TestNameTaken(t *testing.T) {
	h := newHost(t)
	a := h.run(h.config())
	second := h.start(h.config())
	if err := <-second.ended; !errors.Is(err, agent.ErrNameTaken) {
		t.Error(err)
	}
	select {
	case err := <-a.ended:
		t.Error("the first one has ended:", err)
	default:
	}
	if h.holder() != a.Instance() {
		t.Error("the name was taken")
	}
}

// Of several that want a name at the same time one gets it.
func TestNameWantedByMany(t *testing.T) {
	h := newHost(t)
	const many = 5
	ready, ended := make(chan string, many), make(chan error, many)
	for range many {
		r := h.start(h.config())
		go func() {
			select {
			case <-r.Ready():
				ready <- r.Instance()
			case err := <-r.ended:
				ended <- err
			}
		}()
	}
	for range many - 1 {
		select {
		case err := <-ended:
			if !errors.Is(err, agent.ErrNameTaken) {
				t.Error(err)
			}
		case <-time.After(patience):
			t.Fatal("the others have not ended")
		}
	}
	if got := <-ready; got != h.holder() {
		t.Error("another one holds the name")
	}
}

// The name of an agent that has died is taken over without waiting for its lease.
func TestNameOfADeadAgent(t *testing.T) {
	h := newHost(t)
	h.leave("died")
	began := time.Now()
	a := h.run(h.config())
	if took := time.Since(began); took > protocol.AgentLease/2 {
		t.Error("it took", took)
	}
	if h.holder() != a.Instance() {
		t.Error("it does not hold the name")
	}
}

// leave writes a lease of the name for an instance that does not answer.
func (h *host) leave(instance string) {
	h.t.Helper()
	data, err := json.Marshal(protocol.Agent{Name: "web-1", Instance: instance})
	must(h.t, err)
	js, err := jetstream.New(h.nc)
	must(h.t, err)
	m := &nats.Msg{Subject: protocol.KeySubject(protocol.AgentsBucket, "web-1"), Data: data}
	_, err = js.PublishMsg(h.t.Context(), m, jetstream.WithMsgTTL(protocol.AgentLease))
	must(h.t, err)
}

func sleeping() release.Step {
	return release.Step{Name: "migrate", Command: &release.Command{Shell: "echo >>ran; exec sleep 60"}}
}

// Whoever finds that another has taken its name stops.
func TestNameTakenAway(t *testing.T) {
	h := newHost(t, sleeping())
	h.record()
	a := h.run(h.config(), short)
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	h.leave("another")
	select {
	case err := <-a.ended:
		if !errors.Is(err, agent.ErrNameTaken) {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("it goes on")
	}
	if got := h.await(h.key(1, false), ended); got.Status != protocol.HostFailed {
		t.Errorf("%+v", got)
	}
	if h.holder() != "another" {
		t.Error("it has deleted the other's lease")
	}
}

// An agent that cannot reach the bus for as long as its lease lasts stops what it runs, and
// takes orders again when it can.
func TestLeaseLost(t *testing.T) {
	h := newHost(t, sleeping())
	h.record()
	cable := h.bus.Cable()
	nc := h.bus.ConnectTo(cable.URL()).Conn()
	c := h.config()
	c.Conn = nc
	j, err := journal.Make(t.Context(), nc, 1)
	must(t, err)
	c.Journal = j
	h.run(c, short)
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	eventually(t, "it runs", func() bool { return h.file("ran") != "" })
	cable.Hold()
	eventually(t, "its lease is gone", func() bool { return h.holder() == "" })
	cable.Release()
	got := h.await(h.key(1, false), ended)
	if got.Status != protocol.HostFailed || got.Error != "cancelled: the agent could not renew its lease, and counts as dead" {
		t.Errorf("%+v", got)
	}
	eventually(t, "it holds a lease again", func() bool { return h.holder() != "" })
	h.state.Steps[0].Attempt = 2
	h.record()
	o := h.order("migrate")
	o.Attempt = 2
	h.tellUntilAnswered(o)
	h.await(h.key(1, false), func(got protocol.Host) bool { return got.Attempt == 2 && got.Status == protocol.HostRunning })
}

// tellUntilAnswered sends an order again and again, as a fleet does.
func (h *host) tellUntilAnswered(o protocol.Order) {
	h.t.Helper()
	data, err := json.Marshal(o)
	must(h.t, err)
	eventually(h.t, "the order is answered", func() bool {
		m, err := h.nc.Request(protocol.AgentSubject("web-1", "run"), data, time.Second)
		return err == nil && string(m.Data) == "{}"
	})
}

// A lease that is gone at the server is lost, whatever the agent's clock says.
func TestLeaseTakenAway(t *testing.T) {
	h := newHost(t, sleeping())
	h.record()
	h.run(h.config(), short)
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	must(t, h.agents.Purge(t.Context(), "web-1"))
	if got := h.await(h.key(1, false), ended); got.Status != protocol.HostFailed {
		t.Errorf("%+v", got)
	}
	eventually(t, "it holds a lease again", func() bool { return h.holder() != "" })
}

// An agent that ends stops what it runs, and says so.
func TestEnd(t *testing.T) {
	h := newHost(t, sleeping())
	h.record()
	a := h.run(h.config())
	if code := h.tell("run", h.order("migrate")); code != "" {
		t.Fatal(code)
	}
	must(t, a.end(t))
	got := h.await(h.key(1, false), func(protocol.Host) bool { return true })
	if got.Status != protocol.HostFailed || got.Error != "cancelled: the agent was stopped" || got.Ended.IsZero() {
		t.Errorf("%+v", got)
	}
	if h.holder() != "" {
		t.Error("it has left its lease behind")
	}
}

// Without a lease nothing is begun; the order is not answered, so it comes again.
func TestNothingBeginsWithoutALease(t *testing.T) {
	relaytest.Long(t)
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo >>ran"}})
	h.record()
	a := h.run(h.config())
	data, err := json.Marshal(h.order("migrate"))
	must(t, err)
	a.Lapse()
	if _, err := h.nc.Request(protocol.AgentSubject("web-1", "run"), data, time.Second); !errors.Is(err, nats.ErrTimeout) {
		t.Error("it was answered:", err)
	}
	h.none()
	h.tellUntilAnswered(h.order("migrate"))
	if got := h.await(h.key(1, false), ended); got.Status != protocol.HostDone || h.file("ran") != "\n" {
		t.Errorf("%+v", got)
	}
}

// An agent may be started before the first orchestrator of its environment, which makes the
// buckets. It says so, and waits.
func TestAnAgentAwaitsTheFirstOrchestrator(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo >>ran"}})
	js, err := jetstream.New(h.nc)
	must(t, err)
	must(t, js.DeleteKeyValue(t.Context(), bus.Hosts.Name))
	must(t, js.DeleteKeyValue(t.Context(), bus.Agents.Name))
	core, log := observer.New(zap.InfoLevel)
	c := h.config()
	c.Logger = zap.New(core)
	a := h.start(c)
	var told []observer.LoggedEntry
	eventually(t, "it says that it waits", func() bool {
		told = log.FilterMessage("waiting for the first orchestrator of this environment").All()
		return len(told) > 0
	})
	if why, _ := told[0].ContextMap()["error"].(string); !strings.Contains(why, "bucket golive-agents: there is none yet: it is made by golive serve, or golive up") {
		t.Error(why)
	}
	select {
	case <-a.Ready():
		t.Fatal("it is ready without its buckets")
	case err := <-a.ended:
		t.Fatal("it has ended:", err)
	default:
	}
	h.open(h.nc)
	select {
	case <-a.Ready():
	case err := <-a.ended:
		t.Fatal("it has ended:", err)
	case <-time.After(patience):
		t.Fatal("it did not become ready")
	}
	must(t, a.end(t))
}
