package relay

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// ErrStreamLost says that the rest of a stream did not come: its sender has died, was
// cut off or lost production traffic, or messages were lost on the way. It can be taken
// up again with [After]. The error wraps the reason.
var ErrStreamLost = errors.New("the stream was lost")

// Reasons of an [ErrStreamLost], and of an answer that is no stream.
var (
	errSenderGone   = errors.New("its sender is gone")
	errSenderSilent = errors.New("nothing was heard of its sender")
	errGap          = errors.New("messages of it are missing")
	errOverrun      = errors.New("its sender sends more than there is room for")
	errPlainAnswer  = errors.New("it was answered plainly, not by a stream: use Request")
)

// Record is one of the messages that a stream consists of.
type Record struct {
	Data   []byte // the receiver's to keep; the memory of its whole batch is kept with it
	Cursor string // where the stream can be taken up again behind this record; see [After]
}

// Decode reads the record's JSON into v. An empty record leaves v as it is.
func (r Record) Decode(v any) error {
	if len(r.Data) == 0 {
		return nil
	}
	return decode(r.Data, v)
}

// Stream sends a message and gives the records that answer it, as they come. The next
// ones are sent while a record is looked at, but no more than a window of
// [protocol.StreamWindow] bytes, so however slow the loop is, nobody's memory grows.
//
// An error is the last thing that comes. It is an [ErrStreamLost] when the stream can be
// taken up again with [After] and the last record's cursor; an *[Error] when the sender
// answered with one; and as of [Relay.Request] when the stream could not begin. The first
// answer has to come within the configured time of a request, and senders that send
// nothing tell every second that they are there, but the whole may take as long as it
// takes. To leave the loop, or to end ctx, ends the sender's handler as well.
func (r *Relay) Stream(ctx context.Context, name string, payload any, opts ...StreamOption) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		if err := r.stream(ctx, name, payload, targetOf(opts, StreamOption.toStream), yield); err != nil {
			yield(Record{}, err)
		}
	}
}

// Stream is [Relay.Stream] of records that are JSON. One that cannot be read ends it.
func Stream[T any](ctx context.Context, r *Relay, name string, payload any, opts ...StreamOption) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for record, err := range r.Stream(ctx, name, payload, opts...) {
			var value T
			if err == nil {
				if err = record.Decode(&value); err != nil {
					err = fmt.Errorf("record of %s: %w", name, err)
				}
			}
			if !yield(value, err) || err != nil {
				return
			}
		}
	}
}

// stream asks for a stream until one has begun, and hands it on. Nil: it has ended, or
// yield wants no more.
func (r *Relay) stream(ctx context.Context, name string, payload any, t target, yield func(Record, error) bool) error {
	to, err := t.subject(name)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	if err := protocol.ValidateCursor(t.cursor); err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	data, err := encode(payload)
	if err != nil {
		return fmt.Errorf("stream %s: %w", name, err)
	}
	waiting, cancel := r.withTimeout(ctx)
	defer cancel()
	for {
		s := &receiver{relay: r, name: name, total: t.total, wake: make(chan struct{}, 1)}
		err := s.run(ctx, to, data, t, yield)
		if err == nil || s.begun() || !t.patient || !awaitMaintenance(waiting, err) {
			return err
		}
	}
}

// receiver is the receiving side of one stream.
type receiver struct {
	relay *Relay
	name  string
	total *atomic.Int64 // may be nil
	wake  chan struct{} // capacity 1: told when there is something to look at
	heard atomic.Bool   // since the last pulse

	mu      sync.Mutex
	batches [][]byte // that have come and were not looked at
	last    uint64   // sequence of the newest
	came    int64    // cost of all that have come
	ended   bool     // nothing more comes
	failure error    // why; nil: that was all
	asked   bool     // the sender wants to know how far we are

	inbox    string
	control  string // where the sender listens; empty: not told yet
	replies  int    // reply subjects that have been used
	consumed int64  // cost of the batches that have been looked at
	credited int64  // how much of it the sender was told

	cursors []byte // of one batch
}

func (s *receiver) begun() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.control != ""
}

// run asks for the stream and hands on what comes.
func (s *receiver) run(ctx context.Context, to string, data []byte, t target, yield func(Record, error) bool) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("stream %s: %w", s.name, err)
	}
	nc := s.relay.nc
	s.inbox = nc.NewInbox()
	sub, err := nc.Subscribe(s.inbox+".*", s.take)
	if err != nil {
		return fmt.Errorf("stream %s: %w", s.name, describe(err, nc))
	}
	defer func() { _ = sub.Unsubscribe() }()             // only fails on a closed connection
	if err := sub.SetPendingLimits(-1, -1); err != nil { // the window is the limit
		return fmt.Errorf("stream %s: %w", s.name, err)
	}
	m := &nats.Msg{Subject: to, Reply: s.reply(), Data: data, Header: t.header()}
	m.Header.Set(protocol.HeaderStream, strconv.Itoa(protocol.StreamWindow))
	if t.cursor != "" {
		m.Header.Set(protocol.HeaderCursor, t.cursor)
	}
	if err := nc.PublishMsg(m); err != nil {
		return fmt.Errorf("stream %s: %w", s.name, describe(err, nc))
	}
	alive, end := context.WithCancel(ctx)
	var pulsing sync.WaitGroup
	pulsing.Go(func() { s.pulse(alive) })
	defer func() {
		s.cancel(nil)
		end()
		pulsing.Wait()
	}()
	return s.hand(ctx, yield)
}

// hand gives the records one after the other to yield.
func (s *receiver) hand(ctx context.Context, yield func(Record, error) bool) error {
	first := time.NewTimer(s.relay.timeout)
	defer first.Stop()
	for {
		batch, more, err := s.next(ctx, first)
		if err != nil || !more {
			return err
		}
		wanted, err := s.handBatch(ctx, batch, yield)
		if err != nil || !wanted {
			return err
		}
		s.consume(protocol.StreamCost(len(batch)))
	}
}

// next waits for a batch; false: there are no more.
func (s *receiver) next(ctx context.Context, first *time.Timer) ([]byte, bool, error) {
	for {
		s.mu.Lock()
		switch {
		case len(s.batches) > 0:
			batch := s.batches[0]
			s.batches[0] = nil
			s.batches = s.batches[1:]
			s.mu.Unlock()
			return batch, true, nil
		case s.ended:
			s.mu.Unlock()
			return nil, false, s.failure
		case s.asked && s.consumed > s.credited:
			s.credit()
		}
		late := first.C
		if s.control != "" {
			late = nil
		}
		s.mu.Unlock()
		select {
		case <-s.wake:
		case <-late:
			return nil, false, fmt.Errorf("stream %s: no answer within %s: %w", s.name, s.relay.timeout, context.DeadlineExceeded)
		case <-ctx.Done():
			return nil, false, fmt.Errorf("stream %s: %w", s.name, ctx.Err())
		}
	}
}

// handBatch gives the records of a batch to yield, and reports whether that wants more.
func (s *receiver) handBatch(ctx context.Context, batch []byte, yield func(Record, error) bool) (bool, error) {
	cursors, err := s.cursorsOf(batch)
	if err != nil {
		return false, s.lost(err)
	}
	done := ctx.Done()
	for len(batch) > 0 {
		cursor, data, rest, err := protocol.CutRecord(batch)
		if err != nil {
			return false, s.lost(err)
		}
		select {
		case <-done:
			return false, fmt.Errorf("stream %s: %w", s.name, ctx.Err())
		default:
		}
		batch = rest
		record := Record{Data: data, Cursor: cursors[:len(cursor)]}
		cursors = cursors[len(cursor):]
		if !yield(record, nil) {
			return false, nil
		}
	}
	return true, nil
}

// cursorsOf gives all cursors of a batch as one string: one allocation for all of them.
func (s *receiver) cursorsOf(batch []byte) (string, error) {
	s.cursors = s.cursors[:0]
	for len(batch) > 0 {
		cursor, _, rest, err := protocol.CutRecord(batch)
		if err != nil {
			return "", err
		}
		s.cursors = append(s.cursors, cursor...)
		batch = rest
	}
	return string(s.cursors), nil
}

// consume counts a batch that has been looked at, and tells the sender now and then.
func (s *receiver) consume(cost int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.consumed += cost
	if s.consumed-s.credited >= protocol.StreamWindow/4 {
		s.credit()
	}
}

// credit tells the sender how much has been looked at. The caller holds the lock.
func (s *receiver) credit() {
	if s.control == "" || s.ended {
		return
	}
	s.asked = s.asked && s.consumed == s.credited // that is no answer
	s.credited = s.consumed
	// An error is a lost connection: the silence tells.
	_ = s.relay.nc.PublishRequest(s.control, s.reply(), strconv.AppendInt(nil, s.consumed, 10))
}

// reply makes a reply subject. Each is new: on a bus with permissions, it lets the sender
// answer once more as often.
func (s *receiver) reply() string {
	s.replies++
	return s.inbox + "." + strconv.Itoa(s.replies)
}

// cancel has the sender end, unless it has.
func (s *receiver) cancel(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.control != "" && !s.ended {
		_ = s.relay.nc.Publish(s.control, []byte(protocol.StreamCancel)) // lost: the sender hears that nobody listens
	}
	if !s.ended {
		s.end(why)
	}
	s.batches = nil
}

// pulse tells the sender that we are there, and notices when it is not, until ctx ends.
func (s *receiver) pulse(ctx context.Context) {
	tick := time.NewTicker(s.relay.pulse)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-ctx.Done():
			s.cancel(fmt.Errorf("stream %s: %w", s.name, ctx.Err()))
			return
		case <-tick.C:
			if missed++; s.heard.Swap(false) {
				missed = 0
			}
			s.beat(missed)
		}
	}
}

// beat is one pulse; so many before it have passed in silence.
func (s *receiver) beat(missed int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	closed := s.relay.nc.IsClosed()
	switch {
	case s.ended:
	case closed && s.control == "":
		s.end(fmt.Errorf("stream %s: %w", s.name, nats.ErrConnectionClosed))
	case closed:
		s.end(s.lost(nats.ErrConnectionClosed))
	case s.control == "":
	case missed >= protocol.StreamHeartbeatsMissed:
		s.end(s.lost(errSenderSilent))
	default:
		s.credit()
	}
}

// take deals with a message of the sender.
func (s *receiver) take(m *nats.Msg) {
	s.heard.Store(true)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return
	}
	if nobodyThere(m) {
		if s.control == "" {
			s.end(fmt.Errorf("stream %s: %w", s.name, ErrNobodyListens))
		} else {
			s.end(s.lost(errSenderGone))
		}
		return
	}
	sequence := header(m, protocol.HeaderStream)
	if sequence == "" {
		failure := errorOf(s.name, m)
		if failure == nil {
			failure = fmt.Errorf("stream %s: %w", s.name, errPlainAnswer)
		}
		s.end(failure)
		return
	}
	if total, err := strconv.ParseInt(header(m, protocol.HeaderTotal), 10, 64); err == nil && total >= 0 && s.total != nil {
		s.total.Store(total)
	}
	if m.Reply != "" {
		s.control = m.Reply
	}
	s.follow(m, sequence)
}

// follow takes what a message of the stream brings, if none is missing before it. The
// caller holds the lock.
func (s *receiver) follow(m *nats.Msg, sequence string) {
	expected := s.last
	if len(m.Data) > 0 {
		expected++
	}
	if n, err := strconv.ParseUint(sequence, 10, 64); err != nil || n != expected {
		s.giveUp(errGap)
		return
	}
	s.last = expected
	if len(m.Data) > 0 {
		under, cost := s.came-s.consumed, protocol.StreamCost(len(m.Data))
		if under > 0 && under+cost > protocol.StreamWindow {
			s.giveUp(errOverrun)
			return
		}
		s.came += cost
		s.batches = append(s.batches, m.Data)
	}
	switch header(m, protocol.HeaderStreamEnd) {
	case "":
		s.asked = s.asked || len(m.Data) == 0
		tell(s.wake)
	case protocol.StreamDone:
		s.end(nil)
	case protocol.StreamFailed:
		failure := errorOf(s.name, m)
		if failure == nil {
			failure = &Error{Name: s.name, Code: CodeFailed, Message: noReason}
		}
		s.end(failure)
	default:
		s.end(s.lost(errorOf(s.name, m)))
	}
}

// giveUp ends a stream that is not sent as it should be. The caller holds the lock.
func (s *receiver) giveUp(reason error) {
	_ = s.relay.nc.Publish(s.control, []byte(protocol.StreamCancel)) // what else it sends is of no use
	s.end(s.lost(reason))
}

// end has the iteration end behind what has come so far. The caller holds the lock.
func (s *receiver) end(failure error) {
	s.ended, s.failure = true, failure
	tell(s.wake)
}

func (s *receiver) lost(reason error) error {
	if reason == nil {
		reason = errors.New(noReason)
	}
	return fmt.Errorf("stream %s: %w: %w", s.name, ErrStreamLost, reason)
}

// nobodyThere reports whether a message is NATS's word that nobody listens.
func nobodyThere(m *nats.Msg) bool {
	return len(m.Data) == 0 && m.Header != nil && m.Header.Get(protocol.HeaderStatus) == "503"
}

// header gives a header of ours as whoever made it wrote it.
func header(m *nats.Msg, key string) string {
	if m.Header == nil {
		return ""
	}
	return strings.TrimSpace(m.Header.Get(key))
}
