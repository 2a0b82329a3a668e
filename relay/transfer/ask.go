package transfer

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// Ask is an order, and to whom it goes.
type Ask struct {
	Conn    *nats.Conn
	Subject string // of the keeper
	Inbox   string // answers come beneath it; nobody else may listen there
	Order   protocol.StateOrder
}

// Fetch has the keeper take the state, and writes it to w as it comes. It blocks until all is
// written. What was written counts for nothing after an error: [ErrNobody] says that nobody
// listens, an [*Error] what the keeper has said or has not done.
func Fetch(ctx context.Context, a Ask, w io.Writer) (protocol.StateAnswer, error) {
	return a.with(ctx, func(ctx context.Context, d *dialogue) error {
		digest, total := sha256.New(), int64(0)
		for n := 1; ; n++ {
			m, err := d.piece(ctx, n)
			if err != nil {
				return err
			}
			if m.Header.Get(protocol.HeaderStateEnd) != "" {
				return d.whole(m, hex.EncodeToString(digest.Sum(nil)), total)
			}
			if total += int64(len(m.Data)); total > a.Order.Most {
				return d.failed("", "it has sent more than %d bytes", a.Order.Most)
			}
			digest.Write(m.Data) // writing to a hash never fails
			if _, err := w.Write(m.Data); err != nil {
				return err
			}
		}
	})
}

// Deliver sends what is read from r to the keeper, and blocks until it has checked, put or dropped
// it. The errors are those of [Fetch], and those of r.
func Deliver(ctx context.Context, a Ask, r io.Reader) (protocol.StateAnswer, error) {
	return a.with(ctx, func(ctx context.Context, d *dialogue) error {
		digest := sha256.New()
		piece := make([]byte, min(protocol.StatePiece, a.Conn.MaxPayload()-protocol.StreamHeaderRoom))
		for n := 1; ; n++ {
			size, err := io.ReadFull(r, piece)
			if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				return err
			}
			h := nats.Header{}
			if size == 0 {
				h.Set(protocol.HeaderStateEnd, protocol.StateDone)
				h.Set(protocol.HeaderStateDigest, hex.EncodeToString(digest.Sum(nil)))
			}
			digest.Write(piece[:size])
			ended, err := d.give(ctx, n, piece[:size], h)
			if err != nil || ended {
				return err
			}
		}
	})
}

// dialogue is the orchestrator's side of one order.
type dialogue struct {
	nc      *nats.Conn
	sub     *nats.Subscription
	inbox   string
	replies int
	who     protocol.StateAnswer
}

func (a Ask) with(ctx context.Context, do func(context.Context, *dialogue) error) (who protocol.StateAnswer, err error) {
	o := a.Order
	ctx, cancel := context.WithTimeoutCause(ctx, time.Duration(o.Timeout)+protocol.StateSilence, timeoutError(o))
	defer cancel()
	d := &dialogue{nc: a.Conn, inbox: a.Inbox}
	if d.sub, err = a.Conn.SubscribeSync(a.Inbox + ".*"); err != nil {
		return d.who, err
	}
	defer func() { _ = d.sub.Unsubscribe() }() // the connection may be gone
	if err := d.begin(ctx, a.Subject, o); err != nil {
		return d.who, explained(ctx, err)
	}
	defer d.end()
	return d.who, explained(ctx, do(ctx, d))
}

// explained is an error, or why its context has ended.
func explained(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); err != nil && cause != nil {
		return cause
	}
	return err
}

// begin sends the order. It is sent once: who has got it may be at work.
func (d *dialogue) begin(ctx context.Context, subject string, o protocol.StateOrder) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	began := time.Now()
	for {
		m, err := d.once(ctx, &nats.Msg{Subject: subject, Data: data}, protocol.StateSilence)
		switch {
		case errors.Is(err, nats.ErrNoResponders) && time.Since(began) < protocol.StateGone:
			if err := pause(ctx); err != nil {
				return err
			}
			continue
		case errors.Is(err, nats.ErrNoResponders):
			return ErrNobody
		case errors.Is(err, nats.ErrTimeout):
			return d.failed("", "it has not answered for %s", protocol.StateSilence)
		case err != nil:
			return err
		}
		if json.Unmarshal(m.Data, &d.who) != nil || d.who.Error == nil && !protocol.IsInbox(d.who.Session) {
			return d.failed("", "its answer cannot be read")
		}
		if e := d.who.Error; e != nil {
			return d.failed(e.Code, "%s", oneLine(e.Message))
		}
		return nil
	}
}

func (d *dialogue) failed(code, format string, args ...any) error {
	return &Error{From: Name(d.who), Code: code, Why: fmt.Sprintf(format, args...)}
}

// Name is how a keeper is called for people; empty: it has not said.
func Name(who protocol.StateAnswer) string {
	const most = 200
	switch name := oneLine(who.From + " on " + who.Host); {
	case who.From == "":
		return ""
	case who.Host == "":
		return oneLine(who.From[:min(len(who.From), most)])
	default:
		return name[:min(len(name), most)]
	}
}

// end tells the keeper that nothing more is asked.
func (d *dialogue) end() {
	h := nats.Header{}
	h.Set(protocol.HeaderStateEnd, protocol.StateFailed)
	_ = d.nc.PublishMsg(&nats.Msg{Subject: d.who.Session, Header: h}) // else it finds out by itself
}

// piece asks for the piece n until it is there.
func (d *dialogue) piece(ctx context.Context, n int) (*nats.Msg, error) {
	for {
		m, err := d.ask(ctx, n, nil, nats.Header{})
		if err != nil {
			return nil, err
		}
		if len(m.Data) > 0 || m.Header.Get(protocol.HeaderStateEnd) != "" {
			return m, d.ending(m)
		}
	}
}

// give sends the piece n until it was taken.
func (d *dialogue) give(ctx context.Context, n int, data []byte, h nats.Header) (ended bool, err error) {
	for {
		m, err := d.ask(ctx, n, data, h)
		if err != nil {
			return false, err
		}
		if m.Header.Get(protocol.HeaderStateEnd) != "" {
			if err := d.ending(m); err != nil {
				return true, err
			}
			if len(data) > 0 {
				return true, d.failed("", "it has ended before it had read all of it")
			}
			return true, nil
		}
		if m.Header.Get(protocol.HeaderState) == strconv.Itoa(n) {
			return false, nil
		}
	}
}

// ending is the error of a last message.
func (d *dialogue) ending(m *nats.Msg) error {
	switch m.Header.Get(protocol.HeaderStateEnd) {
	case "", protocol.StateDone:
		return nil
	}
	return d.failed("", "%s", oneLine(m.Header.Get(protocol.HeaderError)))
}

// whole compares what has come with what was sent.
func (d *dialogue) whole(m *nats.Msg, digest string, total int64) error {
	switch {
	case total == 0:
		return d.failed("", "%s", errNothing)
	case m.Header.Get(protocol.HeaderStateDigest) != digest:
		return d.failed("", "%s", errCutOff)
	}
	return nil
}

// ask asks about the piece n until there is an answer.
func (d *dialogue) ask(ctx context.Context, n int, data []byte, h nats.Header) (*nats.Msg, error) {
	h.Set(protocol.HeaderState, strconv.Itoa(n))
	began := time.Now()
	for {
		m, err := d.once(ctx, &nats.Msg{Subject: d.who.Session, Data: data, Header: h}, protocol.StateAsk)
		switch {
		case errors.Is(err, nats.ErrNoResponders) && time.Since(began) < protocol.StateGone:
			if err := pause(ctx); err != nil {
				return nil, err
			}
		case errors.Is(err, nats.ErrNoResponders):
			return nil, d.failed("", "it has died in the middle")
		case errors.Is(err, nats.ErrTimeout) && time.Since(began) >= protocol.StateSilence:
			return nil, d.failed("", "it has said nothing for %s: it hangs, or was cut off", protocol.StateSilence)
		case errors.Is(err, nats.ErrTimeout):
		default:
			return m, err
		}
	}
}

// once asks one question; [nats.ErrTimeout] and [nats.ErrNoResponders] say that there is no answer.
func (d *dialogue) once(ctx context.Context, m *nats.Msg, within time.Duration) (*nats.Msg, error) {
	d.replies++
	m.Reply = d.inbox + "." + strconv.Itoa(d.replies)
	if err := d.nc.PublishMsg(m); err != nil {
		return nil, err
	}
	waiting, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	for {
		answer, err := d.sub.NextMsgWithContext(waiting)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, context.DeadlineExceeded):
			return nil, nats.ErrTimeout
		case err != nil:
			return nil, err
		case answer.Subject != m.Reply: // of a question that was asked again
			continue
		case len(answer.Data) == 0 && answer.Header.Get(protocol.HeaderStatus) == "503":
			return nil, nats.ErrNoResponders
		}
		return answer, nil
	}
}

// pause waits for a moment.
func pause(ctx context.Context) error {
	t := time.NewTimer(protocol.StateAgain)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
