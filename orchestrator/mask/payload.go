package mask

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Payload masks the JSON of a message. What it gives is another slice. An empty message has
// nothing in it and stays empty; a null stays one, whatever the rule. Where a message has a
// field twice, each is masked.
//
// The names of fields are never masked: an object that has values as names has to be dropped.
//
// Anything else than JSON in UTF-8 is refused; so is JSON nested more than 10,000 deep, an
// object or a truth value that is to be text, mail or digits, a text that is to be masked and
// has half of a surrogate pair, and a number that is to be text or mail.
func (m *Mask) Payload(payload []byte) ([]byte, error) {
	if len(payload) == 0 {
		return []byte{}, nil
	}
	if !utf8.Valid(payload) {
		return nil, fmt.Errorf("%w: the message is not UTF-8", ErrRefused)
	}
	if !json.Valid(payload) {
		return nil, fmt.Errorf("%w: the message is not JSON", ErrRefused)
	}
	if m.fields.kind == "" && len(m.fields.below) == 0 { // rules about tokens alone
		return append([]byte{}, payload...), nil
	}
	w := writer{mask: m, in: payload, out: make([]byte, 0, len(payload)+len(payload)/4)}
	w.space()
	if err := w.value(m.fields); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrRefused, err)
	}
	w.space()
	return w.out, nil
}

// writer goes through valid JSON and copies it, but for what is masked.
type writer struct {
	mask *Mask
	in   []byte
	at   int // what is before it in has been dealt with
	out  []byte
	path []string // of the value that is being dealt with, as the message writes it
}

// skip deals with in up to end by copying it.
func (w *writer) skip(end int) {
	w.out = append(w.out, w.in[w.at:end]...)
	w.at = end
}

// space copies white space.
func (w *writer) space() { w.skip(w.blank(w.at)) }

// blank is the end of the white space that begins at i.
func (w *writer) blank(i int) int {
	for i < len(w.in) && strings.IndexByte(" \t\r\n", w.in[i]) >= 0 {
		i++
	}
	return i
}

// value deals with a value, which f is about; nil: no rule is.
func (w *writer) value(f *field) error {
	if f == nil {
		w.skip(w.end())
		return nil
	}
	switch c := w.in[w.at]; {
	case c == '[':
		return w.array(f)
	case c == '{' && f.kind == "":
		return w.object(f)
	case c == 'n' || f.kind == "":
		w.skip(w.end())
		return nil
	}
	return w.masked(f.kind)
}

// masked deals with a value that is to be masked.
func (w *writer) masked(k Kind) error {
	end := w.end()
	raw := string(w.in[w.at:end])
	var text string
	var err error
	switch c := raw[0]; {
	case c == '"':
		if text, err = unquote(raw); err == nil {
			text, err = w.mask.text(k, text)
		}
		if err == nil {
			text, err = quote(text) // of digits, signs may have to be escaped
		}
	case (c == '-' || c >= '0' && c <= '9') && k == Digits:
		text, err = w.mask.number(raw)
	case c == '-' || c >= '0' && c <= '9':
		err = fmt.Errorf("it is a number, which cannot be %s: mark it as digits", k)
	default:
		err = fmt.Errorf("it is an object or a truth value, which cannot be %s: mark what is in it, or drop it", k)
	}
	if err != nil {
		return fmt.Errorf("field %q: %w", strings.Join(w.path, "."), err)
	}
	w.out, w.at = append(w.out, text...), end
	return nil
}

// array deals with an array, whose elements f is about.
func (w *writer) array(f *field) error {
	w.skip(w.at + 1)
	for {
		w.space()
		switch w.in[w.at] {
		case ']':
			w.skip(w.at + 1)
			return nil
		case ',':
			w.skip(w.at + 1)
			continue
		}
		if err := w.value(f); err != nil {
			return err
		}
	}
}

// object deals with an object, whose members may be below f.
func (w *writer) object(f *field) error {
	w.skip(w.at + 1)
	kept := 0 // members
	for {
		begin := w.blank(w.at)
		switch w.in[begin] {
		case '}':
			w.skip(begin + 1)
			return nil
		case ',': // written with the member behind it, if that stays
			begin = w.blank(begin + 1)
		}
		raw := w.in[begin:w.endOfString(begin)]
		name, err := unquote(string(raw))
		if err != nil && !errors.Is(err, errSurrogate) { // of a name, only what can be told from others is found
			return err
		}
		colon := w.blank(begin + len(raw))
		below := f.at(name)
		if below != nil && below.kind == Drop {
			w.at = w.blank(colon + 1)
			w.at = w.end()
			continue
		}
		w.lead(begin, kept)
		kept++
		w.skip(w.blank(colon + 1))
		w.path = append(w.path, name)
		if err := w.value(below); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
}

// lead copies what stands before a member: white space and, unless all members before it were
// dropped, a comma.
func (w *writer) lead(begin, kept int) {
	if comma := strings.IndexByte(string(w.in[w.at:begin]), ','); kept == 0 && comma >= 0 {
		w.at += comma + 1
	}
	w.skip(begin)
}

// end is the end of the value that begins here.
func (w *writer) end() int {
	depth := 0
	for i := w.at; ; {
		switch w.in[i] {
		case '"':
			i = w.endOfString(i)
		case '{', '[':
			depth, i = depth+1, i+1
		case '}', ']':
			depth, i = depth-1, i+1
		case ',', ':', ' ', '\t', '\r', '\n':
			i++
		default:
			for i++; i < len(w.in) && strings.IndexByte(",:]} \t\r\n", w.in[i]) < 0; i++ {
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// endOfString is the end of the string that begins at i.
func (w *writer) endOfString(i int) int {
	for i++; w.in[i] != '"'; i++ {
		if w.in[i] == '\\' {
			i++
		}
	}
	return i + 1
}

var errSurrogate = errors.New("it holds half of a surrogate pair, which cannot be told from others: mend the message, or drop the field")

// unquote gives the text of a JSON string.
func unquote(raw string) (text string, err error) {
	if err := json.Unmarshal([]byte(raw), &text); err != nil {
		return "", err
	}
	if strings.ContainsRune(text, utf8.RuneError) && strings.Contains(raw, `\u`) {
		return text, errSurrogate
	}
	return text, nil
}

// quote makes a JSON string of a text, with nothing escaped that need not be.
func quote(text string) (string, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(text)
	return strings.TrimSuffix(b.String(), "\n"), err
}

// fold makes names alike that differ in upper and lower case alone.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, name)
}
