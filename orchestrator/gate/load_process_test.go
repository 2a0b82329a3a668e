package gate_test

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

var seed = flag.Uint64("seed", 0, "what the moments are drawn from at which instances die; 0: another one each time")

var rate = flag.Int("rate", 2000, "how many requests a second are sent while instances or servers die")

// shortLease is of instances that are stopped for longer.
const shortLease = 2 * time.Second

// breaker breaks the instances of a version, one at a time.
type breaker struct {
	*fleet
	rnd   *rand.Rand
	alive func(pid int) bool // whether the instance of a process has confirmed something
	tell  func(format string, args ...any)

	kills, stops, starts atomic.Int64
}

// run breaks instances until ctx ends, in every way before it does so in one again. It
// then leaves them all running.
func (b *breaker) run(ctx context.Context) error {
	ways := []func(context.Context, *process) error{
		b.kill,
		func(ctx context.Context, p *process) error { return b.stop(ctx, p, b.upTo(b.lease/2)) },
		func(ctx context.Context, p *process) error { return b.stop(ctx, p, b.lease+b.upTo(b.lease)) },
		func(ctx context.Context, p *process) error { return b.stopAndKill(ctx, p, b.upTo(2*b.lease)) },
	}
	for {
		for _, n := range b.rnd.Perm(len(ways)) {
			rest(ctx, b.upTo(time.Second))
			if ctx.Err() != nil {
				return nil
			}
			which := b.rnd.IntN(instancesEach)
			p := b.at(which)
			if err := ways[n](ctx, p); err != nil {
				return err
			}
			if err := b.restore(ctx, which, p); err != nil {
				return err
			}
		}
	}
}

func (b *breaker) upTo(d time.Duration) time.Duration {
	return time.Duration(b.rnd.Int64N(int64(d))) + time.Millisecond
}

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func (b *breaker) kill(_ context.Context, p *process) error {
	b.kills.Add(1)
	b.tell("pid %d of %s is killed", p.Process.Pid, b.version)
	p.kill()
	return nil
}

func (b *breaker) stop(ctx context.Context, p *process, d time.Duration) error {
	if err := b.freeze(ctx, p, d); err != nil {
		return err
	}
	b.tell("pid %d of %s is woken", p.Process.Pid, b.version)
	if err := p.Process.Signal(syscall.SIGCONT); err != nil {
		return fmt.Errorf("wake: %w", err)
	}
	return nil
}

func (b *breaker) stopAndKill(ctx context.Context, p *process, d time.Duration) error {
	if err := b.freeze(ctx, p, d); err != nil {
		return err
	}
	return b.kill(ctx, p)
}

// freeze stops a process, and returns after a while.
func (b *breaker) freeze(ctx context.Context, p *process, d time.Duration) error {
	b.stops.Add(1)
	b.tell("pid %d of %s is stopped", p.Process.Pid, b.version)
	p.stopped.Store(true)
	if err := p.Process.Signal(syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	rest(ctx, d)
	return nil
}

// restore blocks until an instance in the place of a broken one takes part.
func (b *breaker) restore(ctx context.Context, which int, p *process) error {
	select {
	case <-p.ended:
	default:
		return nil
	}
	p, err := b.start(which)
	if err != nil {
		return err
	}
	b.starts.Add(1)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		select {
		case <-tick.C:
			if b.alive(p.Process.Pid) {
				return nil
			}
		case <-ctx.Done():
			return nil
		case <-deadline:
			return fmt.Errorf("an instance of %s that was started did not come up:\n%s", b.version, p.stderr.String())
		}
	}
}

// mover leads traffic back and forth as the orchestrator does: an order that cannot be
// finished is followed by one for the version before.
type mover struct {
	gates      []*gate.Gate
	rnd        *rand.Rand
	at         string // the version that is online
	revision   uint64
	moves      int
	turnedBack int
}

// move leads the traffic to a version, by any of the gates.
func (m *mover) move(ctx context.Context, to string) error {
	return m.give(ctx, m.gates[m.rnd.IntN(len(m.gates))], to)
}

func (m *mover) give(ctx context.Context, g *gate.Gate, to string) error {
	m.moves++
	order := gate.Order{Service: "todos", Version: to, Rollout: fmt.Sprintf("r%d", m.moves), Sequence: 1, Replaces: m.revision, Instances: instancesEach - 1}
	moved, err := g.Open(ctx, order)
	var stuck *gate.UnconfirmedError
	if !errors.As(err, &stuck) {
		m.at, m.revision = to, moved.Revision
		return err
	}
	m.turnedBack++
	order.Version, order.Sequence, order.Instances = m.at, 2, 0
	for errors.As(err, &stuck) {
		moved, err = g.Open(ctx, order)
	}
	m.revision = moved.Revision
	return err
}

func TestCutoverWhileInstancesDie(t *testing.T) {
	relaytest.Long(t)
	s := cmp.Or(*seed, rand.Uint64())
	t.Logf("-seed %d", s)
	t.Run("on one server", func(t *testing.T) {
		bus := relaytest.Start(t)
		dieUnderLoad(t, bus, 1, []string{bus.URL()}, cmp.Or(*cutovers, 5), s)
	})
	t.Run("on three servers", func(t *testing.T) {
		bus := relaytest.StartCluster(t, 3)
		dieUnderLoad(t, bus, 3, bus.URLs(), cmp.Or(*cutovers, 2), s)
	})
}

// dieUnderLoad leads traffic back and forth by two gates, one of which has less patience
// than it takes a lease to run out, while instances die.
func dieUnderLoad(t *testing.T, bus interface{ Connect() *relay.Relay }, replicas int, urls []string, n int, s uint64) {
	patient := benchOn(t, bus, gate.Config{Replicas: replicas})
	impatient := benchOn(t, bus, gate.Config{Replicas: replicas, Patience: shortLease * 2 / 3})
	fleets := []*fleet{newFleet(t, urls, "1.0.0", shortLease), newFleet(t, urls, "2.0.0", shortLease)}
	j := &judge{t: t, stopped: func(c call) bool { return fleets[0].stopped(c) || fleets[1].stopped(c) }}
	j.watch(connectTo(t, urls[0]))
	m := &mover{gates: []*gate.Gate{patient.Gate, impatient.Gate}, rnd: rand.New(rand.NewPCG(s, 0)), at: "1.0.0"}
	m.revision = patient.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r0", Instances: instancesEach})
	l := &load{t: t, callers: callersOn(t, urls, 6), rate: *rate, most: 6 * *rate, timeout: 6 * shortLease}
	l.begin()
	l.await(500)

	wakeOutdated(t, m, fleets, j, l)
	breaking := breakAll(t, patient, fleets, j, s)
	for range n - 1 {
		to := fleets[0].version
		if to == m.at {
			to = fleets[1].version
		}
		patient.must(m.move(t.Context(), to))
		l.await(1 + m.rnd.Int64N(1000))
	}
	done := breaking()
	l.await(500)
	calls := l.finish()
	j.await(m.revision)
	res := result{cutovers: n, wrong: j.wrong(calls)}
	res.sort(calls, func(c call) bool { return fleets[0].excuses(c) || fleets[1].excuses(c) })
	res.more = fmt.Sprintf(", %d turned back, %s", m.turnedBack, done)
	res.verdict(t, l, j)
	if t.Failed() {
		t.Logf("what happened:\n%s", j.story())
	}
}

// wakeOutdated has an instance sleep while another version takes over, and wakes it with
// requests in its buffer that were sent when its own was online.
func wakeOutdated(t *testing.T, m *mover, fleets []*fleet, j *judge, l *load) {
	t.Helper()
	asleep, woken := context.WithCancel(t.Context())
	b := breaker{fleet: fleets[0], tell: j.note}
	ended := make(chan error, 1)
	go func() { ended <- b.stop(asleep, b.at(0), patience) }()
	l.await(500)
	err := m.give(t.Context(), m.gates[0], fleets[1].version)
	l.await(500)
	woken()
	if err := errors.Join(err, <-ended); err != nil {
		t.Fatal(err)
	}
	l.await(500)
}

// breakAll breaks instances of all versions until it is told to end.
func breakAll(t *testing.T, b *bench, fleets []*fleet, j *judge, seed uint64) (end func() string) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	var all []*breaker
	for n, f := range fleets {
		br := &breaker{fleet: f, rnd: rand.New(rand.NewPCG(seed, uint64(n)+1)), tell: j.note, alive: func(pid int) bool { return b.takesPart(ctx, pid) }}
		all = append(all, br)
		running.Go(func() {
			if err := br.run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	stop := sync.OnceFunc(func() { cancel(); running.Wait() })
	t.Cleanup(stop)
	return func() string {
		stop()
		var kills, stops, starts int64
		for _, br := range all {
			kills, stops, starts = kills+br.kills.Load(), stops+br.stops.Load(), starts+br.starts.Load()
		}
		return fmt.Sprintf("%d kills, %d stops, %d starts", kills, stops, starts)
	}
}

// takesPart reports whether the instance of a process has confirmed a revision.
func (b *bench) takesPart(ctx context.Context, pid int) bool {
	all, err := b.Instances(ctx, "todos")
	if err != nil {
		return false
	}
	for _, i := range all {
		if i.PID == pid && !i.Seen.IsZero() {
			return true
		}
	}
	return false
}

// lapsed reports whether a request was answered with the error of an instance that had
// begun with it, and was cut off for longer than its lease.
func (c *call) lapsed() bool {
	var answered *relay.Error
	return errors.As(c.err, &answered) && answered.Code == relay.CodeFailed &&
		answered.Message == "the instance was cut off while it was at work, and another version has taken over"
}
