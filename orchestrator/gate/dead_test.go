package gate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// ghost is an instance of todos that confirms every route until one at which it dies. Its lease
// runs out a while later.
type ghost struct {
	b           *bench
	version, id string
	dies        string // the route at which it dies; empty: at none
	cut         bool   // it is cut off: NATS does not tell that it is gone

	end     func() // of its lease
	address *nats.Subscription
	leases  *time.Timer
	once    sync.Once
	died    chan struct{}
	at      time.Time // when it died
}

// ghostLease is how long the lease of a ghost goes on after its death.
const ghostLease = 3 * time.Second

func (b *bench) haunt(version, id, dies string, cut bool) *ghost {
	b.t.Helper()
	g := &ghost{b: b, version: version, id: id, dies: dies, cut: cut, end: b.lease("todos", version, id), died: make(chan struct{})}
	var err error
	g.address, err = b.caller.Conn().QueueSubscribe(protocol.InstanceSubject("todos", version, id), "todos", func(m *nats.Msg) {
		select {
		case <-g.died: // it is cut off
		default:
			_ = m.Respond(nil)
		}
	})
	b.must(err)
	b.must(b.caller.Conn().FlushTimeout(patience))
	ctx, cancel := context.WithCancel(context.Background())
	var following sync.WaitGroup
	following.Go(func() { _ = b.Follow(ctx, g.follow) })
	b.t.Cleanup(func() {
		cancel()
		following.Wait()
		if g.leases != nil {
			g.leases.Stop()
		}
	})
	return g
}

func (g *ghost) follow(r gate.Route) error {
	select {
	case <-g.died:
		return nil
	default:
	}
	if r.Route.Service != "todos" {
		return nil
	}
	if r.String() == g.dies {
		g.die()
		return nil
	}
	g.b.confirm("todos", g.id, protocol.Confirmation{Revision: r.Revision, State: r.State(g.version), Version: g.version, Address: true})
	return nil
}

func (g *ghost) die() {
	g.once.Do(func() {
		g.at = time.Now()
		if !g.cut {
			_ = g.address.Unsubscribe()
			_ = g.b.caller.Conn().Flush()
		}
		g.leases = time.AfterFunc(ghostLease, g.end)
		close(g.died)
	})
}

// moves begins to move the traffic from 1.0.0, which serves, to 2.0.0.
func (b *bench) moves(instances int, first uint64) (ended <-chan error, told <-chan string) {
	b.t.Helper()
	words, done := make(chan string, 100), make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, err := b.Open(ctx, gate.Order{
			Service: "todos", Version: "2.0.0", Rollout: "r2", Replaces: first, Instances: instances, Tell: func(w string) { words <- w },
		})
		done <- err
	}()
	b.t.Cleanup(cancel)
	return done, words
}

func (b *bench) within(d time.Duration, ended <-chan error) error {
	b.t.Helper()
	select {
	case err := <-ended:
		return err
	case <-time.After(d):
		b.t.Fatalf("it has not ended within %s", d)
		return nil
	}
}

// gap asks until 1.0.0 answers, and gives how long after a moment that is.
func (b *bench) gap(since time.Time) time.Duration {
	b.t.Helper()
	var got string
	b.until("1.0.0 answers", func() bool {
		ctx, cancel := context.WithTimeout(b.t.Context(), 100*time.Millisecond)
		defer cancel()
		return b.caller.Request(ctx, "todos.say", nil, &got) == nil
	})
	if got != "1.0.0" {
		b.t.Errorf("answered by %q", got)
	}
	return time.Since(since)
}

// At each route of a cutover the only instance of the new version dies. The old one is well, so
// somebody has to answer soon.
func TestACutoverIsTurnedBackWhenItsOnlyNewInstanceDies(t *testing.T) {
	t.Parallel()
	for _, way := range []struct {
		name string
		cut  bool
		most time.Duration // from the death until it is known
	}{
		{"NATS says that it is gone", false, 3 * time.Second},
		{"its lease runs out", true, ghostLease + 2*time.Second},
	} {
		for _, dies := range []string{
			"1.0.0 fenced, 2.0.0 standby",
			"1.0.0 fenced, 2.0.0 online",
			"1.0.0 draining, 2.0.0 online",
			"2.0.0 online",
		} {
			t.Run(way.name+" at "+dies, func(t *testing.T) {
				t.Parallel()
				if way.cut {
					relaytest.Long(t)
				}
				b := newBench(t)
				b.bus.Serve(says("1.0.0"))
				first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
				g := b.haunt("2.0.0", "ghost", dies, way.cut)
				ended, _ := b.moves(1, first)
				err := b.within(way.most+2*time.Second, ended)
				known := time.Since(g.at)
				var stuck *gate.UnconfirmedError
				if !errors.As(err, &stuck) || len(stuck.Dead) != 1 || stuck.Alive != 0 {
					t.Fatalf("the error is %v", err)
				}
				name := "instance ghost of 2.0.0"
				if !way.cut {
					name += " (test, pid 7)"
				}
				if want := name + " died: 0 of 1 instances of 2.0.0 are alive"; !strings.HasSuffix(err.Error(), want) {
					t.Errorf("the error is %v, want %s", err, want)
				}
				if known > way.most {
					t.Errorf("it took %s to give up, want at most %s", known, way.most)
				}
				back := make(chan error, 1)
				go func() {
					_, err := b.Open(b.t.Context(), gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r2", Sequence: 1, Replaces: first})
					back <- err
				}()
				gap := b.gap(g.at)
				t.Logf("known after %s, answered after %s", known.Round(time.Millisecond), gap.Round(time.Millisecond))
				most := way.most
				if dies != "1.0.0 fenced, 2.0.0 standby" { // it may have answered: its lease has to run out
					most = max(most, ghostLease+2*time.Second)
				}
				if gap > most {
					t.Errorf("nobody answered for %s, want at most %s", gap, most)
				}
				b.must(b.within(patience, back))
			})
		}
	}
}

// While the old version serves, there is time to wait for the new one.
func TestAnInstanceThatDiesWhileTheOldVersionServesIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	g := b.haunt("2.0.0", "ghost", "1.0.0 online, 2.0.0 standby", false)
	ended, told := b.moves(1, first)
	<-g.died
	b.until("it tells that nobody is alive", func() bool { return strings.HasSuffix(<-told, ", 0 are alive") })
	if got, err := b.ask(); got != "1.0.0" || err != nil {
		t.Errorf("meanwhile answered by %q, %v", got, err)
	}
	b.bus.Serve(says("2.0.0"))
	b.must(b.within(patience, ended))
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("answered by %q, %v", got, err)
	}
}

// The manifest says how many instances have to take over. While requests are held, one too few
// is as bad as none; once the new version answers, those that are left do.
func TestACutoverIsTurnedBackWhenTooFewNewInstancesAreLeft(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	b.haunt("2.0.0", "well", "", false)
	g := b.haunt("2.0.0", "ghost", "1.0.0 fenced, 2.0.0 standby", false)
	ended, _ := b.moves(2, first)
	err := b.within(patience, ended)
	if want := "instance ghost of 2.0.0 (test, pid 7) died: 1 of 2 instances of 2.0.0 are alive"; err == nil || !strings.HasSuffix(err.Error(), want) {
		t.Errorf("the error is %v, want %s", err, want)
	}
	if took := time.Since(g.at); took > 3*time.Second {
		t.Errorf("it took %s to give up", took)
	}
}

func TestAnInstanceThatDiesBesideOneThatAnswersIsWaitedFor(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	b.haunt("2.0.0", "well", "", false)
	b.haunt("2.0.0", "ghost", "1.0.0 draining, 2.0.0 online", false)
	ended, told := b.moves(2, first)
	b.until("it waits", func() bool { return strings.HasSuffix(<-told, ", 1 are alive") })
	b.haunt("2.0.0", "next", "", false)
	b.must(b.within(patience, ended))
	if got := b.route("todos").String(); got != "2.0.0 online" {
		t.Errorf("the route is %s", got)
	}
}

// Nobody is relieved by turning back where nobody of another version is there.
func TestACutoverWithoutAnOldInstanceWaitsForTheNewOne(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1"})
	g := b.haunt("2.0.0", "ghost", "1.0.0 fenced, 2.0.0 online", false)
	ended, told := b.moves(1, first)
	<-g.died
	b.until("it tells that nobody is alive", func() bool { return strings.HasSuffix(<-told, ", 0 are alive") })
	b.bus.Serve(says("2.0.0"))
	b.must(b.within(patience, ended))
	if got, err := b.ask(); got != "2.0.0" || err != nil {
		t.Errorf("answered by %q, %v", got, err)
	}
}

// An instance that was away for a moment, as after a loss of its connection, is not dead.
func TestAnInstanceThatComesBackAtOnceIsNotDead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.bus.Serve(says("1.0.0"))
	first := b.open(gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r1", Instances: 1})
	g := b.haunt("2.0.0", "ghost", "1.0.0 fenced, 2.0.0 standby", false)
	ended, _ := b.moves(1, first)
	<-g.died
	if !g.leases.Stop() {
		t.Fatal("its lease has run out")
	}
	back := time.NewTimer(time.Second / 2)
	defer back.Stop()
	<-back.C
	b.haunt("2.0.0", "ghost", "", false)
	b.must(b.within(patience, ended))
}

// Instances say themselves that they have none: where the bus cannot store that leases run out, they do not.
func TestWhoHasNoLeaseIsNotAlive(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ttl := nats.Header{"Nats-TTL": {"10s"}}
	_, err := b.js.PublishMsg(t.Context(), &nats.Msg{Subject: "$KV.golive-leases.todos.1_0_0.fresh", Header: ttl, Data: []byte(`{"version":"1.0.0"}`)})
	b.must(err)
	b.lease("todos", "1.0.0", "held")
	b.until("the gate has heard that one has no lease", func() bool {
		b.confirm("todos", "held", protocol.Confirmation{Version: "1.0.0", State: protocol.StateOnline, Unleased: protocol.Duration(25 * time.Second)})
		b.confirm("todos", "never", protocol.Confirmation{Version: "1.0.0", State: protocol.StateOffline, Unleased: protocol.Duration(time.Second)})
		return len(b.instances("todos")) == 3 && gate.AliveOf(b.instances("todos"), "1.0.0") == 1
	})
	var all []string
	for _, i := range b.instances("todos") {
		all = append(all, fmt.Sprint(i.ID, " ", i.Alive()))
	}
	if got := strings.Join(all, ", "); got != "fresh true, held false, never false" {
		t.Errorf("the instances are %s", got)
	}
	b.confirm("todos", "held", protocol.Confirmation{Version: "1.0.0", State: protocol.StateOnline})
	b.until("one has a lease again", func() bool { return gate.AliveOf(b.instances("todos"), "1.0.0") == 2 })
}
