package spec

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
)

// lookEvery is how often it is looked whether somebody listens.
const lookEvery = 10 * time.Millisecond

// awaitListener blocks until somebody listens to subject. Nothing is published there.
func awaitListener(ctx context.Context, nc *nats.Conn, subject string) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		there, err := hasListener(ctx, nc, subject)
		if there {
			return nil
		}
		if err == nil {
			select {
			case <-tick.C:
				continue
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w to %s: %w", relay.ErrNobodyListens, subject, context.Cause(ctx))
		}
		return err
	}
}

// hasListener asks NATS who would get a message, by one that is traced and never
// delivered.
func hasListener(ctx context.Context, nc *nats.Conn, subject string) (bool, error) {
	inbox := nc.NewRespInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return false, fmt.Errorf("look who listens to %s: %w", subject, err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	m := nats.NewMsg(subject)
	m.Header.Set("Nats-Trace-Dest", inbox)
	m.Header.Set("Nats-Trace-Only", "true")
	if err := nc.PublishMsg(m); err != nil {
		return false, fmt.Errorf("look who listens to %s: %w", subject, err)
	}
	reply, err := sub.NextMsgWithContext(ctx)
	if err != nil {
		return false, fmt.Errorf("look who listens to %s: %w", subject, err)
	}
	var trace struct {
		Events []struct {
			Type string `json:"type"`
		} `json:"events"`
	}
	if err := json.Unmarshal(reply.Data, &trace); err != nil {
		return false, fmt.Errorf("look who listens to %s: read the trace: %w", subject, err)
	}
	for _, e := range trace.Events {
		if e.Type == "eg" { // egress: somebody would get it
			return true, nil
		}
	}
	return false, nil
}
