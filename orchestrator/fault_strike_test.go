package orchestrator_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

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
	s.take(10 * time.Millisecond) // so that it would answer while the script of before was still at work
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
	s.take(takes)
	if slices.Contains(view.Points(), view.Point(k.at)) {
		for _, a := range s.orchestrators {
			a.alive().order(order{At: view.Point(k.at), Nth: k.nth})
		}
	}
	return nil
}

// take has first attempts at offline scripts take so long from now on.
func (s *scene) take(takes time.Duration) {
	for _, a := range s.others {
		if a.Kind == aSetup {
			a.alive().order(order{Takes: takes})
		}
	}
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
