package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestDo(t *testing.T) {
	e := newEnvironment(t, "echo hello")
	e.agent("web-2")
	e.agent("web-1")
	e.agent("db-1", "role=db")
	j := e.job()
	told := newReports()
	j.Told = func(hosts []protocol.Host) { told.add(stands(hosts)) }
	j.Tell = func(waiting string) { t.Error("it waits:", waiting) }
	r := e.await(e.begin(t.Context(), j))
	e.expect(r, "web-1 done, web-2 done", "")
	if r.hosts[0].Output != "hello" || *r.hosts[0].Exit != 0 || r.hosts[0].Attempt != 1 {
		t.Errorf("%+v", r.hosts[0])
	}
	told.await(t, "web-1 waiting, web-2 waiting")
	told.await(t, "web-1 done, web-2 done")
	for range 2 { // again is harmless
		e.expect(e.do(), "web-1 done, web-2 done", "")
	}
	if got := e.ran(); got != "web-1 forward 1, web-2 forward 1" {
		t.Error(got)
	}
}

func TestDoIsStale(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("web-1")
	early := e.job()
	e.change(func(s *rollout.Step) { s.Attempt = 2 })
	e.expect(e.do(), "web-1 done", "")
	if r := e.await(e.begin(t.Context(), early)); !errors.Is(r.err, rollout.ErrStale) {
		t.Error(r.err)
	}
	if _, err := e.Do(t.Context(), fleet.Job{Rollout: e.state.ID, Step: rollout.Step{ID: "sign-off", Number: 1, Attempt: 1}}); err == nil {
		t.Error("a step without work")
	}
}

// It waits for agents, says which, and goes on when they come.
func TestNoAgent(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("db-1", "role=db")
	other := manifest(e.dir)
	other.Version = "2.0.1"
	e.agentOf("web-9", map[string]string{"role": "web"}, other)
	e.change(func(s *rollout.Step) { s.Work.Need.Hosts = 2 })
	j := e.job()
	told := newReports()
	j.Tell = func(waiting string) { told.add("waits: " + waiting) }
	done := e.begin(t.Context(), j)
	told.await(t, "waits: no agent with role=web has todo-app 2.0.0 (digest "+e.state.Release.Digest[:8]+"…)")
	e.agent("web-1")
	told.await(t, "waits: 1 agents with role=web have todo-app 2.0.0")
	e.agent("web-2")
	e.expect(e.await(done), "web-1 done, web-2 done", "")
	if last := told.all[len(told.all)-1]; last != "waits: " {
		t.Errorf("%q was told last", last)
	}
	ctx, cancel := context.WithCancel(t.Context())
	e.change(func(s *rollout.Step) { s.Work.On = map[string]string{"role": "cache"} })
	j = e.job()
	j.Step.Number, j.Tell = 4, func(waiting string) { cancel() }
	if r := e.await(e.begin(ctx, j)); !errors.Is(r.err, context.Canceled) || len(r.hosts) != 0 {
		t.Error(r)
	}
}

// A step for any agent runs on one: where something of the rollout has run before, or the
// first by name.
func TestAnyOneAgent(t *testing.T) {
	e := newEnvironment(t, "test $GOLIVE_ATTEMPT -gt 1")
	e.change(func(s *rollout.Step) { s.Work.On = nil })
	e.agent("b")
	stop := e.agent("c")
	e.expect(e.do(), "b failed", "the host did not succeed: b: exit code 1")
	e.agent("a")
	e.change(func(s *rollout.Step) { s.Attempt = 2 })
	e.expect(e.do(), "b done", "")
	e.change(func(s *rollout.Step) { s.Attempt = 3 })
	e.expect(e.do(), "b done", "")
	e.put(protocol.HostKey(e.state.ID, 1, false, "c"), protocol.Host{Name: "c", Status: protocol.HostDone})
	e.must(e.hosts.Purge(t.Context(), protocol.HostKey(e.state.ID, 3, false, "b")))
	e.must(e.hosts.Purge(t.Context(), protocol.AssignmentKey(e.state.ID, 3, false)))
	e.expect(e.do(), "c done", "")
	stop()
	if got := e.ran(); got != "b forward 1, b forward 2, c forward 3" {
		t.Error(got)
	}
}

// allBegin is the beginning of a script that waits until it has begun so many times. No host
// fails before: as soon as the need can no longer be met, who has not begun does not begin.
func allBegin(times int) string {
	return fmt.Sprintf("while test $(wc -l <ran) -lt %d; do sleep 0.02; done\n", times)
}

func TestNeed(t *testing.T) {
	for name, c := range map[string]struct {
		need    rollout.Need
		fail    string // hosts, as a pattern of sh
		failure string
	}{
		"all, all do":              {fail: "none"},
		"all, one fails":           {fail: "web-2", failure: "4 of 4 hosts had to succeed, 3 did: web-2: exit code 1: no space"},
		"two of four":              {need: rollout.Need{Hosts: 2}, fail: "web-[12]"},
		"two of four, one does":    {need: rollout.Need{Hosts: 2}, fail: "web-[123]", failure: "2 of 4 hosts had to succeed, 1 did: web-1: exit code 1: no space; web-2: exit code 1"},
		"half of four":             {need: rollout.Need{Percent: 50}, fail: "web-[12]"},
		"a bit more than half":     {need: rollout.Need{Percent: 51}, fail: "web-[12]", failure: "3 of 4 hosts had to succeed, 2 did"},
		"one percent of four":      {need: rollout.Need{Percent: 1}, fail: "web-[123]"},
		"one percent, nobody does": {need: rollout.Need{Percent: 1}, fail: "*", failure: "1 of 4 hosts had to succeed, 0 did"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t, allBegin(4)+"case $GOLIVE_HOST in "+c.fail+") echo; echo no space; exit 1;; esac")
			e.change(func(s *rollout.Step) { s.Work.Need = c.need })
			for _, name := range []string{"web-1", "web-2", "web-3", "web-4"} {
				e.agent(name)
			}
			r := e.do()
			e.expect(r, stands(r.hosts), c.failure)
			if got := e.ran(); got != "web-1 forward 1, web-2 forward 1, web-3 forward 1, web-4 forward 1" {
				t.Error("all are tried:", got)
			}
			if c.failure == "" { // also for who asks later
				e.expect(e.do(), stands(r.hosts), "")
			}
		})
	}
}

// Not more run at the same time than may; when the need can no longer be met no further one
// is begun, and those that run are waited for.
func TestAtOnce(t *testing.T) {
	relaytest.Long(t)
	e := newEnvironment(t, "")
	e.change(func(s *rollout.Step) { s.Work.AtOnce, s.Work.Need.Hosts = 2, 4 })
	var all []*double
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4", "web-5", "web-6"} {
		all = append(all, e.double(name, "one"))
	}
	done := e.begin(t.Context(), e.job())
	all[0].told()
	all[1].told()
	all[0].says("one", protocol.HostRunning)
	all[1].says("one", protocol.HostRunning)
	all[1].says("one", protocol.HostDone)
	all[2].told()
	all[2].says("one", protocol.HostRunning)
	all[0].says("one", protocol.HostFailed)
	all[3].told()
	all[3].says("one", protocol.HostRunning)
	for _, d := range all[4:] {
		if len(d.runs) > 0 {
			t.Error(d.name, "was told while two ran")
		}
	}
	all[2].says("one", protocol.HostFailed)
	all[4].told()
	all[4].says("one", protocol.HostRunning)
	all[3].says("one", protocol.HostFailed) // at most three of six can succeed now
	select {
	case r := <-done:
		t.Fatal("one still runs:", stands(r.hosts))
	case <-time.After(3 * fleet.LookEvery / 2):
	}
	all[4].says("one", protocol.HostDone)
	e.expect(e.await(done), "web-1 failed, web-2 done, web-3 failed, web-4 failed, web-5 done, web-6 waiting",
		"4 of 6 hosts had to succeed, 2 did: web-1: exit code 1; web-3: exit code 1; web-4: exit code 1")
	if len(all[5].runs) > 0 {
		t.Error("a further one was begun")
	}
	if h := e.entry("web-6"); h.Status != protocol.HostWaiting || h.Attempt != 1 {
		t.Errorf("it could still begin: %+v", h)
	}
	e.expect(e.do(), "web-1 failed, web-2 done, web-3 failed, web-4 failed, web-5 done, web-6 waiting", "4 of 6")
	// The next attempt begins with it, too.
	e.change(func(s *rollout.Step) { s.Attempt, s.Work.AtOnce = 2, 0 })
	done = e.begin(t.Context(), e.job())
	for _, i := range []int{0, 2, 3, 5} {
		if o := all[i].told(); o.Attempt != 2 {
			all[i].told()
		}
		all[i].says("one", protocol.HostDone)
	}
	e.expect(e.await(done), "web-1 done, web-2 done, web-3 done, web-4 done, web-5 done, web-6 done", "")
}

// A new attempt runs on the hosts that have failed and are still there, and on new ones.
func TestNextAttempt(t *testing.T) {
	e := newEnvironment(t, "test $GOLIVE_ATTEMPT -gt 1 && exit; "+allBegin(3)+"test $GOLIVE_HOST = web-1")
	e.agent("web-1")
	e.agent("web-2")
	gone := e.agent("web-3")
	e.expect(e.do(), "web-1 done, web-2 failed, web-3 failed", "3 of 3 hosts had to succeed, 1 did")
	gone()
	e.agent("web-4")
	e.change(func(s *rollout.Step) { s.Attempt = 2 })
	e.expect(e.do(), "web-1 done, web-2 done, web-4 done", "")
	if got := e.ran(); got != "web-1 forward 1, web-2 forward 1, web-2 forward 2, web-3 forward 1, web-4 forward 2" {
		t.Error(got)
	}
}

// Who comes when the hosts were chosen takes no part.
func TestCastIsKept(t *testing.T) {
	e := newEnvironment(t, "while ! test -e "+"go; do sleep 0.02; done")
	e.agent("web-2")
	ctx, cancel := context.WithCancel(t.Context())
	first := e.begin(ctx, e.job())
	eventually(t, "it runs", func() bool { return e.ran() != "" })
	e.agent("web-1")
	cancel()
	if r := e.await(first); !errors.Is(r.err, context.Canceled) {
		t.Error(r.err)
	}
	second, third := e.begin(t.Context(), e.job()), e.begin(t.Context(), e.job()) // two at once
	e.write("go")
	e.expect(e.await(second), "web-2 done", "")
	e.expect(e.await(third), "web-2 done", "")
	if got := e.ran(); got != "web-2 forward 1" {
		t.Error(got)
	}
}

// Broken off and called again at any point, also by several at once, nothing is begun twice.
func TestBrokenOffAgainAndAgain(t *testing.T) {
	e := newEnvironment(t, "sleep 0.05")
	e.change(func(s *rollout.Step) { s.Work.AtOnce = 2 })
	for _, name := range []string{"web-1", "web-2", "web-3", "web-4", "web-5"} {
		e.agent(name)
	}
	want := "web-1 done, web-2 done, web-3 done, web-4 done, web-5 done"
	for n := time.Duration(1); ; n++ {
		ctx, cancel := context.WithTimeout(t.Context(), 3*n*time.Millisecond)
		a, b := e.begin(ctx, e.job()), e.begin(ctx, e.job())
		r := e.await(a)
		e.await(b)
		cancel()
		if r.err == nil {
			e.expect(r, want, "")
			break
		}
	}
	if got := e.ran(); got != "web-1 forward 1, web-2 forward 1, web-3 forward 1, web-4 forward 1, web-5 forward 1" {
		t.Error(got)
	}
}

// Backward, the hosts are those on which it was begun forward. Web-2 fails once web-1 has begun:
// earlier, web-1 would not begin any more.
func TestRevert(t *testing.T) {
	e := newEnvironment(t, `test $1 = backward && exit; test $GOLIVE_HOST = web-2 || { touch begun; exit; }
while ! test -e begun; do sleep 0.02; done; exit 1`)
	e.agent("web-1")
	e.agent("web-2")
	e.expect(e.do(), "web-1 done, web-2 failed", "2 of 2 hosts")
	e.put(protocol.HostKey(e.state.ID, 3, false, "web-0"), protocol.Host{Name: "web-0", Status: protocol.HostFailed, Attempt: 1, Error: "refused"})
	e.agent("web-3")
	e.change(func(s *rollout.Step) { s.Revert, s.Attempt, s.Work.Need.Hosts = true, 2, 9 })
	e.expect(e.do(), "web-1 done, web-2 done", "")
	e.expect(e.do(), "web-1 done, web-2 done", "")
	if got := e.ran(); got != "web-1 backward 2, web-1 forward 1, web-2 backward 2, web-2 forward 1" {
		t.Error(got)
	}
}

func TestRevertWithoutItsAgent(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("web-1")
	gone := e.agent("web-2")
	e.expect(e.do(), "web-1 done, web-2 done", "")
	gone()
	e.change(func(s *rollout.Step) { s.Revert, s.Attempt, s.Work.Need.Hosts = true, 2, 1 })
	e.expect(e.do(), "web-1 done, web-2 lost", "2 of 2 hosts had to succeed, 1 did: web-2: its agent is gone")
	e.agent("web-2")
	e.change(func(s *rollout.Step) { s.Attempt = 3 })
	e.expect(e.do(), "web-1 done, web-2 done", "")
	if got := e.ran(); !strings.Contains(got, "web-2 backward 3") || strings.Contains(got, "web-1 backward 3") {
		t.Error(got)
	}
}

func TestRevertOfNothing(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("web-1")
	e.change(func(s *rollout.Step) { s.Revert = true })
	e.expect(e.do(), "", "")
	if e.ran() != "" {
		t.Error(e.ran())
	}
}
