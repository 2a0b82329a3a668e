package gate_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
)

// tells is a service whose message "tell" is answered with what it says, the version, the
// process it runs in, and when its handler began and ended by the clock of this machine. Most
// handlers take no time, some a few milliseconds: they are at work when they are fenced.
// Handled is how many handlers have run.
func tells(version string, pid int, handled *atomic.Int64) relay.Service {
	return relay.Service{Name: "todos", Version: version, Handlers: map[string]relay.Handler{
		"tell": func(ctx context.Context, m *relay.Message) (any, error) {
			began := time.Now().UnixNano()
			handled.Add(1)
			if rand.N(16) == 0 {
				work := time.NewTimer(rand.N(5 * time.Millisecond))
				defer work.Stop()
				select {
				case <-work.C:
				case <-ctx.Done():
				}
			}
			return fmt.Appendf(nil, "%s %s %d %d %d", m.Data, version, pid, began, time.Now().UnixNano()), nil
		},
	}}
}

// call is what a caller has seen of one request, all times in nanoseconds since 1970.
type call struct {
	number       int // of the request
	caller       int
	sent, got    int64
	version      string // that answered
	pid          int    // of the process that answered
	began, ended int64  // at work on it
	err          error
}

// parse reads the answer of a service that tells.
func (c *call) parse(answer string) error {
	number, rest, _ := strings.Cut(answer, " ")
	f := strings.Fields(rest)
	if len(f) != 4 || number != fmt.Sprint("#", c.number) {
		return fmt.Errorf("request %d has got the answer %q", c.number, answer)
	}
	var errs [3]error
	c.version = f[0]
	c.pid, errs[0] = strconv.Atoi(f[1])
	c.began, errs[1] = strconv.ParseInt(f[2], 10, 64)
	c.ended, errs[2] = strconv.ParseInt(f[3], 10, 64)
	return errors.Join(errs[:]...)
}

// load is a stream of requests for "todos.tell".
type load struct {
	t       *testing.T
	callers []*relay.Relay
	rate    int           // requests a second, whether or not those before were answered; 0: as many as get answers
	most    int           // how many may wait for an answer at once
	timeout time.Duration // of a request

	answered atomic.Int64
	stop     context.CancelFunc
	ended    chan struct{}
	began    time.Time
	took     time.Duration

	mu    sync.Mutex
	calls []call
}

// begin sends requests until the load is finished.
func (l *load) begin() {
	l.t.Helper()
	for _, c := range l.callers { // a reply may come from any server: all know the inbox before it counts
		if err := c.Conn().FlushTimeout(patience); err != nil {
			l.t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	l.stop, l.ended, l.began = cancel, make(chan struct{}), time.Now()
	go l.run(ctx)
	l.t.Cleanup(func() { cancel(); <-l.ended })
}

func (l *load) run(ctx context.Context) {
	defer close(l.ended)
	var waiting sync.WaitGroup
	defer waiting.Wait()
	slots := make(chan struct{}, l.most)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for n := 0; ; n++ {
		for l.rate > 0 && float64(n) > time.Since(l.began).Seconds()*float64(l.rate) && ctx.Err() == nil {
			<-tick.C
		}
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		waiting.Go(func() { l.request(n); <-slots })
	}
}

func (l *load) request(n int) {
	ctx, cancel := context.WithTimeout(context.Background(), l.timeout)
	defer cancel()
	var answer []byte
	c := call{number: n, caller: n % len(l.callers), sent: time.Now().UnixNano()}
	c.err = l.callers[c.caller].Request(ctx, "todos.tell", fmt.Append(nil, "#", n), &answer)
	c.got = time.Now().UnixNano()
	if c.err == nil {
		c.err = c.parse(string(answer))
		l.answered.Add(1)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// await blocks until n more requests have been answered.
func (l *load) await(n int64) {
	l.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(3 * patience)
	for n += l.answered.Load(); l.answered.Load() < n; {
		select {
		case <-tick.C:
		case <-deadline:
			l.t.Fatalf("%d requests were answered, want %d", l.answered.Load(), n)
		}
	}
}

// finish ends the load, and gives what has come of all requests.
func (l *load) finish() []call {
	l.stop()
	l.took = time.Since(l.began)
	<-l.ended
	return l.calls
}

// latency gives how long a request took in the middle and in the slowest hundredth.
func latency(calls []call) (p50, p99 time.Duration) {
	var all []time.Duration
	for _, c := range calls {
		if c.err == nil {
			all = append(all, time.Duration(c.got-c.sent))
		}
	}
	if len(all) == 0 {
		return 0, 0
	}
	slices.Sort(all)
	return all[len(all)/2], all[len(all)*99/100]
}

// lost reports whether a request was not answered at all.
func (c *call) lost() bool {
	return errors.Is(c.err, context.DeadlineExceeded) || errors.Is(c.err, nats.ErrTimeout)
}
