package relay

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// ErrNobodyListens says that no instance of the service answers: none is running, or
// none of those that run is online.
var ErrNobodyListens = errors.New("nobody listens")

// Codes of an [Error] that the relay itself gives.
const (
	CodeFailed      = "500" // the handler returned an error that is no *Error, or panicked
	CodeMaintenance = "503" // the service is under maintenance
)

// Error is an answer that is an error. A handler returns one to choose the code its
// caller sees.
type Error struct {
	Name       string        // of the message; set by the relay on the caller's side
	Code       string        // "500" where the handler chose none
	Message    string        //
	RetryAfter time.Duration // when to try again; 0: not told
}

// Error is the message, behind the name it answers where that is known.
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Message
	}
	return e.Name + " answered " + e.Code + ": " + e.Message
}

func errorOf(name string, m *nats.Msg) error {
	if m.Header == nil {
		return nil
	}
	message := m.Header.Get(protocol.HeaderError)
	code := m.Header.Get(protocol.HeaderErrorCode)
	if message == "" && code == "" {
		return nil
	}
	e := &Error{Name: name, Code: code, Message: message}
	if s, err := strconv.Atoi(m.Header.Get(protocol.HeaderRetryAfter)); err == nil {
		e.RetryAfter = time.Duration(s) * time.Second
	}
	return e
}

func describe(err error, nc *nats.Conn) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return ErrNobodyListens
	case errors.Is(err, nats.ErrMaxPayload):
		return fmt.Errorf("%w: the server takes at most %d bytes; send it in parts", err, nc.MaxPayload())
	}
	return err
}

// redact takes passwords and tokens out of one or more URLs.
func redact(urls string) string {
	parts := strings.Split(urls, ",")
	for i, p := range parts {
		u, err := url.Parse(strings.TrimSpace(p))
		if err != nil {
			parts[i] = "(unreadable URL)"
			continue
		}
		if u.User != nil {
			u.User = url.User("xxxxx")
		}
		parts[i] = u.String()
	}
	return strings.Join(parts, ",")
}
