package spec

import (
	"context"
	"fmt"
	"sync"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// Message is what a script has heard, or said.
type Message struct {
	Script protocol.Script
	Name   string      // the subject: of a named message its name, of a plain reply that of the start's reply
	Header nats.Header // may be nil
	Reply  string      // of a start: where a plain reply goes
	Data   []byte
}

// Recording is what some scripts have heard and said, in order. A message that was sent
// again under the same id is there once, and the completion events of an app are not: no
// script says them. The zero value is an empty recording, for [Rollout]; [Listen] makes
// one of what goes over the bus. It is safe for concurrent use.
//
// Two recordings of the same scripts can be compared by [Recording.String], whoever
// played the orchestrator.
type Recording struct {
	mu       sync.Mutex
	messages []Message
	seen     map[string]bool // by name and message id

	nc      *nats.Conn // nil: it does not listen
	subs    []*nats.Subscription
	heard   chan *nats.Msg
	scripts map[string]protocol.Script // by the subjects that concern them
}

// heardAtMost is how many messages a recording can be behind.
const heardAtMost = 1 << 14

// Listen records what scripts hear and say on a bus, as an observer, until
// [Recording.Stop].
//
// NATS takes an observer of a start for somebody who runs it, and no longer tells the
// orchestrator that nobody listens. So Listen blocks until a setup service listens to
// the starts of all scripts, or ctx ends: start the setup service first, the rollout
// afterwards.
func Listen(ctx context.Context, nc *nats.Conn, scripts ...protocol.Script) (*Recording, error) {
	r := &Recording{nc: nc, heard: make(chan *nats.Msg, heardAtMost), scripts: make(map[string]protocol.Script)}
	for _, s := range scripts {
		if err := s.Validate(); err != nil {
			return nil, err
		}
		if err := awaitListener(ctx, nc, s.Subject(protocol.Start)); err != nil {
			return nil, fmt.Errorf("%w: start the setup service, then listen", err)
		}
		canRevert, err := hasListener(ctx, nc, s.Subject(protocol.RevertStart))
		if err != nil {
			return nil, err
		}
		for _, v := range protocol.Verbs() {
			if v != protocol.RevertStart || canRevert {
				r.scripts[s.Subject(v)] = s
			}
		}
	}
	if err := r.subscribe(); err != nil {
		return nil, err
	}
	if err := flush(ctx, nc); err != nil {
		r.unsubscribe()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return r, nil
}

// subscribe hears everything over one channel, so that the order is kept. Of plain
// replies it is a queue's only member: NATS tells only one other subscription of a
// connection that nobody listens, which must be that of whoever has sent the start.
func (r *Recording) subscribe() error {
	keep := func(s *nats.Subscription, err error) error {
		if err != nil {
			r.unsubscribe()
			return fmt.Errorf("listen to scripts: %w", err)
		}
		r.subs = append(r.subs, s)
		return nil
	}
	if err := keep(r.nc.ChanQueueSubscribe(protocol.AllAnswers, uuid.NewString(), r.heard)); err != nil {
		return err
	}
	for subject := range r.scripts {
		if err := keep(r.nc.ChanSubscribe(subject, r.heard)); err != nil {
			return err
		}
	}
	return nil
}

func (r *Recording) unsubscribe() {
	for _, s := range r.subs {
		_ = s.Unsubscribe() // the connection may be gone
	}
}

// Stop ends a recording that [Listen] has begun: all that had reached the server before
// is in it. It blocks until that is so, or ctx ends. The error says that messages were
// lost. Further calls, and those for any other recording, do nothing.
func (r *Recording) Stop(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.subs == nil {
		return nil
	}
	err := flush(ctx, r.nc)
	if err != nil {
		err = fmt.Errorf("stop recording: %w", err)
	}
	for _, s := range r.subs {
		if lost, lostErr := s.Dropped(); lostErr == nil && lost > 0 && err == nil {
			err = fmt.Errorf("stop recording: %d messages of %s were lost: they came faster than they could be taken", lost, s.Subject)
		}
	}
	r.take()
	r.unsubscribe()
	r.subs = nil
	return err
}

// Messages are those recorded so far, in order.
func (r *Recording) Messages() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.take()
	return append([]Message(nil), r.messages...)
}

// take records what has been heard. The caller holds mu.
func (r *Recording) take() {
	for {
		select {
		case m := <-r.heard:
			if script, ours := r.scripts[m.Subject]; ours && !isNoAnswer(m) {
				r.record(recorded(script, m))
			}
		default:
			return
		}
	}
}

func (r *Recording) add(m Message) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.record(m)
}

// record keeps a message unless it is a repetition. The caller holds mu.
func (r *Recording) record(m Message) {
	if m.Header.Get(protocol.HeaderSequence) != "" {
		return
	}
	if id := m.Header.Get(protocol.HeaderMessageID); id != "" {
		if r.seen == nil {
			r.seen = make(map[string]bool)
		}
		if r.seen[m.Name+" "+id] {
			return
		}
		r.seen[m.Name+" "+id] = true
	}
	if m.Reply != "" && r.scripts != nil {
		r.scripts[m.Reply] = m.Script // a plain reply comes there
	}
	r.messages = append(r.messages, m)
}

// recorded is m as a message of script. Only a start tells where replies go: an answer
// that is a request names an inbox of its sender.
func recorded(script protocol.Script, m *nats.Msg) Message {
	r := Message{Script: script, Name: m.Subject, Header: m.Header, Data: m.Data}
	if m.Subject == script.Subject(protocol.Start) || m.Subject == script.Subject(protocol.RevertStart) {
		r.Reply = m.Reply
	}
	return r
}

// flush blocks until the server has got what was sent to it, at most for startTimeout.
func flush(ctx context.Context, nc *nats.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	return nc.FlushWithContext(ctx)
}
