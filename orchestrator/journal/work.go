package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Timing of the queue. An item is given to another orchestrator when it has not been
// heard of for ackWait.
const (
	ackWait   = 3 * time.Second
	stillAt   = time.Second // how often a busy worker says so
	nakDelay  = time.Second // before a failed item is given out again; a restart of the bus skips it
	prefetch  = 256         // items handed to one orchestrator ahead of its handling them
	queueName = "golive-orchestrators"
)

// Item is a piece of work from the queue: an event of a rollout, a plain reply to a
// start, or a timer that went off.
type Item struct {
	Subject  string      // where it was published
	Sequence uint64      // in the stream
	Data     []byte      // of an event or a reply
	Header   nats.Header // of an event or a reply
	Again    bool        // it was given out before

	states *states
}

// Event reports whether the item is an event of a rollout.
func (i Item) Event() bool { return i.Header.Get(headerID) != "" }

// Record gives the rollout after the event that the item is; the errors are those of
// [Event.Record].
func (i Item) Record(ctx context.Context) (Record, error) {
	r, err := i.states.fold(ctx, raw{subject: i.Subject, header: i.Header, data: i.Data, sequence: i.Sequence})
	if errors.Is(err, errNoEvent) {
		err = fmt.Errorf("%w: message %d is %w", rollout.ErrNotFound, i.Sequence, err)
	}
	return r, err
}

// queue is the part of the journal that gives out what is to be done.
type queue struct {
	js     publisher
	states *states
}

// Work hands the items of the queue to handle, each in a goroutine of its own, until
// ctx ends; it then waits for those under way. An item is done when handle returns
// nil; after an error it is given out again, to any orchestrator, a second later. An
// orchestrator that dies loses its items to the others within about three seconds.
//
// An item that was done can come again, because the acknowledgement is not durable:
// handle must find out from the state whether there is anything left to do.
func (q queue) Work(ctx context.Context, handle func(context.Context, Item) error) error {
	consumer, err := q.consumer(ctx)
	if err != nil {
		return err
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessages(prefetch),
		jetstream.PullExpiry(pullExpiry), jetstream.PullHeartbeat(pullHeartbeat))
	if err != nil {
		return fmt.Errorf("take work: %w", err)
	}
	defer messages.Stop()
	var busy sync.WaitGroup
	defer busy.Wait()
	ctx, abandon := context.WithCancel(ctx)
	defer abandon() // an item may take for ever, and comes again
	for {
		m, err := messages.Next(jetstream.NextContext(ctx))
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, jetstream.ErrNoHeartbeat):
			// The leader is gone or busy, and the next pull finds the new one; unless
			// somebody has removed the consumer.
			if _, err := q.states.stream.Consumer(ctx, queueName); errors.Is(err, jetstream.ErrConsumerNotFound) {
				return fmt.Errorf("take work: %w", err)
			}
			continue
		case err != nil:
			return fmt.Errorf("take work: %w", err)
		}
		busy.Go(func() { q.work(ctx, m, handle) })
	}
}

// consumer opens the durable consumer that all orchestrators share.
func (q queue) consumer(ctx context.Context) (jetstream.Consumer, error) {
	consumer, err := q.states.stream.Consumer(ctx, queueName)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		consumer, err = q.states.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
			Durable:        queueName,
			FilterSubjects: []string{protocol.AllRollouts, protocol.AllAnswers, protocol.AllDue},
			AckPolicy:      jetstream.AckExplicitPolicy,
			AckWait:        ackWait,
			MaxDeliver:     -1,
			MaxAckPending:  -1, // the default of 1,000 would stop all work once so many items wait
		})
		if errors.Is(err, jetstream.ErrConsumerExists) {
			consumer, err = q.states.stream.Consumer(ctx, queueName)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("open the queue of stream %s: %w", protocol.Stream, err)
	}
	return consumer, nil
}

// work handles one message and keeps it from being given to somebody else meanwhile.
func (q queue) work(ctx context.Context, m jetstream.Msg, handle func(context.Context, Item) error) {
	i, err := item(m)
	i.states = q.states
	if err != nil {
		_ = m.Term() // nobody can read it: giving it out again is of no use
		return
	}
	stop := stayAt(m)
	err = handle(ctx, i)
	stop()
	if err != nil {
		_ = m.NakWithDelay(nakDelay) // lost, it is given out again after ackWait
		return
	}
	_ = m.Ack()
}

// stayAt says again and again that a message is being worked on, until stop is called; when
// that returns nothing more is said.
func stayAt(m jetstream.Msg) (stop func()) {
	var mu sync.Mutex
	var timer *time.Timer
	stopped := false
	mu.Lock()
	defer mu.Unlock()
	timer = time.AfterFunc(stillAt, func() {
		mu.Lock()
		defer mu.Unlock()
		if !stopped {
			_ = m.InProgress() // a failure means a repetition, which is harmless
			timer.Reset(stillAt)
		}
	})
	return func() {
		mu.Lock()
		defer mu.Unlock()
		stopped = true
		timer.Stop()
	}
}

func item(m jetstream.Msg) (Item, error) {
	meta, err := m.Metadata()
	if err != nil {
		return Item{}, err
	}
	return Item{
		Subject: m.Subject(), Sequence: meta.Sequence.Stream, Data: m.Data(), Header: m.Headers(), Again: meta.NumDelivered > 1,
	}, nil
}

// Remind makes the rollout's timer go off at the given time, as an item on its due
// subject, unless something has happened to the rollout since the event at sequence
// (then [rollout.ErrConflict]). A rollout has one timer: setting it again replaces it.
func (q queue) Remind(ctx context.Context, s rollout.State, sequence uint64, at time.Time) error {
	m := nats.NewMsg(protocol.TimerSubject(s.Release.App, s.ID))
	// The option of the client rounds to whole seconds, which would fire early.
	m.Header.Set("Nats-Schedule", "@at "+at.UTC().Format(time.RFC3339Nano))
	m.Header.Set("Nats-Schedule-Target", protocol.DueSubject(s.Release.App, s.ID))
	_, err := q.js.PublishMsg(ctx, m,
		jetstream.WithExpectLastSequenceForSubject(sequence, subjectOf(s)))
	if isWrongSequence(err) {
		// A cluster refuses so also where there is no conflict: the leader knows.
		newest, readErr := q.states.newest(ctx, subjectOf(s))
		if readErr == nil && newest.Sequence != sequence {
			err = rollout.ErrConflict
		}
	}
	if err != nil {
		return fmt.Errorf("set timer of rollout %s: %w", s.ID, err)
	}
	return nil
}

// The server has two codes for a wrong last sequence.
const (
	codeWrongLastSequence        = 10071
	codeWrongLastSequenceCluster = 10164
)

func isWrongSequence(err error) bool {
	var api *jetstream.APIError
	return errors.As(err, &api) &&
		(api.ErrorCode == codeWrongLastSequence || api.ErrorCode == codeWrongLastSequenceCluster)
}
