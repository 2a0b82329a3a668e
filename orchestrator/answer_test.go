package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

func TestScriptThatFailsStopsTheRollout(t *testing.T) {
	for name, c := range map[string]struct {
		script sdk.Script
		code   string
		words  string
	}{
		"error": {func(context.Context, *sdk.Run) error { return errors.New("disk is full") }, protocol.CodeFailed, "disk is full"},
		"panic": {func(context.Context, *sdk.Run) error { panic("index out of range") }, protocol.CodePanic, "index out of range"},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			e.orchestrate()
			e.service("todo-search", "0.0.1")
			e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: c.script})
			story := e.awaitStatus(e.deploy(search(protocol.Offline)), rollout.Failed)
			step, _ := story.Step("todo-search/offline")
			if step.Error == nil || step.Error.Code != c.code || !strings.Contains(step.Error.Message, c.words) {
				t.Errorf("the step's error is %v, want %s: %s", step.Error, c.code, c.words)
			}
			routes, err := e.client.Routes(t.Context())
			e.must(err)
			if len(routes) != 0 {
				t.Errorf("routes are %+v, want none: a failure moves no traffic", routes)
			}
		})
	}
}

func TestScriptThatNeverAnswersTimesOut(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	heard := e.observe(offlineFailed)
	e.starts(offlineStart) // and says nothing
	release := search(protocol.Offline)
	release.Services[0].Timeout = rollout.Duration(time.Second)
	story := e.awaitStatus(e.deploy(release), rollout.Failed)
	step, _ := story.Step("todo-search/offline")
	if step.Error == nil || step.Error.Code != protocol.CodeTimeout {
		t.Errorf("the step's error is %v, want code timeout", step.Error)
	}
	if step.Ended.Before(step.Deadline) {
		t.Errorf("it ended at %s, before its deadline %s", step.Ended, step.Deadline)
	}
	heard.await(offlineFailed, nil) // from the orchestrator, on behalf of the silent script
}

func TestScriptIsCancelledAtItsDeadline(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	cancelled := make(chan error, 1)
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(ctx context.Context, _ *sdk.Run) error {
		<-ctx.Done()
		cancelled <- ctx.Err()
		return ctx.Err()
	}})
	release := search(protocol.Offline)
	release.Services[0].Timeout = rollout.Duration(time.Second)
	story := e.awaitStatus(e.deploy(release), rollout.Failed)
	if err := next(e, "the end of the script's context", cancelled); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the script's context ended with %v, want its deadline", err)
	}
	if step, _ := story.Step("todo-search/offline"); step.Error == nil || step.Error.Code != protocol.CodeTimeout {
		t.Errorf("the step's error is %v, want code timeout", step.Error)
	}
}

func TestRepeatedAnswerChangesNothing(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	for range 3 { // the answer to the first may have been lost
		if a := e.answer(offlineDone, id, 1, `{"items": 7}`); !*a.Accepted {
			t.Errorf("done is refused: %s", a.Reason)
		}
	}
	if a := e.answer(offlineFailed, id, 1, `{"error": {"message": "after all"}}`); *a.Accepted {
		t.Error("failed after done is accepted")
	}
	story := e.awaitStatus(id, rollout.Completed)
	if a := e.answer(offlineDone, id, 1, ""); !*a.Accepted {
		t.Errorf("done is refused once the rollout has completed: %s", a.Reason)
	}
	if got := len(e.show(id).Events); got != len(story.Events) || got != 3 {
		t.Errorf("the journal holds %d events, want 3", got)
	}
}

func TestAnswerThatNobodyWaitsForIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	release := search(protocol.Offline, protocol.Online)
	before := e.deploy(release)
	next(e, "the start", starts)
	e.answer(offlineFailed, before, 1, "")
	e.awaitStatus(before, rollout.Failed)
	id := e.deploy(release)
	next(e, "the start", starts)
	e.answer(offlineFailed, id, 1, "")
	e.awaitStatus(id, rollout.Failed)
	e.retry(id)
	next(e, "the start of the second attempt", starts)
	events := len(e.show(id).Events)

	for name, c := range map[string]struct {
		subject, id string
		attempt     int
	}{
		"without a rollout":           {offlineDone, "", 2},
		"of no rollout":               {offlineDone, newID(t), 2},
		"of any rollout":              {offlineDone, "*", 2},
		"of an earlier rollout":       {offlineDone, before, 1},
		"of an earlier attempt":       {offlineDone, id, 1},
		"of a later attempt":          {offlineDone, id, 3},
		"without the second attempt":  {offlineDone, id, 0},
		"from a step that is pending": {onlineDone, id, 1},
	} {
		warnings := e.logs.FilterMessage("answer changes nothing").Len()
		if a := e.answer(c.subject, c.id, c.attempt, ""); *a.Accepted || a.Reason == "" {
			t.Errorf("an answer %s is accepted: %+v", name, a)
		}
		if e.logs.FilterMessage("answer changes nothing").Len() == warnings {
			t.Errorf("an answer %s is not logged", name)
		}
	}
	if got := e.show(id); len(got.Events) != events {
		t.Errorf("the journal holds %d events after answers nobody waits for, want %d", len(got.Events), events)
	}
	if a := e.answer(offlineDone, id, 2, ""); !*a.Accepted {
		t.Errorf("the answer that is waited for is refused: %s", a.Reason)
	}
	e.running(id, "todo-search/online", 1)
}

func TestAnswerOfAnotherVersionIsNotHeard(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	m := nats.NewMsg("deployment-todo-search-0.0.0-offline-done")
	m.Header.Set(protocol.HeaderRollout, id)
	if _, err := e.nc.RequestMsg(m, patience); !errors.Is(err, nats.ErrNoResponders) {
		t.Errorf("an answer of version 0.0.0 to a rollout of 0.0.1 gives %v, want that nobody listens", err)
	}
}

func TestLongTextsOfAnAnswerAreCut(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	payload, err := json.Marshal(protocol.Answer{Error: &protocol.ScriptError{Message: strings.Repeat("é", 300_000)}})
	e.must(err)
	if a := e.answer(offlineFailed, id, 1, string(payload)); !*a.Accepted {
		t.Errorf("an answer with a long error is refused: %s", a.Reason)
	}
	step, _ := e.awaitStatus(id, rollout.Failed).Step("todo-search/offline")
	if n := len(step.Error.Message); n > 5000 || !strings.HasSuffix(step.Error.Message, "…") {
		t.Errorf("the error is kept with %d bytes", n)
	}
}

func TestStartByHandIsNobodysBusiness(t *testing.T) {
	e := newEnvironment(t)
	runs := make(chan string, 10)
	goOn := make(chan struct{})
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(ctx context.Context, run *sdk.Run) error {
		runs <- run.Start.Rollout
		if run.Start.Rollout != "" {
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		}
		return ctx.Err()
	}})
	heard := e.observe(offlineDone)
	byHand := func(payload string) {
		t.Helper()
		e.until("the start by hand was answered", func() bool {
			reply, err := e.nc.Request(offlineStart, []byte(payload), patience)
			return err == nil && len(reply.Data) > 0
		})
		if id := next(e, "the run by hand", runs); id != "" {
			t.Errorf("a start by hand ran for rollout %s", id)
		}
	}
	byHand("")
	byHand(`{"attempt": 3}`)

	e.orchestrate()
	e.service("todo-search", "0.0.1")
	id := e.deploy(search(protocol.Offline))
	if got := next(e, "the run of the rollout", runs); got != id {
		t.Errorf("the script ran for rollout %q, want %s", got, id)
	}
	byHand("")
	byHand("{}")
	e.until("the orchestrator has heard both answers", func() bool {
		return e.logs.FilterMessage("answer changes nothing").Len() == 2
	})
	if step, _ := e.show(id).Step("todo-search/offline"); step.Status != rollout.StepRunning {
		t.Errorf("the step is %s after a start by hand, want it running", step.Status)
	}
	close(goOn)
	e.awaitStatus(id, rollout.Completed)
	heard.await(offlineDone, func(m *nats.Msg) bool { return m.Header.Get(protocol.HeaderRollout) == id })
	all := heard.heard(offlineDone)
	if len(all) != 5 {
		t.Errorf("done was heard %d times, want 4 by hand and 1 of the rollout", len(all))
	}
	for i, m := range all {
		var a protocol.Answer
		e.must(json.Unmarshal(m.Data, &a))
		if byRollout := i == 4; (a.Rollout != "" || m.Header.Get(protocol.HeaderRollout) != "") != byRollout {
			t.Errorf("done number %d names rollout %q", i+1, a.Rollout)
		}
	}
}

func TestSignsOfLifeAreShown(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	goOn := make(chan struct{})
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(ctx context.Context, run *sdk.Run) error {
		run.Progress(512, 1204, "indexing")
		select {
		case <-goOn:
		case <-ctx.Done():
		}
		return ctx.Err()
	}})
	id := e.deploy(search(protocol.Offline))
	e.await(id, "telling its progress", func(s api.RolloutStory) bool {
		seen := s.Observations["todo-search/offline"]
		return seen.Done == 512 && seen.Total == 1204 && seen.Note == "indexing" && seen.Sent && !seen.Beat.IsZero()
	})
	close(goOn)
	e.running(id, "todo-search/traffic", 1)
}

// A setup service without our SDK tells its progress with headers or in JSON.
func TestSignOfLifeNamesItsAttempt(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	done := int64(0)
	progress := func(rollout, payload string) {
		t.Helper()
		m := nats.NewMsg("deployment-todo-search-0.0.1-offline-progress")
		m.Data = []byte(payload)
		if rollout != "" {
			m.Header.Set(protocol.HeaderRollout, rollout)
			m.Header.Set(protocol.HeaderAttempt, "1")
		}
		e.must(e.nc.PublishMsg(m))
	}
	shown := func() api.Observation {
		return e.show(id).Observations["todo-search/offline"]
	}
	for _, nobodys := range []string{"", "{", `{"attempt": 1, "done": 9}`, `{"rollout": "` + id + `", "attempt": 7, "done": 9}`} {
		progress("", nobodys)
	}
	progress(newID(t), `{"done": 9}`)
	progress(id, "")
	e.until("a bare sign of life counts", func() bool { return !shown().Beat.IsZero() })
	if got := shown(); got.Done != 0 {
		t.Errorf("progress that names no running attempt is shown: %+v", got)
	}
	for _, payload := range []string{`{"rollout": "` + id + `", "done": %d}`, `{"rollout": "` + id + `", "attempt": 1, "done": %d}`} {
		done++
		progress("", fmt.Sprintf(payload, done))
		e.until("the progress is shown", func() bool { return shown().Done == done })
	}
}

// Of a script that does not say how fast it is, the orchestrator finds out; and what cannot
// be is left out.
func TestSpeedOfAScriptIsShown(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	progress := func(payload string) {
		t.Helper()
		m := nats.NewMsg("deployment-todo-search-0.0.1-offline-progress")
		m.Data = []byte(payload)
		m.Header.Set(protocol.HeaderRollout, id)
		m.Header.Set(protocol.HeaderAttempt, "1")
		e.must(e.nc.PublishMsg(m))
	}
	shown := func() api.Observation { return e.show(id).Observations["todo-search/offline"] }
	begun := time.Now()
	done, seen := int64(1_000_000), api.Observation{} // so far it had come before
	e.until("a speed is shown", func() bool {
		done += 10
		progress(fmt.Sprintf(`{"done": %d, "total": 2000000}`, done))
		seen = shown()
		return seen.Rate > 0 && seen.Average > 0
	})
	if most := float64(done-1_000_000) / 0.25; seen.Rate > most || seen.Average > most || time.Since(begun) < 250*time.Millisecond {
		t.Errorf("after %s and %d records the speed is %g and %g", time.Since(begun), done-1_000_000, seen.Rate, seen.Average)
	}
	progress(`{"done": 5, "total": -3, "rate": -1, "average": -2, "limit": -3, "putAside": -4, "held": "` + strings.Repeat("x", 10_000) + `"}`)
	e.until("the progress is shown", func() bool { seen = shown(); return seen.Done == 5 })
	if seen.Rate != 0 || seen.Average != 0 || seen.Limit != 0 || seen.PutAside != 0 || seen.Total != 0 || len(seen.Held) > 5_000 {
		t.Errorf("what cannot be is shown: %+v", seen)
	}
	progress(`{"done": -1}`)
	progress(`{"done": 6, "rate": 12.5, "average": 10, "limit": 20, "putAside": 1, "held": "throttled"}`)
	e.until("what the script says is shown", func() bool { seen = shown(); return seen.Done != 5 })
	if seen.Done != 6 || seen.Rate != 12.5 || seen.Average != 10 || seen.Limit != 20 || seen.PutAside != 1 || seen.Held != "throttled" {
		t.Errorf("what the script says is not shown: %+v", seen)
	}
	progress(`{"done": 7}`)
	e.until("the next progress is shown", func() bool { seen = shown(); return seen.Done == 7 })
	if seen.Rate != 0 || seen.Average != 0 {
		t.Errorf("a script that says how fast it is is not believed: %+v", seen)
	}
}
