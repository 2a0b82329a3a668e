package orchestrator_test

import (
	"encoding/json"
	"strconv"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func outcome(m *nats.Msg) rollout.Outcome {
	var o rollout.Outcome
	_ = json.Unmarshal(m.Data, &o) // the zero Outcome is none that a test expects
	return o
}

// final reports whether a message says that the rollout is over for good.
func final(m *nats.Msg) bool { return fact(m) && outcome(m).Final }

func TestRetryIsANewAttempt(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	heard := e.observe(appFailed, appSetUp)
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	first := next(e, "the first start", starts)
	e.answer(offlineFailed, id, 1, `{"error": {"code": "full", "message": "disk is full"}}`)
	failure := heard.await(appFailed, fact)
	if got := outcome(failure); got.Final || got.Rollout != id || got.Step != "todo-search/offline" || got.Error == nil || got.Error.Message != "disk is full" {
		t.Errorf("setup-failed says %s", failure.Data)
	}
	story := e.awaitStatus(id, rollout.Failed)
	if got := failure.Header.Get(protocol.HeaderSequence); got != strconv.FormatUint(story.Sequence, 10) {
		t.Errorf("setup-failed has the sequence %s, want %d", got, story.Sequence)
	}

	e.retry(id)
	second := next(e, "the second start", starts)
	if got := second.Header.Get(protocol.HeaderAttempt); got != "2" {
		t.Errorf("the second start is of attempt %s, want 2", got)
	}
	if len(ids([]*nats.Msg{first, second})) != 2 {
		t.Error("both attempts have the same message id")
	}
	_, err := e.client.Retry(t.Context(), api.RetryRequest{Rollout: id})
	e.refused(err, api.CodeConflict, "only a failed one can be retried")
	e.answer(offlineDone, id, 2, "")
	e.awaitStatus(id, rollout.Completed)
	completed := heard.await(appSetUp, fact)
	if got := outcome(completed); got.Rollout != id || !got.Final {
		t.Errorf("set-up says %s", completed.Data)
	}
	_, err = e.client.Retry(t.Context(), api.RetryRequest{Rollout: id})
	e.refused(err, api.CodeConflict, "completed")
}

func TestEachFailureIsToldOnce(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	heard := e.observe(appFailed, appSetUp)
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	const failures = 3
	for attempt := 1; attempt <= failures; attempt++ {
		next(e, "the start", starts)
		e.answer(offlineFailed, id, attempt, "")
		e.awaitStatus(id, rollout.Failed)
		e.retry(id)
	}
	next(e, "the last start", starts)
	e.answer(offlineDone, id, failures+1, "")
	heard.await(appSetUp, fact)
	e.until("each failure is told", func() bool { return len(ids(heard.heard(appFailed))) >= failures }) // by the item of its event
	if got := ids(heard.heard(appFailed)); len(got) != failures {
		t.Errorf("setup-failed was heard with %d different ids, want %d", len(got), failures)
	}
	if got := ids(heard.heard(appSetUp)); len(got) != 1 {
		t.Errorf("set-up was heard with %d different ids, want 1", len(got))
	}
}
