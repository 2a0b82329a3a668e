package fleet_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// Environment variables that make this test binary an agent.
const (
	envAgent = "GOLIVE_TEST_AGENT"     // its name
	envDir   = "GOLIVE_TEST_AGENT_DIR" // of its release
)

func TestMain(m *testing.M) {
	if name := os.Getenv(envAgent); name != "" {
		if err := runAgent(name, os.Getenv(envDir)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	relaytest.Parallel(6)
	os.Exit(m.Run())
}

// runAgent is an agent that says when it is ready, until its standard input ends.
func runAgent(name, dir string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	r, err := relay.Connect(ctx, relay.FromEnvironment())
	if err != nil {
		return err
	}
	defer r.Close()
	j, err := journal.Make(ctx, r.Conn(), 1)
	if err != nil {
		return err
	}
	a, err := agent.New(agent.Config{
		Conn: r.Conn(), Journal: j, Name: name, Labels: map[string]string{"role": "web"}, Releases: []*release.Manifest{manifest(dir)},
	})
	if err != nil {
		return err
	}
	go func() {
		<-a.Ready()
		fmt.Println("ready")
	}()
	return a.Run(ctx)
}

// process is an agent in a process of its own.
type process struct {
	*exec.Cmd
	ended chan struct{}
}

// startProcess starts an agent, and returns once it is ready.
func (e *environment) startProcess(name string) *process {
	e.t.Helper()
	self, err := os.Executable()
	e.must(err)
	p := &process{Cmd: exec.Command(self), ended: make(chan struct{})}
	p.Env = append(os.Environ(), envAgent+"="+name, envDir+"="+e.dir, relay.EnvURL+"="+e.bus.URL(), "GORACE=atexit_sleep_ms=0")
	p.Stderr = os.Stderr
	stdin, err := p.StdinPipe()
	e.must(err)
	stdout, err := p.StdoutPipe()
	e.must(err)
	e.must(p.Start())
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		defer close(p.ended)
		_ = p.Wait() // the exit code tells nothing of one that is killed
	}()
	e.t.Cleanup(func() {
		_ = stdin.Close()
		<-p.ended
	})
	if err != nil || strings.TrimSpace(line) != "ready" {
		e.t.Fatal("the agent did not start:", line, err)
	}
	return p
}

// kill ends the process as a crash does, and returns when it is gone.
func (p *process) kill() {
	_ = p.Process.Kill()
	<-p.ended
}
