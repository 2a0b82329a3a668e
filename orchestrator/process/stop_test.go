//go:build linux || darwin

package process_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/process"
)

func TestStopEndsAProgramThatObeys(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("polite", board.env())
	c.Grace = time.Hour
	p := start(t, c)
	calls := board.await(t, "polite")
	if calls[0].pid != p.Pid() {
		t.Errorf("process %d calls, Pid is %d", calls[0].pid, p.Pid())
	}
	if err := p.Err(); err != nil {
		t.Errorf("while it runs, its error is %v", err)
	}

	stop(t, p)
	mustBeGone(t, calls...)
	mustBeEmpty(t, p.Pid())
	mustBeDone(t, p)
	if err := p.Err(); err != nil {
		t.Errorf("stopped, its error is %v", err)
	}
}

func TestStopGivesAStubbornGroupItsGraceAndKillsIt(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name         string
		grace        time.Duration
		atLeast, max time.Duration
	}{
		{"default", 0, process.DefaultGrace, patience}, // a busy machine adds to the five seconds
		{"short", 100 * time.Millisecond, 100 * time.Millisecond, 5 * time.Second},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			board := newSwitchboard(t)
			c := command("wrapper", board.env())
			c.Grace = test.grace
			p := start(t, c)
			calls := board.await(t, "wrapper", "stubborn")

			if took := stop(t, p); took < test.atLeast || took > test.max {
				t.Errorf("it took %s", took)
			}
			mustBeGone(t, calls...)
			mustBeDone(t, p)
			if err := p.Err(); err != nil {
				t.Errorf("stopped, its error is %v", err)
			}
		})
	}
}

func TestStopAfterTheProgramHasEnded(t *testing.T) {
	t.Parallel()
	p := start(t, command("count-exit-3"))
	mustBeDone(t, p)
	mustBeEmpty(t, p.Pid())
	stop(t, p)
	if err := p.Err(); err == nil {
		t.Error("stopping it made it forget how it had ended")
	}
}

func TestStopEndsWhatAProgramHasLeftBehind(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("wrapper", board.env())
	c.Grace = 100 * time.Millisecond
	p := start(t, c)
	calls := board.await(t, "wrapper", "stubborn")
	wrapper, stubborn := calls[0], calls[1]

	wrapper.say(t, "exit 3")
	mustBeDone(t, p) // although stubborn has its output open
	var exit *process.ExitError
	if err := p.Err(); !errors.As(err, &exit) || exit.Code != 3 {
		t.Errorf("got error %v", err)
	}
	if stubborn.isCut(time.Millisecond) {
		t.Fatal("it ended before it was stopped")
	}
	if left, want := p.Rest(), programName(); !slices.Equal(left, []string{want}) {
		t.Errorf("left behind are %q, want %q", left, want)
	}

	stop(t, p)
	mustBeGone(t, stubborn)
	if left := p.Rest(); len(left) > 0 {
		t.Errorf("after that %q are left", left)
	}
}

// programName is how the system calls this program: it cuts names.
func programName() string {
	name := filepath.Base(os.Args[0])
	return name[:min(len(name), 15)]
}

func TestStopAfterWhatWasLeftBehindHasEnded(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	p := start(t, command("wrapper", board.env()))
	for _, c := range board.await(t, "wrapper", "stubborn") {
		c.say(t, "exit 0")
	}
	mustBeDone(t, p)
	stop(t, p)
	if err := p.Err(); err != nil {
		t.Errorf("got error %v", err)
	}
}

func TestStopTwiceAndConcurrently(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("wrapper", board.env())
	c.Grace = 100 * time.Millisecond
	p := start(t, c)
	calls := board.await(t, "wrapper", "stubborn")

	var stops sync.WaitGroup
	for range 10 {
		stops.Go(func() { stop(t, p) })
	}
	stops.Wait()
	mustBeGone(t, calls...)
	stop(t, p)
}

func TestStopWithoutTime(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("wrapper", board.env())
	c.Grace = time.Hour
	p := start(t, c)
	calls := board.await(t, "wrapper", "stubborn")

	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Stop(over); err != nil {
		t.Error(err)
	}
	mustBeGone(t, calls...)
}

func TestStopThatRunsOutOfTimeHastensTheOthers(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("go-run", board.env())
	c.Grace = time.Hour
	p := start(t, c)
	calls := board.await(t, "go-run", "careful")

	first := make(chan error)
	go func() { first <- p.Stop(context.Background()) }()
	calls[1].hear(t) // it was asked to end, and takes its time
	hurry, cancel := context.WithCancel(t.Context())
	second := make(chan error)
	go func() { second <- p.Stop(hurry) }()
	cancel()
	if err := errors.Join(<-first, <-second); err != nil {
		t.Error(err)
	}
	mustBeGone(t, calls...)
}

func TestOutputGoesOnWhileAStopTakesItsTime(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	var lines []string
	c := command("go-run", board.env())
	c.Grace = time.Hour
	c.Output = func(line string) { lines = append(lines, line) }
	p := start(t, c)
	careful := board.await(t, "careful", "go-run")[0]

	stopped := make(chan error)
	go func() { stopped <- p.Stop(context.Background()) }()
	careful.hear(t) // the program itself has ended
	select {
	case <-p.Done():
		t.Fatal("done, although a Stop still waits for what writes the output")
	case <-time.After(1100 * time.Millisecond): // longer than others may write once a program has ended by itself
	}
	careful.say(t, "work")
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	mustBeDone(t, p)
	if want := []string{"finished work"}; !slices.Equal(lines, want) {
		t.Errorf("got %q", lines)
	}
}

func TestStopFromOutput(t *testing.T) {
	t.Parallel()
	var p *process.Process
	started, stopped := make(chan struct{}), make(chan error, 1)
	c := command("chatty")
	c.Output = func(string) {
		<-started
		stopped <- p.Stop(context.Background())
	}
	p = start(t, c)
	close(started)
	mustBeDone(t, p)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestStopDoesNotWaitForZombies(t *testing.T) {
	t.Parallel()
	board := newSwitchboard(t)
	c := command("negligent", board.env())
	c.Grace = time.Hour
	p := start(t, c)
	calls := board.await(t, "negligent", "stepmother")

	stop(t, p)
	mustBeGone(t, calls[0])
	if calls[1].isCut(time.Millisecond) {
		t.Error("it ended a process of another group")
	}
	if err := syscall.Kill(-p.Pid(), 0); errors.Is(err, syscall.ESRCH) {
		t.Error("there was no zombie in the group")
	}
	mustBeDone(t, p) // although a process of another group has its output open
}
