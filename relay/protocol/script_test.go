package protocol_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/relay/protocol"
)

// The names of README.md, "Messages".
func TestMessageNames(t *testing.T) {
	const rc = "1.0.0-rc.1+build.5"
	search := func(p protocol.Phase) protocol.Script {
		return protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: p}
	}
	app := protocol.Script{Name: "todo-app", Version: "0.0.2", Phase: protocol.Setup}
	tests := []struct {
		script protocol.Script
		verb   protocol.Verb
		want   string
	}{
		{search(protocol.Before), protocol.Start, "deployment-todo-search-0.0.1-before-start"},
		{search(protocol.Before), protocol.Done, "deployment-todo-search-0.0.1-before-done"},
		{search(protocol.Before), protocol.Failed, "deployment-todo-search-0.0.1-before-failed"},
		{search(protocol.Before), protocol.Progress, "deployment-todo-search-0.0.1-before-progress"},
		{search(protocol.Before), protocol.Cancel, "deployment-todo-search-0.0.1-before-cancel"},
		{search(protocol.Before), protocol.Pause, "deployment-todo-search-0.0.1-before-pause"},
		{search(protocol.Before), protocol.Resume, "deployment-todo-search-0.0.1-before-resume"},
		{search(protocol.Before), protocol.PaceSet, "deployment-todo-search-0.0.1-before-pace"},
		{search(protocol.Before), protocol.RevertStart, "deployment-todo-search-0.0.1-before-revert-start"},
		{search(protocol.Before), protocol.Reverted, "deployment-todo-search-0.0.1-before-reverted"},
		{search(protocol.Before), protocol.RevertFailed, "deployment-todo-search-0.0.1-before-revert-failed"},
		{search(protocol.Offline), protocol.Start, "deployment-todo-search-0.0.1-offline-start"},
		{search(protocol.Offline), protocol.Done, "deployment-todo-search-0.0.1-offline-done"},
		{search(protocol.Offline), protocol.Failed, "deployment-todo-search-0.0.1-offline-failed"},
		{search(protocol.Offline), protocol.Progress, "deployment-todo-search-0.0.1-offline-progress"},
		{search(protocol.Offline), protocol.Cancel, "deployment-todo-search-0.0.1-offline-cancel"},
		{search(protocol.Offline), protocol.Pause, "deployment-todo-search-0.0.1-offline-pause"},
		{search(protocol.Offline), protocol.Resume, "deployment-todo-search-0.0.1-offline-resume"},
		{search(protocol.Offline), protocol.PaceSet, "deployment-todo-search-0.0.1-offline-pace"},
		{search(protocol.Offline), protocol.RevertStart, "deployment-todo-search-0.0.1-offline-revert-start"},
		{search(protocol.Offline), protocol.Reverted, "deployment-todo-search-0.0.1-offline-reverted"},
		{search(protocol.Offline), protocol.RevertFailed, "deployment-todo-search-0.0.1-offline-revert-failed"},
		{search(protocol.Online), protocol.Start, "deployment-todo-search-0.0.1-online-start"},
		{search(protocol.Online), protocol.Done, "deployment-todo-search-0.0.1-online-done"},
		{search(protocol.Online), protocol.Failed, "deployment-todo-search-0.0.1-online-failed"},
		{search(protocol.Online), protocol.Progress, "deployment-todo-search-0.0.1-online-progress"},
		{search(protocol.Online), protocol.Cancel, "deployment-todo-search-0.0.1-online-cancel"},
		{search(protocol.Online), protocol.Pause, "deployment-todo-search-0.0.1-online-pause"},
		{search(protocol.Online), protocol.Resume, "deployment-todo-search-0.0.1-online-resume"},
		{search(protocol.Online), protocol.PaceSet, "deployment-todo-search-0.0.1-online-pace"},
		{search(protocol.Online), protocol.RevertStart, "deployment-todo-search-0.0.1-online-revert-start"},
		{search(protocol.Online), protocol.Reverted, "deployment-todo-search-0.0.1-online-reverted"},
		{search(protocol.Online), protocol.RevertFailed, "deployment-todo-search-0.0.1-online-revert-failed"},
		{app, protocol.Start, "todo-app-0.0.2-setting-up"},
		{app, protocol.Done, "todo-app-0.0.2-set-up"},
		{app, protocol.Failed, "todo-app-0.0.2-setup-script-failed"},
		{app, protocol.Progress, "todo-app-0.0.2-setup-progress"},
		{app, protocol.Cancel, "todo-app-0.0.2-setup-cancel"},
		{app, protocol.Pause, "todo-app-0.0.2-setup-pause"},
		{app, protocol.Resume, "todo-app-0.0.2-setup-resume"},
		{app, protocol.PaceSet, "todo-app-0.0.2-setup-pace"},
		{app, protocol.RevertStart, "todo-app-0.0.2-setup-revert-start"},
		{app, protocol.Reverted, "todo-app-0.0.2-setup-reverted"},
		{app, protocol.RevertFailed, "todo-app-0.0.2-setup-revert-failed"},
		{protocol.Script{Name: "todo-app", Version: rc, Phase: protocol.Setup}, protocol.Start, "todo-app-1.0.0-rc.1+build.5-setting-up"},
		{protocol.Script{Name: "todos", Version: rc, Phase: protocol.Offline}, protocol.Start, "deployment-todos-1.0.0-rc.1+build.5-offline-start"},
	}
	for _, tt := range tests {
		if got := tt.script.Subject(tt.verb); got != tt.want {
			t.Errorf("%v, verb %d: %s, want %s", tt.script, tt.verb, got, tt.want)
		}
	}
	if got := protocol.CompletedSubject("todo-app", "0.0.2"); got != "todo-app-0.0.2-set-up" {
		t.Errorf("completion event: %s", got)
	}
	if got := protocol.FailedSubject("todo-app", "0.0.2"); got != "todo-app-0.0.2-setup-failed" {
		t.Errorf("failure event: %s", got)
	}
}

func TestAScriptIsTold(t *testing.T) {
	s := protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: protocol.Offline}
	if s.String() != "todo-search 0.0.1 offline" || s.Step() != "todo-search/offline" {
		t.Errorf("%s, step %s", s, s.Step())
	}
}

func TestVerbsOfADirection(t *testing.T) {
	verbs := [][3]protocol.Verb{
		{protocol.StartVerb(false), protocol.DoneVerb(false), protocol.FailedVerb(false)},
		{protocol.StartVerb(true), protocol.DoneVerb(true), protocol.FailedVerb(true)},
	}
	want := [][3]protocol.Verb{
		{protocol.Start, protocol.Done, protocol.Failed},
		{protocol.RevertStart, protocol.Reverted, protocol.RevertFailed},
	}
	if verbs[0] != want[0] || verbs[1] != want[1] {
		t.Errorf("verbs %v, want %v", verbs, want)
	}
}

// Names and versions that are made of the words behind them.
var (
	nastyNames = []string{
		"a", "a-b", "a-1", "a-1-0", "b", "b-offline", "deployment", "deployment-a", "deployment-a-1", "a-before",
		"a-setup", "setup", "setup-script", "a-set", "a-deployment", "revert", "start",
	}
	nastyVersions = []string{
		"1.0.0", "0.0.0", "1.0.0-b", "1.0.0-1.0.0", "1.0.0-b-1.0.0", "1.0.0--", "1.0.0+b", "1.0.0+1.0.0-b", "1.0.0-b+b",
		"1.0.0-before", "1.0.0-offline", "1.0.0-online", "1.0.0+offline", "1.0.0-offline-start", "1.0.0-before-revert",
		"1.0.0-before-offline", "1.0.0-revert", "1.0.0-offline-revert", "1.0.0-start", "1.0.0-setup", "1.0.0-set",
		"1.0.0-setup-script", "1.0.0-setup-revert", "1.0.0-setting", "1.0.0-setup-pace", "1.0.0-set-up", "1.0.0-setup-failed", "1.0.0+setup-script",
	}
)

// everyMessage gives all messages about a name and version, as a service's and as an
// app's.
func everyMessage(name, version string) map[string]string {
	subjects := make(map[string]string) // by what they say
	for _, p := range append(protocol.ServicePhases(), protocol.Setup) {
		s := protocol.Script{Name: name, Version: version, Phase: p}
		for _, v := range protocol.Verbs() {
			if p == protocol.Setup && v == protocol.Done {
				continue // shares its name with the completion event, see below
			}
			subjects[s.String()+" "+protocol.Script{Name: "x", Version: "0.0.0", Phase: protocol.Before}.Subject(v)] = s.Subject(v)
		}
	}
	subjects[name+" "+version+" completed"] = protocol.CompletedSubject(name, version)
	subjects[name+" "+version+" failed"] = protocol.FailedSubject(name, version)
	return subjects
}

func TestDifferentMessagesNeverHaveOneName(t *testing.T) {
	says := make(map[string]string) // by subject
	for _, name := range nastyNames {
		for _, version := range nastyVersions {
			for what, subject := range everyMessage(name, version) {
				if other, taken := says[subject]; taken {
					t.Errorf("%s says both %q and %q", subject, other, what)
				}
				says[subject] = what
			}
		}
	}
}

func TestOnlyTheCompletionEventSharesANameWithAnAnswer(t *testing.T) {
	done := protocol.Script{Name: "a", Version: "1.0.0", Phase: protocol.Setup}.Subject(protocol.Done)
	if event := protocol.CompletedSubject("a", "1.0.0"); event != done {
		t.Errorf("completion event %s, the script's answer %s", event, done)
	}
}

func TestRandomMessagesNeverHaveOneName(t *testing.T) {
	word := rapid.SampledFrom([]string{"a", "1", "0", "before", "offline", "set", "up", "setup", "script", "start", "revert", "deployment", "failed", "done"})
	words := rapid.SliceOfN(word, 1, 4)
	name := rapid.Custom(func(t *rapid.T) string { return "a-" + strings.Join(words.Draw(t, "name"), "-") })
	version := rapid.Custom(func(t *rapid.T) string {
		v := "1.0." + rapid.SampledFrom([]string{"0", "1"}).Draw(t, "patch")
		if rapid.Bool().Draw(t, "pre-release") {
			v += "-x" + strings.Join(words.Draw(t, "pre"), rapid.SampledFrom([]string{"-", ".x"}).Draw(t, "joint"))
		}
		if rapid.Bool().Draw(t, "build") {
			v += "+" + strings.Join(words.Draw(t, "build"), "-")
		}
		return v
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := everyMessage(name.Draw(t, "a"), version.Draw(t, "of a")), everyMessage(name.Draw(t, "b"), version.Draw(t, "of b"))
		says := make(map[string]string)
		for what, subject := range a {
			says[subject] = what
		}
		for what, subject := range b {
			if other, taken := says[subject]; taken && other != what {
				t.Fatalf("%s says both %q and %q", subject, other, what)
			}
		}
	})
}

func FuzzSubjects(f *testing.F) {
	for _, name := range append([]string{"", "golive", "golive-x", "a..b", "a*", "> ", "ä"}, nastyNames...) {
		for _, version := range append([]string{"", "v1.0.0", "1.0", "1.0.0 ", "1.0.0-ä", "1.0.0-*"}, nastyVersions...) {
			f.Add(name, version)
		}
	}
	f.Fuzz(func(t *testing.T, name, version string) {
		badName, badVersion := protocol.ValidateName(name), protocol.ValidateVersion(version)
		mustTellRule(t, badName, name)
		mustTellRule(t, badVersion, version)
		for _, p := range append(protocol.ServicePhases(), protocol.Setup) {
			s := protocol.Script{Name: name, Version: version, Phase: p}
			if (s.Validate() == nil) != (badName == nil && badVersion == nil) {
				t.Errorf("script %q: %v, its name: %v, its version: %v", s, s.Validate(), badName, badVersion)
			}
		}
		if badName != nil || badVersion != nil {
			return
		}
		for what, subject := range everyMessage(name, version) {
			mustBePublishable(t, what, subject)
		}
		mustBePublishable(t, "private address", protocol.PrivateSubject(name, version, "a.b.c.d"))
		mustBePublishable(t, "production address", protocol.ProductionSubject(name, "a.b.c.d"))
	})
}

// mustTellRule fails the test unless err is nil or says which rule value breaks.
func mustTellRule(t *testing.T, err error, value string) {
	t.Helper()
	if err == nil {
		return
	}
	var invalid *protocol.InvalidError
	if !errors.As(err, &invalid) || invalid.Rule == "" || invalid.Value != value {
		t.Errorf("%q: error %#v does not tell the rule that was broken", value, err)
	}
}

// mustBePublishable fails the test unless a NATS message can be published on subject.
func mustBePublishable(t *testing.T, what, subject string) {
	t.Helper()
	for _, token := range strings.Split(subject, ".") {
		if token == "" {
			t.Errorf("%s: %q has an empty token", what, subject)
		}
	}
	for _, c := range subject {
		if c <= ' ' || c > '~' || c == '*' || c == '>' {
			t.Errorf("%s: %q holds %q", what, subject, c)
		}
	}
	if strings.HasPrefix(subject, "$") || strings.HasPrefix(subject, "_") {
		t.Errorf("%s: %q is NATS's own", what, subject)
	}
}
