package features

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cucumber/godog"
)

// app is one version of an app.
type app struct {
	name, version string
	services      []service
	setup         string // the program that is its own setup service; empty: it has none
	mustNotSkip   string // versions over which no rollout may jump
	strategy      string
	seed          []string // the command that makes data; nil: there is none
	more          string   // that its manifest says
}

// service is one of its services.
type service struct {
	name, version string
	phases        []string
	reverts       []string // phases that have revert scripts
	retries       string
	backoff       string
	dependsOn     []string
	timeout       string
	instances     string
	state         string // where its data is, as in the manifest
	keepOnline    []string
	program       string // that it is; empty: one that answers which version it is
	setup         string // that its setup service is; empty: one that does what the scenario says
	pace          string // records a second
}

func (s *scenario) appSteps(sc *godog.ScenarioContext) {
	sc.Step(`^(?:version )?(\S+) of the app (\S+), with these services:$`, s.describeApp)
	sc.Step(`^the app (\S+) has a setup script of its own$`, func(name string) error { return s.appSetup(name, "a setup service") })
	sc.Step(`^the app (\S+) has a setup script of its own, whose setup service (.+)$`, s.appSetup)
	sc.Step(`^the app (\S+) goes live with the strategy (parallel|downtime)$`, s.appStrategy)
	sc.Step(`^the versions (\S+) of the app (\S+) must not be skipped$`, s.appMustNotSkip)
	sc.Step(`^the app (\S+) has a command that makes data$`, s.appSeed)
	sc.Step(`^the manifest of the app (\S+) is:$`, s.writeManifest)
}

func (s *scenario) describeApp(version, name string, table *godog.Table) error {
	a := &app{name: name, version: version}
	for _, row := range table.Rows[1:] {
		var one service
		for i, cell := range row.Cells {
			if err := one.set(table.Rows[0].Cells[i].Value, cell.Value); err != nil {
				return err
			}
		}
		a.services = append(a.services, one)
	}
	s.apps[name] = a
	return errors.Join(s.visitor.watch(a), s.keepManifest(a))
}

// set fills in one cell of the table.
func (one *service) set(title, value string) error {
	switch title {
	case "service":
		one.name = value
	case "version":
		one.version = value
	case "scripts":
		one.phases = words(value)
	case "reverts":
		one.reverts = words(value)
	case "retries":
		one.retries = value
	case "backoff":
		one.backoff = value
	case "depends on":
		one.dependsOn = words(value)
	case "timeout":
		one.timeout = value
	case "instances":
		one.instances = value
	case "keeps online":
		one.keepOnline = words(value)
	case "records a second":
		one.pace = value
	case "state":
		one.state = value
	case "its program":
		one.program = value
	case "its setup service":
		one.setup = value
	default:
		return fmt.Errorf("the table has a column %q, which no app has", title)
	}
	return nil
}

func words(text string) []string {
	var all []string
	for word := range strings.SplitSeq(text, ",") {
		if word = strings.TrimSpace(word); word != "" {
			all = append(all, word)
		}
	}
	return all
}

func (s *scenario) appSetup(name, program string) error {
	a := s.apps[name]
	if a == nil {
		return fmt.Errorf("there is no app %s yet", name)
	}
	a.setup = program
	return s.keepManifest(a)
}

func (s *scenario) appSeed(name string) (err error) {
	a := s.apps[name]
	if a == nil {
		return fmt.Errorf("there is no app %s yet", name)
	}
	if a.seed, err = role("seed"); err != nil {
		return err
	}
	return s.keepManifest(a)
}

func (s *scenario) appStrategy(name, strategy string) error {
	a := s.apps[name]
	if a == nil {
		return fmt.Errorf("there is no app %s yet", name)
	}
	a.strategy = strategy
	return s.keepManifest(a)
}

func (s *scenario) appMustNotSkip(versions, name string) error {
	a := s.apps[name]
	if a == nil {
		return fmt.Errorf("there is no app %s yet", name)
	}
	a.mustNotSkip = versions
	return s.keepManifest(a)
}

func (s *scenario) writeManifest(name string, text *godog.DocString) error {
	return s.keep(name, text.Content)
}

func (s *scenario) appFolder(name string) string { return filepath.Join(s.home(), name) }

func (s *scenario) keep(name, manifest string) error {
	folder := s.appFolder(name)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, "golive.yaml"), []byte(manifest), 0o600)
}

// keepManifest writes the manifest that says what the app is.
func (s *scenario) keepManifest(a *app) error {
	var m strings.Builder
	fmt.Fprintf(&m, "app: %s\nversion: %s\n", a.name, a.version)
	if a.strategy != "" {
		fmt.Fprintf(&m, "strategy: %s\nretryAfter: 3s\n", a.strategy)
	}
	if a.mustNotSkip != "" {
		fmt.Fprintf(&m, "mustNotSkip: [%s]\n", a.mustNotSkip)
	}
	if a.seed != nil {
		fmt.Fprintf(&m, "seed: %s\n", inline(a.seed))
	}
	if len(a.services) > 0 {
		m.WriteString("services:\n")
	}
	for _, one := range a.services {
		run, err := runCommand(one.program)
		if err != nil {
			return err
		}
		setup, err := one.setupCommand()
		if err != nil {
			return err
		}
		fmt.Fprintf(&m, "  %s:\n", one.name)
		for _, field := range []struct{ key, value string }{
			{"version", one.version}, {"run", inline(run)}, {"setup", inline(setup)}, {"migrations", inline(one.phases)},
			{"dependsOn", inline(one.dependsOn)}, {"timeout", one.timeout},
			{"retries", one.retries}, {"backoff", one.backoff}, {"instances", one.instances}, {"state", one.state},
			{"keepOnline", inline(one.keepOnline)}, {"pace", rateOf(one.pace)},
		} {
			if field.value != "" {
				fmt.Fprintf(&m, "    %s: %s\n", field.key, field.value)
			}
		}
	}
	if a.setup != "" {
		setup, err := setupCommand(a.setup, []string{"setup"})
		if err != nil {
			return err
		}
		own := inline(setup)
		if own == "" {
			own = "external"
		}
		fmt.Fprintf(&m, "setup: %s\n", own)
	}
	return s.keep(a.name, m.String()+a.more)
}

// rateOf is a pace as a manifest has it; empty when there is none.
func rateOf(pace string) string {
	if pace == "" {
		return ""
	}
	return "{rate: " + pace + "}"
}

// inline is a list as a manifest has it; empty when there is none.
func inline(list []string) string {
	if len(list) == 0 {
		return ""
	}
	data, err := json.Marshal(list)
	if err != nil {
		panic(err) // a list of texts can be written
	}
	return string(data)
}

// runCommand is how a service is started that is such a program.
func runCommand(program string) ([]string, error) {
	if program == "" {
		return role("service")
	}
	return anyCommand(program)
}

// setupCommand is how the setup service of a service is started.
func (one service) setupCommand() ([]string, error) {
	phases := slices.Clone(one.phases)
	for _, phase := range one.reverts {
		phases = append(phases, phase+" revert")
	}
	return setupCommand(one.setup, phases)
}

// setupCommand is how a setup service is started that is such a program.
func setupCommand(program string, phases []string) ([]string, error) {
	if way, bare := strings.CutPrefix(program, "bare, "); bare {
		return role(append([]string{"bare setup", way}, phases...)...)
	}
	switch {
	case program == "" && len(phases) == 0:
		return nil, nil
	case program == "works through records":
		return role(append([]string{"records"}, phases...)...)
	case program == "", program == "a setup service":
		return role(append([]string{"setup"}, phases...)...)
	}
	return anyCommand(program)
}

func anyCommand(program string) ([]string, error) {
	if example, found := strings.CutPrefix(program, "the example's "); found {
		folder, err := todoFolder()
		return []string{"env", "WEB_LISTEN=127.0.0.1:0", "go", "run", "-C", folder, "./" + example}, err
	}
	switch program {
	case "runs already":
		return nil, nil
	case "does not exist":
		return []string{"no-such-program"}, nil
	case "ends at once":
		return role("quitter")
	case "does not end when asked to":
		return role("stubborn")
	}
	return nil, fmt.Errorf("there is no program that %q", program)
}

// role is the command of a program that this test binary plays.
func role(args ...string) ([]string, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the test binary: %w", err)
	}
	return append([]string{self, "-role"}, args...), nil
}
