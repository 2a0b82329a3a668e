package relay

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime/debug"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// Message is a request as a handler gets it.
type Message struct {
	Name   string // "<message>", without the service
	Data   []byte
	Header nats.Header // may be nil
	Cursor string      // of a stream that is taken up again: that of the record to go on behind; empty: from the beginning
}

// Decode reads the message's JSON into v. An empty message leaves v as it is.
func (m *Message) Decode(v any) error {
	if len(m.Data) == 0 {
		return nil
	}
	if err := json.Unmarshal(m.Data, v); err != nil {
		return &Error{Code: CodeBadRequest, Message: fmt.Sprintf("%s takes JSON: %v", m.Name, err)}
	}
	return nil
}

// Handler answers one message of a service. What it returns is encoded as by
// [Relay.Send]. It is called concurrently, and ctx ends only when the instance is
// made to stop before it could finish.
type Handler func(ctx context.Context, m *Message) (any, error)

// JSON makes a Handler of a function from one JSON value to another. An empty
// message gives the zero value of In; one that is not JSON is answered with [CodeBadRequest].
func JSON[In, Out any](f func(ctx context.Context, in In) (Out, error)) Handler {
	return func(ctx context.Context, m *Message) (any, error) {
		var in In
		if err := m.Decode(&in); err != nil {
			return nil, err
		}
		return f(ctx, in)
	}
}

// call runs h; a panic comes back as an error.
func call(ctx context.Context, h Handler, m *Message, log *zap.Logger) (data []byte, err error) {
	defer func() {
		if p := recover(); p != nil {
			log.Error("handler panicked", zap.String("message", m.Name), zap.Any("panic", p),
				zap.ByteString("stack", debug.Stack()))
			err = &Error{Code: CodeFailed, Message: fmt.Sprintf("panic: %v", p)}
		}
	}()
	answer, err := h(ctx, m)
	if err != nil {
		return nil, err
	}
	return encode(answer)
}

// respond publishes the answer to a request; one without a reply subject gets none, and one whose
// reply subject golive or JetStream read: whoever asks may not write there, and the service might.
func respond(nc *nats.Conn, reply string, data []byte, failure error) error {
	if reply == "" || !protocol.Answerable(reply) {
		return nil
	}
	if failure == nil {
		return nc.Publish(reply, data)
	}
	return nc.PublishMsg(&nats.Msg{Subject: reply, Header: failureHeader(failure)})
}

// failureHeader is the header of an answer that is an error.
func failureHeader(failure error) nats.Header {
	e := Error{Code: CodeFailed}
	if given := (*Error)(nil); errors.As(failure, &given) {
		e.RetryAfter = given.RetryAfter
		e.Code = cmp.Or(given.Code, CodeFailed)
	}
	e.Message = cmp.Or(oneLine(failure.Error()), noReason)
	h := nats.Header{}
	h.Set(protocol.HeaderErrorCode, e.Code)
	h.Set(protocol.HeaderError, e.Message)
	if e.RetryAfter > 0 {
		h.Set(protocol.HeaderRetryAfter, strconv.Itoa(int(math.Ceil(e.RetryAfter.Seconds()))))
	}
	return h
}

// oneLine makes text fit for a header.
func oneLine(text string) string {
	out := []rune(text)
	for i, c := range out {
		if c == '\n' || c == '\r' {
			out[i] = ' '
		}
	}
	return strings.TrimSpace(string(out))
}
