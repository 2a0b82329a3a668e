package orchestrator

import (
	"context"
	"errors"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// enqueue records that a rollout waits for its turn, if after is still the sequence of the
// app's newest event.
func (o *Orchestrator) enqueue(ctx context.Context, q api.DeployRequest, after uint64) (journal.Record, error) {
	s, err := rollout.Enqueue(q.Rollout, q.By, q.Reason, time.Now().UTC(), q.Release)
	if err != nil {
		return journal.Record{}, err
	}
	s.AllowOlder, s.Until = q.AllowOlder, q.Phase
	return o.keep(ctx, s, after, o.journal.Begin)
}

// replace has what is open of the app give way, and then puts the rollout into the queue.
func (o *Orchestrator) replace(ctx context.Context, q api.DeployRequest, open []journal.Record) (journal.Record, error) {
	for _, r := range open {
		if err := o.giveWay(ctx, r, q); err != nil {
			return journal.Record{}, err
		}
	}
	after, err := o.appNow(ctx, q.Release.App)
	if err != nil {
		return journal.Record{}, err
	}
	own, err := o.journal.Load(ctx, q.Release.App, q.Rollout)
	if errors.Is(err, rollout.ErrNotFound) {
		return o.enqueue(ctx, q, after)
	}
	return own, err // the same request has been here, or elsewhere, a moment ago
}

// giveWay has a rollout of the app end, so that another can take its place: one under way
// is aborted, and so is one that waits in the queue.
func (o *Orchestrator) giveWay(ctx context.Context, r journal.Record, q api.DeployRequest) error {
	_, err := o.apply(ctx, r.State.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if s.Status.Final() || s.Status == rollout.Aborting || s.Status == rollout.Failed || s.Status == rollout.Amending && s.Stopping() {
			return nil, nil
		}
		return &rollout.Event{Type: rollout.AbortAsked, At: time.Now().UTC(), By: q.By,
			Reason: "rollout " + q.Rollout + " of " + q.Release.Version + " takes its place"}, nil
	})
	return err
}

// beginQueued begins the rollout that has waited longest, if nothing of its app is under
// way any more. A failed one gives way to it.
func (o *Orchestrator) beginQueued(ctx context.Context, app string) error {
	for {
		if !slices.ContainsFunc(o.view.ofApp(app), isQueued) {
			return nil // what is queued from now on comes with an item of its own
		}
		after, err := o.appNow(ctx, app)
		if err != nil {
			return err
		}
		open := o.view.ofApp(app)
		first := slices.IndexFunc(open, isQueued)
		busy := o.view.readable(app) != nil ||
			slices.ContainsFunc(open, func(r journal.Record) bool { return !isQueued(r) && !givesWay(r) })
		if first < 0 || busy {
			return nil
		}
		next := open[first].State
		failed := slices.DeleteFunc(open, isQueued)
		if len(failed) > 0 && o.checkRequires(ctx, next.Release) != nil {
			return nil // somebody may yet bring it to its end
		}
		err = o.beginNow(ctx, next, failed, after)
		if !errors.Is(err, rollout.ErrConflict) {
			return err
		}
	}
}

func isQueued(r journal.Record) bool { return r.State.Status == rollout.Queued }

// beginNow makes the plan of a rollout whose turn it is. One that may not begin any more,
// because of what has happened before it, ends.
func (o *Orchestrator) beginNow(ctx context.Context, s rollout.State, failed []journal.Record, after uint64) error {
	facts, err := o.facts(ctx, s.Release)
	if err != nil {
		return err
	}
	err = errors.Join(o.checkOwners(ctx, s.Release), o.checkVersions(ctx, s.Release, facts, s.AllowOlder), o.checkRequires(ctx, s.Release))
	if err == nil {
		_, err = o.plan(ctx, planned{
			release: s.Release, facts: facts, id: s.ID, by: s.By, reason: s.Event.Reason, allowOlder: s.AllowOlder, failed: failed,
			phase: s.Until, store: o.journal.AppendNext,
		}, after)
		return err
	}
	if describe(err).Code == api.CodeUnavailable {
		return err
	}
	o.log.Warn("queued rollout may not begin", zap.String("rollout", s.ID), zap.Error(err))
	_, err = o.apply(ctx, s.Release.App, s.ID, func(now rollout.State) (*rollout.Event, error) {
		if now.Status != rollout.Queued {
			return nil, nil
		}
		return &rollout.Event{Type: rollout.AbortAsked, At: time.Now().UTC(), By: "golive", Reason: clip(err.Error())}, nil
	})
	return err
}
