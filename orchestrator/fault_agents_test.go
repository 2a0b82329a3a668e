package orchestrator_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// workApps lists the apps that have steps of their own: more of them where there is time to
// wait for leases that run out.
func workApps() []int {
	all := []int{0, 1, 2, 3, 4, 5, 6, 7}
	if *faultsFor > time.Minute {
		for n := range 8 {
			all = append(all, 8+n)
		}
	}
	return all
}

// assembleAgents starts all processes of an environment with agents. The first of them, which
// does what any one host may do where it can, is of none of the zones.
func assembleAgents(t *testing.T, orchestrators, agents int, apps []int, versions int) *ensemble {
	t.Helper()
	c := newCast(t)
	m := &ensemble{servers: c.servers(1)}
	m.servers[0].up()
	m.awaitBus(c)
	for i := range orchestrators {
		m.orchestrators = append(m.orchestrators, c.wired(m.servers[0].URL, part{Kind: anOrchestrator, Name: fmt.Sprint("orchestrator-", i), Replicas: 1}))
	}
	for i := range agents {
		g := given{Labels: map[string]string{"role": "web", "zone": "a"}, Apps: apps, Versions: versions}
		if i == 0 {
			delete(g.Labels, "zone")
		}
		m.agents = append(m.agents, c.wired(m.servers[0].URL, part{Kind: anAgent, Name: fmt.Sprint("web-", i+1), Given: g}))
	}
	for _, kind := range []string{aSetup, anInstance} {
		m.others = append(m.others, c.actor(part{Kind: kind, Name: kind + "-0"}))
	}
	w := startWatch(c, 1)
	m.driver = &driver{watch: w, client: api.NewClient(c.connect().Conn()), did: make(map[string]int)}
	return m
}

// TestFaultsOfAgents has releases with approvals, commands, checks and phases rolled out, while
// agents, their programs, orchestrators and the bus die, and agents sleep past their leases.
func TestFaultsOfAgents(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	seed := drawSeed(t)
	start := time.Now()
	lasts := max(*faultsFor, protocol.AgentLease+4*time.Second) // one agent sleeps past its lease
	versions := 12 + int(lasts/(10*time.Second))                // not more than are needed: all are in every agent's lease
	apps := workApps()
	m := assembleAgents(t, 2, 4, apps, versions)
	for _, o := range m.others {
		o.up()
	}
	ctx, cancel := context.WithTimeout(t.Context(), lasts+hostsTime+restTime)
	defer cancel()
	faults, stop := context.WithCancel(ctx)
	defer stop()

	dying, _ := errgroup.WithContext(ctx)
	for _, l := range m.livesOfAgents(seed) {
		dying.Go(func() error { return l.lives(faults) })
	}
	dying.Go(func() error { return m.agents[0].sleeps(faults, rand.New(rand.NewPCG(seed, 30))) })
	driving, _ := errgroup.WithContext(ctx)
	for _, n := range apps {
		driving.Go(func() error { return m.workApp(n, seed).drive(ctx, faults, versions) })
	}
	rest(ctx, lasts)
	stop()
	if err := dying.Wait(); err != nil {
		t.Fatal(err)
	}
	lasted := time.Since(start)
	m.tell(aSetup, order{Calm: true})
	if err := os.WriteFile(filepath.Join(m.folder, calmFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := driving.Wait(); err != nil {
		t.Error(err)
	}
	resting, cancel := context.WithTimeout(ctx, restTime)
	defer cancel()
	for resting.Err() == nil {
		if err := m.settleWork(resting, seed); err != nil {
			t.Fatal(err)
		}
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
	t.Logf("seed %d, %s of faults, %s in all\n%s\n%s", seed, lasted.Round(time.Second), time.Since(start).Round(time.Second), m.report(e), e.reportWork())
}

// livesOfAgents is how everybody lives and dies beside the agent that sleeps. One orchestrator
// comes to its end at each point in turn.
func (m *ensemble) livesOfAgents(seed uint64) []*life {
	rnd := func(n int) *rand.Rand { return rand.New(rand.NewPCG(seed, uint64(n))) }
	var all []*life
	for i, a := range m.orchestrators {
		l := &life{actor: a, rnd: rnd(i), from: 3 * time.Second, to: 8 * time.Second, rest: 400 * time.Millisecond, sleeps: i > 0}
		if i > 0 {
			l.from, l.to = 6*time.Second, 14*time.Second
		} else {
			points := view.Points()
			for _, n := range l.rnd.Perm(len(points)) {
				l.points = append(l.points, points[n])
			}
		}
		all = append(all, l)
	}
	for i, a := range m.agents[1:] {
		l := &life{actor: a, rnd: rnd(10 + i), from: 2 * time.Second, to: 9 * time.Second, rest: 500 * time.Millisecond, cut: true}
		if *faultsFor > time.Minute {
			l.away = protocol.AgentLease + 4*time.Second
		}
		all = append(all, l)
	}
	return append(all, &life{actor: m.servers[0], rnd: rnd(20), from: 6 * time.Second, to: 14 * time.Second, rest: 300 * time.Millisecond})
}

// sleeps has an agent fall asleep, and wake up again, until ctx ends; it leaves it alive and
// awake. It sleeps past its lease, or another one takes its name meanwhile, or both.
func (a *actor) sleeps(ctx context.Context, rnd *rand.Rand) error {
	for nap := 0; ; nap++ {
		p := a.alive()
		if p == nil {
			var err error
			if p, err = a.start("", 0); err != nil {
				return err
			}
		}
		a.awaitProgram(ctx, p, 3*time.Second)
		if ctx.Err() != nil {
			return nil
		}
		lasts, replaced := protocol.AgentLease+time.Duration(rnd.Int64N(int64(3*time.Second))), rnd.IntN(2) == 0
		if nap > 0 && replaced && rnd.IntN(2) == 0 { // it wakes up within its lease
			lasts = 4*time.Second + time.Duration(rnd.Int64N(int64(4*time.Second)))
		}
		if err := a.nap(p, lasts, replaced); err != nil {
			return err
		}
		rest(ctx, time.Second+time.Duration(rnd.Int64N(int64(4*time.Second))))
		if p := a.alive(); p != nil && ctx.Err() == nil && rnd.IntN(2) == 0 {
			if err := a.disturb(kills, p); err != nil {
				return err
			}
			p.kill()
			a.died(a, p, "at a random moment")
		}
	}
}

// nap has an agent sleep for a while. One whose name another process has taken meanwhile ends
// when it wakes up.
func (a *actor) nap(p *process, lasts time.Duration, replaced bool) error {
	if err := a.disturb(sleeps, p); err != nil {
		return err
	}
	_ = p.Process.Signal(syscall.SIGSTOP) // it may have ended
	wake := time.NewTimer(lasts)
	defer wake.Stop()
	how := "asleep"
	var other *process
	if replaced {
		how = "asleep and replaced"
		var err error
		if other, err = a.start("", 0); err != nil {
			p.kill()
			return err
		}
	}
	<-wake.C
	_ = p.Process.Signal(syscall.SIGCONT)
	if replaced {
		if err := a.awaitReplaced(p, other); err != nil {
			return err
		}
	}
	a.cast.mu.Lock()
	defer a.cast.mu.Unlock()
	a.deaths[a.Kind+", "+how]++
	return nil
}

// awaitReplaced blocks until an agent has ended because another one has its name, or is
// killed. That it lives on is odd, unless the other one has died.
func (a *actor) awaitReplaced(p, other *process) error {
	select {
	case <-p.ended:
		return nil
	case <-other.ended:
	case <-time.After(patience):
		a.cast.mu.Lock()
		a.odd = append(a.odd, fmt.Sprintf("%s (pid %d) lives on, though pid %d has its name", a.Name, p.Process.Pid, other.Process.Pid))
		a.cast.mu.Unlock()
	}
	err := a.disturb(kills, p)
	p.kill()
	return err
}

// awaitProgram blocks until an agent has begun with a step that it does alone, but not for
// longer than so.
func (a *actor) awaitProgram(ctx context.Context, p *process, atMost time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	by := instance(a.Name, p.Process.Pid)
	for known := -1; ctx.Err() == nil; rest(ctx, 10*time.Millisecond) {
		data, err := os.ReadFile(a.record)
		if err != nil {
			continue
		}
		alone := 0
		for line := range strings.Lines(string(data)) {
			if strings.Contains(line, `"`+by+`"`) && (strings.Contains(line, `"step":"backup"`) || strings.Contains(line, `"step":"smoke"`)) {
				alone++
			}
		}
		if known >= 0 && alone > known {
			return
		}
		known = alone
	}
}

// disturb writes down that an agent is about to be killed or put to sleep.
func (a *actor) disturb(what string, p *process) error {
	if a.Kind != anAgent {
		return nil
	}
	return a.jot(action{What: what, By: instance(a.Name, p.Process.Pid)})
}

// reportWork says what agents have done.
func (e evidence) reportWork() string {
	j := &judge{evidence: e}
	runs, answers, hosts, attempts := make(map[string]int), make(map[string]int), make(map[string]int), 0
	for _, s := range j.collect() {
		what := "without an end"
		if s.to >= 0 {
			what = j.actions[s.to].What
			if what == ended && !s.fine {
				what = "failed"
			}
		}
		runs[s.Program.Verb+" "+what]++
	}
	for _, h := range e.histories {
		for _, r := range h {
			event := r.State.Event
			switch event.Type {
			case rollout.ApprovedBy, rollout.RejectedBy, rollout.FurtherAsked:
				answers[string(event.Type)]++
			}
			if step, _ := r.State.Step(event.Step); step.Work != nil && event.Answer != nil {
				attempts++
				for _, host := range event.Answer.Hosts {
					hosts[string(host.Status)]++
				}
			}
		}
		if back := h[len(h)-1].State.Backward; back != nil && back.By == "golive" {
			answers["turned back by itself"]++
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "programs: %s\n", counts(runs))
	fmt.Fprintf(&b, "attempts at steps on hosts: %d; hosts: %s\n", attempts, counts(hosts))
	fmt.Fprintf(&b, "people: %s", counts(answers))
	return b.String()
}
