package setup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Claims are those of attempts, in their bucket. A claim is a lease: who has made it renews it
// while the script is at work, and has ended the script when it could not. So a claim that has
// not changed for as long as a lease lasts is of nobody who is at work. Make it with
// [NewClaims]; it is safe for concurrent use.
type Claims struct {
	bucket jetstream.KeyValue

	mu      sync.Mutex
	seen    map[rollout.AttemptID]sighting
	stopped map[rollout.AttemptID]bool // that this was noted of in their claims
}

// sighting is a claim as it was found first.
type sighting struct {
	revision uint64
	since    time.Time // by the monotonic clock: it is slow at most, while the machine is suspended
}

// maxSightings is how many claims are looked at at the same time, at most. The oldest are
// forgotten, and their leases counted anew.
const maxSightings = 10000

// NewClaims gives the claims in a bucket.
func NewClaims(bucket jetstream.KeyValue) *Claims {
	return &Claims{bucket: bucket, seen: make(map[rollout.AttemptID]sighting), stopped: make(map[rollout.AttemptID]bool)}
}

// Claim reads who has claimed an attempt; [jetstream.ErrKeyNotFound] when nobody has.
func (c *Claims) Claim(ctx context.Context, a rollout.AttemptID) (protocol.Claim, error) {
	claim, _, err := c.read(ctx, a)
	return claim, err
}

func (c *Claims) read(ctx context.Context, a rollout.AttemptID) (claim protocol.Claim, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	entry, err := c.bucket.Get(ctx, claimKey(a))
	if err != nil {
		return claim, 0, err
	}
	_ = json.Unmarshal(entry.Value(), &claim) // whatever it says, it is taken
	return claim, entry.Revision(), nil
}

func claimKey(a rollout.AttemptID) string {
	return protocol.ClaimKey(a.Rollout, a.Script().Step(), a.Number, a.Revert)
}

// Withhold claims an attempt that nobody has claimed, so that nobody begins it any more. It
// reports whether that is so now: false says that somebody has claimed it.
func (c *Claims) Withhold(ctx context.Context, a rollout.AttemptID) (bool, error) {
	return c.withhold(ctx, a, 0)
}

// withhold takes the claim of an attempt, if it still has the revision; 0: nobody has it.
func (c *Claims) withhold(ctx context.Context, a rollout.AttemptID, revision uint64) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	value, err := json.Marshal(protocol.Claim{Instance: protocol.Withheld, At: time.Now().UTC()})
	if err != nil {
		return false, fmt.Errorf("write claim: %w", err)
	}
	if revision == 0 {
		_, err = c.bucket.Create(ctx, claimKey(a), value)
	} else {
		_, err = c.bucket.Update(ctx, claimKey(a), value, revision)
	}
	if err == nil {
		return true, nil
	}
	claim, _, readErr := c.read(ctx, a)
	if readErr != nil {
		return false, errors.Join(err, readErr)
	}
	return claim.Instance == protocol.Withheld, nil
}

// Stopped notes in the claim of an attempt that its script has answered, though nobody waits for
// the answer any more: it is not at work. The first answer counts.
func (c *Claims) Stopped(ctx context.Context, a rollout.AttemptID, answer *protocol.Answer) error {
	c.mu.Lock()
	noted := c.stopped[a]
	c.mu.Unlock()
	if noted {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	value, err := json.Marshal(protocol.Claim{Instance: protocol.Withheld, At: time.Now().UTC(), Answer: answer})
	if err != nil {
		return fmt.Errorf("write claim: %w", err)
	}
	if _, err = c.bucket.Put(ctx, claimKey(a), value); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.stopped) >= maxSightings {
		clear(c.stopped)
	}
	c.stopped[a] = true
	return nil
}

// Over finds out whether nobody is at work on an attempt, and nobody can begin it any more. It
// is to be asked again and again: a claim without an answer is over when it has not changed for
// the time of a lease, and is then taken away from who had made it. An answer that stands in
// the claim is given.
func (c *Claims) Over(ctx context.Context, a rollout.AttemptID, lease time.Duration) (over bool, answer *protocol.Answer, err error) {
	claim, revision, err := c.read(ctx, a)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
		over, err = c.withhold(ctx, a, 0)
	case err != nil:
		return false, nil, err
	case claim.Instance == protocol.Withheld, claim.Answer != nil:
		over, answer = true, claim.Answer
	case c.unchanged(a, revision) >= lease:
		over, err = c.withhold(ctx, a, revision)
	}
	if over {
		c.forget(a)
	}
	return over, answer, err
}

// unchanged is for how long a claim is known to have had its revision.
func (c *Claims) unchanged(a rollout.AttemptID, revision uint64) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if seen, known := c.seen[a]; known && seen.revision == revision {
		return time.Since(seen.since)
	}
	if len(c.seen) >= maxSightings {
		clear(c.seen)
	}
	c.seen[a] = sighting{revision, time.Now()}
	return 0
}

func (c *Claims) forget(a rollout.AttemptID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.seen, a)
}
