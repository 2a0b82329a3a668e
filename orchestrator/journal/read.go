package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// History gives every event of a rollout, oldest first.
func (j *Journal) History(ctx context.Context, app, id string) ([]Record, error) {
	return j.HistoryFrom(ctx, app, id, 1)
}

// HistoryFrom gives the events of a rollout from a sequence on, oldest first; none if the
// rollout has none there.
func (j *Journal) HistoryFrom(ctx context.Context, app, id string, first uint64) ([]Record, error) {
	subject := protocol.RolloutSubject(app, id)
	last, err := j.last(ctx, subject)
	if err != nil {
		return nil, err
	}
	var records []Record
	err = j.events(ctx, stretch{subject: subject, first: first, last: last}, func(r Record) error {
		records = append(records, r)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("history of rollout %s: %w", id, err)
	}
	return records, nil
}

// Tail calls each with every event of an app that comes after sequence after, in order,
// up to the newest one at the time of the call, and returns. What is no event is left
// out. It holds these events in memory all at once: they come rollout by rollout, because
// the server finds a rollout's events by their subject, and an app's only by searching
// through those of all the others.
func (j *Journal) Tail(ctx context.Context, app string, after uint64, each func(rollout.State, uint64)) error {
	records, err := j.tail(ctx, app, after)
	if err != nil {
		return fmt.Errorf("read what has happened to app %s: %w", app, err)
	}
	for _, r := range records {
		each(r.State, r.Sequence)
	}
	return nil
}

func (j *Journal) tail(ctx context.Context, app string, after uint64) ([]Record, error) {
	last, err := j.last(ctx, protocol.AppRollouts(app))
	if err != nil || last <= after {
		return nil, err
	}
	ends, err := j.ends(ctx, app, last)
	if err != nil {
		return nil, err
	}
	var records []Record
	for subject, end := range ends {
		if end <= after {
			continue
		}
		err := j.events(ctx, stretch{subject: subject, first: after + 1, last: last}, func(r Record) error {
			records = append(records, r)
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	return records, nil
}

// ends gives the sequence of the newest message of each rollout of app, by subject, once
// they hold what had reached the leader by sequence last.
func (j *Journal) ends(ctx context.Context, app string, last uint64) (map[string]uint64, error) {
	for {
		ends := make(map[string]uint64)
		reached := uint64(0)
		_, err := j.consume(ctx, jetstream.ConsumerConfig{
			FilterSubject: protocol.AppRollouts(app), DeliverPolicy: jetstream.DeliverLastPerSubjectPolicy, HeadersOnly: true,
		}, func(m message) error {
			ends[m.Subject()], reached = m.sequence, max(reached, m.sequence)
			return nil
		})
		if err != nil || reached >= last {
			return ends, err
		}
		// The consumer's replica is behind, unless what was the newest has been dropped.
		if err := pause(ctx, readPause); err != nil {
			return nil, err
		}
		if last, err = j.last(ctx, protocol.AppRollouts(app)); err != nil {
			return nil, err
		}
	}
}

// askFor is how long a leader is asked for: longer than an election. Each question has a
// patience of its own (see [relay.AskLeader]), whatever the caller's deadline: one that was on
// its way when a leader died is never answered.
const askFor = 15 * time.Second

// lastMessage gives the newest message that matches a subject, as the leader has it.
func (j *Journal) lastMessage(ctx context.Context, subject string) (m *jetstream.RawStreamMsg, err error) {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err = relay.AskLeader(asking, func(ctx context.Context) error {
		m, err = j.stream.GetLastMsgForSubject(ctx, subject)
		return err
	})
	return m, err
}

// message gives the message at a sequence or, with a subject, the first one from there on that
// matches it.
func (j *Journal) message(ctx context.Context, sequence uint64, opts ...jetstream.GetMsgOpt) (m *jetstream.RawStreamMsg, err error) {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err = relay.AskLeader(asking, func(ctx context.Context) error {
		m, err = j.stream.GetMsg(ctx, sequence, opts...)
		return err
	})
	return m, err
}

// last asks the leader for the sequence of the newest message that matches subject; 0
// when there is none.
func (j *Journal) last(ctx context.Context, subject string) (uint64, error) {
	m, err := j.lastMessage(ctx, subject)
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
func (j *Journal) next(ctx context.Context, subject string, first uint64) (uint64, error) {
	m, err := j.message(ctx, first, jetstream.WithGetMsgSubject(subject))
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
func (j *Journal) read(ctx context.Context, s stretch, each func(message) error) error {
	for s.first <= s.last {
		complete, err := j.consume(ctx, jetstream.ConsumerConfig{
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
		further, err := j.next(ctx, s.subject, s.first)
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
	readBeat  = 500 * time.Millisecond // of the server meanwhile: without it a lost one is noticed late
	readPause = 20 * time.Millisecond  // before a consumer that is behind is replaced
	readTidy  = time.Second            // for the removal of a consumer
)

// consume calls each with what a new consumer has to give, until that is all or each
// gives an error, and reports whether it was all: a consumer that is lost, or one of
// whose messages is, gives less.
func (j *Journal) consume(ctx context.Context, c jetstream.ConsumerConfig, each func(message) error) (complete bool, err error) {
	c.AckPolicy, c.MemoryStorage, c.Replicas = jetstream.AckNonePolicy, true, 1
	consumer, err := j.stream.CreateConsumer(ctx, c)
	if err != nil {
		return false, err
	}
	// Left alone it would stay for seconds, and a stream takes 1,000 of them by default.
	defer func() {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), readTidy)
		defer cancel()
		_ = j.stream.DeleteConsumer(tidy, consumer.CachedInfo().Name) // else the server does, in a while
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
