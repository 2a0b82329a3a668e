package gate_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// onTheirWay is for how long requests that are not held may be under way when a server
// stops: this machine is busy.
const onTheirWay = time.Second

// noticed is how long it takes until the servers that are left know who listens where.
const noticed = 100 * time.Millisecond

// downtime is when a server was stopped: what was under way through it then is gone.
type downtime struct {
	from, to time.Time
	cutOff   map[int]time.Time // the callers that were connected to it, and when each was connected again
	alone    time.Time         // until when instances that were connected to it were not there
}

// excuses reports whether an answer may be missing because of the downtime. What is held
// meanwhile, or sent by callers of other servers, must be answered. While a server goes,
// NATS also tells callers that nobody listens: for what has just been handed to it, and
// when all instances were connected to it.
func (d *downtime) excuses(c call) bool {
	to := d.to
	if again, cut := d.cutOff[c.caller]; cut {
		to = again
	}
	if errors.Is(c.err, relay.ErrNobodyListens) {
		to = d.alone
	} else if !c.lost() {
		return false
	}
	return d.from.Add(-onTheirWay).UnixNano() <= c.sent && c.sent <= to.UnixNano()
}

// outageBench is a cutover on three servers of which one is stopped at a time.
type outageBench struct {
	*bench
	cluster *relaytest.Cluster
	serving []*relay.Relay // what instances are connected by
	judge   *judge
	load    *load

	order     gate.Order
	repeated  int // orders that had to be given again
	took      []time.Duration
	downtimes []*downtime
}

func TestCutoverWhileAServerStops(t *testing.T) {
	relaytest.Long(t)
	cluster := relaytest.StartCluster(t, 3)
	b := &outageBench{bench: benchOn(t, cluster, gate.Config{Replicas: 3}), cluster: cluster, judge: &judge{t: t, instances: instancesEach}}
	urls := cluster.URLs()
	for _, url := range urls {
		b.judge.watch(connectAt(t, urls, url))
	}
	var handled atomic.Int64
	for i := range instancesEach {
		for _, version := range []string{"1.0.0", "2.0.0"} {
			r := connectAt(t, urls, urls[i])
			serveOn(t, r, tells(version, i, &handled))
			b.serving = append(b.serving, r)
		}
	}
	var callers []*relay.Relay
	for i := range 6 {
		callers = append(callers, connectAt(t, urls, urls[i%len(urls)]))
	}
	b.order = gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r0", Instances: instancesEach}
	b.order.Replaces = b.open(b.order)
	b.load = &load{t: t, callers: callers, rate: *rate, most: 2 * *rate, timeout: patience}
	b.load.begin()
	b.load.await(500)
	n := max(1, *cutovers/10) // each takes an election or two
	for i := range n {
		// It is the second and third step, in turn, in which requests are held, and the first.
		b.cutOver(i+1, uint64(i+1)%3+1)
	}
	calls := b.load.finish()
	b.judge.await(b.order.Replaces)
	res := result{cutovers: n, wrong: b.judge.wrong(calls)}
	res.sort(calls, func(c call) bool {
		return slices.ContainsFunc(b.downtimes, func(d *downtime) bool { return d.excuses(c) })
	})
	res.more = fmt.Sprintf(", %d stops and starts of the leader, the cutovers took %v, %d orders given again", n, b.took, b.repeated)
	res.verdict(t, b.load, b.judge)
	if t.Failed() {
		t.Logf("what happened:\n%s", b.judge.story())
	}
}

// cutOver moves the traffic to the other version, and stops the leader of the routes
// when the given step of that has been written.
func (b *outageBench) cutOver(n int, step uint64) {
	b.t.Helper()
	b.cluster.AwaitCurrent("KV_" + protocol.RoutesBucket)
	b.cluster.AwaitCurrent("KV_" + protocol.LeasesBucket)
	leader := b.cluster.Leader("KV_" + protocol.RoutesBucket)
	to := map[string]string{"1.0.0": "2.0.0", "2.0.0": "1.0.0"}[b.order.Version]
	began, last := time.Now(), b.order.Replaces
	b.order.Version, b.order.Rollout = to, fmt.Sprintf("r%d", n)
	opened := make(chan error, 1)
	go func() { opened <- b.openAgain() }()
	b.judge.await(last + step)
	b.stop(leader)
	select {
	case err := <-opened:
		b.must(err)
	case <-time.After(3 * patience):
		b.t.Fatalf("the cutover did not finish\n%s", b.judge.story())
	}
	b.took = append(b.took, time.Since(began).Round(time.Millisecond))
	b.load.await(500)
	b.judge.note("server %d starts again", leader)
	b.cluster.StartAgain(leader)
	b.load.await(500)
}

// openAgain gives the order until it is carried out, as the orchestrator does.
func (b *outageBench) openAgain() error {
	for again := time.NewTicker(200 * time.Millisecond); ; <-again.C {
		moved, err := b.Open(b.t.Context(), b.order)
		if err == nil {
			b.order.Replaces = moved.Revision
			return nil
		}
		if b.t.Context().Err() != nil || b.repeated > 200 {
			return err
		}
		b.judge.note("the order is given again: %v", err)
		b.repeated++
	}
}

// stop stops a server, and returns when its callers are connected to others.
func (b *outageBench) stop(server int) {
	b.t.Helper()
	d := &downtime{from: time.Now(), cutOff: make(map[int]time.Time)}
	url := b.cluster.URLs()[server]
	for n, c := range b.load.callers {
		if c.Conn().ConnectedUrl() == url {
			d.cutOff[n] = time.Time{}
		}
	}
	b.judge.note("server %d stops", server)
	b.cluster.Stop(server)
	d.to = time.Now()
	b.judge.note("server %d is stopped, callers on it were %v", server, slices.Sorted(maps.Keys(d.cutOff)))
	for n := range d.cutOff {
		b.until("the callers are connected again", func() bool { return connected(b.load.callers[n]) })
		d.cutOff[n] = time.Now()
	}
	for _, r := range b.serving {
		b.until("the instances are connected again", func() bool { return connected(r) })
	}
	d.alone = time.Now().Add(noticed)
	b.judge.note("its clients are connected again")
	b.downtimes = append(b.downtimes, d)
}

// connectAt gives a connection to the given one of several servers, that goes over to
// another when that stops. It has to know all of them from the beginning: a server whose
// routes end before its clients do tells these that there are no others.
func connectAt(t *testing.T, urls []string, url string) *relay.Relay {
	t.Helper()
	for range 100 {
		r := connectTo(t, strings.Join(urls, ","))
		if r.Conn().ConnectedUrl() == url {
			return r
		}
		r.Close()
	}
	t.Fatalf("no connection came to %s", url)
	return nil
}

func connected(r *relay.Relay) bool {
	return r.Conn().Status() == nats.CONNECTED && r.Conn().FlushTimeout(time.Second) == nil
}
