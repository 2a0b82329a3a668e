package orchestrator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// How long rollouts may stand still.
const (
	takeOver = 5 * time.Second  // when an orchestrator has died beside another
	election = 15 * time.Second // when the leader of the journal has died: so long may the servers take to elect another one
	elected  = 6 * time.Second  // once there is another one
)

// death is one after which others have to take over.
type death struct {
	what string
	at   time.Time
	open []string // rollouts that were on their way then
}

// TestFaultTakeOver has an orchestrator die beside another one, at one point after the
// other, and measures how long rollouts stand still.
func TestFaultTakeOver(t *testing.T) {
	relaytest.Long(t)
	seed := drawSeed(t)
	m := assemble(t, 1, 2)
	rnd := rand.New(rand.NewPCG(seed, 0))
	points := slices.DeleteFunc(view.Points(), func(p view.Point) bool {
		return p == view.LedgerSaved || p == view.TimerSet // of which there are none here
	})
	rnd.Shuffle(len(points), func(i, k int) { points[i], points[k] = points[k], points[i] })
	if *faultsFor <= 20*time.Second {
		points = points[:2] // the others at other times
	}
	m.orchestrators[0].up()
	m.takeOvers(seed, takeOver, func(ctx context.Context) ([]death, error) {
		var all []death
		for _, at := range points {
			p, err := m.orchestrators[1].start(at, 1+rnd.IntN(8))
			if err != nil {
				return nil, err
			}
			select {
			case <-p.ended:
			case <-time.After(patience):
				return nil, fmt.Errorf("the orchestrator did not come to %s", at)
			}
			all = append(all, m.death("the orchestrator at "+string(at)))
			rest(ctx, takeOver)
		}
		return all, nil
	})
}

// TestFaultOfALeader kills the server of a cluster that leads the journal, and measures how
// long rollouts stand still once the others have elected another leader.
func TestFaultOfALeader(t *testing.T) {
	relaytest.Long(t)
	seed := drawSeed(t)
	m := assemble(t, 3, 2)
	for _, o := range m.orchestrators {
		o.up()
	}
	times := max(1, int(*faultsFor/(60*time.Second)))
	js, err := jetstream.New(m.connect().Conn())
	if err != nil {
		t.Fatal(err)
	}
	m.takeOvers(seed, elected, func(ctx context.Context) ([]death, error) {
		var all []death
		for range times {
			leader, err := m.leader(ctx, js)
			if err != nil {
				return nil, err
			}
			leader.alive().kill()
			d := m.death("the server that leads the journal")
			died := d.at
			if err := m.awaitLeader(ctx, js, leader.Name); err != nil {
				return nil, err
			}
			d.at = time.Now()
			t.Logf("the servers have elected another leader within %s", d.at.Sub(died).Round(time.Millisecond))
			all = append(all, d)
			rest(ctx, election)
			if _, err := leader.start("", 0); err != nil {
				return nil, err
			}
		}
		return all, nil
	})
}

// awaitLeader blocks until a server that is not the one named before leads the journal, and
// its queue of work.
func (m *ensemble) awaitLeader(ctx context.Context, js jetstream.JetStream, before string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*election)
	defer cancel()
	for {
		asking, stop := context.WithTimeout(ctx, time.Second)
		stream, err := js.Stream(asking, protocol.Stream)
		if err == nil && leads(stream.CachedInfo().Cluster, before) {
			queue, err := stream.Consumer(asking, "golive-orchestrators")
			if err == nil && leads(queue.CachedInfo().Cluster, before) {
				stop()
				return nil
			}
		}
		stop()
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("the servers elect no other leader of the journal: %w", ctx.Err())
		}
	}
}

// leads reports whether somebody leads who did not before.
func leads(c *jetstream.ClusterInfo, before string) bool {
	return c != nil && c.Leader != "" && c.Leader != before
}

// leader waits until all replicas of the journal hold the same, and gives the server that
// leads it.
func (m *ensemble) leader(ctx context.Context, js jetstream.JetStream) (*actor, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var info *jetstream.StreamInfo
	for {
		stream, err := js.Stream(ctx, protocol.Stream)
		if err == nil {
			info = stream.CachedInfo()
			behind := slices.ContainsFunc(info.Cluster.Replicas, func(p *jetstream.PeerInfo) bool { return !p.Current || p.Offline })
			n := slices.IndexFunc(m.servers, func(s *actor) bool { return s.Name == info.Cluster.Leader })
			if n >= 0 && !behind && len(info.Cluster.Replicas) == len(m.servers)-1 {
				return m.servers[n], nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("the journal has no leader with all its replicas: %+v (%v)", info, err)
		}
	}
}

// death notes what is on its way, right after somebody has died.
func (m *ensemble) death(what string) death {
	d := death{what: what, at: time.Now()}
	for _, s := range m.open() {
		if s.Status == rollout.Running {
			d.open = append(d.open, s.ID)
		}
	}
	return d
}

// takeOvers rolls out without a break while die lets somebody die, and fails the test when
// a rollout stood still for longer than the limit. Scripts are quick, and nobody intervenes.
func (m *ensemble) takeOvers(seed uint64, limit time.Duration, die func(context.Context) ([]death, error)) {
	t := m.t
	t.Helper()
	m.tell(aSetup, order{Calm: true})
	for _, o := range m.others {
		if o.Kind == aSetup {
			o.up()
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), *faultsFor+settleTime+restTime)
	defer cancel()
	faults, stop := context.WithCancel(ctx)
	defer stop()
	driving, _ := errgroup.WithContext(ctx)
	for n := range 6 {
		a := m.app(n, seed)
		a.kind = []int{twoServices, withSetup}[n%2]
		driving.Go(func() error {
			for faults.Err() == nil {
				id, err := a.deploy(ctx, api.DeployRequest{})
				if err != nil {
					return err
				}
				if id != "" {
					err = a.finish(ctx, id)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
	}
	rest(ctx, time.Second)
	deaths, err := die(ctx)
	stop()
	if err := driving.Wait(); err != nil {
		t.Error(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	m.awaitIdle()
	e := m.gather()
	if found := e.findings(); len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), some(found))
	}
	for _, d := range deaths {
		m.checkTakeOver(d, e, limit)
	}
	t.Logf("%s", m.report(e))
}

// checkTakeOver measures how long each rollout that was on its way stood still after a
// death: until the next event that the journal has stored.
func (m *ensemble) checkTakeOver(d death, e evidence, limit time.Duration) {
	m.t.Helper()
	js, err := jetstream.New(m.connect().Conn())
	if err != nil {
		m.t.Fatal(err)
	}
	stream, err := js.Stream(m.t.Context(), protocol.Stream)
	if err != nil {
		m.t.Fatal(err)
	}
	var longest time.Duration
	for _, id := range d.open {
		went := false
		for _, r := range e.histories[id] {
			stored, err := stream.GetMsg(m.t.Context(), r.Sequence)
			if err != nil {
				m.t.Fatal(err)
			}
			if still := stored.Time.Sub(d.at); still > 0 {
				longest, went = max(longest, still), true
				break
			}
		}
		if s := e.histories[id]; !went && !s[len(s)-1].State.Status.Final() {
			m.t.Errorf("after the death of %s rollout %s did not go on", d.what, id)
		}
	}
	m.t.Logf("after the death of %s %d rollouts went on within %s", d.what, len(d.open), longest.Round(time.Millisecond))
	if longest > limit {
		m.t.Errorf("after the death of %s it took %s until all rollouts went on, want at most %s", d.what, longest, limit)
	}
	if len(d.open) == 0 {
		m.t.Errorf("no rollout was on its way when %s died", d.what)
	}
}
