package release_test

import (
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// FuzzParse finds either a manifest that keeps what the package promises, or
// problems that a person can find in the file.
func FuzzParse(f *testing.F) {
	for _, seed := range seeds(f) {
		f.Add(seed)
	}
	f.Add("app: a\nversion: 99999999999999999999.0.0\nmustNotSkip: [99999999999999999998.0.0]\n" +
		"requires: {version: 99999999999999999997.0.0}\nservices: {b: {version: 1.0.0}}\n")
	f.Fuzz(func(t *testing.T, text string) {
		m, err := release.Parse("golive.yaml", []byte(text))
		if err == nil {
			checkManifest(t, m)
			checkEnvironments(t, m, text)
			return
		}
		checkProblems(t, err, strings.Count(text, "\n")+strings.Count(text, "\r")+1)
	})
}

func checkManifest(t *testing.T, m *release.Manifest) {
	valid := protocol.ValidateName(m.App) == nil && protocol.ValidateVersion(m.Version) == nil &&
		(m.Strategy == rollout.Parallel || m.Strategy == rollout.Downtime) && m.Data != "" &&
		time.Duration(m.RetryAfter) >= time.Second && time.Duration(m.RetryAfter) <= time.Hour && time.Duration(m.RetryAfter)%time.Second == 0 &&
		len(m.Services) <= release.MaxServices && filepath.IsAbs(m.Dir) && len(m.Digest()) == 64
	if !valid {
		t.Errorf("not valid: %+v", m)
	}
	if len(m.Services) > 0 || m.Setup.Exists() { // else there is nothing to roll out
		if err := m.Release().Validate(); err != nil {
			t.Errorf("a rollout refuses what the manifest allows: %v", err)
		}
	}
	checkCommand(t, m.Setup.Command)
	checkCommand(t, m.Seed)
	checkMustNotSkip(t, m)
	checkPolicy(t, m)
	checkSteps(t, m)
	checkSettings(t, m)
	known := map[string]bool{}
	for _, s := range m.Services {
		known[s.Name] = true
		checkService(t, s)
	}
	for _, s := range m.Services {
		for _, on := range s.DependsOn {
			if !known[on] || on == s.Name {
				t.Errorf("%s depends on %q", s.Name, on)
			}
		}
	}
}

func checkMustNotSkip(t *testing.T, m *release.Manifest) {
	if len(m.MustNotSkip) > 100 {
		t.Errorf("%d versions must not be skipped", len(m.MustNotSkip))
	}
	for i, version := range m.MustNotSkip {
		if protocol.ValidateVersion(version) != nil || slices.Contains(m.MustNotSkip[:i], version) ||
			rollout.CompareVersions(version, m.Version) > 0 {
			t.Errorf("%s must not be skipped by %s: %q", version, m.Version, m.MustNotSkip)
		}
	}
}

func checkService(t *testing.T, s release.Service) {
	valid := protocol.ValidateName(s.Name) == nil && protocol.ValidateVersion(s.Version) == nil &&
		s.Timeout >= 0 && time.Duration(s.Timeout) <= 720*time.Hour && s.Instances >= 0 && s.Instances <= 1000 &&
		(s.Setup == nil || len(s.Migrations) > 0) && len(s.KeepOnline) <= 16 &&
		s.Retries >= 0 && s.Retries <= 100 &&
		(s.Pace == nil || s.Pace.InFlight >= 0 && s.Pace.InFlight <= 1024 && (s.Pace.Rate == nil || *s.Pace.Rate >= 0 && *s.Pace.Rate <= math.MaxFloat64)) &&
		(s.Backoff == 0 || s.Retries > 0 && time.Duration(s.Backoff) >= 100*time.Millisecond && time.Duration(s.Backoff) <= 5*time.Minute)
	if !valid {
		t.Errorf("not valid: %+v", s)
	}
	for _, phase := range s.Migrations {
		if phase.Validate() != nil || phase == protocol.Setup {
			t.Errorf("phase %q", phase)
		}
	}
	for i, version := range s.KeepOnline {
		if protocol.ValidateVersion(version) != nil || version == s.Version || slices.Contains(s.KeepOnline[:i], version) {
			t.Errorf("%s stays online beside %s: %q", version, s.Version, s.KeepOnline)
		}
	}
	checkCommand(t, s.Run)
	checkCommand(t, s.Setup)
}

func checkCommand(t *testing.T, command []string) {
	if command != nil && len(command) == 0 {
		t.Error("an empty command")
	}
	for _, word := range command {
		if word == "" || strings.ContainsRune(word, 0) {
			t.Errorf("a command with the word %q", word)
		}
	}
}

func checkProblems(t *testing.T, err error, lines int) {
	var problems release.Errors
	if !errors.As(err, &problems) || len(problems) == 0 {
		t.Fatalf("no problems: %v", err)
	}
	before := 0
	for _, p := range problems {
		switch {
		case p.Line < 1 || p.Line > lines || p.Column < 1 || p.File != "golive.yaml":
			t.Errorf("nowhere in the %d lines of the file: %+v", lines, p)
		case p.Line < before:
			t.Errorf("not in the order of the lines: %v", err)
		case p.Message == "" || strings.ContainsFunc(p.Error()+p.Hint, unicode.IsControl):
			t.Errorf("not a line that can be read: %q", p.Error())
		}
		before = p.Line
	}
}

// seeds are the manifests of the other tests.
func seeds(f *testing.F) []string {
	full, err := os.ReadFile("testdata/full/golive.yaml")
	if err != nil {
		f.Fatal(err)
	}
	seeds := []string{string(full), head, manySteps(5), run("on: {a: b}, need: 50%"), head + "environments: {a: {context: x}, b: {nats: nats://b, creds: c}}\n"}
	transcripts, err := filepath.Glob("testdata/mistakes/*.txt")
	if err != nil || len(transcripts) == 0 {
		f.Fatalf("no transcripts: %v", err)
	}
	for _, file := range transcripts {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for c := range strings.SplitSeq(string(text), "\n====\n") {
			manifest, _, _ := strings.Cut(c, "\n----")
			manifest, beside, _ := strings.Cut(manifest, "\n++++ ")
			_, environment, _ := strings.Cut(beside, "\n")
			seeds = append(seeds, manifest, manifest+"\nenvironments:\n  x:\n    "+strings.ReplaceAll(environment, "\n", "\n    "))
		}
	}
	return seeds
}
