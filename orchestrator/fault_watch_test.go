package orchestrator_test

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// watch sees, from outside of all processes, what rollouts do: by the journal, by the
// completion events, by the routes, and by the answers of instances.
type watch struct {
	*cast
	bus  *nats.Conn
	gate *gate.Gate

	mu      sync.Mutex
	newest  map[string]journal.Record
	seen    []sight            // events, as they come
	more    chan struct{}      // closed and replaced with each event
	heard   []heard            // completion events
	away    []span             // when the observer heard nothing
	routes  []gate.Route       // all revisions that were seen
	look    func(gate.Route)   // called with each, if it is not nil
	answers []answer           // of instances
	calls   map[string]int     // by what came of them
	asking  map[string]bool    // services that are asked all the time
	stop    context.CancelFunc // ends all watching
	running sync.WaitGroup
}

// sight is when an event was seen.
type sight struct {
	journal.Record
	at time.Time
}

// heard is a completion event.
type heard struct {
	subject, rollout, id string
	sequence             uint64
}

// span is a time without the bus; the end is open while it lasts.
type span struct{ from, to time.Time }

// answer is what an instance of a service has answered a production request with.
type answer struct {
	service string
	told
}

// startWatch begins to look, once the bus is there.
func startWatch(c *cast, replicas int) *watch {
	c.t.Helper()
	w := &watch{
		cast: c, newest: make(map[string]journal.Record), more: make(chan struct{}),
		calls: make(map[string]int), asking: make(map[string]bool),
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.stop = cancel
	c.t.Cleanup(w.end)
	var err error
	w.bus, err = nats.Connect(c.url, nats.MaxReconnects(-1), nats.CustomReconnectDelay(func(int) time.Duration { return 20 * time.Millisecond }),
		nats.DisconnectErrHandler(func(*nats.Conn, error) { w.lost() }), nats.ReconnectHandler(func(*nats.Conn) { w.found() }))
	if err != nil {
		c.t.Fatal(err)
	}
	opening, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	nc := c.connect().Conn()
	j, err := journal.Make(opening, nc, replicas)
	if err != nil {
		c.t.Fatal(err)
	}
	if w.gate, err = gate.Make(opening, gate.Config{Conn: nc, Replicas: replicas}); err != nil {
		c.t.Fatal(err)
	}
	w.running.Go(func() {
		for ctx.Err() == nil {
			err := j.Follow(ctx, w.followed(), func(e journal.Event) error {
				r, err := e.Record(ctx)
				if err == nil {
					w.see(r)
				}
				return err
			})
			if err != nil && ctx.Err() == nil {
				c.t.Logf("the journal is followed anew: %v", err)
				rest(ctx, 100*time.Millisecond)
			}
		}
	})
	w.running.Go(func() {
		for ctx.Err() == nil {
			_ = w.gate.Follow(ctx, func(r gate.Route) error { w.route(r); return nil })
			rest(ctx, 50*time.Millisecond)
		}
	})
	return w
}

func (w *watch) end() {
	w.stop()
	w.bus.Close()
	w.running.Wait()
}

func (w *watch) followed() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.seen); n > 0 {
		return w.seen[n-1].Sequence
	}
	return 0
}

func (w *watch) see(r journal.Record) {
	w.comeBack(r.State)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.newest[r.State.ID] = r
	w.seen = append(w.seen, sight{r, time.Now()})
	close(w.more)
	w.more = make(chan struct{})
}

// comeBack has the instances run to which a rollout goes back, as people do who are told that
// it waits for them: they may have been stopped meanwhile.
func (w *watch) comeBack(s rollout.State) {
	for _, o := range awaited(s) {
		w.tell(anInstance, o)
	}
}

// awaited lists the instances that a rollout waits for on its way back.
func awaited(s rollout.State) (all []order) {
	for _, step := range s.Running() {
		if step.Kind != rollout.Traffic || !step.Revert || !step.Move.Awaits {
			continue
		}
		for _, version := range step.Move.Replaces.Online {
			all = append(all, order{Name: step.Name, Version: version})
		}
	}
	return all
}

func (w *watch) route(r gate.Route) {
	w.mu.Lock()
	w.routes = append(w.routes, r)
	look := w.look
	w.mu.Unlock()
	if look != nil {
		look(r)
	}
}

func (w *watch) lost() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = append(w.away, span{from: time.Now()})
}

// found says that what was subscribed to is subscribed to again.
func (w *watch) found() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n := len(w.away); n > 0 {
		w.away[n-1].to = time.Now()
	}
}

// await blocks until a rollout is as ok wants it; it gives the newest that is known.
func (w *watch) await(ctx context.Context, id string, ok func(rollout.State) bool) (rollout.State, bool) {
	for {
		w.mu.Lock()
		r, more := w.newest[id], w.more
		w.mu.Unlock()
		if r.Sequence > 0 && ok(r.State) {
			return r.State, true
		}
		select {
		case <-more:
		case <-ctx.Done():
			return r.State, false
		}
	}
}

func (w *watch) state(id string) rollout.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.newest[id].State
}

// open lists the rollouts that are not final, oldest first.
func (w *watch) open() []rollout.State {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []rollout.State
	for _, r := range w.newest {
		if !r.State.Status.Final() {
			all = append(all, r.State)
		}
	}
	slices.SortFunc(all, func(a, b rollout.State) int { return a.Created.Compare(b.Created) })
	return all
}

// expect listens to the completion event of a version, before there can be one.
func (w *watch) expect(app, version string) error {
	_, err := w.bus.Subscribe(protocol.CompletedSubject(app, version), func(m *nats.Msg) {
		if !fact(m) {
			return // the script's own
		}
		sequence, _ := strconv.ParseUint(m.Header.Get(protocol.HeaderSequence), 10, 64)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.heard = append(w.heard, heard{m.Subject, m.Header.Get(protocol.HeaderRollout), m.Header.Get(protocol.HeaderMessageID), sequence})
	})
	return err
}

// ask sends production requests to a service until the test ends.
func (w *watch) ask(service string) {
	w.mu.Lock()
	asked := w.asking[service]
	w.asking[service] = true
	w.mu.Unlock()
	if asked {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	r := w.connect()
	w.running.Go(func() {
		defer cancel()
		for ctx.Err() == nil {
			w.request(ctx, r, service)
			rest(ctx, 5*time.Millisecond)
		}
	})
}

func (w *watch) count(what string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls[what]++
}

// missed lists what can be said of processes that ended though nobody has killed them.
func (c *cast) missed() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.odd)
}

func (s span) String() string {
	return fmt.Sprintf("%s to %s", s.from.Format("15:04:05.000"), s.to.Format("15:04:05.000"))
}
