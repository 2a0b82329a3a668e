package relay_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestNoRequestIsLost(t *testing.T) {
	const requests, callers = 10_000, 50
	bus := relaytest.Start(t)
	var handled atomic.Int64
	bus.Serve(relay.Service{Name: "counter", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"count": func(context.Context, *relay.Message) (any, error) { return handled.Add(1), nil },
	}})
	ctx := within(t, time.Minute)
	var seen sync.Map
	var calling sync.WaitGroup
	for range callers {
		r := bus.Connect()
		calling.Go(func() {
			for range requests / callers {
				var n int64
				if err := r.Request(ctx, "counter.count", nil, &n, relay.ToVersion("0.0.1")); err != nil {
					t.Error(err)
					return
				}
				if _, twice := seen.LoadOrStore(n, true); twice {
					t.Errorf("answer %d came twice", n)
				}
			}
		})
	}
	calling.Wait()
	if n := handled.Load(); n != requests {
		t.Errorf("%d requests were handled, want %d", n, requests)
	}
}

func TestPayloadsAndAnswers(t *testing.T) {
	type sum struct{ A, B int }
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "calc", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"add":     relay.JSON(func(_ context.Context, in sum) (int, error) { return in.A + in.B, nil }),
		"echo":    func(_ context.Context, m *relay.Message) (any, error) { return m.Data, nil },
		"raw":     func(context.Context, *relay.Message) (any, error) { return json.RawMessage(`{"a": 1}`), nil },
		"nothing": func(context.Context, *relay.Message) (any, error) { return nil, nil },
		"channel": func(context.Context, *relay.Message) (any, error) { return make(chan int), nil },
	}})
	r := bus.Connect()
	request := func(message string, payload, reply any) error {
		return r.Request(within(t, patience), "calc."+message, payload, reply, relay.ToVersion("0.0.1"))
	}

	var n int
	if err := request("add", sum{1, 2}, &n); err != nil || n != 3 {
		t.Errorf("1 + 2 = %d, error %v", n, err)
	}
	if err := request("add", nil, &n); err != nil || n != 0 {
		t.Errorf("nothing adds up to %d, error %v", n, err)
	}
	var data []byte
	if err := request("echo", []byte("not JSON"), &data); err != nil || string(data) != "not JSON" {
		t.Errorf("bytes came back as %q, error %v", data, err)
	}
	if err := request("echo", json.RawMessage(`[1]`), &data); err != nil || string(data) != "[1]" {
		t.Errorf("raw JSON came back as %q, error %v", data, err)
	}
	var raw json.RawMessage
	if err := request("raw", nil, &raw); err != nil || string(raw) != `{"a": 1}` {
		t.Errorf("raw JSON was answered as %q, error %v", raw, err)
	}
	if err := request("nothing", nil, nil); err != nil {
		t.Errorf("an answer that is dropped: %v", err)
	}
	if err := request("nothing", nil, &data); err != nil || len(data) != 0 {
		t.Errorf("nothing was answered as %q, error %v", data, err)
	}
	if err := request("echo", []byte("not JSON"), &n); err == nil || !strings.HasPrefix(err.Error(), "answer to calc.echo: read *int from JSON: ") {
		t.Errorf("an answer that is not JSON: %v", err)
	}
	if err := request("add", make(chan int), nil); err == nil || !strings.HasPrefix(err.Error(), "request calc.add: write chan int as JSON: ") {
		t.Errorf("a payload that cannot be JSON: %v", err)
	}
	if err := request("channel", nil, nil); err == nil || !strings.Contains(err.Error(), "write chan int as JSON") {
		t.Errorf("an answer that cannot be JSON: %v", err)
	}
}

func TestWhatIsNotJSONIsTheCallersMistake(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "calc", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"double": relay.JSON(func(_ context.Context, n int) (int, error) { return 2 * n, nil }),
	}})
	r := bus.Connect()
	for _, payload := range []string{`{`, `"two"`, `1 2`} {
		err := r.Request(within(t, patience), "calc.double", []byte(payload), nil, relay.ToVersion("0.0.1"))
		var answered *relay.Error
		if !errors.As(err, &answered) || answered.Code != "400" || !strings.HasPrefix(answered.Message, "double takes JSON: ") {
			t.Errorf("%s: %v", payload, err)
		}
	}
}

func TestErrorsReachTheCaller(t *testing.T) {
	remote := &relay.Error{Name: "todos.get", Code: "404", Message: "there is no todo 7"}
	tests := map[string]struct {
		given error
		want  relay.Error
	}{
		"plain":      {errors.New("disk full"), relay.Error{Code: "500", Message: "disk full"}},
		"code":       {&relay.Error{Code: "404", Message: "there is no todo 7"}, relay.Error{Code: "404", Message: "there is no todo 7"}},
		"no-code":    {&relay.Error{Message: "disk full"}, relay.Error{Code: "500", Message: "disk full"}},
		"no-message": {&relay.Error{Code: "404"}, relay.Error{Code: "404", Message: "it gave no reason"}},
		"nothing":    {&relay.Error{}, relay.Error{Code: "500", Message: "it gave no reason"}},
		"wrapped":    {fmt.Errorf("read todo: %w", &relay.Error{Code: "404", Message: "there is no todo 7"}), relay.Error{Code: "404", Message: "read todo: there is no todo 7"}},
		"passed-on":  {remote, relay.Error{Code: "404", Message: "todos.get answered 404: there is no todo 7"}},
		"later":      {&relay.Error{Code: relay.CodeUnavailable, Message: "under maintenance", RetryAfter: 1500 * time.Millisecond}, relay.Error{Code: "503", Message: "under maintenance", RetryAfter: 2 * time.Second}},
		"lines":      {errors.New("one\r\ntwo\nthree\n"), relay.Error{Code: "500", Message: "one  two three"}},
		"foreign":    {errors.New("größer als 1 GB"), relay.Error{Code: "500", Message: "größer als 1 GB"}},
	}
	handlers := make(map[string]relay.Handler)
	for message, tt := range tests {
		handlers[message] = func(context.Context, *relay.Message) (any, error) { return "an answer", tt.given }
	}
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: handlers})
	r := bus.Connect()
	for message, tt := range tests {
		tt.want.Name = "todos." + message
		var reply string
		err := r.Request(within(t, patience), tt.want.Name, nil, &reply, relay.ToVersion("0.0.1"))
		var got *relay.Error
		if !errors.As(err, &got) || *got != tt.want || reply != "" {
			t.Errorf("%s: error %#v, want %#v, reply %q", message, err, tt.want, reply)
		}
		if want := tt.want.Name + " answered " + tt.want.Code + ": " + tt.want.Message; err.Error() != want {
			t.Errorf("%s: %q, want %q", message, err, want)
		}
	}
}

func TestAPanicIsAnsweredAndTheServiceLivesOn(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"panic": func(context.Context, *relay.Message) (any, error) { panic("index out of range") },
		"say":   func(context.Context, *relay.Message) (any, error) { return "alive", nil },
	}})
	r := bus.Connect()
	for range 3 {
		_, err := ask(t, r, "todos.panic", relay.ToVersion("0.0.1"))
		var answered *relay.Error
		if !errors.As(err, &answered) || answered.Code != relay.CodeFailed || answered.Message != "panic: index out of range" {
			t.Errorf("a panic was answered %v", err)
		}
	}
	if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "alive" || err != nil {
		t.Errorf("after the panic: %q, %v", answer, err)
	}
}

func TestARequestThatNobodyListensToFailsAtOnce(t *testing.T) {
	r := relaytest.Start(t).Connect()
	for _, opts := range [][]relay.RequestOption{nil, {relay.ToVersion("0.0.1")}} {
		began := time.Now()
		err := r.Request(t.Context(), "todos.list", nil, nil, opts...)
		if !errors.Is(err, relay.ErrNobodyListens) || err.Error() != "request todos.list: nobody listens" {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took > soon {
			t.Errorf("it took %s", took)
		}
	}
}

func TestARequestEndsWithItsContextOrTheConfiguredTime(t *testing.T) {
	bus := relaytest.Start(t)
	stuck, release := context.WithCancel(context.Background())
	t.Cleanup(release) // before the service is stopped
	stop := bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"wait": func(context.Context, *relay.Message) (any, error) { <-stuck.Done(); return nil, nil },
	}})
	t.Cleanup(func() { release(); stop() })

	r, err := relay.Connect(t.Context(), relay.Config{URL: bus.URL(), RequestTimeout: 50 * time.Millisecond})
	must(t, err)
	defer r.Close()
	err = r.Request(context.Background(), "todos.wait", nil, nil, relay.ToVersion("0.0.1"))
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("after the configured time: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Request(ctx, "todos.wait", nil, nil, relay.ToVersion("0.0.1")); !errors.Is(err, context.Canceled) {
		t.Errorf("when its context has ended: %v", err)
	}
}

func TestAMessageOverTheLimitIsRefused(t *testing.T) {
	const limit = 1 << 20
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"fill": relay.JSON(func(_ context.Context, size int) (any, error) { return bytes.Repeat([]byte("a"), size), nil }),
		"fail": relay.JSON(func(_ context.Context, size int) (any, error) { return nil, errors.New(strings.Repeat("a", size)) }),
	}})
	r := bus.Connect()
	names := fmt.Sprintf("the server takes at most %d bytes", limit)

	err := r.Request(t.Context(), "todos.fill", make([]byte, limit+1), nil)
	if !errors.Is(err, nats.ErrMaxPayload) || !strings.Contains(err.Error(), names) {
		t.Errorf("a request over the limit: %v", err)
	}
	if err := r.Send("todos.fill", make([]byte, limit+1)); !errors.Is(err, nats.ErrMaxPayload) || !strings.Contains(err.Error(), names) {
		t.Errorf("a message over the limit: %v", err)
	}
	var data []byte
	if err := r.Request(within(t, patience), "todos.fill", limit, &data, relay.ToVersion("0.0.1")); err != nil || len(data) != limit {
		t.Errorf("an answer just at the limit: %d bytes, error %v", len(data), err)
	}
	for _, message := range []string{"todos.fill", "todos.fail"} {
		err = r.Request(within(t, patience), message, limit+1, nil, relay.ToVersion("0.0.1"))
		var answered *relay.Error
		if !errors.As(err, &answered) || answered.Code != relay.CodeFailed || !strings.Contains(answered.Message, names) {
			t.Errorf("an answer of %s over the limit: %.200v", message, err)
		}
	}
}

func TestMessagesCanBeAddressedToAVersion(t *testing.T) {
	bus := relaytest.Start(t)
	const rc = "1.0.0-rc.1+build.5"
	for _, version := range []string{"0.0.1", "0.0.2", rc} {
		bus.Serve(says("todos", version, "I am "+version))
	}
	r := bus.Connect()
	for _, version := range []string{"0.0.1", "0.0.2", rc} {
		if answer, err := ask(t, r, "todos.say", relay.ToVersion(version)); answer != "I am "+version || err != nil {
			t.Errorf("%s answered %q, %v", version, answer, err)
		}
	}
	for version, why := range map[string]string{
		"0.0.3":  "request todos.say: nobody listens",
		"v0.0.1": `request todos.say: version "v0.0.1" must not start with a v: write 1.0.0, not v1.0.0`,
	} {
		if _, err := ask(t, r, "todos.say", relay.ToVersion(version)); err == nil || err.Error() != why {
			t.Errorf("%s: error %v, want %s", version, err, why)
		}
	}
	if _, err := ask(t, r, "todos", relay.ToVersion("0.0.1")); err == nil || !strings.Contains(err.Error(), "must be written <service>.<message>") {
		t.Errorf("no message: %v", err)
	}
	if _, err := ask(t, r, "todos.say", relay.ToVersion("")); !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("no version is production, where none is online: %v", err)
	}
}

func TestSendDoesNotWait(t *testing.T) {
	bus := relaytest.Start(t)
	got := make(chan string, 2)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"add": relay.JSON(func(_ context.Context, title string) (any, error) { got <- title; return title, nil }),
	}})
	r := bus.Connect()
	must(t, r.Send("todos.add", "milk", relay.ToVersion("0.0.1")))
	if title := receive(t, got, "the message"); title != "milk" {
		t.Errorf("got %q", title)
	}
	must(t, r.Send("nobody.listens", nil))
	if err := r.Send("two words", nil); err == nil || err.Error() != "send two words: nats: invalid subject" {
		t.Errorf("a name that NATS does not take: %v", err)
	}
	if err := r.Send("todos.add", make(chan int)); err == nil {
		t.Error("a payload that cannot be JSON was sent")
	}
	if err := r.Send("todos.add", nil, relay.ToVersion("1")); err == nil {
		t.Error("a message to a version that is none was sent")
	}
}

func TestHandlersSeeHeaders(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"say": func(_ context.Context, m *relay.Message) (any, error) {
			return []byte(m.Name + " " + m.Header.Get(protocol.HeaderTraceparent)), nil
		},
	}})
	m := nats.NewMsg(protocol.PrivateSubject("todos", "0.0.1", "say"))
	m.Header.Set(protocol.HeaderTraceparent, "00-1-2-01")
	answer, err := bus.Connect().Conn().RequestMsg(m, patience)
	if err != nil || string(answer.Data) != "say 00-1-2-01" {
		t.Errorf("answer %v, error %v", answer, err)
	}
}

// Services in other languages answer errors with NATS's own headers, and may leave one
// of them out.
func TestErrorsOfOthersAreUnderstood(t *testing.T) {
	bus := relaytest.Start(t)
	r, other := bus.Connect(), bus.Connect().Conn()
	for want, header := range map[string]nats.Header{
		"todos.say answered 404: no such todo":      {protocol.HeaderErrorCode: {"404"}, protocol.HeaderError: {"no such todo"}},
		"todos.say answered 500: no such todo":      {protocol.HeaderError: {"no such todo"}},
		"todos.say answered 404: it gave no reason": {protocol.HeaderErrorCode: {"404"}},
	} {
		sub, err := other.Subscribe("todos.say", func(m *nats.Msg) {
			if err := m.RespondMsg(&nats.Msg{Header: header}); err != nil {
				t.Error(err)
			}
		})
		must(t, err)
		must(t, other.Flush())
		if _, err := ask(t, r, "todos.say"); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
		must(t, sub.Unsubscribe())
		must(t, other.Flush())
	}
}

// A service may publish what whoever asks may not: it answers where nobody but the asker reads.
func TestARequestIsNotAnsweredWhereGoliveReads(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	b.Serve(says("todos", "0.0.1", "here"))
	nc := b.Connect().Conn()
	private := protocol.PrivateSubject("todos", "0.0.1", "say")
	for _, reply := range []string{"golive.rollout.todo-app.1", "$KV.golive-routes.todos", "deployment-todos-0.0.1-offline-done"} {
		forged, err := nc.SubscribeSync(reply)
		must(t, err)
		must(t, nc.PublishRequest(private, reply, nil))
		if got, err := ask(t, b.Connect(), "todos.say", relay.ToVersion("0.0.1")); got != "here" || err != nil { // it was asked later
			t.Errorf("at an inbox it is answered by %q, %v", got, err)
		}
		must(t, nc.Flush())
		if n, _, err := forged.Pending(); n > 0 || err != nil {
			t.Errorf("%d answers came to %s, %v", n, reply, err)
		}
	}
}
