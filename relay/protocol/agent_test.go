package protocol_test

import (
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
)

func TestAgentNames(t *testing.T) {
	for name, valid := range map[string]bool{
		"web-1": true, "Web_1": true, "1": true, "-": true, strings.Repeat("a", protocol.MaxAgentName): true,
		"": false, "_assignment": false, "_": false, "web.1": false, "*": false, ">": false, "w b": false, "wéb": false, "a\n": false,
		strings.Repeat("a", protocol.MaxAgentName+1): false,
	} {
		if err := protocol.ValidateAgentName(name); (err == nil) != valid {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestHostKeys(t *testing.T) {
	key := protocol.HostKey("0199c6d2", 3, true, "web-1")
	if key != "0199c6d2.3.revert.web-1" {
		t.Error(key)
	}
	rollout, step, revert, agent, ok := protocol.ParseHostKey(key)
	if rollout != "0199c6d2" || step != 3 || !revert || agent != "web-1" || !ok {
		t.Error(rollout, step, revert, agent, ok)
	}
	for _, other := range []string{
		"", "a.b.c.d", "a.1.do", "a.1.do.web.1", "a.01.do.web", "a.0.do.web", "a.1.does.web", ".1.do.web", "a.1.do.", protocol.AssignmentKey("a", 1, false),
	} {
		if _, _, _, _, ok := protocol.ParseHostKey(other); ok {
			t.Errorf("%q was taken for the key of a host", other)
		}
	}
	if !strings.HasPrefix(key, strings.TrimSuffix(protocol.HostKeys("0199c6d2"), ">")) {
		t.Error("a host's key is none of the rollout's")
	}
	if protocol.AssignmentKey("a", 1, false) != "a.1.do._assignment" {
		t.Error(protocol.AssignmentKey("a", 1, false))
	}
	if protocol.AgentSubject("web-1", "run") != "golive.agent.web-1.run" {
		t.Error(protocol.AgentSubject("web-1", "run"))
	}
}
