package features

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/cucumber/godog"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

// bus is the NATS server of an environment.
type bus struct {
	server *embedded.Server
	url    string
}

func (b *bus) stop() error {
	if b == nil {
		return nil
	}
	return b.server.Stop()
}

func (s *scenario) environmentSteps(sc *godog.ScenarioContext) {
	sc.Step(`^an environment with a bus$`, s.startBus)
	sc.Step(`^an environment with (one|two|three) orchestrators?$`, s.startEnvironment)
	sc.Step(`^an environment with (one|two|three) orchestrators?, each of them "golive serve (.*)"$`, s.startSpecial)
	sc.Step(`^another orchestrator is started$`, s.startOrchestrator)
	sc.Step(`^the (first|second|third|fourth|fifth|sixth) orchestrator is killed with SIGKILL$`, s.killOrchestrator)
	sc.Step(`^the (first|second|third|fourth|fifth|sixth) orchestrator gets (Ctrl-C|SIGTERM)$`, s.interruptOrchestrator)
	sc.Step(`^the (first|second|third|fourth|fifth|sixth) orchestrator ends with code (\d+)$`, s.orchestratorEnds)
	sc.Step(`^the bus goes away and comes back$`, s.restartBus)
	sc.Step(`^the bus goes away$`, s.endBus)
	sc.Step(`^somebody starts the programs of the app (\S+)$`, s.startPrograms)
	sc.Step(`^somebody starts the setup service of (\S+) (\S+) with the scripts (.+)$`, s.startSetup)
	sc.Step(`^the setup service of (\S+) (\S+) is built anew and takes the place of the one that runs$`, s.rebuildSetup)
	sc.Step(`^the rollout of the app (\S+) goes on within (\d+) seconds of that$`, s.goesOnWithin)
	sc.Step(`^the orchestrator logs "(.*)"$`, s.orchestratorLogs)
	sc.Step(`^the rollout of (\S+) (\S+) (completes|fails|is aborted|is undone|is queued)$`, s.awaitRollout)
}

func (s *scenario) startBus() error { return s.startBusAt(embedded.DefaultListen) }

func (s *scenario) startBusAt(address string) error {
	server, err := embedded.Start(embedded.Config{Data: filepath.Join(s.folder, "bus"), Listen: address, Unsynced: true})
	if err != nil {
		return err
	}
	s.bus = &bus{server, server.URL()}
	return nil
}

// restartBus starts a bus where the one was that it stops, with its data.
func (s *scenario) restartBus() error {
	before := s.bus
	s.bus = nil
	if err := before.stop(); err != nil {
		return err
	}
	return s.startBusAt(strings.TrimPrefix(before.url, "nats://"))
}

// endBus stops the bus for good.
func (s *scenario) endBus() error {
	before := s.bus
	s.bus = nil
	return before.stop()
}

func (s *scenario) startEnvironment(ctx context.Context, orchestrators string) error {
	if err := s.startBus(); err != nil {
		return err
	}
	for range map[string]int{"one": 1, "two": 2, "three": 3}[orchestrators] {
		if err := s.startOrchestrator(ctx); err != nil {
			return err
		}
	}
	return nil
}

// startSpecial starts an environment whose orchestrators have flags of their own.
func (s *scenario) startSpecial(ctx context.Context, orchestrators, flags string) error {
	s.serveFlags = " " + flags
	return s.startEnvironment(ctx, orchestrators)
}

// startOrchestrator returns when it is at work.
func (s *scenario) startOrchestrator(ctx context.Context) error {
	t, err := s.open("golive serve"+s.serveFlags, s.elsewhere())
	if err != nil {
		return err
	}
	s.orchestrators = append(s.orchestrators, t)
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{"… orchestrator is ready"}, text) })
}

func (s *scenario) orchestrator(which string) (*terminal, error) {
	i := slices.Index([]string{"first", "second", "third", "fourth", "fifth", "sixth"}, which)
	if i >= len(s.orchestrators) {
		return nil, fmt.Errorf("there is no %s orchestrator", which)
	}
	return s.orchestrators[i], nil
}

func (s *scenario) killOrchestrator(ctx context.Context, which string) error {
	t, err := s.orchestrator(which)
	if err != nil {
		return err
	}
	s.killed = time.Now()
	if err := t.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		return err
	}
	return t.await(ctx)
}

func (s *scenario) interruptOrchestrator(which, how string) error {
	t, err := s.orchestrator(which)
	if err != nil {
		return err
	}
	if how == "SIGTERM" {
		return t.cmd.Process.Signal(syscall.SIGTERM)
	}
	return t.cmd.Process.Signal(syscall.SIGINT)
}

func (s *scenario) orchestratorEnds(ctx context.Context, which string, code int) error {
	t, err := s.orchestrator(which)
	if err != nil {
		return err
	}
	return t.endsWith(ctx, code)
}

// orchestratorLogs waits for a line of the newest orchestrator.
func (s *scenario) orchestratorLogs(ctx context.Context, line string) error {
	if len(s.orchestrators) == 0 {
		return errors.New("there is no orchestrator")
	}
	t := s.orchestrators[len(s.orchestrators)-1]
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{line}, text) })
}

// startPrograms starts the services of an app and their setup services, as somebody
// does who does not leave that to golive.
func (s *scenario) startPrograms(ctx context.Context, name string) error {
	a := s.apps[name]
	if a == nil {
		return fmt.Errorf("there is no app %s yet", name)
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
		for _, args := range [][]string{run, setup} {
			if err := s.startProgram(ctx, a, one.name, one.version, args); err != nil {
				return err
			}
		}
	}
	if a.setup == "" {
		return nil
	}
	setup, err := setupCommand(a.setup, []string{"setup"})
	if err != nil {
		return err
	}
	return s.startProgram(ctx, a, "", a.version, setup)
}

func (s *scenario) startSetup(ctx context.Context, name, version, phases string) error {
	args, err := setupCommand("", words(phases))
	if err != nil {
		return err
	}
	return s.startProgram(ctx, &app{}, name, version, args)
}

// rebuildSetup starts a setup service whose program has other content, as one has that was
// built anew, once the one that runs has ended.
func (s *scenario) rebuildSetup(ctx context.Context, name, version string) error {
	var args []string
	var of *app
	for _, a := range s.apps {
		for _, one := range a.services {
			if one.name == name && one.version == version {
				var err error
				if args, err = one.setupCommand(); err != nil {
					return err
				}
				of = a
			}
		}
	}
	if args == nil {
		return fmt.Errorf("there is no setup service of %s %s", name, version)
	}
	program, err := os.ReadFile(args[0])
	if err != nil {
		return err
	}
	args[0] = filepath.Join(s.folder, "rebuilt")
	if err := os.WriteFile(args[0], append(program, "built anew"...), 0o700); err != nil {
		return err
	}
	if err := s.signalProgram(syscall.SIGTERM)(ctx, "setup service", name, version); err != nil {
		return err
	}
	if err := s.noSetupService(ctx); err != nil {
		return err
	}
	if err := s.startProgram(ctx, of, name, version, args); err != nil {
		return err
	}
	t := s.others[len(s.others)-1]
	return t.err.await(ctx, t.ended, func(text string) string { return inOrder([]string{"… listening …"}, text) })
}

// goesOnWithin measures the time from the end of an orchestrator to the next event.
func (s *scenario) goesOnWithin(ctx context.Context, app string, seconds int) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	events, err := s.events(ctx, app)
	if err != nil {
		return err
	}
	defer events.Stop()
	for {
		m, err := events.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("nothing has happened since the orchestrator was killed: %w", err)
		}
		var change struct{ Event struct{ At time.Time } }
		if err := json.Unmarshal(m.Data(), &change); err != nil {
			return err
		}
		took := change.Event.At.Sub(s.killed)
		if took < 0 {
			continue
		}
		godog.Log(ctx, fmt.Sprintf("the next event came %s after the kill", took))
		if took > time.Duration(seconds)*time.Second {
			return fmt.Errorf("it took %s", took)
		}
		return nil
	}
}

// startProgram returns when it has reported, which it does before it joins the bus.
func (s *scenario) startProgram(ctx context.Context, a *app, service, version string, args []string) error {
	if args == nil {
		return nil // it runs already
	}
	url, err := s.addressOfBus()
	if err != nil {
		return err
	}
	line := strings.Join(args[2:], " ") + " of " + service + " " + version
	t, err := s.launch(line, args, s.elsewhere(),
		relay.EnvURL+"="+url, relay.EnvService+"="+service, relay.EnvVersion+"="+version, "GOLIVE_APP="+a.name)
	if err != nil {
		return err
	}
	s.others = append(s.others, t)
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		for _, p := range s.board.programs {
			if p.PID == t.cmd.Process.Pid {
				return ""
			}
		}
		return line + " has not reported"
	})
}

// awaitRollout blocks until the newest rollout of an app has ended, as a deployment
// system sees it: in the stream of everything that happens.
func (s *scenario) awaitRollout(ctx context.Context, name, version, how string) error {
	want := map[string]string{
		"completes": "completed", "fails": "failed", "is aborted": "aborted", "is undone": "reverted", "is queued": "queued",
	}[how]
	ctx, cancel := withPatience(ctx)
	defer cancel()
	events, err := s.events(ctx, name)
	if err != nil {
		return err
	}
	defer events.Stop()
	last := "not begun"
	for {
		m, err := events.Next(jetstream.NextContext(ctx))
		if err != nil {
			return fmt.Errorf("the rollout of %s %s is %s: %w", name, version, last, err)
		}
		var change struct {
			Version string
			Summary struct{ Status string }
		}
		if err := json.Unmarshal(m.Data(), &change); err != nil {
			return err
		}
		if change.Version != version {
			continue
		}
		if last = change.Summary.Status; last == want {
			return nil
		}
	}
}
