package features

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/cucumber/godog"
)

// atOnce is how long something may take that happens at once, on a busy machine.
const atOnce = 2 * time.Second

func (s *scenario) processSteps(sc *godog.ScenarioContext) {
	const program = `(service|setup service|bare setup service|stubborn program|child of a stubborn program) of (\S+) (\S+)`
	sc.Step(`^the `+program+` runs$`, s.awaitProgram)
	sc.Step(`^no setup service runs$`, s.noSetupService)
	sc.Step(`^the (service|setup service) of (\S+) (\S+) runs out of memory$`, s.endProgram)
	sc.Step(`^the (service|setup service) of (\S+) (\S+) hangs$`, s.signalProgram(syscall.SIGSTOP))
	sc.Step(`^somebody stops the (service|setup service) of (\S+) (\S+)$`, s.stopProgram)
	sc.Step(`^the (service) of (\S+) (\S+) wakes up$`, s.signalProgram(syscall.SIGCONT))
	sc.Step(`^golive and all that it has started are gone within (\d+) seconds$`, s.allGone)
	sc.Step(`^golive and all that it has started are gone at once$`, func(ctx context.Context) error {
		return s.goneWithin(ctx, atOnce)
	})
	sc.Step(`^all that golive has started is gone$`, s.nothingLeft)
	sc.Step(`^all that golive has started ends by itself$`, func(ctx context.Context) error {
		ctx, cancel := withPatience(ctx)
		defer cancel()
		return s.board.awaitEmpty(ctx)
	})
}

func (s *scenario) awaitProgram(ctx context.Context, role, name, version string) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		if s.board.find(role, name, version) == nil {
			return fmt.Sprintf("there is no %s of %s %s: there are %q", role, name, version, s.board.alive())
		}
		return ""
	})
}

func (s *scenario) noSetupService(ctx context.Context) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		for _, name := range s.board.alive() {
			if strings.HasPrefix(name, "setup service") {
				return "there still is the " + name
			}
		}
		return ""
	})
}

// endProgram has a program end by itself.
func (s *scenario) endProgram(ctx context.Context, role, name, version string) error {
	if err := s.awaitProgram(ctx, role, name, version); err != nil {
		return err
	}
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	p := s.board.find(role, name, version)
	if p == nil {
		return fmt.Errorf("the %s of %s %s has ended before", role, name, version)
	}
	_, err := fmt.Fprintln(p.line, "end")
	return err
}

// stopProgram has a program stop as it is told to, and waits for its end.
func (s *scenario) stopProgram(ctx context.Context, role, name, version string) error {
	if err := s.signalProgram(syscall.SIGTERM)(ctx, role, name, version); err != nil {
		return err
	}
	ctx, cancel := withPatience(ctx)
	defer cancel()
	return s.board.await(ctx, func() string {
		if s.board.find(role, name, version) != nil {
			return fmt.Sprintf("the %s of %s %s has not ended", role, name, version)
		}
		return ""
	})
}

func (s *scenario) signalProgram(signal syscall.Signal) func(context.Context, string, string, string) error {
	return func(ctx context.Context, role, name, version string) error {
		if err := s.awaitProgram(ctx, role, name, version); err != nil {
			return err
		}
		s.board.mu.Lock()
		defer s.board.mu.Unlock()
		p := s.board.find(role, name, version)
		if p == nil {
			return fmt.Errorf("the %s of %s %s has ended before", role, name, version)
		}
		return syscall.Kill(p.PID, signal)
	}
}

func (s *scenario) allGone(ctx context.Context, seconds int) error {
	return s.goneWithin(ctx, time.Duration(seconds)*time.Second)
}

// goneWithin checks how long it took, from when golive was told to end, until it and
// all programs had ended.
func (s *scenario) goneWithin(ctx context.Context, limit time.Duration) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if s.interrupted.IsZero() {
		return errors.New("nobody has told golive to end")
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	if err := s.awaitEmpty(ctx); err != nil {
		return err
	}
	if took := t.at.Sub(s.interrupted); took > limit {
		return fmt.Errorf("golive has ended after %s", took)
	}
	return s.goneBy(s.interrupted.Add(limit))
}

// nothingLeft checks that nothing had outlived golive. It says when it has confirmed
// that by its own end; the end of a program may reach us a little later.
func (s *scenario) nothingLeft(ctx context.Context) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if err := t.await(ctx); err != nil {
		return err
	}
	if err := s.awaitEmpty(ctx); err != nil {
		return err
	}
	return s.goneBy(t.at.Add(atOnce))
}

// awaitEmpty blocks until all programs have ended. Golive has before, so what has not by
// now has been left behind.
func (s *scenario) awaitEmpty(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 2*atOnce, errors.New("golive had been gone for a while"))
	defer cancel()
	return s.board.awaitEmpty(ctx)
}

// goneBy checks that every program had ended in time, and that there were any.
func (s *scenario) goneBy(limit time.Time) error {
	s.board.mu.Lock()
	defer s.board.mu.Unlock()
	if len(s.board.programs) == 0 {
		return errors.New("no program was ever started")
	}
	for _, p := range s.board.programs {
		if p.ended.After(limit) {
			return fmt.Errorf("the %s of %s %s ended %s too late", p.Role, p.Name, p.Version, p.ended.Sub(limit))
		}
	}
	return nil
}
