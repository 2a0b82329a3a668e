package spec_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk/spec"
)

const (
	startName  = "deployment-todo-search-0.0.1-offline-start"
	doneName   = "deployment-todo-search-0.0.1-offline-done"
	failedName = "deployment-todo-search-0.0.1-offline-failed"
)

func startMessage() protocol.StartMessage {
	return protocol.StartMessage{
		App: "todo-app", AppVersion: "0.0.2", Service: "todo-search", Version: "0.0.1", Phase: protocol.Offline,
		Services: map[string]string{"todo-search": "0.0.1", "todos": "0.0.1"},
	}
}

// bareService answers starts on a connection of its own, with nats.go alone.
func bareService(t *testing.T, b *relaytest.Bus, answer func(nc *nats.Conn, start *nats.Msg)) {
	t.Helper()
	nc := b.Connect().Conn()
	if _, err := nc.QueueSubscribe(startName, startName, func(m *nats.Msg) { answer(nc, m) }); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// named is a named message with the headers of a start copied.
func named(name string, start *nats.Msg, data string) *nats.Msg {
	m := nats.NewMsg(name)
	for _, h := range []string{protocol.HeaderRollout, protocol.HeaderAttempt} {
		m.Header.Set(h, start.Header.Get(h))
	}
	m.Data = []byte(data)
	return m
}

func TestStartSaysWhatTheProtocolSays(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	got := make(chan *nats.Msg, 1)
	bareService(t, b, func(nc *nats.Conn, m *nats.Msg) {
		got <- m
		must(t, nc.PublishMsg(named(doneName, m, `{"items": 3}`)))
	})
	answer, err := spec.Start(deadline(t), b.Connect(), startMessage())
	must(t, err)
	if !answer.Done || answer.Items != 3 || answer.Attempt != 1 {
		t.Errorf("got %+v", answer)
	}
	m := next(t, got)
	rollout := m.Header.Get(protocol.HeaderRollout)
	mustMatch(t, "rollout", rollout, `^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	mustMatch(t, "message id", m.Header.Get(protocol.HeaderMessageID), `^[0-9a-f-]{36}$`)
	mustMatch(t, "traceparent", m.Header.Get(protocol.HeaderTraceparent), `^00-[0-9a-f]{32}-[0-9a-f]{16}-01$`)
	mustMatch(t, "step", m.Header.Get(protocol.HeaderStep), `^todo-search/offline$`)
	mustMatch(t, "attempt", m.Header.Get(protocol.HeaderAttempt), `^1$`)
	mustMatch(t, "reply subject", m.Reply, `^golive\.answer\.`+rollout+`\.2\.1\.do$`)
	want := `{"rollout":"` + rollout + `","step":"todo-search/offline","attempt":1,"app":"todo-app","appVersion":"0.0.2",` +
		`"service":"todo-search","version":"0.0.1","phase":"offline","revert":false,"heartbeat":"5s","lease":"20s",` +
		`"services":{"todo-search":"0.0.1","todos":"0.0.1"}}`
	if string(m.Data) != want {
		t.Errorf("got  %s\nwant %s", m.Data, want)
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	publish := func(name, data string, withHeaders bool) func(*nats.Conn, *nats.Msg) error {
		return func(nc *nats.Conn, start *nats.Msg) error {
			m := named(name, start, data)
			if !withHeaders {
				m.Header = nil
			}
			return nc.PublishMsg(m)
		}
	}
	reply := func(data string) func(*nats.Conn, *nats.Msg) error {
		return func(_ *nats.Conn, start *nats.Msg) error { return start.Respond([]byte(data)) }
	}
	first := func(before, then func(*nats.Conn, *nats.Msg) error) func(*nats.Conn, *nats.Msg) error {
		return func(nc *nats.Conn, start *nats.Msg) error { return errors.Join(before(nc, start), then(nc, start)) }
	}
	inJSON := func(name, attempt string) func(*nats.Conn, *nats.Msg) error {
		return func(nc *nats.Conn, start *nats.Msg) error {
			return nc.Publish(name, fmt.Appendf(nil, `{"rollout": %q%s}`, start.Header.Get(protocol.HeaderRollout), attempt))
		}
	}
	for _, test := range []struct {
		name   string
		answer func(*nats.Conn, *nats.Msg) error
		want   string // of the error; empty: done
	}{
		{"done by name", publish(doneName, "", true), ""},
		{"done by name, ids in JSON", inJSON(doneName, `, "attempt": 1`), ""},
		{"done by name without the attempt", inJSON(doneName, ""), ""},
		{"failed by name", publish(failedName, `{"error": {"code": "full", "message": "no room"}}`, true), "todo-search 0.0.1 offline: full: no room"},
		{"failed by name, in plain text", publish(failedName, "no room\n", true), "failed: no room"},
		{"failed by name, without a word", publish(failedName, "", true), "it does not say why"},
		{"done by a JSON reply", reply(`{"done": true, "items": 7}`), ""},
		{"done by a text reply", reply("migrating\nall good\n" + doneName + "\n\n"), ""},
		{"failed by the name of something else", reply(startName), "reply: " + startName},
		{"failed by another last line", reply(doneName + "\nor not"), "or not"},
		{"failed by a JSON reply", reply(`{"done": false}`), `reply: {"done": false}`},
		{"failed by a JSON reply that says why", reply(`{"error": {"code": "full", "message": "no room"}}`), "offline: full: no room"},
		{"failed by an empty reply", reply(" \n"), "the reply is empty"},
		{"failed by an error header", func(_ *nats.Conn, start *nats.Msg) error {
			m := nats.NewMsg(start.Reply)
			m.Header.Set(protocol.HeaderError, "no room")
			return start.RespondMsg(m)
		}, "reply: no room"},
		{"after an acknowledgement of JetStream", first(reply(`{"stream": "S", "seq": 4}`), reply(doneName)), ""},
		{"after a refusal of JetStream", first(reply(`{"error": {"code": 400, "err_code": 10071}}`), reply(doneName)), ""},
		{"after a status of NATS", first(func(_ *nats.Conn, start *nats.Msg) error {
			m := nats.NewMsg(start.Reply)
			m.Header.Set("Status", "100")
			return start.RespondMsg(m)
		}, reply(doneName)), ""},
		{"without rollout", publish(doneName, `{"done": true}`, false),
			doneName + " was heard, and ignored: it names no rollout; copy the headers Golive-Rollout and Golive-Attempt from the start"},
		{"of another rollout", publish(doneName, `{"rollout": "0199c6d2"}`, false), "ignored: it is about another rollout, 0199c6d2"},
		{"of another attempt", inJSON(doneName, `, "attempt": 2`), "ignored: it is about attempt 2, and attempt 1 is under way"},
		{"none", func(*nats.Conn, *nats.Msg) error { return nil }, "todo-search 0.0.1 offline has not answered within"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			b := relaytest.Start(t)
			bareService(t, b, func(nc *nats.Conn, start *nats.Msg) { must(t, test.answer(nc, start)) })
			m := startMessage()
			if test.name == "none" || strings.Contains(test.want, "ignored") {
				m.Deadline = time.Now().Add(time.Second)
			}
			answer, err := spec.Start(deadline(t), b.Connect(), m)
			if test.want == "" {
				must(t, err)
				if !answer.Done {
					t.Errorf("got %+v", answer)
				}
				return
			}
			mustSay(t, err, test.want)
			if answer.Done {
				t.Errorf("got %+v", answer)
			}
		})
	}
}

func TestAnAnswerThatIsARequestIsAcknowledged(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	replies := make(chan string, 2)
	bareService(t, b, func(nc *nats.Conn, start *nats.Msg) {
		for _, rollout := range []string{"0199c6d2", start.Header.Get(protocol.HeaderRollout)} {
			m := nats.NewMsg(doneName)
			m.Header.Set(protocol.HeaderRollout, rollout)
			r, err := nc.RequestMsg(m, 5*time.Second)
			must(t, err)
			replies <- string(r.Data)
		}
	})
	_, err := spec.Start(deadline(t), b.Connect(), startMessage())
	must(t, err)
	for _, want := range []string{`{"accepted":false,"reason":"it is about another rollout, 0199c6d2"}`, `{"accepted":true}`} {
		if got := next(t, replies); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestAStartIsSentAgainWhileNobodyListens(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	r := b.Connect()
	got := make(chan *nats.Msg, 10)
	began := time.Now()
	var listening sync.WaitGroup
	late := b.Connect().Conn()
	listening.Go(func() {
		until(t, func() bool { return r.Conn().Stats().InMsgs > 0 }) // NATS has said that nobody got the first
		_, err := late.Subscribe(startName, func(start *nats.Msg) {
			got <- start
			must(t, start.Respond([]byte(doneName)))
		})
		must(t, err)
		must(t, late.Flush())
	})
	_, err := spec.Start(deadline(t), r, startMessage())
	must(t, err)
	listening.Wait()
	if took := time.Since(began); took < 1900*time.Millisecond {
		t.Errorf("sent again after %s, want 2 s", took)
	}
	mustMatch(t, "attempt", next(t, got).Header.Get(protocol.HeaderAttempt), `^1$`)
	if len(got) != 0 {
		t.Error("started once more")
	}
}

func TestNobodyListens(t *testing.T) {
	t.Parallel()
	r := relaytest.Start(t).Connect()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err := spec.Start(ctx, r, startMessage())
	mustSay(t, err, "nobody listens to "+startName+", sent 1 times in ", ": start the setup service")
	if !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("got %v, want ErrNobodyListens", err)
	}
}

func TestSignsOfLifeThatStop(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	b := relaytest.Start(t)
	bareService(t, b, func(nc *nats.Conn, start *nats.Msg) {
		must(t, nc.PublishMsg(named("deployment-todo-search-0.0.1-offline-progress", start, `{"done": 5, "total": 12}`)))
	})
	m := startMessage()
	m.Heartbeat = protocol.Duration(time.Second)
	_, err := spec.Start(deadline(t), b.Connect(), m)
	mustSay(t, err, "todo-search 0.0.1 offline has sent no sign of life for 4s, though it has done 5 of 12: "+
		"after its first progress message it must send one at least every 1s until it answers")
}

func TestADeadlineThatPasses(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	bareService(t, b, func(*nats.Conn, *nats.Msg) {})
	m := startMessage()
	m.Deadline = time.Now().Add(100 * time.Millisecond)
	_, err := spec.Start(deadline(t), b.Connect(), m)
	mustSay(t, err, "todo-search 0.0.1 offline has not answered within", "and sent no sign of life")
}

func TestStartsThatAreRefused(t *testing.T) {
	t.Parallel()
	r := relaytest.Start(t).Connect()
	for _, test := range []struct {
		change func(*protocol.StartMessage)
		want   string
	}{
		{func(m *protocol.StartMessage) { m.App = "" }, "app of the start: name"},
		{func(m *protocol.StartMessage) { m.Version = "1" }, "script of the start: version"},
		{func(m *protocol.StartMessage) { m.Phase = "after" }, "script of the start: phase"},
	} {
		m := startMessage()
		test.change(&m)
		_, err := spec.Start(t.Context(), r, m)
		mustSay(t, err, test.want)
	}
}

// A completion event has the name of the answer of an app's setup script.
func TestACompletionEventIsNoAnswer(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	nc := b.Connect().Conn()
	_, err := nc.Subscribe("todo-app-0.0.2-setting-up", func(start *nats.Msg) {
		event := named("todo-app-0.0.2-set-up", start, "")
		event.Header.Set(protocol.HeaderSequence, "12")
		must(t, nc.PublishMsg(event))
		must(t, nc.PublishMsg(named("todo-app-0.0.2-set-up", start, `{"note": "the answer"}`)))
	})
	must(t, err)
	must(t, nc.Flush())
	answer, err := spec.Start(deadline(t), b.Connect(), protocol.StartMessage{App: "todo-app", AppVersion: "0.0.2", Phase: protocol.Setup})
	must(t, err)
	if answer.Note != "the answer" {
		t.Errorf("got %+v", answer)
	}
}

func deadline(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// until blocks until something is so.
func until(t *testing.T, so func() bool) {
	t.Helper()
	tick, late := time.NewTicker(5*time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for !so() {
		select {
		case <-tick.C:
		case <-late:
			t.Error("waited for 10 s in vain")
			return
		}
	}
}

// next is what comes next on a channel.
func next[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(10 * time.Second):
		t.Fatal("waited for 10 s in vain")
		panic("not reached")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func mustMatch(t *testing.T, what, got, pattern string) {
	t.Helper()
	if !regexp.MustCompile(pattern).MatchString(got) {
		t.Errorf("%s is %q, want one like %s", what, got, pattern)
	}
}
