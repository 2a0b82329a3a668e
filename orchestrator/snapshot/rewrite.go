package snapshot

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/nats-io/nats.go"
)

// Rewrite says what of an archive is put back. The zero value puts all of it back. Whatever is
// left out, the other messages keep their sequences, so that whoever relies on them finds what
// was there.
type Rewrite struct {
	Subjects    []string // only messages with a subject that one of these matches, with * and >; nil: all
	Last        int      // of each subject only so many, the newest; 0: all. An archive may have [MaxLastSubjects] subjects then
	NoConsumers bool     // the consumers are left out: nobody goes on where he was
	NoSchedules bool     // messages that the server would send later are left out

	// Change is called with each message that is put back, before it is written anywhere; it may
	// change its subject, header and body. An error ends the put. Nil: nothing is changed.
	Change func(*Message) error
}

// MaxLastSubjects is how many subjects an archive may have of which the last messages are asked
// for: what is kept of each takes memory.
const MaxLastSubjects = 250_000

// rewriter is a rewrite of one archive.
type rewriter struct {
	Rewrite
	from map[string]uint64 // the first sequence of each subject that is kept; nil: all
}

// newRewriter reads the archive once where it has to be known what comes last.
func newRewriter(rw Rewrite, open func() (io.ReadCloser, error)) (*rewriter, error) {
	r := &rewriter{Rewrite: rw}
	if rw.Last <= 0 {
		return r, nil
	}
	last := make(map[string][]uint64)
	err := reading(open, func(archive io.Reader) error {
		_, err := readAll(archive, each{message: func(m Message) error {
			if !r.wanted(m) {
				return nil
			}
			newest, known := last[m.Subject]
			if !known && len(last) == MaxLastSubjects {
				return fmt.Errorf("it has more than %d subjects: name fewer of them, or put all messages back", MaxLastSubjects)
			}
			if newest = append(newest, m.Sequence); len(newest) > rw.Last {
				newest = newest[:copy(newest, newest[1:])]
			}
			last[m.Subject] = newest
			return nil
		}}, nil)
		return err
	})
	if err != nil {
		return nil, err
	}
	r.from = make(map[string]uint64, len(last))
	for subject, newest := range last {
		r.from[subject] = newest[0]
	}
	return r, nil
}

// reading opens an archive, and closes it when read is done with it.
func reading(open func() (io.ReadCloser, error), read func(io.Reader) error) error {
	r, err := open()
	if err != nil {
		return err
	}
	return errors.Join(read(r), r.Close())
}

// wanted reports whether a message is put back, as far as itself tells.
func (r *rewriter) wanted(m Message) bool {
	if r.NoSchedules && header(m, "Nats-Schedule") != "" {
		return false
	}
	return len(r.Subjects) == 0 || slices.ContainsFunc(r.Subjects, func(pattern string) bool { return matches(pattern, m.Subject) })
}

// message is what becomes of a message; false: it is left out.
func (r *rewriter) message(m Message) (Message, bool, error) {
	if !r.wanted(m) || r.from != nil && m.Sequence < r.from[m.Subject] {
		return m, false, nil
	}
	if r.Change == nil {
		return m, true, nil
	}
	sequence, at := m.Sequence, m.Time
	if err := r.Change(&m); err != nil {
		return m, false, fmt.Errorf("change message %d: %w", sequence, err)
	}
	m.Sequence, m.Time = sequence, at
	return m, true, nil
}

// state is what becomes of the state of the stream.
func (r *rewriter) state(raw []byte) ([]byte, error) {
	if !r.NoConsumers {
		return raw, nil
	}
	fields := make(map[string]json.RawMessage)
	if err := json.Unmarshal(raw, &fields); err != nil {
		return nil, err
	}
	fields["consumer_count"] = json.RawMessage("0")
	return json.Marshal(fields)
}

// header is a header of a message; empty: it has none of that name.
func header(m Message, name string) string {
	if len(m.Header) == 0 {
		return ""
	}
	h, err := nats.DecodeHeadersMsg(m.Header)
	if err != nil {
		return ""
	}
	return h.Get(name)
}

// matches reports whether a pattern of subjects matches one.
func matches(pattern, subject string) bool {
	for {
		p, morePattern, hasPattern := strings.Cut(pattern, ".")
		s, moreSubject, hasSubject := strings.Cut(subject, ".")
		switch {
		case p == ">":
			return true
		case p != "*" && p != s, hasPattern != hasSubject:
			return false
		case !hasPattern:
			return true
		}
		pattern, subject = morePattern, moreSubject
	}
}
