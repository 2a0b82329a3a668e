package orchestrator_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/kept"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// leaf starts a server with a JetStream domain of its own, and gives what connects to it.
func leaf(t *testing.T, domain string, l *embedded.Leaf) *embedded.Server {
	t.Helper()
	s, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true, Domain: domain, Leaf: l})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// connectIn connects to a server for a JetStream domain.
func connectIn(t *testing.T, s *embedded.Server, domain string) func() *relay.Relay {
	return func() *relay.Relay {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r, err := relay.Connect(ctx, relay.Config{URL: s.URL(), Domain: domain, Name: t.Name()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	}
}

// TestEnvironmentsThatAreJoinedRefuseEachOther is about two servers that are joined by a leaf
// node, each with a JetStream and an orchestrator of its own.
func TestEnvironmentsThatAreJoinedRefuseEachOther(t *testing.T) {
	t.Parallel()
	at := relaytest.FreeAddresses(t, 1)[0]
	hub := environmentOn(t, connectIn(t, leaf(t, "hub", &embedded.Leaf{Listen: at}), ""))
	far := leaf(t, "far", &embedded.Leaf{Remotes: []string{at}})
	ended := make(chan error, 2)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, e := range []*environment{hub, environmentOn(t, connectIn(t, far, ""))} {
		o := e.orchestrator(e.connect())
		go func() { ended <- o.Run(ctx) }()
	}
	for range 2 {
		err := next(hub, "the end of an orchestrator", ended)
		if !errors.Is(err, kept.ErrJoined) || !strings.Contains(err.Error(), "--js-domain") {
			t.Errorf("it ended with %v, want that there are two environments", err)
		}
	}
}

// TestOneEnvironmentOverALeafNode is about orchestrators, setup services and instances on both
// sides that name one JetStream domain.
func TestOneEnvironmentOverALeafNode(t *testing.T) {
	t.Parallel()
	at := relaytest.FreeAddresses(t, 1)[0]
	near := connectIn(t, leaf(t, "hub", &embedded.Leaf{Listen: at}), "hub")
	far := connectIn(t, leaf(t, "far", &embedded.Leaf{Remotes: []string{at}}), "hub")
	e := environmentOn(t, near)
	e.orchestrate()
	away := environmentOn(t, far)
	away.orchestrate()
	away.setup(counting("0.0.2", new(atomic.Int64)))
	e.service("todo-search", "0.0.1")
	away.service("todo-search", "0.0.2")
	e.deployed(searchVersion("0.0.1", "0.0.1"))
	e.answered("0.0.1")
	story := away.deployed(searchVersion("0.0.2", "0.0.2", "offline"))
	e.answered("0.0.2")
	if story.Status != rollout.Completed {
		t.Error("the rollout is", story.Status)
	}
}

// TestABusWithoutJetStreamIsCalledSo is about a domain that there is not, which looks to whoever
// asks like a bus without JetStream.
func TestABusWithoutJetStreamIsCalledSo(t *testing.T) {
	r := connectIn(t, leaf(t, "hub", nil), "nowhere")()
	began := time.Now()
	_, err := journal.Make(t.Context(), r.Conn(), 1)
	if !errors.Is(err, journal.ErrNoJetStream) || !strings.Contains(err.Error(), "--js-domain") {
		t.Errorf("the error is %v, want that there is no JetStream", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s to say so", took)
	}
}

// Orchestrators that hear each other say hello now and then, and never because they have heard one.
func TestAHelloIsNotAnsweredByHellos(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	hellos := e.observe(protocol.EnvironmentSubject)
	begun := time.Now()
	e.until("a second is over", func() bool { return time.Since(begun) > time.Second })
	if n := len(hellos.heard(protocol.EnvironmentSubject)); n > 10 {
		t.Errorf("%d hellos were said in a second", n)
	}
}
