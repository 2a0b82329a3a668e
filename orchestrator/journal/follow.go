package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Event is one message about a rollout that has not been read yet.
type Event struct {
	Sequence uint64
	message  jetstream.Msg
	states   *states
}

// Dropped reports whether the message says that its rollout is being removed.
func (e Event) Dropped() bool { return e.message.Headers().Get(headerDropped) != "" }

// Foreign is the id of the environment that has written the event into this journal too, if it is
// another one.
func (e Event) Foreign() string {
	return raw{header: e.message.Headers()}.foreign(e.states.environment)
}

// Record gives the rollout after the event. Where earlier events have to be read for that, and
// the bus is away, it blocks until it is back, or ctx ends. [rollout.ErrNotFound] says that it
// is none, because somebody else has published it or the rollout is gone, and
// [rollout.ErrUnknown] that a newer version of golive has written it; the rollout's name stands
// in the record then.
func (e Event) Record(ctx context.Context) (Record, error) {
	m := raw{subject: e.message.Subject(), header: e.message.Headers(), data: e.message.Data(), sequence: e.Sequence}
	r, err := e.states.fold(ctx, m)
	for err != nil && bus.Unanswered(err) && pause(ctx, followPause) == nil {
		r, err = e.states.fold(ctx, m)
	}
	if errors.Is(err, errNoEvent) {
		err = fmt.Errorf("%w: message %d is %w", rollout.ErrNotFound, e.Sequence, err)
	}
	return r, err
}

// Follow calls each with every event from the one after sequence after on, in order,
// until ctx ends. It survives the loss of the bus without missing or repeating one. An
// error of each ends it.
func (j *Journal) Follow(ctx context.Context, after uint64, each func(Event) error) error {
	return j.follow(ctx, protocol.AllRollouts, after, each)
}

// FollowSubject is [Journal.Follow] for the rollouts that match a subject. What is no
// event is left out.
func (j *Journal) FollowSubject(ctx context.Context, subject string, after uint64, each func(Record) error) error {
	return j.follow(ctx, subject, after, func(e Event) error {
		r, err := e.Record(ctx)
		if errors.Is(err, rollout.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		return each(r)
	})
}

// follow reads from one consumer until that is lost or there is a new connection, then from the
// next. The client's own ordered consumer does not end with ctx while the bus is away.
func (j *Journal) follow(ctx context.Context, subject string, after uint64, each func(Event) error) error {
	connected := j.nc.StatusChanged(nats.CONNECTED)
	defer j.nc.RemoveStatusListener(connected)
	messages, err := j.messages(ctx, subject, after+1)
	if err != nil && !bus.Unanswered(err) && ctx.Err() == nil {
		return fmt.Errorf("follow %s: %w", subject, err)
	}
	for ctx.Err() == nil {
		if err == nil {
			after, err = j.hand(ctx, connected, messages, after, each)
			messages.Stop()
			if err != nil {
				return err
			}
		}
		if messages, err = j.messages(ctx, subject, after+1); err != nil {
			_ = pause(ctx, followPause) // ends early with ctx, as the loop does
		}
	}
	return nil
}

// messages gives what matches subject from sequence first on. Where nobody answers it gives up
// soon: what was asked before the bus was lost is never answered.
func (j *Journal) messages(ctx context.Context, subject string, first uint64) (jetstream.MessagesContext, error) {
	ctx, cancel := context.WithTimeout(ctx, followPatience)
	defer cancel()
	consumer, err := j.states.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubject: subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1,
	})
	if err != nil {
		return nil, err
	}
	return consumer.Messages(jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
}

// hand gives each the events of one consumer until that is lost or the bus is connected to anew,
// and gives back the sequence that it has come to. The error is that of each.
func (j *Journal) hand(ctx context.Context, connected <-chan nats.Status, messages jetstream.MessagesContext, after uint64, each func(Event) error) (uint64, error) {
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		select {
		case <-connected:
			cancel() // a server that was started anew does not know the consumer, and may say so late
		case <-ctx.Done():
		}
	})
	for delivered := uint64(1); ; delivered++ {
		m, err := messages.Next(jetstream.NextContext(ctx))
		if err != nil {
			return after, nil
		}
		meta, err := m.Metadata()
		if err != nil || meta.Sequence.Consumer != delivered {
			return after, nil // one before it was lost on the way
		}
		if err := each(Event{Sequence: meta.Sequence.Stream, message: m, states: j.states}); err != nil {
			return after, err
		}
		after = meta.Sequence.Stream
	}
}

// With the defaults, a consumer whose leader was killed stays silent for 30 s; with
// these, as long as the election takes (measured).
const (
	pullHeartbeat  = 500 * time.Millisecond
	pullExpiry     = 3 * time.Second
	followPause    = 250 * time.Millisecond // before a lost consumer is asked for again
	followPatience = 2 * time.Second        // for a consumer
)
