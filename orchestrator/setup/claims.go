package setup

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// withheld is the instance in a claim by which nobody may begin an attempt any more.
const withheld = "golive"

// Claims are those of attempts, in their bucket. It is safe for concurrent use.
type Claims struct {
	Bucket jetstream.KeyValue
}

// Claim reads who has claimed an attempt; [jetstream.ErrKeyNotFound] when nobody has.
func (c Claims) Claim(ctx context.Context, s rollout.State, step rollout.Step) (protocol.Claim, error) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	var claim protocol.Claim
	entry, err := c.Bucket.Get(ctx, claimKey(s, step))
	if err != nil {
		return claim, err
	}
	_ = json.Unmarshal(entry.Value(), &claim) // whatever it says, it is taken
	return claim, nil
}

func claimKey(s rollout.State, step rollout.Step) string {
	return protocol.ClaimKey(s.ID, step.ID, step.Attempt, step.Revert)
}

// Withhold claims an attempt, so that no setup service that claims begins it any more. It
// reports whether nobody had, but for whoever has withheld it before.
func (c Claims) Withhold(ctx context.Context, s rollout.State, step rollout.Step) (bool, error) {
	value, err := json.Marshal(protocol.Claim{Instance: withheld, At: time.Now().UTC()})
	if err != nil {
		return false, err
	}
	_, err = c.Bucket.Create(ctx, claimKey(s, step), value)
	if err == nil {
		return true, nil
	}
	claim, readErr := c.Claim(ctx, s, step)
	if readErr != nil {
		return false, errors.Join(err, readErr)
	}
	return claim.Instance == withheld, nil
}
