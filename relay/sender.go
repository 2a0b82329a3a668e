package relay

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// Causes for which a stream handler's context ends.
var (
	errCancelled      = errors.New("the receiver wants no more of the stream")
	errReceiverGone   = errors.New("the receiver of the stream is gone")
	errReceiverSilent = errors.New("nothing was heard of the receiver of the stream")
	errStreamOver     = errors.New("the stream has ended")
)

// Reasons with which a sender gives up a stream that can be taken up again.
var (
	errTrafficMoves = &Error{Code: CodeUnavailable, Message: "traffic moves away from the instance that sent it"}
	errLeaseLapsed  = &Error{Code: CodeUnavailable, Message: "the instance was cut off, traffic moves to another"}
	errStopping     = &Error{Code: CodeUnavailable, Message: "the instance stops"}
)

// StreamHandler answers a message with a stream: it sends its records to out, and the
// stream has ended when it returns, with its error if there is one. It is called
// concurrently. Ctx ends, with a cause, when the receiver wants no more or is gone, when a
// stream of production traffic has to give way to another version, and when the instance
// stops; nothing that is sent from then on arrives.
type StreamHandler func(ctx context.Context, m *Message, out *Sender) error

// JSONStream makes a StreamHandler of a function that takes a JSON value, and the cursor
// behind which to go on. An empty message gives the zero value of In; one that is not
// JSON is answered with [CodeBadRequest].
func JSONStream[In any](f func(ctx context.Context, in In, after string, out *Sender) error) StreamHandler {
	return func(ctx context.Context, m *Message, out *Sender) error {
		var in In
		if err := m.Decode(&in); err != nil {
			return err
		}
		return f(ctx, in, m.Cursor, out)
	}
}

// Sender is the sending side of a stream. It is safe for concurrent use.
type Sender struct {
	requests *requests // of the instance that sends it
	name     string
	private  bool // sent whatever the route says
	window   int64
	stop     context.CancelCauseFunc
	inbox    string      // where it listens for the receiver
	quiet    *time.Timer // when the batch is sent though it is not full

	mu       sync.Mutex
	room     sync.Cond // told when the receiver has room, or the stream has ended
	over     error     // why nothing can be sent any more; nil: it can
	batch    []byte    // that is being filled
	size     int       // of a full one
	overdue  bool      // the batch is to be sent as soon as there is room
	last     uint64    // sequence of the newest that was sent
	sent     int64     // cost of all that were sent
	consumed int64     // how much of it the receiver has looked at
	reply    string    // where the receiver listens
	total    int64
	told     bool // the total, or there is none
	heard    bool // the receiver, since the last pulse
	asked    bool // how far it is, since it last told more

	controls int // subjects to be heard on that have been used
	uses     int // of the newest of them
}

// Send adds a record to the stream, encoded as by [Relay.Send]. The cursor is what the
// receiver gives to go on behind this record, should the stream be lost: one line, without
// spaces around it. Send blocks while the receiver has no room, and leaves the record
// waiting for others for a few milliseconds. The error is the cause of the handler's context
// when the stream has ended, and an *[Error] with code [CodeTooLarge] when NATS does not
// take a record of that size; the stream can go on without that.
func (s *Sender) Send(value any, cursor string) error {
	if err := protocol.ValidateCursor(cursor); err != nil {
		return fmt.Errorf("record of %s: %w", s.name, err)
	}
	data, err := encode(value)
	if err != nil {
		return fmt.Errorf("record of %s: %w", s.name, err)
	}
	size := protocol.RecordSize(cursor, data)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over == nil && size > s.size {
		if err := s.fits(size); err != nil {
			return err
		}
	}
	for s.over == nil && len(s.batch) > 0 && len(s.batch)+size > s.size {
		s.flush()
	}
	if s.over != nil {
		return s.over
	}
	if len(s.batch) == 0 {
		s.quiet.Reset(protocol.StreamQuiet)
	}
	s.batch = protocol.AppendRecord(s.batch, cursor, data)
	if len(s.batch) >= s.size {
		s.flush()
	}
	return s.over
}

// Total tells the receiver how many records there are in all, whatever the cursor.
func (s *Sender) Total(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.total, s.told = n, false
}

// fits says whether NATS takes a record of that size.
func (s *Sender) fits(size int) error {
	limit := s.requests.relay.nc.MaxPayload()
	if most := limit - protocol.StreamHeaderRoom; int64(size) > most {
		return &Error{Code: CodeTooLarge, Message: fmt.Sprintf(
			"a record of %d bytes, with its cursor, is too large: the server takes at most %d bytes in a message, %d of them for a record; split the record, raise the server's max_payload, or send a reference to an object store",
			size, limit, most)}
	}
	return nil
}

// flush sends the batch, once the receiver has room for it. The caller holds the lock.
func (s *Sender) flush() {
	for s.over == nil && len(s.batch) > 0 && !s.hasRoom() {
		if !s.asked { // once, whoever waits
			s.asked = true
			s.publish(nil, nil)
		}
		if s.over == nil {
			s.room.Wait()
		}
	}
	if s.over == nil && len(s.batch) > 0 {
		s.publishBatch()
	}
}

// hasRoom reports whether the receiver lets the batch be under way. One may always be, but
// none while the bus is lost: what is published then waits in the connection's memory, of
// which there would be none left for answers.
func (s *Sender) hasRoom() bool {
	if status := s.requests.relay.nc.Status(); status == nats.RECONNECTING || status == nats.CONNECTING {
		return false
	}
	under := s.sent - s.consumed
	return under == 0 || under+protocol.StreamCost(len(s.batch)) <= s.window
}

// flushDue sends a batch that has waited long enough, if the receiver has room for it.
func (s *Sender) flushDue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overdue = len(s.batch) > 0
	s.flushOverdue()
}

func (s *Sender) flushOverdue() {
	if s.overdue && s.over == nil && s.hasRoom() {
		s.publishBatch()
	}
}

// publishBatch sends the batch as it is.
func (s *Sender) publishBatch() {
	if !s.publish(s.batch, nil) {
		return
	}
	s.sent += protocol.StreamCost(len(s.batch))
	s.overdue = false
	if cap(s.batch) > 2*protocol.StreamBatch {
		s.batch = nil // one large record shall not be paid for to the end
	}
	s.batch = s.batch[:0]
	s.size = int(min(protocol.StreamBatch, s.requests.relay.nc.MaxPayload()-protocol.StreamHeaderRoom))
}

// publish sends a message of the stream: a batch, or a sign of life. Of production, it
// does so only while the instance answers that, and a role that is being left waits for
// it; else the stream is given up, and the answer is false.
func (s *Sender) publish(batch []byte, end nats.Header) bool {
	if !s.private && s.over == nil {
		r := s.requests
		r.traffic.busy.begin()
		defer r.traffic.busy.end()
		if r.traffic.role.Load().verdict != answer {
			s.giveUp(errTrafficMoves)
			return false
		}
		if !r.traffic.mayAnswer(r.relay.clock()) {
			s.giveUp(errLeaseLapsed)
			return false
		}
	}
	if len(batch) > 0 {
		s.last++
	}
	m := &nats.Msg{Subject: s.reply, Reply: s.control(batch), Data: batch, Header: end}
	if end == nil {
		m.Header = make(nats.Header, 2)
	}
	m.Header[protocol.HeaderStream] = []string{strconv.FormatUint(s.last, 10)}
	if !s.told {
		m.Header[protocol.HeaderTotal] = []string{strconv.FormatInt(s.total, 10)}
		s.told = true
	}
	if err := s.requests.relay.nc.PublishMsg(m); err != nil {
		s.finish(fmt.Errorf("stream %s: %w", s.name, describe(err, s.requests.relay.nc)))
		return false
	}
	return true
}

// controlUses is after how many batches the receiver is given another subject to be
// heard on, as it is with each sign of life: on a bus with permissions, it lets the
// receiver answer as often again, and as long.
const controlUses = 32

// control is where the sender listens for the receiver.
func (s *Sender) control(batch []byte) string {
	if s.uses++; s.uses > controlUses || len(batch) == 0 {
		s.controls, s.uses = s.controls+1, 1
	}
	return s.inbox + "." + strconv.Itoa(s.controls)
}

// giveUp ends a stream that can be taken up again elsewhere. The caller holds the lock.
func (s *Sender) giveUp(reason *Error) {
	if s.over != nil {
		return
	}
	s.finish(reason)
	s.publish(nil, s.ending(protocol.StreamLost, reason))
}

// finish lets nothing be sent any more, and ends the handler's context.
func (s *Sender) finish(why error) {
	if s.over != nil {
		return
	}
	s.over, s.batch = why, nil
	s.stop(why)
	s.room.Broadcast()
}

// cut is giveUp from outside.
func (s *Sender) cut(reason *Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.giveUp(reason)
}

// ending is the header of the last message.
func (s *Sender) ending(how string, failure error) nats.Header {
	h := nats.Header{}
	if failure != nil {
		h = failureHeader(failure)
	}
	h[protocol.HeaderStreamEnd] = []string{how}
	return h
}

// close sends what is left, and the end.
func (s *Sender) close(failure error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flush()
	if s.over != nil {
		return
	}
	how := protocol.StreamDone
	if failure != nil {
		how = protocol.StreamFailed
	}
	if s.publish(nil, s.ending(how, failure)) {
		s.finish(errStreamOver)
	} else if errors.Is(s.over, nats.ErrMaxPayload) { // the text of the failure was too long
		s.publish(nil, s.ending(protocol.StreamFailed, s.over))
	}
}

// hear deals with a message of the receiver.
func (s *Sender) hear(m *nats.Msg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case nobodyThere(m):
		s.finish(errReceiverGone)
		return
	case string(m.Data) == protocol.StreamCancel:
		s.finish(errCancelled)
		return
	}
	n, err := strconv.ParseInt(string(m.Data), 10, 64)
	if err != nil || n < 0 || n > s.sent {
		return // no receiver says that; two senders that were told to send to each other do
	}
	s.heard = true
	if m.Reply != "" && protocol.Answerable(m.Reply) {
		s.reply = m.Reply
	}
	if n > s.consumed {
		s.consumed, s.asked = n, false
		s.flushOverdue()
		s.room.Broadcast()
	}
}

// pulse sends what has waited for others long enough, tells the receiver that we are
// there, and notices when it is not, until ctx ends.
func (s *Sender) pulse(ctx context.Context) {
	tick := time.NewTicker(s.requests.relay.pulse)
	defer tick.Stop()
	for missed := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-s.quiet.C:
			s.flushDue()
		case <-tick.C:
			missed = s.beat(missed)
		}
	}
}

// beat is one pulse; so many before it have passed in silence.
func (s *Sender) beat(missed int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if missed++; s.heard {
		missed, s.heard = 0, false
	}
	switch {
	case s.over != nil:
	case missed >= protocol.StreamHeartbeatsMissed:
		s.finish(errReceiverSilent)
	default:
		s.publish(nil, nil) // which gives it up when the lease has run out
		s.flushOverdue()
		s.room.Broadcast() // the bus may have been found again
	}
	return missed
}

// run answers a request with a stream.
func (s *Sender) run(ctx context.Context, q *request) {
	r := s.requests
	sub, err := r.relay.nc.Subscribe(s.inbox+".*", s.hear)
	if err != nil {
		r.respond(q, nil, err)
		return
	}
	defer func() { _ = sub.Unsubscribe() }() // only fails on a closed connection
	alive, end := context.WithCancel(ctx)
	var pulsing sync.WaitGroup
	pulsing.Go(func() { s.pulse(alive) })
	defer pulsing.Wait()
	defer end()
	if s.accept() {
		s.close(s.call(ctx, q))
	}
}

// accept tells the receiver at once that its stream has begun, and where to be heard.
// False: it is over already.
func (s *Sender) accept() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over == nil && s.publish(nil, nil)
}

// call runs the handler; a panic comes back as an error.
func (s *Sender) call(ctx context.Context, q *request) error {
	m := &Message{Name: q.to.message, Data: q.data, Header: q.header, Cursor: q.header.Get(protocol.HeaderCursor)}
	_, err := call(ctx, func(ctx context.Context, m *Message) (any, error) {
		return nil, q.to.stream(ctx, m, s)
	}, m, s.requests.log)
	if err != nil && ctx.Err() == nil {
		s.requests.log.Debug("stream failed", zap.String("message", m.Name), zap.Error(err))
	}
	return err
}
