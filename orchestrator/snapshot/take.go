package snapshot

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// ErrMirror says that a stream is a copy of another one.
var ErrMirror = errors.New("it is a mirror: name the stream that it copies")

// Taken is what a take has written.
type Taken struct {
	Config json.RawMessage // of the stream, as its server tells it
	State  State           // at the moment at which the stream was cut
	Size   int64           // bytes of the archive
	SHA256 string          // of the archive, in hex
}

// How the chunks of an archive come. The server sends no more than a window before it is told
// that they have arrived, so this is what they take in memory.
const (
	takeChunk  = 128 << 10
	takeWindow = 2 << 20
	quietFor   = 20 * time.Second // without a chunk, after which the server is taken for dead: longer than an election
)

// Take writes the archive of a stream to w: its configuration and its consumers and, of its
// messages, those up to the last one at the moment at which it begins. Later ones are left out;
// what is deleted meanwhile may be missing. Writers to the stream go on. It blocks until all is
// written, and holds two megabytes in memory. The error is [jetstream.ErrStreamNotFound] where
// there is no such stream, or there is none any more, and [ErrMirror]. What was written then
// counts for nothing.
func Take(ctx context.Context, js bus.JetStream, stream string, w io.Writer) (Taken, error) {
	t, err := take(ctx, js, stream, true, w)
	if err != nil {
		return t, fmt.Errorf("take stream %s: %w", stream, err)
	}
	return t, nil
}

func take(ctx context.Context, js bus.JetStream, stream string, consumers bool, w io.Writer) (Taken, error) {
	if err := refuseMirror(ctx, js, stream); err != nil {
		return Taken{}, err
	}
	chunks := make(chan *nats.Msg, 2*takeWindow/takeChunk)
	inbox := js.Conn().NewInbox()
	sub, err := js.Conn().ChanSubscribe(inbox, chunks)
	if err != nil {
		return Taken{}, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	var begun struct {
		Config json.RawMessage `json:"config"`
		State  State           `json:"state"`
	}
	question := map[string]any{"deliver_subject": inbox, "no_consumers": !consumers, "chunk_size": takeChunk, "window_size": takeWindow}
	if err := js.Ask(ctx, "STREAM.SNAPSHOT."+stream, question, &begun); err != nil {
		return Taken{}, err
	}
	h := sha256.New()
	size, err := receive(ctx, chunks, io.MultiWriter(w, h))
	if err != nil {
		return Taken{}, err
	}
	return Taken{Config: begun.Config, State: begun.State, Size: size, SHA256: hex.EncodeToString(h.Sum(nil))}, nil
}

// refuseMirror refuses a stream that cannot be written to when it is put back.
func refuseMirror(ctx context.Context, js bus.JetStream, stream string) error {
	s, err := js.Stream(ctx, stream)
	if err != nil {
		return err
	}
	if s.CachedInfo().Config.Mirror != nil {
		return ErrMirror
	}
	return nil
}

// receive writes the chunks to w as they come, and tells the server so.
func receive(ctx context.Context, chunks <-chan *nats.Msg, w io.Writer) (int64, error) {
	size, quiet := int64(0), time.NewTimer(quietFor)
	defer quiet.Stop()
	for {
		var m *nats.Msg
		select {
		case m = <-chunks:
		case <-quiet.C:
			return size, fmt.Errorf("the server has sent nothing for %s: it may have died, or the stream was deleted", quietFor)
		case <-ctx.Done():
			return size, ctx.Err()
		}
		if len(m.Data) == 0 {
			return size, arrived(m)
		}
		n, err := w.Write(m.Data)
		size += int64(n)
		if err != nil {
			return size, err
		}
		if m.Reply != "" {
			if err := m.Respond(nil); err != nil {
				return size, err
			}
		}
		quiet.Reset(quietFor)
	}
}

// arrived is how a server says that it has sent all, or why it has not.
func arrived(m *nats.Msg) error {
	switch status := m.Header.Get(protocol.HeaderStatus); status {
	case "", "204":
		return nil
	default:
		return fmt.Errorf("the server has stopped sending it (%s %s)", status, m.Header.Get("Description"))
	}
}

// MissingError says that a stream that a snapshot is to hold is not there. It is a
// [jetstream.ErrStreamNotFound].
type MissingError struct{ Stream string }

// Error is of [error].
func (e *MissingError) Error() string { return "stream " + e.Stream + " is not there" }

// Unwrap gives [jetstream.ErrStreamNotFound].
func (*MissingError) Unwrap() error { return jetstream.ErrStreamNotFound }

// notFound reports whether an error says that there is no such stream.
func notFound(err error) bool { return errors.Is(err, jetstream.ErrStreamNotFound) }
