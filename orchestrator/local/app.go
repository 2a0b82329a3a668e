package local

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/golive-dev/golive/orchestrator/process"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// app is the processes of an app on this machine.
type app struct {
	manifest *release.Manifest
	bus      Place
	data     string   // folder for the data of services
	old      bool     // it is the version before: its programs are named with theirs
	environ  []string // of programs, before what they are told; nil: this process's own
	records  string   // folder that tells which programs run
	talk     *terminal.Talk

	starting sync.Mutex // held while setup services are started or stopped
	stopped  bool       // none is started any more

	mu       sync.Mutex
	services []*program
	setups   []*program
	died     chan death
	watching sync.WaitGroup
}

// program is a process with what it is for.
type program struct {
	*process.Process
	label string
	setup release.SetupService // that it is; without an owner it is none
}

// death is a program that has ended without being told to.
type death struct {
	program *program
	err     error
}

func newApp(u Up, bus Place) *app {
	m, t := u.Manifest, u.Talk
	a := &app{manifest: m, bus: bus, data: filepath.Join(u.Data, "services"), environ: u.Environ, records: u.records(), talk: t, died: make(chan death, 16)}
	for _, service := range m.Services {
		label := service.Name
		if service.Setup != nil {
			label += " setup"
		}
		t.Widen(label)
	}
	if m.Setup.Command != nil {
		t.Widen(m.App + " setup")
	}
	if m.Seed != nil {
		t.Widen(m.App + " seed")
	}
	return a
}

// startServices starts every service that the manifest gives a command for, as many
// instances as must be alive.
func (a *app) startServices() error {
	for _, service := range a.manifest.Services {
		for n := range max(service.Instances, 1) {
			if service.Run == nil {
				break
			}
			c := command{label: a.label(service), folder: service.Name, args: service.Run, service: service.Name, version: service.Version}
			if n > 0 {
				number := strconv.Itoa(n + 1)
				c.label, c.folder = c.label+"-"+number, c.folder+"."+number
			}
			p, err := a.start(c, release.SetupService{})
			if err != nil {
				return err
			}
			a.mu.Lock()
			a.services = append(a.services, p)
			a.mu.Unlock()
		}
	}
	return nil
}

// label is how a service is called in the terminal.
func (a *app) label(s release.Service) string {
	if a.old {
		return s.Name + " " + s.Version
	}
	return s.Name
}

// startSetups starts the setup services that have something left to do in s.
func (a *app) startSetups(s rollout.State) error {
	for _, setup := range a.manifest.SetupServices() {
		if unfinished(s, setup) {
			if err := a.startSetup(setup); err != nil {
				return err
			}
		}
	}
	return nil
}

// startSetup starts a setup service that does not run yet, unless all is being stopped.
func (a *app) startSetup(s release.SetupService) error {
	a.starting.Lock()
	defer a.starting.Unlock()
	if a.hasSetup(s) || a.stopped {
		return nil
	}
	c := command{label: s.Owner + " setup", folder: s.Owner + ".setup", args: s.Command, service: s.Service, version: s.Version}
	if s.Service == "" { // a service may be called like its app
		c.folder = s.Owner + ".app-setup"
	}
	p, err := a.start(c, s)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setups = append(a.setups, p)
	return nil
}

// hasSetup reports whether a setup service runs already.
func (a *app) hasSetup(s release.SetupService) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.setups, func(p *program) bool {
		return p.setup.Owner == s.Owner && p.setup.Service == s.Service && !p.ended()
	})
}

// ended reports whether the program has.
func (p *program) ended() bool {
	select {
	case <-p.Done():
		return true
	default:
		return false
	}
}

// lose forgets a program that has ended.
func (a *app) lose(p *program) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setups = slices.DeleteFunc(a.setups, func(other *program) bool { return other == p })
}

// unfinished reports whether a script of a setup service has still to answer.
func unfinished(s rollout.State, setup release.SetupService) bool {
	for _, step := range s.All() {
		theirs := step.Name == setup.Owner && (step.Script.Phase == protocol.Setup) == (setup.Service == "")
		if step.Kind == rollout.Migration && theirs && step.Status != rollout.StepDone && step.Status != rollout.StepSkipped {
			return true
		}
	}
	return false
}

// command is how a program is started.
type command struct {
	label   string // in the terminal
	folder  string // of its data, below that of the services; no other program has it
	args    []string
	service string
	version string
	more    []string // in its environment
	noInput bool     // it has nothing to read
}

// start starts a program whose end is noticed.
func (a *app) start(c command, setup release.SetupService) (*program, error) {
	launched, err := a.launch(c)
	if err != nil {
		return nil, err
	}
	launched.setup = setup
	a.watching.Go(func() {
		<-launched.Done()
		select {
		case a.died <- death{program: launched, err: launched.Err()}:
		default: // one death is enough to end everything
		}
	})
	return launched, nil
}

// launch starts a program.
func (a *app) launch(c command) (*program, error) {
	data := filepath.Join(a.data, c.folder)
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder of %s: %w", c.label, err)
	}
	env := append(a.bus.Environment(),
		"GOLIVE_APP="+a.manifest.App, "GOLIVE_APP_VERSION="+a.manifest.Version,
		relay.EnvService+"="+c.service, relay.EnvVersion+"="+c.version, "GOLIVE_DATA_DIR="+data,
	)
	a.talk.Say(terminal.Plain, "▸", "starting %s %s: %s", c.label, c.version, strings.Join(c.args, " "))
	p, err := process.Start(process.Command{
		Name: c.label, Args: c.args, Dir: a.manifest.Dir, Base: a.environ, Env: append(env, c.more...),
		Records: a.records, NoInput: c.noInput,
		Output: func(line string) { a.talk.Output(c.label, line) },
	})
	if err != nil {
		return nil, &report.Failure{Code: report.CodeFailed, Message: err.Error(),
			Hint: "see how " + c.label + " is started in " + a.manifest.Path}
	}
	return &program{Process: p, label: c.label}, nil
}

// stopSetups stops the setup services, all at once, and blocks until they are gone. They are
// started again when somebody wants something of them.
func (a *app) stopSetups(ctx context.Context) error {
	a.starting.Lock()
	defer a.starting.Unlock()
	a.mu.Lock()
	stopped := a.setups
	a.setups = nil
	a.mu.Unlock()
	return stopAll(ctx, stopped)
}

// stop stops everything, all at once, and blocks until it is gone.
func (a *app) stop(ctx context.Context) error {
	a.starting.Lock()
	defer a.starting.Unlock()
	a.stopped = true
	a.mu.Lock()
	programs := slices.Concat(a.setups, a.services)
	a.setups, a.services = nil, nil
	a.mu.Unlock()
	err := stopAll(ctx, programs)
	a.watching.Wait()
	return err
}

func stopAll(ctx context.Context, programs []*program) error {
	errs := make([]error, len(programs))
	var stopping sync.WaitGroup
	for i, p := range programs {
		stopping.Go(func() {
			errs[i] = p.Stop(ctx)
			<-p.Done()
		})
	}
	stopping.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// running reports whether p is one that has not been stopped.
func (a *app) running(p *program) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, other := range append(append([]*program(nil), a.services...), a.setups...) {
		if other == p {
			return true
		}
	}
	return false
}
