package gate_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

var cutovers = flag.Int("cutovers", 0, "how many cutovers the tests under load make; 0: few")

// instancesEach is how many instances of each version there are under load.
const instancesEach = 3

// connectTo gives a connection that is closed when the test ends.
func connectTo(t *testing.T, url string) *relay.Relay {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	r, err := relay.Connect(ctx, relay.Config{URL: url, Name: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	return r
}

// serveOn runs an instance until the test ends.
func serveOn(t *testing.T, r *relay.Relay, s relay.Service) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- r.Serve(ctx, s) }()
	t.Cleanup(sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("serve %s: %v", s.Version, err)
		}
	}))
}

// callersOn gives connections to the servers in turn.
func callersOn(t *testing.T, urls []string, n int) []*relay.Relay {
	t.Helper()
	var all []*relay.Relay
	for i := range n {
		all = append(all, connectTo(t, urls[i%len(urls)]))
	}
	return all
}

// result is what a test under load has come to.
type result struct {
	cutovers              int
	lost, failed, excused []string
	lapsed                int // of those excused: an instance was cut off at work
	wrong                 []string
	more                  string // that happened meanwhile
}

// verdict fails the test for every request that was lost, has failed or was answered
// by a version that was not online, and writes the line that says what was done.
func (r *result) verdict(t *testing.T, l *load, j *judge) {
	t.Helper()
	for what, all := range map[string][]string{"lost": r.lost, "failed": r.failed, "answered by a version that was not online": r.wrong} {
		if len(all) > 0 {
			t.Errorf("%d requests were %s:\n%s", len(all), what, some(all))
		}
	}
	p50, p99 := latency(l.calls)
	t.Logf("%d cutovers, %d requests, %.0f/s, p50 %s, p99 %s; lost %d, failed %d, excused %d (%d of them cut off at work), wrong %d%s; revisions not seen %d",
		r.cutovers, len(l.calls), float64(len(l.calls))/l.took.Seconds(), p50.Round(time.Microsecond), p99.Round(time.Microsecond),
		len(r.lost), len(r.failed), len(r.excused), r.lapsed, len(r.wrong), r.more, j.missed())
}

// sort puts the requests that were not answered where they belong.
func (r *result) sort(calls []call, excuse func(call) bool) {
	slices.SortFunc(calls, func(a, b call) int { return cmp.Compare(a.sent, b.sent) })
	for _, c := range calls {
		text := fmt.Sprintf("sent %s by caller %d, %s later: %v", time.Unix(0, c.sent).Format("15:04:05.000000"), c.caller, time.Duration(c.got-c.sent), c.err)
		switch {
		case c.err == nil:
		case excuse != nil && excuse(c):
			r.excused = append(r.excused, text)
			if c.lapsed() {
				r.lapsed++
			}
		case c.lost():
			r.lost = append(r.lost, text)
		default:
			r.failed = append(r.failed, text)
		}
	}
}

func TestCutoverUnderLoad(t *testing.T) {
	t.Run("on one server", func(t *testing.T) {
		n := 20
		if testing.Short() {
			n = 5
		}
		bus := relaytest.Start(t)
		cutOver(t, benchOn(t, bus, gate.Config{}), []string{bus.URL()}, cmp.Or(*cutovers, n))
	})
	t.Run("on three servers", func(t *testing.T) {
		relaytest.Long(t)
		bus := relaytest.StartCluster(t, 3)
		cutOver(t, benchOn(t, bus, gate.Config{Replicas: 3}), bus.URLs(), cmp.Or(*cutovers, 10))
	})
}

// cutOver leads the traffic of two versions back and forth under load.
func cutOver(t *testing.T, b *bench, urls []string, n int) {
	j := &judge{t: t, instances: instancesEach}
	j.watch(connectTo(t, urls[0]))
	versions := []string{"1.0.0", "2.0.0"}
	var handled atomic.Int64
	for i := range instancesEach {
		for _, v := range versions {
			serveOn(t, connectTo(t, urls[i%len(urls)]), tells(v, i, &handled))
		}
	}
	order := gate.Order{Service: "todos", Version: versions[0], Rollout: "r0", Instances: instancesEach}
	order.Replaces = b.open(order)
	l := &load{t: t, callers: callersOn(t, urls, 6), most: 96, timeout: patience}
	l.begin()
	l.await(500)
	for i := range n {
		order.Version, order.Rollout = versions[(i+1)%2], fmt.Sprintf("r%d", i+1)
		order.Replaces = b.open(order)
		l.await(500)
	}
	calls := l.finish()
	j.await(order.Replaces)
	res := result{cutovers: n, wrong: j.wrong(calls)}
	res.sort(calls, nil)
	res.verdict(t, l, j)
	if n := handled.Load(); n != int64(len(calls)) {
		t.Errorf("%d requests were handled %d times", len(calls), n)
	}
}
