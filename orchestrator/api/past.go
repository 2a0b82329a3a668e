package api

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Past calls each with a rollout after every event that has happened to it, oldest first, until
// each gives an error, which is given back. It waits for the event at the sequence least, if one
// orchestrator knows of it and the one that answers does not yet; 0: it waits for nothing. The id
// may be any unique beginning of it.
func (c *Client) Past(ctx context.Context, id string, least uint64, each func(RolloutView) error) error {
	var known RolloutView
	for {
		q := FollowRequest{Rollout: id, After: known.Sequence}
		if known.Sequence > 0 && known.Sequence < least {
			q.Wait = rollout.Duration(followWait)
		}
		page, err := c.follow(ctx, q)
		if err != nil {
			return err
		}
		for _, change := range page.Changes {
			s, err := known.State.Fold(change.Change, known.Sequence)
			if err != nil {
				return err
			}
			known = RolloutView{State: s, Sequence: change.Sequence}
			if err := each(known); err != nil {
				return err
			}
		}
		if !page.More && known.Sequence >= least {
			return nil
		}
	}
}
