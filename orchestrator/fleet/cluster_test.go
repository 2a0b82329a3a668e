package fleet_test

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// While a cluster elects a leader nobody can write: that alone costs no host, and nothing
// runs twice.
func TestElection(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	cluster := relaytest.StartCluster(t, 3)
	e := newEnvironmentOn(t, cluster, 3, "while ! test -e go.$GOLIVE_ATTEMPT; do sleep 0.05; done")
	e.agent("web-1")
	e.agent("web-2")
	for attempt, stream := range []string{"KV_" + protocol.HostsBucket, "KV_" + protocol.AgentsBucket} {
		e.change(func(s *rollout.Step) { s.Attempt, s.Number = attempt+1, attempt+1 })
		done := e.begin(t.Context(), e.job())
		want := []string{"web-1 forward 1, web-2 forward 1", "web-1 forward 1, web-1 forward 2, web-2 forward 1, web-2 forward 2"}[attempt]
		eventually(t, "both run", func() bool { return e.ran() == want })
		leader := cluster.Leader(stream)
		began := time.Now()
		cluster.Stop(leader)
		e.write([]string{"go.1", "go.2"}[attempt]) // they end while nobody can write
		e.expect(e.await(done), "web-1 done, web-2 done", "")
		t.Log("decided after", time.Since(began))
		if got := e.ran(); got != want {
			t.Error(got)
		}
		cluster.StartAgain(leader)
		for _, s := range []string{"KV_" + protocol.HostsBucket, "KV_" + protocol.AgentsBucket, protocol.Stream} {
			cluster.AwaitCurrent(s)
		}
	}
}
