package engine

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

// retention drops what is too old.
type retention struct{ Config }

// retain drops the journals of rollouts that ended long ago, and the records that they have
// put aside. What has run stays in the ledger, which holds all of an event before that is
// dropped.
func (g *retention) retain(ctx context.Context) error {
	if g.Keep == 0 {
		return nil
	}
	tick := time.NewTicker(min(max(g.Keep/10, time.Second), time.Hour))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := g.sweep(ctx, g.Recorder.Now().Add(-g.Keep)); err != nil && ctx.Err() == nil {
			g.Log.Warn("old rollouts not dropped, trying again", zap.Error(err))
		}
	}
}

// sweep drops what ended before a time.
func (g *retention) sweep(ctx context.Context, before time.Time) error {
	if err := g.Sure(ctx); err != nil {
		return err
	}
	for after := uint64(0); ; {
		old, err := g.Journal.Finished(ctx, before, after, sweepBatch)
		if err != nil || len(old) == 0 {
			return errors.Join(err, g.Journal.DropReplies(ctx, before))
		}
		for _, r := range old {
			after = r.Sequence
			if err := g.drop(ctx, r); err != nil {
				return err
			}
		}
	}
}

// drop drops a rollout, unless it is the last one of its app, or the one to go back from.
func (g *retention) drop(ctx context.Context, r journal.Record) error {
	s := r.State
	book, err := g.Ledger.Book(ctx, s.Release.App)
	if err != nil {
		return err
	}
	live := book.Live()
	if s.ID == g.Ledger.Newest(s.Release.App) || len(live) > 0 && live[len(live)-1].Rollout == s.ID {
		return nil
	}
	if err := g.Ledger.SaveApp(ctx, s.Release.App); err != nil {
		return err
	}
	// They go first: as long as the journal has the rollout, it is found again.
	if err := g.Records.Drop(ctx, s.ID); err != nil {
		return err
	}
	if err := g.Fleet.Forget(ctx, s.ID); err != nil {
		return err
	}
	err = g.Journal.Drop(ctx, s.Release.App, s.ID, r.Sequence)
	if errors.Is(err, rollout.ErrConflict) {
		return nil // it goes on
	}
	if err == nil {
		g.Log.Info("old rollout dropped, the ledger keeps what has run", zap.String("rollout", s.ID), zap.String("app", s.Release.App))
	}
	return err
}
