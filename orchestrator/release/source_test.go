package release_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/release"
)

func TestWhatAReleaseMayBeTakenFromIsOfTheEnvironment(t *testing.T) {
	const text = head + "services: {b: {version: 1.0.0}}\nenvironments:\n  staging: {}\n  production: {source: {clean: true}, reports: elsewhere}\n"
	digests := map[string]bool{}
	for environment, clean := range map[string]bool{"": false, "staging": false, "production": true} {
		m, err := release.ParseFor("golive.yaml", []byte(text), environment)
		if err != nil || m.Environment.Source.Clean != clean || m.Reports == "elsewhere" != clean {
			t.Errorf("%q: %+v (%v)", environment, m.Environment, err)
		}
		digests[m.Digest()] = true
	}
	if len(digests) != 1 {
		t.Error("it changes the digest")
	}
	for mistake, want := range map[string]string{
		"source: true\n":          "source: expected a map like {clean: true}, found the truth value true",
		"source: {clean: yes}\n":  "source.clean: expected true or false, found the text \"yes\"",
		"source: {dirty: true}\n": "source.dirty: unknown key \"dirty\": valid are clean",
		"reports: \"\"\n":         "reports: the name of the folder must not be empty",
		"reports: [a]\n":          "reports: expected a folder like reports, found a list",
	} {
		if _, err := release.Parse("golive.yaml", []byte(head+"services: {b: {version: 1.0.0}}\n"+mistake)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", strings.TrimSpace(mistake), err, want)
		}
	}
}

func TestACopyIsReadAsWhereItWasTakenFrom(t *testing.T) {
	t.Parallel()
	folder, work := t.TempDir(), filepath.Join(t.TempDir(), "work")
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := release.LoadCopy(folder, work, ""); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a manifest: %v", err)
	}
	write("golive.yaml", head+"services: {b: {version: 1.0.0}}\n")
	write("golive.staging.yaml", "nats: nats://staging:4222\ncreds: staging.creds\n")
	m, err := release.LoadCopy(folder, work, "staging")
	if err != nil || m.Dir != work || m.Path != filepath.Join(work, "golive.yaml") || m.Environment.NATS != "nats://staging:4222" {
		t.Fatalf("got %+v (%v)", m, err)
	}
	for _, s := range m.Settings() {
		if strings.HasPrefix(s.File, folder) {
			t.Errorf("%s comes from %s", s.Key, s.File)
		}
	}
	write("golive.staging.yaml", "natz: x\n")
	var problems release.Errors
	if _, err := release.LoadCopy(folder, work, "staging"); !errors.As(err, &problems) || problems[0].File != filepath.Join(work, "golive.staging.yaml") {
		t.Errorf("a mistake gives %v", err)
	}
}
