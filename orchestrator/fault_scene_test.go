package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
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
	rnd     *rand.Rand
	cables  map[string]*relaytest.Cable // by the name of the part
	caller  *caller
	follows *api.Client // of the one who follows rollouts, as the command line does
	version int         // the newest
}

// newScene starts all parts, and brings the app's first version.
func newScene(ctx context.Context, t *testing.T, seed uint64, versions int) *scene {
	t.Helper()
	c := newCast(t)
	s := &scene{ensemble: &ensemble{servers: c.servers(1)}, service: workName(severed) + "-one", rnd: rand.New(rand.NewPCG(seed, 40)), cables: make(map[string]*relaytest.Cable)}
	s.servers[0].up()
	s.awaitBus(c)
	s.driver = &driver{watch: startWatch(c, 1), did: make(map[string]int)}
	for i := range 2 {
		s.orchestrators = append(s.orchestrators, s.wire(part{Kind: anOrchestrator, Name: fmt.Sprint("orchestrator-", i), Replicas: 1}))
		s.agents = append(s.agents, s.wire(part{Kind: anAgent, Name: fmt.Sprint("web-", i+1), Given: given{Labels: map[string]string{"role": "web"}, Apps: []int{severed}, Versions: versions}}))
		s.others = append(s.others, s.wire(part{Kind: aSetup, Name: fmt.Sprint("setup-", i)}), s.wire(part{Kind: anInstance, Name: instancesOf(i)}))
	}
	s.calm()
	s.allow(true)
	for _, a := range slices.Concat(s.orchestrators, s.agents, s.others) {
		a.up()
	}
	s.client = api.NewClient(s.connectTo(s.lay(theCLI).URL()).Conn())
	s.follows = api.NewClient(s.connectTo(s.cables[theCLI].URL()).Conn())
	s.caller = s.call(s.connectTo(s.lay(theCaller).URL()))
	s.ask(s.service)
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

// lay gives a part its cable.
func (s *scene) lay(name string) *relaytest.Cable {
	s.cables[name] = relaytest.NewCable(s.t, strings.TrimPrefix(s.url, "nats://"))
	return s.cables[name]
}

func (s *scene) wire(p part) *actor {
	p.URL = s.lay(p.Name).URL()
	return s.actor(p)
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

// answered reports whether a request was answered after a time.
func (c *caller) answered(after time.Time) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last.After(after)
}

// rolling is a rollout on its way, and the people who see to it.
type rolling struct {
	id  string
	cut chan struct{} // to be closed when the part is cut off that this one is about
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
	r := &rolling{id: newID(s.t), cut: make(chan struct{}), done: make(chan result, 1), told: make(chan time.Time, 1)}
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
	s.running.Go(func() { r.done <- s.seeTo(ctx, r, k, release) })
	s.running.Go(func() { s.followOne(ctx, r) })
	return r
}

// seeTo does what people do about a rollout: they begin it, say yes, and try again what has
// failed.
func (s *scene) seeTo(ctx context.Context, r *rolling, k cut, release rollout.Release) result {
	q := api.DeployRequest{Rollout: r.id, Release: release, By: "test"}
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
			return result{State: state, err: hangs(state)}
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

// sever cuts a part off, or stops it, and gives what heals it.
func (s *scene) sever(k cut, victims []string) (heal func()) {
	var heals []func()
	for _, name := range victims {
		cable := s.cables[name]
		switch k.way {
		case waysBoth:
			s.hold(k, cable)
		case wayToBus:
			s.hold(k, cable, relaytest.ToBus)
		case wayFromBus:
			s.hold(k, cable, relaytest.FromBus)
		case wayClosed:
			cable.Unplug()
		case wayLate:
			cable.Delay(lateness)
		case wayStopped:
			heals = append(heals, s.suspend(name))
			continue
		}
		heals = append(heals, func() { cable.Delay(0); cable.Release() })
	}
	return func() {
		for _, heal := range heals {
			heal()
		}
	}
}

func (s *scene) hold(k cut, cable *relaytest.Cable, ways ...relaytest.Way) {
	if k.lossy {
		cable.Drop(ways...)
	} else {
		cable.Hold(ways...)
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
