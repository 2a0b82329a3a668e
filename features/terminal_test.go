package features

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cucumber/godog"
)

// terminal is one in which golive was started, or another program.
type terminal struct {
	line     string // what was typed
	cmd      *exec.Cmd
	out, err *screen
	ended    chan struct{}
	keys     *os.File  // at which a person types; nil: it is no terminal
	at       time.Time // when it had ended
	code     int       // with which it has ended
}

func (s *scenario) terminalSteps(sc *godog.ScenarioContext) {
	sc.Step(`^I run "(golive.*)"$`, s.run)
	sc.Step(`^I run "(golive.*)" in the folder of the app (\S+)$`, func(ctx context.Context, line, app string) error {
		return s.runIn(ctx, line, s.appFolder(app))
	})
	sc.Step(`^I run "(golive.*)" in a folder that has to do with no app$`, func(ctx context.Context, line string) error {
		return s.runIn(ctx, line, s.elsewhere())
	})
	sc.Step(`^I run "(golive.*)" beside it$`, s.runBeside)
	sc.Step(`^I go back to where I had started "(golive.*)"$`, s.goBack)
	sc.Step(`^I have run "(golive.*)"$`, s.haveDone)
	sc.Step(`^I start "(golive.*)"$`, func(ctx context.Context, line string) error { return s.start(ctx, line, s.home()) })
	sc.Step(`^I press Ctrl-C$`, func() error { return s.signal(syscall.SIGINT) })
	sc.Step(`^I press Ctrl-C once more$`, func() error { return s.signal(syscall.SIGINT) })
	sc.Step(`^golive gets SIGTERM$`, func() error { return s.signal(syscall.SIGTERM) })
	sc.Step(`^golive gets SIGHUP$`, func() error { return s.signal(syscall.SIGHUP) })
	sc.Step(`^golive gets SIGKILL$`, func() error { return s.signal(syscall.SIGKILL) })
	sc.Step(`^it ends with code (\d+)$`, s.endsWith)
	sc.Step(`^it is gone$`, func(ctx context.Context) error { return s.endsWith(ctx, -1) }) // killed
	sc.Step(`^the one that was started before ends with code (\d+)$`, func(ctx context.Context, code int) error {
		if len(s.terminals) < 2 {
			return errors.New("only one was started")
		}
		return s.terminals[len(s.terminals)-2].endsWith(ctx, code)
	})
}

// current is the terminal that steps speak of.
func (s *scenario) current() (*terminal, error) {
	if len(s.terminals) == 0 {
		return nil, errors.New("golive has not been started yet")
	}
	return s.terminals[len(s.terminals)-1], nil
}

func (s *scenario) run(ctx context.Context, line string) error { return s.runIn(ctx, line, s.home()) }

func (s *scenario) runIn(ctx context.Context, line, folder string) error {
	if err := s.start(ctx, line, folder); err != nil {
		return err
	}
	t, _ := s.current()
	return t.await(ctx)
}

// runBeside runs a command and goes on with the one that was started before.
func (s *scenario) runBeside(ctx context.Context, line string) error {
	before, err := s.current()
	if err != nil {
		return err
	}
	if err := s.run(ctx, line); err != nil {
		return err
	}
	return s.goBack(before.line)
}

// goBack makes the terminal in which a line was typed last the one that steps speak of.
func (s *scenario) goBack(line string) error {
	for i, t := range slices.Backward(s.terminals) {
		if t.line == line {
			s.terminals = append(slices.Delete(s.terminals, i, i+1), t)
			return nil
		}
	}
	return fmt.Errorf("%s was not started", line)
}

func (s *scenario) haveDone(ctx context.Context, line string) error {
	if err := s.run(ctx, line); err != nil {
		return err
	}
	return s.endsWith(ctx, 0)
}

// start types a line that begins with golive. In it ROLLOUT stands for the rollout that
// was told of last, ROLLOUT-OF-1.0.0 for the one of that version, ROLLOUT-WITH-RECORDS for the one
// whose records are put aside, PLAN for the plan that was told of last, and BUS for the address of
// the bus.
func (s *scenario) start(ctx context.Context, line, folder string, more ...string) error {
	line, err := s.fillIn(ctx, line)
	if err != nil {
		return err
	}
	t, err := s.open(line, folder, more...)
	if err != nil {
		return err
	}
	s.terminals = append(s.terminals, t)
	s.interrupted = time.Time{}
	return nil
}

// open starts golive in a terminal of its own.
func (s *scenario) open(line, folder string, more ...string) (*terminal, error) {
	path, err := golive()
	if err != nil {
		return nil, err
	}
	args := strings.Fields(line)
	args[0] = path
	return s.launch(line, args, folder, more...)
}

// launch starts a program in a terminal of its own.
func (s *scenario) launch(line string, args []string, folder string, more ...string) (*terminal, error) {
	env, err := s.environment(more...)
	if err != nil {
		return nil, err
	}
	t := &terminal{line: line, out: newScreen(), err: newScreen(), ended: make(chan struct{})}
	t.cmd = exec.Command(args[0], args[1:]...)
	t.cmd.Dir, t.cmd.Env, t.cmd.Stdout, t.cmd.Stderr = folder, env, t.out, t.err
	t.cmd.WaitDelay = time.Second // what it leaves behind must not keep us waiting
	if err := t.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", line, err)
	}
	go t.wait()
	return t, nil
}

var (
	uuid      = `[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`
	rolloutOf = regexp.MustCompile(`ROLLOUT-OF-([0-9.]+)`)
	rolloutID = regexp.MustCompile(`rollout (` + uuid + `)`)
	withAside = regexp.MustCompile(`put aside: golive show (` + uuid + `)`)
	planID    = regexp.MustCompile(`plan ([0-9a-f]{12}): `)
	busURL    = regexp.MustCompile(`bus: (nats://\S+?),? `)
)

func (s *scenario) fillIn(ctx context.Context, line string) (string, error) {
	if strings.Contains(line, "ROLLOUT-WITH-RECORDS") {
		line = strings.ReplaceAll(line, "ROLLOUT-WITH-RECORDS", s.newest(withAside))
	}
	if strings.Contains(line, "ROLLOUT") && !rolloutOf.MatchString(line) {
		id := s.newest(rolloutID)
		if id == "" {
			return "", errors.New("no rollout has been told of yet")
		}
		line = strings.ReplaceAll(line, "ROLLOUT", id)
	}
	for _, found := range rolloutOf.FindAllStringSubmatch(line, -1) {
		id, err := s.rolloutOf(ctx, found[1])
		if err != nil {
			return "", err
		}
		line = strings.Replace(line, found[0], id, 1)
	}
	if strings.Contains(line, "PLAN") {
		id := s.newest(planID)
		if id == "" {
			return "", errors.New("no plan has been told of yet")
		}
		line = strings.ReplaceAll(line, "PLAN", id)
	}
	if strings.Contains(line, "BUS") {
		url, err := s.addressOfBus()
		if err != nil {
			return "", err
		}
		line = strings.ReplaceAll(line, "BUS", url)
	}
	return line, nil
}

// rolloutOf is the rollout of a version, once the terminal that steps speak of, or one
// before it, tells of it.
func (s *scenario) rolloutOf(ctx context.Context, version string) (id string, err error) {
	t, err := s.current()
	if err != nil {
		return "", err
	}
	pattern := regexp.MustCompile(`rollout (` + uuid + `): \S+ ` + regexp.QuoteMeta(version) + `[, ]`)
	err = t.err.await(ctx, t.ended, func(string) string {
		if id = s.newest(pattern); id == "" {
			return "no rollout of " + version + " has been told of"
		}
		return ""
	})
	return id, err
}

// newest is what was told last in the place of the pattern's group.
func (s *scenario) newest(pattern *regexp.Regexp) string {
	for i := len(s.terminals) - 1; i >= 0; i-- {
		t := s.terminals[i]
		if all := pattern.FindAllStringSubmatch(t.err.text()+t.out.text(), -1); len(all) > 0 {
			return all[len(all)-1][1]
		}
	}
	return ""
}

func (s *scenario) addressOfBus() (string, error) {
	if s.bus != nil {
		return s.bus.url, nil
	}
	if url := s.newest(busURL); url != "" {
		return url, nil
	}
	return "", errors.New("golive has not said yet where the bus is")
}

// wait notices the end of golive.
func (t *terminal) wait() {
	err := t.cmd.Wait()
	t.at, t.code = time.Now(), t.cmd.ProcessState.ExitCode()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		fmt.Fprintf(t.err, "[%v]\n", err)
	}
	close(t.ended)
}

func (t *terminal) await(ctx context.Context) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	select {
	case <-t.ended:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s has not ended: %w", t.line, context.Cause(ctx))
	}
}

// state says whether golive runs, or how it has ended.
func (t *terminal) state() string {
	select {
	case <-t.ended:
		return fmt.Sprintf("it has ended with code %d", t.code)
	default:
		return "it runs"
	}
}

// kill ends golive, if it still runs.
func (t *terminal) kill() {
	_ = t.cmd.Process.Kill() // it may have ended
	<-t.ended
}

func (s *scenario) signal(sig os.Signal) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	s.interrupted = time.Now()
	return t.cmd.Process.Signal(sig)
}

func (s *scenario) endsWith(ctx context.Context, code int) error {
	t, err := s.current()
	if err != nil {
		return err
	}
	return t.endsWith(ctx, code)
}

func (t *terminal) endsWith(ctx context.Context, code int) error {
	if err := t.await(ctx); err != nil {
		return err
	}
	if t.code != code {
		return fmt.Errorf("%s has ended with code %d, not %d", t.line, t.code, code)
	}
	return nil
}

// screen is what a program has written. It is safe for concurrent use.
type screen struct {
	mu      sync.Mutex
	written strings.Builder
	changed chan struct{} // closed and replaced with every writing
}

func newScreen() *screen { return &screen{changed: make(chan struct{})} }

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written.Write(p)
	close(s.changed)
	s.changed = make(chan struct{})
	return len(p), nil
}

func (s *screen) text() string {
	text, _ := s.look()
	return text
}

// look gives what stands there, and a channel that is closed when there is more.
func (s *screen) look() (string, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.written.String(), s.changed
}

// await blocks until missing is content with what stands there, which it says by an
// empty text. Once ended is closed there is no more to come.
func (s *screen) await(ctx context.Context, ended <-chan struct{}, missing func(text string) string) error {
	ctx, cancel := withPatience(ctx)
	defer cancel()
	for {
		over := false
		select {
		case <-ended:
			over = true
		default:
		}
		text, changed := s.look()
		lacks := missing(text)
		switch {
		case lacks == "":
			return nil
		case over:
			return errors.New(lacks)
		}
		select {
		case <-changed:
		case <-ended:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w", lacks, context.Cause(ctx))
		}
	}
}
