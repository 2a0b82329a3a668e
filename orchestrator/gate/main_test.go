package gate_test

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

// envLease makes this test binary an instance of a service that tells, with a lease of
// so many seconds.
const envLease = "GOLIVE_TEST_LEASE"

func TestMain(m *testing.M) {
	if seconds, err := strconv.Atoi(os.Getenv(envLease)); err == nil {
		s := tells(os.Getenv(relay.EnvVersion), os.Getpid(), new(atomic.Int64))
		s.Lease = time.Duration(seconds) * time.Second
		os.Exit(relay.Main(s))
	}
	relaytest.Parallel(6)
	os.Exit(m.Run())
}

// process is an instance in a process of its own. It ends with the test at the latest.
type process struct {
	*exec.Cmd
	tap    *tap
	stdin  io.Closer
	stderr strings.Builder
	ended  chan struct{}

	killed, stopped atomic.Bool // at any time
}

// startProcess starts an instance of a version.
func startProcess(url, version string, lease time.Duration) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{Cmd: exec.Command(self), ended: make(chan struct{})}
	if p.tap, err = newTap(url); err != nil {
		return nil, err
	}
	p.Env = append(os.Environ(), envLease+"="+fmt.Sprint(lease.Seconds()), relay.EnvURL+"="+p.tap.url(), relay.EnvVersion+"="+version,
		bus.EnvSupervised+"=1", "GORACE=atexit_sleep_ms=0")
	p.Stderr = &p.stderr
	if p.stdin, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	if err := p.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.ended)
		_ = p.Wait() // the exit code tells
		p.tap.remove()
	}()
	return p, nil
}

// kill ends the process as a crash does, and returns when it is gone.
func (p *process) kill() {
	p.killed.Store(true)
	_ = p.Process.Kill() // it may have ended
	<-p.ended
}

// end tells the process to stop, and fails the test when it does not do so in order.
func (p *process) end(t *testing.T) {
	t.Helper()
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		t.Error("an instance did not stop")
		p.kill()
	}
	if code := p.ProcessState.ExitCode(); code != 0 {
		t.Errorf("an instance ended with code %d:\n%s", code, p.stderr.String())
	}
}

// fleet is the instances of a version.
type fleet struct {
	version string
	lease   time.Duration
	urls    []string // of the servers that the instances connect to, in turn

	mu    sync.Mutex
	procs []*process
	ever  []*process // those that were replaced, too
}

func (f *fleet) at(n int) *process {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.procs[n]
}

// start starts the nth instance, in place of the one that was there.
func (f *fleet) start(n int) (*process, error) {
	p, err := startProcess(f.urls[n%len(f.urls)], f.version, f.lease)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if n == len(f.procs) {
		f.procs = append(f.procs, nil)
	}
	f.procs[n] = p
	f.ever = append(f.ever, p)
	return p, nil
}

// newFleet starts the instances of a version; they end when the test ends.
func newFleet(t *testing.T, urls []string, version string, lease time.Duration) *fleet {
	t.Helper()
	f := &fleet{version: version, lease: lease, urls: urls}
	t.Cleanup(func() {
		for _, p := range f.procs {
			p.end(t)
		}
	})
	for n := range instancesEach {
		if _, err := f.start(n); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// excuses reports whether a request may have no answer, because an instance was killed
// that had it, or an error, because an instance had begun with it that was stopped for
// longer than its lease.
func (f *fleet) excuses(c call) bool {
	for _, p := range f.ever {
		if (p.killed.Load() && c.lost() || p.stopped.Load() && c.lapsed()) && p.tap.has(c.number) {
			return true
		}
	}
	return false
}

// stopped reports whether the process that answered a call was stopped at any time.
func (f *fleet) stopped(c call) bool {
	for _, p := range f.ever {
		if p.Process.Pid == c.pid {
			return p.stopped.Load()
		}
	}
	return false
}
