package orchestrator_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// Bounds of how long it may take until a dead agent is noticed.
const (
	noticedGone  = 27 * time.Second // when it stays dead: its lease, and a look
	noticedAgain = 5 * time.Second  // when it is started again, from then on
)

// calm has scripts and programs fail no more, and be quick.
func (m *ensemble) calm() {
	m.t.Helper()
	m.tell(aSetup, order{Calm: true})
	if err := os.WriteFile(filepath.Join(m.folder, calmFile), nil, 0o600); err != nil {
		m.t.Fatal(err)
	}
}

// until blocks until ok holds.
func (m *ensemble) until(what string, atMost time.Duration, ok func() bool) {
	m.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(atMost); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			m.t.Fatalf("not within %s: %s", atMost, what)
		}
	}
}

// TestFaultAtEachPointOfAWorkflow has the only orchestrator die at one point after the other
// while a rollout with people, agents, scripts and traffic goes on, and starts another one.
func TestFaultAtEachPointOfAWorkflow(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	seed := drawSeed(t)
	rnd := rand.New(rand.NewPCG(seed, 0))
	rounds := 1 + int(*faultsFor/time.Minute)
	points := view.Points()
	m := assembleAgents(t, 1, 2, []int{everything}, rounds*len(points))
	m.calm()
	first := m.orchestrators[0].up() // agents wait for the first orchestrator of an environment
	for _, a := range slices.Concat(m.agents, m.others) {
		a.up()
	}
	first.kill()
	// How often each is come to, at least, from the start of the orchestrator on.
	often := map[view.Point]int{
		view.EventSaved: 9, view.Announced: 9, view.ItemDone: 9, view.StartSent: 2, view.AnswerSaved: 2,
		view.TimerSet: 1, view.TrafficLed: 1, view.LedgerSaved: 1,
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Duration(rounds)*5*time.Minute)
	defer cancel()
	a := m.workApp(everything, seed)
	for range rounds {
		for _, at := range points {
			nth := 1 + rnd.IntN(often[at])
			m.dieAt(ctx, a, at, nth)
		}
	}
	m.orchestrators[0].up()
	m.awaitIdle()
	m.catchUp(ctx)
	e := m.gather()
	if found := e.findings(); len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), some(found))
	}
	if t.Failed() {
		return
	}
	j := &judge{evidence: e}
	stints := j.collect()
	for id, h := range e.histories {
		for _, step := range h[len(h)-1].State.All() {
			once := map[string]int{} // by host and verb
			for _, s := range ofStep(of(stints, id), step.ID, false) {
				if once[s.Program.Host+" "+s.Program.Verb]++; once[s.Program.Host+" "+s.Program.Verb] > 1 {
					t.Errorf("rollout %s: %s %s ran again on %s", id, s.Step, s.Program.Verb, s.Program.Host)
				}
			}
			if step.Attempt != 1 || step.Work != nil && len(once) == 0 {
				t.Errorf("rollout %s: %s was done at attempt %d, %d programs ran", id, step.ID, step.Attempt, len(once))
			}
		}
	}
	t.Logf("%s\n%s", m.report(e), e.reportWork())
}

// dieAt brings a version of an app while the only orchestrator dies, and another one is
// started.
func (m *ensemble) dieAt(ctx context.Context, a *workApp, at view.Point, nth int) {
	t := m.t
	t.Helper()
	o := m.orchestrators[0]
	p, err := o.start(at, nth)
	if err != nil {
		t.Fatal(err)
	}
	again := make(chan error, 1)
	go func() {
		<-p.ended
		_, err := o.start("", 0)
		again <- err
	}()
	select {
	case <-p.ready:
	case <-p.ended: // it comes to some points before it is ready
	case <-time.After(patience):
		t.Fatalf("the orchestrator is not ready within %s: see %s", patience, p.log)
	}
	begun := time.Now()
	id, _, err := a.bringNext(ctx)
	if err != nil || id == "" {
		t.Fatalf("at %s: the rollout is refused (%v)", at, err)
	}
	if at == view.LedgerSaved { // told to end, it saves the ledger
		rest(ctx, rand.N(time.Second))
		_ = p.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	waiting, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	for {
		s, ok := a.await(waiting, id, a.needed)
		if !ok {
			t.Fatal(hangs(s, settleTime))
		}
		step, asked := waitsForYes(s)
		if !asked {
			if s.Status != rollout.Completed {
				t.Errorf("at %s: rollout %s is %s", at, id, s.Status)
			}
			break
		}
		if err := m.jot(action{What: approves, Rollout: id, Step: step.ID, By: "test"}); err != nil {
			t.Fatal(err)
		}
		_ = a.command(waiting, "approve", func(ctx context.Context) error {
			q := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}, Step: step.ID}
			_, err := a.client.Approve(ctx, api.ApproveRequest{StepRequest: q})
			return err
		})
		a.await(waiting, id, func(s rollout.State) bool { _, asked := waitsForYes(s); return !asked })
	}
	took := time.Since(begun)
	select {
	case err := <-again:
		if err != nil {
			t.Fatal(err)
		}
		if !p.killed() {
			t.Errorf("the orchestrator did not die at %s: %s", at, p.ProcessState)
		}
		m.died(o, p, "at "+string(at))
	case <-time.After(patience):
		t.Fatalf("the orchestrator did not come to %s for %d times", at, nth)
	}
	t.Logf("at %s, for the %d. time: completed within %s", at, nth, took.Round(time.Millisecond))
	o.alive().kill()
}

// TestFaultHowSoonADeadAgentIsNoticed kills agents in the middle of a command, of which one
// stays dead and the other is started again.
func TestFaultHowSoonADeadAgentIsNoticed(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	m := assembleAgents(t, 1, 2, []int{lasting}, 1)
	m.calm()
	for _, a := range slices.Concat(m.orchestrators, m.agents) {
		a.up()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	a := m.workApp(lasting, 1)
	id, _, err := a.bringNext(ctx)
	if err != nil || id == "" {
		t.Fatalf("the rollout is refused (%v)", err)
	}
	begun := func() int { return len(m.actions()) }
	m.until("both have begun", patience, func() bool { _, err := os.Stat(m.record); return err == nil && begun() == 2 })
	lost := func(name string) func() bool {
		return func() bool {
			asking, cancel := context.WithTimeout(ctx, tryFor)
			defer cancel()
			hosts, _ := m.client.Hosts(asking, api.HostsRequest{Rollout: id, Step: longStep})
			for _, h := range hosts {
				if h.Name == name {
					return h.Status == protocol.HostLost
				}
			}
			return false
		}
	}
	kill := func(a *actor) time.Time {
		p := a.alive()
		if err := a.disturb(kills, p); err != nil {
			t.Fatal(err)
		}
		p.kill()
		return time.Now()
	}
	stays, comesBack := m.agents[0], m.agents[1]
	dead := kill(stays)
	m.until("the agent is missed", noticedGone, lost(stays.Name))
	t.Logf("an agent that stays dead was missed after %s", time.Since(dead).Round(time.Millisecond))
	if took := time.Since(dead); took < protocol.AgentLease/2 {
		t.Errorf("the agent was missed after %s, its lease lasts %s", took, protocol.AgentLease)
	}
	kill(comesBack)
	back := time.Now()
	comesBack.up()
	m.until("it is seen that the agent was started again", noticedAgain-time.Since(back), lost(comesBack.Name))
	t.Logf("an agent that was started again was missed %s after that", time.Since(back).Round(time.Millisecond))
	if err := os.WriteFile(filepath.Join(m.folder, goFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	stays.up()
	s, err := a.see(ctx, id, false)
	if err != nil || s.Status != rollout.Completed {
		t.Errorf("the rollout is %s (%v)", s.Status, err)
	}
	m.awaitIdle()
	m.catchUp(ctx)
	if found := m.gather().findings(); len(found) > 0 {
		t.Errorf("%d findings:\n%s", len(found), some(found))
	}
}
