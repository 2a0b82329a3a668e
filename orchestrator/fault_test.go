package orchestrator_test

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

var (
	faultsFor  = flag.Duration("faults.for", 12*time.Second, "how long processes are killed")
	faultsSeed = flag.Uint64("faults.seed", 0, "what decides who is killed when; 0: another one each time")
	faultsApps = flag.Int("faults.apps", 12, "how many apps are rolled out at the same time")
)

// pointsTime is how much longer it may take until an orchestrator has died at each point.
const pointsTime = 2 * time.Minute

// restTime is how long everything may take to come to rest once nobody dies any more.
const restTime = 2 * time.Minute

func drawSeed(t *testing.T) uint64 {
	seed := cmp.Or(*faultsSeed, uint64(rand.Uint32()))
	t.Logf("-faults.seed %d", seed)
	return seed
}

// ensemble is everything that is on the bus, and who looks at it.
type ensemble struct {
	*driver
	servers, orchestrators, agents, others []*actor
}

// assemble starts all processes of an environment.
func assemble(t *testing.T, servers, orchestrators int) *ensemble {
	t.Helper()
	c := newCast(t)
	m := &ensemble{servers: c.servers(servers)}
	for _, s := range m.servers {
		s.up()
	}
	m.awaitBus(c)
	add := c.actor
	if servers == 1 {
		add = func(p part) *actor { return c.wired(m.servers[0].URL, p) }
	}
	for i := range orchestrators {
		m.orchestrators = append(m.orchestrators, add(part{Kind: anOrchestrator, Name: fmt.Sprint("orchestrator-", i), Replicas: servers}))
	}
	for _, kind := range []string{aSetup, aBare, anInstance} {
		for i := range 2 {
			m.others = append(m.others, add(part{Kind: kind, Name: fmt.Sprint(kind, "-", i)}))
		}
	}
	w := startWatch(c, servers)
	m.driver = &driver{watch: w, client: api.NewClient(c.connect().Conn()), did: make(map[string]int)}
	return m
}

// awaitBus blocks until the servers keep a stream together: a request that a cluster gets
// before it has elected a leader is never answered.
func (m *ensemble) awaitBus(c *cast) {
	c.t.Helper()
	js, err := jetstream.New(c.connect().Conn())
	if err != nil {
		c.t.Fatal(err)
	}
	const probe = "faults-probe"
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); ; {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_, err := js.CreateStream(ctx, jetstream.StreamConfig{Name: probe, Replicas: len(m.servers)})
		if err == nil {
			err = js.DeleteStream(ctx, probe)
		}
		cancel()
		if err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			c.t.Fatalf("the servers keep no stream within %s: %v", patience, err)
		}
	}
}

func TestFaultsOfEverything(t *testing.T) {
	relaytest.Long(t)
	seed := drawSeed(t)
	start := time.Now()
	m := assemble(t, 1, 3)
	ctx, cancel := context.WithTimeout(t.Context(), *faultsFor+pointsTime+settleTime+restTime)
	defer cancel()
	faults, stop := context.WithCancel(ctx)
	defer stop()

	dying, _ := errgroup.WithContext(ctx)
	for _, l := range m.lives(seed) {
		dying.Go(func() error { return l.lives(faults) })
	}
	driving, _ := errgroup.WithContext(ctx)
	for n := range *faultsApps {
		driving.Go(func() error { return m.app(n, seed).drive(ctx, faults) })
	}
	rest(ctx, *faultsFor)
	m.awaitPoints(ctx)
	lasted := time.Since(start)
	stop()
	if err := dying.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{aSetup, aBare} {
		m.tell(kind, order{Calm: true})
	}
	if err := driving.Wait(); err != nil {
		t.Error(err)
	}
	resting, cancel := context.WithTimeout(ctx, restTime)
	defer cancel()
	m.awaitLate(resting)
	for resting.Err() == nil {
		m.bringToRest(resting)
		m.awaitIdle()
		if m.catchUp(resting); len(m.open()) == 0 {
			break
		}
	}
	e := m.gather()
	for _, odd := range m.missed() {
		t.Error(odd)
	}
	if found := e.findings(); len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), some(found))
	}
	t.Logf("seed %d, %s of faults, %s in all\n%s", seed, lasted.Round(time.Second), time.Since(start).Round(time.Second), m.report(e))
}

// lives is how everybody lives and dies. Two orchestrators come to their end at each point
// in turn; the third, and all others, at random moments.
func (m *ensemble) lives(seed uint64) []*life {
	rnd := func(n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
	var all []*life
	for i, a := range m.orchestrators {
		l := &life{actor: a, rnd: rnd(i), from: 3 * time.Second, to: 9 * time.Second, rest: 400 * time.Millisecond, sleeps: true}
		if i < 2 {
			l.sleeps, l.from, l.to = false, 4*time.Second, 5*time.Second
			points := view.Points()
			for _, n := range l.rnd.Perm(len(points)) {
				l.points = append(l.points, points[n])
			}
		}
		all = append(all, l)
	}
	for i, a := range m.others {
		all = append(all, &life{actor: a, rnd: rnd(10 + i), from: 2 * time.Second, to: 8 * time.Second, rest: 500 * time.Millisecond, sleeps: true})
	}
	all = append(all, &life{actor: m.servers[0], rnd: rnd(20), from: 6 * time.Second, to: 14 * time.Second, rest: 300 * time.Millisecond})
	return all
}

// awaitIdle blocks until no orchestrator has anything left to do.
func (m *ensemble) awaitIdle() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	js, err := jetstream.New(m.connect().Conn())
	if err != nil {
		m.t.Fatal(err)
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	var info *jetstream.ConsumerInfo
	for {
		var c jetstream.Consumer
		c, err = js.Consumer(ctx, protocol.Stream, "golive-orchestrators")
		if err == nil {
			if info, err = c.Info(ctx); err == nil && info.NumPending == 0 && info.NumAckPending == 0 {
				return
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.t.Errorf("there is work left to do: %+v (%v)", info, err)
			return
		}
	}
}

// catchUp blocks until all has been seen that has happened to rollouts.
func (m *ensemble) catchUp(ctx context.Context) {
	j, err := journal.Make(ctx, m.connect().Conn(), len(m.servers))
	if err != nil {
		m.t.Fatal(err)
	}
	last, err := j.Last(ctx)
	if err != nil {
		m.t.Fatal(err)
	}
	for m.followed() < last && ctx.Err() == nil {
		rest(ctx, 20*time.Millisecond)
	}
}

// gather collects the evidence, when everything rests.
func (m *ensemble) gather() evidence {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), restTime)
	defer cancel()
	must := func(err error) {
		m.t.Helper()
		if err != nil {
			m.t.Fatal(err)
		}
	}
	nc := m.connect().Conn()
	j, err := journal.Make(ctx, nc, len(m.servers))
	must(err)
	store, err := ledger.Make(ctx, nc, "", len(m.servers))
	must(err)
	env, err := store.Load(ctx)
	must(err)
	last, err := j.Last(ctx)
	must(err)
	index := ledger.NewIndex(env, store, j.Tail)
	e := evidence{histories: make(map[string][]journal.Record), books: make(map[string][]ledger.Entry), versions: make(map[string][]ledger.AppVersion), actions: m.actions()}
	apps := make(map[string]string) // by rollout
	following, stop := context.WithCancel(ctx)
	must(j.Follow(following, 0, func(e journal.Event) error {
		r, err := e.Record(ctx)
		must(err)
		index.Apply(r.State, r.Sequence)
		apps[r.State.ID] = r.State.Release.App
		if r.Sequence >= last {
			stop()
		}
		return nil
	}))
	for id, app := range apps {
		e.histories[id], err = j.History(ctx, app, id)
		must(err)
	}
	for _, app := range index.Apps() {
		book, err := index.Book(ctx, app)
		must(err)
		e.books[app], e.versions[app] = book.Entries(), book.Versions()
		for range 2 * len(m.orchestrators) { // whoever answers has an index of its own
			var told []ledger.Entry
			must(m.command(ctx, "ledger", func(ctx context.Context) (err error) {
				told, err = m.client.Ledger(ctx, api.LedgerRequest{App: app})
				return err
			}))
			if a, b := text(told), text(e.books[app]); a != b && len(told)+len(e.books[app]) > 0 {
				m.t.Errorf("an orchestrator's ledger of %s is\n%s\nwant\n%s", app, a, b)
			}
		}
	}
	m.watch.mu.Lock()
	defer m.watch.mu.Unlock()
	e.heard, e.away, e.routes, e.answers = slices.Clone(m.heard), slices.Clone(m.away), slices.Clone(m.routes), slices.Clone(m.answers)
	e.accepted = slices.Clone(m.accepted)
	return e
}

// report says what has been done.
func (m *ensemble) report(e evidence) string {
	ends, events := make(map[string]int), 0
	repeated, steps, reverts, amended, mended := 0, 0, 0, 0, 0
	for _, h := range e.histories {
		last := h[len(h)-1].State
		ends[string(last.Status)]++
		amended += last.Amended
		for i, r := range h {
			if r.State.Event.Type == rollout.StepAnswered && i > 0 && h[i-1].State.Status == rollout.Amending {
				mended++
			}
		}
		events += len(h)
		for _, step := range last.All() {
			if step.Kind == rollout.Migration {
				steps += step.Attempt
				repeated += max(step.Attempt-1, 0)
			}
			if step.Status == rollout.StepReverted {
				reverts++
			}
		}
	}
	runs := 0
	for _, d := range e.actions {
		if d.script() && d.What == began {
			runs++
		}
	}
	m.cast.mu.Lock()
	defer m.cast.mu.Unlock()
	m.driver.mu.Lock()
	defer m.driver.mu.Unlock()
	m.watch.mu.Lock()
	defer m.watch.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "deaths: %s\n", counts(m.deaths))
	fmt.Fprintf(&b, "rollouts: %d, %s; %d events\n", len(e.histories), counts(ends), events)
	fmt.Fprintf(&b, "scripts: %d attempts begun, %d of them repeats, %d run; %d steps undone\n", steps, repeated, runs, reverts)
	fmt.Fprintf(&b, "records: asked for %d times, %d attempts at them done\n", amended, mended)
	fmt.Fprintf(&b, "commands: %s\n", counts(m.did))
	fmt.Fprintf(&b, "production requests: %s; %d revisions of routes seen\n", counts(m.calls), len(e.routes))
	fmt.Fprintf(&b, "completion events: %d heard, the bus was away %d times", len(e.heard), len(e.away))
	return b.String()
}

func counts(all map[string]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(all)) {
		parts = append(parts, fmt.Sprintf("%s %d", k, all[k]))
	}
	return strings.Join(parts, ", ")
}

// awaitPoints blocks until an orchestrator has died at each point: what is not tried is not
// known, and a busy machine takes longer to come there.
func (m *ensemble) awaitPoints(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, pointsTime)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		left := m.pointsLeft()
		if len(left) == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			m.t.Errorf("no orchestrator died at %v", left)
			return
		}
	}
}

// pointsLeft lists the points at which no orchestrator has died yet.
func (m *ensemble) pointsLeft() []view.Point {
	m.cast.mu.Lock()
	defer m.cast.mu.Unlock()
	return slices.DeleteFunc(view.Points(), func(p view.Point) bool {
		return m.deaths[anOrchestrator+", at "+string(p)] > 0
	})
}
