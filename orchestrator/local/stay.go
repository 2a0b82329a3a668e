package local

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// stay blocks until a person ends it, a service ends by itself, or the rollout, which
// stands as it does after sequence, is tried again: then it gives the state to go on
// from.
func (u *upRun) stay(ctx context.Context, last rollout.State, sequence uint64) (*rollout.State, error) {
	watching, stop := context.WithCancel(ctx)
	retried := make(chan rollout.State, 1)
	var watch sync.WaitGroup
	watch.Go(func() { u.awaitRetry(watching, last, sequence, retried) })
	defer func() { stop(); watch.Wait() }()
	for {
		select {
		case <-ctx.Done():
			return nil, nil
		case s := <-retried:
			return &s, nil
		case err := <-u.orchestrator.Ended:
			return nil, fmt.Errorf("the orchestrator has ended: %w", err)
		case d := <-u.app.died:
			if u.app.running(d.program) && d.program.setup.Owner == "" {
				return nil, u.ruin(d)
			}
			u.app.lose(d.program) // nothing is left to do for a setup service but what may be asked for later
		}
	}
}

// awaitRetry waits for a failed rollout to be tried again, as golive retry does, for the
// records that one has put aside to be so, or for one to be ended or undone.
func (u *upRun) awaitRetry(ctx context.Context, last rollout.State, sequence uint64, retried chan<- rollout.State) {
	if last.Status.Final() && last.Status != rollout.Completed {
		return
	}
	err := u.Events(ctx, last.ID, sequence, func(v api.Followed) error {
		if v.Event.Type == rollout.PaceAsked || v.Event.Type == rollout.Stopped {
			return nil
		}
		retried <- v.State
		return errEnough // whatever came first
	})
	if err != nil && !errors.Is(err, errEnough) && ctx.Err() == nil {
		u.Logger.Warn("a retry of the rollout would not be noticed", zap.Error(err))
	}
}
