package sdk_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// envRole says what this test binary plays in a process of its own.
const envRole = "GOLIVE_TEST_ROLE"

func play(role string) int {
	if strings.HasPrefix(role, "bench ") {
		if err := benchRole(role); err != nil {
			fmt.Fprintln(os.Stderr, role, err)
			return 1
		}
		return 0
	}
	switch role {
	case "setup":
		return sdk.Main(setup(func(_ context.Context, run *sdk.Run) error {
			run.Progress(12, 12, "")
			return nil
		}))
	case "setup without a version":
		s := setup(nothing)
		s.Version = ""
		return sdk.Main(s)
	case "setup that remembers late":
		return sdk.Main(setup(nothing).RememberAfter(time.Hour))
	case "backfill":
		return sdk.Main(crashSetup())
	case "no script":
		return sdk.Main(sdk.SetupService{Service: "todo-search", Version: "0.0.1"})
	}
	fmt.Fprintln(os.Stderr, "unknown role", role)
	return 2
}

// program runs this test binary in a role, and gives what it wrote once it has ended.
func program(t *testing.T, s *stage, role string, env ...string) (*exec.Cmd, func() (code int, out string)) {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	var out bytes.Buffer
	cmd.Stderr = &out
	cmd.Env = append(os.Environ(), envRole+"="+role, relay.EnvURL+"="+s.URL(), "GORACE=atexit_sleep_ms=0")
	cmd.Env = append(cmd.Env, env...)
	must(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() }) // it may have ended
	return cmd, func() (int, string) {
		t.Helper()
		_ = receive(t, ended, "the end of the program") // tells the same as the code
		return cmd.ProcessState.ExitCode(), out.String()
	}
}

func TestAProgramWorksUntilItIsStopped(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	cmd, end := program(t, s, "setup")
	if h := s.sendUntilAnswered(m, heard); !h.Done || h.Items != 12 { // nobody listens at first
		t.Errorf("answered %s", h.msg.Data)
	}
	must(t, cmd.Process.Signal(syscall.SIGTERM))
	if code, out := end(); code != 0 || out != "info listening {\"to\": \"deployment-todo-search-0.0.1-online-start\"}\n" {
		t.Errorf("it ended with code %d and wrote:\n%s", code, out)
	}
}

func TestAProgramHasTheVersionThatItIsTold(t *testing.T) {
	for role, version := range map[string]string{"setup without a version": "0.0.3", "setup": "0.0.1"} {
		s := newStage(t)
		m := start(protocol.Online, 1)
		m.Version = version
		heard := s.accept(m)
		program(t, s, role, relay.EnvVersion+"="+version)
		if h := s.sendUntilAnswered(m, heard); !h.Done {
			t.Errorf("%s: answered %s", role, h.msg.Data)
		}
	}
}

func TestAProgramOfAnotherVersionThanItIsToldDoesNotStart(t *testing.T) {
	_, end := program(t, newStage(t), "setup", relay.EnvVersion+"=0.0.2")
	if code, out := end(); code != 1 || out != "error: setup service of todo-search: its Version is 0.0.1, but GOLIVE_VERSION is 0.0.2: let them be the same, or leave Version empty\n" {
		t.Errorf("it ended with code %d and wrote:\n%s", code, out)
	}
}

func TestAProgramTellsWhatIsMissing(t *testing.T) {
	_, end := program(t, newStage(t), "no script")
	if code, out := end(); code != 1 || out != "error: setup service of todo-search 0.0.1 has no script: give a function for a phase\n" {
		t.Errorf("it ended with code %d and wrote:\n%s", code, out)
	}
}
