package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// scene is an environment in which every part reaches the bus by a cable of its own. One
// version of an app after the other is rolled out, with an approval, commands on hosts,
// scripts, traffic and a check, and one part is cut off in the middle of each.
type scene struct {
	*ensemble
	service string
	wires   map[string][]wire // by the name of the part
	caller  *caller
	follows *api.Client // of the one who follows rollouts, as the command line does
	leads   string      // the server that led the journal before the newest cut
	version int         // the newest
}

// wire is a cable as a part sees it.
type wire struct {
	*relaytest.Cable
	reverse bool // it leads from the others to the part
}

// newScene starts all parts, with so many servers, and brings the app's first version.
func newScene(ctx context.Context, t *testing.T, servers int, versions int) *scene {
	t.Helper()
	c := newCast(t)
	s := &scene{ensemble: &ensemble{servers: c.servers(servers)}, service: workName(severed) + "-one", wires: make(map[string][]wire)}
	if servers > 1 {
		s.wires = c.divide(s.servers)
	}
	for _, a := range s.servers {
		a.up()
	}
	s.awaitBus(c)
	s.driver = &driver{watch: startWatch(c, servers), did: make(map[string]int)}
	for i := range 2 {
		g := given{Labels: map[string]string{"role": "web"}, Apps: []int{severed}, Versions: versions}
		s.orchestrators = append(s.orchestrators, s.wire(i+1, part{Kind: anOrchestrator, Name: fmt.Sprint("orchestrator-", i), Replicas: servers}))
		s.agents = append(s.agents, s.wire(i+2, part{Kind: anAgent, Name: fmt.Sprint("web-", i+1), Given: g, Replicas: servers}))
		s.others = append(s.others, s.wire(i, part{Kind: aSetup, Name: fmt.Sprint("setup-", i)}), s.wire(i, part{Kind: anInstance, Name: instancesOf(i)}))
	}
	s.calm()
	s.allow(true)
	for _, a := range slices.Concat(s.orchestrators, s.agents, s.others) {
		a.up()
	}
	cli := s.lay(2, theCLI).URL()
	s.client = api.NewClient(s.connectTo(cli).Conn())
	s.follows = api.NewClient(s.connectTo(cli).Conn())
	s.caller = s.call(s.connectTo(s.lay(0, theCaller).URL()))
	for _, server := range s.servers { // an answer anywhere is one
		s.askSteadily(s.service, "nats://"+server.URL)
	}
	if err := s.recover(ctx); err != nil {
		t.Fatal(err)
	}
	first := s.begin(ctx, cut{})
	close(first.cut)
	if r := <-first.done; r.err != nil {
		t.Fatal(r.err)
	}
	return s
}

// instancesOf is the process that has the instances of every second version.
func instancesOf(version int) string { return fmt.Sprint("instances-", version%2) }

// lay gives a part its cable, to the nth server.
func (s *scene) lay(n int, name string) *relaytest.Cable {
	cable := relaytest.NewCable(s.t, s.servers[n%len(s.servers)].URL)
	s.wires[name] = []wire{{cable, false}}
	return cable
}

func (s *scene) wire(n int, p part) *actor {
	a := s.wired(s.servers[n%len(s.servers)].URL, p)
	s.wires[p.Name] = a.wires
	return a
}

// allow lets the programs of the long step end, or keeps them at work.
func (s *scene) allow(end bool) {
	path := filepath.Join(s.folder, goFile)
	err := os.WriteFile(path, nil, 0o600)
	if !end {
		err = os.Remove(path)
	}
	if err != nil {
		s.t.Error(err)
	}
}

// caller sends production requests by a cable that can be cut.
type caller struct {
	mu   sync.Mutex
	last time.Time // when one was answered
}

func (s *scene) call(r *relay.Relay) *caller {
	ctx, cancel := context.WithCancel(context.Background())
	s.t.Cleanup(cancel)
	var c caller
	s.running.Go(func() {
		defer cancel()
		for ; ctx.Err() == nil; rest(ctx, 20*time.Millisecond) {
			asking, cancel := context.WithTimeout(ctx, time.Second)
			err := r.Request(asking, s.service+".tell", nil, nil)
			cancel()
			if err == nil {
				c.mu.Lock()
				c.last = time.Now()
				c.mu.Unlock()
			}
		}
	})
	return &c
}

// askSteadily sends a production request to a service by a server every so often, whatever has
// become of those before, until the test ends.
func (w *watch) askSteadily(service, url string) {
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	r := w.connectTo(url)
	w.running.Go(func() {
		defer cancel()
		for ; ctx.Err() == nil; rest(ctx, 20*time.Millisecond) {
			w.running.Go(func() { w.request(ctx, r, service) })
		}
	})
}

// answered reports whether a request was answered after a time.
func (c *caller) answered(after time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.After(after)
}

// rolling is a rollout on its way, and the people who see to it.
type rolling struct {
	id      string
	release rollout.Release
	cut     chan struct{} // to be closed when the part is cut off that this one is about
	// done gives what the people have seen, when the rollout has ended; told the time at which
	// the one who follows it has heard of that.
	done chan result
	told chan time.Time
}

// result is how a rollout has ended, or why it has not.
type result struct {
	rollout.State
	at    time.Time
	tries int // that people have told it to go on after a failure
	err   error
}

// begin brings the next version of the app, and its parts.
func (s *scene) begin(ctx context.Context, k cut) *rolling {
	s.version++
	m, err := workManifest(s.folder, severed, s.version)
	if err != nil {
		s.t.Fatal(err)
	}
	release := m.Release()
	version := func(n int) string { return fmt.Sprintf("1.0.%d", n) }
	one := order{Name: s.service, Version: release.Version}
	s.tell(aSetup, one)
	s.tell(instancesOf(s.version), one)
	one.Version, one.Down = version(s.version-2), true
	s.tell(aSetup, one)
	s.tell(instancesOf(s.version), one)
	if err := s.expect(release.App, release.Version); err != nil {
		s.t.Fatal(err)
	}
	return s.roll(ctx, k, release)
}

// roll begins a rollout of a release whose parts are there.
func (s *scene) roll(ctx context.Context, k cut, release rollout.Release) *rolling {
	r := &rolling{id: newID(s.t), release: release, cut: make(chan struct{}), done: make(chan result, 1), told: make(chan time.Time, 1)}
	s.running.Go(func() { r.done <- s.seeTo(ctx, r, k) })
	s.running.Go(func() { s.followOne(ctx, r) })
	return r
}

// seeTo does what people do about a rollout: they begin it, say yes, and try again what has
// failed.
func (s *scene) seeTo(ctx context.Context, r *rolling, k cut) result {
	q := api.DeployRequest{Rollout: r.id, Release: r.release, By: "test"}
	err := s.command(ctx, "deploy", func(ctx context.Context) error { _, err := s.client.Deploy(ctx, q); return err })
	if err != nil {
		return result{err: err}
	}
	s.driver.mu.Lock()
	s.accepted = append(s.accepted, r.id)
	s.driver.mu.Unlock()
	a := &workApp{app: &app{driver: s.driver}}
	for tries := 0; ; {
		state, ok := s.await(ctx, r.id, a.needed)
		step, asked := waitsForYes(state)
		switch {
		case !ok:
			return result{State: state, err: hangs(state, settleTime)}
		case state.Status.Final():
			return result{State: state, at: time.Now(), tries: tries}
		case asked && k.at == whenAsked:
			select {
			case <-r.cut:
			case <-ctx.Done():
			}
			fallthrough
		case asked:
			err = s.yes(ctx, r.id, step)
		default:
			tries++
			s.retry(ctx, r.id)
		}
		if err != nil {
			return result{State: state, err: err}
		}
		changing, cancel := context.WithTimeout(ctx, 2*time.Second) // what was refused changes nothing
		s.await(changing, r.id, func(now rollout.State) bool { return !a.needed(now) || !now.Event.At.Equal(state.Event.At) })
		cancel()
	}
}

func (s *scene) yes(ctx context.Context, id string, step rollout.Step) error {
	if err := s.jot(action{What: approves, Rollout: id, Step: step.ID, Attempt: step.Attempt, By: "test"}); err != nil {
		return err
	}
	q := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}, Step: step.ID}
	_ = s.command(ctx, "approve", func(ctx context.Context) error {
		_, err := s.client.Approve(ctx, api.ApproveRequest{StepRequest: q})
		return err
	})
	return nil
}

// errSeen ends the following of a rollout that has ended.
var errSeen = errors.New("seen")

// followOne follows a rollout to its end, as deploy --wait does.
func (s *scene) followOne(ctx context.Context, r *rolling) {
	for ctx.Err() == nil {
		err := s.follows.Follow(ctx, r.id, 0, func(f api.Followed) error {
			if f.State.Status.Final() {
				return errSeen
			}
			return nil
		})
		if errors.Is(err, errSeen) {
			r.told <- time.Now()
			return
		}
		rest(ctx, 20*time.Millisecond) // it is not there yet
	}
}

// sever cuts parts off, or stops them, and gives what heals that.
func (s *scene) sever(k cut, victims []string) (heal func()) {
	var heals []func()
	for _, name := range victims {
		if k.way == wayStopped {
			heals = append(heals, s.suspend(name))
		} else {
			heals = append(heals, k.sever(s.wires[name]))
		}
	}
	return func() {
		for _, heal := range heals {
			heal()
		}
	}
}

// sever cuts through all cables of a part, and gives what heals them.
func (k cut) sever(wires []wire) (heal func()) {
	for _, w := range wires {
		w.sever(k)
	}
	return func() {
		for _, w := range wires {
			w.Delay(0)
			w.Release()
		}
	}
}

func (w wire) sever(k cut) {
	stop := w.Hold
	if k.lossy {
		stop = w.Drop
	}
	switch {
	case k.way == wayClosed:
		w.Unplug()
	case k.way == wayLate:
		w.Delay(lateness)
	case k.way == waysBoth:
		stop()
	case (k.way == wayToBus) != w.reverse:
		stop(relaytest.ToBus)
	default:
		stop(relaytest.FromBus)
	}
}

// suspend stops a process, and gives what wakes it.
func (s *scene) suspend(name string) (wake func()) {
	all := slices.Concat(s.servers, s.orchestrators, s.agents, s.others)
	a := all[slices.IndexFunc(all, func(a *actor) bool { return a.Name == name })]
	p := a.alive()
	if p == nil {
		return func() {} // it has ended, as it was told to
	}
	if err := a.disturb(sleeps, p); err != nil {
		s.t.Error(err)
	}
	_ = p.Process.Signal(syscall.SIGSTOP) // it may have ended
	return func() {
		if err := a.wake(p); err != nil {
			s.t.Error(err)
		}
	}
}

// recover blocks until all parts are there again.
func (s *scene) recover(ctx context.Context) error {
	for _, o := range s.orchestrators {
		if o.alive() == nil {
			o.up()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	since := time.Now()
	for ; ctx.Err() == nil; rest(ctx, 50*time.Millisecond) {
		asking, cancel := context.WithTimeout(ctx, tryFor)
		agents, err := s.client.Agents(asking)
		cancel()
		if err == nil && len(agents) == len(s.agents) && (s.version == 0 || s.caller.answered(since)) {
			return nil
		}
	}
	return errors.New("not all parts are there again")
}
