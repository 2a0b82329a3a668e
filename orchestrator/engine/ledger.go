package engine

import (
	"context"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/view"
)

// The ledger is saved after this time, and what is read at the start of an orchestrator
// also whenever it has grown by so many events: the start reads those that came after.
const (
	saveEvery  = time.Minute
	saveEvents = 2000
	lookEvery  = time.Second     // how often its growth is looked at
	saveFor    = 5 * time.Second // at the end of an orchestrator
)

// saver stores the ledger from time to time.
type saver struct {
	Config
	outdated atomic.Bool // a newer version of golive has written an event
}

func (g *saver) saveLedger(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-tick.C:
			switch {
			case time.Since(saved) >= saveEvery:
				g.saveNow(ctx, g.Ledger.Save)
				saved = time.Now()
			case g.Ledger.Changes() >= saveEvents:
				g.saveNow(ctx, g.Ledger.SaveEnvironment)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveFor)
			defer cancel()
			g.saveNow(last, g.Ledger.Save)
			return nil
		}
	}
}

func (g *saver) saveNow(ctx context.Context, save func(context.Context) error) {
	if g.outdated.Load() || g.Sure(ctx) != nil { // what is here may be of another history
		return
	}
	if err := save(ctx); err != nil {
		g.Log.Warn("ledger not saved, it is made anew from the journal when needed", zap.Error(err))
	}
	g.Recorder.At(view.LedgerSaved)
}
