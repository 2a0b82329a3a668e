package relay_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// streams is a service whose message "list" is answered by a stream.
func streams(version string, h relay.StreamHandler) relay.Service {
	return relay.Service{Name: "todos", Version: version, Streams: map[string]relay.StreamHandler{"list": h}}
}

// numbers sends 1 to n, each with itself as cursor, from where it is taken up again.
func numbers(n int) relay.StreamHandler {
	return relay.JSONStream(func(_ context.Context, _ any, after string, out *relay.Sender) error {
		begin := 0
		if after != "" {
			var err error
			if begin, err = strconv.Atoi(after); err != nil {
				return &relay.Error{Code: "400", Message: "no cursor: " + after}
			}
		}
		out.Total(int64(n))
		for i := begin + 1; i <= n; i++ {
			if err := out.Send(i, strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// upTo is 1 to n, or from m.
func upTo(m, n int) []int {
	var all []int
	for i := m; i <= n; i++ {
		all = append(all, i)
	}
	return all
}

// collect reads a stream of numbers to its end.
func collect(t *testing.T, r *relay.Relay, opts ...relay.StreamOption) (got []int, last string, err error) {
	t.Helper()
	for record, failure := range r.Stream(within(t, patience), "todos.list", nil, opts...) {
		if failure != nil {
			return got, last, failure
		}
		var n int
		must(t, record.Decode(&n))
		got, last = append(got, n), record.Cursor
	}
	return got, last, nil
}

func TestARequestIsAnsweredByManyRecords(t *testing.T) {
	bus := relaytest.Start(t)
	for _, n := range []int{0, 1, 2, 100_000} {
		stop := bus.Serve(streams("0.0.1", numbers(n)))
		r := bus.Connect()
		var total atomic.Int64
		total.Store(-1)
		got, last, err := collect(t, r, relay.ToVersion("0.0.1"), relay.TotalTo(&total))
		if err != nil || !slices.Equal(got, upTo(1, n)) || total.Load() != int64(n) || n > 0 && last != strconv.Itoa(n) {
			t.Errorf("%d of %d records, last cursor %q, total %d, error %v", len(got), n, last, total.Load(), err)
		}
		stop()
	}
}

func TestAStreamIsTakenUpAgainWhereItWas(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(streams("0.0.1", numbers(1000)))
	r := bus.Connect()
	var cursor string
	for record, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if cursor = record.Cursor; cursor == "400" {
			break
		}
	}
	var total atomic.Int64
	got, _, err := collect(t, r, relay.ToVersion("0.0.1"), relay.After(cursor), relay.TotalTo(&total))
	if err != nil || !slices.Equal(got, upTo(401, 1000)) || total.Load() != 1000 {
		t.Errorf("%d records, total %d, error %v", len(got), total.Load(), err)
	}
}

func TestAnErrorInTheMiddleArrivesBehindWhatWasSent(t *testing.T) {
	bus := relaytest.Start(t)
	for name, tt := range map[string]struct {
		end  func() error
		want string
	}{
		"an error":        {func() error { return errors.New("the disk\nis full") }, "todos.list answered 500: the disk is full"},
		"one with a code": {func() error { return fmt.Errorf("list: %w", &relay.Error{Code: "418", Message: "tea"}) }, "todos.list answered 418: list: tea"},
		"one that is 503": {func() error { return &relay.Error{Code: "503", Message: "not now"} }, "todos.list answered 503: not now"},
		"a panic":         {func() error { panic("out of ideas") }, "todos.list answered 500: panic: out of ideas"},
	} {
		t.Run(name, func(t *testing.T) {
			stop := bus.Serve(streams("0.0.1", func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
				return errors.Join(numbers(3)(ctx, m, out), tt.end())
			}))
			defer stop()
			got, _, err := collect(t, bus.Connect(), relay.ToVersion("0.0.1"))
			var answered *relay.Error
			if !slices.Equal(got, upTo(1, 3)) || !errors.As(err, &answered) || err.Error() != tt.want || errors.Is(err, relay.ErrStreamLost) {
				t.Errorf("%v, error %v", got, err)
			}
		})
	}
}

// handled is a stream handler that runs h and tells how it has ended.
func handled(h relay.StreamHandler) (relay.StreamHandler, <-chan error) {
	ended := make(chan error, 100)
	return func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
		err := h(ctx, m, out)
		ended <- err
		return err
	}, ended
}

// untilCut sends one record, and then nothing until its context ends.
func untilCut(ctx context.Context, _ *relay.Message, out *relay.Sender) error {
	if err := out.Send(1, "1"); err != nil {
		return err
	}
	<-ctx.Done()
	return context.Cause(ctx)
}

// forEver sends as much as the receiver takes.
func forEver(_ context.Context, _ *relay.Message, out *relay.Sender) error {
	for i := 1; ; i++ {
		if err := out.Send(i, strconv.Itoa(i)); err != nil {
			return err
		}
	}
}

func TestWhoWantsNoMoreEndsTheHandler(t *testing.T) {
	bus := relaytest.Start(t)
	for name, h := range map[string]relay.StreamHandler{"that is quiet": untilCut, "that waits for room": forEver} {
		t.Run(name, func(t *testing.T) {
			h, ended := handled(h)
			stop := bus.Serve(streams("0.0.1", h))
			defer stop()
			r := bus.Connect()
			for _, err := range r.Stream(t.Context(), "todos.list", nil, relay.ToVersion("0.0.1")) {
				must(t, err)
				break
			}
			if err := receive(t, ended, "the end of the handler"); err == nil || err.Error() != "the receiver wants no more of the stream" {
				t.Errorf("after break: %v", err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			var last error
			for _, err := range r.Stream(ctx, "todos.list", nil, relay.ToVersion("0.0.1")) {
				cancel()
				last = err
			}
			if !errors.Is(last, context.Canceled) {
				t.Errorf("the receiver's error: %v", last)
			}
			if err := receive(t, ended, "the end of the handler"); err == nil || err.Error() != "the receiver wants no more of the stream" {
				t.Errorf("after the end of the context: %v", err)
			}
		})
	}
}

func TestTheSenderHearsOfTheEndOfTheContextWhileARecordIsLookedAt(t *testing.T) {
	bus := relaytest.Start(t)
	h, ended := handled(forEver)
	bus.Serve(streams("0.0.1", h))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var last error
	for _, err := range bus.Connect().Stream(ctx, "todos.list", nil, relay.ToVersion("0.0.1")) {
		if last = err; err == nil {
			cancel()
			receive(t, ended, "the end of the handler")
		}
	}
	if !errors.Is(last, context.Canceled) {
		t.Errorf("the receiver's error: %v", last)
	}
}

func TestASlowReceiverLosesNothingAndHoldsUpNobodysMemory(t *testing.T) {
	const n = 200_000
	bus := relaytest.Start(t)
	var sent atomic.Int64
	payload := make([]byte, 100)
	bus.Serve(streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		for i := range n {
			if err := out.Send(payload, strconv.Itoa(i)); err != nil {
				return err
			}
			sent.Add(1)
		}
		return nil
	}))
	got, most := 0, int64(0)
	slow := time.NewTicker(100 * time.Microsecond)
	defer slow.Stop()
	for record, err := range bus.Connect().Stream(t.Context(), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if record.Cursor != strconv.Itoa(got) || len(record.Data) != len(payload) {
			t.Fatalf("record %d has cursor %s and %d bytes", got, record.Cursor, len(record.Data))
		}
		if got++; got%500 == 0 {
			<-slow.C
		}
		most = max(most, sent.Load()-int64(got))
	}
	// What is under way, and the batches at either end that are not: none of them larger
	// than the window is.
	limit := int64(protocol.StreamWindow+4*protocol.StreamBatch) / 100
	if got != n || most > limit {
		t.Errorf("%d records of %d, at most %d were ahead, want no more than %d", got, n, most, limit)
	}
}

func TestWhatIsSentSlowlyIsNotHeldBack(t *testing.T) {
	bus := relaytest.Start(t)
	proceed := make(chan bool, 1)
	bus.Serve(streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		for i := range 5 {
			<-proceed
			if err := out.Send(i, ""); err != nil {
				return err
			}
		}
		return nil
	}))
	got := 0
	proceed <- true
	for _, err := range bus.Connect().Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if got++; got < 5 {
			proceed <- true // not before the one before has come
		}
	}
	if got != 5 {
		t.Errorf("%d records", got)
	}
}

func TestARecordOverTheLimitIsRefused(t *testing.T) {
	const limit = 1 << 20
	const cursor = "the cursor"
	most := limit - protocol.StreamHeaderRoom - protocol.RecordSize(cursor, make([]byte, limit)) + limit
	for size, fits := range map[int]bool{most: true, most + 1: false} {
		bus := relaytest.Start(t)
		bus.Serve(streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
			out.Total(math.MaxInt64)
			if err := out.Send([]byte("small"), ""); err != nil {
				return err
			}
			return out.Send(make([]byte, size), cursor)
		}))
		var sizes []int
		var last error
		for record, err := range bus.Connect().Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
			if last = err; err == nil {
				sizes = append(sizes, len(record.Data))
			}
		}
		if fits {
			if last != nil || !slices.Equal(sizes, []int{5, size}) {
				t.Errorf("just at the limit: %v, %v", sizes, last)
			}
			continue
		}
		var answered *relay.Error
		if !slices.Equal(sizes, []int{5}) || !errors.As(last, &answered) || answered.Code != relay.CodeTooLarge {
			t.Fatalf("over the limit: %v, %v", sizes, last)
		}
		for _, part := range []string{strconv.Itoa(limit), strconv.Itoa(protocol.RecordSize(cursor, make([]byte, size))), "split", "max_payload", "object store"} {
			if !strings.Contains(answered.Message, part) {
				t.Errorf("%q does not tell of %s", answered.Message, part)
			}
		}
	}
}

// Records of which one alone is more than the window come one at a time.
func TestRecordsLargerThanTheWindow(t *testing.T) {
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true, MaxPayload: 4 << 20})
	must(t, err)
	t.Cleanup(func() { stopServer(t, server) })
	r := connectTo(t, server.URL())
	serving := serve(t, connectTo(t, server.URL()), streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		for i := range 10 {
			if err := out.Send(make([]byte, 2<<20+i), ""); err != nil {
				return err
			}
		}
		return nil
	}))
	awaitPrivate(t, r)
	got := 0
	for record, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if len(record.Data) != 2<<20+got {
			t.Errorf("record %d has %d bytes", got, len(record.Data))
		}
		got++
	}
	if got != 10 {
		t.Errorf("%d records", got)
	}
	serving.stop()
	must(t, receive(t, serving.ended, "the end of Serve"))
}

func connectTo(t *testing.T, url string) *relay.Relay {
	t.Helper()
	r, err := relay.Connect(within(t, patience), relay.Config{URL: url})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// awaitPrivate waits until version 0.0.1 of todos listens.
func awaitPrivate(t *testing.T, r *relay.Relay) {
	t.Helper()
	for ctx := within(t, patience); ; {
		err := r.Request(ctx, "todos.list", nil, nil, relay.ToVersion("0.0.1"))
		if !errors.Is(err, relay.ErrNobodyListens) {
			return
		}
		must(t, ctx.Err())
	}
}

func TestTheDeathOfTheSenderIsNoticed(t *testing.T) {
	t.Parallel()
	for name, kill := range map[string]func(service *relay.Relay, p *program){
		"its connection is closed": func(service *relay.Relay, _ *program) { service.Close() },
		"its process is killed":    func(_ *relay.Relay, p *program) { _ = p.Process.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			bus := relaytest.Start(t)
			r := bus.Connect()
			service := bus.Connect()
			var p *program
			if strings.Contains(name, "process") {
				p = run(t, bus, "stream", false)
			} else {
				serve(t, service, streams("0.0.1", untilCut))
			}
			awaitPrivate(t, r)
			var began time.Time
			got, last := 0, error(nil)
			for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
				if last = err; err == nil {
					got++
					began = time.Now()
					kill(service, p)
				}
			}
			if took := time.Since(began); got != 1 || !errors.Is(last, relay.ErrStreamLost) || took > 2*time.Second {
				t.Errorf("%d records, error %v after %s", got, last, took)
			}
		})
	}
}

func TestTheDeathOfTheReceiverEndsTheHandler(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	for name, h := range map[string]relay.StreamHandler{"that is quiet": untilCut, "that waits for room": forEver} {
		t.Run(name, func(t *testing.T) {
			h, ended := handled(h)
			stop := bus.Serve(streams("0.0.1", h))
			defer stop()
			r := bus.Connect()
			var last error
			for _, err := range r.Stream(t.Context(), "todos.list", nil, relay.ToVersion("0.0.1")) {
				if last = err; err == nil {
					r.Close()
				}
			}
			if !errors.Is(last, relay.ErrStreamLost) || !errors.Is(last, nats.ErrConnectionClosed) {
				t.Errorf("the receiver's error: %v", last)
			}
			if err := receive(t, ended, "the end of the handler"); err == nil || err.Error() != "the receiver of the stream is gone" {
				t.Errorf("the handler's: %v", err)
			}
		})
	}
}

// A process that is stopped, or a network that is cut, is noticed on either side by its
// silence.
func TestSilenceEndsAStream(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	for _, held := range []string{"the sender's", "the receiver's"} {
		t.Run(held, func(t *testing.T) {
			cable := bus.Cable()
			h, ended := handled(untilCut)
			service, r := bus.Connect(), bus.ConnectTo(cable.URL())
			if held == "the sender's" {
				service, r = r, service
			}
			service.SetPulse(50 * time.Millisecond)
			r.SetPulse(50 * time.Millisecond)
			it := serve(t, service, streams("0.0.1", h))
			awaitPrivate(t, r)
			var last error
			for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
				if last = err; err == nil {
					cable.Hold()
				}
			}
			if !errors.Is(last, relay.ErrStreamLost) || !strings.Contains(last.Error(), "nothing was heard of its sender") {
				t.Errorf("the receiver's error: %v", last)
			}
			if err := receive(t, ended, "the end of the handler"); err == nil || err.Error() != "nothing was heard of the receiver of the stream" {
				t.Errorf("the handler's: %v", err)
			}
			cable.Release()
			it.stop()
			must(t, receive(t, it.ended, "the end of Serve"))
		})
	}
}

// Nobody takes a side for dead that has nothing to say, or that looks at a record for long.
func TestSilentSidesGiveSignsOfLife(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	bus := relaytest.Start(t)
	service, r := bus.Connect(), bus.Connect()
	service.SetPulse(50 * time.Millisecond)
	r.SetPulse(50 * time.Millisecond)
	long := 100 * protocol.StreamHeartbeatsMissed * time.Millisecond
	it := serve(t, service, streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		<-time.After(long)
		return out.Send(1, "")
	}))
	awaitPrivate(t, r)
	got := 0
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		got++
		<-time.After(long)
	}
	if got != 1 {
		t.Errorf("%d records", got)
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

func TestAStreamThatCannotBeginSaysWhy(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(relay.Service{
		Name: "todos", Version: "0.0.1",
		Handlers: map[string]relay.Handler{
			"say":  func(context.Context, *relay.Message) (any, error) { return "plain", nil },
			"both": func(context.Context, *relay.Message) (any, error) { return "plain", nil },
		},
		Streams: map[string]relay.StreamHandler{"list": numbers(3), "both": numbers(3)},
	})
	r := bus.Connect()
	private := relay.ToVersion("0.0.1")
	streamed := func(name string, payload any, opts ...relay.StreamOption) (n int, last error) {
		for _, err := range r.Stream(within(t, patience), name, payload, opts...) {
			if last = err; err == nil {
				n++
			}
		}
		return n, last
	}
	var answered *relay.Error
	if err := r.Request(within(t, patience), "todos.list", nil, nil, private); !errors.As(err, &answered) || answered.Code != "400" || !strings.Contains(answered.Message, "answers as a stream") {
		t.Errorf("a plain request for a stream: %v", err)
	}
	if n, err := streamed("todos.say", nil, private); n != 0 || !errors.As(err, &answered) || answered.Code != "400" || !strings.Contains(answered.Message, "answers plainly") {
		t.Errorf("a stream of what is answered plainly: %d, %v", n, err)
	}
	if n, err := streamed("todos.list", []byte("{"), private); n != 0 || !errors.As(err, &answered) || answered.Code != "400" {
		t.Errorf("a request that is no JSON: %d, %v", n, err)
	}
	if n, err := streamed("todos.list", nil, private, relay.After("x")); n != 0 || !errors.As(err, &answered) || answered.Message != "no cursor: x" {
		t.Errorf("a cursor that is none: %d, %v", n, err)
	}
	if n, err := streamed("todos.list", nil); n != 0 || !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("nobody: %d, %v", n, err)
	}
	if n, err := streamed("todos.both", nil, private); n != 3 || err != nil {
		t.Errorf("both, streamed: %d, %v", n, err)
	}
	var answer string
	if err := r.Request(within(t, patience), "todos.both", nil, &answer, private); answer != "plain" || err != nil {
		t.Errorf("both, plain: %q, %v", answer, err)
	}
	if n, err := streamed("todos.list", make(chan int), private); n != 0 || err == nil {
		t.Errorf("a payload that is no JSON: %d, %v", n, err)
	}
	if n, err := streamed("todos.list", make([]byte, 2<<20), private); n != 0 || !errors.Is(err, nats.ErrMaxPayload) {
		t.Errorf("a payload over the limit: %d, %v", n, err)
	}
	_, err := bus.Connect().Conn().Subscribe("bare.list", func(m *nats.Msg) { _ = m.Respond([]byte("plain")) })
	must(t, err)
	mute := relayWithTimeout(t, bus, 50*time.Millisecond)
	_, err = mute.Conn().Subscribe("bare.mute", func(*nats.Msg) {})
	must(t, err)
	for _, err := range mute.Stream(t.Context(), "bare.mute", nil) {
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("no answer at all: %v", err)
		}
	}
}

func TestAPlainAnswerOfOthersIsNoStream(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	_, err := r.Conn().Subscribe("bare.list", func(m *nats.Msg) {
		if err := m.Respond([]byte("plain")); err != nil {
			t.Error(err)
		}
	})
	must(t, err)
	for _, err := range r.Stream(within(t, patience), "bare.list", nil) {
		if err == nil || !strings.Contains(err.Error(), "answered plainly") {
			t.Errorf("error %v", err)
		}
	}
}

func relayWithTimeout(t *testing.T, bus *relaytest.Bus, d time.Duration) *relay.Relay {
	t.Helper()
	r, err := relay.Connect(within(t, patience), relay.Config{URL: bus.URL(), RequestTimeout: d})
	must(t, err)
	t.Cleanup(r.Close)
	return r
}

// A sender in another language, of which a message is lost on the way.
func TestAGapIsALoss(t *testing.T) {
	bus := relaytest.Start(t)
	r, other := bus.Connect(), bus.Connect().Conn()
	answers := func(m *nats.Msg, sequence, end string, data []byte) {
		h := nats.Header{protocol.HeaderStream: {sequence}}
		if end != "" {
			h.Set(protocol.HeaderStreamEnd, end)
		}
		if err := other.PublishMsg(&nats.Msg{Subject: m.Reply, Reply: "bare.control", Header: h, Data: data}); err != nil {
			t.Error(err)
		}
	}
	_, err := other.Subscribe("bare.control", func(*nats.Msg) {})
	must(t, err)
	one := protocol.AppendRecord(nil, "1", []byte("1"))
	for name, send := range map[string]func(m *nats.Msg){
		"a batch":             func(m *nats.Msg) { answers(m, "1", "", one); answers(m, "3", "", one) },
		"the last batch":      func(m *nats.Msg) { answers(m, "1", "", one); answers(m, "2", protocol.StreamDone, nil) },
		"a batch, then quiet": func(m *nats.Msg) { answers(m, "1", "", one); answers(m, "2", "", nil) },
		"a part of a batch":   func(m *nats.Msg) { answers(m, "1", "", one); answers(m, "2", "", []byte{1}) },
		"the sequence":        func(m *nats.Msg) { answers(m, "1", "", one); answers(m, "x", "", one) },
	} {
		sub, err := other.Subscribe("bare.list", send)
		must(t, err)
		must(t, other.Flush())
		n, last := 0, error(nil)
		for _, err := range r.Stream(within(t, patience), "bare.list", nil) {
			if last = err; err == nil {
				n++
			}
		}
		if n != 1 || !errors.Is(last, relay.ErrStreamLost) {
			t.Errorf("without %s: %d records, error %v", name, n, last)
		}
		must(t, sub.Unsubscribe())
		must(t, other.Flush())
	}
}

func TestAStreamOfValues(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		return errors.Join(out.Send(1, ""), out.Send("two", ""), out.Send(3, ""))
	}))
	var got []int
	var last error
	for n, err := range relay.Stream[int](within(t, patience), bus.Connect(), "todos.list", nil, relay.ToVersion("0.0.1")) {
		if last = err; err == nil {
			got = append(got, n)
		}
	}
	if !slices.Equal(got, []int{1}) || last == nil || !strings.HasPrefix(last.Error(), "record of todos.list: read *int from JSON") {
		t.Errorf("%v, %v", got, last)
	}
}

func TestAMessageCarriesItsID(t *testing.T) {
	bus := relaytest.Start(t)
	ids := make(chan string, 3)
	bus.Serve(relay.Service{
		Name: "todos", Version: "0.0.1",
		Handlers: map[string]relay.Handler{"say": func(_ context.Context, m *relay.Message) (any, error) {
			ids <- m.Header.Get(nats.MsgIdHdr)
			return nil, nil
		}},
		Streams: map[string]relay.StreamHandler{"list": func(_ context.Context, m *relay.Message, _ *relay.Sender) error {
			ids <- m.Header.Get(nats.MsgIdHdr)
			return nil
		}},
	})
	r := bus.Connect()
	private := relay.ToVersion("0.0.1")
	must(t, r.Send("todos.say", nil, private, relay.MessageID("4711")))
	must(t, r.Request(within(t, patience), "todos.say", nil, nil, private, relay.MessageID("4711")))
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, private, relay.MessageID("4711")) {
		must(t, err)
	}
	for range 3 {
		if id := receive(t, ids, "a message"); id != "4711" {
			t.Errorf("id %q", id)
		}
	}
}
