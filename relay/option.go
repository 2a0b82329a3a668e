package relay

import (
	"sync/atomic"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// SendOption changes where a message of [Relay.Send] goes, and how: [ToVersion] and
// [MessageID].
type SendOption interface{ toSend(*target) }

// RequestOption changes where a message of [Relay.Request] goes, and how: [ToVersion],
// [MessageID] and [AwaitMaintenance].
type RequestOption interface{ toRequest(*target) }

// StreamOption changes where a message of [Relay.Stream] goes, and how: [ToVersion],
// [MessageID], [AwaitMaintenance], [After] and [TotalTo].
type StreamOption interface{ toStream(*target) }

// An AnswerOption fits every message that is answered.
type AnswerOption interface {
	RequestOption
	StreamOption
}

// An Option fits every message.
type Option interface {
	SendOption
	RequestOption
	StreamOption
}

// ToVersion sends the message to the private address of one version of its service,
// whether or not that version is online; an empty version is production, as without it. It
// applies to [Relay.Send], [Relay.Request] and [Relay.Stream].
func ToVersion(version string) Option { return option(func(t *target) { t.version = version }) }

// MessageID gives a message an id, in NATS's own header for that, by which its receiver
// can recognise it when it is sent again. It applies to [Relay.Send], [Relay.Request] and
// [Relay.Stream].
func MessageID(id string) Option { return option(func(t *target) { t.id = id }) }

// AwaitMaintenance makes a request wait while its service is under maintenance, for as
// long as its context allows: it is sent again after the time that the service tells, and
// at least once a second. It applies to [Relay.Request], and to [Relay.Stream] until a
// stream has begun.
func AwaitMaintenance() AnswerOption { return answerOption(func(t *target) { t.patient = true }) }

// After has a stream go on behind the record with that cursor. It applies to
// [Relay.Stream].
func After(cursor string) StreamOption { return streamOption(func(t *target) { t.cursor = cursor }) }

// TotalTo stores how many records a stream has in all, whatever the cursor, as soon as
// its sender has told it. It applies to [Relay.Stream].
func TotalTo(total *atomic.Int64) StreamOption {
	return streamOption(func(t *target) { t.total = total })
}

type (
	option       func(*target) // of every message
	answerOption func(*target) // of those that are answered
	streamOption func(*target) // of those that are answered by a stream
)

func (o option) toSend(t *target)          { o(t) }
func (o option) toRequest(t *target)       { o(t) }
func (o option) toStream(t *target)        { o(t) }
func (o answerOption) toRequest(t *target) { o(t) }
func (o answerOption) toStream(t *target)  { o(t) }
func (o streamOption) toStream(t *target)  { o(t) }

// target is where a message goes, and how.
type target struct {
	version string
	patient bool
	id      string
	cursor  string        // of a stream
	total   *atomic.Int64 // of a stream; may be nil
}

// targetOf applies options of one of the three kinds.
func targetOf[O any](opts []O, apply func(O, *target)) target {
	if len(opts) == 0 {
		return target{} // without a variable that options may keep
	}
	var t target
	for _, o := range opts {
		apply(o, &t)
	}
	return t
}

// subject is where a message goes.
func (t target) subject(name string) (string, error) {
	if t.version == "" {
		return name, nil
	}
	if err := protocol.ValidateVersion(t.version); err != nil {
		return "", err
	}
	service, message, err := protocol.SplitMessage(name)
	if err != nil {
		return "", err
	}
	return protocol.PrivateSubject(service, t.version, message), nil
}

// header is what a message carries beside its payload, for the caller to add to.
func (t target) header() nats.Header {
	h := nats.Header{}
	if t.id != "" {
		h.Set(protocol.HeaderMsgID, t.id)
	}
	return h
}
