package gate

import (
	"context"
	"errors"
	"time"

	"github.com/golive-dev/golive/relay/bus"
)

// askTimeout bounds one question to the leader of a bucket, which may be lost with its
// server. NATS would wait for 5 s, and requests may be held meanwhile.
const askTimeout = time.Second

// askFor is how long a question is asked again: longer than an election.
const askFor = 15 * time.Second

// ask calls a question that changes nothing until it is answered.
func ask(ctx context.Context, question func(context.Context) error) error {
	for began := time.Now(); ; {
		asking, cancel := context.WithTimeout(ctx, askTimeout)
		err := question(asking)
		cancel()
		if !unanswered(err) || ctx.Err() != nil || time.Since(began) > askFor {
			return err
		}
		pause(ctx, askTimeout/10)
	}
}

// errAgain says that the bucket refused a writing for a conflict that is none: it does so
// now and then in a cluster, right after another writing.
var errAgain = errors.New("refused, though nobody else has written")

// unanswered reports whether asking again may help.
func unanswered(err error) bool { return errors.Is(err, errAgain) || bus.Unanswered(err) }

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
