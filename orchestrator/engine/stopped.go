package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// lease is how long the claim of an attempt lasts, and how long a script may be at work that
// the bus does not answer.
func (c Config) lease() time.Duration { return protocol.LeaseBeats * c.Heartbeat }

// awaitStopped blocks until nobody is at work any more on an attempt that has ended without an
// answer, and records that, where somebody may wait for it.
func (g *scripts) awaitStopped(ctx context.Context, r journal.Record, a rollout.AttemptID) error {
	if err := g.untilStopped(ctx, a, r.State.Event.At); err != nil {
		return err
	}
	_, err := g.Recorder.Change(ctx, r.State.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if s.Status.Final() || !slices.Contains(s.AllUnanswered(), a) {
			return nil, nil
		}
		return &rollout.Event{Type: rollout.Stopped, At: g.Recorder.Now(), Of: &a}, nil
	})
	if errors.Is(err, rollout.ErrNotFound) {
		return nil
	}
	return err
}

// untilStopped blocks until an attempt that has ended without an answer is over, and notes that in
// its claim. Its script is told to stop again and again: the bus may have been cut when it was
// told first. One that claims has stopped when it says so in its claim, or when its lease has run
// out. Of any other nothing can be known: it has to have stopped within the time of a lease from
// when it had ended at the latest, by the bus's clock.
func (g *scripts) untilStopped(ctx context.Context, a rollout.AttemptID, ended time.Time) error {
	claims := false
	for first := true; ; first = false {
		over, answer, err := g.Setup.Over(ctx, a, g.lease())
		if err != nil {
			return fmt.Errorf("find out whether attempt %d of %s is over: %w", a.Number, a.Script(), err)
		}
		if answer != nil {
			return nil
		}
		if !claims {
			_, err := g.Setup.About(ctx, a.Script())
			claims = err == nil || !over
		}
		if over && (claims || g.Recorder.Now().Sub(ended) >= g.lease()) {
			return g.Setup.Stopped(ctx, a, &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeLost, Message: "it has not answered"}})
		}
		if !first { // the event that ended it has told it, too
			if err := g.Setup.PublishCancel(a); err != nil {
				return err
			}
		}
		select {
		case <-time.After(g.Resend):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
