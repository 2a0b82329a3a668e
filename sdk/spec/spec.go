// Package spec is for authors of setup services who specify their scripts before
// they run on production data: godog steps that run the scripts of one setup service
// against doubles of the services they talk to.
//
//	func TestDeployment(t *testing.T) {
//		spec.Run(t, spec.Suite{
//			SetupService: setup.New(), // or Command, for a setup service in any language
//			Features:     []string{"todo-search.feature"},
//			Doubles: []spec.Double{
//				{Name: "todos", Service: "todos", Version: "0.0.1", List: "list"},
//				{Name: "todos-search", Service: "todo-search", Version: "0.0.1", Add: "add"},
//			},
//		})
//	}
//
// These are the steps; NAME is a double's, and a table has a column for each field:
//
//	Given a NAME service
//	Given a NAME service with the entries:
//	When the deployment script runs                 (again: in a second rollout)
//	When the before|offline|online migration runs
//	When the setup script runs
//	When the deployment script is reverted
//	Then the deployment script fails with "some of its error"  (or: the online migration, the setup script)
//	Then the NAME service contains these entries:   (or: knows about these documents:)
//	Then the NAME service contains no entries       (or: knows about no documents)
//
// Before "contains" and "knows" one may say "still", and "a" or "an" for "the". A
// script that fails makes its When step fail, unless a later step expects it to.
//
// Each scenario has a NATS server, a setup service and doubles of its own, and nothing
// of them is left when it ends. The package speaks the wire protocol as the
// orchestrator does and shares no code with it: what passes here has been told nothing
// that a real rollout would not tell. It plays one orchestrator on a healthy bus, so it
// shows what a script does, never what it survives.
//
// A setup service that is a Command is run in a process group of its own, which works
// on Unix only.
package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// Defaults of [Suite].
const (
	DefaultTimeout = 30 * time.Second
	DefaultApp     = "app"
)

// Suite says which scripts are specified by which features, with doubles of which
// services. It can be run any number of times.
type Suite struct {
	Features []string // paths of features or folders of them, FILE:LINE for one scenario; required
	Doubles  []Double // the services that the features may name

	SetupService sdk.SetupService // the setup service, run in this process; or

	Command []string         // program and arguments of one in any language, started with GOLIVE_NATS_URL; with it:
	Dir     string           // the folder it runs in; empty: that of this process
	Service string           // the service whose scripts it holds; empty: it is the setup service of App
	Version string           // of Service, or of App; required
	Phases  []protocol.Phase // that it has scripts for; required
	Reverts []protocol.Phase // that it can undo

	App        string        // the app that the starts name; empty: that of SetupService, else [DefaultApp]
	AppVersion string        // empty: the version of the service or app that is set up
	Timeout    time.Duration // how long each script may take; 0: [DefaultTimeout]
}

// Run runs the scenarios of s as subtests of t, which fails when one of them does,
// when a step is unknown and when there is no scenario at all.
func Run(t *testing.T, s Suite) {
	t.Helper()
	if err := s.run(t.Context(), t.Output(), t); err != nil && !t.Failed() {
		t.Error(err)
	}
}

// Run runs the scenarios of s and tells out how each went; the output of a Command
// goes there too. It returns when all that it has started has ended. The error says
// which scenarios failed and why; it is nil only when at least one was run and all
// passed.
func (s Suite) Run(ctx context.Context, out io.Writer) error { return s.run(ctx, out, nil) }

func (s Suite) run(ctx context.Context, out io.Writer, t *testing.T) error {
	s, err := s.complete()
	if err != nil {
		return err
	}
	total, err := s.count()
	if err != nil {
		return err
	}
	shared := &lockedWriter{to: out}
	defer shared.close()
	var failed []error
	status := godog.TestSuite{
		Name: "golive setup service",
		Options: &godog.Options{
			Format: "pretty", Paths: s.Features, Strict: true, TestingT: t,
			Output: shared, NoColors: true, DefaultContext: ctx,
		},
		ScenarioInitializer: func(sc *godog.ScenarioContext) {
			started := &scenario{suite: s, out: shared}
			started.register(sc, func(err error) { failed = append(failed, err) })
		},
	}.Run()
	switch {
	case len(failed) > 0:
		return fmt.Errorf("%d of %d scenarios failed:\n%w", len(failed), total, errors.Join(failed...))
	case status != 0:
		return fmt.Errorf("godog ended with status %d: its output says why", status)
	}
	return nil
}

// count says how many scenarios the features hold; each path must hold one.
func (s Suite) count() (int, error) {
	total := 0
	for _, path := range s.Features {
		features, err := godog.TestSuite{Options: &godog.Options{Paths: []string{path}}}.RetrieveFeatures()
		if err != nil {
			return 0, fmt.Errorf("read features: %w", err)
		}
		found := 0
		for _, f := range features {
			for _, p := range f.Pickles {
				if len(p.Steps) == 0 {
					return 0, fmt.Errorf("scenario %q of %s has no steps: write them, or remove it", p.Name, p.Uri)
				}
				found++
			}
		}
		if found == 0 {
			return 0, fmt.Errorf("%s holds no scenario: write one, or leave it out of Features", path)
		}
		total += found
	}
	return total, nil
}

// complete checks s and fills in its defaults; the result says the same of a SetupService as
// of a Command.
func (s Suite) complete() (Suite, error) {
	if len(s.Features) == 0 {
		return s, errors.New("spec: Features is empty: name the feature files")
	}
	if s.SetupService.Service != "" || s.SetupService.App != "" {
		if len(s.Command) > 0 || s.Service != "" || s.Version != "" || len(s.Phases)+len(s.Reverts) > 0 {
			return s, errors.New("spec: Command, Service, Version, Phases and Reverts describe a Command: give them or SetupService")
		}
		s.Service, s.Version = s.SetupService.Service, s.SetupService.Version
		s.Phases, s.Reverts = phasesOf(s.SetupService)
		if s.SetupService.App != "" {
			s.App, s.AppVersion = s.SetupService.App, s.SetupService.Version
		}
	} else if len(s.Command) == 0 {
		return s, errors.New("spec: there is no setup service: give SetupService or Command")
	} else if s.Service == "" {
		if s.App == "" {
			return s, errors.New("spec: Command holds scripts of nothing: name the Service or the App")
		}
		s.AppVersion = s.Version
	}
	if s.App == "" {
		s.App = DefaultApp
	}
	if s.AppVersion == "" {
		s.AppVersion = s.Version
	}
	if s.Timeout == 0 {
		s.Timeout = DefaultTimeout
	}
	if err := s.completeDoubles(); err != nil {
		return s, fmt.Errorf("spec: %w", err)
	}
	if err := s.rollout().check(); err != nil {
		return s, fmt.Errorf("spec: %w", err)
	}
	return s, nil
}

func phasesOf(s sdk.SetupService) (phases, reverts []protocol.Phase) {
	for _, has := range []struct {
		phase      protocol.Phase
		do, revert sdk.Script
	}{
		{protocol.Before, s.Before, s.RevertBefore},
		{protocol.Offline, s.Offline, s.RevertOffline},
		{protocol.Online, s.Online, s.RevertOnline},
		{protocol.Setup, s.Setup, s.RevertSetup},
	} {
		if has.do != nil {
			phases = append(phases, has.phase)
		}
		if has.revert != nil {
			reverts = append(reverts, has.phase)
		}
	}
	return phases, reverts
}

func (s *Suite) completeDoubles() error {
	s.Doubles = slices.Clone(s.Doubles)
	names := make(map[string]bool)
	for i := range s.Doubles {
		d := &s.Doubles[i]
		if d.Service == "" {
			d.Service = d.Name
		}
		if err := d.check(); err != nil {
			return err
		}
		if names[d.Name] {
			return fmt.Errorf("two doubles are called %s: give each a Name of its own", d.Name)
		}
		names[d.Name] = true
	}
	return nil
}

// double is the double that features call name.
func (s Suite) double(name string) (Double, error) {
	var names []string
	for _, d := range s.Doubles {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	if len(names) == 0 {
		return Double{}, fmt.Errorf("no double is called %s: the suite has none, add it to Doubles", name)
	}
	return Double{}, fmt.Errorf("no double is called %s: the suite has %s", name, strings.Join(names, ", "))
}

// isSetUp says whether d stands for the version whose scripts these are.
func (s Suite) isSetUp(d Double) bool { return d.Service == s.Service && d.Version == s.Version }

// rollout is a new rollout of what s sets up, on no bus yet.
func (s Suite) rollout() *Rollout {
	services := make(map[string]string)
	for _, d := range s.Doubles {
		services[d.Service] = d.Version
	}
	start := protocol.StartMessage{App: s.App, AppVersion: s.AppVersion, Services: services}
	if s.Service != "" {
		start.Service, start.Version = s.Service, s.Version
		services[s.Service] = s.Version
	}
	return &Rollout{Start: start, Phases: s.Phases, Reverts: s.Reverts, Timeout: s.Timeout}
}

// lockedWriter lets godog and the setup service write side by side, until it is closed:
// a script that could not be ended must not write to a test that has.
type lockedWriter struct {
	mu sync.Mutex
	to io.Writer
}

func (w *lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.to.Write(p)
}

func (w *lockedWriter) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.to = io.Discard
}
