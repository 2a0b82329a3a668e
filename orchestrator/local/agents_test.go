package local

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/protocol"
)

// Agents with other labels have other names, which are names of agents.
func TestEachRoleHasANameOfItsOwn(t *testing.T) {
	long := strings.Repeat("x", 63)
	all := []map[string]string{
		nil,
		{"role": "web"},
		{"role": "web_1"},
		{"role": "web-1"},
		{"role": "web.1"},
		{"role": "web/1"},
		{"role-web": "1"},
		{"role": "a-zone-b"},
		{"role": "a", "zone": "b"},
		{"role-a": "zone", "b": "c"},
		{"b": "c", "role": "a-zone"},
		{"role": long},
		{"role": long[1:] + "y"},
		{long: "web"},
	}
	names := make(map[string]map[string]string)
	for _, labels := range all {
		name := localName("part", labels)
		if err := protocol.ValidateAgentName(name); err != nil {
			t.Errorf("%v: %v", labels, err)
		}
		if others, taken := names[name]; taken {
			t.Errorf("%v and %v are both %s", labels, others, name)
		}
		if again := localName("part", maps.Clone(labels)); again != name {
			t.Errorf("%v is %s, and then %s", labels, name, again)
		}
		names[name] = labels
	}
	for want, labels := range map[string]map[string]string{
		"local-part": nil, "local-part-role-web": {"role": "web"}, "local-part-role-web-zone-a": {"zone": "a", "role": "web"},
	} {
		if got := localName("part", labels); got != want {
			t.Errorf("%v is %s, want %s", labels, got, want)
		}
	}
}

func TestEachRoleOfAManifestGetsAnAgent(t *testing.T) {
	step := func(role string) release.Step {
		return release.Step{Command: &release.Command{Shell: "true"}, On: map[string]string{"role": role}}
	}
	m := &release.Manifest{App: "coll", Steps: []release.Step{step("web-1"), step("web.1"), step("web-1"), {}}}
	var roles []string
	for _, labels := range rolesOf(m) {
		roles = append(roles, labels["role"])
	}
	slices.Sort(roles)
	if want := []string{"web-1", "web.1"}; !slices.Equal(roles, want) {
		t.Errorf("agents for %q, want %q", roles, want)
	}
}
