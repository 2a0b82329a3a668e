package relay_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strconv"
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

// bare answers a stream "bare.list" as a sender without the relay would. Said is what the
// receiver tells it.
func bare(t *testing.T, nc *nats.Conn, send func(answer func(sequence string, h nats.Header, data []byte))) (said chan string) {
	t.Helper()
	said = make(chan string, 1000)
	control := nc.NewInbox()
	_, err := nc.Subscribe(control, func(m *nats.Msg) { said <- string(m.Data) })
	must(t, err)
	sub, err := nc.Subscribe("bare.list", func(m *nats.Msg) {
		send(func(sequence string, h nats.Header, data []byte) {
			if h == nil {
				h = nats.Header{}
			}
			h.Set(protocol.HeaderStream, sequence)
			if err := nc.PublishMsg(&nats.Msg{Subject: m.Reply, Reply: control, Header: h, Data: data}); err != nil {
				t.Error(err)
			}
		})
	})
	must(t, err)
	must(t, nc.Flush())
	t.Cleanup(func() { _, _ = sub.Unsubscribe(), nc.Flush() }) // it may be closed
	return said
}

func TestASenderThatMindsNoWindowIsStopped(t *testing.T) {
	bus := relaytest.Start(t)
	var sent atomic.Int64
	batch := protocol.AppendRecord(nil, "", make([]byte, protocol.StreamBatch))
	flooded := make(chan bool)
	said := bare(t, bus.Connect().Conn(), func(answer func(string, nats.Header, []byte)) {
		for i := range 10 * protocol.StreamWindow / len(batch) {
			answer(strconv.Itoa(i+1), nil, batch)
			sent.Add(1)
		}
		close(flooded)
	})
	got, last := 0, error(nil)
	for _, err := range bus.Connect().Stream(within(t, patience), "bare.list", nil) {
		if last = err; err == nil {
			if got++; got == 1 {
				receive(t, flooded, "the flood")
				for word := ""; word != protocol.StreamCancel; {
					word = receive(t, said, "the word that it is enough")
				}
			}
		}
	}
	if most := protocol.StreamWindow / protocol.StreamBatch; got > most || !errors.Is(last, relay.ErrStreamLost) {
		t.Errorf("%d records, error %v", got, last)
	}
}

func TestAStreamThatFailsWithoutAReasonHasFailed(t *testing.T) {
	bus := relaytest.Start(t)
	for _, how := range []string{protocol.StreamFailed, protocol.StreamLost, "whatever"} {
		t.Run(how, func(t *testing.T) {
			bare(t, bus.Connect().Conn(), func(answer func(string, nats.Header, []byte)) {
				answer("0", nats.Header{protocol.HeaderStreamEnd: {how}}, nil)
			})
			var last error
			for _, err := range bus.Connect().Stream(within(t, patience), "bare.list", nil) {
				last = err
			}
			if last == nil || errors.Is(last, relay.ErrStreamLost) != (how != protocol.StreamFailed) {
				t.Errorf("error %v", last)
			}
		})
	}
}

// A cursor comes back in a header, which is one line without spaces around it.
func TestARecordsCursorThatWouldComeBackAsAnotherIsRefused(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	for cursor, fits := range map[string]bool{
		"1": true, "a b\tc": true, `{"id":"é","at": 1}`: true, "\x00\xff:\x7f": true, strings.Repeat("x", 10_000): true,
		" a": false, "a ": false, "\ta": false, "a\t": false, "a\nb": false, "a\r": false, " ": false,
	} {
		sent := make(chan error, 1)
		stop := bus.Serve(streams("0.0.1", func(_ context.Context, m *relay.Message, out *relay.Sender) error {
			if m.Cursor != "" {
				return out.Send([]byte(m.Cursor), "")
			}
			sent <- out.Send(nil, cursor)
			return nil
		}))
		for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
			must(t, err)
		}
		if err := receive(t, sent, "what Send returned"); (err == nil) != fits {
			t.Errorf("%.20q is sent: %v", cursor, err)
		}
		var back string
		var last error
		for record, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1"), relay.After(cursor)) {
			back, last = string(record.Data), err
		}
		if fits && back != cursor || (last == nil) != fits {
			t.Errorf("%.20q came back as %.20q, error %v", cursor, back, last)
		}
		stop()
	}
}

func TestNobodyBringsASenderDownFromTheBus(t *testing.T) {
	bus := relaytest.Start(t)
	h, ended := handled(forEver)
	service, r := bus.Connect(), bus.Connect()
	service.SetPulse(50 * time.Millisecond)
	it := serve(t, service, streams("0.0.1", h))
	awaitPrivate(t, r)
	nc, to := r.Conn(), protocol.PrivateSubject("todos", "0.0.1", "list")
	inbox := nc.NewInbox()
	answers := make(chan *nats.Msg, 10_000)
	_, err := nc.Subscribe(inbox+".*", func(m *nats.Msg) { answers <- m })
	must(t, err)
	ask := func(window, reply string) {
		t.Helper()
		must(t, nc.PublishMsg(&nats.Msg{Subject: to, Reply: reply, Header: nats.Header{protocol.HeaderStream: {window}}}))
	}
	for _, window := range []string{"x", "-1", "99999999999999999999", "1e6", "0x10"} {
		ask(window, "") // nobody would get an answer
		ask(window, inbox+".1")
		if m := receive(t, answers, "an answer"); m.Header.Get(protocol.HeaderErrorCode) != "400" || m.Header.Get(protocol.HeaderStream) != "" {
			t.Errorf("window %q: answered %v", window, m.Header)
		}
	}
	for window, most := range map[string]int{"0": 1, "1": 1, "65536": 8} {
		ask(window, "")
		ask(window, inbox+".2")
		control := receive(t, answers, "a sign of life").Reply
		for _, credit := range []string{"", "-1", "-9223372036854775808", "9223372036854775807", "99999999999999999999", "1e9", " 1", "cancel ", strings.Repeat("9", 100_000)} {
			must(t, nc.PublishRequest(control, inbox+".3", []byte(credit)))
		}
		batches := 0
		for signs := 0; signs < 5; {
			if m := receive(t, answers, "a sign of life"); len(m.Data) > 0 {
				batches++
			} else {
				signs++
			}
		}
		if batches > most || batches == 0 {
			t.Errorf("window %s: %d batches", window, batches)
		}
		must(t, nc.Publish(control, []byte(protocol.StreamCancel)))
		receive(t, ended, "the end of the handler")
		must(t, nc.Flush())
		for len(answers) > 0 {
			<-answers
		}
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

// Whoever sends from many goroutines asks no oftener than one that sends from one.
func TestManyGoroutinesSendAStream(t *testing.T) {
	const senders, each = 50, 2000
	bus := relaytest.Start(t)
	bus.Serve(streams("0.0.1", func(_ context.Context, _ *relay.Message, out *relay.Sender) error {
		var all sync.WaitGroup
		for i := range senders {
			all.Go(func() {
				for j := range each {
					out.Total(int64(j))
					if err := out.Send(make([]byte, 100), strconv.Itoa(i)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		all.Wait()
		return nil
	}))
	observer := bus.Connect().Conn()
	var signs, batches atomic.Int64
	_, err := observer.Subscribe("_INBOX.>", func(m *nats.Msg) {
		if m.Header.Get(protocol.HeaderStream) != "" {
			if len(m.Data) == 0 {
				signs.Add(1)
			} else {
				batches.Add(1)
			}
		}
	})
	must(t, err)
	must(t, observer.Flush())
	got := 0
	for _, err := range bus.Connect().Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if got++; got%10_000 == 0 {
			<-time.After(50 * time.Millisecond)
		}
	}
	if got != senders*each {
		t.Errorf("%d records", got)
	}
	if signs.Load() > batches.Load()/2 {
		t.Errorf("%d signs of life beside %d batches", signs.Load(), batches.Load())
	}
}

func TestAStreamIsLostOrGoesOnWhenTheServerIsStartedAnew(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	for _, pause := range []time.Duration{0, 1500 * time.Millisecond} {
		for _, busy := range []bool{false, true} {
			t.Run(fmt.Sprintf("busy=%t, looked at after %s", busy, pause), func(t *testing.T) {
				data := t.TempDir()
				server := startServer(t, data, "127.0.0.1:0")
				r := connectTo(t, server.URL())
				var again atomic.Bool
				h, ended := handled(func(ctx context.Context, _ *relay.Message, out *relay.Sender) error {
					for i := 0; ; i++ {
						restarted := again.Load()
						if busy || restarted || i == 0 {
							if err := out.Send(restarted, ""); err != nil {
								return err
							}
						}
						if !busy {
							<-time.After(10 * time.Millisecond)
						}
						if ctx.Err() != nil {
							return context.Cause(ctx)
						}
					}
				})
				it := serve(t, connectTo(t, server.URL()), streams("0.0.1", h))
				awaitPrivate(t, r)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				got := 0
				for restarted, err := range relay.Stream[bool](ctx, r, "todos.list", nil, relay.ToVersion("0.0.1")) {
					if err != nil && !errors.Is(err, relay.ErrStreamLost) {
						t.Errorf("neither lost nor going on: %v", err)
					}
					if restarted {
						break // it goes on, which is as good
					}
					if got++; got == 1 {
						stopServer(t, server)
						startServer(t, data, address(server))
						again.Store(true)
						<-time.After(pause)
						time.AfterFunc(patience/4, cancel)
					}
				}
				receive(t, ended, "the end of the handler")
				it.stop()
				must(t, receive(t, it.ended, "the end of Serve"))
			})
		}
	}
}

func TestStreamsLeaveNoSubscription(t *testing.T) {
	bus := relaytest.Start(t)
	service, r := bus.Connect(), bus.Connect()
	n := atomic.Int64{}
	it := serve(t, service, streams("0.0.1", func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
		switch n.Add(1) % 4 {
		case 0:
			return numbers(10)(ctx, m, out)
		case 1:
			return errors.New("x")
		case 2:
			panic("y")
		default:
			return forEver(ctx, m, out)
		}
	}))
	awaitPrivate(t, r)
	if err := service.Request(within(t, patience), "nobody.there", nil, nil); !errors.Is(err, relay.ErrNobodyListens) {
		t.Fatal(err) // it has subscribed to answers now, which stays
	}
	before, ours := service.Conn().NumSubscriptions(), r.Conn().NumSubscriptions()
	list := r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1"))
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			ctx := t.Context()
			if i%5 == 0 {
				ended, cancel := context.WithCancel(ctx)
				cancel()
				ctx = ended
				for range r.Stream(ctx, "todos.list", nil, relay.ToVersion("0.0.1")) {
				}
			}
			got := 0
			for range list { // the same again
				if got++; got == 5000 {
					break
				}
			}
		})
	}
	all.Wait()
	mustHaveNoStream(t)
	for deadline := time.Now().Add(patience); ; {
		now, our := service.Conn().NumSubscriptions(), r.Conn().NumSubscriptions()
		if now <= before && our <= ours {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d and %d subscriptions, were %d and %d", now, our, before, ours)
		}
		runtime.Gosched()
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

func TestAStreamThatIsNotLookedAtHoldsUpNoOther(t *testing.T) {
	bus := relaytest.Start(t)
	bus.Serve(streams("0.0.1", numbers(100_000)))
	r := bus.Connect()
	n := 0
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if n++; n == 1 {
			got, _, err := collect(t, r, relay.ToVersion("0.0.1"))
			if len(got) != 100_000 || err != nil {
				t.Fatalf("the other: %d, %v", len(got), err)
			}
		}
	}
	if n != 100_000 {
		t.Errorf("%d records", n)
	}
}

func TestAStreamThatWaitsForRoomOutlivesALongPause(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	service, r := bus.Connect(), bus.Connect()
	service.SetPulse(50 * time.Millisecond)
	r.SetPulse(50 * time.Millisecond)
	it := serve(t, service, streams("0.0.1", numbers(200_000)))
	awaitPrivate(t, r)
	got := 0
	for _, err := range r.Stream(within(t, patience), "todos.list", nil, relay.ToVersion("0.0.1")) {
		must(t, err)
		if got++; got == 1 {
			<-time.After(100 * protocol.StreamHeartbeatsMissed * time.Millisecond)
		}
	}
	if got != 200_000 {
		t.Errorf("%d records", got)
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

// Two streams that were told to send to each other are no receivers, and end of silence.
func TestSendersDoNotKeepEachOtherAlive(t *testing.T) {
	bus := relaytest.Start(t)
	var running atomic.Int64
	begun := make(chan bool, 10_000)
	service := bus.Connect()
	service.SetPulse(20 * time.Millisecond)
	it := serve(t, service, streams("0.0.1", func(ctx context.Context, _ *relay.Message, _ *relay.Sender) error {
		running.Add(1)
		defer running.Add(-1)
		begun <- true
		<-ctx.Done()
		return nil
	}))
	r := bus.Connect()
	awaitPrivate(t, r)
	to := protocol.PrivateSubject("todos", "0.0.1", "list")
	_, err := r.Conn().Subscribe("loop", func(m *nats.Msg) { // a reply subject of golive itself is not answered
		_ = r.Conn().PublishMsg(&nats.Msg{Subject: to, Reply: m.Reply, Header: m.Header, Data: m.Data})
	})
	must(t, err)
	must(t, r.Conn().PublishMsg(&nats.Msg{Subject: to, Reply: "loop", Header: nats.Header{protocol.HeaderStream: {"1"}}}))
	receive(t, begun, "the first stream")
	receive(t, begun, "one that it has asked for itself")
	for deadline := time.After(patience / 4); running.Load() > 0; {
		select {
		case <-deadline:
			t.Fatalf("%d streams keep each other alive", running.Load())
		case <-time.After(10 * time.Millisecond):
		}
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

// While the bus is lost, what is published waits in the connection's memory. Streams shall
// not take the room that answers need.
func TestStreamsLeaveRoomForAnswersWhileTheBusIsLost(t *testing.T) {
	t.Parallel()
	const n = 20
	data := t.TempDir()
	server := startServer(t, data, "127.0.0.1:0")
	r, service := connectTo(t, server.URL()), connectTo(t, server.URL())
	lost, begun := make(chan bool), make(chan bool, n)
	h, ended := handled(func(ctx context.Context, m *relay.Message, out *relay.Sender) error {
		begun <- true
		<-lost
		return forEver(ctx, m, out)
	})
	it := serve(t, service, streams("0.0.1", h))
	awaitPrivate(t, r)
	ctx, cancel := context.WithCancel(within(t, patience))
	defer cancel()
	var all sync.WaitGroup
	for range n {
		all.Go(func() {
			for range r.Stream(ctx, "todos.list", nil, relay.ToVersion("0.0.1")) {
				<-ctx.Done()
			}
		})
	}
	for range n {
		receive(t, begun, "a stream")
	}
	stopServer(t, server)
	for service.Conn().IsConnected() {
		<-time.After(time.Millisecond)
	}
	close(lost)
	<-time.After(soon) // they send what they can
	must(t, service.Send("other.say", "what an answer is"))
	startServer(t, data, address(server))
	cancel()
	all.Wait()
	for range n {
		if err := receive(t, ended, "the end of a handler"); errors.Is(err, nats.ErrReconnectBufExceeded) {
			t.Error(err)
		}
	}
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
}

func TestAStreamThatHasNotBegunEndsWithItsConnection(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	other := bus.Connect().Conn()
	_, err := other.Subscribe("bare.mute", func(*nats.Msg) { r.Close() })
	must(t, err)
	must(t, other.Flush())
	began := time.Now()
	for _, err := range r.Stream(within(t, patience), "bare.mute", nil) {
		if !errors.Is(err, nats.ErrConnectionClosed) || errors.Is(err, relay.ErrStreamLost) || time.Since(began) > patience/2 {
			t.Errorf("error %v after %s", err, time.Since(began))
		}
	}
}
