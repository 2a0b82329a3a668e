package spec

import (
	"context"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"github.com/cucumber/godog"

	"github.com/golive-dev/golive/relay/protocol"
)

// scenario is one scenario while it runs, with all that it has started.
type scenario struct {
	suite Suite
	out   io.Writer

	bus     *testBus
	doubles []*servedDouble // those that the scenario has named
	setup   *setupService   // nil until a script is to run
	rollout *Rollout        // the latest; nil until a script is to run

	ahead   []*godog.Step // the steps after the current one
	failure error         // of the latest script that has failed, until a step has asked for it
}

var (
	runStep  = regexp.MustCompile(`^the (?:(?:deployment|setup) script|(?:before|offline|online) migration) (?:runs|is reverted)`)
	failStep = regexp.MustCompile(`^the (?:(?:deployment|setup) script|(?:before|offline|online) migration) fails with "(.*)"$`)
)

// register defines the steps for one scenario; failed is told why it failed.
func (s *scenario) register(sc *godog.ScenarioContext, failed func(error)) {
	sc.Before(func(ctx context.Context, p *godog.Scenario) (context.Context, error) {
		s.ahead = p.Steps
		return ctx, s.begin(ctx)
	})
	sc.StepContext().Before(func(ctx context.Context, _ *godog.Step) (context.Context, error) {
		s.ahead = s.ahead[min(1, len(s.ahead)):]
		return ctx, nil
	})
	sc.After(func(ctx context.Context, p *godog.Scenario, err error) (context.Context, error) {
		stopErr := s.end(err)
		if errors.Is(err, godog.ErrUndefined) {
			err = fmt.Errorf("%w: the documentation of sdk/spec lists the steps", err)
		}
		if err := errors.Join(err, stopErr); err != nil {
			failed(fmt.Errorf("%s (%s): %w", p.Name, p.Uri, err))
		}
		return ctx, stopErr
	})

	sc.Given(`^an? (\S+) service$`, s.aService)
	sc.Given(`^an? (\S+) service with the (?:entries|documents):$`, s.aServiceWith)

	sc.When(`^the deployment script runs( again)?$`, s.runScript)
	sc.When(`^the (before|offline|online) migration runs$`, s.runMigration)
	sc.When(`^the setup script runs$`, s.runSetup)
	sc.When(`^the deployment script is reverted$`, s.revert)

	sc.Then(failStep.String(), s.failsWith)
	sc.Then(`^(?:the|an?) (\S+) service (?:still )?(?:contains|knows about) these (?:entries|documents):$`, s.holds)
	sc.Then(`^(?:the|an?) (\S+) service (?:still )?(?:contains|knows about) no (?:entries|documents)$`, s.holdsNothing)
}

func (s *scenario) begin(ctx context.Context) error {
	b, err := startBus(ctx)
	s.bus = b
	return err
}

// end stops all that the scenario has started, and shows what its scripts heard and
// said when it failed.
func (s *scenario) end(failure error) error {
	if failure != nil && s.rollout != nil {
		fmt.Fprintf(s.out, "\nWhat the scripts heard and said:\n\n%s\n", s.rollout.Recording)
	}
	var errs []error
	if s.setup != nil {
		errs = append(errs, s.setup.stop())
	}
	for _, d := range s.doubles {
		errs = append(errs, d.stop())
	}
	if s.bus != nil {
		errs = append(errs, s.bus.stop())
	}
	return errors.Join(errs...)
}

// Given

func (s *scenario) aService(ctx context.Context, name string) error {
	_, err := s.serve(ctx, name)
	return err
}

func (s *scenario) aServiceWith(ctx context.Context, name string, given *godog.Table) error {
	t, err := readTable(given)
	if err != nil {
		return err
	}
	d, err := s.suite.double(name)
	if err != nil {
		return err
	}
	var entries []entry
	for _, record := range t.records() {
		e, err := d.entry(record)
		if err != nil {
			return err
		}
		entries = append(entries, e)
	}
	served, err := s.serve(ctx, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		served.keep(e)
	}
	return nil
}

func (s *scenario) serve(ctx context.Context, name string) (*servedDouble, error) {
	d, err := s.suite.double(name)
	if err != nil {
		return nil, err
	}
	if s.find(name) != nil {
		return nil, fmt.Errorf("the %s service is in the scenario already: name it once", name)
	}
	if s.rollout != nil {
		return nil, fmt.Errorf("the %s service comes too late: name it before the first script runs", name)
	}
	online := !s.suite.isSetUp(d)
	for _, other := range s.doubles {
		if online && other.Service == d.Service && !s.suite.isSetUp(other.Double) {
			return nil, fmt.Errorf("%s and %s are both in production as %s: leave one of them out", other.Name, name, d.Service)
		}
	}
	served, err := s.bus.serve(ctx, d, online)
	if err != nil {
		return nil, fmt.Errorf("start the %s service: %w", name, err)
	}
	s.doubles = append(s.doubles, served)
	return served, nil
}

// find is the double of this name in the scenario; nil when there is none.
func (s *scenario) find(name string) *servedDouble {
	for _, d := range s.doubles {
		if d.Name == name {
			return d
		}
	}
	return nil
}

// When

func (s *scenario) runScript(ctx context.Context, again string) error {
	if again != "" && s.rollout == nil {
		return errors.New("no script has run yet: say first, the deployment script runs")
	}
	s.rollout = s.newRollout()
	return s.play(ctx, s.suite.Phases, false, s.rollout.Run)
}

func (s *scenario) runMigration(ctx context.Context, phase string) error {
	return s.runPhase(ctx, protocol.Phase(phase))
}

func (s *scenario) runSetup(ctx context.Context) error { return s.runPhase(ctx, protocol.Setup) }

func (s *scenario) runPhase(ctx context.Context, p protocol.Phase) error {
	if s.rollout == nil {
		s.rollout = s.newRollout()
	}
	if err := s.rollout.has(p); err != nil {
		return err
	}
	return s.play(ctx, []protocol.Phase{p}, false, func(ctx context.Context) error { return s.rollout.Phase(ctx, p) })
}

func (s *scenario) revert(ctx context.Context) error {
	if s.rollout == nil {
		return errors.New("no script has run yet: say first, the deployment script runs")
	}
	return s.play(ctx, s.suite.Reverts, true, s.rollout.Revert)
}

// newRollout is a rollout on the scenario's bus, for the doubles that it has named.
func (s *scenario) newRollout() *Rollout {
	r := s.suite.rollout()
	r.Relay = s.bus.relay
	r.Recording = &Recording{}
	if s.rollout != nil {
		r.Recording = s.rollout.Recording
	}
	for _, d := range s.doubles {
		if d.Service != s.suite.Service {
			continue
		}
		r.Instances++
		if !s.suite.isSetUp(d.Double) {
			r.Previous = d.Version
		}
	}
	return r
}

// play runs scripts, with the setup service at work, and returns when the doubles have
// dealt with all that it had sent before it answered. A script that fails is no error
// when a step ahead asks for it.
func (s *scenario) play(ctx context.Context, phases []protocol.Phase, revert bool, scripts func(context.Context) error) error {
	if s.setup == nil {
		started, err := s.suite.startSetup(ctx, s.bus, s.out)
		if err != nil {
			return err
		}
		s.setup = started
	}
	ctx, release := s.setup.during(ctx)
	defer release()
	if err := s.awaitSetup(ctx, phases, revert); err != nil {
		return err
	}
	err := scripts(ctx)
	for _, d := range s.doubles {
		if settleErr := d.settle(context.WithoutCancel(ctx), s.bus.relay.Conn()); settleErr != nil {
			return errors.Join(err, settleErr)
		}
	}
	if answered := (*protocol.ScriptError)(nil); errors.As(err, &answered) && s.failureIsExpected() {
		s.failure = err
		return nil
	}
	return err
}

// awaitSetup blocks until the setup service listens to the starts of all phases: it is
// no fault of its scripts that a program takes a while to come up.
func (s *scenario) awaitSetup(ctx context.Context, phases []protocol.Phase, revert bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, s.suite.Timeout, fmt.Errorf("waited %s", s.suite.Timeout))
	defer cancel()
	for _, p := range phases {
		start := s.rollout.message(p, revert).Script().Subject(protocol.StartVerb(revert))
		if err := awaitListener(ctx, s.bus.relay.Conn(), start); err != nil {
			return fmt.Errorf("the setup service must listen to the start of each script it has: %w", err)
		}
	}
	return nil
}

// failureIsExpected says whether a step ahead, before the next that runs a script, asks
// for a failure.
func (s *scenario) failureIsExpected() bool {
	for _, step := range s.ahead {
		switch {
		case failStep.MatchString(step.Text):
			return true
		case runStep.MatchString(step.Text):
			return false
		}
	}
	return false
}

// Then

func (s *scenario) failsWith(text string) error {
	if s.failure == nil {
		return fmt.Errorf("no script has failed, and one was to fail with %q", text)
	}
	failure := s.failure
	s.failure = nil
	if !strings.Contains(failure.Error(), text) {
		return fmt.Errorf("it was to fail with %q, and failed otherwise: %w", text, failure)
	}
	return nil
}

func (s *scenario) holds(name string, expected *godog.Table) error {
	t, err := readTable(expected)
	if err != nil {
		return err
	}
	d, err := s.named(name)
	if err != nil {
		return err
	}
	if diff := t.diff(d.all()); diff != "" {
		return fmt.Errorf("the %s service holds other entries (- missing, + unexpected):%s", name, diff)
	}
	return nil
}

func (s *scenario) holdsNothing(name string) error {
	d, err := s.named(name)
	if err != nil {
		return err
	}
	entries := d.all()
	if len(entries) == 0 {
		return nil
	}
	var lines []string
	for _, e := range entries {
		lines = append(lines, "\n    + "+text(e))
	}
	return fmt.Errorf("the %s service holds %d entries (+ unexpected):%s", name, len(entries), strings.Join(lines, ""))
}

// named is the double of this name in the scenario.
func (s *scenario) named(name string) (*servedDouble, error) {
	if d := s.find(name); d != nil {
		return d, nil
	}
	if _, err := s.suite.double(name); err != nil {
		return nil, err
	}
	return nil, fmt.Errorf("the %s service is not in the scenario: say first, Given a %s service", name, name)
}
