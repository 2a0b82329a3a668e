package command

import (
	"context"
	"errors"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// maxFollowed is how many changes an answer has at most: whoever is far behind asks again.
const maxFollowed = 500

// follow tells what has happened to a rollout after an event. If nothing has, it waits for
// that for as long as it is asked to.
func (c *queries) follow(ctx context.Context, q api.FollowRequest) (api.FollowPage, error) {
	page := api.FollowPage{Changes: []api.FollowedChange{}}
	patience := time.Duration(q.Wait)
	if patience < 0 || patience > api.MaxFollowWait {
		return page, refuse(api.CodeInvalid, "ask again when nothing has happened", "wait is %s, it must be from 0s to %s", patience, api.MaxFollowWait)
	}
	ref, err := c.find(ctx, q.Rollout)
	if err != nil {
		return page, err
	}
	_, open := c.View.Newest(ref.ID)
	if !open || q.After == 0 {
		if page, err = c.changes(ctx, ref, q.After); err != nil || len(page.Changes) > 0 {
			return page, err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	records := c.View.AwaitChange(waiting, ref.ID, q.After, open)
	if ctx.Err() != nil {
		return page, ctx.Err()
	}
	if len(records) > 1 { // what is known here is told at once
		return pageOf(records[0], records[1:]), nil
	}
	return c.changes(ctx, ref, q.After)
}

// changes are those of a rollout after an event.
func (c *queries) changes(ctx context.Context, ref journal.Ref, after uint64) (api.FollowPage, error) {
	page := api.FollowPage{Changes: []api.FollowedChange{}}
	records, err := c.Journal.HistoryFrom(ctx, ref.App, ref.ID, max(after, 1))
	if err != nil {
		return page, err
	}
	var before journal.Record
	if after > 0 {
		if len(records) == 0 || records[0].Sequence != after {
			return page, notThere(ctx, c.Journal, ref, after)
		}
		before, records = records[0], records[1:]
	}
	return pageOf(before, records), nil
}

// pageOf tells of records behind another one, as many as an answer has room for.
func pageOf(before journal.Record, records []journal.Record) api.FollowPage {
	page := api.FollowPage{Changes: []api.FollowedChange{}, More: len(records) > maxFollowed}
	for _, r := range records[:min(len(records), maxFollowed)] {
		page.Changes = append(page.Changes, api.FollowedChange{Sequence: r.Sequence, Change: r.State.ChangeFrom(before.State, before.Sequence)})
		before = r
	}
	return page
}

// notThere is why there is no event of a rollout where somebody knows of one.
func notThere(ctx context.Context, j *journal.Journal, ref journal.Ref, after uint64) error {
	if _, err := j.Load(ctx, ref.App, ref.ID); errors.Is(err, rollout.ErrNotFound) {
		return err // dropped meanwhile
	}
	return refuse(api.CodeInvalid, "leave it out to begin at the first one", "after is %d, which is no event of rollout %s", after, ref.ID)
}
