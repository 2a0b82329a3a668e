package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// lease is how long the claim of an attempt lasts, and how long a script may be at work that
// the bus does not answer.
func (c Config) lease() time.Duration { return protocol.LeaseBeats * c.Heartbeat }

// awaitBefore blocks until nobody is at work any more on what has to be over before a step's
// attempt begins, or the attempt is no longer wanted.
func (g *scripts) awaitBefore(ctx context.Context, r journal.Record, step rollout.Step) error {
	for _, before := range r.State.Before(step) {
		waits := fmt.Sprintf("attempt %d of %s to stop", before.Number, before.Script())
		if before.Rollout != r.State.ID {
			waits += ", of rollout " + before.Rollout
		}
		err := g.awaitStopped(ctx, before, func() (<-chan struct{}, bool) {
			changed, wanted := g.View.Wants(r.State.ID, step)
			if wanted {
				g.Notices.Tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: waits})
			}
			return changed, wanted
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitLeft blocks until nobody is at work any more on the attempt of a step that has ended
// without an answer.
func (g *scripts) awaitLeft(ctx context.Context, r journal.Record, act rollout.Act) error {
	left, _ := act.Unanswered(r.State)
	return g.awaitStopped(ctx, left, func() (<-chan struct{}, bool) { return nil, true })
}

// awaitStopped blocks until an attempt that has ended without an answer is over, or is waited
// for no more. Its script is told to stop again and again: the bus may have been cut when it
// was told first. One that claims has stopped when it says so in its claim, or when its lease
// has run out. Of any other nothing can be known: it has to have stopped within the time of a lease.
func (g *scripts) awaitStopped(ctx context.Context, a rollout.AttemptID, wants func() (changed <-chan struct{}, wanted bool)) error {
	claims, began := false, time.Now()
	for first := true; ; first = false {
		over, answer, err := g.Setup.Over(ctx, a, g.lease())
		if err != nil {
			return fmt.Errorf("find out whether attempt %d of %s is over: %w", a.Number, a.Script(), err)
		}
		if !claims && answer == nil {
			_, err := g.Setup.About(ctx, a.Script())
			claims = err == nil || !over
		}
		if over && (claims || answer != nil || time.Since(began) >= g.lease()) {
			return nil
		}
		changed, wanted := wants()
		if !wanted {
			return nil
		}
		if !first { // the event that ended it has told it, too
			if err := g.Setup.PublishCancel(a); err != nil {
				return err
			}
		}
		select {
		case <-changed:
		case <-time.After(g.Resend):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
