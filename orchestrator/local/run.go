package local

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// upRun is the part of up for which everything is in place.
type upRun struct {
	Up
	app          *app
	orchestrator Orchestrator
	relay        *relay.Relay
	client       *api.Client
	atOnce       context.Context // ends when what is being stopped is to end at once
	before       map[string]bool // instances that were on the bus before anything was started
}

// tellEvery is how often it is said that something is waited for.
const tellEvery = 10 * time.Second

// errEnough ends following.
var errEnough = errors.New("it is known")

func (u *upRun) run(ctx context.Context) error {
	if err := u.lookBefore(ctx); err != nil {
		return interrupted(ctx, err, nil)
	}
	if err := u.app.startServices(); err != nil {
		return err
	}
	if err := u.awaitServices(ctx); err != nil {
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

// rollOut follows the rollout and, where up stays, what people want of it after its end.
func (u *upRun) rollOut(ctx context.Context, begun rollout.State) error {
	for after := uint64(0); ; {
		last, sequence, err := u.follow(ctx, begun, after)
		if e := u.app.stopSetups(u.atOnce, u.keeps(ctx, last)); e != nil {
			return e
		}
		if err != nil {
			return interrupted(ctx, err, &last)
		}
		if err = nil; begun.Status != rollout.Amending {
			err = u.conclude(ctx, last)
		}
		if u.Once {
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
			if err := u.app.stopSetups(u.atOnce, none); err != nil {
				return err
			}
		}
		begun, after = *retried, sequence
	}
}

// keeps tells which setup services go on running when the rollout has ended: as long as up
// stays, what they did can be undone, and the records that they have put aside tried again.
func (u *upRun) keeps(ctx context.Context, last rollout.State) func(owner string) bool {
	if u.Once || last.Status != rollout.Completed && last.Status != rollout.Failed {
		return none
	}
	return func(owner string) bool { return asideIn(last, owner) || u.canUndo(ctx, last, owner) }
}

// undoTimeout is how long a setup service is asked whether it can undo what it did.
const undoTimeout = time.Second

// canUndo reports whether a setup service says that it has a revert script for something
// that it did.
func (u *upRun) canUndo(ctx context.Context, s rollout.State, owner string) bool {
	ctx, cancel := context.WithTimeout(ctx, undoTimeout)
	defer cancel()
	return slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		if step.Kind != rollout.Migration || step.Name != owner || step.Attempt == 0 {
			return false
		}
		m, err := u.relay.Conn().RequestWithContext(ctx, protocol.AboutScriptSubject(step.ScriptID()), nil)
		var info protocol.ScriptInfo
		return err == nil && json.Unmarshal(m.Data, &info) == nil && info.Revert
	})
}

// conclude says how the rollout has ended.
func (u *upRun) conclude(ctx context.Context, last rollout.State) error {
	if last.Status == rollout.Completed { // also if Ctrl-C has come just now
		return u.tellOnline(context.WithoutCancel(ctx), last)
	}
	err := report.Failed(last)
	if last.Status == rollout.Failed && last.Backward == nil {
		retry := "golive retry " + last.ID
		err.Hint = strings.Replace(err.Hint, retry, retry+", or golive up again", 1)
	}
	if !u.Once {
		u.Fail(err)
		u.Talk.Say(terminal.Plain, "▪", "the services stay up for you to look at: Ctrl-C stops them")
	}
	return err
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
