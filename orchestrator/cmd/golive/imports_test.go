package main

import (
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/golive-dev/golive/"

// TestImports keeps who may import whom, so that the listing of folders in CONTRIBUTING.md
// stays the architecture. A package that is not listed here is an error.
func TestImports(t *testing.T) {
	adapters := []string{"orchestrator/rollout", "relay", "relay/bus", "relay/protocol"}
	commandMay := append(adapters, "relay/transfer", "orchestrator/api", "orchestrator/tasks", "orchestrator/journal", "orchestrator/ledger", "orchestrator/gate",
		"orchestrator/fleet", "orchestrator/records", "orchestrator/snapshot", "orchestrator/rehearsed", "orchestrator/setup", "orchestrator/storage", "orchestrator/kept", "orchestrator/view")
	localMay := append(adapters, "relay/transfer", "orchestrator/api", "orchestrator/journal", "orchestrator/gate", "orchestrator/agent", "orchestrator/process",
		"orchestrator/release", "orchestrator/report", "orchestrator/terminal", "relay/embedded")
	allowed := map[string][]string{
		"relay/protocol":          {},
		"relay/bus":               {"relay/protocol"},
		"relay":                   {"relay/bus", "relay/protocol", "relay/transfer"},
		"relay/transfer":          {"relay/protocol"},
		"relay/embedded":          {},
		"relay/relaytest":         {"relay", "relay/embedded", "relay/protocol"},
		"sdk":                     {"relay", "relay/bus", "relay/protocol"},
		"sdk/state":               {"relay", "relay/transfer"},
		"sdk/spec":                {"relay", "relay/bus", "relay/protocol", "relay/embedded", "sdk"},
		"orchestrator/release":    {"relay/protocol", "orchestrator/mask", "orchestrator/rollout"},
		"orchestrator/rollout":    {"relay/protocol"},
		"orchestrator/process":    {},
		"orchestrator/source":     {"orchestrator/rollout"},
		"orchestrator/mask":       {},
		"orchestrator/access":     {"orchestrator/rollout", "relay", "relay/protocol"},
		"orchestrator/journal":    adapters,
		"orchestrator/ledger":     adapters,
		"orchestrator/gate":       adapters,
		"orchestrator/fleet":      adapters,
		"orchestrator/agent":      append(adapters, "relay/transfer", "orchestrator/journal", "orchestrator/process", "orchestrator/release"),
		"orchestrator/api":        append(adapters, "orchestrator/ledger", "orchestrator/gate", "orchestrator/snapshot", "orchestrator/rehearsed"),
		"orchestrator/tasks":      {},
		"orchestrator/records":    adapters,
		"orchestrator/rehearsed":  adapters,
		"orchestrator/snapshot":   append(adapters, "orchestrator/mask"),
		"orchestrator/storage":    adapters,
		"orchestrator/kept":       append(adapters, "orchestrator/journal"),
		"orchestrator/setup":      append(adapters, "orchestrator/tasks"),
		"orchestrator/view":       append(adapters, "orchestrator/api", "orchestrator/journal", "orchestrator/tasks"),
		"orchestrator/command":    commandMay,
		"orchestrator/engine":     append(commandMay, "orchestrator/command"),
		"orchestrator":            append(commandMay, "orchestrator/command", "orchestrator/engine"),
		"orchestrator/terminal":   {},
		"orchestrator/report":     {"orchestrator/rollout", "orchestrator/api", "orchestrator/snapshot", "orchestrator/terminal", "relay/protocol"},
		"orchestrator/local":      localMay,
		"orchestrator/rehearsal":  append(adapters, "orchestrator/api", "orchestrator/journal", "orchestrator/process", "orchestrator/snapshot"),
		"orchestrator/cmd/golive": {"*"},
	}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		may, listed := allowed[name]
		if strings.HasPrefix(name, "examples/") {
			may, listed = []string{"relay", "relay/protocol", "sdk", "sdk/state"}, true
		}
		if name == "features" {
			continue // tests only
		}
		if !listed {
			t.Errorf("%s is not listed: say here whom it may import", name)
		}
		for _, i := range p.Imports {
			ours, found := strings.CutPrefix(i, module)
			if !found {
				checkOther(t, name, i)
				continue
			}
			if !slices.Contains(may, ours) && !slices.Contains(may, "*") {
				t.Errorf("%s imports %s", name, ours)
			}
		}
	}
}

// checkOther keeps packages of others behind the one of ours that they belong to.
func checkOther(t *testing.T, name, path string) {
	t.Helper()
	first, _, _ := strings.Cut(path, "/")
	switch {
	case name == "relay/protocol" && strings.Contains(first, "."):
		t.Errorf("relay/protocol imports %s: it may import the standard library only", path)
	case strings.HasPrefix(path, "github.com/nats-io/nats-server") && name != "relay/embedded":
		t.Errorf("%s imports %s: only relay/embedded may", name, path)
	case slices.Contains([]string{"orchestrator/rollout", "orchestrator/report", "orchestrator/mask"}, name) &&
		slices.Contains([]string{"context", "net", "net/http", "os", "sync", "math/rand", "math/rand/v2"}, path):
		t.Errorf("%s imports %s: it is pure", name, path)
	}
}

type goPackage struct {
	ImportPath string
	Imports    []string
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	var all []goPackage
	d := json.NewDecoder(strings.NewReader(string(out)))
	for d.More() {
		var p goPackage
		if err := d.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	if len(all) < 10 {
		t.Fatalf("found only %d packages", len(all))
	}
	return all
}
