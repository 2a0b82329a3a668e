package api

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// FollowRequest asks what has happened to a rollout after an event that is known.
type FollowRequest struct {
	Rollout string           `json:"rollout"`
	After   uint64           `json:"after,omitempty"` // sequence of an event of the rollout; 0: from the beginning
	Wait    rollout.Duration `json:"wait,omitempty"`  // for something to happen, if nothing has; at most [MaxFollowWait]
}

// MaxFollowWait is how long an answer to a [FollowRequest] may be waited for at most.
const MaxFollowWait = 10 * time.Second

// FollowPage is what has happened, oldest first. It is empty if nothing has.
type FollowPage struct {
	Changes []FollowedChange `json:"changes"`
	More    bool             `json:"more,omitempty"` // more has happened behind them
}

// FollowedChange is a change of a rollout, to be folded onto the state before it, see
// [rollout.State.Fold].
type FollowedChange struct {
	Sequence uint64         `json:"sequence"`
	Change   rollout.Change `json:"change"`
}

// Followed is a rollout after one of its events.
type Followed struct {
	RolloutView
	Past bool // more had happened to it when this was told
}

const (
	followWait  = 5 * time.Second        // that an orchestrator waits with an empty answer
	followSlack = 5 * time.Second        // that it may be late then, before another one is asked
	followPause = 250 * time.Millisecond // before it is asked again after an error
)

// Follow calls each with a rollout after every event that comes behind the one at the sequence
// after, the past ones at once and the others when they happen, until each gives an error,
// which is given back, or ctx ends: then that is the error. A bus that is away and orchestrators
// that die are outlasted. What is refused, such as a rollout that is not there, is an error.
func (c *Client) Follow(ctx context.Context, id string, after uint64, each func(Followed) error) error {
	var known RolloutView
	for {
		page, err := c.follow(ctx, FollowRequest{Rollout: id, After: known.Sequence, Wait: rollout.Duration(followWait)})
		var refused *protocol.ServiceError
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.As(err, &refused) && refused.Code != CodeUnavailable:
			return err
		case err != nil:
			if err := wait(ctx, followPause); err != nil {
				return err
			}
			continue
		}
		for i, change := range page.Changes {
			s, err := known.State.Fold(change.Change, known.Sequence)
			if err != nil {
				return err
			}
			known = RolloutView{State: s, Sequence: change.Sequence}
			if known.Sequence <= after {
				continue
			}
			if err := each(Followed{known, page.More || i+1 < len(page.Changes)}); err != nil {
				return err
			}
		}
	}
}

// follow asks once. When the connection has been lost meanwhile, the answer is lost, too: it is
// waited for no longer than that.
func (c *Client) follow(ctx context.Context, q FollowRequest) (FollowPage, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(q.Wait)+followSlack)
	back := c.nc.StatusChanged(nats.CONNECTED)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-back:
			cancel()
		case <-ctx.Done():
		}
	})
	defer func() { cancel(); watching.Wait(); c.nc.RemoveStatusListener(back) }()
	return call[FollowPage](ctx, c, "follow", q)
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
