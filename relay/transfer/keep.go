package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// Give answers a take at reply, as who, and lets take write the state. It blocks until the
// orchestrator has all of it or is gone, and until take has returned. Take's context ends when the
// time of the order is over, when it is broken off, and with ctx. The error says why it has failed;
// the orchestrator is told. It is an error to write nothing, and more than the order allows.
func Give(ctx context.Context, nc *nats.Conn, reply string, o protocol.StateOrder, who protocol.StateAnswer, take func(context.Context, io.Writer) error) error {
	return keep(ctx, nc, reply, o, who, func(s *session) (func(context.Context) error, answerer) {
		w := &outgoing{session: s, pieces: make(chan []byte), digest: sha256.New()}
		return func(ctx context.Context) error {
			w.ctx = ctx
			if err := take(ctx, w); err != nil {
				return err
			}
			return w.end()
		}, w
	})
}

// Receive answers a check, a put or a drop at reply, as who, and lets read read what was taken;
// its reader ends with [io.EOF] only if nothing is missing. It blocks until read has returned and
// the orchestrator knows, or is gone. All else is as of [Give]. It is an error to leave any of it
// unread.
func Receive(ctx context.Context, nc *nats.Conn, reply string, o protocol.StateOrder, who protocol.StateAnswer, read func(context.Context, io.Reader) error) error {
	return keep(ctx, nc, reply, o, who, func(s *session) (func(context.Context) error, answerer) {
		r := &incoming{session: s, pieces: make(chan []byte), last: make(chan error, 1), digest: sha256.New()}
		return func(ctx context.Context) error {
			r.ctx = ctx
			if err := read(ctx, r); err != nil {
				return err
			}
			return r.rest()
		}, r
	})
}

// Refuse answers an order with why it is not followed.
func Refuse(nc *nats.Conn, reply, code, why string) error {
	return tell(nc, reply, protocol.StateAnswer{Error: &protocol.ServiceError{Code: code, Message: why}})
}

func tell(nc *nats.Conn, reply string, a protocol.StateAnswer) error {
	if !protocol.IsInbox(reply) {
		return fmt.Errorf("the answer is wanted at %q, which is no inbox", reply)
	}
	data, err := json.Marshal(a)
	if err != nil {
		return err
	}
	return nc.Publish(reply, data)
}

// session is the keeper's side of one order.
type session struct {
	nc        *nats.Conn
	order     protocol.StateOrder
	questions chan *nats.Msg
	doing     context.Context // of the keeper's function
	done      chan struct{}   // closed when that has returned
	outcome   error           // of it; valid once done is closed
}

// answerer answers one question. True: it was the last one that it has an answer to.
type answerer interface {
	answer(n int, m *nats.Msg) (ended bool, err error)
}

// questionsAhead is more than come where one comes after the other, some of them twice.
const questionsAhead = 64

func keep(ctx context.Context, nc *nats.Conn, reply string, o protocol.StateOrder, who protocol.StateAnswer, with func(*session) (func(context.Context) error, answerer)) error {
	s := &session{nc: nc, order: o, questions: make(chan *nats.Msg, questionsAhead), done: make(chan struct{})}
	who.Session = nc.NewInbox()
	sub, err := nc.ChanSubscribe(who.Session, s.questions)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	timed, cancel := context.WithTimeoutCause(ctx, time.Duration(o.Timeout), timeoutError(o))
	defer cancel()
	doing, stop := context.WithCancelCause(timed)
	defer stop(nil)
	s.doing = doing
	do, answers := with(s)
	if err := tell(nc, reply, who); err != nil {
		return err
	}
	_ = nc.FlushTimeout(protocol.StateBeat) // so that whoever dies from now on is known by name
	go func() {                             // waited for below
		defer close(s.done)
		s.outcome = safely(doing, do)
	}()
	why := s.serve(ctx, answers)
	stop(why)
	<-s.done
	if s.outcome != nil {
		return s.outcome
	}
	return why
}

// safely calls a function; a panic of it is an error.
func safely(ctx context.Context, do func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	err = do(ctx)
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = cause
	}
	return err
}

// serve answers questions until the orchestrator has said that it needs no more. The error says
// that it is gone, or has broken it off.
func (s *session) serve(ctx context.Context, answers answerer) error {
	silence := time.NewTimer(protocol.StateSilence)
	defer silence.Stop()
	for ended := false; ; {
		var m *nats.Msg
		select {
		case m = <-s.questions:
		case <-silence.C:
			if ended {
				return nil
			}
			return errAskerGone
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		silence.Reset(protocol.StateSilence)
		if m.Header.Get(protocol.HeaderStateEnd) == protocol.StateFailed {
			if ended {
				return nil
			}
			return errBrokenOff
		}
		n, ok := protocol.ParseNumber(m.Header.Get(protocol.HeaderState))
		if !ok || !protocol.IsInbox(m.Reply) {
			continue
		}
		last, err := answers.answer(int(n), m)
		if err != nil {
			return err
		}
		ended = ended || last
	}
}

// beat comes when a question has to be answered though there is nothing to say yet.
func (s *session) beat() <-chan time.Time { return time.After(protocol.StateBeat) }

// ended says how the keeper's function has ended; false: it has not.
func (s *session) ended() (failure error, is bool) {
	select {
	case <-s.done:
		return s.outcome, true
	default:
	}
	if cause := context.Cause(s.doing); cause != nil {
		return cause, true // though it may still hang
	}
	return nil, false
}

// respond answers a question: about the piece n, with data or without.
func (s *session) respond(m *nats.Msg, n int, data []byte, end, digest string, failure error) error {
	a := &nats.Msg{Subject: m.Reply, Data: data, Header: nats.Header{}}
	a.Header.Set(protocol.HeaderState, strconv.Itoa(n))
	if end != "" {
		a.Header.Set(protocol.HeaderStateEnd, end)
	}
	if digest != "" {
		a.Header.Set(protocol.HeaderStateDigest, digest)
	}
	if failure != nil {
		a.Header.Set(protocol.HeaderError, oneLine(failure.Error()))
	}
	return s.nc.PublishMsg(a)
}

// outcomeOf answers a question with how it has ended.
func (s *session) outcomeOf(m *nats.Msg, n int, digest string, failure error) (bool, error) {
	if failure != nil {
		return true, s.respond(m, n, nil, protocol.StateFailed, "", failure)
	}
	return true, s.respond(m, n, nil, protocol.StateDone, digest, nil)
}

// maxWhy is how many bytes of a reason are told.
const maxWhy = 1000

// oneLine makes text fit for a header.
func oneLine(text string) string {
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > maxWhy {
		text = strings.ToValidUTF8(text[:maxWhy], "") + "…"
	}
	if text == "" {
		return "it has failed, and has not said why"
	}
	return text
}

// outgoing is what a take writes to.
type outgoing struct {
	*session
	ctx    context.Context // of the take
	pieces chan []byte
	digest hash.Hash
	total  int64
	buf    []byte

	held   []byte // the piece that was given last, for whoever asks again
	number int    // of it
}

// errNothing says that a take has succeeded without having written anything.
var errNothing = errors.New("it has ended without any data")

// Write is of [io.Writer].
func (w *outgoing) Write(p []byte) (int, error) {
	if err := context.Cause(w.ctx); err != nil {
		return 0, err
	}
	if w.total+int64(len(p)) > w.order.Most {
		return 0, fmt.Errorf("it has written more than %d bytes, which is the most that its state may have: raise maxMB of services.%s.state in golive.yaml", w.order.Most, w.order.Service)
	}
	n := len(p)
	w.total += int64(n)
	most := int(min(protocol.StatePiece, w.nc.MaxPayload()-protocol.StreamHeaderRoom))
	for len(p) > 0 {
		if w.buf == nil {
			w.buf = make([]byte, 0, most)
		}
		part := p[:min(len(p), most-len(w.buf))]
		w.buf, p = append(w.buf, part...), p[len(part):]
		if len(w.buf) >= most {
			if err := w.flush(); err != nil {
				return 0, err
			}
		}
	}
	return n, nil
}

func (w *outgoing) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	w.digest.Write(w.buf) // writing to a hash never fails
	select {
	case w.pieces <- w.buf:
		w.buf = nil
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	}
}

// end hands out the rest, and refuses a state of nothing.
func (w *outgoing) end() error {
	if w.total == 0 {
		return errNothing
	}
	return w.flush()
}

// answer is of answerer: it gives the piece n.
func (w *outgoing) answer(n int, m *nats.Msg) (bool, error) {
	switch {
	case n == w.number && n > 0:
		return false, w.respond(m, n, w.held, "", "", nil)
	case n != w.number+1:
		return false, nil
	}
	select {
	case piece := <-w.pieces: // also of one that has ended since
		w.held, w.number = piece, n
		return false, w.respond(m, n, piece, "", "", nil)
	default:
	}
	select {
	case w.held = <-w.pieces:
		w.number = n
		return false, w.respond(m, n, w.held, "", "", nil)
	case <-w.done:
	case <-w.doing.Done():
	case <-w.beat():
		return false, w.respond(m, n, nil, "", "", nil)
	}
	failure, _ := w.ended()
	sum := ""
	if failure == nil {
		sum = hex.EncodeToString(w.digest.Sum(nil))
	}
	return w.outcomeOf(m, n, sum, failure)
}

// incoming is what a check or put reads from.
type incoming struct {
	*session
	ctx    context.Context // of the check or put
	pieces chan []byte
	last   chan error // why nothing more comes; nil: that was all
	buf    []byte
	over   error

	digest hash.Hash
	taken  int // number of the last piece that was read
	closed bool
}

// Read is of [io.Reader].
func (r *incoming) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	for len(r.buf) == 0 {
		if r.over != nil {
			return 0, r.over
		}
		select {
		case r.buf = <-r.pieces:
		case err := <-r.last:
			if r.over = err; err == nil {
				r.over = io.EOF
			}
		case <-r.ctx.Done():
			return 0, context.Cause(r.ctx)
		}
	}
	n := copy(p, r.buf)
	r.buf = r.buf[n:]
	return n, nil
}

// rest refuses what was not read.
func (r *incoming) rest() error {
	n, err := r.Read(make([]byte, 1))
	switch {
	case n > 0:
		return errors.New("it has ended before it had read all of it")
	case errors.Is(err, io.EOF):
		return nil
	}
	return err
}

// errCutOff says that what came is not what was sent.
var errCutOff = errors.New("what came is not what was sent: its digest is another one")

// answer is of answerer: it takes the piece n.
func (r *incoming) answer(n int, m *nats.Msg) (bool, error) {
	if n <= r.taken {
		return false, r.respond(m, r.taken, nil, "", "", nil)
	}
	if n != r.taken+1 {
		return false, nil
	}
	var next chan []byte
	if m.Header.Get(protocol.HeaderStateEnd) == "" {
		next = r.pieces
	} else if !r.closed {
		r.closed = true
		var err error
		if m.Header.Get(protocol.HeaderStateDigest) != hex.EncodeToString(r.digest.Sum(nil)) {
			err = errCutOff
		}
		r.last <- err // once
	}
	select {
	case next <- m.Data:
		r.taken = n
		r.digest.Write(m.Data)
		return false, r.respond(m, n, nil, "", "", nil)
	case <-r.done:
	case <-r.doing.Done():
	case <-r.beat():
		return false, r.respond(m, r.taken, nil, "", "", nil)
	}
	failure, _ := r.ended()
	return r.outcomeOf(m, n, "", failure)
}
