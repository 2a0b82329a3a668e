package features

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay/relaytest"
)

// patience is how long a step waits for something that should happen at once.
const patience = 40 * time.Second

var update = flag.Bool("update", false, "rewrite testdata")

// TestMain lets the test binary be the programs of the apps under test as well.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "-role" {
		os.Exit(play(os.Args[2], os.Args[3:]))
	}
	signal.Notify(make(chan os.Signal, 1), syscall.SIGHUP) // else programs inherit that it is ignored, as under nohup
	relaytest.Parallel(6)
	os.Exit(runTests(m))
}

const envFolder = "FEATURES_FOLDER" // of what is built once

func runTests(m *testing.M) int {
	folder, err := os.MkdirTemp("", "golive-features-")
	if err == nil {
		defer os.RemoveAll(folder)
		err = errors.Join(
			os.Setenv(envFolder, folder),
			os.Setenv("GORACE", "atexit_sleep_ms=0 "+os.Getenv("GORACE")), // programs end at once
		)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// golive builds the binary, once, and gives its path.
var golive = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.Getenv(envFolder), "golive")
	build := exec.Command("go", "build", "-o", path, "github.com/golive-dev/golive/orchestrator/cmd/golive")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build golive: %w\n%s", err, out)
	}
	return path, nil
})

// goCache is where the go command keeps what it has built. It is told to the programs
// under test, whose cache folder is otherwise that of the scenario.
var goCache = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	return strings.TrimSpace(string(out)), err
})

// TestFeatures runs each feature beside the others.
func TestFeatures(t *testing.T) {
	paths, err := filepath.Glob("*.feature")
	if err != nil || len(paths) == 0 {
		t.Fatalf("there is no feature: %v", err)
	}
	if _, err := golive(); err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		t.Run(strings.TrimSuffix(path, ".feature"), func(t *testing.T) {
			t.Parallel()
			mustHoldScenarios(t, path)
			runFeature(t, path)
		})
	}
}

func runFeature(t *testing.T, path string) {
	t.Helper()
	var without []string
	if testing.Short() {
		without = append(without, "~@long")
	}
	status := godog.TestSuite{
		Name: "golive",
		Options: &godog.Options{
			Format: "pretty", Paths: []string{path}, Strict: true, TestingT: t, Tags: strings.Join(without, " && "),
			Output: t.Output(), NoColors: true, DefaultContext: t.Context(),
		},
		ScenarioInitializer: func(sc *godog.ScenarioContext) { register(sc, t.Output()) },
	}.Run()
	if status != 0 && !t.Failed() {
		t.Errorf("godog ended with status %d", status)
	}
}

// mustHoldScenarios fails the test for a feature that would pass because it says
// nothing.
func mustHoldScenarios(t *testing.T, path string) {
	t.Helper()
	features, err := godog.TestSuite{Options: &godog.Options{Paths: []string{path}}}.RetrieveFeatures()
	if err != nil {
		t.Fatal(err)
	}
	scenarios := 0
	for _, f := range features {
		for _, p := range f.Pickles {
			scenarios++
			if len(p.Steps) == 0 {
				t.Errorf("scenario %q of %s has no steps", p.Name, path)
			}
		}
		if f.Feature != nil && strings.TrimSpace(f.Feature.Description) == "" {
			t.Errorf("%s does not say who wants what and why", path)
		}
	}
	if scenarios == 0 {
		t.Errorf("%s holds no scenario", path)
	}
}
