package snapshot

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/s2"
)

// ErrDamaged says that an archive, or a snapshot that it belongs to, is not what was stored: it
// was cut off, or changed.
var ErrDamaged = errors.New("it is damaged")

// Limits of an archive, beyond which it is taken for damaged.
const (
	MaxMessage = 64 << 20 // bytes of one message; a server takes no larger ones
	maxName    = 1 << 20  // bytes of a subject
)

// The archive of a stream is what a server of 2.15 and later makes of it (ADR-63), compressed
// with S2: entries, of which the first is the state, then come the consumers, the messages in
// the order of their sequences, and an empty entry that says that nothing is missing.
const (
	magic          = "NATSARC1"
	stateEntry     = "state.json"
	consumerPrefix = "consumers/"
)

// Message is one message of an archive. Its Header and Body are valid until the next one is
// read.
type Message struct {
	Subject  string
	Sequence uint64
	Time     int64 // when it was stored, in nanoseconds since 1970
	Header   []byte
	Body     []byte
}

// entry is one entry of an archive, as it was read.
type entry struct {
	Message
	end bool // it is the last one
}

// reader reads the entries of an archive, in the memory that its largest message takes.
type reader struct {
	r     *bufio.Reader
	begun bool
	buf   []byte
}

// readerBuffer is how much of an archive is read at once.
const readerBuffer = 256 << 10

func newReader(r io.Reader) *reader {
	return &reader{r: bufio.NewReaderSize(s2.NewReader(r), readerBuffer)}
}

// next reads the next entry.
func (a *reader) next() (entry, error) {
	if !a.begun {
		first := make([]byte, len(magic))
		if _, err := io.ReadFull(a.r, first); err != nil || string(first) != magic {
			return entry{}, damaged("it does not begin as an archive of a stream does", err)
		}
		a.begun = true
	}
	var e entry
	sizes := [3]uint64{} // of the name, the header and the body
	var err error
	read := func(into *uint64) {
		if err == nil {
			*into, err = binary.ReadUvarint(a.r)
		}
	}
	read(&sizes[0])
	if err == nil {
		e.Time, err = binary.ReadVarint(a.r)
	}
	read(&e.Sequence)
	read(&sizes[1])
	read(&sizes[2])
	switch {
	case err != nil:
		return entry{}, damaged("it was cut off", err)
	case sizes[0] > maxName || sizes[1] > MaxMessage || sizes[2] > MaxMessage || sizes[1]+sizes[2] > MaxMessage:
		return entry{}, damaged("it has an entry larger than any message", nil)
	}
	if err := a.read(&e, sizes); err != nil {
		return entry{}, damaged("it was cut off", err)
	}
	e.end = e.Subject == "" && e.Sequence == 0 && e.Time == 0 && sizes[1]+sizes[2] == 0
	return e, nil
}

// read reads the name and the content of an entry. The memory for it grows with what there is,
// whatever the sizes promise.
func (a *reader) read(e *entry, sizes [3]uint64) error {
	total := sizes[0] + sizes[1] + sizes[2]
	if uint64(cap(a.buf)) < total {
		if total <= readerBuffer {
			a.buf = make([]byte, readerBuffer)
		} else {
			var b bytes.Buffer
			if _, err := io.CopyN(&b, a.r, int64(total)); err != nil {
				return err
			}
			a.buf = b.Bytes()
			a.cut(e, sizes, a.buf)
			return nil
		}
	}
	b := a.buf[:total]
	if _, err := io.ReadFull(a.r, b); err != nil {
		return err
	}
	a.cut(e, sizes, b)
	return nil
}

func (*reader) cut(e *entry, sizes [3]uint64, b []byte) {
	e.Subject = string(b[:sizes[0]])
	e.Header = b[sizes[0] : sizes[0]+sizes[1]]
	e.Body = b[sizes[0]+sizes[1] : sizes[0]+sizes[1]+sizes[2]]
}

// damaged is the error of an archive that cannot be read.
func damaged(how string, err error) error {
	if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %s", ErrDamaged, how)
	}
	if errors.Is(err, s2.ErrCorrupt) || errors.Is(err, s2.ErrCRC) || errors.Is(err, s2.ErrUnsupported) || errors.Is(err, s2.ErrTooLarge) {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, how, err)
	}
	return fmt.Errorf("read the archive: %w", err) // what it lies in does not answer, for example
}

// writer writes an archive, not compressed.
type writer struct {
	w     io.Writer
	begun bool
	head  []byte
}

// write writes one entry; the empty one is the end.
func (a *writer) write(m Message) error {
	a.head = a.head[:0]
	if !a.begun {
		a.head = append(a.head, magic...)
		a.begun = true
	}
	a.head = binary.AppendUvarint(a.head, uint64(len(m.Subject)))
	a.head = binary.AppendVarint(a.head, m.Time)
	a.head = binary.AppendUvarint(a.head, m.Sequence)
	a.head = binary.AppendUvarint(a.head, uint64(len(m.Header)))
	a.head = binary.AppendUvarint(a.head, uint64(len(m.Body)))
	a.head = append(a.head, m.Subject...)
	for _, part := range [][]byte{a.head, m.Header, m.Body} {
		if _, err := a.w.Write(part); err != nil {
			return err
		}
	}
	return nil
}

// State is where a stream stood: what its messages alone do not tell, such as that the last ones
// were deleted.
type State struct {
	Messages  uint64 `json:"messages"`
	Bytes     uint64 `json:"bytes"`
	First     uint64 `json:"first_seq"`
	Last      uint64 `json:"last_seq"`
	Consumers int    `json:"consumer_count"`
}

// Content is what an archive holds.
type Content struct {
	State    State  // that the stream had
	Messages uint64 // that are in the archive
	Bytes    uint64 // of their subjects, headers and bodies
	Last     uint64 // sequence of the last message; 0: there is none
	Digest   string // SHA-256 in hex over the sequence, time, subject, header and body of each
}

// each is called with what is in an archive. What is nil is passed over.
type each struct {
	state    func(raw []byte) error
	consumer func(Message) error
	message  func(Message) error
}

// Read reads an archive to its end and says what is in it. The error is [ErrDamaged] where it is
// not whole; else one of r. It holds one message in memory.
func Read(r io.Reader) (Content, error) {
	return readAll(r, each{}, nil)
}

// readAll is [Read] with what is called on the way; only messages that counts says yes to, or
// all if it is nil, are counted.
func readAll(r io.Reader, on each, counts func(Message) bool) (Content, error) {
	var c Content
	a, d := newReader(r), newDigest()
	e, err := a.next()
	if err != nil {
		return c, err
	}
	if e.Subject != stateEntry || json.Unmarshal(e.Body, &c.State) != nil {
		return c, damaged("it does not begin with the state of a stream", nil)
	}
	if on.state != nil {
		if err := on.state(e.Body); err != nil {
			return c, err
		}
	}
	last := uint64(0)
	for {
		if e, err = a.next(); err != nil {
			return c, err
		}
		switch {
		case e.end:
			c.Digest = d.sum()
			return c, ended(a)
		case e.Sequence == 0 && len(e.Subject) > len(consumerPrefix) && e.Subject[:len(consumerPrefix)] == consumerPrefix && last == 0:
			err = call(on.consumer, e.Message)
		case e.Sequence <= last || e.Sequence > c.State.Last:
			return c, damaged(fmt.Sprintf("after sequence %d comes %d, of %d", last, e.Sequence, c.State.Last), nil)
		default:
			last = e.Sequence
			if counts == nil || counts(e.Message) {
				c.Messages++
				c.Bytes += uint64(len(e.Subject) + len(e.Header) + len(e.Body))
				c.Last = e.Sequence
				d.add(e.Message)
			}
			err = call(on.message, e.Message)
		}
		if err != nil {
			return c, err
		}
	}
}

// ended refuses what follows on the end of an archive.
func ended(a *reader) error {
	if _, err := a.r.ReadByte(); !errors.Is(err, io.EOF) {
		return damaged("something follows on its end", err)
	}
	return nil
}

func call(f func(Message) error, m Message) error {
	if f == nil {
		return nil
	}
	return f(m)
}
