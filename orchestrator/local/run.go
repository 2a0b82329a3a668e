package local

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// upRun is the part of up for which everything is in place.
type upRun struct {
	Up
	app          *app
	old          *app // the services of the version before; nil: none run
	orchestrator Orchestrator
	relay        *relay.Relay
	client       *api.Client
	atOnce       context.Context // ends when what is being stopped is to end at once
	earlier      map[string]bool // instances that were on the bus before anything was started
}

// tellEvery is how often it is said that something is waited for.
const tellEvery = 10 * time.Second

// errEnough ends following.
var errEnough = errors.New("it is known")

func (u *upRun) run(ctx context.Context) error {
	if err := u.lookBefore(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if err := u.putCommands(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if err := u.startBefore(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if err := u.app.startServices(); err != nil {
		return err
	}
	if err := u.awaitServices(ctx, u.app); err != nil {
		return interrupted(ctx, err, nil)
	}
	if err := u.putMessages(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if u.Seed > 0 {
		if err := u.seed(ctx); err != nil {
			return interrupted(ctx, err, nil)
		}
	}
	agents, err := u.startAgents(ctx)
	if err != nil {
		return interrupted(ctx, err, nil)
	}
	defer agents.end()
	begun, err := u.begin(ctx)
	if err != nil {
		return err
	}
	return u.rollOut(ctx, begun)
}

// rollOut follows the rollout and, where up stays, what people want of it after its end. The
// setup services run for as long as the rollout does: who wants something of them later has
// them started again, see [upRun.hearWanted].
func (u *upRun) rollOut(ctx context.Context, begun rollout.State) error {
	stopHearing, err := u.hearWanted()
	if err != nil {
		return err
	}
	defer stopHearing()
	for after := uint64(0); ; {
		last, sequence, err := u.follow(ctx, begun, after)
		if last.Backward == nil && ctx.Err() == nil { // else the rollout before it may be undone, too, or all is stopped
			if e := u.app.stopSetups(u.atOnce); e != nil {
				return e
			}
		}
		if err != nil {
			return interrupted(ctx, err, &last)
		}
		if err = nil; begun.Status != rollout.Amending {
			err = u.conclude(ctx, last)
		}
		if last.IsRepeat() {
			last, sequence = u.repeated(ctx, last, sequence)
		}
		if u.Once {
			if err == nil && u.After != nil {
				err = interrupted(ctx, u.After(ctx, last, sequence, u.followOther), &last)
			}
			return err
		}
		retried, e := u.stay(ctx, last, sequence)
		if e != nil {
			return e
		}
		if retried == nil {
			return err
		}
		if retried.Status == rollout.Running { // the cause may have been mended in its program
			if err := u.app.stopSetups(u.atOnce); err != nil {
				return err
			}
		}
		begun, after = *retried, sequence
	}
}

// followOther follows a rollout after the one that up is for, as rollOut does.
func (u *upRun) followOther(ctx context.Context, begun rollout.State, after uint64) (rollout.State, uint64, error) {
	last, sequence, err := u.follow(ctx, begun, after)
	if ctx.Err() != nil {
		return last, sequence, err
	}
	return last, sequence, errors.Join(err, u.app.stopSetups(u.atOnce))
}

// repeated gives the rollout that one has only repeated, and the sequence of its newest event:
// what people want from now on, they want of that one. It tells of records that are put aside.
func (u *upRun) repeated(ctx context.Context, last rollout.State, sequence uint64) (rollout.State, uint64) {
	story, err := u.client.Show(ctx, api.RolloutRequest{Rollout: last.Repeats})
	if err != nil {
		u.Logger.Warn("what is asked of the rollout that this one repeats would not be noticed", zap.String("rollout", last.Repeats), zap.Error(err))
		return last, sequence
	}
	if text := report.TellPutAside(story.State); text != "" {
		u.Talk.Say(terminal.Yellow, "!", "%s", text)
	}
	return story.State, story.Sequence
}

// conclude says how the rollout has ended.
func (u *upRun) conclude(ctx context.Context, last rollout.State) error {
	if last.Status == rollout.Completed { // also if Ctrl-C has come just now
		return u.tellOnline(context.WithoutCancel(ctx), last)
	}
	if !u.Once && last.Status == rollout.Reverted && report.WasAskedFor(last) {
		u.sayStaying()
		return fmt.Errorf("rollout %s: %w", last.ID, ErrUndone)
	}
	err := report.Failed(last)
	if last.Status == rollout.Failed && last.Backward == nil {
		retry := "golive retry " + last.ID
		err.Hint = strings.Replace(err.Hint, retry, retry+", or golive up again", 1)
	}
	if !u.Once {
		u.Fail(err)
		u.sayStaying()
	}
	return err
}

func (u *upRun) sayStaying() {
	u.Talk.Say(terminal.Plain, "▪", "the services stay up for you to look at: Ctrl-C stops them")
}

// interrupted is what is left to say when a person has ended up before the rollout.
func interrupted(ctx context.Context, err error, last *rollout.State) error {
	if ctx.Err() == nil {
		return err
	}
	f := &report.Failure{Code: report.CodeGaveUp, Message: "stopped before the rollout had begun"}
	if last != nil && last.ID != "" {
		f.Message = fmt.Sprintf("stopped while rollout %s was under way", last.ID)
		f.Hint = "run golive up again: it goes on where it was"
	}
	return f
}
