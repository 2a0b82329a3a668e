package journal

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// raw is a message on a rollout's subject that was not read yet.
type raw struct {
	subject  string
	header   nats.Header
	data     []byte
	sequence uint64
}

func rawOf(m *jetstream.RawStreamMsg) raw {
	return raw{subject: m.Subject, header: m.Header, data: m.Data, sequence: m.Sequence}
}

// errNoEvent says that a message on a rollout's subject is none of its events: every reader
// skips it.
var errNoEvent = errors.New("not an event of golive")

// Headers of an event's message.
const (
	headerID       = "ce-id"
	headerType     = "ce-type"
	headerEncoding = "Content-Encoding"
	headerDropped  = "Golive-Dropped" // the rollout is being removed: this message is the end of it
)

const (
	typePrefix   = "golive.rollout."
	gzipped      = "gzip"
	compressFrom = 8 << 10   // bytes from which on an event is compressed
	maxInflated  = 256 << 20 // bytes that an event may have when it is not compressed any more
)

// change reads the message. It counts only with our headers, and if it is about the rollout
// that its subject names.
func (m raw) change() (rollout.Change, error) {
	var c rollout.Change
	ref, ok := parseRef(m.subject)
	if !ok || m.header.Get(headerID) == "" || !strings.HasPrefix(m.header.Get(headerType), typePrefix) {
		return c, errNoEvent
	}
	data, err := m.payload()
	if err != nil || json.Unmarshal(data, &c) != nil || c.App != ref.App || c.Rollout != ref.ID {
		return c, errNoEvent
	}
	return c, nil
}

// foreign is the environment whose orchestrator has written the event, if it is another one than
// this: a bus may have several, each with a journal of its own, on the same subjects.
func (m raw) foreign(environment string) string {
	if is := m.header.Get(protocol.HeaderEnvironment); is != environment && environment != "" {
		return is
	}
	return ""
}

func (m raw) payload() ([]byte, error) {
	if m.header.Get(headerEncoding) != gzipped {
		return m.data, nil
	}
	r, err := gzip.NewReader(bytes.NewReader(m.data))
	if err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(r, maxInflated))
	return data, errors.Join(err, r.Close())
}

// compressed is data in the form in which it is stored.
func compressed(data []byte) ([]byte, string) {
	if len(data) < compressFrom {
		return data, ""
	}
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(data)
	if errors.Join(err, w.Close()) != nil {
		return data, ""
	}
	return b.Bytes(), gzipped
}

// states gives rollouts as the fold of their events. It is safe for concurrent use.
type states struct {
	reader
	environment string // whose events count
	cache       cache
	skipped     skipped
}

// fold gives the rollout after an event. Whoever reads a rollout's subject comes here with each
// message, so what is skipped is counted here: what is no event, and not our own last message of
// a rollout that is being removed.
func (s *states) fold(ctx context.Context, m raw) (Record, error) {
	r, err := s.record(ctx, m)
	if errors.Is(err, errNoEvent) && m.header.Get(headerDropped) == "" {
		s.skipped.add(m.sequence)
	}
	return r, err
}

// record gives the rollout after an event. What came before and is not known is read from the
// leader, event by event.
func (s *states) record(ctx context.Context, m raw) (Record, error) {
	if r, known := s.cache.get(m.sequence); known {
		return r, nil
	}
	c, err := m.change()
	if err == nil && m.foreign(s.environment) != "" {
		err = errNoEvent // it is of a rollout that another journal has
	}
	if err != nil {
		return Record{Sequence: m.sequence}, err
	}
	type link struct {
		change   rollout.Change
		sequence uint64
	}
	chain := []link{{c, m.sequence}}
	var r Record
	for previous := c.Previous; previous > 0; previous = chain[len(chain)-1].change.Previous {
		known := false
		if r, known = s.cache.get(previous); known && r.State.ID == c.Rollout {
			break
		}
		r = Record{}
		found, err := s.message(ctx, previous)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return Record{Sequence: m.sequence}, fmt.Errorf("%w: event %d, which it names as the one before it, is not there", errNoEvent, previous)
		}
		if err != nil {
			return Record{}, fmt.Errorf("load event %d of rollout %s: %w", previous, c.Rollout, err)
		}
		before, err := rawOf(found).change()
		if err != nil || before.Rollout != c.Rollout || previous >= chain[len(chain)-1].sequence {
			// It names as the one before it what is none of the rollout's.
			return Record{Sequence: m.sequence}, errNoEvent
		}
		chain = append(chain, link{before, previous})
	}
	for _, l := range slices.Backward(chain) {
		if r, err = r.after(l.change, l.sequence); err != nil {
			return r, err
		}
		s.cache.put(r)
	}
	return r, nil
}

// after is the record after a change. Where that cannot be read by this version of golive, it
// names the rollout and nothing else.
func (r Record) after(c rollout.Change, sequence uint64) (Record, error) {
	s, err := r.State.Fold(c, r.Sequence)
	if errors.Is(err, rollout.ErrUnknown) {
		return Record{Sequence: sequence, State: rollout.State{ID: c.Rollout, Release: rollout.Release{App: c.App, Version: c.Version}}}, err
	}
	if err != nil {
		return Record{Sequence: sequence}, fmt.Errorf("%w: %w", errNoEvent, err)
	}
	return Record{State: s, Sequence: sequence, Previous: r.Sequence}, nil
}

// newest gives the rollout after the newest event that matches a subject, as the leader has
// it.
func (s *states) newest(ctx context.Context, filter string) (Record, error) {
	m, err := s.lastMessage(ctx, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Header.Get(headerDropped) != "" {
		return Record{}, rollout.ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("load %s: %w", filter, err)
	}
	r, err := s.fold(ctx, rawOf(m))
	if errors.Is(err, errNoEvent) { // somebody else has written there: what came before it counts
		return s.newestEvent(ctx, m.Subject, m.Sequence)
	}
	return r, err
}

// newestEvent is newest for a rollout whose newest message is no event.
func (s *states) newestEvent(ctx context.Context, subject string, last uint64) (Record, error) {
	var newest Record
	err := s.events(ctx, stretch{subject: subject, first: 1, last: last}, func(r Record) error {
		newest = r
		return nil
	})
	if err == nil && newest.State.ID == "" {
		err = rollout.ErrNotFound
	}
	return newest, err
}

// events calls each with the rollouts after the events of a stretch, in order. What is no
// event is left out.
func (s *states) events(ctx context.Context, part stretch, each func(Record) error) error {
	return s.read(ctx, part, func(m message) error {
		r, err := s.fold(ctx, raw{subject: m.Subject(), header: m.Headers(), data: m.Data(), sequence: m.sequence})
		if errors.Is(err, errNoEvent) {
			return nil
		}
		if err != nil {
			return err
		}
		return each(r)
	})
}

// subjectOf is the subject of a rollout's events.
func subjectOf(s rollout.State) string { return protocol.RolloutSubject(s.Release.App, s.ID) }
