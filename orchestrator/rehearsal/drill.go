package rehearsal

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Drill goes back from a release that has been rolled out in a rehearsal, and forward to it again,
// and compares the data each time: going back has to lead to what was before, going forward to what
// was after.
type Drill struct {
	JetStream bus.JetStream   // of the sandbox
	Client    *api.Client     // of its orchestrator
	Parts     []snapshot.Part // that are compared
	Release   rollout.Release
	By        string
	// Follow follows a rollout from behind the event at a sequence on (0: from the beginning) to its
	// end, and gives its last state and the sequence of that. An error is that it could not be.
	Follow func(context.Context, rollout.State, uint64) (rollout.State, uint64, error)
}

// Drilled is what came of a drill. It has held if nothing of the rest says otherwise.
type Drilled struct {
	Held bool `json:"held"`
	// Digests of all data: before, forward, back, forward again; as far as it has come.
	Digests []string `json:"digests"`
	// Final says why what was done cannot be undone: there was no going back then, and nothing is
	// known of it.
	Final   string           `json:"final,omitempty"`
	Failed  string           `json:"failed,omitempty"` // on the way: what, and why
	Back    []string         `json:"back"`             // what is not as it was before, once it had gone back
	Again   []string         `json:"again"`            // what is not as it was after, once it had gone forward again
	Took    rollout.Duration `json:"took"`             // going back
	Forward rollout.Duration `json:"forward"`          // and forward again
}

// Run does the drill: before is the state of the data before the rollout, last how that has ended, at
// a sequence. It blocks until the drill has come to its end, or ctx has. An error says that it could
// not be done; that it has not held is none.
func (d Drill) Run(ctx context.Context, before State, last rollout.State, sequence uint64) (Drilled, error) {
	out := Drilled{Digests: []string{before.Digest}, Back: []string{}, Again: []string{}}
	after, err := d.look(ctx, &out)
	if err != nil {
		return out, err
	}
	began := time.Now()
	back, err := d.Client.Backward(ctx, api.BackwardRequest{App: last.Release.App, Rollout: last.ID, Force: true, By: d.By, Reason: "drill"})
	var refused *protocol.ServiceError
	if errors.As(err, &refused) && refused.Code == api.CodeNoRevert {
		out.Final = refused.Message
		return out, nil
	}
	if err != nil {
		return out, fmt.Errorf("go back: %w", err)
	}
	ended, _, err := d.Follow(ctx, back.State, sequence)
	if err != nil {
		return out, fmt.Errorf("go back: %w", err)
	}
	if out.Took = since(began); ended.Status != rollout.Reverted {
		out.Failed = "going back has ended " + string(ended.Status) + reasonOf(ended)
		return out, nil
	}
	undone, err := d.look(ctx, &out)
	if err != nil {
		return out, err
	}
	out.Back = append(out.Back, undone.Differences(before)...)
	if err := d.again(ctx, &out); err != nil || out.Failed != "" {
		return out, err
	}
	again, err := d.look(ctx, &out)
	if err != nil {
		return out, err
	}
	out.Again = append(out.Again, again.Differences(after)...)
	out.Held = len(out.Back)+len(out.Again) == 0
	return out, nil
}

// again goes forward once more.
func (d Drill) again(ctx context.Context, out *Drilled) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	began := time.Now()
	begun, err := d.Client.Deploy(ctx, api.DeployRequest{Rollout: id.String(), Release: d.Release, By: d.By, Reason: "drill", AllowOlder: true})
	if err != nil {
		return fmt.Errorf("go forward again: %w", err)
	}
	ended, _, err := d.Follow(ctx, begun.State, 0)
	if err != nil {
		return fmt.Errorf("go forward again: %w", err)
	}
	if out.Forward = since(began); ended.Status != rollout.Completed {
		out.Failed = "going forward again has ended " + string(ended.Status) + reasonOf(ended)
	}
	return nil
}

// look reads the state, and takes down its digest.
func (d Drill) look(ctx context.Context, out *Drilled) (State, error) {
	s, err := Look(ctx, d.JetStream, d.Parts)
	if err != nil {
		return s, fmt.Errorf("look at the data: %w", err)
	}
	out.Digests = append(out.Digests, s.Digest)
	return s, nil
}

func since(began time.Time) rollout.Duration {
	return rollout.Duration(time.Since(began).Round(time.Millisecond))
}

// reasonOf is the error of the step that a rollout has failed at.
func reasonOf(s rollout.State) string {
	for _, step := range s.All() {
		if step.Error != nil && step.Status == rollout.StepFailed {
			return ": " + step.ID + ": " + step.Error.Message
		}
	}
	return ""
}
