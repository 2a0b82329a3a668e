package relay_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// envRole says what this test binary plays in a process of its own.
const envRole = "GOLIVE_TEST_ROLE"

func play(role string) int {
	switch role {
	case "service":
		return relay.Main(says("todos", "", "from a process"))
	case "stream":
		return relay.Main(streams("", untilCut))
	case "no service":
		return relay.Main(relay.Service{Name: "todos", Version: "0.0.1"})
	case "another version":
		return relay.Main(says("todos", "0.0.2", "from a process"))
	case "not prepared":
		return relay.MainWith(func(context.Context, *relay.Relay) (relay.Service, error) {
			return relay.Service{}, fmt.Errorf("open the database: it is locked")
		})
	}
	fmt.Fprintln(os.Stderr, "unknown role", role)
	return 2
}

// program is this test binary in a role.
type program struct {
	*exec.Cmd
	stdin  io.Closer // nil where standard input is no pipe
	stderr *bytes.Buffer
	ended  chan error
}

// run starts a program that is killed when the test ends.
func run(t *testing.T, bus *relaytest.Bus, role string, pipe bool, env ...string) *program {
	t.Helper()
	p := command(t, bus, role, env...)
	if pipe {
		var err error
		p.stdin, err = p.StdinPipe()
		must(t, err)
	}
	p.start(t)
	return p
}

// command is a program that is not started yet.
func command(t *testing.T, bus *relaytest.Bus, role string, env ...string) *program {
	t.Helper()
	self, err := os.Executable()
	must(t, err)
	p := &program{Cmd: exec.Command(self), stderr: new(bytes.Buffer), ended: make(chan error, 1)}
	p.Env = append(os.Environ(), envRole+"="+role, relay.EnvURL+"="+bus.URL(), relay.EnvService+"=todos", relay.EnvVersion+"=0.0.1")
	p.Env = append(p.Env, append(env, "GORACE=atexit_sleep_ms=0")...)
	p.Cmd.Stderr = p.stderr
	return p
}

// start starts a program that is killed when the test ends.
func (p *program) start(t *testing.T) {
	t.Helper()
	must(t, p.Start())
	go func() { p.ended <- p.Wait() }()
	t.Cleanup(func() { _ = p.Process.Kill() }) // it may have ended
}

func (p *program) mustEndWith(t *testing.T, code int) {
	t.Helper()
	_ = receive(t, p.ended, "the end of the program") // tells the same as the code
	if got := p.ProcessState.ExitCode(); got != code {
		t.Errorf("the program ended with code %d, want %d:\n%s", got, code, p.stderr)
	}
}

func TestAProgramServesUntilItIsStopped(t *testing.T) {
	ends := map[string]struct {
		pipe bool
		env  string
		end  func(*program) error
	}{
		"by SIGTERM":                   {false, "", func(p *program) error { return p.Process.Signal(syscall.SIGTERM) }},
		"by SIGINT":                    {true, "", func(p *program) error { return p.Process.Signal(syscall.SIGINT) }},
		"by the end of its supervisor": {true, bus.EnvSupervised + "=1", func(p *program) error { return p.stdin.Close() }},
		"by SIGTERM, supervised by way of another": {false, bus.EnvSupervised + "=1", func(p *program) error { return p.Process.Signal(syscall.SIGTERM) }},
	}
	for name, tt := range ends {
		t.Run(name, func(t *testing.T) {
			server := relaytest.Start(t)
			r := server.Connect()
			confirmed := listenToConfirmations(t, r, "todos")
			p := run(t, server, "service", tt.pipe, tt.env)
			confirmed.await(0, protocol.StateOffline)
			if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "from a process" || err != nil {
				t.Errorf("answer %q, error %v", answer, err)
			}
			must(t, tt.end(p))
			p.mustEndWith(t, 0)
			if out := p.stderr.String(); strings.Contains(out, "bus lost") || strings.Contains(out, "error") {
				t.Errorf("it complained when it was stopped:\n%s", out)
			}
		})
	}
}

// A program that has nothing to read learns of its supervisor's end from another descriptor.
func TestAProgramServesUntilItsSupervisorHasEnded(t *testing.T) {
	server := relaytest.Start(t)
	confirmed := listenToConfirmations(t, server.Connect(), "todos")
	theirs, life, err := os.Pipe()
	must(t, err)
	p := supervised(t, server, theirs)
	p.start(t)
	must(t, theirs.Close())
	confirmed.await(0, protocol.StateOffline) // although its standard input is at its end
	must(t, life.Close())
	p.mustEndWith(t, 0)
}

// supervised is a service that reads of its supervisor's end from a pipe.
func supervised(t *testing.T, server *relaytest.Bus, theirs *os.File) *program {
	t.Helper()
	session, err := unix.Getsid(0)
	must(t, err)
	p := command(t, server, "service", bus.EnvSupervised+"=1", bus.EnvSupervisedFD+"=3", fmt.Sprintf("%s=%d", bus.EnvSupervisedSession, session))
	p.ExtraFiles = []*os.File{theirs}
	return p
}

// A daemon, which a supervised program has started, serves on when that has ended.
func TestADaemonIsNotSupervised(t *testing.T) {
	server := relaytest.Start(t)
	r := server.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	theirs, life, err := os.Pipe()
	must(t, err)
	p := supervised(t, server, theirs)
	p.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	must(t, life.Close())
	p.start(t)
	must(t, theirs.Close())
	confirmed.await(0, protocol.StateOffline)
	if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "from a process" || err != nil {
		t.Errorf("answer %q, error %v", answer, err)
	}
	must(t, p.Process.Signal(syscall.SIGTERM))
	p.mustEndWith(t, 0)
}

// A descriptor that was not handed on says nothing, nor does one that is no pipe.
func TestAProgramServesWithoutItsSupervisorsDescriptor(t *testing.T) {
	for _, fd := range []string{"3", "1", "-1", "999", "x"} {
		t.Run(fd, func(t *testing.T) {
			server := relaytest.Start(t)
			confirmed := listenToConfirmations(t, server.Connect(), "todos")
			p := command(t, server, "service", bus.EnvSupervised+"=1", bus.EnvSupervisedFD+"="+fd)
			p.start(t)
			confirmed.await(0, protocol.StateOffline)
			must(t, p.Process.Signal(syscall.SIGTERM))
			p.mustEndWith(t, 0)
		})
	}
}

func TestAProgramTellsWhyItCannotServe(t *testing.T) {
	bus := relaytest.Start(t)
	for role, why := range map[string]string{
		"no service":      "error: service todos 0.0.1: Handlers is empty: give a handler for each message\n",
		"another version": "error: service todos: its Version is 0.0.2, but GOLIVE_VERSION is 0.0.1: let them be the same, or leave Version empty\n",
		"not prepared":    "error: open the database: it is locked\n",
	} {
		p := run(t, bus, role, false)
		p.mustEndWith(t, 1)
		if p.stderr.String() != why {
			t.Errorf("%s: it said %q, want %q", role, p.stderr, why)
		}
	}
}

func TestAProgramThatWaitsForTheBusCanBeStopped(t *testing.T) {
	server := relaytest.Start(t)
	p := run(t, server, "service", true, relay.EnvURL+"=nats://127.0.0.1:1", bus.EnvSupervised+"=1")
	must(t, p.stdin.Close())
	p.mustEndWith(t, 0)
}
