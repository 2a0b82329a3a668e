package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

const elsewhere = "told of an attempt that does not run here"

// guided is a script that does what the test tells it, in its own context.
type guided struct {
	t     *testing.T
	begun chan int // attempts
	do    chan func(ctx context.Context, run *sdk.Run) error
	did   chan error
}

func newGuided(t *testing.T) *guided {
	return &guided{t: t, begun: make(chan int, 10), do: make(chan func(context.Context, *sdk.Run) error), did: make(chan error)}
}

func (g *guided) script(ctx context.Context, run *sdk.Run) error {
	g.begun <- run.Start.Attempt
	for do := range g.do {
		g.did <- do(ctx, run)
	}
	<-ctx.Done()
	return ctx.Err()
}

// isPaused asks the script.
func (g *guided) isPaused() (paused bool) {
	g.t.Helper()
	g.do <- func(_ context.Context, run *sdk.Run) error {
		paused = run.Paused()
		return nil
	}
	must(g.t, receive(g.t, g.did, "the script"))
	return paused
}

// inBothDirections runs a test with the online script of todo-search and with its revert.
func inBothDirections(t *testing.T, test func(t *testing.T, m protocol.StartMessage, setup func(sdk.Script) sdk.SetupService)) {
	t.Run("do", func(t *testing.T) {
		t.Parallel()
		test(t, start(protocol.Online, 2), setup)
	})
	t.Run("revert", func(t *testing.T) {
		t.Parallel()
		m := start(protocol.Online, 2)
		m.Revert = true
		test(t, m, func(do sdk.Script) sdk.SetupService {
			return sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: nothing, RevertOnline: do}
		})
	})
}

// payload is that of a resume with a deadline.
func payload(t *testing.T, deadline time.Time) string {
	t.Helper()
	data, err := json.Marshal(protocol.ControlMessage{Rollout: rollout, Attempt: 2, Deadline: deadline})
	must(t, err)
	return string(data)
}

func TestAScriptIsPausedAndResumed(t *testing.T) {
	t.Parallel()
	inBothDirections(t, func(t *testing.T, m protocol.StartMessage, setup func(sdk.Script) sdk.SetupService) {
		s, g := newStage(t), newGuided(t)
		it := s.run(setup(g.script))
		heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
		m.Deadline = time.Now().Add(2 * time.Second)
		s.send(m)
		receive(t, g.begun, "the script")
		if g.isPaused() {
			t.Error("it is paused from the first")
		}

		s.tell(protocol.Pause, m, "")
		it.awaitLine("told")
		if !g.isPaused() {
			t.Error("it is not paused")
		}
		for len(beats) > 0 {
			<-beats
		}
		for n := 0; n < 3 || time.Now().Before(m.Deadline.Add(500*time.Millisecond)); n++ {
			receive(t, beats, "a sign of life")
		}
		g.do <- func(ctx context.Context, _ *sdk.Run) error { // the deadline of the start has passed
			if d, ok := ctx.Deadline(); ok {
				t.Errorf("it has the deadline %s while paused", d)
			}
			return ctx.Err()
		}
		must(t, receive(t, g.did, "the script"))

		g.do <- func(ctx context.Context, run *sdk.Run) error { return run.AwaitResume(ctx) }
		soon := time.Now().Add(time.Second)
		s.tell(protocol.Resume, protocol.StartMessage{Service: m.Service, Version: m.Version, Phase: m.Phase}, payload(t, soon))
		must(t, receive(t, g.did, "the resume"))
		g.do <- func(ctx context.Context, _ *sdk.Run) error {
			if d, ok := ctx.Deadline(); !ok || !d.Equal(soon) {
				t.Errorf("after the resume it has the deadline %s, %t, want %s", d, ok, soon)
			}
			return ctx.Err()
		}
		must(t, receive(t, g.did, "the script"))
		close(g.do)
		heard.mustBeFailed(protocol.CodeTimeout)
		if early := time.Until(soon); early > 0 {
			t.Errorf("it was ended %s before its deadline", early)
		}
	})
}

func TestAResumeWithoutADeadlineTakesItAway(t *testing.T) {
	t.Parallel()
	s, g := newStage(t), newGuided(t)
	it := s.run(setup(g.script))
	m := start(protocol.Online, 2)
	m.Deadline = time.Now().Add(time.Minute)
	s.send(m)
	receive(t, g.begun, "the script")
	for _, verb := range []protocol.Verb{protocol.Pause, protocol.Resume} {
		s.tell(verb, m, "")
		it.awaitLine("told")
	}
	g.do <- func(ctx context.Context, _ *sdk.Run) error {
		if d, ok := ctx.Deadline(); ok {
			t.Errorf("it has the deadline %s", d)
		}
		return nil
	}
	receive(t, g.did, "the script")
	close(g.do)
}

func TestACancelEndsAScript(t *testing.T) {
	for name, paused := range map[string]bool{"at work": false, "paused": true} {
		t.Run(name, func(t *testing.T) {
			inBothDirections(t, func(t *testing.T, m protocol.StartMessage, setup func(sdk.Script) sdk.SetupService) {
				s, g := newStage(t), newGuided(t)
				it := s.run(setup(g.script))
				heard := s.accept(m)
				m.Deadline = time.Now().Add(time.Hour)
				s.send(m)
				receive(t, g.begun, "the script")
				if paused {
					s.tell(protocol.Pause, m, "")
					it.awaitLine("told")
					g.do <- func(ctx context.Context, run *sdk.Run) error { return run.AwaitResume(ctx) }
				}
				s.cancel(m, "")
				if paused {
					if err := receive(t, g.did, "the end of waiting"); err != context.Canceled {
						t.Errorf("it waited for a resume until %v", err)
					}
				}
				close(g.do)
				if h := heard.mustBeFailed(protocol.CodeCancelled); h.Error.Message != "context canceled" || h.Attempt != 2 {
					t.Errorf("answered %s", h.msg.Data)
				}
			})
		})
	}
}

func TestAPauseIsForTheAttemptThatItNames(t *testing.T) {
	t.Parallel()
	s, g := newStage(t), newGuided(t)
	it := s.run(setup(g.script))
	m := start(protocol.Online, 2)
	s.send(m)
	receive(t, g.begun, "the script")
	other := m
	other.Attempt = 3
	s.tell(protocol.Pause, other, "not JSON")
	it.awaitLine(elsewhere)
	other.Attempt, other.Rollout = 2, newID()
	s.tell(protocol.Pause, other, "")
	it.awaitLine(elsewhere)
	s.tell(protocol.Pause, protocol.StartMessage{Service: m.Service, Version: m.Version, Phase: m.Phase}, "not JSON")
	it.awaitLine("it names no attempt")
	s.tell(protocol.Pause, protocol.StartMessage{Service: m.Service, Version: m.Version, Phase: m.Phase, Attempt: 2}, "")
	it.awaitLine("it names no attempt")
	if g.isPaused() {
		t.Error("it is paused by what was said to others")
	}
	close(g.do)
}

func TestEachInstanceHearsAPause(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	guides := []*guided{newGuided(t), newGuided(t)}
	instances := []*running{s.run(setup(guides[0].script)), s.run(setup(guides[1].script))}
	m := start(protocol.Online, 1)
	s.send(m)
	at := 0
	select {
	case <-guides[0].begun:
	case <-guides[1].begun:
		at = 1
	case <-time.After(patience):
		t.Fatal("the script was not run")
	}
	s.tell(protocol.Pause, m, "")
	instances[at].awaitLine("told")
	instances[1-at].awaitLine(elsewhere)
	if !guides[at].isPaused() {
		t.Error("it is not paused")
	}
	close(guides[at].do)
}

func TestAPauseAndItsResumeKeepTheirOrder(t *testing.T) {
	t.Parallel()
	s, g := newStage(t), newGuided(t)
	it := s.run(setup(g.script))
	m := start(protocol.Online, 1)
	s.send(m)
	receive(t, g.begun, "the script")
	say := func(verb protocol.Verb) {
		must(t, s.nc.Publish(m.Script().Subject(verb), []byte(`{"rollout":"`+rollout+`","attempt":1}`)))
	}
	for range 10 {
		for range 20 {
			say(protocol.Pause)
			say(protocol.Resume)
		}
		for range 40 {
			it.awaitLine("told")
		}
		if g.isPaused() {
			t.Fatal("a resume overtook its pause")
		}
	}
	close(g.do)
}

func TestAPauseCanOvertakeItsStart(t *testing.T) {
	t.Parallel()
	inBothDirections(t, func(t *testing.T, m protocol.StartMessage, setup func(sdk.Script) sdk.SetupService) {
		s := newStage(t)
		begun := make(chan int, 1)
		it := s.run(setup(func(ctx context.Context, run *sdk.Run) error {
			begun <- run.Start.Attempt
			if run.Paused() {
				return fmt.Errorf("it was begun while paused")
			}
			return nil
		}))
		heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
		s.tell(protocol.Pause, m, "")
		it.awaitLine(elsewhere)
		m.Deadline = time.Now().Add(-time.Second) // a time that stands still is not over
		s.send(m)
		for range 3 {
			receive(t, beats, "a sign of life")
		}
		if len(begun) > 0 {
			t.Error("it was begun while paused")
		}
		s.tell(protocol.Resume, m, payload(t, time.Now().Add(time.Hour)))
		heard.mustBeDone()
	})
}

func TestAResumeCanOvertakeItsStart(t *testing.T) {
	s := newStage(t)
	it := s.run(setup(nothing))
	m := start(protocol.Online, 2)
	heard := s.accept(m)
	for _, verb := range []protocol.Verb{protocol.Pause, protocol.Resume} {
		s.tell(verb, m, payload(t, time.Now().Add(time.Hour)))
		it.awaitLine(elsewhere)
	}
	m.Deadline = time.Now().Add(-time.Second)
	s.send(m)
	heard.mustBeDone()
}

func TestACancelOfWhatIsPausedBeforeItsStart(t *testing.T) {
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	m := start(protocol.Online, 1)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	s.tell(protocol.Pause, m, "")
	it.awaitLine(elsewhere)
	s.send(m)
	receive(t, beats, "a sign of life")
	s.cancel(m, "")
	if h := heard.mustBeFailed(protocol.CodeCancelled); h.Error.Message != "cancelled by the orchestrator" {
		t.Errorf("answered %s", h.msg.Data)
	}
	if n := runs.Load(); n != 0 {
		t.Errorf("it was run %d times", n)
	}
}

func TestAStopEndsAScriptThatIsPaused(t *testing.T) {
	mustLeaveNothing(t)
	t.Run("running", func(t *testing.T) {
		s := newStage(t)
		began := make(chan int, 1)
		it := s.run(setup(func(ctx context.Context, run *sdk.Run) error {
			began <- 1
			for !run.Paused() && ctx.Err() == nil {
				if !sleep(ctx, time.Millisecond) {
					break
				}
			}
			return run.AwaitResume(ctx)
		}))
		m := start(protocol.Online, 1)
		s.send(m)
		receive(t, began, "the script")
		s.tell(protocol.Pause, m, "")
		it.awaitLine("told")
		it.stop()
	})
	mustLeaveNothing(t)
}

// sleep waits; false when ctx ended first.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func TestAScriptThatIsStartedByHandHasItsDeadline(t *testing.T) {
	s := newStage(t)
	s.run(setup(func(ctx context.Context, run *sdk.Run) error {
		if run.Paused() {
			return fmt.Errorf("it is paused")
		}
		<-ctx.Done()
		return ctx.Err()
	}))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	m.Rollout, m.Deadline = "", time.Now().Add(100*time.Millisecond)
	data, err := json.Marshal(m)
	must(t, err)
	must(t, s.nc.PublishMsg(&nats.Msg{Subject: m.Script().Subject(protocol.Start), Data: data}))
	heard.mustBeFailed(protocol.CodeTimeout)
}
