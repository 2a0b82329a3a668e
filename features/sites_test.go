package features

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay/embedded"
)

func (s *scenario) siteSteps(sc *godog.ScenarioContext) {
	sc.Step(`^an environment (\S+) with one orchestrator$`, s.startSite)
	sc.Step(`^somebody starts the programs of the app (\S+) in (\S+)$`, func(ctx context.Context, app, name string) error {
		return s.within(name, func() error { return s.startPrograms(ctx, app) })
	})
	sc.Step(`^in (\S+) (\S+) answers as version (\S+)$`, func(ctx context.Context, name, service, version string) error {
		return s.within(name, func() error { return s.answersAs(ctx, service, version) })
	})
	sc.Step(`^in (\S+) (\S+) does not answer$`, func(ctx context.Context, name, service string) error {
		return s.within(name, func() error { return s.answersNot(ctx, service) })
	})
	sc.Step(`^the environment (\S+) goes away$`, func(name string) error {
		return s.within(name, func() error { return s.bus.stop() })
	})
	sc.Step(`^I run "(golive.*)" with (GOLIVE_\S+)$`, func(ctx context.Context, line, variable string) error {
		variable, err := s.written(variable)
		if err != nil {
			return err
		}
		if line, err = s.written(line); err != nil {
			return err
		}
		if err := s.start(ctx, line, s.home(), variable); err != nil {
			return err
		}
		t, _ := s.current()
		return t.await(ctx)
	})
	sc.Step(`^the context (\S+) of the nats command line leads to (\S+)$`, s.keepContext)
}

// startSite starts an environment that commands have to name: its bus, and an orchestrator.
func (s *scenario) startSite(ctx context.Context, name string) error {
	server, err := embedded.Start(embedded.Config{
		Data: filepath.Join(s.folder, "bus of "+name), Listen: embedded.DefaultListen, Unsynced: true,
	})
	if err != nil {
		return err
	}
	s.sites[name] = &bus{server, server.URL()}
	return s.startServe(ctx, "golive serve --nats "+server.URL())
}

// within does something in one of several environments.
func (s *scenario) within(name string, do func() error) error {
	site := s.sites[name]
	if site == nil {
		return fmt.Errorf("there is no environment %s", name)
	}
	before := s.bus
	s.bus = site
	defer func() { s.bus = before }()
	return do()
}

// keepContext writes a context as the nats command line does.
func (s *scenario) keepContext(context, name string) error {
	site := s.sites[name]
	if site == nil {
		return fmt.Errorf("there is no environment %s", name)
	}
	folder := filepath.Join(s.config(), "nats", "context")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return err
	}
	data, err := json.Marshal(map[string]string{"description": strings.ToTitle(name), "url": site.url})
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, context+".json"), data, 0o600)
}

// config is where a person keeps the settings of programs.
func (s *scenario) config() string { return filepath.Join(s.folder, "config") }
