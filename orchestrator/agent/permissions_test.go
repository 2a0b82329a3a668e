package agent_test

import (
	"context"
	"io"
	"testing"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/relay/transfer"
)

// An agent needs no more than its rights, and can neither write the journal
// nor what others have done.
func TestPermissions(t *testing.T) {
	h := newHost(t, release.Step{Name: "migrate", Command: &release.Command{Shell: "echo done"}},
		release.Step{Name: "looks", Check: &release.Check{Message: "todos.count"}})
	guarded := relaytest.StartGuarded(t, embedded.User{Name: "admin"}, relaytest.With("web", protocol.AgentRights("web", "web-1", "todos")))
	core, log := observer.New(zap.DebugLevel)
	connect := func(user string) *relay.Relay {
		r, err := relay.Connect(t.Context(), relay.Config{URL: guarded.URLOf(user), Inbox: protocol.Inbox(user), Logger: zap.New(core)})
		must(t, err)
		t.Cleanup(r.Close)
		return r
	}
	admin := connect("admin")
	h.nc = admin.Conn()
	h.open(h.nc)
	serving, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- admin.Serve(serving, relay.Service{Name: "todos", Version: "1.2.0", Handlers: map[string]relay.Handler{
			"count": func(context.Context, *relay.Message) (any, error) { return 1, nil },
		}})
	}()
	defer func() {
		stop()
		<-served
	}()
	h.manifest.Services[0].State = &rollout.Data{Command: true}
	h.manifest.Services[0].StateCommand = []string{"sh", "-c", "echo x >$GOLIVE_SNAPSHOT_DIR/x"}
	h.matches()
	h.record()
	c := h.config()
	c.Conn = connect("web").Conn()
	var err error
	c.Journal, err = journal.Make(t.Context(), c.Conn, 1)
	must(t, err)
	eventually(t, "the service answers", func() bool {
		_, err := h.nc.Request(protocol.PrivateSubject("todos", "1.2.0", "count"), nil, patience)
		return err == nil
	})
	h.leave("died") // so that it has to ping
	a := h.run(c, short)
	for _, step := range []string{"migrate", "looks"} {
		if got := h.do(step, false); got.Status != protocol.HostDone {
			t.Errorf("%+v", got)
		}
	}
	states := &stateHost{host: h, inbox: h.nc.NewInbox()}
	states.takes, err = bus.Make(t.Context(), h.nc, bus.Takes, "", 1)
	must(t, err)
	states.claim(states.claimed(protocol.StateTake))
	_, err = transfer.Fetch(t.Context(), states.ask(protocol.StateTake), io.Discard)
	must(t, err)
	first := a.Instance()
	if h.holder() != first {
		t.Error("it does not hold the name")
	}
	must(t, a.end(t))
	if h.holder() != "" {
		t.Error("it has left its lease behind")
	}
	if refused := log.FilterMessage("bus error").All(); len(refused) > 0 {
		t.Error("something was not permitted:", refused[0].ContextMap())
	}
	for _, subject := range []string{
		protocol.RolloutSubject("todo-app", h.state.ID), protocol.KeySubject(protocol.AgentsBucket, "web-2"),
		protocol.KeySubject(protocol.HostsBucket, protocol.HostKey(h.state.ID, 1, false, "web-2")),
		protocol.KeySubject(protocol.HostsBucket, protocol.AssignmentKey(h.state.ID, 1, false)), protocol.AgentSubject("web-2", "run"),
		protocol.KeySubject(protocol.TakesBucket, protocol.SnapshotClaimKey),
	} {
		before := len(log.FilterMessage("bus error").All())
		must(t, c.Conn.PublishMsg(&nats.Msg{Subject: subject, Data: []byte("forged")}))
		must(t, c.Conn.Flush())
		eventually(t, subject+" is refused", func() bool { return len(log.FilterMessage("bus error").All()) > before })
	}
}
