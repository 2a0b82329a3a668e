package sdk_test

import (
	"context"
	"encoding/json"
	"iter"
	"strconv"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// BenchmarkBackfill moves records of 128 bytes, from memory and from a stream, in batches of
// 500 with 8 in flight, each batch one request to a service in this process.
//
//	go test -run '^$' -bench Backfill -benchtime 2000000x ./sdk
func BenchmarkBackfill(b *testing.B) {
	body := make([]byte, 128)
	b.Run("source=memory", func(b *testing.B) {
		benchmark(b, sdk.Source[[]byte]{Records: func(_ context.Context, _ *sdk.Run, _, after string) iter.Seq2[sdk.Record[[]byte], error] {
			return func(yield func(sdk.Record[[]byte], error) bool) {
				from, _ := strconv.Atoi(after)
				for i := from + 1; i <= b.N; i++ {
					if !yield(sdk.Record[[]byte]{Value: body, Cursor: strconv.Itoa(i)}, nil) {
						return
					}
				}
			}
		}})
	})
	b.Run("source=stream", func(b *testing.B) { benchmark(b, sdk.FromStream[[]byte]("todo-search.list", nil)) })
}

func benchmark(b *testing.B, source sdk.Source[[]byte]) {
	body := make([]byte, 128)
	server := relaytest.Start(b)
	nc := server.Connect().Conn()
	ctx, cancel := context.WithTimeout(b.Context(), 10*time.Minute)
	defer cancel()
	for _, bucket := range []bus.Bucket{bus.Claims, bus.Checkpoints} {
		if _, err := bus.Make(ctx, nc, bucket, "", 1); err != nil {
			b.Fatal(err)
		}
	}
	if _, _, err := bus.MakeRoutes(ctx, nc, "", 1); err != nil {
		b.Fatal(err)
	}
	server.Serve(relay.Service{Name: "todo-search", Version: "0.0.1", Handlers: map[string]relay.Handler{
		"add": func(_ context.Context, m *relay.Message) (any, error) { return nil, nil },
	}, Streams: map[string]relay.StreamHandler{
		"list": relay.JSONStream(func(_ context.Context, _ struct{}, after string, out *relay.Sender) error {
			from, _ := strconv.Atoi(after)
			for i := from + 1; i <= b.N; i++ {
				if err := out.Send(body, strconv.Itoa(i)); err != nil {
					return err
				}
			}
			return nil
		}),
	}})
	script := protocol.Script{Name: "todo-search", Version: "0.0.1", Phase: protocol.Online}
	answered, err := nc.SubscribeSync(script.Subject(protocol.Done))
	if err != nil {
		b.Fatal(err)
	}
	backfill := sdk.Backfill[[]byte]{
		Source: source,
		Batch: func(ctx context.Context, run *sdk.Run, batch sdk.Batch[[]byte]) error {
			payload := make([]byte, 0, len(batch.Records)*len(body))
			for _, r := range batch.Records {
				payload = append(payload, r.Value...)
			}
			return run.Request(ctx, "todo-search.add", payload, nil)
		},
	}
	running, end := context.WithCancel(ctx)
	ended := make(chan error, 1)
	worker := server.Connect()
	go func() { ended <- setup(backfill.Run).Run(running, worker) }()
	defer func() { end(); <-ended }()
	for worker.Request(ctx, protocol.AboutScriptSubject(script), nil, nil) != nil { // until it listens
		if ctx.Err() != nil {
			b.Fatal(ctx.Err())
		}
	}
	m := start(protocol.Online, 1)
	m.Rollout = newID()
	data, err := json.Marshal(m)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	b.ResetTimer()
	if err := nc.Publish(script.Subject(protocol.Start), data); err != nil {
		b.Fatal(err)
	}
	answer, err := answered.NextMsg(10 * time.Minute)
	if err != nil {
		b.Fatal(err)
	}
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
	if err := answer.Respond([]byte(accepted)); err != nil {
		b.Fatal(err)
	}
}
