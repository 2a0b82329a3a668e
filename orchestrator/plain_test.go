package orchestrator_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// A setup service that knows nothing but NATS and the protocol's page.
func TestSetupServiceWithoutOurSDK(t *testing.T) {
	t.Parallel()
	reply := func(data string) func(*nats.Conn, *nats.Msg) {
		return func(_ *nats.Conn, m *nats.Msg) { _ = m.Respond([]byte(data)) }
	}
	withHeader := func(name, value, data string) func(*nats.Conn, *nats.Msg) {
		return func(nc *nats.Conn, m *nats.Msg) {
			answer := nats.NewMsg(m.Reply)
			answer.Header.Set(name, value)
			answer.Data = []byte(data)
			_ = nc.PublishMsg(answer)
		}
	}
	// named publishes a message with the headers of the start, as a request or not.
	named := func(subject, inbox, payload string) func(*nats.Conn, *nats.Msg) {
		return func(nc *nats.Conn, m *nats.Msg) {
			answer := nats.NewMsg(subject)
			answer.Reply, answer.Data = inbox, []byte(payload)
			if payload == "" {
				answer.Header.Set(protocol.HeaderRollout, m.Header.Get(protocol.HeaderRollout))
				answer.Header.Set(protocol.HeaderAttempt, m.Header.Get(protocol.HeaderAttempt))
			}
			_ = nc.PublishMsg(answer)
		}
	}
	const done, failed = rollout.StepDone, rollout.StepFailed
	for name, c := range map[string]struct {
		answer func(*nats.Conn, *nats.Msg)
		status rollout.StepStatus
		words  string // of the error
		byUs   bool   // whether the orchestrator publishes the named message
	}{
		"named, best effort":     {named(offlineDone, "", ""), done, "", false},
		"named, as a request":    {named(offlineDone, "inbox.of.the.test", ""), done, "", false},
		"named, ids in JSON":     {func(nc *nats.Conn, m *nats.Msg) { named(offlineDone, "", string(m.Data))(nc, m) }, done, "", false},
		"named, failed":          {named(offlineFailed, "", ""), failed, "it gave no reason", false},
		"reply, JSON":            {reply(`{"done": true, "items": 12}`), done, "", true},
		"reply, like a stream's": {reply(`{"done": true, "stream": "orders", "seq": 3}`), done, "", true},
		"reply, text":            {reply("migrating\nall is well\n" + offlineDone + "\n\n"), done, "", true},
		"reply, name alone":      {reply(offlineDone), done, "", true},
		"reply, another text":    {reply("disk is full"), failed, "disk is full", true},
		"reply, name not last":   {reply(offlineDone + "\nbut then: crash"), failed, "but then: crash", true},
		"reply, not exactly":     {reply("not " + offlineDone), failed, "not deployment", true},
		"reply, empty":           {reply(""), failed, "an empty reply", true},
		"reply, JSON not done":   {reply(`{"items": 12}`), failed, `{"items": 12}`, true},
		"reply, JSON error":      {reply(`{"error": {"code": "full", "message": "no room"}}`), failed, "full: no room", true},
		"reply, service error":   {withHeader(protocol.HeaderError, "no such table", `{"done": true}`), failed, "no such table", true},
		"reply, only its code":   {withHeader(protocol.HeaderErrorCode, "500", offlineDone), failed, offlineDone, true},
		"reply, after a status":  {statusThen(`{"done": true}`), done, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			e.orchestrate()
			e.service("todo-search", "0.0.1")
			heard := e.observe(offlineDone, offlineFailed)
			e.bare(offlineStart, c.answer)
			id := e.deploy(search(protocol.Offline))
			name, end := offlineDone, rollout.Completed
			if c.status == failed {
				name, end = offlineFailed, rollout.Failed
			}
			story := e.awaitStatus(id, end)
			step, _ := story.Step("todo-search/offline")
			if step.Status != c.status {
				t.Fatalf("the step is %s, want %s", step.Status, c.status)
			}
			if c.words != "" && !strings.Contains(step.Error.Error(), c.words) {
				t.Errorf("the step's error is %q, want %q in it", step.Error, c.words)
			}
			m := heard.await(name, nil)
			if c.byUs && (m.Header.Get(protocol.HeaderRollout) != id || m.Header.Get(protocol.HeaderStep) != "todo-search/offline" ||
				m.Header.Get(protocol.HeaderAttempt) != "1" || m.Header.Get(protocol.HeaderMessageID) == "") {
				t.Errorf("the orchestrator's %s has the headers %v", name, m.Header)
			}
			if got := heard.subjects(); len(got) != 1 {
				t.Errorf("observers heard %v, want one message", got)
			}
		})
	}
}

// statusThen replies with a message of NATS's own kind, then with data.
func statusThen(data string) func(*nats.Conn, *nats.Msg) {
	return func(nc *nats.Conn, m *nats.Msg) {
		status := nats.NewMsg(m.Reply)
		status.Header.Set(protocol.HeaderStatus, "503")
		_ = nc.PublishMsg(status)
		_ = nc.Publish(m.Reply, []byte(data))
	}
}

func TestReplyIsKeptWhileNoOrchestratorRuns(t *testing.T) {
	e := newEnvironment(t)
	stop := e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	start := next(e, "the start", starts)
	var last string
	for i := range 50 { // so that the next orchestrator has something to read before it knows all
		last = e.deploy(recorded(fmt.Sprintf("app-%d", i)))
	}
	e.awaitStatus(last, rollout.Completed)
	stop()
	e.must(start.Respond([]byte(offlineDone)))
	e.must(e.nc.Flush())
	heard := e.observe(offlineDone)
	e.orchestrate()
	e.awaitStatus(id, rollout.Completed)
	heard.await(offlineDone, nil)
}

func TestReplyThatNobodyWaitsForChangesNothing(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	stray := []string{
		"golive.answer." + id + ".1.2.do",            // of an attempt that is not
		"golive.answer." + id + ".2.1.do",            // of a move of traffic
		"golive.answer." + id + ".9.1.do",            // of a step that is not
		"golive.answer." + newID(t) + ".1.1.do",      // of a rollout that is not
		"golive.answer." + id + ".1.1.revert",        // of the other direction
		"golive.answer." + id + ".one.1.do",          // not to be read
		"golive.answer." + id + ".1.1.do.and.more",   // not to be read
		"golive.answer." + id + ".1.999999999999.do", // of an attempt that is not
	}
	for _, subject := range stray {
		e.must(e.nc.Publish(subject, []byte("no")))
		e.must(e.nc.Publish(subject, []byte(`{"done": true}`)))
	}
	e.must(e.nc.Publish("golive.rollout.todo-app", []byte("no event")))
	e.must(e.nc.Publish("golive.due.todo-app."+id, nil)) // earlier than anything is due
	e.must(e.nc.Publish("golive.due.todo-app."+newID(t), nil))
	e.must(e.nc.Flush())
	if a := e.answer(offlineDone, id, 1, ""); !*a.Accepted {
		t.Errorf("the answer that is waited for is refused: %s", a.Reason)
	}
	e.running(id, "todo-search/traffic", 1)
	if n := len(e.show(id).Events); n != 2 {
		t.Errorf("the journal holds %d events, want 2", n)
	}
}
