package relay_test

import (
	"context"
	"flag"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/relaytest"
)

// streamed is how many records the memory of a stream is measured with, beside 100,000.
var streamed = flag.Int("stream.records", 1_000_000, "records of BenchmarkStreamMemory")

// BenchmarkStream measures records of 128 bytes from one connection to another over TCP:
// by a stream, as one message each on bare nats.go with as much flow control as keeps the
// receiver from losing any, and by one request each.
//
//	go test -run '^$' -bench 'Stream$' -benchtime 1000000x -count 6 ./relay
func BenchmarkStream(b *testing.B) {
	payload := slices.Repeat([]byte("x"), 128)
	for _, kind := range []struct {
		name string
		run  func(b *testing.B, payload []byte)
	}{{"stream", benchStream}, {"core", benchCore}, {"request", benchOneByOne}} {
		b.Run("impl="+kind.name, func(b *testing.B) {
			b.ReportAllocs()
			kind.run(b, payload)
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}

// repeat streams the payload as often as the request says.
func repeat(payload []byte, cursors bool) relay.StreamHandler {
	return relay.JSONStream(func(_ context.Context, n int, _ string, out *relay.Sender) error {
		cursor := ""
		for i := range n {
			if cursors {
				cursor = strconv.Itoa(i)
			}
			if err := out.Send(payload, cursor); err != nil {
				return err
			}
		}
		return nil
	})
}

func benchStream(b *testing.B, payload []byte) {
	bus := relaytest.Start(b)
	bus.Serve(streams("0.0.1", repeat(payload, true)))
	r := bus.Connect()
	b.ResetTimer()
	n := 0
	for record, err := range r.Stream(b.Context(), "todos.list", b.N, relay.ToVersion("0.0.1")) {
		if err != nil || len(record.Data) != len(payload) {
			b.Fatal(len(record.Data), err)
		}
		n++
	}
	b.StopTimer()
	if n != b.N {
		b.Fatalf("%d of %d records", n, b.N)
	}
}

// benchCore has the receiver tell every 16,384 messages how many have come: the sender is
// at most 65,536 ahead.
func benchCore(b *testing.B, payload []byte) {
	const every, ahead = 16_384, 65_536
	bus := relaytest.Start(b)
	from, to := bus.Connect().Conn(), bus.Connect().Conn()
	seen := make(chan int, 1024)
	_, err := from.Subscribe("bare.credit", func(m *nats.Msg) {
		n, _ := strconv.Atoi(string(m.Data))
		seen <- n
	})
	if err != nil {
		b.Fatal(err)
	}
	all := make(chan bool)
	n := 0
	_, err = to.Subscribe("bare.record", func(m *nats.Msg) {
		if n++; n%every == 0 {
			if err := to.Publish("bare.credit", strconv.AppendInt(nil, int64(n), 10)); err != nil {
				b.Error(err)
			}
		}
		if n == b.N {
			close(all)
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, nc := range []*nats.Conn{from, to} {
		if err := nc.Flush(); err != nil {
			b.Fatal(err)
		}
	}
	b.ResetTimer()
	for sent, known := 0, 0; sent < b.N; sent++ {
		for sent-known >= ahead {
			known = <-seen
		}
		if err := from.Publish("bare.record", payload); err != nil {
			b.Fatal(err)
		}
	}
	if err := from.Flush(); err != nil {
		b.Fatal(err)
	}
	<-all
	b.StopTimer()
}

func benchOneByOne(b *testing.B, payload []byte) {
	bus := relaytest.Start(b)
	bus.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"next": func(context.Context, *relay.Message) (any, error) { return payload, nil },
	}})
	r := bus.Connect()
	b.ResetTimer()
	for range b.N {
		var data []byte
		if err := r.Request(b.Context(), "todos.next", nil, &data, relay.ToVersion("0.0.1")); err != nil || len(data) != len(payload) {
			b.Fatal(len(data), err)
		}
	}
	b.StopTimer()
}

// BenchmarkStreamMemory measures the heap that lives while records are streamed: it must
// not grow with how many there are. The server's is in it.
//
//	go test -run '^$' -bench StreamMemory -benchtime 1x ./relay -stream.records 10000000
func BenchmarkStreamMemory(b *testing.B) {
	payload := slices.Repeat([]byte("x"), 128)
	for _, n := range []int{100_000, *streamed} {
		b.Run("records="+strconv.Itoa(n), func(b *testing.B) {
			bus := relaytest.Start(b)
			bus.Serve(streams("0.0.1", repeat(payload, true)))
			r := bus.Connect()
			var most uint64
			for range b.N {
				peak := watchHeap(20 * time.Millisecond)
				got := 0
				for _, err := range r.Stream(b.Context(), "todos.list", n, relay.ToVersion("0.0.1")) {
					if err != nil {
						b.Fatal(err)
					}
					got++
				}
				if most = max(most, peak()); got != n {
					b.Fatalf("%d of %d records", got, n)
				}
			}
			b.ReportMetric(float64(most)/(1<<20), "live-MiB")
		})
	}
}

// watchHeap looks again and again at how much of the heap lives, until the most is asked
// for.
func watchHeap(every time.Duration) (most func() uint64) {
	var peak atomic.Uint64
	done := make(chan struct{})
	var watching sync.WaitGroup
	look := func() {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		peak.Store(max(peak.Load(), m.HeapAlloc))
	}
	watching.Go(func() {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				look()
			case <-done:
				return
			}
		}
	})
	return func() uint64 {
		close(done)
		watching.Wait()
		look()
		return peak.Load()
	}
}
