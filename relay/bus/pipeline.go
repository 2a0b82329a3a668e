package bus

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Pipeline sends messages to streams without waiting for each to be stored. They go out in the
// order in which Send is called. Make it with [JetStream.Pipeline], and close it. One goroutine
// at a time may use it.
type Pipeline struct{ js jetstream.JetStream }

// Pipeline opens one. It blocks for nothing. It is not for the subjects of buckets, which have
// another name in a domain.
func (j JetStream) Pipeline() (*Pipeline, error) {
	own, err := NewJetStream(j.Conn()) // whose answers nobody else waits for
	if err != nil {
		return nil, err
	}
	return &Pipeline{own.js}, nil
}

// Send sends a message, whose data must not be changed before it is known what has become of it.
// Nothing is sent again by itself: the message would come behind others that were sent after it.
func (p *Pipeline) Send(m *nats.Msg) (*Sending, error) {
	future, err := p.js.PublishMsgAsync(m, jetstream.WithRetryAttempts(0))
	if err != nil {
		return nil, stored(err)
	}
	return &Sending{future}, nil
}

// Close forgets the messages of which it is not known yet what has become of them.
func (p *Pipeline) Close() { p.js.CleanupPublisher() }

// Sending is a message on its way to a stream.
type Sending struct{ future jetstream.PubAckFuture }

// Wait blocks until the message is stored. It waits for five seconds at most, from the call on:
// the error is [context.DeadlineExceeded] then, or what ctx ended with. [ErrFull] says that there
// is no room, [jetstream.ErrNoStreamResponse] that nobody has stored it. It may be called once.
func (s *Sending) Wait(ctx context.Context) (*jetstream.PubAck, error) {
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case ack := <-s.future.Ok():
		return ack, nil
	case err := <-s.future.Err():
		return nil, stored(err)
	case <-late.C:
		return nil, context.DeadlineExceeded
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
