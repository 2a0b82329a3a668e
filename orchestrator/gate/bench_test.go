package gate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/relay/protocol"
)

// BenchmarkOrderToOnline measures how long it takes from the order to move traffic until
// every instance of the new version has confirmed that it is online, with so many
// instances of each version, as online-ms; ns/op is until the version before has left.
//
//	go test -run '^$' -bench OrderToOnline -count 10 ./orchestrator/gate
func BenchmarkOrderToOnline(b *testing.B) {
	for _, instances := range []int{1, 10, 100} {
		b.Run(fmt.Sprintf("instances=%d", instances), func(b *testing.B) {
			bench := newBench(b)
			for range instances {
				bench.bus.Serve(says("1.0.0"))
				bench.bus.Serve(says("2.0.0"))
			}
			measureMoves(b, bench, instances)
		})
	}
}

func measureMoves(b *testing.B, bench *bench, instances int) {
	b.Helper()
	order := gate.Order{Service: "todos", Version: "1.0.0", Rollout: "r", Instances: instances}
	moved, err := bench.Open(b.Context(), order)
	bench.must(err)
	var online time.Duration
	b.ResetTimer()
	for n := range b.N {
		order = gate.Order{
			Service: "todos", Version: []string{"2.0.0", "1.0.0"}[n%2], Rollout: fmt.Sprint("r", n),
			Replaces: moved.Revision, Instances: instances,
		}
		seen := awaitOnline(b, bench.nc, order.Version, moved.Revision, instances)
		began := time.Now()
		moved, err = bench.Open(b.Context(), order)
		bench.must(err)
		online += (<-seen).Sub(began)
	}
	b.StopTimer()
	b.ReportMetric(float64(online.Microseconds())/1000/float64(b.N), "online-ms")
}

// awaitOnline gives the time at which the last of that many instances was heard to be
// online, by a revision after the given one.
func awaitOnline(b *testing.B, nc *nats.Conn, version string, after uint64, instances int) <-chan time.Time {
	b.Helper()
	seen := make(chan time.Time, 1)
	heard := make(map[string]bool)
	_, err := nc.Subscribe(protocol.ConfirmSubject("todos", "*"), func(m *nats.Msg) {
		var c protocol.Confirmation
		if json.Unmarshal(m.Data, &c) != nil || c.Version != version || c.State != protocol.StateOnline || c.Revision <= after || heard[m.Subject] {
			return
		}
		if heard[m.Subject] = true; len(heard) == instances {
			seen <- time.Now()
			_ = m.Sub.Unsubscribe() // the connection may be gone
		}
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(b.Context(), patience)
	defer cancel()
	if err := nc.FlushWithContext(ctx); err != nil {
		b.Fatal(err)
	}
	return seen
}
