package orchestrator_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/relaytest"
)

// cast is the processes of an environment.
type cast struct {
	t      *testing.T
	folder string
	record string
	url    string

	mu     sync.Mutex
	actors []*actor
	orders map[string][]order // that hold, by the kind or the name of whom they are for
	deaths map[string]int     // by kind and cause
	odd    []string           // processes that ended by themselves
}

// actor is a process that is started anew after each of its deaths.
type actor struct {
	*cast
	part
	wires []wire // by which it reaches the others; none: it cannot be cut off

	mu   sync.Mutex
	proc *process // the newest
}

// process is one life of an actor.
type process struct {
	*exec.Cmd
	stdin io.WriteCloser
	log   string
	ready chan struct{}
	came  chan struct{} // it has come to where it is to wait
	ended chan struct{}
	heard sync.Mutex // orders are given one at a time
}

// newCast makes the folder of an environment; all its processes end with the test.
func newCast(t *testing.T) *cast {
	t.Helper()
	c := &cast{t: t, folder: t.TempDir(), orders: make(map[string][]order), deaths: make(map[string]int)}
	c.record = filepath.Join(c.folder, "record")
	t.Cleanup(c.end)
	return c
}

// servers describes the processes of n servers that form one bus.
func (c *cast) servers(n int) []*actor {
	addresses := relaytest.FreeAddresses(c.t, 2*n)
	clients, routes := addresses[:n], addresses[n:]
	var all []*actor
	for i := range n {
		p := part{Kind: aServer, Name: fmt.Sprintf("server-%d", i), URL: clients[i], Data: filepath.Join(c.folder, fmt.Sprint("data-", i))}
		if n > 1 {
			p.Cluster = &embedded.Cluster{Name: "faults", Server: p.Name, Listen: routes[i], Routes: routes}
		}
		all = append(all, c.actor(p))
	}
	c.url = "nats://" + strings.Join(clients, ",nats://")
	return all
}

// divide has the servers reach each other by cables, and gives what leads to and from each, by
// its name. They listen for each other where nobody finds them by what they tell each other.
func (c *cast) divide(servers []*actor) map[string][]wire {
	wires := make(map[string][]wire)
	where := make([]string, len(servers))
	for i, s := range servers {
		_, port, err := net.SplitHostPort(s.Cluster.Listen)
		if err != nil {
			c.t.Fatal(err)
		}
		where[i] = net.JoinHostPort("127.0.0.2", port)
	}
	for i, s := range servers {
		s.Cluster.Listen, s.Cluster.Routes = where[i], nil
		for k, other := range servers {
			if i == k {
				s.Cluster.Routes = append(s.Cluster.Routes, where[i])
				continue
			}
			cable := relaytest.NewCable(c.t, where[k])
			s.Cluster.Routes = append(s.Cluster.Routes, cable.Address())
			wires[s.Name] = append(wires[s.Name], wire{cable, false})
			wires[other.Name] = append(wires[other.Name], wire{cable, true})
		}
	}
	return wires
}

func (c *cast) actor(p part) *actor {
	if p.URL == "" {
		p.URL = c.url
	}
	p.Record = c.record
	a := &actor{cast: c, part: p}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.actors = append(c.actors, a)
	return a
}

// wired is an actor with a cable of its own to the bus, of which that is the address.
func (c *cast) wired(address string, p part) *actor {
	cable := relaytest.NewCable(c.t, address)
	p.URL = cable.URL()
	a := c.actor(p)
	a.wires = []wire{{cable, false}}
	return a
}

// connect gives a connection of the test's own, closed when it ends.
func (c *cast) connect() *relay.Relay {
	c.t.Helper()
	return c.connectTo(c.url)
}

// connectTo is connect by way of another URL.
func (c *cast) connectTo(url string) *relay.Relay {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{URL: url, Name: "test"})
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(r.Close)
	return r
}

// start begins the next life of an actor, which ends at the given point, if it has one.
func (a *actor) start(at view.Point, nth int) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	told := a.part
	told.At, told.Nth = at, nth
	text, err := json.Marshal(told)
	if err != nil {
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(a.folder, a.Name+".log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p := &process{Cmd: exec.Command(self), log: log.Name(), ready: make(chan struct{}), came: make(chan struct{}, 10), ended: make(chan struct{})}
	p.Env = append(os.Environ(), envPart+"="+string(text), "GORACE=atexit_sleep_ms=0")
	p.Stderr = log
	if p.stdin, err = p.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.StdoutPipe()
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(log, "%s starts, to end at %q %d\n", time.Now().Format(time.RFC3339Nano), at, nth)
	if err := p.Start(); err != nil {
		return nil, err
	}
	go p.listen(out)
	a.mu.Lock()
	a.proc = p
	a.mu.Unlock()
	a.cast.mu.Lock()
	hold := slices.Concat(a.orders[a.Kind], a.orders[a.Name])
	a.cast.mu.Unlock()
	for _, o := range hold {
		p.order(o)
	}
	return p, nil
}

// listen hears what a process says of itself, until it has ended.
func (p *process) listen(out io.Reader) {
	defer close(p.ended)
	for in := bufio.NewScanner(out); in.Scan(); {
		switch in.Text() {
		case "ready":
			close(p.ready)
		case haltLine:
			p.came <- struct{}{}
		}
	}
	_ = p.Wait() // the state tells
}

func (p *process) order(o order) {
	line, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	p.heard.Lock()
	defer p.heard.Unlock()
	_, _ = p.stdin.Write(append(line, '\n')) // it may be dead
}

// tell gives an order to all processes of a kind, or of a name, and to those that will be.
func (c *cast) tell(whom string, o order) {
	c.mu.Lock()
	if o.Down {
		kept := c.orders[whom][:0]
		for _, other := range c.orders[whom] {
			if other.key() != o.key() {
				kept = append(kept, other)
			}
		}
		c.orders[whom] = kept
	} else {
		c.orders[whom] = append(c.orders[whom], o)
	}
	actors := append([]*actor(nil), c.actors...)
	c.mu.Unlock()
	for _, a := range actors {
		if a.Kind != whom && a.Name != whom {
			continue
		}
		a.mu.Lock()
		p := a.proc
		a.mu.Unlock()
		if p != nil {
			p.order(o)
		}
	}
}

// kill ends a process as a crash does, and returns when it is gone.
func (p *process) kill() {
	_ = p.Process.Kill() // it may have ended
	<-p.ended
}

// killed reports whether a process that has ended was killed.
func (p *process) killed() bool {
	status, ok := p.ProcessState.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// died counts a death. Who ends by himself after he had been ready is one too many.
func (c *cast) died(a *actor, p *process, cause string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deaths[a.Kind+", "+cause]++
	if p.killed() || p.ProcessState.Success() {
		return
	}
	select {
	case <-p.ready:
		c.odd = append(c.odd, fmt.Sprintf("%s (pid %d) ended by itself: %s", a.Name, p.Process.Pid, p.ProcessState))
	default:
	}
}

// end ends all processes, and waits for them.
func (c *cast) end() {
	c.mu.Lock()
	actors := append([]*actor(nil), c.actors...)
	c.mu.Unlock()
	for _, a := range actors {
		a.mu.Lock()
		if a.proc != nil {
			a.proc.kill()
		}
		a.mu.Unlock()
	}
	if !c.t.Failed() {
		return
	}
	kept := filepath.Join(os.TempDir(), fmt.Sprintf("golive-faults-%d", os.Getpid()), strings.ReplaceAll(c.t.Name(), "/", "_"))
	if err := os.CopyFS(kept, os.DirFS(c.folder)); err != nil && !errors.Is(err, os.ErrExist) {
		c.t.Log(err)
	}
	c.t.Logf("the logs of all processes, the record of the scripts and the data are kept in %s", kept)
}

// up starts an actor and waits until it is ready.
func (a *actor) up() *process {
	a.t.Helper()
	p, err := a.start("", 0)
	if err != nil {
		a.t.Fatal(err)
	}
	select {
	case <-p.ready:
	case <-time.After(patience):
		a.t.Fatalf("%s is not ready within %s: see %s", a.Name, patience, p.log)
	}
	return p
}

// actions reads the record of all scripts. A last line that was cut off is none.
func (c *cast) actions() []action {
	c.t.Helper()
	all, _, err := c.actionsFrom(0)
	if err != nil {
		c.t.Fatal(err)
	}
	return all
}

// actionsFrom reads the record from an offset, in bytes, on, and gives how far it has come.
func (c *cast) actionsFrom(offset int64) (all []action, end int64, err error) {
	f, err := os.Open(c.record)
	if err != nil {
		return nil, offset, err
	}
	defer f.Close()
	if _, err := f.Seek(offset, io.SeekStart); err != nil {
		return nil, offset, err
	}
	in := bufio.NewReader(f)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return all, offset, nil
		}
		offset += int64(len(line))
		var d action
		if err := json.Unmarshal(line, &d); err != nil {
			return all, offset, fmt.Errorf("record: %q: %w", line, err)
		}
		all = append(all, d)
	}
}
