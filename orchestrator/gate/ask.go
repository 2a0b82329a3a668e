package gate

import (
	"context"
	"errors"
	"time"
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
		if !errors.Is(err, context.DeadlineExceeded) || ctx.Err() != nil || time.Since(began) > askFor {
			return err
		}
	}
}
