package relay

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// ErrNobodyListens says that no instance of the service answers: none is running, or
// none of those that run is online.
var ErrNobodyListens = errors.New("nobody listens")

// ErrMaintenance says that the service is under maintenance. The error is an *[Error]
// too, whose RetryAfter tells when to try again; no handler has seen the request.
var ErrMaintenance = errors.New("under maintenance")

// Codes of an [Error] that the relay itself gives.
const (
	CodeBadRequest  = "400" // the message cannot be read, or is not answered in the way it asks for
	CodeTooLarge    = "413" // a record of a stream is larger than NATS takes
	CodeFailed      = "500" // the handler returned an error that is no *Error, or panicked
	CodeUnavailable = "503" // nobody can answer now; [ErrMaintenance] and [ErrNobodyListens] tell why
)

// Answers to requests that no handler has seen. Trying again may help.
var (
	errNobodyOnline = &Error{Code: CodeUnavailable, Message: "no version of the service is online", reason: protocol.ReasonNoVersion}
	errTooMany      = &Error{Code: CodeUnavailable, Message: "too many requests are held while traffic moves"}
	errTooLong      = &Error{Code: CodeUnavailable, Message: "held for too long while traffic moves"}
	errStopped      = &Error{Code: CodeFailed, Message: "the instance was stopped before it could begin"}
)

// errForwarded answers a request that says of itself what no instance does.
var errForwarded = &Error{Code: CodeBadRequest, Message: protocol.HeaderForwarded + " is no revision of a route"}

// maxRetryAfter is how long a service may say that it will be away, in seconds; more is not told.
const maxRetryAfter = 366 * 24 * 60 * 60

// errLapsed answers a request whose handler has run, but whose answer came too late.
var errLapsed = &Error{Code: CodeFailed, Message: "the instance was cut off while it was at work, and another version has taken over"}

// noReason stands for the message of an error that has none.
const noReason = "it gave no reason"

// Error is an answer that is an error. A handler returns one, or an error that wraps
// one, to choose the code its caller sees.
type Error struct {
	Name       string        // of the message; set by the relay on the caller's side
	Code       string        // "500" where the handler chose none
	Message    string        // what went wrong, as a sentence
	RetryAfter time.Duration // when to try again; 0: not told

	reason string // of an answer that no handler gave, as in [protocol.HeaderReason]; empty: none told
}

// Error is the message, behind the name it answers where that is known.
func (e *Error) Error() string {
	if e.Name == "" {
		return e.Message
	}
	return e.Name + " answered " + e.Code + ": " + e.Message
}

// Is makes an answer that comes from maintenance an [ErrMaintenance], and one of an
// instance that no version is online an [ErrNobodyListens].
func (e *Error) Is(target error) bool {
	switch target {
	case ErrMaintenance:
		return e.Code == CodeUnavailable && e.reason == protocol.ReasonMaintenance
	case ErrNobodyListens:
		return e.Code == CodeUnavailable && e.reason == protocol.ReasonNoVersion
	}
	return false
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
	e := &Error{
		Name: name, Code: cmp.Or(code, CodeFailed), Message: cmp.Or(message, noReason),
		reason: m.Header.Get(protocol.HeaderReason),
	}
	if s, told := protocol.ParseNumber(m.Header.Get(protocol.HeaderRetryAfter)); told && s <= maxRetryAfter {
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

// parseURLs reads one or more URLs as NATS does. The error does not repeat them: they
// may hold a password.
func parseURLs(urls string) ([]*url.URL, error) {
	var all []*url.URL
	for _, text := range strings.Split(urls, ",") {
		text = strings.TrimSpace(text)
		if text == "" {
			continue
		}
		if !strings.Contains(text, "://") {
			text = "nats://" + text
		}
		u, err := url.Parse(text)
		if err != nil || u.Hostname() == "" {
			return nil, errors.New("the URL cannot be read: write nats://HOST:PORT, and in a password %40 for @, %2F for / and so on")
		}
		all = append(all, u)
	}
	return all, nil
}

// checkURL refuses the URL of what is no NATS server, or cannot be one.
func checkURL(u *url.URL) error {
	if !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
		return fmt.Errorf("a URL that begins with %s:// is not that of a NATS server: write nats://HOST:PORT, or tls://, ws:// or wss://", u.Scheme)
	}
	if port := u.Port(); port != "" {
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("there is no port %s: write one from 1 to 65535", port)
		}
	}
	return nil
}

// CheckURL reports what is wrong with one or more NATS URLs, joined by commas, so that no
// server could ever be reached there; nil for those that can be tried. Passwords are not in the
// error. [Connect] gives the same error at once.
func CheckURL(urls string) error {
	all, err := parseURLs(urls)
	for _, u := range all {
		err = cmp.Or(err, checkURL(u))
	}
	return err
}

// redact writes one or more URLs without user, password or token.
func redact(urls string) string {
	all, err := parseURLs(urls)
	if err != nil {
		return "(unreadable URL)"
	}
	texts := make([]string, len(all))
	for i, u := range all {
		shown := url.URL{Scheme: u.Scheme, Host: u.Host}
		if u.User != nil {
			shown.User = url.User("xxxxx")
		}
		texts[i] = shown.String()
	}
	return strings.Join(texts, ",")
}
