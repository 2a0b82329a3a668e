package release_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/mask"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func ExampleLoadFor() {
	m, err := release.LoadFor("testdata/staging", "staging")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(m.Environment.Name, m.Environment.NATS, m.Strategy)
	for _, s := range m.Settings() {
		if strings.HasPrefix(s.Key, "services.todo-search.pace") || s.Key == "strategy" || s.Key == "services.todos.instances" {
			fmt.Printf("%s: %s (%s:%d, %q)\n", s.Key, s.Value, s.File, s.Line, s.Within)
		}
	}
	// Output:
	// staging nats://staging:4222 parallel
	// strategy: parallel (testdata/staging/golive.yaml:10, "staging")
	// services.todos.instances: 1 (:0, "")
	// services.todo-search.pace.rate: 100 (testdata/staging/golive.yaml:11, "staging")
}

func TestAnEnvironmentMergesMapsAndReplacesAllElse(t *testing.T) {
	m := loadFor(t, "staging")
	search := m.Services[1]
	want := release.Environment{
		Name: "staging", NATS: "nats://staging:4222", Creds: "secrets/staging.creds",
		Approvals: rollout.Policy{Required: true, By: []string{"carol"}, Count: 1, NotStarter: true, Deadline: rollout.Duration(4 * time.Hour), Rehearsed: rollout.Duration(24 * time.Hour)},
		Source:    release.SourcePolicy{Clean: true},
		Snapshots: release.Snapshots{Folder: "../snapshots", Keep: 3},
		Mask:      map[string]mask.Written{"todos": {"title": mask.Text, "owner.mail": mask.Mail, "#1": mask.Digits}, "users": {"mail": mask.Mail}},
	}
	switch {
	case !reflect.DeepEqual(m.Environment, want):
		t.Errorf("the environment is %+v", m.Environment)
	case m.Strategy != rollout.Parallel || time.Duration(m.RetryAfter) != 5*time.Second || !m.Setup.External || m.AutoRevert || m.Data != ".golive" || m.Reports != "reports" || m.Snapshot != "":
		t.Errorf("not overridden: %+v", m)
	case search.Instances != 1 || time.Duration(search.Timeout) != 10*time.Minute || *search.Pace.Rate != 100:
		t.Errorf("not merged: %+v", search)
	case len(m.Steps) != 3 || len(m.Services) != 3 || m.Services[0].Name != "todos" || !slices.Equal(m.Seed, []string{"./seed"}):
		t.Errorf("not replaced: %+v", m)
	}
}

func TestAnEnvironmentMayStandInAFileOfItsOwn(t *testing.T) {
	m := loadFor(t, "dev")
	if m.Environment.NATS != "nats://127.0.0.1:4222" || *m.Services[2].Pace.Rate != 0 || m.Services[2].Pace.InFlight != 8 {
		t.Errorf("got %+v", m)
	}
	i := slices.IndexFunc(m.Settings(), func(s release.Setting) bool { return s.Key == "services.web.pace.rate" })
	want := release.Setting{Key: "services.web.pace.rate", Value: "0", File: "testdata/full/golive.dev.yaml", Line: 4, Within: "dev"}
	if got := m.Settings()[i]; got != want {
		t.Errorf("got %+v", got)
	}
}

func TestTheBusOfEveryEnvironmentIsKnown(t *testing.T) {
	for _, environment := range []string{"", "staging", "production"} {
		m := loadFor(t, environment)
		for name, want := range map[string]string{"dev": "nats://127.0.0.1:4222", "staging": "nats://staging:4222", "production": ""} {
			if got, known := m.Bus(name); !known || got.NATS != want || got.Name != name {
				t.Errorf("in %q the bus of %s is %+v", environment, name, got)
			}
		}
		production, _ := m.Bus("production")
		if _, known := m.Bus(""); known || production.Context != "prod" || production.Approvals.Count != 2 {
			t.Errorf("in %q the bus of production is %+v", environment, production)
		}
	}
}

func TestAnUnknownEnvironmentIsTold(t *testing.T) {
	for name, want := range map[string]string{
		"stagin": "testdata/full/golive.yaml:1:1: environments: unknown environment \"stagin\": known are dev, production, staging\nhint: did you mean staging?",
		"x y":    "testdata/full/golive.yaml:1:1: environments: unknown environment \"x y\": known are dev, production, staging\nhint: ",
	} {
		_, err := release.LoadFor("testdata/full", name)
		var problems release.Errors
		if !errors.As(err, &problems) || len(problems) != 1 || problems[0].Error()+"\nhint: "+problems[0].Hint != want {
			t.Errorf("got %v\nwant %s", err, want)
		}
	}
	_, err := release.ParseFor("golive.yaml", []byte(head), "staging")
	if err == nil || err.Error() != `golive.yaml:1:1: environments: unknown environment "staging": the manifest has none` {
		t.Errorf("got %v", err)
	}
}

func TestFilesOfEnvironmentsAreNamedAsTheManifest(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"golive.yaml": head, "golive.test.yaml": "strategy: fast\n", "golive.yml": "x: y\n", "golive..yaml": "x: y\n",
		"golive.schema.json": "{", "other.test.yaml": "x: y\n", "other.yaml": head,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "golive.folder.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, path := range []string{".", "golive.yaml", "other.yaml"} {
		_, err := release.Load(path)
		if err == nil || err.Error() != `golive.test.yaml:1:11: strategy: unknown strategy "fast": valid are parallel, downtime` {
			t.Errorf("%s: %v", path, err)
		}
	}
}

func TestTooManyEnvironments(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("golive.yaml", head)
	for i := range release.MaxEnvironments {
		write(fmt.Sprintf("golive.e%d.yaml", i), "{}")
	}
	m, err := release.LoadFor(dir, "e7")
	if err != nil || len(m.Environments) != release.MaxEnvironments {
		t.Fatalf("got %v", err)
	}
	write("golive.yaml", head+"environments: {more: {}}\n")
	if _, err := release.Load(dir); err == nil || !strings.HasSuffix(err.Error(), "golive.e9.yaml:1:1: this is environment 51: at most 50 are allowed") {
		t.Errorf("got %v", err)
	}
}

func TestWithoutANameNothingIsDifferent(t *testing.T) {
	m := loadFor(t, "")
	if m.Environment.Name != "" || m.Environment.NATS != "" || m.Environment.Approvals.Count != 2 || m.Strategy != rollout.Downtime {
		t.Errorf("got %+v", m)
	}
}

func TestAnEnvironmentCanTakeStepsAway(t *testing.T) {
	const text = head + "services: {b: {version: 1.0.0, migrations: [before]}}\nsteps: [{phase: before}, {phase: online}]\nenvironments: {dev: {steps: []}}\n"
	m, err := release.ParseFor("golive.yaml", []byte(text), "dev")
	if err != nil || m.Steps != nil || m.Services[0].Migrations[0] != protocol.Before {
		t.Errorf("got %+v, %v", m, err)
	}
}

func loadFor(t *testing.T, environment string) *release.Manifest {
	t.Helper()
	m, err := release.LoadFor("testdata/full", environment)
	if err != nil {
		t.Fatal(err)
	}
	return m
}
