package orchestrator_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// lease is how long a script of a test may be at work that the bus does not answer.
const lease = protocol.LeaseBeats * heartbeat

// shift is the time in which a worker's script was at work.
type shift struct {
	worker     string
	attempt    int
	begun      time.Time
	ended      time.Time // zero: it is at work
	why        string
	successful bool
}

// shifts are those of all workers of a test.
type shifts struct {
	mu  sync.Mutex
	all []*shift
}

// script is one that works until its context ends or finish is closed.
func (s *shifts) script(worker string, finish <-chan struct{}) sdk.Script {
	return func(ctx context.Context, run *sdk.Run) error {
		now := &shift{worker: worker, attempt: run.Start.Attempt, begun: time.Now()}
		s.mu.Lock()
		s.all = append(s.all, now)
		s.mu.Unlock()
		var err error
		select {
		case <-finish:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		now.ended, now.successful = time.Now(), err == nil
		if err != nil {
			now.why = err.Error()
		}
		return err
	}
}

// of gives the shifts of a worker.
func (s *shifts) of(worker string) []shift {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []shift
	for _, one := range s.all {
		if one.worker == worker {
			all = append(all, *one)
		}
	}
	return all
}

// mustBeApart fails the test if two shifts were at the same time.
func (s *shifts) mustBeApart(t *testing.T) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, a := range s.all {
		for _, b := range s.all[i+1:] {
			if a.ended.IsZero() || a.ended.After(b.begun) {
				t.Errorf("%s was at work on attempt %d until %s, when %s had begun attempt %d at %s", a.worker, a.attempt, a.ended, b.worker, b.attempt, b.begun)
			}
		}
	}
}

// worker runs a setup service of todo-search whose offline script is at work until its context
// ends or finish is closed.
func (e *environment) worker(r *relay.Relay, all *shifts, name string, finish <-chan struct{}) (stop func()) {
	s := sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: all.script(name, finish), Logger: e.log}
	return e.run("worker "+name, func(ctx context.Context) error { return s.Run(ctx, r) })
}

// abort aborts a rollout, whatever its scripts have begun.
func (e *environment) abort(id string) {
	e.t.Helper()
	_, err := e.client.Abort(e.t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}, Force: true})
	e.must(err)
	e.awaitStatus(id, rollout.Aborted)
}

func (e *environment) awaitShift(all *shifts, worker string) {
	e.t.Helper()
	e.until(worker+" is at work", func() bool { return len(all.of(worker)) > 0 })
}

// A worker that is cut off stops by itself, and only then the next attempt begins: no script is
// at work in the dark while the new version serves.
func TestAWorkerThatIsCutOffStopsBeforeTheNextAttemptBegins(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	bus := relaytest.Start(t)
	e := environmentOn(t, bus.Connect)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	cable, all, finished := bus.Cable(), &shifts{}, make(chan struct{})
	close(finished)
	e.worker(bus.ConnectTo(cable.URL()), all, "cut off", nil)
	id := e.deploy(search(protocol.Offline))
	e.awaitShift(all, "cut off")
	cable.Hold()
	cut := time.Now()
	e.worker(e.connect(), all, "the other", finished)
	e.awaitStatus(id, rollout.Completed)
	all.mustBeApart(t)
	one := all.of("cut off")[0]
	if took := one.ended.Sub(cut); one.ended.IsZero() || took > lease {
		t.Errorf("the script that was cut off ended after %s, its lease is %s", took, lease)
	}
	if !strings.Contains(one.why, "the bus has not answered in time") {
		t.Errorf("the script was ended with %q", one.why)
	}
	if next := all.of("the other"); len(next) != 1 || next[0].attempt != 2 {
		t.Errorf("the other worker had %+v, want attempt 2", next)
	}
	cable.Release()
}

// After an abort the next rollout's scripts wait for the one that is cut off, and say so.
func TestTheNextRolloutWaitsForAScriptThatWasAborted(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	bus := relaytest.Start(t)
	e := environmentOn(t, bus.Connect)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	cable, all, finished := bus.Cable(), &shifts{}, make(chan struct{})
	close(finished)
	e.worker(bus.ConnectTo(cable.URL()), all, "cut off", nil)
	aborted := e.deploy(search(protocol.Offline))
	e.awaitShift(all, "cut off")
	cable.Hold()
	e.abort(aborted)
	e.worker(e.connect(), all, "the other", finished)
	id := e.deploy(search(protocol.Offline))
	e.await(id, "waiting for the script of the rollout before", func(s api.RolloutStory) bool {
		return slices.Contains(s.Waits, "attempt 1 of todo-search 0.0.1 offline to stop, of rollout "+aborted)
	})
	e.awaitStatus(id, rollout.Completed)
	all.mustBeApart(t)
	cable.Release()
}

// One that was told to stop, and has, keeps nobody waiting.
func TestTheNextRolloutDoesNotWaitForAScriptThatHasStopped(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	all, finish := &shifts{}, make(chan struct{})
	e.worker(e.connect(), all, "one", finish)
	aborted := e.deploy(search(protocol.Offline))
	e.awaitShift(all, "one")
	e.abort(aborted)
	begun := time.Now()
	id := e.deploy(search(protocol.Offline))
	close(finish)
	e.awaitStatus(id, rollout.Completed)
	if took := time.Since(begun); took > lease-heartbeat {
		t.Errorf("it took %s, as if nobody had known that the script has stopped", took)
	}
	all.mustBeApart(t)
}

// A script that does not heed its deadline is waited for before it is tried again.
func TestAnAttemptThatIsTooLateIsWaitedFor(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	var all shifts
	goOn := make(chan struct{})
	work := all.script("deaf", goOn)
	r := e.connect()
	s := sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(ctx context.Context, run *sdk.Run) error {
		return work(context.WithoutCancel(ctx), run)
	}}
	e.run("setup service", func(ctx context.Context) error { return s.Run(ctx, r) })
	release := search(protocol.Offline)
	one := &release.Services[0]
	one.Timeout, one.Retries, one.Backoff = rollout.Duration(time.Second), 1, rollout.Duration(time.Second)
	id := e.deploy(release)
	e.awaitShift(&all, "deaf")
	e.await(id, "waiting for the attempt before", func(s api.RolloutStory) bool {
		return slices.Contains(s.Waits, "attempt 1 of todo-search 0.0.1 offline to stop")
	})
	close(goOn)
	e.until("the next attempt has begun", func() bool { return len(all.of("deaf")) == 2 })
	all.mustBeApart(t)
}

// A start that arrives when its attempt is over is not run, whoever gets it: without a claim
// nobody could know that it is late.
func TestAStartThatArrivesLateIsNotRun(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	late := next(e, "the start", starts)
	e.abort(id)
	e.until("the attempt is withheld", func() bool {
		claim, err := e.claimOf(id)
		return err == nil && claim.Instance == protocol.Withheld
	})
	all := &shifts{}
	e.worker(e.connect(), all, "one", nil)
	e.until("it has refused the late start", func() bool {
		m := nats.NewMsg(late.Subject)
		m.Data, m.Header, m.Reply = late.Data, late.Header, late.Reply
		m.Header.Del("Nats-Trace-Dest")
		e.must(e.nc.PublishMsg(m))
		return e.logs.FilterMessage("not run here").Len() > 0 || len(all.of("one")) > 0
	})
	if n := len(all.of("one")); n > 0 {
		t.Errorf("it was run %d times", n)
	}
}

// A script without signs of life is over once the connection is gone that has got its start,
// and the time has passed in which it may be at work all the same.
func TestABareScriptThatLeavesTheBusIsNoticed(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	gone := make(chan struct{}, 1)
	leave := e.bare(offlineStart, func(*nats.Conn, *nats.Msg) { gone <- struct{}{} })
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", gone)
	left := time.Now()
	leave()
	e.await(id, "said to have left", func(s api.RolloutStory) bool {
		return strings.Contains(s.Observations["todo-search/offline"].Waiting, "its script has left the bus")
	})
	e.lost(id)
	if took := time.Since(left); took < lease {
		t.Errorf("its attempt was over after %s, it may be at work for %s", took, lease)
	}
}

// One that stays is waited for, however many listen beside it.
func TestABareScriptThatStaysIsWaitedFor(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := make(chan *nats.Msg, 10)
	for range 3 {
		e.bare(offlineStart, func(_ *nats.Conn, m *nats.Msg) { starts <- m })
	}
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	begun := time.Now()
	e.until("it has been silent for longer than a lease", func() bool { return time.Since(begun) > lease+3*heartbeat })
	e.running(id, "todo-search/offline", 1)
	if waiting := e.show(id).Observations["todo-search/offline"].Waiting; waiting != "" {
		t.Errorf("it is shown as waiting for %q", waiting)
	}
	e.answer(offlineDone, id, 1, "")
	e.awaitStatus(id, rollout.Completed)
}

// Where nothing can be known of a script, that is said: all orchestrators that knew who has got
// its start are gone.
func TestWhatCannotBeKnownOfABareScriptIsSaid(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	e.await(id, "sent", func(s api.RolloutStory) bool { return s.Observations["todo-search/offline"].Sent })
	stop()
	e.orchestrate()
	e.await(id, "said not to be known", func(s api.RolloutStory) bool {
		return strings.Contains(s.Observations["todo-search/offline"].Waiting, "golive cannot know whether it is at work")
	})
	e.answer(offlineDone, id, 1, "")
}

// A sign of life of an attempt that is over is answered by its cancel.
func TestASignOfLifeOfAnAttemptThatIsOverIsAnsweredByItsCancel(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	script := protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: protocol.Offline}
	e.abort(id)
	e.until("the attempt is withheld", func() bool { // who told it to stop because of the abort has nothing left to do soon
		claim, err := e.claimOf(id)
		return err == nil && claim.Instance == protocol.Withheld
	})
	begun := time.Now()
	e.until("nobody tells it any more because of the abort", func() bool { return time.Since(begun) > lease+2*heartbeat })
	cancels := e.observe(script.Subject(protocol.Cancel))
	beat := nats.NewMsg(script.Subject(protocol.Progress))
	beat.Header.Set(protocol.HeaderRollout, id)
	beat.Header.Set(protocol.HeaderAttempt, "1")
	e.must(e.nc.PublishMsg(beat))
	cancels.await(script.Subject(protocol.Cancel), func(m *nats.Msg) bool {
		return m.Header.Get(protocol.HeaderRollout) == id && m.Header.Get(protocol.HeaderAttempt) == "1"
	})
}

// A script that was cut off when it was paused, given another pace and resumed is told of each once
// it is back.
func TestAScriptThatWasCutOffIsToldWhatItHasMissed(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	e := environmentOn(t, bus.Connect)
	e.orchestrate()
	e.service("todo-search", "0.0.2")
	cable := bus.Cable()
	began, held := make(chan bool, 10), make(chan float64, 10)
	worker := sdk.SetupService{Service: "todo-search", Version: "0.0.2", Offline: func(ctx context.Context, run *sdk.Run) error {
		began <- true
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		for !run.Paused() || run.Pace().Rate == nil {
			select {
			case <-look.C:
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		held <- *run.Pace().Rate
		return run.AwaitResume(ctx)
	}}
	r := bus.ConnectTo(cable.URL())
	e.run("setup service", func(ctx context.Context) error { return worker.Run(ctx, r) })
	id := e.deploy(searchVersion("0.0.2", "0.0.2", protocol.Offline))
	next(e, "the script", began)

	meanwhile := func(ask func() error) { // it is cut off
		cable.Unplug()
		e.until("it has lost the bus", func() bool { return !r.Conn().IsConnected() })
		e.must(ask())
		cable.Release()
	}
	named, rate := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id}, Step: "todo-search/offline"}, 7.0
	meanwhile(func() error {
		if _, err := e.client.Pace(t.Context(), api.PaceRequest{Rollout: id, Step: named.Step, Rate: &rate}); err != nil {
			return err
		}
		_, err := e.client.Pause(t.Context(), named)
		return err
	})
	if got := next(e, "the pause and the pace", held); got != rate {
		t.Errorf("its pace is %g, want %g", got, rate)
	}
	meanwhile(func() error {
		_, err := e.client.Resume(t.Context(), named)
		return err
	})
	e.awaitStatus(id, rollout.Completed)
	if story, err := e.client.Show(t.Context(), api.RolloutRequest{Rollout: id}); err != nil || story.Steps[0].Attempt != 1 {
		t.Errorf("it took %d attempts (%v), want one", story.Steps[0].Attempt, err)
	}
}
