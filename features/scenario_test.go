package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay"
)

// scenario is one scenario while it runs, with all that it has started.
type scenario struct {
	folder string // of its own
	board  *board
	apps   map[string]*app // by name: the version that was described last

	terminals     []*terminal // in which commands were run, the newest last
	orchestrators []*terminal // of the environment
	others        []*terminal // in which the programs of apps run that golive did not start
	serveFlags    string      // of orchestrators that are started from now on
	killed        time.Time   // when an orchestrator was last killed
	interrupted   time.Time   // when golive was last told to end; zero: it was not

	bus     *bus     // of an environment; nil: golive up brings its own
	visitor *visitor // nil: there is none
	callers *callers // nil: there are none
	outside *outside // whoever looks at the bus from outside; nil until that is needed
	drift   *drift   // nil: the scenario is about something else

	workflow workflow
	sites    map[string]*bus   // environments that commands have to name, by name
	kept     map[string]string // on the bus, when the scenario has looked at it
}

// register defines the steps for one scenario; what its programs said goes to out when
// it fails.
func register(sc *godog.ScenarioContext, out io.Writer) {
	s := &scenario{apps: make(map[string]*app), sites: make(map[string]*bus), workflow: workflow{agents: make(map[string]*terminal)}}
	sc.Before(func(ctx context.Context, _ *godog.Scenario) (context.Context, error) { return ctx, s.begin() })
	sc.After(func(ctx context.Context, _ *godog.Scenario, failure error) (context.Context, error) {
		err := s.end()
		if failure != nil || err != nil {
			s.tell(out)
		}
		return ctx, err
	})
	s.appSteps(sc)
	s.scriptSteps(sc)
	s.terminalSteps(sc)
	s.answerSteps(sc)
	s.fieldSteps(sc)
	s.processSteps(sc)
	s.environmentSteps(sc)
	s.trafficSteps(sc)
	s.callerSteps(sc)
	s.wireSteps(sc)
	s.driftSteps(sc)
	s.todoSteps(sc)
	s.drawnSteps(sc)
	s.planSteps(sc)
	s.darkLaunchSteps(sc)
	s.workflowSteps(sc)
	s.peopleSteps(sc)
	s.siteSteps(sc)
	s.keptSteps(sc)
	s.snapshotSteps(sc)
	s.rehearsalSteps(sc)
	s.upgradeSteps(sc)
	s.sourceSteps(sc)
}

func (s *scenario) begin() error {
	folder, err := os.MkdirTemp(os.Getenv(envFolder), "scenario-")
	if err != nil {
		return err
	}
	if s.folder, err = filepath.EvalSymlinks(folder); err != nil {
		return err
	}
	if err := errors.Join(os.Mkdir(s.home(), 0o700), os.Mkdir(s.elsewhere(), 0o700)); err != nil {
		return err
	}
	s.board, err = startBoard()
	return err
}

// home is the folder in which commands are run; the apps are in folders of it.
func (s *scenario) home() string { return filepath.Join(s.folder, "home") }

// elsewhere is a folder that has to do with no app.
func (s *scenario) elsewhere() string { return filepath.Join(s.folder, "elsewhere") }

// end stops all that the scenario has started, and waits until it is gone.
func (s *scenario) end() error {
	var errs []error
	s.visitor.stop()
	s.callers.stop()
	s.outside.stop()
	for _, t := range s.allTerminals() {
		t.kill()
	}
	if s.board != nil {
		errs = append(errs, s.board.stop())
	}
	errs = append(errs, s.drift.stop(), s.bus.stop())
	for _, site := range s.sites {
		errs = append(errs, site.stop())
	}
	s.workflow.web.stop()
	if s.folder != "" {
		errs = append(errs, os.RemoveAll(s.folder))
	}
	return errors.Join(errs...)
}

func (s *scenario) allTerminals() []*terminal {
	return slices.Concat(s.orchestrators, slices.Collect(maps.Values(s.workflow.agents)), s.others, s.terminals)
}

// tell shows what all programs said.
func (s *scenario) tell(out io.Writer) {
	for _, t := range s.allTerminals() {
		fmt.Fprintf(out, "\n$ %s\n%s%s[%s]\n", t.line, t.err.text(), t.out.text(), t.state())
	}
}

// environment is what programs are told, with more at its end.
func (s *scenario) environment(more ...string) ([]string, error) {
	cache, err := goCache()
	if err != nil {
		return nil, fmt.Errorf("find the cache of the go command: %w", err)
	}
	given := slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "GOLIVE_") || strings.HasPrefix(e, "XDG_CACHE_HOME=")
	})
	given = append(given, "TZ=Asia/Tokyo", "GOCACHE="+cache,
		"XDG_CACHE_HOME="+filepath.Join(s.folder, "cache"), envBoard+"="+s.board.address())
	if _, err := os.Stat(s.config()); err == nil {
		given = append(given, "XDG_CONFIG_HOME="+s.config())
	}
	if s.bus != nil {
		given = append(given, relay.EnvURL+"="+s.bus.url)
	}
	return append(given, more...), nil
}

// withPatience is a context for what should happen at once.
func withPatience(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, patience, fmt.Errorf("%s had passed", patience))
}
