package snapshot

import (
	"context"
	"errors"
	"fmt"
	"hash"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
)

// chunksAhead is how many chunks of an object may be under way. They are what a write takes in
// memory, here and in the server. A server two milliseconds away, there and back, is written to
// twice as fast as with one; eight are not faster.
const chunksAhead = 4

// objectWriter writes the chunks of an object, in order. Whoever has written all calls end, and
// then, whatever has happened, close.
type objectWriter struct {
	ctx      context.Context // of the one write
	js       bus.JetStream
	stream   jetstream.Stream
	pipeline *bus.Pipeline
	subject  string
	most     int
	buf      []byte
	digest   hash.Hash
	size     uint64
	chunks   uint32

	ahead []chunk // under way, oldest first
	spare [][]byte
	last  uint64 // sequence of the newest that is known to be stored
}

// chunk is one that was sent.
type chunk struct {
	data    []byte
	sending *bus.Sending
}

// Write is of [io.Writer].
func (w *objectWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		part := p[:min(len(p), w.most-len(w.buf))]
		w.buf, p = append(w.buf, part...), p[len(part):]
		if len(w.buf) < w.most {
			break
		}
		if err := w.flush(); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// flush sends what there is of a chunk, once fewer than [chunksAhead] are under way.
func (w *objectWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	if len(w.ahead) == chunksAhead {
		if err := w.oldest(); err != nil {
			return err
		}
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	sending, err := w.pipeline.Send(&nats.Msg{Subject: w.subject, Data: w.buf})
	if err != nil {
		return err
	}
	w.digest.Write(w.buf) // writing to a hash never fails
	w.size, w.chunks = w.size+uint64(len(w.buf)), w.chunks+1
	w.ahead = append(w.ahead, chunk{w.buf, sending})
	w.buf = nil
	if n := len(w.spare); n > 0 {
		w.buf, w.spare = w.spare[n-1][:0], w.spare[:n-1]
	}
	return nil
}

// end sends the rest, and waits until all is stored.
func (w *objectWriter) end() error {
	if err := w.flush(); err != nil {
		return err
	}
	for len(w.ahead) > 0 {
		if err := w.oldest(); err != nil {
			return err
		}
	}
	return nil
}

// close waits for what is under way, also when the caller's time is over: whoever removes the
// chunks of a write that has failed shall leave none that comes later.
func (w *objectWriter) close() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), removeFor)
	defer cancel()
	for _, c := range w.ahead {
		_, _ = c.sending.Wait(ctx) // what has become of it does not matter any more
	}
	w.ahead = nil
	w.pipeline.Close()
}

// oldest waits until the oldest chunk under way is stored.
func (w *objectWriter) oldest() error {
	c := w.ahead[0]
	w.ahead = w.ahead[1:]
	ack, err := c.sending.Wait(w.ctx)
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return w.again(c)
	}
	if err != nil {
		return err
	}
	return w.is(c, ack)
}

// is takes note that a chunk is stored.
func (w *objectWriter) is(c chunk, ack *jetstream.PubAck) error {
	if ack.Sequence <= w.last {
		return fmt.Errorf("the server has stored chunks in another order: %d after %d", ack.Sequence, w.last)
	}
	w.last = ack.Sequence
	w.spare = append(w.spare, c.data)
	return nil
}

// again sends a chunk that nobody has stored once more, as when the stream had no leader for a
// moment. What was sent after it may have been stored: it is removed, and sent again behind it.
// It waits for each of them.
func (w *objectWriter) again(first chunk) error {
	all := append([]chunk{first}, w.ahead...)
	after := w.ahead
	for len(after) > 0 {
		ack, err := after[0].sending.Wait(w.ctx)
		after, w.ahead = after[1:], after[1:]
		switch {
		case errors.Is(err, jetstream.ErrNoStreamResponse):
		case err != nil:
			return err
		default:
			if err := w.stream.DeleteMsg(w.ctx, ack.Sequence); err != nil {
				return err
			}
		}
	}
	for _, c := range all {
		ack, err := w.js.PublishMsg(w.ctx, &nats.Msg{Subject: w.subject, Data: c.data})
		if err != nil {
			return err
		}
		if err := w.is(c, ack); err != nil {
			return err
		}
	}
	return nil
}
