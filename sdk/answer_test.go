package sdk_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

func TestAnAnswerIsSentUntilAnOrchestratorAcknowledgesIt(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	m := start(protocol.Online, 1)
	beats := s.listen(m.Script().Subject(protocol.Progress))
	s.send(m)
	it.awaitLine("answer not acknowledged, sending it until it is") // nobody listens
	heard := s.reply(m, func(n int) string {
		return []string{stored, "not JSON", accepted}[min(n, 3)-1]
	})
	first := heard.mustBeDone()
	for len(beats) > 0 {
		<-beats
	}
	for range 2 {
		again := heard.mustBeDone()
		if string(again.msg.Data) != string(first.msg.Data) || again.msg.Header.Get(protocol.HeaderMessageID) != first.msg.Header.Get(protocol.HeaderMessageID) {
			t.Errorf("answered %s, then %s", first.msg.Data, again.msg.Data)
		}
	}
	if len(beats) == 0 {
		t.Error("there was no sign of life while the answer was not acknowledged")
	}
	s.mustHaveEnded(heard)
	if n := runs.Load(); n != 1 {
		t.Errorf("the script was run %d times", n)
	}
}

// mustHaveEnded fails the test if an attempt is answered again. A second is let pass,
// as the liveness message of another setup service tells it.
func (s *stage) mustHaveEnded(heard *answers) {
	s.t.Helper()
	clock := protocol.StartMessage{
		Rollout: newID(), Step: "clock/online", Attempt: 1, App: "todo-app", AppVersion: "0.0.2",
		Service: "clock", Version: "0.0.1", Phase: protocol.Online, Heartbeat: protocol.Duration(time.Second),
	}
	it := s.run(sdk.SetupService{Service: "clock", Version: "0.0.1", Online: func(ctx context.Context, _ *sdk.Run) error {
		<-ctx.Done()
		return ctx.Err()
	}})
	defer it.stop()
	beats := s.listen(clock.Script().Subject(protocol.Progress))
	s.send(clock)
	for range 3 {
		receive(s.t, beats, "a sign of life")
	}
	heard.mustBeNone()
}

func TestARefusedAnswerIsNotRepeated(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	m := start(protocol.Online, 1)
	heard := s.reply(m, func(int) string { return refused })
	s.send(m)
	heard.mustBeDone()
	if l := it.awaitLine("answer refused"); l.fields != `{"message":"deployment-todo-search-0.0.1-online-done","reason":"stale"}` {
		t.Errorf("logged %s", l.fields)
	}
	s.mustHaveEnded(heard)
}

func TestSignsOfLifeComeFromTheFirstMoment(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	s := newStage(t)
	step := make(chan func(*sdk.Run))
	s.run(setup(func(_ context.Context, run *sdk.Run) error {
		for do := range step {
			do(run)
		}
		return nil
	}))
	m := start(protocol.Online, 2)
	m.Heartbeat = protocol.Duration(2 * time.Second)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	last := time.Now()
	s.send(m)
	next := func() protocol.ProgressMessage {
		t.Helper()
		beat := receive(t, beats, "a sign of life")
		if late := time.Since(last); late > time.Duration(m.Heartbeat) {
			t.Errorf("no sign of life for %s", late)
		}
		last = time.Now()
		for name, want := range map[string]string{protocol.HeaderRollout: rollout, protocol.HeaderStep: m.Step, protocol.HeaderAttempt: "2"} {
			if got := beat.Header.Get(name); got != want {
				t.Errorf("header %s is %q, want %q", name, got, want)
			}
		}
		var p protocol.ProgressMessage
		must(t, json.Unmarshal(beat.Data, &p))
		if p.Rollout != rollout || p.Attempt != 2 {
			t.Errorf("progress %s", beat.Data)
		}
		return p
	}
	for range 3 {
		if p := next(); p.Done != nil {
			t.Errorf("progress before the script told any: %+v", p)
		}
	}
	step <- func(run *sdk.Run) { run.Progress(0, 10, "begun") }
	for p := next(); p.Done == nil; p = next() { // a bare one may be under way
		continue
	}
	step <- func(run *sdk.Run) { run.Progress(12, 10, "more than thought") }
	p := next()
	for ; *p.Done == 0; p = next() {
		continue
	}
	for range 3 {
		if *p.Done != 12 || p.Total != 10 || p.Note != "more than thought" {
			t.Errorf("progress %+v", p)
		}
		p = next()
	}
	close(step)
	if h := heard.mustBeDone(); h.Items != 12 {
		t.Errorf("answered %s", h.msg.Data)
	}
}

func TestProgressIsPublishedTenTimesASecondAtMost(t *testing.T) {
	s := newStage(t)
	const told = 100_000
	s.run(setup(func(_ context.Context, run *sdk.Run) error {
		for n := range int64(told) {
			run.Progress(n+1, told, "")
		}
		return nil
	}))
	m := start(protocol.Online, 1)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	began := time.Now()
	s.send(m)
	if h := heard.mustBeDone(); h.Items != told {
		t.Errorf("answered %s", h.msg.Data)
	}
	most := 3 + int(time.Since(began)/(100*time.Millisecond)) // the first, the last, and one under way
	if n := len(beats); n > most {
		t.Errorf("%d messages, at most %d are allowed", n, most)
	}
	var last protocol.ProgressMessage
	for len(beats) > 0 {
		must(t, json.Unmarshal((<-beats).Data, &last))
	}
	if last.Done == nil || *last.Done != told {
		t.Errorf("the last progress before the answer was %+v", last)
	}
}

func TestADeadlineEndsTheScript(t *testing.T) {
	s := newStage(t)
	var runs atomic.Int64
	s.run(setup(func(ctx context.Context, _ *sdk.Run) error {
		runs.Add(1)
		<-ctx.Done()
		return fmt.Errorf("index: %w", ctx.Err())
	}))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	m.Deadline = time.Now().Add(100 * time.Millisecond)
	s.send(m)
	if h := heard.mustBeFailed(protocol.CodeTimeout); h.Error.Message != "index: context deadline exceeded" {
		t.Errorf("answered %s", h.msg.Data)
	}
	m.Attempt, m.Deadline = 2, time.Now().Add(-time.Second)
	s.send(m)
	heard.mustBeFailed(protocol.CodeTimeout)
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want one: the second was late before it began", n)
	}
}

func TestWorkThatIsDoneInSpiteOfADeadlineIsDone(t *testing.T) {
	s := newStage(t)
	s.run(setup(func(ctx context.Context, _ *sdk.Run) error { <-ctx.Done(); return nil }))
	m := start(protocol.Online, 1)
	m.Deadline = time.Now().Add(50 * time.Millisecond)
	heard := s.accept(m)
	s.send(m)
	heard.mustBeDone()
}

// untilCancelled is a script that works until its context ends, and then as long again
// as the test wants.
func untilCancelled(begun chan<- int, wind <-chan struct{}) sdk.Script {
	return func(ctx context.Context, run *sdk.Run) error {
		begun <- run.Start.Attempt
		<-ctx.Done()
		<-wind
		return ctx.Err()
	}
}

func TestACancelEndsTheAttemptThatItNames(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	begun, wind := make(chan int, 10), make(chan struct{})
	s.run(setup(untilCancelled(begun, wind)))
	m := start(protocol.Online, 2)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	s.send(m)
	receive(t, begun, "the script")

	other := m
	other.Attempt = 1
	s.cancel(other, "")
	other.Attempt, other.Rollout = 2, newID()
	s.cancel(other, "")
	s.cancel(protocol.StartMessage{Service: m.Service, Version: m.Version, Phase: m.Phase}, "not JSON")
	close(wind) // a script that was cancelled would answer now
	for len(beats) > 0 {
		<-beats
	}
	for range 3 {
		receive(t, beats, "a sign of life")
	}
	heard.mustBeNone()

	s.cancel(m, "")
	if h := heard.mustBeFailed(protocol.CodeCancelled); h.Attempt != 2 || h.Error.Retry != nil {
		t.Errorf("answered %s", h.msg.Data)
	}

	m.Attempt = 3
	s.send(m)
	receive(t, begun, "the next attempt")
	s.cancel(protocol.StartMessage{Service: m.Service, Version: m.Version, Phase: m.Phase}, `{"rollout":"`+rollout+`","attempt":3}`)
	heard.mustBeFailed(protocol.CodeCancelled)
}

func TestAScriptThatIsBeingCancelledGivesSignsOfLife(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	begun, wind := make(chan int, 1), make(chan struct{})
	s.run(setup(untilCancelled(begun, wind)))
	m := start(protocol.Online, 1)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	s.send(m)
	receive(t, begun, "the script")
	s.cancel(m, "")
	for len(beats) > 0 {
		<-beats
	}
	for range 3 {
		receive(t, beats, "a sign of life")
	}
	close(wind)
	heard.mustBeFailed(protocol.CodeCancelled)
}

func TestACancelCanOvertakeItsStart(t *testing.T) {
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.cancel(m, "")
	it.awaitLine("told of an attempt that does not run here")
	s.send(m)
	if h := heard.mustBeFailed(protocol.CodeCancelled); h.Error.Message != "cancelled by the orchestrator" {
		t.Errorf("answered %s", h.msg.Data)
	}
	if n := runs.Load(); n != 0 {
		t.Errorf("a cancelled attempt was run %d times", n)
	}
}

// A script that is ended because its setup service is told to stop says so, for the next attempt
// to begin at once.
func TestAStopLeavesTheAttemptToTheOrchestrator(t *testing.T) {
	s := newStage(t)
	begun, wind := make(chan int, 1), make(chan struct{})
	it := s.run(setup(untilCancelled(begun, wind)))
	m := start(protocol.Online, 1)
	heard, beats := s.accept(m), s.listen(m.Script().Subject(protocol.Progress))
	s.send(m)
	receive(t, begun, "the script")
	close(wind)
	it.stop()
	heard.mustBeFailed(protocol.CodeLost)
	for len(beats) > 0 {
		<-beats
	}

	// The next instance does not run what the one before has begun.
	var runs atomic.Int64
	next := s.run(setup(counting(&runs, nil)))
	s.send(m)
	next.awaitLine("not run here")
	heard.mustBeNone()
	m.Attempt = 2
	s.send(m)
	heard.mustBeDone()
}

func TestStartsThatComeDuringAStopArePassedOn(t *testing.T) {
	const starts = 20
	s := newStage(t)
	var runs, runsOfOther atomic.Int64
	cable := s.Cable()
	stopping := s.runOn(s.ConnectTo(cable.URL()), setup(counting(&runs, nil)))
	s.run(setup(counting(&runsOfOther, nil)))
	heard := s.accept(start(protocol.Online, 1))
	cable.Hold() // the server does not hear of the stop yet
	stopping.end()
	for n := range starts {
		s.send(start(protocol.Online, n+1))
	}
	cable.Release()
	for range starts {
		heard.mustBeDone()
	}
	stopping.awaitLine("start passed on")
	if a, b := runs.Load(), runsOfOther.Load(); a != 0 || b != starts {
		t.Errorf("the one that was stopped ran %d, the other %d of %d", a, b, starts)
	}
}

func TestAStartThatCannotBeUnderstoodIsIgnored(t *testing.T) {
	s := newStage(t)
	var runs atomic.Int64
	it := s.run(setup(counting(&runs, nil)))
	good := start(protocol.Online, 1)
	heard := s.accept(good)
	wrong := func(change func(*protocol.StartMessage)) string {
		m := good
		change(&m)
		data, err := json.Marshal(m)
		must(t, err)
		return string(data)
	}
	for payload, why := range map[string]string{
		"hello":               "its payload is not that of a start: ",
		`["` + rollout + `"]`: "its payload is not that of a start: ",
		`{"rollout": 1}`:      "its payload is not that of a start: ",
		`{"rollout": "r"} {}`: "its payload is not that of a start: ",
		wrong(func(m *protocol.StartMessage) { m.Service = "todos" }):       `its payload is for another script than its name: todos 0.0.1 online, step "todo-search/online", revert false`,
		wrong(func(m *protocol.StartMessage) { m.Version = "0.0.2" }):       "its payload is for another script than its name: todo-search 0.0.2 online",
		wrong(func(m *protocol.StartMessage) { m.Phase = protocol.Before }): "its payload is for another script than its name: todo-search 0.0.1 before",
		wrong(func(m *protocol.StartMessage) { m.Phase = protocol.Setup }):  "its payload is for another script than its name: todo-app 0.0.2 setup",
		wrong(func(m *protocol.StartMessage) { m.Step = "todos/online" }):   `its payload is for another script than its name: todo-search 0.0.1 online, step "todos/online"`,
		wrong(func(m *protocol.StartMessage) { m.Revert = true }):           "its payload is for another script than its name",
		wrong(func(m *protocol.StartMessage) { m.Attempt = 0 }):             "its attempt is 0, attempts count from 1",
		wrong(func(m *protocol.StartMessage) { m.Rollout = "r.>" }):         `its rollout "r.>" is no id`,
		wrong(func(m *protocol.StartMessage) { m.Rollout = "two words" }):   `its rollout "two words" is no id`,
	} {
		s.sendAs(good, []byte(payload))
		l := it.awaitLine("start ignored")
		if !strings.Contains(l.fields, mustJSON(t, why)) || !strings.HasPrefix(l.fields, `{"message":"deployment-todo-search-0.0.1-online-start"`) {
			t.Errorf("%s: logged %s, want %s", payload, l.fields, why)
		}
	}
	s.send(good)
	heard.mustBeDone()
	heard.mustBeNone()
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want one", n)
	}
}

// mustJSON writes text as it stands inside a JSON string.
func mustJSON(t *testing.T, text string) string {
	t.Helper()
	data, err := json.Marshal(text)
	must(t, err)
	return strings.ReplaceAll(strings.Trim(string(data), `"`), `\u003e`, ">")
}

func TestAStartByHandIsRunEachTime(t *testing.T) {
	s := newStage(t)
	starts := make(chan protocol.StartMessage, 10)
	failure := make(chan error, 10)
	s.run(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: func(_ context.Context, run *sdk.Run) error {
		starts <- run.Start
		return <-failure
	}})
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	for _, payload := range []string{"", " \n", "{}", `{"attempt": 3, "service": "other", "deadline": "2100-01-01T00:00:00Z"}`, ""} {
		failure <- nil
		reply, err := s.nc.Request(m.Script().Subject(protocol.Start), []byte(payload), patience)
		must(t, err)
		got := receive(t, starts, "the script")
		if got.Rollout != "" || got.Script() != m.Script() || got.Step != m.Step || got.Revert {
			t.Errorf("%q: run with %+v", payload, got)
		}
		h := heard.mustBeDone()
		if h.Rollout != "" || h.Attempt != 0 || h.msg.Reply != "" || h.msg.Header.Get(protocol.HeaderRollout) != "" {
			t.Errorf("%q: answered %s, headers %v", payload, h.msg.Data, h.msg.Header)
		}
		if string(reply.Data) != string(h.msg.Data) {
			t.Errorf("%q: replied %s, want %s", payload, reply.Data, h.msg.Data)
		}
	}
	failure <- sdk.Permanent(fmt.Errorf("disk full"))
	must(t, s.nc.Publish(m.Script().Subject(protocol.Start), nil))
	heard.mustBeFailed(protocol.CodeFailed)
	receive(t, starts, "the script")
}

func TestAnAppIsStartedByHand(t *testing.T) {
	s := newStage(t)
	starts := make(chan protocol.StartMessage, 10)
	s.run(sdk.SetupService{App: "todo-app", Version: "0.0.2", RevertSetup: func(_ context.Context, run *sdk.Run) error {
		starts <- run.Start
		return nil
	}})
	must(t, s.nc.Publish("todo-app-0.0.2-setup-revert-start", nil))
	got := receive(t, starts, "the script")
	if got.App != "todo-app" || got.AppVersion != "0.0.2" || got.Service != "" || got.Phase != protocol.Setup || !got.Revert || got.Step != "todo-app/setup" {
		t.Errorf("run with %+v", got)
	}
}

func TestTheAnswerSurvivesALossOfTheBus(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	cable := s.Cable()
	begun, proceed := make(chan int, 1), make(chan struct{})
	s.runOn(s.ConnectTo(cable.URL()), setup(func(context.Context, *sdk.Run) error {
		begun <- 1
		<-proceed
		return nil
	}))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	s.send(m)
	receive(t, begun, "the script")
	cable.Hold()
	close(proceed)
	cable.Cut()
	cable.Release()
	heard.mustBeDone()
}

func TestAStuckBusDoesNotKeepRunFromEnding(t *testing.T) {
	t.Parallel()
	t.Run("with an answer to send", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		cable := s.Cable()
		begun, proceed := make(chan int, 1), make(chan struct{})
		it := s.runOn(s.ConnectTo(cable.URL()), setup(func(context.Context, *sdk.Run) error {
			begun <- 1
			<-proceed
			return nil
		}))
		s.send(start(protocol.Online, 1))
		receive(t, begun, "the script")
		cable.Hold()
		close(proceed)
		it.awaitLine("remember the answer: trying again until it works")
		it.stop()
	})
	t.Run("with an attempt to claim", func(t *testing.T) {
		t.Parallel()
		s := newStage(t)
		must(t, s.deleteClaims())
		cable := s.Cable()
		it := s.runOn(s.ConnectTo(cable.URL()), setup(nothing))
		s.send(start(protocol.Online, 1))
		it.awaitLine("claim the attempt: trying again until it works")
		cable.Hold()
		it.stop()
	})
}

func TestNothingIsLeftBehind(t *testing.T) {
	mustLeaveNothing(t)
	t.Run("running", func(t *testing.T) {
		s := newStage(t)
		begun, wind := make(chan int, 1), make(chan struct{})
		it := s.run(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Before: nothing, Online: untilCancelled(begun, wind)})
		heard := s.accept(start(protocol.Before, 1))
		s.send(start(protocol.Before, 1))
		heard.mustBeDone()
		s.send(start(protocol.Online, 1))
		receive(t, begun, "the script")
		close(wind)
		it.stop()
	})
	mustLeaveNothing(t)
}

func TestTheRepliesOfAStreamAreNoAcknowledgement(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	s := newStage(t)
	m := start(protocol.Online, 1)
	js, err := s.nc.JetStream()
	must(t, err)
	_, err = js.AddStream(&nats.StreamConfig{Name: "OBSERVER", Subjects: []string{m.Script().Subject(protocol.Done)}})
	must(t, err)
	it := s.run(setup(nothing))
	s.send(m)
	it.awaitLine("answer not acknowledged, sending it until it is")
	heard := s.accept(m)
	heard.mustBeDone()
	s.mustHaveEnded(heard)
}

// A rollout of an app whose manifest names no setup script tells all the same that it is
// setting up. That starts nothing.
func TestWhatOnlyTellsThatTheAppIsSettingUpStartsNothing(t *testing.T) {
	t.Parallel()
	s := newStage(t)
	var runs atomic.Int64
	s.run(setup(func(context.Context, *sdk.Run) error { runs.Add(1); return nil }))
	m := start(protocol.Online, 1)
	heard := s.accept(m)
	data, err := json.Marshal(m)
	must(t, err)
	told := nats.NewMsg(m.Script().Subject(protocol.Start))
	told.Data = data
	told.Header.Set(protocol.HeaderSequence, "7")
	must(t, s.nc.PublishMsg(told))
	s.send(m) // comes after it
	heard.mustBeDone()
	if n := runs.Load(); n != 1 {
		t.Errorf("%d runs, want one", n)
	}
}
