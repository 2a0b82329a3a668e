package bus

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	leaderTimeout = 2 * time.Second        // of one question to a leader
	leaderPause   = 200 * time.Millisecond // until it is asked again
)

// AskLeader calls a question to JetStream that changes nothing until it is answered, by a
// result or an error, or until ctx ends: while a cluster elects a leader, and while the bus is
// away, nobody does. The question gets two seconds each time.
func AskLeader(ctx context.Context, question func(context.Context) error) error {
	for {
		asking, cancel := context.WithTimeout(ctx, leaderTimeout)
		err := question(asking)
		cancel()
		if !Unanswered(err) || ctx.Err() != nil {
			return err
		}
		t := time.NewTimer(leaderPause)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
		}
	}
}

// Unanswered reports whether an error of JetStream says that no leader has answered, so that
// what has become of the request is not known, and asking again may help.
func Unanswered(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, nats.ErrNoResponders) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, jetstream.ErrNoStreamResponse) || errors.Is(err, nats.ErrDisconnected) ||
		errors.As(err, &api) && api.Code == 503 && !errors.Is(err, ErrFull)
}

// JetStream's codes for one that is not there.
const (
	codeNotEnabled        = 10076
	codeNotEnabledAccount = 10039
)

// NoJetStream reports whether an error says that there is no JetStream for the account, as far
// as is known at the moment: a link to servers that have it may be about to come up.
func NoJetStream(err error) bool {
	var api *jetstream.APIError
	return errors.Is(err, nats.ErrNoResponders) ||
		errors.As(err, &api) && (api.ErrorCode == codeNotEnabled || api.ErrorCode == codeNotEnabledAccount)
}
