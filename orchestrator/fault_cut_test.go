package orchestrator_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

var (
	faultsCuts   = flag.Int("faults.cuts", 0, "how many cuts are drawn of all that there are; 0: a few short ones; -1: each of them")
	faultsTracks = flag.Int("faults.tracks", 6, "in how many environments side by side, at most, and not more than -parallel")
	faultsOnly   = flag.String("faults.only", "", "draw only cuts that match this expression, such as 'worker .* at offline'; empty: all")
)

// Who is cut off.
const (
	theOrchestrator = "orchestrator"
	theWorker       = "worker"
	theOld          = "old instance"
	theNew          = "new instance"
	theCaller       = "caller"
	theCLI          = "cli"
	theAgent        = "agent"
	theBus          = "bus" // as a whole: each part is cut off
)

// Who else is, where three servers form the bus: one of them, from the others.
const (
	theLeader  = "leader"            // of the journal
	theOldSide = "server of the old" // instance
	theNewSide = "server of the new" // instance
)

// In which way. What is held up comes late, or is lost with its connection.
const (
	waysBoth   = "both"
	wayToBus   = "to the bus"
	wayFromBus = "from the bus"
	wayClosed  = "closed"
	wayLate    = "late"    // all comes, later than anybody waits for a request
	wayStopped = "stopped" // the process is
)

// lateness is how late that is, each way.
const lateness = 1500 * time.Millisecond

// When, beside the points of the engine.
const (
	whenAsked   = "asked"      // a person is
	whenOnHosts = "on hosts"   // agents are at work
	whenOffline = "offline"    // a script is at work
	whenStandby = "standby"    // the new version is on the route
	whenFenced  = "fenced"     // the old version answers no more, the new one not yet
	whenOnline  = "online"     // the new version answers
	whenLeaving = "draining"   // the old version leaves
	whenBehind  = "online run" // a script of the new version is at work
)

// cut is one of a network, or of a process that stands still.
type cut struct {
	who, way, at string
	lasts        time.Duration

	nth   int  // time that an orchestrator comes to the point
	other bool // of two that do the same, it is the other one
	lossy bool // what is held up is lost
	lag   bool // an instance hears of the route a little later than we do
	again bool // the rollout is aborted meanwhile, and its version brought again
}

func (k cut) String() string {
	how := k.way
	if k.lossy {
		how += ", lost"
	}
	if k.lag {
		how += ", lagging"
	}
	if k.again {
		how += ", brought again"
	}
	return fmt.Sprintf("%s (%s) at %s for %s", k.who, how, k.at, k.lasts)
}

// moments lists when somebody can be cut off.
func moments() []string {
	all := []string{whenAsked, whenOnHosts, whenOffline, whenStandby, whenFenced, whenOnline, whenLeaving, whenBehind}
	for _, p := range view.Points() {
		all = append(all, string(p))
	}
	return all
}

// cutWays lists how somebody can be cut off whose process goes on.
func cutWays() []string { return []string{waysBoth, wayToBus, wayFromBus, wayClosed, wayLate} }

// cutTimes lists for how long: shorter than it takes to be taken for dead, longer, and longer
// than a client of NATS takes to find out.
func cutTimes() []time.Duration {
	return []time.Duration{3 * time.Second, 12 * time.Second, 40 * time.Second}
}

// drawCuts gives all cuts that there are, those of each part in turn, in the order of the seed.
func drawCuts(rnd *rand.Rand, parts []string, lasts ...time.Duration) (all []cut) {
	parts = slices.Clone(parts)
	only := regexp.MustCompile(*faultsOnly)
	of := make(map[string][]cut)
	for _, who := range parts {
		for _, way := range append(cutWays(), wayStopped) {
			if way == wayStopped && (who == theCaller || who == theCLI) {
				continue // it is in this process
			}
			for _, at := range moments() {
				for _, d := range lasts {
					if k := (cut{who: who, way: way, at: at, lasts: d}); only.MatchString(k.String()) {
						of[who] = append(of[who], k)
					}
				}
			}
		}
		rnd.Shuffle(len(of[who]), func(i, k int) { of[who][i], of[who][k] = of[who][k], of[who][i] })
	}
	rnd.Shuffle(len(parts), func(i, k int) { parts[i], parts[k] = parts[k], parts[i] })
	for n, more := 0, true; more; n++ {
		more = false
		for _, who := range parts {
			if n < len(of[who]) {
				all, more = append(all, of[who][n].draw(rnd)), true
			}
		}
	}
	return all
}

// draw decides what is left open.
func (k cut) draw(rnd *rand.Rand) cut {
	k.nth, k.other = 1, rnd.IntN(2) == 0
	if slices.Contains([]string{string(view.EventSaved), string(view.Announced), string(view.ItemDone)}, k.at) {
		k.nth += rnd.IntN(4)
	}
	k.lossy = rnd.IntN(2) == 0 && slices.Contains([]string{waysBoth, wayToBus, wayFromBus}, k.way)
	k.lag = rnd.IntN(2) == 0 && k.onRoute() && (k.who == theOld || k.who == theNew)
	k.again = rnd.IntN(2) == 0 && k.at == whenOffline && k.who == theWorker
	return k
}

// onRoute reports whether the moment is one of the route.
func (k cut) onRoute() bool {
	return slices.Contains([]string{whenStandby, whenFenced, whenOnline, whenLeaving}, k.at)
}

// aftermath is what a cut has done.
type aftermath struct {
	cut
	rollout string
	missed  bool          // the rollout did not come to the moment
	gap     time.Duration // the longest time without any answer in production
	ended   time.Duration // from the heal until the rollout was complete; negative: before
	told    time.Duration // from then, or from the heal if that was later, until the one who follows knew
	called  time.Duration // from the heal until the caller who was cut off, or another one, got an answer
	tries   int           // that people had to tell it to go on
}

func (o aftermath) String() string {
	if o.missed {
		return fmt.Sprintf("%s: not met by rollout %s", o.cut, o.rollout)
	}
	round := func(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
	return fmt.Sprintf("%s: gap %s, ended %s after the heal, told %s later, called %s, %d retries; rollout %s",
		o.cut, round(o.gap), round(o.ended), round(o.told), round(o.called), o.tries, o.rollout)
}

// strike is a cut that is under way.
type strike struct {
	at      time.Time
	answers int // that were known by then
	heal    func()
}

// run cuts a part off in the middle of a rollout, and sees what becomes of that.
func (s *scene) run(ctx context.Context, k cut) (aftermath, error) {
	ctx, cancel := context.WithTimeout(ctx, k.lasts+2*settleTime)
	defer cancel()
	if len(s.servers) > 1 {
		s.lost() // whoever looks may be cut off, too
	}
	r, seen, err := s.strike(ctx, k)
	if err != nil {
		return aftermath{}, err
	}
	healed := time.Now()
	if seen != nil {
		healing := time.NewTimer(k.lasts)
		defer healing.Stop()
		if k.again {
			r, err = s.bringAgain(ctx, r)
		}
		healed = <-healing.C
		seen.heal()
	}
	if len(s.servers) > 1 {
		s.found()
	}
	if err != nil {
		return aftermath{}, err
	}
	return s.settle(ctx, k, r, seen, healed)
}

// strike begins a rollout and cuts the part off when the moment has come; nil when it does not.
func (s *scene) strike(ctx context.Context, k cut) (*rolling, *strike, error) {
	struck := make(chan strike, 1)
	var once sync.Once
	hit := func(by string) { // once, and at once
		once.Do(func() {
			heal := s.sever(k, s.victims(k, by))
			s.watch.mu.Lock()
			defer s.watch.mu.Unlock()
			struck <- strike{time.Now(), len(s.answers), heal}
		})
	}
	if err := s.prepare(ctx, k); err != nil {
		return nil, nil, err
	}
	r := s.begin(ctx, k)
	s.expectRoute(k, hit)
	seen, err := s.meet(ctx, k, r, hit, struck)
	s.goOn(k)
	close(r.cut)
	if err == nil && seen == nil { // from now on it is too late
		once.Do(func() { close(struck) })
		if x, met := <-struck; met {
			seen = &x
		}
	}
	return r, seen, err
}

// settle blocks until all that was cut off has gone on, and says how long that took.
func (s *scene) settle(ctx context.Context, k cut, r *rolling, seen *strike, healed time.Time) (aftermath, error) {
	o := aftermath{cut: k, rollout: r.id, missed: seen == nil}
	called := s.returns(ctx, healed)
	end := <-r.done
	if end.err != nil {
		return o, end.err
	}
	if end.Status != rollout.Completed {
		return o, fmt.Errorf("rollout %s is %s", r.id, end.Status)
	}
	o.ended, o.tries = end.at.Sub(healed), end.tries
	select {
	case at := <-r.told:
		o.told = at.Sub(latest(healed, end.at))
	case <-ctx.Done():
		return o, fmt.Errorf("whoever follows rollout %s does not hear of its end", r.id)
	}
	o.called = (<-called).Sub(healed)
	if err := s.recover(ctx); err != nil {
		return o, err
	}
	if !o.missed {
		o.gap = s.gap(*seen, time.Now())
	}
	return o, nil
}

// bringAgain has a rollout aborted, and its version brought again.
func (s *scene) bringAgain(ctx context.Context, r *rolling) (*rolling, error) {
	rest(ctx, time.Second)
	a := &app{driver: s.driver}
	a.abort(ctx, r.id)
	if end := <-r.done; end.err != nil || end.Status != rollout.Aborted {
		return r, fmt.Errorf("rollout %s was aborted and is %s: %w", r.id, end.Status, end.err)
	}
	return s.roll(ctx, cut{}, r.release), nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// prepare has the moment come.
func (s *scene) prepare(ctx context.Context, k cut) error {
	if k.who == theLeader {
		js, err := jetstream.New(s.watch.bus)
		if err != nil {
			return err
		}
		leader, err := s.leader(ctx, js)
		if err != nil {
			return err
		}
		s.leads = leader.Name
	}
	takes := 10 * time.Millisecond
	switch {
	case k.at == whenOnHosts:
		s.allow(false)
	case k.at == whenOffline && k.who == theWorker:
		takes = k.lasts + 4*time.Second // it outlives the cut
	case k.at == whenOffline:
		takes = time.Second
	}
	for _, a := range s.others {
		if a.Kind == aSetup {
			a.alive().order(order{Takes: takes})
		}
	}
	if slices.Contains(view.Points(), view.Point(k.at)) {
		for _, a := range s.orchestrators {
			a.alive().order(order{At: view.Point(k.at), Nth: k.nth})
		}
	}
	return nil
}

// expectRoute has the moment be seen, if it is one of the route, at once.
func (s *scene) expectRoute(k cut, hit func(by string)) {
	if !k.onRoute() {
		return
	}
	if k.lag {
		s.instance(k).Delay(20 * time.Millisecond)
	}
	before, after := fmt.Sprintf("1.0.%d", s.version-1), fmt.Sprintf("1.0.%d", s.version)
	s.lookAt(func(r gate.Route) {
		old, now := r.State(before), r.State(after)
		if k.at == whenStandby && now == protocol.StateStandby && old == protocol.StateOnline ||
			k.at == whenFenced && old == protocol.StateFenced && now == protocol.StateStandby ||
			k.at == whenOnline && old == protocol.StateFenced && now == protocol.StateOnline ||
			k.at == whenLeaving && old == protocol.StateDraining {
			hit("")
		}
	})
}

// instance is the cable of the instance that is cut off.
func (s *scene) instance(k cut) wire {
	version := s.version
	if k.who == theOld {
		version--
	}
	return s.wires[instancesOf(version)][0]
}

func (s *scene) lookAt(look func(gate.Route)) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	s.look = look
}

// meet blocks until the moment has come and the part is cut off; nil when it does not come.
func (s *scene) meet(ctx context.Context, k cut, r *rolling, hit func(by string), struck <-chan strike) (*strike, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	came := make([]<-chan struct{}, len(s.orchestrators))
	for i, a := range s.orchestrators {
		came[i] = a.alive().came
	}
	if k.at == string(view.LedgerSaved) { // told to end, it saves the ledger
		a := s.orchestrators[s.pick(k)]
		rest(ctx, time.Second)
		_ = a.alive().Process.Signal(syscall.SIGTERM)
	}
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	var offset int64
	for {
		select {
		case x := <-struck:
			return &x, nil
		case <-came[0]:
			hit(s.orchestrators[0].Name)
		case <-came[1]:
			hit(s.orchestrators[1].Name)
		case <-look.C:
			by, met, end, err := s.seen(k, r, offset)
			if err != nil {
				return nil, err
			}
			if offset = end; met {
				hit(by)
			}
		case <-ctx.Done():
			return nil, nil
		}
		if s.state(r.id).Status.Final() {
			select {
			case x := <-struck:
				return &x, nil
			default:
				return nil, nil
			}
		}
	}
}

// seen looks whether a moment has come that shows in the record or in the journal, and who
// has brought it about.
func (s *scene) seen(k cut, r *rolling, offset int64) (by string, met bool, end int64, err error) {
	phase := map[string]protocol.Phase{whenOffline: protocol.Offline, whenBehind: protocol.Online}[k.at]
	switch {
	case k.at == whenAsked:
		_, asked := waitsForYes(s.state(r.id))
		return "", asked, 0, nil
	case phase == "" && k.at != whenOnHosts:
		return "", false, 0, nil
	}
	lines, end, err := s.actionsFrom(offset)
	for _, d := range lines {
		step := longStep
		if phase != "" {
			step = s.service + "/" + string(phase)
		}
		if d.Rollout == r.id && d.What == began && d.Step == step {
			name, _, _ := strings.Cut(d.By, "/")
			return name, true, end, err
		}
	}
	return "", false, end, err
}

func (s *scene) pick(k cut) int {
	if k.other {
		return 1
	}
	return 0
}

// victims lists the parts that are cut off, by the names of their cables; whoever has brought
// the moment about, if it is one of those that are meant, and else one of them.
func (s *scene) victims(k cut, by string) []string {
	one := func(all []*actor) []string {
		if k.at == whenOnHosts || !slices.ContainsFunc(all, func(a *actor) bool { return a.Name == by }) {
			by = all[s.pick(k)].Name
		}
		return []string{by}
	}
	switch k.who {
	case theOrchestrator:
		return one(s.orchestrators)
	case theWorker:
		return one(slices.DeleteFunc(slices.Clone(s.others), func(a *actor) bool { return a.Kind != aSetup }))
	case theAgent:
		return one(s.agents)
	case theOld:
		return []string{instancesOf(s.version - 1)}
	case theNew:
		return []string{instancesOf(s.version)}
	case theBus:
		if k.way == wayStopped {
			return []string{s.servers[0].Name}
		}
		var all []string
		for name := range s.wires {
			all = append(all, name)
		}
		return all
	case theLeader:
		return []string{s.leads}
	case theOldSide: // it is where the instances of that version are
		return []string{s.servers[(s.version-1)%2].Name}
	case theNewSide:
		return []string{s.servers[s.version%2].Name}
	}
	return []string{k.who}
}

// goOn has nobody wait any more for the cut.
func (s *scene) goOn(k cut) {
	s.lookAt(nil)
	if k.lag {
		s.instance(k).Delay(0)
	}
	for _, a := range s.orchestrators {
		if p := a.alive(); p != nil {
			p.order(order{})
		}
	}
	if k.at == whenOnHosts {
		s.allow(true)
	}
}

// returns gives the time at which a request of the caller is answered again.
func (s *scene) returns(ctx context.Context, healed time.Time) <-chan time.Time {
	answered := make(chan time.Time, 1)
	s.running.Go(func() {
		for ctx.Err() == nil && !s.caller.answered(healed) {
			rest(ctx, 20*time.Millisecond)
		}
		answered <- time.Now()
	})
	return answered
}

// gap is the longest time without any answer in production since a cut.
func (s *scene) gap(x strike, until time.Time) time.Duration {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	var times []time.Time
	for _, a := range s.answers[x.answers:] {
		times = append(times, time.Unix(0, a.Began))
	}
	slices.SortFunc(times, time.Time.Compare)
	longest, last := time.Duration(0), x.at
	for _, at := range append(times, until) {
		longest, last = max(longest, at.Sub(last)), latest(last, at)
	}
	return longest
}

// How soon what was cut off goes on, once it is healed.
const (
	endTime  = 60 * time.Second // of rollouts
	tellTime = 15 * time.Second // of whoever follows one
	callTime = 15 * time.Second // of callers
	gapTime  = 10 * time.Second // without an answer in production, beside the time for which who answers is cut off
)

// tooLong reports whether something has not gone on as soon as it has to.
func (o aftermath) tooLong() bool {
	gap := gapTime
	if slices.Contains([]string{theOld, theNew, theBus, theLeader, theOldSide, theNewSide}, o.who) {
		gap += o.lasts
	}
	return !o.missed && (o.ended > endTime || o.told > tellTime || o.called > callTime || o.gap > gap)
}

// TestFaultsOfCuts has one part after the other cut off from the bus, or stand still, at one
// moment after the other of rollouts, and everybody come to rest again.
func TestFaultsOfCuts(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	runCuts(t, 1, 4, []string{theOrchestrator, theWorker, theOld, theNew, theCaller, theCLI, theAgent, theBus})
}

// TestFaultsOfPartitions has one of three servers cut off from the others, or stand still: the
// one that leads the journal, or one with an instance.
func TestFaultsOfPartitions(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	runCuts(t, 3, 1, []string{theLeader, theOldSide, theNewSide})
}

// runCuts has cuts of parts drawn and done, a few short ones if no number is told.
func runCuts(t *testing.T, servers, few int, parts []string) {
	seed := drawSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 41))
	var cuts []cut
	if *faultsCuts == 0 {
		cuts = drawCuts(rnd, parts, cutTimes()[0])
		cuts = cuts[:min(few, len(cuts))]
	} else if cuts = drawCuts(rnd, parts, cutTimes()...); *faultsCuts > 0 {
		cuts = cuts[:min(*faultsCuts, len(cuts))]
	}
	begun := time.Now()
	tracks := min(*faultsTracks, (len(cuts)+1)/2)
	all := make([][]aftermath, tracks)
	t.Run("track", func(t *testing.T) {
		for n := range tracks {
			var mine []cut
			for i := n; i < len(cuts); i += tracks {
				mine = append(mine, cuts[i])
			}
			t.Run(fmt.Sprint(n), func(t *testing.T) {
				t.Parallel()
				all[n] = cutTrack(t, servers, mine)
			})
		}
	})
	t.Logf("seed %d, %d cuts in %s\n%s", seed, len(cuts), time.Since(begun).Round(time.Second), cutTable(slices.Concat(all...)))
}

// cutTrack has cuts happen one after the other in one environment.
func cutTrack(t *testing.T, servers int, cuts []cut) (all []aftermath) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(len(cuts)+1)*(40*time.Second+2*settleTime))
	defer cancel()
	s := newScene(ctx, t, servers, len(cuts)+1)
	for _, k := range cuts {
		o, err := s.run(ctx, k)
		if err != nil {
			t.Errorf("%s: %v", k, err)
			break
		}
		t.Log(o)
		if o.tooLong() {
			t.Errorf("it takes too long: %s", o)
		}
		all = append(all, o)
	}
	s.awaitIdle()
	s.catchUp(ctx)
	for _, odd := range s.missed() {
		t.Error(odd)
	}
	e := s.gather()
	if found := e.findings(); len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), some(found))
	}
	t.Logf("%s\n%s", s.report(e), e.reportWork())
	return all
}

// cutTable says how long it takes until what was cut off goes on, by who it was, and by how
// long.
func cutTable(all []aftermath) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%-14s %5s %5s %7s %12s %12s %12s %12s %8s\n", "who", "for", "cuts", "not met", "longest gap", "ended after", "told after", "called after", "retries")
	groups := make(map[string][]aftermath)
	var names []string
	for _, o := range all {
		name := fmt.Sprintf("%-14s %5s", o.who, o.lasts)
		if groups[name] == nil {
			names = append(names, name)
		}
		groups[name] = append(groups[name], o)
	}
	slices.Sort(names)
	for _, name := range names {
		var most aftermath
		missed, tries := 0, 0
		most.ended = -time.Hour
		for _, o := range groups[name] {
			if o.missed {
				missed++
				continue
			}
			most.gap, most.ended = max(most.gap, o.gap), max(most.ended, o.ended)
			most.told, most.called = max(most.told, o.told), max(most.called, o.called)
			tries += o.tries
		}
		fmt.Fprintf(&b, "%s %5d %7d %11.1fs %11.1fs %11.1fs %11.1fs %8d\n", name, len(groups[name]), missed,
			most.gap.Seconds(), most.ended.Seconds(), most.told.Seconds(), most.called.Seconds(), tries)
	}
	return b.String()
}
