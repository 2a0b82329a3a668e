package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/golive-dev/golive/relay/protocol"
)

func TestNames(t *testing.T) {
	tests := []struct {
		name string
		rule string // that it breaks; empty: it is valid
	}{
		{"a", ""},
		{"todo-search", ""},
		{"todo-2", ""},
		{"a1-b2-c3", ""},
		{"golive2", ""},
		{"my-golive", ""},
		{strings.Repeat("a", 63), ""},
		{"", "must not be empty"},
		{strings.Repeat("a", 64), "is 64 characters long, at most 63 are allowed"},
		{"Todo", "may hold only lower-case letters, digits and hyphens"},
		{"todo search", "may hold only lower-case letters, digits and hyphens"},
		{"todo.search", "may hold only lower-case letters, digits and hyphens"},
		{"todo_search", "may hold only lower-case letters, digits and hyphens"},
		{"todo\n", "may hold only lower-case letters, digits and hyphens"},
		{"*", "may hold only lower-case letters, digits and hyphens"},
		{">", "may hold only lower-case letters, digits and hyphens"},
		{"größe", "may hold only lower-case letters, digits and hyphens"},
		{strings.Repeat("ä", 40), "may hold only lower-case letters, digits and hyphens"},
		{"1todo", "must start with a letter"},
		{"-todo", "must start with a letter"},
		{"todo-", "must not end with a hyphen"},
		{"todo--search", "must not hold two hyphens in a row"},
		{"golive", "is reserved: golive and names that start with golive- are the orchestrator's own"},
		{"golive-todo", "is reserved: golive and names that start with golive- are the orchestrator's own"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			mustBreak(t, protocol.ValidateName(tt.name), "name", tt.name, tt.rule)
		})
	}
}

func TestVersions(t *testing.T) {
	const noVersion = "must be a SemVer 2.0 version such as 1.0.0 or 1.0.0-rc.1+build.5"
	tests := []struct {
		version string
		rule    string // that it breaks; empty: it is valid
	}{
		{"0.0.0", ""},
		{"0.0.1", ""},
		{"10.20.30", ""},
		{"1.0.0-rc.1", ""},
		{"1.0.0-rc.1+build.5", ""},
		{"1.0.0+build.5", ""},
		{"1.0.0+007", ""},
		{"1.0.0-0", ""},
		{"1.0.0-0a", ""},
		{"1.0.0--", ""},
		{"1.0.0-a-b.c-d+e-f.g-h", ""},
		{"1.0.0-" + strings.Repeat("a", 58), ""},
		{"", "must not be empty"},
		{"1.0.0-" + strings.Repeat("a", 59), "is 65 characters long, at most 64 are allowed"},
		{"v1.0.0", "must not start with a v: write 1.0.0, not v1.0.0"},
		{"V1.0.0", "must not start with a v: write 1.0.0, not v1.0.0"},
		{"1", noVersion},
		{"1.0", noVersion},
		{"1.0.0.0", noVersion},
		{"01.0.0", noVersion},
		{"1.00.0", noVersion},
		{"1.0.0-", noVersion},
		{"1.0.0+", noVersion},
		{"1.0.0-01", noVersion},
		{"1.0.0-a..b", noVersion},
		{"1.0.0+a..b", noVersion},
		{"1.0.0-a_b", noVersion},
		{"1.0.0+a+b", noVersion},
		{"1.0.0 ", noVersion},
		{"1.0.0\n", noVersion},
		{"1.0.*", noVersion},
		{"1.0.>", noVersion},
		{"١.0.0", noVersion},
	}
	for _, tt := range tests {
		t.Run(tt.version, func(t *testing.T) {
			mustBreak(t, protocol.ValidateVersion(tt.version), "version", tt.version, tt.rule)
		})
	}
}

func TestMessages(t *testing.T) {
	const noTokens = "must be tokens of letters, digits, _ and -, joined by dots"
	tests := []struct {
		message string
		rule    string // that it breaks; empty: it is valid
	}{
		{"add", ""},
		{"Add_all-2", ""},
		{"a.b", ""},
		{"a.b.c.d", ""},
		{"a.b.c.d.e", "has 5 tokens, at most 4 are allowed"},
		{"", noTokens},
		{".", noTokens},
		{"a.", noTokens},
		{".a", noTokens},
		{"a..b", noTokens},
		{"a b", noTokens},
		{"a\n", noTokens},
		{"*", noTokens},
		{"a.>", noTokens},
		{"$a", noTokens},
		{"ä", noTokens},
	}
	for _, tt := range tests {
		t.Run(tt.message, func(t *testing.T) {
			mustBreak(t, protocol.ValidateMessage(tt.message), "message", tt.message, tt.rule)
		})
	}
}

func TestAMessageNameIsTakenApartAtItsFirstDot(t *testing.T) {
	service, message, err := protocol.SplitMessage("todo-search.index.add.many.now")
	if service != "todo-search" || message != "index.add.many.now" || err != nil {
		t.Errorf("service %q, message %q, error %v", service, message, err)
	}
	for name, rule := range map[string]string{
		"todos":             "must be written <service>.<message>, such as todos.list",
		"":                  "must be written <service>.<message>, such as todos.list",
		".list":             "must not be empty",
		"todos.":            "must be tokens of letters, digits, _ and -, joined by dots",
		"todos.a.b.c.d.e":   "has 5 tokens, at most 4 are allowed",
		"golive.api.deploy": "is reserved: golive and names that start with golive- are the orchestrator's own",
		"$SRV.PING":         "may hold only lower-case letters, digits and hyphens",
	} {
		_, _, err := protocol.SplitMessage(name)
		var invalid *protocol.InvalidError
		if !errors.As(err, &invalid) || invalid.Rule != rule {
			t.Errorf("%q: error %v, want %q", name, err, rule)
		}
	}
}

func TestPhases(t *testing.T) {
	for _, p := range append(protocol.ServicePhases(), protocol.Setup) {
		mustBreak(t, p.Validate(), "phase", string(p), "")
	}
	for _, p := range []protocol.Phase{"", "Before", "after", "setup "} {
		mustBreak(t, p.Validate(), "phase", string(p), "is none of before, offline, online, setup")
	}
}

func TestAnInvalidScriptIsRefusedForItsFirstInvalidPart(t *testing.T) {
	valid := protocol.Script{Name: "todos", Version: "0.0.1", Phase: protocol.Before}
	if err := valid.Validate(); err != nil {
		t.Errorf("%v: %v", valid, err)
	}
	for want, s := range map[string]protocol.Script{
		`name "Todos" may hold only lower-case letters, digits and hyphens`: {Name: "Todos", Version: "x", Phase: "x"},
		`version "v1.0.0" must not start with a v: write 1.0.0, not v1.0.0`: {Name: "todos", Version: "v1.0.0", Phase: "x"},
		`phase "x" is none of before, offline, online, setup`:               {Name: "todos", Version: "1.0.0", Phase: "x"},
	} {
		if err := s.Validate(); err == nil || err.Error() != want {
			t.Errorf("%v: error %q, want %q", s, err, want)
		}
	}
}

// mustBreak fails the test unless err says that value of kind breaks rule. An empty
// rule means that it breaks none.
func mustBreak(t *testing.T, err error, kind, value, rule string) {
	t.Helper()
	if rule == "" {
		if err != nil {
			t.Errorf("error %v, want none", err)
		}
		return
	}
	var invalid *protocol.InvalidError
	if !errors.As(err, &invalid) {
		t.Fatalf("error %v, want one that says: %s", err, rule)
	}
	if want := (protocol.InvalidError{Kind: kind, Value: value, Rule: rule}); *invalid != want {
		t.Errorf("error %+v, want %+v", *invalid, want)
	}
}
