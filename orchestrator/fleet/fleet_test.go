package fleet_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func names(agents []protocol.Agent) string {
	var all []string
	for _, a := range agents {
		all = append(all, a.Name)
	}
	return strings.Join(all, " ")
}

func TestMatching(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("web-2", "zone=a")
	e.agent("web-1", "zone=b")
	e.agent("db-1", "role=db")
	other := manifest(e.dir)
	other.Version = "1.0.0"
	e.agentOf("old-1", map[string]string{"role": "web"}, other)
	gone := e.agent("web-3")
	gone()
	all, err := e.Agents(t.Context())
	e.must(err)
	if names(all) != "db-1 old-1 web-1 web-2" {
		t.Error(names(all))
	}
	for on, want := range map[string]string{"role=web": "web-1 web-2", "role=web zone=b": "web-1", "zone=c": "", "": "db-1 web-1 web-2"} {
		labels := make(map[string]string)
		for _, l := range strings.Fields(on) {
			key, value, _ := strings.Cut(l, "=")
			labels[key] = value
		}
		got, err := e.Matching(t.Context(), e.state.Release, rollout.Step{Work: &rollout.Work{On: labels}})
		e.must(err)
		if names(got) != want {
			t.Errorf("%s: %s", on, names(got))
		}
	}
	r := e.state.Release
	r.Digest = "3f2a"
	got, err := e.Matching(t.Context(), r, rollout.Step{})
	e.must(err)
	if len(got) != 0 {
		t.Error("another digest:", names(got))
	}
}

func TestForget(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("web-1")
	e.expect(e.do(), "web-1 done", "")
	other := protocol.HostKey("another", 1, false, "web-1")
	e.put(other, protocol.Host{})
	for _, id := range []string{"", "*", ">", "a.b"} {
		if err := e.Forget(t.Context(), id); err == nil {
			t.Errorf("forgot %q", id)
		}
	}
	e.must(e.Forget(t.Context(), e.state.ID))
	keys, err := e.hosts.ListKeys(t.Context())
	e.must(err)
	for key := range keys.Keys() {
		if key != other {
			t.Error("there is still", key)
		}
	}
	e.must(e.Forget(t.Context(), "another"))
	if _, err := e.hosts.Get(t.Context(), other); !errors.Is(err, jetstream.ErrKeyNotFound) {
		t.Error(err)
	}
}
