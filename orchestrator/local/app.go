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
)

// app is the processes of an app on this machine.
type app struct {
	manifest *release.Manifest
	bus      Place
	data     string // folder for the data of services
	records  string // folder that tells which programs run
	talk     *terminal.Talk

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
	owner string // of a setup service: the name in the ids of its steps; empty for a service
}

// death is a program that has ended without being told to.
type death struct {
	program *program
	err     error
}

func newApp(u Up, bus Place) *app {
	m, t := u.Manifest, u.Talk
	a := &app{manifest: m, bus: bus, data: filepath.Join(u.Data, "services"), records: u.records(), talk: t, died: make(chan death, 16)}
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
			label := service.Name
			if n > 0 {
				label += "-" + strconv.Itoa(n+1)
			}
			p, err := a.start(label, "", service.Run, service.Name, service.Version)
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

// startSetups starts the setup services that have something left to do in s.
func (a *app) startSetups(s rollout.State) error {
	for _, service := range a.manifest.Services {
		if service.Setup != nil && unfinished(s, service.Name) {
			if err := a.startSetup(service.Name, service.Setup, service.Name, service.Version); err != nil {
				return err
			}
		}
	}
	if a.manifest.Setup.Command != nil && unfinished(s, a.manifest.App) {
		return a.startSetup(a.manifest.App, a.manifest.Setup.Command, "", a.manifest.Version)
	}
	return nil
}

func (a *app) startSetup(owner string, args []string, service, version string) error {
	if a.hasSetup(owner) {
		return nil
	}
	p, err := a.start(owner+" setup", owner, args, service, version)
	if err != nil {
		return err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setups = append(a.setups, p)
	return nil
}

// hasSetup reports whether the setup service of owner runs already.
func (a *app) hasSetup(owner string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.ContainsFunc(a.setups, func(p *program) bool { return p.owner == owner })
}

// lose forgets a program that has ended.
func (a *app) lose(p *program) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setups = slices.DeleteFunc(a.setups, func(other *program) bool { return other == p })
}

// asideIn reports whether a script of owner has put records aside.
func asideIn(s rollout.State, owner string) bool {
	return slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool { return step.Name == owner && step.Script.PutAside > 0 })
}

// unfinished reports whether a script of owner has still to answer.
func unfinished(s rollout.State, owner string) bool {
	for _, step := range s.All() {
		if step.Kind == rollout.Migration && step.Name == owner &&
			step.Status != rollout.StepDone && step.Status != rollout.StepSkipped {
			return true
		}
	}
	return false
}

// start starts a program whose end is noticed.
func (a *app) start(label, owner string, args []string, service, version string) (*program, error) {
	started, err := a.launch(label, owner, a.command(label, args), service, version)
	if err != nil {
		return nil, err
	}
	a.watching.Go(func() {
		<-started.Done()
		select {
		case a.died <- death{program: started, err: started.Err()}:
		default: // one death is enough to end everything
		}
	})
	return started, nil
}

// command is how a program is run.
func (a *app) command(label string, args []string) process.Command {
	return process.Command{
		Name: label, Args: args, Dir: a.manifest.Dir, Records: a.records,
		Output: func(line string) { a.talk.Output(label, line) },
	}
}

// launch starts a program, with what it finds in its environment beside that of c.
func (a *app) launch(label, owner string, c process.Command, service, version string) (*program, error) {
	data := filepath.Join(a.data, strings.ReplaceAll(label, " ", "-"))
	if err := os.MkdirAll(data, 0o700); err != nil {
		return nil, fmt.Errorf("make data folder of %s: %w", label, err)
	}
	c.Env = append(c.Env, a.bus.Environment()...)
	c.Env = append(c.Env,
		"GOLIVE_APP="+a.manifest.App, "GOLIVE_APP_VERSION="+a.manifest.Version,
		relay.EnvService+"="+service, relay.EnvVersion+"="+version, "GOLIVE_DATA_DIR="+data,
	)
	a.talk.Say(terminal.Plain, "▸", "starting %s %s: %s", label, version, strings.Join(c.Args, " "))
	p, err := process.Start(c)
	if err != nil {
		return nil, &report.Failure{Code: report.CodeFailed, Message: err.Error(),
			Hint: "see how " + label + " is started in " + a.manifest.Path}
	}
	return &program{Process: p, label: label, owner: owner}, nil
}

// stopSetups stops the setup services, all at once, but those that are kept, and blocks
// until they are gone.
func (a *app) stopSetups(ctx context.Context, keep func(owner string) bool) error {
	a.mu.Lock()
	var stopped, kept []*program
	for _, p := range a.setups {
		if keep(p.owner) {
			kept = append(kept, p)
		} else {
			stopped = append(stopped, p)
		}
	}
	a.setups = kept
	a.mu.Unlock()
	return stopAll(ctx, stopped)
}

func none(string) bool { return false }

// stop stops everything and blocks until it is gone.
func (a *app) stop(ctx context.Context) error {
	err := a.stopSetups(ctx, none)
	a.mu.Lock()
	programs := a.services
	a.services = nil
	a.mu.Unlock()
	if e := stopAll(ctx, programs); err == nil {
		err = e
	}
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
