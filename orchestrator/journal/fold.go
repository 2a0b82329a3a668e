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
	"sync"

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

// folded holds rollouts as they were after their latest events: what comes next is folded onto
// them. States of a rollout share the steps that are the same in them. It is safe for
// concurrent use.
type folded struct {
	mu      sync.Mutex
	records map[uint64]Record // by sequence
	order   []uint64          // oldest first
	steps   int               // of all records together
}

// What is held: so many records, some two kilobytes each, with so many steps together, eight
// bytes each.
const (
	keepRecords = 4096
	keepSteps   = 1 << 19
)

func (f *folded) get(sequence uint64) (Record, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, known := f.records[sequence]
	return r, known
}

func (f *folded) put(r Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.records[r.Sequence]; known {
		return
	}
	if f.records == nil {
		f.records = make(map[uint64]Record)
	}
	f.records[r.Sequence] = r
	f.order = append(f.order, r.Sequence)
	f.steps += weight(r)
	for (f.steps > keepSteps || len(f.order) > keepRecords) && len(f.order) > 1 {
		f.steps -= weight(f.records[f.order[0]])
		delete(f.records, f.order[0])
		f.order = f.order[1:]
	}
}

// weight is what a record counts for; one without steps is not free.
func weight(r Record) int { return len(r.State.Steps) + 16 }

// fold gives the rollout after an event. What came before and is not known is read from the
// leader, event by event.
func (j *Journal) fold(ctx context.Context, m raw) (Record, error) {
	if r, known := j.folded.get(m.sequence); known {
		return r, nil
	}
	c, err := m.change()
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
		if r, known = j.folded.get(previous); known && r.State.ID == c.Rollout {
			break
		}
		r = Record{}
		found, err := j.message(ctx, previous)
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return Record{Sequence: m.sequence}, fmt.Errorf("%w: event %d, which it names as the one before it, is not there", errNoEvent, previous)
		}
		if err != nil {
			return Record{}, fmt.Errorf("load event %d of rollout %s: %w", previous, c.Rollout, err)
		}
		before, err := rawOf(found).change()
		if err != nil || before.Rollout != c.Rollout || previous >= chain[len(chain)-1].sequence {
			return Record{Sequence: m.sequence}, errNoEvent // it names as the one before it what is none of the rollout's
		}
		chain = append(chain, link{before, previous})
	}
	for _, l := range slices.Backward(chain) {
		if r, err = r.after(l.change, l.sequence); err != nil {
			return r, err
		}
		j.folded.put(r)
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
	return Record{State: s, Sequence: sequence}, nil
}

// newest gives the rollout after the newest event that matches a subject, as the leader has
// it.
func (j *Journal) newest(ctx context.Context, filter string) (Record, error) {
	m, err := j.lastMessage(ctx, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && m.Header.Get(headerDropped) != "" {
		return Record{}, rollout.ErrNotFound
	}
	if err != nil {
		return Record{}, fmt.Errorf("load %s: %w", filter, err)
	}
	r, err := j.fold(ctx, rawOf(m))
	if errors.Is(err, errNoEvent) { // somebody else has written there: what came before it counts
		return j.newestEvent(ctx, m.Subject, m.Sequence)
	}
	return r, err
}

// newestEvent is newest for a rollout whose newest message is no event.
func (j *Journal) newestEvent(ctx context.Context, subject string, last uint64) (Record, error) {
	var newest Record
	err := j.events(ctx, stretch{subject: subject, first: 1, last: last}, func(r Record) error {
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
func (j *Journal) events(ctx context.Context, s stretch, each func(Record) error) error {
	return j.read(ctx, s, func(m message) error {
		r, err := j.fold(ctx, raw{subject: m.Subject(), header: m.Headers(), data: m.Data(), sequence: m.sequence})
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
