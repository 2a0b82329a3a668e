package sdk_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// BenchmarkAttempt does attempts of a script that does nothing, one after the other, and
// tells how often each writes to the bucket of claims.
//
//	go test -run '^$' -bench 'Attempt$' -benchtime 500x -count 6 ./sdk
func BenchmarkAttempt(b *testing.B) {
	server := relaytest.Start(b)
	nc := server.Connect().Conn()
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	kv, err := bus.Make(ctx, nc, bus.Claims, "", 1)
	if err != nil {
		b.Fatal(err)
	}
	script := protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: protocol.Online}
	answered := make(chan struct{}, 1)
	if _, err := nc.Subscribe(script.Subject(protocol.Done), func(m *nats.Msg) {
		if m.Respond([]byte(accepted)) == nil {
			answered <- struct{}{}
		}
	}); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	worker := server.Connect()
	go func() { ended <- setup(func(context.Context, *sdk.Run) error { return nil }).Run(ctx, worker) }()
	defer func() { cancel(); <-ended }()
	for worker.Request(ctx, protocol.AboutScriptSubject(script), nil, nil) != nil { // until it listens
		if ctx.Err() != nil {
			b.Fatal(ctx.Err())
		}
	}
	m := start(protocol.Online, 1)
	b.ReportAllocs()
	for b.Loop() {
		m.Rollout = newID()
		data, err := json.Marshal(m)
		if err != nil {
			b.Fatal(err)
		}
		if err := nc.Publish(script.Subject(protocol.Start), data); err != nil {
			b.Fatal(err)
		}
		select {
		case <-answered:
		case <-ctx.Done():
			b.Fatal(ctx.Err())
		}
	}
	b.ReportMetric(float64(writes(b, kv))/float64(b.N), "writes/op")
}

// writes is how often a bucket has been written to.
func writes(t testing.TB, kv jetstream.KeyValue) uint64 {
	t.Helper()
	status, err := kv.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return status.(*jetstream.KeyValueBucketStatus).StreamInfo().State.LastSeq
}
