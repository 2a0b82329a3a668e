package relay_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// BenchmarkRequest measures one request of 128 bytes to a handler that answers with what
// it got, through the relay and on bare nats.go, in the same run and on the same bus. The
// latency that one request in a hundred exceeds is told as p99-µs.
//
//	go test -run '^$' -bench Request -count 10 ./relay
func BenchmarkRequest(b *testing.B) {
	bus := relaytest.Start(b)
	payload := slices.Repeat([]byte("x"), 128)
	caller := bus.Connect()
	serveBare(b, bus.Connect().Conn())
	serveRelay(b, bus)
	kinds := []struct {
		name string
		ask  func(ctx context.Context) error
	}{
		{"bare", func(ctx context.Context) error {
			_, err := caller.Conn().RequestWithContext(ctx, "bare.echo", payload)
			return err
		}},
		{"relay", func(ctx context.Context) error {
			var answer []byte
			return caller.Request(ctx, "todos.echo", payload, &answer)
		}},
	}
	for _, flying := range []int{1, 64} {
		for _, kind := range kinds {
			b.Run(fmt.Sprintf("in-flight=%d/impl=%s", flying, kind.name), func(b *testing.B) {
				measure(b, flying, kind.ask)
			})
		}
	}
}

// serveBare answers as one does who has nothing but nats.go.
func serveBare(b *testing.B, nc *nats.Conn) {
	b.Helper()
	_, err := nc.QueueSubscribe("bare.echo", "bare", func(m *nats.Msg) {
		if err := m.Respond(m.Data); err != nil {
			b.Error(err)
		}
	})
	if err == nil {
		err = nc.Flush()
	}
	if err != nil {
		b.Fatal(err)
	}
}

// serveRelay puts a service online.
func serveRelay(b *testing.B, server *relaytest.Bus) {
	b.Helper()
	nc := server.Connect().Conn()
	routes, _, err := bus.MakeRoutes(b.Context(), nc, "", 1)
	if err != nil {
		b.Fatal(err)
	}
	confirmed, err := nc.SubscribeSync(protocol.AllConfirms)
	if err != nil {
		b.Fatal(err)
	}
	if _, err := routes.PutString(b.Context(), "todos", `{"service":"todos","versions":[{"version":"0.0.1","state":"online"}]}`); err != nil {
		b.Fatal(err)
	}
	server.Serve(relay.Service{Name: "todos", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"echo": func(_ context.Context, m *relay.Message) (any, error) { return m.Data, nil },
	}})
	if _, err := confirmed.NextMsg(patience); err != nil {
		b.Fatal(err)
	}
}

// measure sends b.N requests, that many at a time.
func measure(b *testing.B, flying int, ask func(context.Context) error) {
	b.ReportAllocs()
	ctx, cancel := context.WithTimeout(b.Context(), time.Hour)
	defer cancel()
	took := make([][]time.Duration, flying)
	var asking sync.WaitGroup
	b.ResetTimer()
	for n := range flying {
		share := b.N / flying
		if n < b.N%flying {
			share++
		}
		took[n] = make([]time.Duration, 0, share)
		asking.Go(func() {
			for range share {
				began := time.Now()
				if err := ask(ctx); err != nil {
					b.Error(err)
					return
				}
				took[n] = append(took[n], time.Since(began))
			}
		})
	}
	asking.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(took...)))
	if len(all) > 0 {
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-µs")
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "req/s")
	}
}
