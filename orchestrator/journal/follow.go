package journal

import (
	"context"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// Follow calls each with every event from the one after sequence after on, in order,
// until ctx ends. It survives the loss of the bus without missing or repeating one. An
// error of each ends it.
func (j *Journal) Follow(ctx context.Context, after uint64, each func(Record) error) error {
	return j.FollowSubject(ctx, protocol.AllRollouts, after, each)
}

// FollowSubject is [Journal.Follow] for the rollouts that match a subject.
func (j *Journal) FollowSubject(ctx context.Context, subject string, after uint64, each func(Record) error) error {
	consumer, err := j.stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{subject}, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: after + 1,
	})
	if err != nil {
		return fmt.Errorf("follow %s: %w", subject, err)
	}
	messages, err := consumer.Messages(jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("follow %s: %w", subject, err)
	}
	defer messages.Stop()
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("follow %s: %w", subject, err)
		}
		meta, err := m.Metadata()
		if err != nil {
			return fmt.Errorf("follow %s: %w", subject, err)
		}
		r, err := record(m.Data(), meta.Sequence.Stream)
		if err != nil {
			return err
		}
		if err := each(r); err != nil {
			return err
		}
	}
}

// With the defaults, a consumer whose leader was killed stays silent for 30 s; with
// these, as long as the election takes (measured).
const (
	pullHeartbeat = 500 * time.Millisecond
	pullExpiry    = 3 * time.Second
)
