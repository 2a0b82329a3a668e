package rehearsal

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
)

// Limits of a [State].
const (
	MaxNamed = 250_000 // subjects, or messages, of a stream beyond which it is told that it differs, and not in what
	maxTold  = 3       // differences of one stream that are told by name
)

// State is what there is in streams and buckets at a moment, as far as it takes to tell whether it is
// the same at another one. Sequences and times do not count, nor headers: what was taken away and
// written again is the same. Of a bucket its keys count as they are now; of a stream its messages in
// their order. What is empty is as what is not there.
type State struct {
	Digest string // SHA-256 in hex, over all
	parts  map[string]*partState
}

// partState is the state of one stream or bucket.
type partState struct {
	what     string // "bucket todos"
	ordered  bool   // the order of its messages counts
	order    [32]byte
	messages uint64
	last     map[string]uint64 // of what is not ordered, by subject; nil: there are too many
	each     []mark            // of what is; nil: there are too many
}

// mark is a message.
type mark struct {
	sequence uint64
	subject  string
	hash     uint64
}

// PartsOf are the streams and buckets in which services of a snapshot, or of a release, have their
// data, each once. What is kept in any other way is not among them.
func PartsOf(s snapshot.Snapshot, r rollout.Release) []snapshot.Part {
	var all []snapshot.Part
	for _, service := range slices.Concat(s.Services, snapshot.ServicesOf(r)) {
		for _, p := range service.Parts {
			known := slices.Contains([]string{snapshot.KindStream, snapshot.KindKV, snapshot.KindObjects}, p.Kind)
			if known && !slices.ContainsFunc(all, func(o snapshot.Part) bool { return o.Stream() == p.Stream() }) {
				all = append(all, snapshot.Part{Kind: p.Kind, Name: p.Name})
			}
		}
	}
	return all
}

// Look reads the state of parts. It blocks until all of them were read, one after the other, and
// takes memory for as many subjects as [MaxNamed] of each.
func Look(ctx context.Context, js bus.JetStream, parts []snapshot.Part) (State, error) {
	s := State{parts: make(map[string]*partState)}
	for _, p := range parts {
		one, err := look(ctx, js, p)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return s, err
		}
		if one.messages > 0 {
			s.parts[p.Stream()] = one
		}
	}
	h := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(s.parts)) {
		sum := s.parts[name].sum()
		h.Write(append([]byte(name+"\x00"), sum[:]...)) // writing to a hash never fails
	}
	s.Digest = hex.EncodeToString(h.Sum(nil))
	return s, nil
}

// look reads one stream.
func look(ctx context.Context, js bus.JetStream, p snapshot.Part) (*partState, error) {
	pr, pw := io.Pipe()
	taking := make(chan error, 1)
	go func() {
		_, err := snapshot.Take(ctx, js, p.Stream(), pw)
		taking <- err
		_ = pw.CloseWithError(err) // never fails
	}()
	one := &partState{what: called(p), ordered: p.Kind == snapshot.KindStream}
	if one.ordered {
		one.each = []mark{}
	} else {
		one.last = make(map[string]uint64)
	}
	_, err := snapshot.Messages(pr, func(m snapshot.Message) error { one.add(p.Kind, m); return nil })
	_ = pr.CloseWithError(errors.New("it was not read to its end")) // never fails
	if e := <-taking; e != nil {
		return nil, e
	}
	return one, err
}

// called is what a part is called for people.
func called(p snapshot.Part) string {
	switch p.Kind {
	case snapshot.KindKV:
		return "bucket " + p.Name
	case snapshot.KindObjects:
		return "object store " + p.Name
	}
	return "stream " + p.Name
}

// add takes in a message.
func (s *partState) add(kind string, m snapshot.Message) {
	subject, body, gone := m.Subject, m.Body, false
	switch kind {
	case snapshot.KindKV:
		_, key, _ := strings.Cut(strings.TrimPrefix(subject, "$KV."), ".")
		subject, gone = key, snapshot.HeaderOf(m, "KV-Operation") != "" || snapshot.HeaderOf(m, jetstream.MarkerReasonHeader) != ""
	case snapshot.KindObjects:
		if subject, body, gone = object(m); subject == "" {
			return
		}
	default:
		s.chain(m.Sequence, subject, body)
		return
	}
	if s.last == nil {
		s.chain(m.Sequence, subject, body)
		return
	}
	if gone {
		delete(s.last, subject)
	} else {
		s.last[subject] = hashOf(subject, body)
	}
	if s.messages = uint64(len(s.last)); len(s.last) > MaxNamed { // from here on, only what comes counts, in its order
		s.order = s.sum()
		s.last = nil
	}
}

// chain takes in a message whose place counts.
func (s *partState) chain(sequence uint64, subject string, body []byte) {
	hash := hashOf(subject, body)
	s.messages++
	s.order = sha256.Sum256(binary.BigEndian.AppendUint64(s.order[:], hash))
	if s.each == nil || len(s.each) == MaxNamed {
		s.each = nil
		return
	}
	s.each = append(s.each, mark{sequence, subject, hash})
}

// object is the name of an object and what tells it from others; of a chunk there is none: its
// name is another one each time, and the object has a digest.
func object(m snapshot.Message) (name string, content []byte, gone bool) {
	tokens := strings.Split(m.Subject, ".")
	var info struct {
		Name    string `json:"name"`
		Digest  string `json:"digest"`
		Deleted bool   `json:"deleted"`
	}
	if len(tokens) < 4 || tokens[2] != "M" || json.Unmarshal(m.Body, &info) != nil {
		return "", nil, false
	}
	return info.Name, []byte(info.Digest), info.Deleted
}

// hashOf is 64 bits of what a message holds.
func hashOf(subject string, body []byte) uint64 {
	h := sha256.New()
	h.Write(binary.AppendUvarint(nil, uint64(len(subject)))) // writing to a hash never fails
	h.Write([]byte(subject))
	h.Write(body)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// sum is the digest of a part.
func (s *partState) sum() [32]byte {
	if s.ordered || s.last == nil {
		return s.order
	}
	h := sha256.New()
	for _, subject := range slices.Sorted(maps.Keys(s.last)) {
		h.Write(binary.BigEndian.AppendUint64([]byte(subject+"\x00"), s.last[subject])) // never fails
	}
	return [32]byte(h.Sum(nil))
}

// Differences tells how a state differs from another one, by name: which stream, bucket, key or
// sequence; of each the first few. There are none where both are the same.
func (s State) Differences(from State) []string {
	var all []string
	names := slices.Sorted(maps.Keys(s.parts))
	for name := range from.parts {
		if s.parts[name] == nil {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		is, was := s.parts[name], from.parts[name]
		switch {
		case was == nil:
			all = append(all, fmt.Sprintf("%s holds %d, and held nothing", is.what, is.messages))
		case is == nil:
			all = append(all, fmt.Sprintf("%s holds nothing, and held %d", was.what, was.messages))
		case is.sum() != was.sum():
			all = append(all, is.differs(was)...)
		}
	}
	return all
}

// differs names what is not the same.
func (s *partState) differs(from *partState) []string {
	if s.ordered && s.each != nil && from.each != nil {
		return []string{s.what + ": " + firstOf(s.each, from.each)}
	}
	if s.last == nil || from.last == nil {
		return []string{fmt.Sprintf("%s: it holds other messages, and too many to name one", s.what)}
	}
	var all []string
	more := 0
	for _, key := range slices.Sorted(maps.Keys(union(s.last, from.last))) {
		is, there := s.last[key]
		was, before := from.last[key]
		if there && before && is == was {
			continue
		}
		if len(all) == maxTold {
			more++
			continue
		}
		how := "is another one"
		if !before {
			how = "is new"
		} else if !there {
			how = "is gone"
		}
		all = append(all, fmt.Sprintf("%s: %s %s", s.what, key, how))
	}
	if more > 0 {
		all = append(all, fmt.Sprintf("%s: and %d more", s.what, more))
	}
	return all
}

func union(a, b map[string]uint64) map[string]bool {
	all := make(map[string]bool, len(a))
	for key := range a {
		all[key] = true
	}
	for key := range b {
		all[key] = true
	}
	return all
}

// firstOf tells the first message that is not the same.
func firstOf(is, was []mark) string {
	for i := range is {
		if i == len(was) {
			return fmt.Sprintf("%s new, from sequence %d (%s) on", messagesAre(len(is)-i), is[i].sequence, is[i].subject)
		}
		if is[i].hash != was[i].hash {
			return fmt.Sprintf("the message at sequence %d (%s) is not the one that was at %d (%s)", is[i].sequence, is[i].subject, was[i].sequence, was[i].subject)
		}
	}
	return fmt.Sprintf("%s gone, which began at sequence %d (%s)", messagesAre(len(was)-len(is)), was[len(is)].sequence, was[len(is)].subject)
}

func messagesAre(n int) string {
	if n == 1 {
		return "a message is"
	}
	return fmt.Sprintf("%d messages are", n)
}
