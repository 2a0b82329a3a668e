package engine

import (
	"context"
	"sync"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/command"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// snapshots has the data of an app taken before a rollout changes it, and put back.
type snapshots struct{ Config }

// tells is told whether a work is under way and how far it is or, if not, what it waits for.
type tells = func(working bool, text string)

// takeSnapshot takes the snapshot of a rollout or, of a restore, reads back what is to be put back,
// and records what has come of it. It ends early when that is no longer wanted; whoever comes after
// takes it anew, under the same id.
func (g *snapshots) takeSnapshot(ctx context.Context, r journal.Record, step rollout.Step) error {
	return g.work(ctx, r, step, command.WhySnapshot, func(ctx context.Context, tell tells) (rollout.Event, error) {
		take := g.Commands.TakeBefore
		if step.Snapshot.Checks != "" {
			take = g.Commands.CheckTarget
		}
		taken, err := take(ctx, r.State, tell)
		return rollout.Event{Snapshot: &taken}, err
	})
}

// putData puts the data of a service back, and records what has come of it. It ends early when
// that is no longer wanted; whoever comes after does it anew.
func (g *snapshots) putData(ctx context.Context, r journal.Record, step rollout.Step) error {
	return g.work(ctx, r, step, command.WhyPut, func(ctx context.Context, tell tells) (rollout.Event, error) {
		put, err := g.Commands.PutData(ctx, r.State, step, tell)
		return rollout.Event{Put: &put}, err
	})
}

// work does what a step is there for, as long as that is wanted, and records what has come of it;
// why says why that is an error of the step, and false where it is none.
func (g *snapshots) work(ctx context.Context, r journal.Record, step rollout.Step,
	why func(context.Context, rollout.Step, error) (*protocol.ScriptError, bool), do func(context.Context, tells) (rollout.Event, error),
) error {
	broke := rollout.Event{Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert}
	if step.Cancelled {
		broke.Answer = &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "it was stopped: the rollout goes backward"}}
		return g.Recorder.Record(ctx, r, broke)
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	if !g.View.Watch(working, stop, &watching, r.State.ID, step) {
		return nil
	}
	done, err := do(working, func(is bool, text string) {
		g.Notices.Tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Sent: is, Waiting: text})
	})
	stop()
	watching.Wait()
	if _, wanted := g.View.Wants(r.State.ID, step); !wanted && err != nil {
		return nil
	}
	if err == nil {
		done.Type, done.Step, done.Attempt, done.Revert = rollout.StepAnswered, step.ID, step.Attempt, step.Revert
		return g.Recorder.Record(ctx, r, done)
	}
	failed, is := why(ctx, step, err)
	if !is {
		return err
	}
	broke.Answer = &protocol.Answer{Error: failed}
	return g.Recorder.Record(ctx, r, broke)
}
