// Package journal keeps rollouts in JetStream: everything that has happened to every
// rollout, as the one truth about them, and at the same time the queue of what has to
// be done next.
//
// Each event is one message on the rollout's subject that carries what the event has changed
// (a [rollout.Change]), stored only if nobody has stored another one since the state was
// loaded. A rollout's state is the fold of its events. A message on its subject counts only
// with our headers, and if it is about that rollout; all others are skipped. Reads come from
// the stream's leader. The stream also keeps plain replies to starts, and timers, so that
// neither is lost while no orchestrator runs.
package journal

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Journal is safe for concurrent use. It stores events, loads rollouts and follows them; its
// parts list the rollouts, remove old ones, and give out what is to be done.
type Journal struct {
	nc     *nats.Conn
	js     publisher
	states *states
	clock  *bus.Clock

	history   // Load, History, Tail
	identity  // FateOf, End, Empty, Forget
	list      // Page, Find
	retention // Finished, Drop, DropReplies
	queue     // Work, Remind
}

// publisher stores messages; it is a [bus.JetStream].
type publisher interface {
	PublishMsg(context.Context, *nats.Msg, ...jetstream.PublishOpt) (*jetstream.PubAck, error)
}

func newJournal(nc *nats.Conn, js publisher, stream jetstream.Stream) *Journal {
	s := &states{reader: reader{stream}, environment: bus.Environment(stream.CachedInfo().Config)}
	return &Journal{
		nc: nc, js: js, states: s, clock: new(bus.Clock),
		history: history{s}, identity: identity{s},
		list: list{reader: s.reader}, retention: retention{js: js, states: s}, queue: queue{js: js, states: s},
	}
}

// Record is one event of a rollout as the journal holds it.
type Record struct {
	State    rollout.State
	Sequence uint64
	Previous uint64 // sequence of the rollout's event before; 0: it is the first one
}

// Append stores the state that an event has led to, if after is still the sequence of
// the rollout's newest message. It gives the new sequence; [rollout.ErrConflict] when
// somebody else was faster. After any other error it is unknown whether the event was
// stored; appending again finds out.
func (j *Journal) Append(ctx context.Context, s rollout.State, after uint64) (uint64, error) {
	before, err := j.at(ctx, s, after)
	if err != nil {
		return 0, err
	}
	return j.publish(ctx, s, before, after, subjectOf(s), "")
}

// at gives a rollout as it was after the event at a sequence.
func (j *Journal) at(ctx context.Context, s rollout.State, sequence uint64) (Record, error) {
	if sequence == 0 { // before its first event
		return Record{}, nil
	}
	if r, known := j.states.cache.get(sequence); known && r.State.ID == s.ID {
		return r, nil
	}
	r, err := j.states.newest(ctx, subjectOf(s))
	if err == nil && r.Sequence != sequence {
		err = rollout.ErrConflict
	}
	if err != nil {
		return r, fmt.Errorf("append to rollout %s: %w", s.ID, err)
	}
	return r, nil
}

// AppendNext is [Journal.Append] if after is still the sequence of the newest message about
// any rollout of the app.
func (j *Journal) AppendNext(ctx context.Context, s rollout.State, after uint64) (uint64, error) {
	before, err := j.states.newest(ctx, subjectOf(s))
	if err != nil {
		return 0, fmt.Errorf("append to rollout %s: %w", s.ID, err)
	}
	return j.publish(ctx, s, before, after, protocol.AppRollouts(s.Release.App), "")
}

// Begin is [Journal.AppendNext] for the first state of a rollout; after is 0 when nothing is
// known of its app. A rollout that has begun within the last two minutes is refused with
// [rollout.ErrConflict], whatever has become of it; see [Fresh].
func (j *Journal) Begin(ctx context.Context, s rollout.State, after uint64) (uint64, error) {
	return j.publish(ctx, s, Record{}, after, protocol.AppRollouts(s.Release.App), s.ID)
}

const (
	maxTries   = 5               // how often a publish without a clear answer is repeated
	ackTimeout = 5 * time.Second // for the answer to one: it may be lost although the event was stored
)

// duplicates is how long the server knows the first event of a rollout again; see [Fresh].
const duplicates = 2 * time.Minute

// Fresh reports whether a rollout with this id cannot have begun unless within the last two
// minutes, in which the server refuses to store its first event a second time: [Journal.Begin]
// gives [rollout.ErrConflict] then. The id tells when it was made; a clock that is wrong
// makes it old.
func Fresh(id string, now time.Time) bool {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return false
	}
	seconds, nanoseconds := u.Time().UnixTime()
	age := now.Sub(time.Unix(seconds, nanoseconds))
	return age > -10*time.Second && age < duplicates/2
}

// publish stores one event, under a message id if once is given. An error of the bus, and a
// refusal, do not tell whether the event was stored (a cluster refuses with "wrong last
// sequence" also where there is no conflict), so the leader is asked before anything is
// concluded.
func (j *Journal) publish(ctx context.Context, s rollout.State, before Record, after uint64, filter, once string) (uint64, error) {
	m, id, err := event(s, before, j.Environment())
	if err != nil {
		return 0, err
	}
	if err := j.fits(m, s); err != nil {
		return 0, err
	}
	if once != "" {
		m.Header.Set(jetstream.MsgIDHeader, once)
	}
	for try := 1; ; try++ {
		waiting, cancel := context.WithTimeout(ctx, ackTimeout)
		ack, err := j.js.PublishMsg(waiting, m, jetstream.WithExpectLastSequenceForSubject(after, filter))
		cancel()
		if err == nil && ack.Duplicate && try == 1 {
			return 0, fmt.Errorf("begin rollout %s a second time: %w", s.ID, rollout.ErrConflict)
		}
		if err == nil {
			j.states.cache.put(Record{State: s, Sequence: ack.Sequence, Previous: before.Sequence})
			return ack.Sequence, nil
		}
		newest, readErr := j.states.lastMessage(ctx, filter)
		switch {
		case errors.Is(readErr, jetstream.ErrMsgNotFound):
			newest = &jetstream.RawStreamMsg{}
		case readErr != nil:
			return 0, fmt.Errorf("append to rollout %s: %w", s.ID, errors.Join(err, readErr))
		}
		if newest.Header.Get(headerID) == id {
			j.states.cache.put(Record{State: s, Sequence: newest.Sequence, Previous: before.Sequence})
			return newest.Sequence, nil
		}
		if newest.Sequence != after && filter == m.Subject && j.overwritten(ctx, m.Subject, before.Sequence, rawOf(newest)) {
			after = newest.Sequence
			continue
		}
		if newest.Sequence != after {
			return 0, fmt.Errorf("append to rollout %s: %w", s.ID, rollout.ErrConflict)
		}
		if try == maxTries || errors.Is(err, bus.ErrFull) {
			return 0, fmt.Errorf("append to rollout %s: %w", s.ID, err)
		}
		if err := pause(ctx, time.Duration(try)*20*time.Millisecond); err != nil {
			return 0, err
		}
	}
}

// Fits is [rollout.ErrTooLarge] if the first event of a rollout that begins in this state would
// not fit into a message.
func (j *Journal) Fits(s rollout.State) error {
	m, _, err := event(s, Record{}, j.Environment())
	if err != nil {
		return err
	}
	return j.fits(m, s)
}

// roomForOptions is what the headers of a publish add to a message.
const roomForOptions = 256

func (j *Journal) fits(m *nats.Msg, s rollout.State) error {
	if size, most := m.Size()+roomForOptions, int(j.nc.MaxPayload()); size > most {
		return fmt.Errorf("%s of rollout %s: %w: the event has %d bytes, compressed, and a message may have %d here (max_payload)", s.What(), s.ID, rollout.ErrTooLarge, size, most)
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// overwritten reports whether nothing but what is no event has come after a rollout's event:
// then the next one follows on it all the same.
func (j *Journal) overwritten(ctx context.Context, subject string, event uint64, newest raw) bool {
	if _, err := j.states.fold(ctx, newest); !errors.Is(err, errNoEvent) || newest.header.Get(headerDropped) != "" {
		return false
	}
	r, err := j.states.newestEvent(ctx, subject, newest.sequence)
	return err == nil && r.Sequence == event
}

// event is the CloudEvent, in binary mode, of the event that led to s in an environment.
func event(s rollout.State, before Record, environment string) (m *nats.Msg, id string, err error) {
	unique, err := uuid.NewV7()
	if err != nil {
		return nil, "", err
	}
	id = unique.String()
	data, err := json.Marshal(s.ChangeFrom(before.State, before.Sequence))
	if err != nil {
		return nil, "", fmt.Errorf("write rollout %s: %w", s.ID, err)
	}
	m = nats.NewMsg(subjectOf(s))
	var encoding string
	if m.Data, encoding = compressed(data); encoding != "" {
		m.Header.Set(headerEncoding, encoding)
	}
	m.Header.Set(headerID, id)
	if environment != "" {
		m.Header.Set(protocol.HeaderEnvironment, environment)
	}
	m.Header.Set("ce-specversion", "1.0")
	m.Header.Set(headerType, typePrefix+s.What()+".v1")
	m.Header.Set("ce-source", "/golive/apps/"+s.Release.App)
	m.Header.Set("ce-subject", s.ID)
	m.Header.Set("ce-time", s.Event.At.UTC().Format(time.RFC3339Nano))
	m.Header.Set("ce-datacontenttype", "application/json")
	m.Header.Set("content-type", "application/json")
	return m, id, nil
}

// Skipped is how many messages on the subjects of rollouts were skipped by this journal's readers
// since it was opened, because they are no events of golive: somebody else has published them. An
// event whose rollout is removed while it is read is counted, too. Each message counts once, as
// long as no more than 4,096 others have been skipped since.
func (j *Journal) Skipped() uint64 { return j.states.skipped.count() }

// Last is the sequence of the newest message about any rollout; 0 when there is none.
// An index that has reached it knows all that has happened so far.
func (j *Journal) Last(ctx context.Context) (uint64, error) {
	// The server finds the newest message that matches a wildcard by looking at every
	// subject there is, which takes 16 ms for 100,000; here it is the newest of all
	// messages, or one of a few before it.
	var info *jetstream.StreamInfo
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	err := bus.AskLeader(asking, func(ctx context.Context) (err error) {
		info, err = j.info(ctx)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("find the end of stream %s: %w", protocol.Stream, err)
	}
	state := info.State
	for sequence := state.LastSeq; sequence > 0 && sequence >= state.FirstSeq && state.LastSeq-sequence < lookBack; sequence-- {
		m, err := j.states.message(ctx, sequence)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, fmt.Errorf("find the end of stream %s: %w", protocol.Stream, err)
		}
		if err == nil && strings.HasPrefix(m.Subject, strings.TrimSuffix(protocol.AllRollouts, ">")) {
			return sequence, nil
		}
	}
	return j.states.last(ctx, protocol.AllRollouts)
}

const lookBack = 32 // messages that are looked at one by one
