package snapshot

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/klauspost/compress/s2"
	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/mask"
)

// ForCopy is the purpose of a copy of a snapshot, which holds only some of it, or personal values
// masked.
const ForCopy Purpose = "copy"

// Cut says what of a snapshot a copy of it holds. The zero value is all of it. Consumers, and
// messages that would be sent later, are in no copy. Object stores are copied whole.
type Cut struct {
	Latest int         `json:"latest,omitempty"` // of each subject or key so many messages, the newest; 0: all
	Where  []string    `json:"where,omitempty"`  // of streams that take such subjects, with * and >, only messages with one of them; nil: all
	Sample float64     `json:"sample,omitempty"` // about this share of the keys of a bucket and of the subjects of a stream or, if that has few, of its messages; 0: all
	Mask   MaskedParts `json:"mask,omitempty"`   // what is masked; nil: nothing
}

// MaskedParts are the rules of what is masked, by the name of a stream or bucket. Where there are
// any, what cannot be masked is copied only where its rules say that it passes.
type MaskedParts map[string]mask.Written

// sampleByWhole is from how many subjects of a stream on it is them that are drawn, and not messages.
const sampleByWhole = 1000

// Limits of a cut.
const (
	MaxWhere   = 100
	MaxPattern = 256 // bytes
)

// ErrMask says that something cannot be masked.
var ErrMask = errors.New("it cannot be masked")

// Whole reports whether nothing is left out or masked.
func (c Cut) Whole() bool {
	return c.Latest == 0 && len(c.Where) == 0 && c.Sample == 0 && len(c.Mask) == 0
}

// Validate refuses a cut that cannot be made.
func (c Cut) Validate() error {
	switch {
	case c.Latest < 0:
		return fmt.Errorf("latest is %d: it must be 1 or more", c.Latest)
	case c.Sample < 0 || c.Sample > 1:
		return fmt.Errorf("sample is %g: it must be more than 0, and 1 at most", c.Sample)
	case len(c.Where) > MaxWhere:
		return fmt.Errorf("there are %d subjects in where, at most %d are allowed", len(c.Where), MaxWhere)
	}
	for _, pattern := range c.Where {
		tokens := strings.Split(pattern, ".")
		empty := slices.Index(tokens, "") >= 0 || strings.ContainsAny(pattern, " \t\r\n")
		if end := slices.Index(tokens, ">"); empty || len(pattern) > MaxPattern || end >= 0 && end < len(tokens)-1 {
			return fmt.Errorf("where %q is no subject: it has tokens with dots between them, * for one and > for all that follow, and %d bytes at most", pattern, MaxPattern)
		}
	}
	return c.Mask.Validate()
}

// Validate refuses rules that are none.
func (m MaskedParts) Validate() error {
	if len(m) > mask.MaxParts {
		return fmt.Errorf("mask names %d streams and buckets, at most %d are allowed", len(m), mask.MaxParts)
	}
	for name, rules := range m {
		if err := rules.Validate(); err != nil {
			return fmt.Errorf("mask.%s: %s", name, strings.TrimPrefix(err.Error(), "mask: "))
		}
	}
	return nil
}

// And are the rules of both; where both are about the same, those of m count.
func (m MaskedParts) And(other MaskedParts) MaskedParts {
	if len(m)+len(other) == 0 {
		return nil
	}
	all := maps.Clone(other)
	if all == nil {
		all = make(MaskedParts)
	}
	for name, rules := range m {
		all[name] = rules.And(other[name])
	}
	return all
}

// Covers reports whether all that other masks is masked by m, in the same way.
func (m MaskedParts) Covers(other MaskedParts) bool {
	for name, rules := range other {
		if !maps.Equal(rules.And(m[name]), m[name]) {
			return false
		}
	}
	return true
}

// Copy makes a copy of a snapshot, as the cut says, under the id and for the app of to, which is
// done as [Snapshots.Take] does it: archives first, read back, then the manifest. What was masked
// with was a key of this copy alone, which nobody has any more. The error is [ErrMask] where
// something cannot be masked; then nothing of it is left.
func (s *Snapshots) Copy(ctx context.Context, from Snapshot, id, by string, cut Cut, tell func(Progress)) (Snapshot, error) {
	if err := cut.Validate(); err != nil {
		return Snapshot{}, err
	}
	to := from
	to.ID, to.By, to.Reason, to.For, to.Of, to.Cut, to.Size = id, by, "copy of snapshot "+from.ID, ForCopy, from.ID, &cut, 0
	to.Services = make([]Service, len(from.Services))
	for i, service := range from.Services {
		to.Services[i] = service
		to.Services[i].Parts = slices.Clone(service.Parts)
	}
	if there, err := s.load(ctx, to.App, to.ID); !errors.Is(err, ErrNotFound) {
		return there, err
	}
	if err := s.sweep(ctx); err != nil {
		return to, fmt.Errorf("remove what is left of earlier takes: %w", err)
	}
	err := copying{s}.copy(ctx, from, &to, cut, tell)
	if err != nil {
		tidy, cancel := context.WithTimeout(context.WithoutCancel(ctx), removeFor)
		defer cancel()
		_ = s.remove(tidy, to) // else the next take does
		return to, err
	}
	_ = s.dropOld(ctx, to) // else the next take does
	return to, nil
}

// copying makes copies of snapshots.
type copying struct{ *Snapshots }

func (s copying) copy(ctx context.Context, from Snapshot, to *Snapshot, cut Cut, tell func(Progress)) error {
	key := make([]byte, mask.MinKey)
	if _, err := rand.Read(key); err != nil {
		return err
	}
	began := s.Now()
	told := &teller{tell: tell, p: Progress{Doing: "copy", Of: uint64(from.Size)}}
	for i := range to.Services {
		for j := range to.Services[i].Parts {
			service, p := to.Services[i].Name, &to.Services[i].Parts[j]
			told.p.Stream = p.Title()
			told.tell(told.p)
			k, err := newCutter(cut, key, *p)
			if err == nil {
				err = s.copyPart(ctx, from, to, service, p, k, told)
			}
			if err != nil {
				return fmt.Errorf("copy %s of service %s: %w", p.Title(), service, err)
			}
			to.Size += p.Size
		}
	}
	if err := s.verify(ctx, to, true, tell); err != nil {
		return err
	}
	to.Checked, to.Took = s.Now().UTC(), Duration(s.Now().Sub(began))
	return s.record(ctx, *to)
}

// copyPart writes the archive of one part.
func (s copying) copyPart(ctx context.Context, from Snapshot, to *Snapshot, service string, p *Part, k *cutter, told *teller) error {
	open := func() (io.ReadCloser, error) {
		r, err := s.Store.Open(ctx, from.archive(service, *p))
		return cutSource{stoppedReader{ctx, r}, r}, err
	}
	if !k.whole {
		if err := k.prepare(open); err != nil {
			return err
		}
	}
	h, size := sha256.New(), &teller{tell: func(Progress) {}}
	err := s.Store.Write(ctx, to.archive(service, *p), func(w io.Writer) error {
		return reading(open, func(archive io.Reader) error {
			if k.whole {
				_, err := io.Copy(io.MultiWriter(w, h, size), io.TeeReader(archive, told))
				return err
			}
			return k.write(io.TeeReader(archive, told), io.MultiWriter(w, h, size))
		})
	})
	digest := hex.EncodeToString(h.Sum(nil))
	if err == nil && k.whole && digest != p.SHA256 {
		return fmt.Errorf("%w: its bytes are not those that were written", ErrDamaged)
	}
	p.Size, p.SHA256 = size.p.Done, digest
	return err
}

// cutSource reads until its context ends, and closes what it reads.
type cutSource struct {
	stoppedReader
	io.Closer
}

// cutter makes the copy of one part.
type cutter struct {
	rewrite  Rewrite
	rewriter *rewriter
	sample   float64
	key      []byte
	bucket   bool            // of keys: those are drawn
	whole    bool            // nothing of it is known, and all of it is in the copy
	subjects map[string]bool // that were met, up to sampleByWhole
}

// newCutter decides what is done to a part.
func newCutter(cut Cut, key []byte, p Part) (*cutter, error) {
	k := &cutter{key: key, bucket: p.Kind == KindKV, rewrite: Rewrite{NoConsumers: true, NoSchedules: true}}
	rules, named := cut.Mask[p.Name]
	switch p.Kind {
	case KindStream, KindKV:
		k.rewrite.Last, k.sample = cut.Latest, cut.Sample
		k.rewrite.Subjects = relevant(cut.Where, p.Config)
	case KindObjects:
		if len(cut.Mask) > 0 && !rules.Passes() {
			return nil, fmt.Errorf("%w: what objects hold cannot be read: where they may be shown, say mask: {%s: {\"*\": pass}}", ErrMask, p.Name)
		}
	default:
		if len(cut.Mask) > 0 {
			return nil, fmt.Errorf("%w: what a service keeps outside of JetStream cannot be read", ErrMask)
		}
		k.whole = true
	}
	if !named || rules.Passes() {
		return k, nil
	}
	m, err := rules.With(key)
	if err != nil {
		return nil, err
	}
	prefix := ""
	if p.Kind == KindKV {
		prefix = "$KV." + p.Name + "."
	}
	k.rewrite.Change = func(message *Message) error { return masked(m, prefix, message) }
	return k, nil
}

// relevant are those of the patterns that subjects of a stream can match; none: it has all of them.
func relevant(patterns []string, config json.RawMessage) []string {
	var of struct {
		Subjects []string `json:"subjects"`
	}
	if json.Unmarshal(config, &of) != nil {
		return patterns
	}
	var all []string
	for _, pattern := range patterns {
		if slices.ContainsFunc(of.Subjects, func(subject string) bool { return overlap(pattern, subject) }) {
			all = append(all, pattern)
		}
	}
	return all
}

// overlap reports whether a subject can match both patterns.
func overlap(a, b string) bool {
	for {
		x, moreX, hasX := strings.Cut(a, ".")
		y, moreY, hasY := strings.Cut(b, ".")
		switch {
		case x == ">" || y == ">":
			return true
		case x != y && x != "*" && y != "*", hasX != hasY:
			return false
		case !hasX:
			return true
		}
		a, b = moreX, moreY
	}
}

// masked masks a message, behind a prefix of its subject. Of its headers only those stay that the
// server acts on: anything may stand in others.
func masked(m *mask.Mask, prefix string, message *Message) error {
	rest, found := strings.CutPrefix(message.Subject, prefix)
	if !found {
		return fmt.Errorf("%w: its subject is not of the bucket", ErrMask)
	}
	rest, err := m.Subject(rest)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMask, err)
	}
	body, err := m.Payload(message.Body)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMask, err)
	}
	if message.Header, err = served(message.Header); err != nil {
		return fmt.Errorf("%w: %w", ErrMask, err)
	}
	message.Subject, message.Body = prefix+rest, body
	return nil
}

// served are the headers that a server, or the client of a bucket, acts on, with values of theirs.
func served(header []byte) ([]byte, error) {
	if len(header) == 0 {
		return nil, nil
	}
	h, err := nats.DecodeHeadersMsg(header)
	if err != nil {
		return nil, errors.New("its headers cannot be read")
	}
	kept := nats.NewMsg("")
	for name, values := range map[string][]string{
		"KV-Operation": {"DEL", "PURGE"}, "Nats-Rollup": {"sub", "all"}, "Nats-Marker-Reason": {"MaxAge", "Remove", "Purge"},
	} {
		if slices.Contains(values, h.Get(name)) {
			kept.Header.Set(name, h.Get(name))
		}
	}
	if len(kept.Header) == 0 {
		return nil, nil
	}
	var b strings.Builder
	b.WriteString("NATS/1.0\r\n")
	for _, name := range []string{"KV-Operation", "Nats-Rollup", "Nats-Marker-Reason"} {
		if value := kept.Header.Get(name); value != "" {
			b.WriteString(name + ": " + value + "\r\n")
		}
	}
	b.WriteString("\r\n")
	return []byte(b.String()), nil
}

// prepare reads the archive where it has to be known before what is in it.
func (k *cutter) prepare(open func() (io.ReadCloser, error)) (err error) {
	if k.rewriter, err = newRewriter(k.rewrite, open); err != nil || k.sample == 0 || k.bucket {
		return err
	}
	k.subjects = make(map[string]bool)
	return reading(open, func(archive io.Reader) error {
		_, err := readAll(archive, each{message: func(m Message) error {
			if len(k.subjects) < sampleByWhole {
				k.subjects[m.Subject] = true
			}
			return nil
		}}, nil)
		return err
	})
}

// drawn reports whether a message is in the sample.
func (k *cutter) drawn(m Message) bool {
	if k.sample == 0 {
		return true
	}
	what := m.Subject
	if !k.bucket && len(k.subjects) < sampleByWhole {
		what = strconv.FormatUint(m.Sequence, 10)
	}
	h := sha256.Sum256(append(slices.Clone(k.key), what...))
	return float64(binary.BigEndian.Uint64(h[:])) < k.sample*(1<<64)
}

// write writes the archive that is made of another one.
func (k *cutter) write(from io.Reader, to io.Writer) error {
	zip := s2.NewWriter(to, s2.WriterConcurrency(1))
	out := writer{w: zip}
	_, err := readAll(from, each{
		state: func(raw []byte) error {
			state, err := k.rewriter.state(raw)
			if err != nil {
				return err
			}
			return out.write(Message{Subject: stateEntry, Body: state})
		},
		message: func(m Message) error {
			if !k.drawn(m) {
				return nil
			}
			m, wanted, err := k.rewriter.message(m)
			if err != nil || !wanted {
				return err
			}
			return out.write(m)
		},
	}, nil)
	if err == nil {
		err = out.write(Message{})
	}
	return errors.Join(err, zip.Close())
}
