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

// snapshots has the data of an app taken before a rollout changes it.
type snapshots struct{ Config }

// takeSnapshot takes the snapshot of a rollout, and records what has come of it. It ends early
// when that is no longer wanted; whoever comes after takes it anew, under the same id.
func (g *snapshots) takeSnapshot(ctx context.Context, r journal.Record, step rollout.Step) error {
	e := rollout.Event{Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert}
	if step.Cancelled {
		e.Answer = &protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "it was stopped: the rollout goes backward"}}
		return g.Recorder.Record(ctx, r, e)
	}
	taking, stop := context.WithCancel(ctx)
	defer stop()
	var watching sync.WaitGroup
	if !g.View.Watch(taking, stop, &watching, r.State.ID, step) {
		return nil
	}
	taken, err := g.Commands.TakeBefore(taking, r.State, func(taking bool, text string) {
		g.Notices.Tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Sent: taking, Waiting: text})
	})
	stop()
	watching.Wait()
	if _, wanted := g.View.Wants(r.State.ID, step); !wanted && err != nil {
		return nil
	}
	if err == nil {
		e.Type, e.Snapshot = rollout.StepAnswered, &taken
		return g.Recorder.Record(ctx, r, e)
	}
	why, broke := command.WhySnapshot(ctx, err)
	if !broke {
		return err
	}
	e.Answer = &protocol.Answer{Error: why}
	return g.Recorder.Record(ctx, r, e)
}
