package journal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// reader reads the messages of the journal's stream, as its leader has them. It is safe for
// concurrent use.
type reader struct{ stream jetstream.Stream }

// askFor is how long a leader is asked for: longer than an election. Each question has a
// patience of its own (see [bus.AskLeader]), whatever the caller's deadline: one that was on
// its way when a leader died is never answered.
const askFor = 15 * time.Second

// lastMessage gives the newest message that matches a subject, as the leader has it.
func (r reader) lastMessage(ctx context.Context, subject string) (m *jetstream.RawStreamMsg, err error) {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err = bus.AskLeader(asking, func(ctx context.Context) error {
		m, err = r.stream.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return m, err
}

// message gives the message at a sequence or, with a subject, the first one from there on that
// matches it.
func (r reader) message(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (m *jetstream.RawStreamMsg, err error) {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err = bus.AskLeader(asking, func(ctx context.Context) error {
		m, err = r.stream.GetMsg(ctx, sequence, opts...)
		return err
	})
	return m, err
}

// state asks the leader how far the stream reaches.
func (r reader) state(ctx context.Context) (jetstream.StreamState, error) {
	var info *jetstream.StreamInfo
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err := bus.AskLeader(asking, func(ctx context.Context) (err error) {
		info, err = r.stream.Info(ctx)
		return err
	})
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("find the end of stream %s: %w", protocol.Stream, err)
	}
	return info.State, nil
}

// last asks the leader for the sequence of the newest message that matches subject; 0
// when there is none.
func (r reader) last(ctx context.Context, subject string) (uint64, error) {
	m, err := r.lastMessage(ctx, subject)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("find the end of %s: %w", subject, err)
	}
	return m.Sequence, nil
}

// next asks the leader for the sequence of the oldest message from sequence first on
// that matches subject; 0 when there is none.
func (r reader) next(ctx context.Context, subject string, first uint64) (uint64, error) {
	m, err := r.message(ctx, first, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("look into %s after %d: %w", subject, first, err)
	}
	return m.Sequence, nil
}

// stretch is a part of the stream.
type stretch struct {
	subject     string
	first, last uint64 // sequences, both within
	headersOnly bool   // leave out the payloads
}

// message is one that was read, with what the server says of it.
type message struct {
	jetstream.Msg
	sequence uint64
	stored   time.Time
}

// errEnough ends a read that needs no more.
var errEnough = errors.New("enough")

// read calls each with every message of a stretch, in order and once. It ends with the
// stretch, with ctx, or with the error of each; [errEnough] is none.
//
// A consumer may live on a replica that is behind its leader: what it does not give is
// missing only if the leader says so.
func (r reader) read(ctx context.Context, s stretch, each func(message) error) error {
	for s.first <= s.last {
		complete, err := r.consume(ctx, jetstream.ConsumerConfig{
			FilterSubject: s.subject, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: s.first,
			HeadersOnly: s.headersOnly,
		}, func(m message) error {
			if m.sequence > s.last {
				return errEnough
			}
			s.first = m.sequence + 1
			if err := each(m); err != nil || s.first <= s.last {
				return err
			}
			return errEnough
		})
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
		further, err := r.next(ctx, s.subject, s.first)
		if err != nil {
			return err
		}
		if further == 0 || further > s.last {
			return nil
		}
		if complete { // it does not know yet what the leader knows
			err = pause(ctx, readPause)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

const (
	readBatch = 256                    // messages asked for at a time
	readWait  = 3 * time.Second        // for a batch
	readBeat  = 500 * time.Millisecond // of the server meanwhile: else a lost one is noticed late
	readPause = 20 * time.Millisecond  // before a consumer that is behind is replaced
	readTidy  = time.Second            // for the removal of a consumer
)

// consume calls each with what a new consumer has to give, until that is all or each
// gives an error, and reports whether it was all: a consumer that is lost, or one of
// whose messages is, gives less.
func (r reader) consume(ctx context.Context, c jetstream.ConsumerConfig, each func(message) error) (complete bool, err error) {
	c.AckPolicy, c.MemoryStorage, c.Replicas = jetstream.AckNonePolicy, true, 1
	consumer, err := r.stream.CreateConsumer(ctx, c)
	if err != nil {
		return false, err
	}
	// Left alone it would stay for seconds, and a stream takes 1,000 of them by default.
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTidy)
		defer cancel()
		_ = r.stream.DeleteConsumer(tidy, consumer.CachedInfo().Name) // else the server does, in a while
	}()
	delivered := uint64(0)
	for pending := consumer.CachedInfo().NumPending; pending > 0; {
		before := delivered
		err := fetch(ctx, consumer, int(min(pending, readBatch)), func(m message, number, left uint64) error {
			if delivered++; number != delivered {
				return errLost
			}
			pending = left
			return each(m)
		})
		if errors.Is(err, errLost) || err == nil && delivered == before {
			return false, ctx.Err()
		}
		if err != nil {
			return false, err
		}
	}
	return true, nil
}

// errLost says that a message was lost on the way.
var errLost = errors.New("lost")

// fetch calls each with at most n messages, the number that the consumer gave to it, and
// how many it has left.
func fetch(ctx context.Context, c jetstream.Consumer, n int, each func(m message, number, left uint64) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readWait)
	defer cancel()
	deadline, _ := ctx.Deadline()
	beat := min(readBeat, time.Until(deadline)/3) // the client refuses more than half
	batch, err := c.Fetch(n, jetstream.FetchContext(ctx), jetstream.FetchHeartbeat(beat))
	if err != nil {
		return err
	}
	for m := range batch.Messages() {
		meta, err := m.Metadata()
		if err != nil {
			return err
		}
		err = each(message{Msg: m, sequence: meta.Sequence.Stream, stored: meta.Timestamp}, meta.Sequence.Consumer, meta.NumPending)
		if err != nil {
			return err
		}
	}
	return nil
}
