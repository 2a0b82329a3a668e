package features

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"syscall"

	"github.com/cucumber/godog"
)

func (s *scenario) drawnSteps(sc *godog.ScenarioContext) {
	sc.Step(`^I start "(golive.*)" on a terminal of (\d+) columns$`, func(ctx context.Context, line string, columns int) error {
		return s.startDrawn(ctx, line, columns, "TERM=xterm-256color", "NO_COLOR=")
	})
	sc.Step(`^I start "(golive.*)" on a terminal of (\d+) columns, with (\S+)$`, func(ctx context.Context, line string, columns int, env string) error {
		return s.startDrawn(ctx, line, columns, "TERM=xterm-256color", "NO_COLOR=", env)
	})
	sc.Step(`^the terminal shows, in this order:$`, s.terminalShows)
	sc.Step(`^no line is drawn anew$`, s.nothingDrawn)
}

// startDrawn starts golive on a pseudo-terminal; what stands there is its story.
func (s *scenario) startDrawn(ctx context.Context, line string, columns int, more ...string) error {
	line, err := s.fillIn(ctx, line)
	if err != nil {
		return err
	}
	path, err := golive()
	if err != nil {
		return err
	}
	env, err := s.environment(more...)
	if err != nil {
		return err
	}
	pseudo, other, err := pseudoTerminal(columns)
	if err != nil {
		return err
	}
	t := &terminal{line: line, out: newScreen(), err: newScreen(), ended: make(chan struct{}), keys: other}
	t.cmd = exec.Command(path, strings.Fields(line)[1:]...)
	t.cmd.Dir, t.cmd.Env, t.cmd.Stdin, t.cmd.Stdout, t.cmd.Stderr = s.home(), env, pseudo, pseudo, pseudo
	t.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true} // it is in the foreground
	err = t.cmd.Start()
	_ = pseudo.Close() // golive has it
	if err != nil {
		return errors.Join(fmt.Errorf("start %s: %w", line, err), other.Close())
	}
	read := make(chan struct{})
	go func() {
		_, _ = io.Copy(t.err, other) // it ends when golive does
		_ = other.Close()
		close(read)
	}()
	go t.waitAfter(read)
	s.terminals = append(s.terminals, t)
	return nil
}

// waitAfter notices the end of golive once all that it has written was read.
func (t *terminal) waitAfter(read <-chan struct{}) {
	<-read
	t.wait()
}

var escapeSequence = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// terminalShows waits until lines are shown, one after the other, those that are drawn anew
// among them.
func (s *scenario) terminalShows(ctx context.Context, expected *godog.DocString) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	want := lines(expected.Content)
	return t.err.await(ctx, t.ended, func(text string) string {
		return inOrder(want, escapeSequence.ReplaceAllString(text, ""))
	})
}

func (s *scenario) nothingDrawn() error {
	t, err := s.current()
	if err != nil {
		return err
	}
	if strings.Contains(t.err.text(), "\x1b") {
		return errors.New("lines are drawn anew, or in color")
	}
	return nil
}
