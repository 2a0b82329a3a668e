package orchestrator

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// sweepBatch is how many old rollouts are looked at at a time.
const sweepBatch = 100

// retain drops the journals of rollouts that ended long ago, and the records that they have
// put aside. What has run stays in the ledger, which holds all of an event before that is
// dropped.
func (o *Orchestrator) retain(ctx context.Context) error {
	if o.cfg.Keep == 0 {
		return nil
	}
	tick := time.NewTicker(min(max(o.cfg.Keep/10, time.Second), time.Hour))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := o.sweep(ctx, time.Now().Add(-o.cfg.Keep)); err != nil && ctx.Err() == nil {
			o.log.Warn("old rollouts not dropped, trying again", zap.Error(err))
		}
	}
}

// sweep drops what ended before a time.
func (o *Orchestrator) sweep(ctx context.Context, before time.Time) error {
	for after := uint64(0); ; {
		old, err := o.journal.Finished(ctx, before, after, sweepBatch)
		if err != nil || len(old) == 0 {
			return errors.Join(err, o.journal.DropReplies(ctx, before))
		}
		for _, r := range old {
			after = r.Sequence
			if err := o.drop(ctx, r); err != nil {
				return err
			}
		}
	}
}

// drop drops a rollout, unless it is the last one of its app, or the one to go back from.
func (o *Orchestrator) drop(ctx context.Context, r journal.Record) error {
	s := r.State
	live, err := o.liveVersions(ctx, s.Release.App)
	if err != nil {
		return err
	}
	if s.ID == o.index.Newest(s.Release.App) || len(live) > 0 && live[len(live)-1].Rollout == s.ID {
		return nil
	}
	if err := o.index.SaveApp(ctx, s.Release.App); err != nil {
		return err
	}
	// They go first: as long as the journal has the rollout, it is found again.
	if err := o.failed.drop(ctx, s.ID); err != nil {
		return err
	}
	if err := o.fleet.Forget(ctx, s.ID); err != nil {
		return err
	}
	err = o.journal.Drop(ctx, s.Release.App, s.ID, r.Sequence)
	if errors.Is(err, rollout.ErrConflict) {
		return nil // it goes on
	}
	if err == nil {
		o.log.Info("old rollout dropped, the ledger keeps what has run", zap.String("rollout", s.ID), zap.String("app", s.Release.App))
	}
	return err
}
