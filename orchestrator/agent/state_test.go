package agent_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/transfer"
)

// stateHost is a host with an agent that may take the state of todos.
type stateHost struct {
	*host
	takes   jetstream.KeyValue
	inbox   string
	scratch string
}

// newStateHost has a command for the state of todos, whose lines are in a script.
func newStateHost(t *testing.T, lines string) *stateHost {
	t.Helper()
	h := &stateHost{host: newHost(t), scratch: t.TempDir()}
	h.manifest.Services[0].State = &rollout.Data{Command: true, On: map[string]string{"role": "web"}}
	h.manifest.Services[0].StateCommand = []string{"sh", h.script("state", lines)}
	h.manifest.Services = append(h.manifest.Services, release.Service{Service: rollout.Service{Name: "web", Version: "1.0.0"}})
	var err error
	h.takes, err = bus.Make(t.Context(), h.nc, bus.Takes, "", 1)
	must(t, err)
	h.inbox = h.nc.NewInbox()
	return h
}

func (h *stateHost) config() agent.Config {
	c := h.host.config()
	c.Scratch = h.scratch
	return c
}

func (h *stateHost) claim(c protocol.SnapshotClaim) {
	h.t.Helper()
	data, err := json.Marshal(c)
	must(h.t, err)
	_, err = h.takes.Put(h.t.Context(), protocol.SnapshotClaimKey, data)
	must(h.t, err)
}

func (h *stateHost) claimed(do string) protocol.SnapshotClaim {
	return protocol.SnapshotClaim{App: "todo-app", Snapshot: "0199c6d2", Doing: do, Inbox: h.inbox}
}

func (h *stateHost) ask(do string) transfer.Ask {
	return transfer.Ask{Conn: h.nc, Subject: protocol.AgentSubject("web-1", "state"), Inbox: h.inbox, Order: protocol.StateOrder{
		Snapshot: "0199c6d2", App: "todo-app", Service: "todos", Version: "2.0.0", Digest: h.manifest.Digest(), Do: do,
		Timeout: protocol.Duration(patience), Most: 1 << 20,
	}}
}

// tidy finds what is left of transfers.
func (h *stateHost) tidy() {
	h.t.Helper()
	eventually(h.t, "the folders are removed", func() bool {
		left, err := os.ReadDir(h.scratch)
		return err == nil && len(left) == 0
	})
}

func TestAStateIsTakenCheckedAndPut(t *testing.T) {
	h := newStateHost(t, `echo $1 $GOLIVE_SNAPSHOT $GOLIVE_SERVICE $GOLIVE_HOST >>calls
case $1 in
take) cp data $GOLIVE_SNAPSHOT_DIR/data ;;
put) cp $GOLIVE_SNAPSHOT_DIR/data data.new && mv data.new data ;;
drop) test -z "$(ls $GOLIVE_SNAPSHOT_DIR)" ;;
esac`)
	data := filepath.Join(h.manifest.Dir, "data")
	must(t, os.WriteFile(data, []byte("before"), 0o600))
	h.run(h.config())
	h.claim(h.claimed(protocol.StateTake))
	var taken bytes.Buffer
	who, err := transfer.Fetch(t.Context(), h.ask(protocol.StateTake), &taken)
	must(t, err)
	if who.From != "agent web-1" {
		t.Errorf("it was taken by %q", who.From)
	}
	must(t, os.WriteFile(data, []byte("after"), 0o600))
	_, err = transfer.Deliver(t.Context(), h.ask(protocol.StateCheck), bytes.NewReader(taken.Bytes()))
	must(t, err)
	h.claim(h.claimed(protocol.StatePut))
	for range 2 {
		_, err = transfer.Deliver(t.Context(), h.ask(protocol.StatePut), bytes.NewReader(taken.Bytes()))
		must(t, err)
	}
	if got := h.file("data"); got != "before" {
		t.Errorf("put %q", got)
	}
	_, err = transfer.Deliver(t.Context(), h.ask(protocol.StateDrop), strings.NewReader(""))
	must(t, err)
	if got, of := h.file("calls"), " 0199c6d2 todos web-1\n"; got != "take"+of+"check"+of+"put"+of+"put"+of+"drop"+of {
		t.Errorf("called with %s", got)
	}
	h.tidy()
}

// An order that no orchestrator has claimed, that is to be answered elsewhere, or that the agent's
// own manifest does not bear out runs nothing.
func TestForgedStateOrders(t *testing.T) {
	h := newStateHost(t, `echo >>ran; echo x >$GOLIVE_SNAPSHOT_DIR/x`)
	h.run(h.config())
	take := func(change func(*protocol.StateOrder)) func(*transfer.Ask) {
		return func(a *transfer.Ask) { change(&a.Order) }
	}
	for name, c := range map[string]struct {
		claim func(*protocol.SnapshotClaim)
		ask   func(*transfer.Ask)
		want  string
	}{
		"no claim":         {claim: func(c *protocol.SnapshotClaim) { *c = protocol.SnapshotClaim{} }, want: "not_wanted"},
		"ended":            {claim: func(c *protocol.SnapshotClaim) { c.Ended = true }, want: "not_wanted"},
		"other app":        {claim: func(c *protocol.SnapshotClaim) { c.App = "other" }, want: "not_wanted"},
		"other snapshot":   {claim: func(c *protocol.SnapshotClaim) { c.Snapshot = "0199c6d3" }, want: "not_wanted"},
		"no inbox":         {claim: func(c *protocol.SnapshotClaim) { c.Inbox = "" }, want: "not_wanted"},
		"other inbox":      {claim: func(c *protocol.SnapshotClaim) { c.Inbox = h.nc.NewInbox() }, want: "not_wanted"},
		"inbox like it":    {claim: func(c *protocol.SnapshotClaim) { c.Inbox = c.Inbox[:len(c.Inbox)-1] }, want: "not_wanted"},
		"only checked":     {claim: func(c *protocol.SnapshotClaim) { c.Doing = protocol.StateCheck }, want: "not_wanted"},
		"put in a take":    {ask: take(func(o *protocol.StateOrder) { o.Do = protocol.StatePut }), want: "not_wanted"},
		"unknown word":     {ask: take(func(o *protocol.StateOrder) { o.Do = "rm" }), want: "not_wanted"},
		"digest":           {ask: take(func(o *protocol.StateOrder) { o.Digest = "3f2a" }), want: "unknown_release"},
		"no digest":        {ask: take(func(o *protocol.StateOrder) { o.Digest = "" }), want: "unknown_release"},
		"version":          {ask: take(func(o *protocol.StateOrder) { o.Version = "2.0.1" }), want: "unknown_release"},
		"app":              {ask: take(func(o *protocol.StateOrder) { o.App = "other" }), want: "unknown_release"},
		"service":          {ask: take(func(o *protocol.StateOrder) { o.Service = "other" }), want: "refused"},
		"without command":  {ask: take(func(o *protocol.StateOrder) { o.Service = "web" }), want: "refused"},
		"snapshot is none": {ask: take(func(o *protocol.StateOrder) { o.Snapshot = "$(reboot)" }), claim: func(c *protocol.SnapshotClaim) { c.Snapshot = "$(reboot)" }, want: "refused"},
		"no time":          {ask: take(func(o *protocol.StateOrder) { o.Timeout = 0 }), want: "refused"},
		"no room":          {ask: take(func(o *protocol.StateOrder) { o.Most = 0 }), want: "refused"},
	} {
		claim, a := h.claimed(protocol.StateTake), h.ask(protocol.StateTake)
		if c.claim != nil {
			c.claim(&claim)
		}
		if c.ask != nil {
			c.ask(&a)
		}
		h.claim(claim)
		var refused *transfer.Error
		if _, err := transfer.Fetch(t.Context(), a, io.Discard); !errors.As(err, &refused) || refused.Code != c.want {
			t.Errorf("%s: %v, want it refused as %s", name, err, c.want)
		}
	}
	h.claim(h.claimed(protocol.StateTake))
	a := h.ask(protocol.StateTake)
	h.manifest.Services[0].State.On = map[string]string{"role": "db"}
	var refused *transfer.Error
	if _, err := transfer.Fetch(t.Context(), a, io.Discard); !errors.As(err, &refused) || refused.Code != protocol.CodeRefused {
		t.Errorf("labels: %v", err)
	}
	if h.file("ran") != "" {
		t.Error("something has run")
	}
	// Whom nobody hears asks for nothing.
	order, err := json.Marshal(h.ask(protocol.StateTake).Order)
	must(t, err)
	must(t, h.nc.PublishRequest(protocol.AgentSubject("web-1", "state"), "golive.rollout.a.b", order))
	must(t, h.nc.Publish(protocol.AgentSubject("web-1", "state"), order))
	h.tidy()
}

// An agent that stops in the middle stops the command, and says no more; its folder is gone.
func TestAnAgentThatStopsInTheMiddleOfATake(t *testing.T) {
	h := newStateHost(t, `echo x >$GOLIVE_SNAPSHOT_DIR/x; echo begun >begun; sleep 60; echo ended >ended`)
	r := h.run(h.config())
	h.claim(h.claimed(protocol.StateTake))
	ended := make(chan error, 1)
	go func() {
		_, err := transfer.Fetch(t.Context(), h.ask(protocol.StateTake), io.Discard)
		ended <- err
	}()
	eventually(t, "the command runs", func() bool { return h.file("begun") != "" })
	must(t, r.end(t))
	select {
	case err := <-ended:
		if err == nil || !strings.Contains(err.Error(), "agent web-1: ") {
			t.Errorf("the take says %v", err)
		}
	case <-time.After(patience):
		t.Fatal("the take has not ended")
	}
	if h.file("ended") != "" {
		t.Error("the command ran on")
	}
	h.tidy()
}

// An orchestrator that is gone breaks a put off before the command is called.
func TestAPutThatIsBrokenOffPutsNothing(t *testing.T) {
	h := newStateHost(t, `echo $1 >>calls`)
	h.run(h.config())
	h.claim(h.claimed(protocol.StatePut))
	broken := errors.New("the archive cannot be read")
	if _, err := transfer.Deliver(t.Context(), h.ask(protocol.StatePut), io.MultiReader(bytes.NewReader(make([]byte, 600<<10)), failing{broken})); !errors.Is(err, broken) {
		t.Errorf("the put says %v", err)
	}
	h.tidy()
	if h.file("calls") != "" {
		t.Error("the command was called")
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
