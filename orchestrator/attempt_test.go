package orchestrator_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Attempts that make no sense, as a script with a mistake in it writes them.
var (
	noAttempts      = []string{"", "0", "-1", "abc", "1.0", "01", "+1", "9223372036854775808"}
	noAttemptFields = []string{"0", "-1", `"abc"`, `"1"`, "1.0", "9223372036854775808", "{}", "true"}
)

// ask sends an answer as a request, and gives what the orchestrator says about it.
func (e *environment) ask(m *nats.Msg) protocol.Accepted {
	e.t.Helper()
	var accepted protocol.Accepted
	reply, err := e.nc.RequestMsg(m, patience)
	e.must(err)
	e.must(json.Unmarshal(reply.Data, &accepted))
	if accepted.Accepted == nil {
		e.t.Fatalf("the answer to %s is %s, no orchestrator's", m.Subject, reply.Data)
	}
	return accepted
}

// An answer that names an attempt which cannot be is refused, and is not taken for one about the
// first attempt.
func TestAnAttemptThatMakesNoSenseIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	about := func(subject string) *nats.Msg {
		m := nats.NewMsg(subject)
		m.Header.Set(protocol.HeaderRollout, id)
		return m
	}
	refused := func(m *nats.Msg, what string) {
		t.Helper()
		if a := e.ask(m); *a.Accepted || !strings.Contains(a.Reason, "is no number from 1") {
			t.Errorf("%s with %s: %+v, want it refused for that", m.Subject, what, a)
		}
	}
	for _, subject := range []string{offlineDone, offlineFailed} {
		for _, attempt := range noAttempts {
			m := about(subject)
			m.Header.Set(protocol.HeaderAttempt, attempt)
			refused(m, "the header "+attempt)
			m.Data = []byte(`{"attempt": 1}`)
			refused(m, "the header "+attempt+" beside a field")
		}
		for _, attempt := range noAttemptFields {
			m := about(subject)
			m.Data = []byte(`{"attempt": ` + attempt + `}`)
			refused(m, "the field "+attempt)
		}
		m := about(subject)
		m.Header.Set(protocol.HeaderAttempt, "1")
		m.Header.Set(protocol.HeaderSequence, "abc")
		refused(m, "a sequence")
	}
	for _, attempt := range noAttempts {
		m := about("deployment-todo-search-0.0.1-offline-progress")
		m.Header.Set(protocol.HeaderAttempt, attempt)
		e.must(e.nc.PublishMsg(m))
	}
	for _, attempt := range noAttemptFields {
		m := about("deployment-todo-search-0.0.1-offline-progress")
		m.Data = []byte(`{"done": 3, "attempt": ` + attempt + `}`)
		e.must(e.nc.PublishMsg(m))
	}
	e.until("all signs of life have been heard", func() bool {
		told := e.logs.FilterMessage("sign of life counts for nothing")
		n := told.Len()
		for _, line := range told.All() {
			if more, ok := line.ContextMap()["more like it"].(int64); ok {
				n += int(more)
			}
		}
		return n == len(noAttempts)+len(noAttemptFields)
	})
	if seen := e.show(id).Observations["todo-search/offline"]; !seen.Beat.IsZero() || seen.Done != 0 {
		t.Errorf("a sign of life about no attempt counts: %+v", seen)
	}
	if step, _ := e.show(id).Step("todo-search/offline"); step.Status != rollout.StepRunning {
		t.Fatalf("the step is %s", step.Status)
	}
	if a := e.ask(about(offlineDone)); !*a.Accepted { // without an attempt: the first
		t.Errorf("an answer without an attempt is refused: %s", a.Reason)
	}
}

// A plain reply is about the attempt of its subject. One that names an attempt which cannot be
// says failed, whatever else it says: nobody can tell what it was written for.
func TestAReplyWithAnAttemptThatMakesNoSenseSaysFailed(t *testing.T) {
	t.Parallel()
	for _, reply := range []struct{ header, payload string }{
		{"abc", `{"done": true}`}, {"0", `{"done": true}`}, {"1.0", offlineDone}, {"", `{"done": true, "attempt": 0}`},
	} {
		e := newEnvironment(t)
		e.orchestrate()
		e.bare(offlineStart, func(nc *nats.Conn, m *nats.Msg) {
			answer := nats.NewMsg(m.Reply)
			if reply.header != "" {
				answer.Header.Set(protocol.HeaderAttempt, reply.header)
			}
			answer.Data = []byte(reply.payload)
			_ = nc.PublishMsg(answer)
		})
		story := e.awaitStatus(e.deploy(search(protocol.Offline)), rollout.Failed)
		step, _ := story.Step("todo-search/offline")
		if step.Error == nil || step.Error.Code != protocol.CodeReply || !strings.Contains(step.Error.Message, "is no number from 1") {
			t.Errorf("the reply %+v: the step's error is %v", reply, step.Error)
		}
	}
}
