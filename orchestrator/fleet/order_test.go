package fleet_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// A refusal ends the attempt on the host, and stays.
func TestRefusal(t *testing.T) {
	e := newEnvironment(t, "")
	e.agent("web-1")
	e.change(func(s *rollout.Step) { s.Work.AtOnce = 1 }) // web-1 has done it before web-2 is told
	d := e.double("web-2", "one")
	d.answer = `{"error":{"code":"unknown_release","message":"agent web-2 was not given this release"}}`
	e.expect(e.do(), "web-1 done, web-2 failed", "2 of 2 hosts had to succeed, 1 did: web-2: agent web-2 was not given this release")
	d.told()
	e.expect(e.do(), "web-1 done, web-2 failed", "2 of 2")
	if len(d.runs) > 0 {
		t.Error("it was told again")
	}
	// It never ran, so there is nothing to undo on it.
	e.change(func(s *rollout.Step) { s.Revert, s.Attempt = true, 2 })
	e.expect(e.do(), "web-1 done", "")
}

// An agent that does not answer is told again, and given up when its lease is gone.
func TestSilence(t *testing.T) {
	relaytest.Long(t)
	e := newEnvironment(t, "")
	d := e.double("web-1", "one")
	d.mu.Lock()
	d.silent = true
	d.mu.Unlock()
	done := e.begin(t.Context(), e.job())
	d.told()
	d.told()
	d.die()
	e.expect(e.await(done), "web-1 lost", "the host did not succeed: web-1: its agent is gone")
}

// One that was not there for a moment is told again.
func TestNoResponders(t *testing.T) {
	e := newEnvironment(t, "")
	d := e.double("web-1", "one")
	d.die()
	ghost := &double{e: e, name: "web-2"}
	ghost.lease("ghost") // a lease without an agent
	told := newReports()
	j := e.job()
	j.Told = func(hosts []protocol.Host) { told.add(stands(hosts)) }
	done := e.begin(t.Context(), j)
	told.await(t, "web-2 waiting")
	d2 := e.double("web-2", "two")
	d2.told()
	d2.says("two", protocol.HostDone)
	e.expect(e.await(done), "web-2 done", "")
}

// A host that runs is lost when its agent's lease has run out.
func TestLeaseRunsOut(t *testing.T) {
	e := newEnvironment(t, "")
	d := e.double("web-1", "one")
	done := e.begin(t.Context(), e.job())
	d.told()
	d.says("one", protocol.HostRunning)
	d.die()
	began := time.Now()
	e.expect(e.await(done), "web-1 lost", "the host did not succeed: web-1: its agent has died")
	if took := time.Since(began); took > 3*fleet.LookEvery {
		t.Error("it was noticed after", took)
	}
	if h := e.entry("web-1"); h.Status != protocol.HostLost || h.Started.IsZero() || h.Instance != "one" {
		t.Errorf("%+v", h)
	}
}

// It is lost at once when its agent has started anew.
func TestAgentStartsAnew(t *testing.T) {
	e := newEnvironment(t, "")
	d := e.double("web-1", "one")
	told := newReports()
	j := e.job()
	j.Told = func(hosts []protocol.Host) { told.add(stands(hosts)) }
	done := e.begin(t.Context(), j)
	d.told()
	d.says("one", protocol.HostRunning)
	told.await(t, "web-1 running")
	began := time.Now()
	d.lease("two")
	e.expect(e.await(done), "web-1 lost", "the host did not succeed: web-1: its agent has died")
	t.Log("noticed after", time.Since(began))
	if took := time.Since(began); took > fleet.LookEvery {
		t.Error("it was noticed after", took)
	}
	// The next attempt begins on it.
	e.change(func(s *rollout.Step) { s.Attempt = 2 })
	done = e.begin(t.Context(), e.job())
	for d.told().Attempt != 2 {
	}
	d.says("two", protocol.HostDone)
	e.expect(e.await(done), "web-1 done", "")
}

func TestCancel(t *testing.T) {
	e := newEnvironment(t, "exec sleep 60")
	e.change(func(s *rollout.Step) { s.Work.AtOnce = 1 })
	e.agent("web-1")
	e.agent("web-2")
	done := e.begin(t.Context(), e.job())
	eventually(t, "it runs", func() bool { return e.ran() != "" })
	e.must(e.Cancel(t.Context(), e.state.ID, e.step()))
	r := e.await(done)
	e.expect(r, "web-1 failed, web-2 failed",
		"2 of 2 hosts had to succeed, 0 did: web-1: cancelled: the rollout does not want it any more; web-2: cancelled before it had begun")
	if got := e.ran(); got != "web-1 forward 1" {
		t.Error(got)
	}
	e.must(e.Cancel(t.Context(), e.state.ID, e.step()))
	early := e.step()
	e.change(func(s *rollout.Step) { s.Attempt = 2 })
	e.expect(e.await(e.begin(t.Context(), fleet.Job{Rollout: e.state.ID, Release: e.state.Release, Step: early})), "web-1 failed, web-2 failed", "2 of 2")
	done = e.begin(t.Context(), e.job())
	eventually(t, "the next attempt runs", func() bool { return e.ran() == "web-1 forward 1, web-1 forward 2" })
	e.must(e.Cancel(t.Context(), e.state.ID, early)) // comes late
	assignment, err := e.hosts.Get(t.Context(), protocol.AssignmentKey(e.state.ID, 3, false))
	e.must(err)
	if got := string(assignment.Value()); got != `{"attempt":2,"hosts":["web-1","web-2"]}` {
		t.Error(got)
	}
	e.must(e.Cancel(t.Context(), e.state.ID, e.step()))
	e.expect(e.await(done), "web-1 failed, web-2 failed", "2 of 2")
}

// Cancelled before anybody was there to do it, nobody ever begins.
func TestCancelBeforeItBegins(t *testing.T) {
	e := newEnvironment(t, "")
	told := newReports()
	j := e.job()
	j.Tell = func(waiting string) { told.add("waits: " + waiting) }
	done := e.begin(t.Context(), j)
	told.await(t, "waits: no agent")
	e.must(e.Cancel(t.Context(), e.state.ID, e.step()))
	e.expect(e.await(done), "", "cancelled before a host had begun")
	e.agent("web-1")
	e.expect(e.do(), "", "cancelled before a host had begun")
	e.change(func(s *rollout.Step) { s.Revert = true })
	e.must(e.Cancel(t.Context(), e.state.ID, e.step()))
	e.expect(e.do(), "", "cancelled before a host had begun")
	if e.ran() != "" {
		t.Error(e.ran())
	}
}

// A cancel that its agent has not heard is told again.
func TestCancelIsToldAgain(t *testing.T) {
	e := newEnvironment(t, "")
	d := e.double("web-1", "one")
	done := e.begin(t.Context(), e.job())
	d.told()
	d.says("one", protocol.HostRunning)
	e.must(e.Cancel(t.Context(), e.state.ID, e.step()))
	for range 3 {
		select {
		case o := <-d.stop:
			if o.Rollout != e.state.ID || o.Step != "migrate" || o.Attempt != 1 {
				t.Errorf("%+v", o)
			}
		case <-time.After(patience):
			t.Fatal("it was not told again")
		}
	}
	d.says("one", protocol.HostDone) // too late to be cancelled
	e.expect(e.await(done), "web-1 done", "")
}

// late asserts that an attempt has ended because its time was over.
func late(t *testing.T, r result) {
	t.Helper()
	var failed *fleet.FailedError
	if !errors.As(r.err, &failed) || !failed.Late || failed.Cancelled {
		t.Errorf("its time was over, and it ended with %+v", failed)
	}
	for _, h := range r.hosts {
		if h.Status != protocol.HostFailed || h.Code != protocol.CodeTimeout {
			t.Errorf("its time was over, and host %s ended with %+v", h.Name, h)
		}
	}
}

// An attempt whose time is over ends in one way, whether its agent or whoever sees to it
// notices that first.
func TestLateness(t *testing.T) {
	t.Run("noticed by the agent", func(t *testing.T) {
		e := newEnvironment(t, "exec sleep 60")
		e.change(func(s *rollout.Step) { s.Deadline = time.Now().Add(300 * time.Millisecond) })
		e.agent("web-1")
		late(t, e.do())
	})
	t.Run("told to the agent", func(t *testing.T) {
		e := newEnvironment(t, "exec sleep 60")
		e.change(func(s *rollout.Step) { s.Work.AtOnce = 1 })
		e.agent("web-1")
		e.agent("web-2")
		done := e.begin(t.Context(), e.job())
		eventually(t, "it runs", func() bool { return e.ran() != "" })
		e.must(e.Expire(t.Context(), e.state.ID, e.step()))
		r := e.await(done)
		late(t, r)
		e.expect(r, "web-1 failed, web-2 failed", "2 of 2 hosts had to succeed, 0 did: "+
			"web-1: timeout: it has not ended in its time; web-2: its time was over before it had begun")
		e.must(e.Cancel(t.Context(), e.state.ID, e.step())) // comes late, and changes nothing
		late(t, e.do())
	})
	t.Run("over before the agent was asked", func(t *testing.T) {
		e := newEnvironment(t, "exec sleep 60")
		e.change(func(s *rollout.Step) { s.Deadline = time.Now().Add(-time.Second) })
		e.agent("web-1")
		late(t, e.do())
	})
	t.Run("over before there was an agent", func(t *testing.T) {
		e := newEnvironment(t, "")
		e.must(e.Expire(t.Context(), e.state.ID, e.step()))
		r := e.do()
		late(t, r)
		e.expect(r, "", "its time was over before a host had begun")
	})
}

// Who is late is one that has failed: so many may be as need not succeed.
func TestSomeMayBeLate(t *testing.T) {
	e := newEnvironment(t, "test $GOLIVE_HOST = web-1 || exec sleep 60")
	e.change(func(s *rollout.Step) { s.Work.Need = rollout.Need{Hosts: 1} })
	e.agent("web-1")
	e.agent("web-2")
	done := e.begin(t.Context(), e.job())
	eventually(t, "both run", func() bool { return strings.Count(e.ran(), "forward") == 2 })
	e.must(e.Expire(t.Context(), e.state.ID, e.step()))
	e.expect(e.await(done), "web-1 done, web-2 failed", "")
}
