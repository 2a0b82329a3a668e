package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"iter"
	"math/rand/v2"
	"strconv"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// asideRecords is how many records a script deals with that puts some aside.
const asideRecords = 6

// draw gives one of n, always the same one for the same things.
func draw(n uint32, of ...any) uint32 {
	h := fnv.New32a()
	fmt.Fprintln(h, of...)
	return h.Sum32() % n
}

// deal has a script of the sdk deal with a few records, if it is one of those that do, and
// put aside those that fail. It gives how many there are.
func (w *workplace) deal(ctx context.Context, run *sdk.Run) (int64, error) {
	s := run.Start
	if draw(3, s.Rollout, s.Step) != 0 {
		return 0, nil
	}
	err := sdk.Backfill[int]{
		Source: sdk.Source[int]{Records: func(_ context.Context, _ *sdk.Run, _, after string) iter.Seq2[sdk.Record[int], error] {
			return func(yield func(sdk.Record[int], error) bool) {
				begin, _ := strconv.Atoi(after)
				for n := begin + 1; n <= asideRecords && yield(sdk.Record[int]{Value: n, Cursor: strconv.Itoa(n)}, nil); n++ {
				}
			}
		}},
		Each: func(_ context.Context, run *sdk.Run, r sdk.Record[int]) error {
			fails := draw(2, s.Rollout, s.Step, r.Value) == 0
			if run.Start.FailedRecords {
				fails = draw(3, s.Rollout, s.Step, r.Value, s.Attempt) == 0
			}
			if fails {
				return sdk.Permanent(errors.New("there is no room"))
			}
			return nil
		},
		PutAside: true, BatchSize: 2, InFlight: 1,
	}.Run(ctx, run)
	if err != nil {
		return 0, err
	}
	return w.countAside(ctx, s)
}

// countAside counts the records that a step has put aside, by the bucket that they are in.
func (w *workplace) countAside(ctx context.Context, s protocol.StartMessage) (int64, error) {
	js, err := jetstream.New(w.relay.Conn())
	if err != nil {
		return 0, err
	}
	for ctx.Err() == nil {
		trying, cancel := context.WithTimeout(ctx, 2*time.Second)
		n, err := countKeys(trying, js, protocol.CheckpointKey(s.Rollout, s.Step, false)+".*")
		cancel()
		if err == nil {
			return n, nil
		}
		rest(ctx, 50*time.Millisecond)
	}
	return 0, ctx.Err()
}

func countKeys(ctx context.Context, js jetstream.JetStream, pattern string) (n int64, err error) {
	bucket, err := js.KeyValue(ctx, protocol.FailedRecordsBucket)
	if err != nil {
		return 0, err
	}
	stream, err := js.Stream(ctx, "KV_"+protocol.FailedRecordsBucket)
	if err != nil {
		return 0, err
	}
	subject, newest := protocol.KeySubject(protocol.FailedRecordsBucket, pattern), uint64(0)
	watcher, err := bucket.Watch(ctx, pattern, jetstream.MetaOnly())
	if err != nil {
		return 0, err
	}
	defer func() { _ = watcher.Stop() }() // the connection may be gone
	for {
		select {
		case entry, going := <-watcher.Updates():
			switch {
			case !going:
				return 0, errors.New("the listing was interrupted")
			case entry == nil: // a replica may be behind its leader
				last, err := stream.GetLastMsgForSubject(ctx, subject)
				if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence <= newest {
					return n, nil
				}
				return 0, errors.Join(err, errors.New("the listing is behind"))
			case entry.Operation() == jetstream.KeyValuePut:
				n++
			}
			newest = max(newest, entry.Revision())
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// leave is how many records a bare script says it has put aside.
func leave(s protocol.StartMessage) int64 {
	switch {
	case s.Revert, draw(3, s.Rollout, s.Step) == 0:
		return 0
	case s.FailedRecords:
		return rand.Int64N(3)
	}
	return 1 + rand.Int64N(3)
}
