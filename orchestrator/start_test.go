package orchestrator_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// waiting blocks until a step is shown as waiting for a listener.
func (e *environment) waiting(id, step, subject string) {
	e.t.Helper()
	e.await(id, "waiting", func(s api.RolloutStory) bool {
		return s.Observations[step].Waiting == "nobody listens to "+subject
	})
}

func TestStartThatNobodyListensToIsSentAgain(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	notices := e.observe(protocol.AllNotices)
	id := e.deploy(search(protocol.Offline))
	e.waiting(id, "todo-search/offline", offlineStart)
	e.until("it was tried a few times", func() bool {
		return len(notices.heard(protocol.NoticeSubject("todo-app", id))) >= 3
	})

	start := next(e, "the start", e.starts(offlineStart))
	var m protocol.StartMessage
	e.must(json.Unmarshal(start.Data, &m))
	if m.Rollout != id || m.Attempt != 1 || m.Heartbeat != protocol.Duration(time.Second) || m.Script() != (protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: protocol.Offline}) {
		t.Errorf("the start is %s", start.Data)
	}
	for name, want := range map[string]string{
		protocol.HeaderRollout: id, protocol.HeaderStep: "todo-search/offline", protocol.HeaderAttempt: "1",
	} {
		if got := start.Header.Get(name); got != want {
			t.Errorf("header %s of the start is %q, want %q", name, got, want)
		}
	}
	if start.Header.Get(protocol.HeaderMessageID) == "" || start.Header.Get(protocol.HeaderTraceparent) == "" {
		t.Errorf("the start has no message id or no traceparent: %v", start.Header)
	}
	if want := "golive.answer." + id + ".1.1.do"; start.Reply != want {
		t.Errorf("the start's reply subject is %s, want %s", start.Reply, want)
	}
	e.await(id, "no longer waiting", func(s api.RolloutStory) bool {
		seen := s.Observations["todo-search/offline"]
		return seen.Sent && seen.Waiting == ""
	})
	e.answer(offlineDone, id, 1, "")
	story := e.awaitStatus(id, rollout.Completed)
	if step, _ := story.Step("todo-search/offline"); step.Attempt != 1 {
		t.Errorf("it was done at attempt %d, want 1", step.Attempt)
	}
}

// A start that was sent again, because its sender died, is the same message.
func TestStartSentByTwoOrchestratorsIsOneMessage(t *testing.T) {
	e := newEnvironment(t)
	stop := e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	first := next(e, "the start", starts)
	stop()
	// Whoever acknowledged the work may not have got through with that: it comes again.
	js, err := jetstream.New(e.nc)
	e.must(err)
	e.must(js.DeleteConsumer(t.Context(), protocol.Stream, "golive-orchestrators"))
	e.orchestrate()
	second := next(e, "the start sent again", starts)
	if a, b := ids([]*nats.Msg{first}), ids([]*nats.Msg{first, second}); len(a) != len(b) {
		t.Errorf("the start was sent with the ids %v", b)
	}
	if string(first.Data) != string(second.Data) || first.Reply != second.Reply {
		t.Errorf("the start was\n%s\nand then\n%s", first.Data, second.Data)
	}
	e.answer(offlineDone, id, 1, "")
	e.running(id, "todo-search/traffic", 1)
}

func TestStreamThatStoresTheStartIsNoAnswer(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	replies := e.observe(protocol.AllAnswers)
	starts := e.starts(offlineStart)
	js, err := jetstream.New(e.nc)
	e.must(err)
	stream, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVERYTHING", Subjects: []string{offlineStart, offlineDone}})
	e.must(err)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	ack := replies.await("golive.answer."+id+".1.1.do", nil)
	if !strings.Contains(string(ack.Data), "EVERYTHING") {
		t.Fatalf("the reply is %s, want the stream's acknowledgement", ack.Data)
	}
	// As the SDK does: the stream acknowledges the answer, too, which counts for nothing.
	inbox := e.nc.NewInbox()
	taken, err := e.nc.SubscribeSync(inbox)
	e.must(err)
	e.must(e.nc.PublishRequest(offlineDone, inbox, []byte(`{"rollout": "`+id+`", "attempt": 1}`)))
	var accepted protocol.Accepted
	for accepted.Accepted == nil {
		m, err := taken.NextMsg(patience)
		e.must(err)
		e.must(json.Unmarshal(m.Data, &accepted))
	}
	story := e.awaitStatus(id, rollout.Completed)
	if n := len(story.Events); n != 3 {
		t.Errorf("the journal holds %d events, want 3", n)
	}
	info, err := stream.Info(t.Context())
	e.must(err)
	if info.State.Msgs < 2 {
		t.Errorf("the stream holds %d messages, want the start and the answer", info.State.Msgs)
	}
}

// Who watches all messages, and a stream that stores them, cannot run a script.
func TestWatchersAreNoSetupServices(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	watcher := e.observe(">")
	js, err := jetstream.New(e.nc)
	e.must(err)
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVERYTHING", Subjects: []string{offlineStart}})
	e.must(err)
	id := e.deploy(search(protocol.Offline))
	e.waiting(id, "todo-search/offline", offlineStart)
	e.until("the watcher has seen the start a few times", func() bool { return len(watcher.heard(offlineStart)) >= 3 })
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: nothing})
	e.awaitStatus(id, rollout.Completed)
	for _, m := range watcher.heard(offlineStart) {
		if len(ids([]*nats.Msg{m, watcher.heard(offlineStart)[0]})) != 1 || m.Header.Get(protocol.HeaderAttempt) != "1" {
			t.Errorf("a repeated start has the headers %v", m.Header)
		}
	}
}

func TestSetupServiceMayComeFirstOrLast(t *testing.T) {
	for name, last := range map[string]bool{"before the orchestrator": false, "after the start": true} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			s := sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: nothing, Online: nothing}
			if !last {
				e.setup(s)
			}
			e.orchestrate()
			e.service("todo-search", "0.0.1")
			id := e.deploy(search(protocol.Offline, protocol.Online))
			if last {
				e.waiting(id, "todo-search/offline", offlineStart)
				e.setup(s)
			}
			e.awaitStatus(id, rollout.Completed)
		})
	}
}

func TestWaitingForInstancesIsShown(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(search())
	e.await(id, "waiting for an instance", func(s api.RolloutStory) bool {
		return strings.HasPrefix(s.Observations["todo-search/traffic"].Waiting, "0 of 1 instances of todo-search 0.0.1")
	})
	e.service("todo-search", "0.0.1")
	e.awaitStatus(id, rollout.Completed)
}
