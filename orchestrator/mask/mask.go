// Package mask replaces personal values in messages by others, so that production's data can
// be tried a release on without being shown.
//
// A [Mask] has a key and the [Rules] for the messages of one stream, bucket or table. Under
// one key the same value becomes the same one everywhere, whatever the stream and the field,
// as long as its [Kind] is the same: what was joined by a value still is. Whoever does not
// have the key cannot go back, nor try values out; it is made for one rehearsal, and thrown
// away with it.
//
// What no rule names is left as it is, byte for byte. A message that cannot be read, or a
// value that its rule does not fit, is an [ErrRefused], and never passed on. A value is masked
// where a rule finds it, nowhere else: a name that stands in another field, or in a header,
// stays there.
//
// The package performs no I/O, reads no clock and keeps no state.
package mask

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Kind says what becomes of a value.
type Kind string

const (
	// Text becomes masked-<16 hex digits>. Two different texts become the same with a chance
	// of one in 2^64; of a hundred million, some two with a chance of one in 3,000.
	Text Kind = "text"

	// Mail becomes u<16 hex digits>@masked.invalid, with the same chance. It need not be an
	// address: any text will do.
	Mail Kind = "mail"

	// Digits has its digits replaced by others, of numbers and of texts without letters, such as
	// +49 170 1234 or 2026-11-28. All else stays, the count of the digits, a leading zero,
	// and the exponent of a number too. Different digits become different ones, always; written
	// with other signs between them they become the same. With few digits a value may become
	// itself: of four, with a chance of one in 10,000. A date may become one that there is not.
	Digits Kind = "digits"

	// Drop removes the field, with all that is in it.
	Drop Kind = "drop"
)

const (
	// MinKey is how many bytes a key has at least.
	MinKey = 32

	// MaxToken is the highest number of a token that a rule may name.
	MaxToken = 100
)

// ErrRefused is a message that cannot be masked. The error does not tell the value.
var ErrRefused = errors.New("refused")

// Rules say what is masked.
type Rules struct {
	// Fields of the JSON that messages hold, by their paths: "title", or "owner.mail" for
	// mail in the object owner. Arrays count for nothing: a rule holds for each of their
	// elements. The path "." is the message as a whole. Upper and lower case are the same, as
	// for many readers of JSON, and so is a field whose name has dots.
	Fields map[string]Kind

	// Tokens of a subject or key, by their numbers, from 1: Text or Digits.
	Tokens map[int]Kind
}

// Mask masks messages by one set of rules. It may be used by many at the same time.
type Mask struct {
	key    []byte
	fields *field
	tokens map[int]Kind
}

// New makes a mask. The errors say which rule is wrong, and how it can be right.
func New(key []byte, r Rules) (*Mask, error) {
	switch {
	case len(key) < MinKey:
		return nil, fmt.Errorf("mask: the key has %d bytes: give at least %d random ones", len(key), MinKey)
	case len(r.Fields)+len(r.Tokens) == 0:
		return nil, errors.New("mask: there is no rule: name a field or a token")
	}
	m := &Mask{key: slices.Clone(key), fields: &field{}, tokens: maps.Clone(r.Tokens)}
	for _, path := range slices.Sorted(maps.Keys(r.Fields)) {
		if err := m.fields.add(path, r.Fields[path]); err != nil {
			return nil, fmt.Errorf("mask: %q: %w", path, err)
		}
	}
	for _, n := range slices.Sorted(maps.Keys(r.Tokens)) {
		switch k := r.Tokens[n]; {
		case n < 1 || n > MaxToken:
			return nil, fmt.Errorf("mask: there is no token %d: they are counted from 1 to %d", n, MaxToken)
		case k != Text && k != Digits:
			return nil, fmt.Errorf("mask: token %d is %q: a token can be text or digits", n, k)
		}
	}
	return m, nil
}

// field is a place in the JSON of a message.
type field struct {
	kind  Kind              // what becomes of the value there; empty: nothing
	below map[string]*field // by the names in lower case
}

func (f *field) add(path string, k Kind) error {
	if !slices.Contains([]Kind{Text, Mail, Digits, Drop}, k) {
		return fmt.Errorf("there is no kind %q: take text, mail, digits or drop", k)
	}
	if path == "." {
		if k == Drop {
			return errors.New("a whole message cannot be dropped: leave it out of the snapshot")
		}
		path = ""
	} else {
		for name := range strings.SplitSeq(path, ".") {
			if name == "" {
				return errors.New("a name in the path is empty: write it as owner.mail")
			}
			if f.kind != "" {
				return errors.New("it lies in a field that is masked as a whole: leave out one of the two")
			}
			next := f.below[fold(name)]
			if next == nil {
				next = &field{}
				if f.below == nil {
					f.below = make(map[string]*field)
				}
				f.below[fold(name)] = next
			}
			f = next
		}
	}
	if f.kind != "" || len(f.below) > 0 {
		return errors.New("another rule names the same field, or one in it: leave out one of the two")
	}
	f.kind = k
	return nil
}

// at is the place of a name in f; nil: no rule is about it. A name with dots is a path.
func (f *field) at(name string) *field {
	for part := range strings.SplitSeq(name, ".") {
		if f = f.below[fold(part)]; f == nil || f.kind != "" {
			break
		}
	}
	return f
}

// Subject masks the tokens of a subject, or of a key, that rules are about, each of which it
// has to have.
func (m *Mask) Subject(subject string) (string, error) {
	tokens := strings.Split(subject, ".")
	for _, n := range slices.Sorted(maps.Keys(m.tokens)) {
		if n > len(tokens) || tokens[n-1] == "" {
			return "", fmt.Errorf("%w: a subject of %d tokens has no token %d", ErrRefused, len(tokens), n)
		}
		masked, err := m.text(m.tokens[n], tokens[n-1])
		if err != nil {
			return "", fmt.Errorf("%w: token %d: %w", ErrRefused, n, err)
		}
		tokens[n-1] = masked
	}
	return strings.Join(tokens, "."), nil
}

// text masks a text. An empty one stays empty.
func (m *Mask) text(k Kind, value string) (string, error) {
	switch {
	case value == "":
		return "", nil
	case k == Text:
		return "masked-" + m.name(k, value), nil
	case k == Mail:
		return "u" + m.name(k, value) + "@masked.invalid", nil
	case k == Digits:
		return m.digits(value)
	}
	return "", fmt.Errorf("it is to be masked as %q", k) // New lets none of these in
}

// name is what stands for a value: 64 bits.
func (m *Mask) name(k Kind, value string) string {
	return hex.EncodeToString(m.hash(string(k), value)[:8])
}

// hash is the HMAC of words, each with its length, so that no two rows of words are alike.
func (m *Mask) hash(words ...string) []byte {
	h := hmac.New(sha256.New, m.key)
	for _, w := range words {
		h.Write([]byte(strconv.Itoa(len(w)) + ":" + w))
	}
	return h.Sum(nil)
}
