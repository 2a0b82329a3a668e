package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/setup"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// scripts have the scripts of setup services begin, and stop.
type scripts struct {
	Config
	subscriptions *subscriptions
}

// sendStart sends the start of an attempt until somebody listens to it, or it is no longer
// wanted. One that is known to have arrived is not sent again.
func (g *scripts) sendStart(ctx context.Context, r journal.Record, step rollout.Step) error {
	if err := g.subscriptions.open(r); err != nil {
		return fmt.Errorf("listen to the answers of %s: %w", step.ID, err)
	}
	for {
		changed, wanted := g.View.Wants(r.State.ID, step)
		if !wanted || g.View.Of(r.State.ID, step.ID, step.Attempt).Sent {
			return nil
		}
		if heard, err := g.publishStart(ctx, r.State, step); err != nil || heard {
			return err
		}
		if err := g.awaitResend(ctx, r.State.ID, step, changed); err != nil {
			return err
		}
	}
}

// awaitResend blocks until it is time to look at a step again, or it is not wanted any more.
func (g *scripts) awaitResend(ctx context.Context, id string, step rollout.Step, changed <-chan struct{}) error {
	timer := time.NewTimer(g.Resend)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-changed:
			wanted := false
			if changed, wanted = g.View.Wants(id, step); !wanted {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publishStart sends the start of an attempt once, and tells what has become of it.
func (g *scripts) publishStart(ctx context.Context, s rollout.State, step rollout.Step) (heard bool, err error) {
	step = g.withPace(s.ID, step)
	m, err := g.start(s, step)
	if err != nil {
		return false, err
	}
	heard, to, err := g.Setup.Send(ctx, m)
	g.View.Note(s.ID, step.ID, step.Attempt, func(seen *view.Observed) { seen.Started = time.Now() })
	g.Recorder.At(view.StartSent)
	switch {
	case err != nil:
		return false, err
	case heard:
		g.Notices.Tell(s, api.Notice{Step: step.ID, Attempt: step.Attempt, Sent: true, Server: to.Server, Connection: to.Connection})
	default:
		g.Notices.Tell(s, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: "nobody listens to " + m.Subject})
	}
	if now := g.withPace(s.ID, step); heard && !rollout.SamePace(now.Script.Pace, step.Script.Pace) { // who was told so had not begun
		err = g.Setup.SendPace(ctx, s, now)
	}
	return heard, err
}

func (g *scripts) start(s rollout.State, step rollout.Step) (*nats.Msg, error) {
	m := nats.NewMsg(step.ScriptID().Subject(protocol.StartVerb(step.Revert)))
	m.Reply = protocol.AnswerSubject(s.ID, step.Number, step.Attempt, step.Revert)
	message := s.Start(step, g.Heartbeat)
	message.Left = protocol.Until(message.Deadline, g.Recorder.Now())
	data, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", m.Subject, err)
	}
	m.Data = data
	setup.Address(m.Header, s, step.ID, step.Attempt, m.Subject+" "+strconv.Itoa(step.Attempt))
	return m, nil
}

// awaitCancelled blocks until a script that was cancelled has answered, or can be taken
// for dead: one that has given a sign of life is watched like any other. Of one that never
// has, a setup service that claims attempts cannot begin it any more once it is claimed
// here, and of any other nobody is left when nobody has listened to its start for as long as a
// script may be at work that the bus does not answer.
func (g *scripts) awaitCancelled(ctx context.Context, r journal.Record, step rollout.Step) error {
	heard := time.Now() // when somebody was last known to listen to its start
	for {
		changed, wanted := g.View.Wants(r.State.ID, step)
		if !wanted || !g.lastSign(ctx, r.State, step).IsZero() {
			return nil
		}
		if err := g.awaitResend(ctx, r.State.ID, step, changed); err != nil {
			return err
		}
		if _, err := g.Setup.About(ctx, step.ScriptID()); err == nil {
			nobody, err := g.Setup.Withhold(ctx, r.State.Attempt(step))
			if err != nil {
				return err
			}
			if nobody {
				return g.Recorder.Record(ctx, r, g.lost(r.State, step, "it was cancelled before anybody had begun it"))
			}
			continue
		}
		listened, err := g.Setup.Listened(ctx, step.ScriptID().Subject(protocol.StartVerb(step.Revert)))
		if err != nil {
			return err
		}
		if listened {
			heard = time.Now()
		}
		if time.Since(heard) >= g.lease() {
			return g.Recorder.Record(ctx, r, g.lost(r.State, step, "it was cancelled, and nobody listens to its start any more"))
		}
		g.Notices.Tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: "its script to answer that it has stopped"})
	}
}

// lost is the event of a worker that is taken for dead.
func (g *scripts) lost(s rollout.State, step rollout.Step, why string) rollout.Event {
	done := g.View.Of(s.ID, step.ID, step.Attempt).Done
	return rollout.Event{
		Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert,
		Answer: &protocol.Answer{Items: done, Error: &protocol.ScriptError{Code: protocol.CodeLost, Message: why}},
	}
}

// lastSign is when the running attempt of a script gave its last sign of life; zero
// when it has given none. A claim that is found counts as one, given now: whoever took
// it has promised more, which only orchestrators that are gone may have heard.
func (g *scripts) lastSign(ctx context.Context, s rollout.State, step rollout.Step) time.Time {
	if g.View.Of(s.ID, step.ID, step.Attempt).Beat.IsZero() && g.claimed(ctx, s, step) {
		g.View.Note(s.ID, step.ID, step.Attempt, (*view.Observed).Alive)
	}
	return g.View.Of(s.ID, step.ID, step.Attempt).Beat
}

// claimed reports whether a worker has claimed the attempt.
func (g *scripts) claimed(ctx context.Context, s rollout.State, step rollout.Step) bool {
	_, err := g.Setup.Claim(ctx, s.Attempt(step))
	if err != nil && !errors.Is(err, jetstream.ErrKeyNotFound) {
		g.Log.Debug("read claim", zap.Error(err))
	}
	return err == nil
}
