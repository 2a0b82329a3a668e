package fleet_test

import (
	"context"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// until makes a program that ends with its agent, as one does that looks at the descriptor that
// tells of that, or when it is told to go.
const until = "(cat <&3 >/dev/null; kill $$) & while ! test -e go; do sleep 0.02; done"

// An agent that is killed is noticed when its lease has run out.
func TestKilled(t *testing.T) {
	relaytest.Long(t)
	e := newEnvironment(t, until)
	e.agent("web-1")
	p := e.startProcess("web-2")
	done := e.begin(t.Context(), e.job())
	eventually(t, "both run", func() bool { return e.ran() == "web-1 forward 1, web-2 forward 1" })
	p.kill()
	began := time.Now()
	e.write("go")
	e.expect(e.await(done), "web-1 done, web-2 lost", "2 of 2 hosts had to succeed, 1 did: web-2: its agent has died")
	took := time.Since(began)
	t.Log("noticed after", took)
	if took > protocol.AgentLease+5*time.Second {
		t.Error("it was noticed after", took)
	}
}

// One that is killed and started again is noticed at once; the next attempt runs on it.
func TestKilledAndStartedAgain(t *testing.T) {
	e := newEnvironment(t, until)
	p := e.startProcess("web-1")
	done := e.begin(t.Context(), e.job())
	eventually(t, "it runs", func() bool { return e.ran() == "web-1 forward 1" })
	p.kill()
	began := time.Now()
	e.startProcess("web-1")
	e.expect(e.await(done), "web-1 lost", "the host did not succeed: web-1: its agent has died")
	t.Log("noticed after", time.Since(began))
	if took := time.Since(began); took > protocol.AgentLease/2 {
		t.Error("it was noticed after", took)
	}
	e.write("go")
	e.change(func(s *rollout.Step) { s.Attempt = 2 })
	e.expect(e.do(), "web-1 done", "")
	if got := e.ran(); got != "web-1 forward 1, web-1 forward 2" {
		t.Error(got)
	}
}

// Killed while nobody looks, and started again: whoever looks next finds out.
func TestKilledWhileNobodyLooks(t *testing.T) {
	e := newEnvironment(t, until)
	p := e.startProcess("web-1")
	looking, away := context.WithCancel(t.Context())
	first := e.begin(looking, e.job())
	eventually(t, "it runs", func() bool { return e.ran() == "web-1 forward 1" })
	away()
	e.await(first)
	p.kill()
	e.startProcess("web-1")
	e.expect(e.do(), "web-1 lost", "the host did not succeed: web-1: its agent has died")
	e.expect(e.do(), "web-1 lost", "the host did not succeed: web-1: its agent has died")
}
