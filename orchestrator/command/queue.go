package command

import (
	"context"
	"errors"
	"slices"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// enqueue records that a rollout waits for its turn, if after is still the sequence of the
// app's newest event.
func (c *deployer) enqueue(ctx context.Context, q api.DeployRequest, after uint64) (journal.Record, error) {
	s, err := rollout.Enqueue(q.Rollout, q.By, q.Reason, c.Recorder.Now(), q.Release)
	if err != nil {
		return journal.Record{}, err
	}
	s.AllowOlder, s.Until = q.AllowOlder, q.Phase
	return c.Recorder.Keep(ctx, s, after, c.Journal.Begin)
}

// replace has what is open of the app give way, and then puts the rollout into the queue.
func (c *deployer) replace(ctx context.Context, q api.DeployRequest, open []journal.Record) (journal.Record, error) {
	for _, r := range open {
		if err := c.giveWay(ctx, r, q); err != nil {
			return journal.Record{}, err
		}
	}
	after, err := c.Recorder.AppNow(ctx, q.Release.App)
	if err != nil {
		return journal.Record{}, err
	}
	own, err := c.Journal.Load(ctx, q.Release.App, q.Rollout)
	if errors.Is(err, rollout.ErrNotFound) {
		return c.enqueue(ctx, q, after)
	}
	return own, err // the same request has been here, or elsewhere, a moment ago
}

// giveWay has a rollout of the app end, so that another can take its place: one under way
// is aborted, and so is one that waits in the queue.
func (c *deployer) giveWay(ctx context.Context, r journal.Record, q api.DeployRequest) error {
	_, err := c.Recorder.Change(ctx, r.State.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if s.Status.Final() || s.Status == rollout.Aborting || s.Status == rollout.Failed || s.Status == rollout.Amending && s.Stopping() {
			return nil, nil
		}
		return &rollout.Event{Type: rollout.AbortAsked, At: c.Recorder.Now(), By: q.By,
			Reason: "rollout " + q.Rollout + " of " + q.Release.Version + " takes its place"}, nil
	})
	return err
}

// beginQueued begins the rollout that has waited longest, if nothing of its app is under
// way any more. A failed one gives way to it.
func (c *deployer) beginQueued(ctx context.Context, app string) error {
	for {
		if !slices.ContainsFunc(c.View.OfApp(app), isQueued) {
			return nil // what is queued from now on comes with an item of its own
		}
		after, err := c.Recorder.AppNow(ctx, app)
		if err != nil {
			return err
		}
		open := c.View.OfApp(app)
		first := slices.IndexFunc(open, isQueued)
		busy := c.View.Readable(app) != nil ||
			slices.ContainsFunc(open, func(r journal.Record) bool { return !isQueued(r) && !givesWay(r) })
		if first < 0 || busy {
			return nil
		}
		next := open[first].State
		failed := slices.DeleteFunc(open, isQueued)
		if len(failed) > 0 && c.planner.checkRequires(ctx, next.Release) != nil {
			return nil // somebody may yet bring it to its end
		}
		err = c.beginNow(ctx, next, failed, after)
		if !errors.Is(err, rollout.ErrConflict) {
			return err
		}
	}
}

func isQueued(r journal.Record) bool { return r.State.Status == rollout.Queued }

// beginNow makes the plan of a rollout whose turn it is. One that may not begin any more,
// because of what has happened before it, ends.
func (c *deployer) beginNow(ctx context.Context, s rollout.State, failed []journal.Record, after uint64) error {
	facts, err := c.planner.facts(ctx, s.Release)
	if err != nil {
		return err
	}
	err = errors.Join(c.planner.checkOwners(ctx, s.Release), c.planner.checkVersions(ctx, s.Release, facts, s.AllowOlder), c.planner.checkRequires(ctx, s.Release))
	if err == nil {
		_, err = c.start(ctx, planned{
			release: s.Release, facts: facts, id: s.ID, by: s.By, reason: s.Event.Reason, allowOlder: s.AllowOlder, failed: failed,
			phase: s.Until, store: c.Journal.AppendNext,
		}, after)
		return err
	}
	if describe(err).Code == api.CodeUnavailable {
		return err
	}
	c.Log.Warn("queued rollout may not begin", zap.String("rollout", s.ID), zap.Error(err))
	_, err = c.Recorder.Change(ctx, s.Release.App, s.ID, func(now rollout.State) (*rollout.Event, error) {
		if now.Status != rollout.Queued {
			return nil, nil
		}
		return &rollout.Event{Type: rollout.AbortAsked, At: c.Recorder.Now(), By: "golive", Reason: rollout.Clip(err.Error())}, nil
	})
	return err
}
