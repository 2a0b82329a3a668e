// Package records reads, and drops, the records that scripts have put aside.
package records

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Store reads what scripts have put aside, in the order in which they did so, by the stream
// that keeps the bucket: a page costs what is on it, however many records there are. Make it
// with [Open]; it is safe for concurrent use.
type Store struct {
	bucket string
	stream jetstream.Stream
}

// Open opens the records in a bucket, which has to be there.
func Open(ctx context.Context, js bus.JetStream, bucket string) (*Store, error) {
	stream, err := js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", bucket, err)
	}
	return &Store{bucket, stream}, nil
}

// Keys match the keys of the records of a rollout or, if one is named, of one of its
// steps.
func Keys(id, step string) []string {
	if step == "" {
		return []string{protocol.FailedRecordKeys(id)}
	}
	return []string{protocol.CheckpointKey(id, step, false) + ".*", protocol.CheckpointKey(id, step, true) + ".*"}
}

const (
	fewRecords  = 16              // that are asked for at a time: a record may be as long as a message
	manyRecords = 512             // likewise, where there was none but what is left of those that are gone
	readBeat    = time.Second     // of the server while it looks for them
	readWait    = 5 * time.Second // for some
	readTidy    = time.Second     // for the removal of a consumer
)

// Read calls each with the records under keys that stand behind the place after, until there
// are no more or each gives an error, which is given back. The place of a record is where it
// was put aside last.
func (s *Store) Read(ctx context.Context, keys []string, after uint64, each func(place uint64, r protocol.FailedRecord) error) error {
	subjects := make([]string, len(keys))
	for i, key := range keys {
		subjects[i] = protocol.KeySubject(s.bucket, key)
	}
	consumer, err := s.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: subjects, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return fmt.Errorf("find the records that were put aside: %w", err)
	}
	// Left alone it would stay for seconds, and a stream takes so many of them.
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTidy)
		defer cancel()
		_ = s.stream.DeleteConsumer(tidy, consumer.CachedInfo().Name) // else the server does, in a while
	}()
	delivered, most := uint64(0), fewRecords
	for left := consumer.CachedInfo().NumPending; left > 0; {
		before, found := delivered, false
		err := fetch(ctx, consumer, int(min(left, uint64(most))), func(m jetstream.Msg, meta *jetstream.MsgMetadata) error {
			if delivered++; meta.Sequence.Consumer != delivered {
				return errInterrupted
			}
			left = meta.NumPending
			r, there := s.record(m, meta)
			if !there {
				return nil
			}
			found = true
			return each(meta.Sequence.Stream, r)
		})
		if err == nil && delivered == before {
			err = errInterrupted
		}
		if err != nil {
			return err
		}
		if most = fewRecords; !found {
			most = min(2*int(delivered-before), manyRecords)
		}
	}
	return nil
}

var errInterrupted = errors.New("the listing of the records that were put aside was interrupted")

// fetch calls each with at most n messages. After an error of it the others are left out.
func fetch(ctx context.Context, c jetstream.Consumer, n int, each func(jetstream.Msg, *jetstream.MsgMetadata) error) error {
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	deadline, _ := ctx.Deadline()
	beat := min(readBeat, time.Until(deadline)/3) // the client refuses more than half
	batch, err := c.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(beat))
	if err != nil {
		return fmt.Errorf("read the records that were put aside: %w", err)
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		if err := each(m, meta); err != nil {
			return err
		}
	}
	return nil
}

// recordKey is what a [protocol.FailedRecordKey] looks like: the rollout, the name of the
// step's service or app, its phase, the direction and the record.
var recordKey = regexp.MustCompile(`^[^.]+\.([^.]+)\.([^.]+)\.[^.]+\.[-/_=a-zA-Z0-9]+$`)

// record is what a message of the bucket's stream says of a record: of one that cannot be
// read, what is known; false if it tells of one that is gone, or of none.
func (s *Store) record(m jetstream.Msg, meta *jetstream.MsgMetadata) (r protocol.FailedRecord, there bool) {
	key := recordKey.FindStringSubmatch(strings.TrimPrefix(m.Subject(), protocol.KeySubject(s.bucket, "")))
	if key == nil || m.Headers().Get("KV-Operation") != "" || m.Headers().Get(jetstream.MarkerReasonHeader) != "" {
		return r, false
	}
	if err := json.Unmarshal(m.Data(), &r); err != nil {
		r = protocol.FailedRecord{At: meta.Timestamp.UTC(), Error: "what was put aside cannot be read: " + rollout.Clip(err.Error())}
	}
	if r.Step == "" {
		r.Step = key[1] + "/" + key[2]
	}
	return r, true
}

// Drop forgets the records of a rollout.
func (s *Store) Drop(ctx context.Context, id string) error {
	for _, key := range Keys(id, "") {
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(protocol.KeySubject(s.bucket, key))); err != nil {
			return fmt.Errorf("drop the records that rollout %s has put aside: %w", id, err)
		}
	}
	return nil
}
