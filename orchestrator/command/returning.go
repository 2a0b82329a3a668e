package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// returning is a version that gets production traffic again when a step is undone, and is
// answered for by instances.
type returning struct {
	step    rollout.Step
	version string
	serves  bool // it is online now
	alive   int  // instances
	want    int  // that have to be alive where it takes traffic
}

// refuseDark refuses to undo rollouts where production traffic would come back to versions that
// are not there: nobody would answer, though the newer ones are well.
func (c *returner) refuseDark(ctx context.Context, undo []journal.Record) error {
	var missing []string
	for _, r := range undo {
		all, err := c.returnTo(ctx, r.State)
		if err != nil {
			return err
		}
		for _, v := range all {
			text := fmt.Sprintf("%s %s (%d of %d instances are alive)", v.step.Name, v.version, v.alive, v.want)
			if !v.serves && v.alive < v.want && !slices.Contains(missing, text) {
				missing = append(missing, text)
			}
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return refuse(api.CodeNotAlive, "start what is missing first, or go back all the same with --yes",
		"traffic would go back to %s: nothing was changed", strings.Join(missing, ", "))
}

// awaiting lists the steps whose traffic waits, on the way back, for an instance of the version
// that gets it again.
func (c *returner) awaiting(ctx context.Context, s rollout.State) ([]string, error) {
	all, err := c.returnTo(ctx, s)
	var steps []string
	for _, v := range all {
		steps = append(steps, v.step.ID)
	}
	return slices.Compact(steps), err
}

// returnTo lists the versions that get production traffic again when a rollout is undone.
func (c *returner) returnTo(ctx context.Context, s rollout.State) ([]returning, error) {
	book, err := c.Ledger.Book(ctx, s.Release.App)
	if err != nil {
		return nil, err
	}
	var all []returning
	for _, step := range s.All() {
		if !movesBack(step) {
			continue
		}
		route, err := c.Gate.Route(ctx, step.Name)
		if err != nil {
			return nil, err
		}
		instances, err := c.Gate.Instances(ctx, step.Name)
		if err != nil {
			return nil, err
		}
		for _, version := range step.Move.Replaces.Online {
			want, err := c.needed(ctx, s.Release.App, book, step, version)
			if err != nil {
				return nil, err
			}
			if want > 0 {
				all = append(all, returning{step, version, slices.Contains(route.Online(), version), gate.AliveOf(instances, version), want})
			}
		}
	}
	return all, nil
}

// movesBack reports whether a step has moved traffic that is moved back when it is undone.
func movesBack(step rollout.Step) bool {
	return step.Kind == rollout.Traffic && step.Attempt > 0 && step.ChangesRoute() &&
		(step.Status == rollout.StepDone || step.Status == rollout.StepRunning)
}

// needed is how many instances of a version have to be alive where it takes traffic: as many as
// the release says that last brought it. Where that is no longer in the journal, it is one, if
// the version that it comes after needs any.
func (c *returner) needed(ctx context.Context, app string, book *ledger.Book, step rollout.Step, version string) (int, error) {
	for _, live := range slices.Backward(book.Live()) {
		r, err := c.Journal.Load(ctx, app, live.Rollout)
		if errors.Is(err, rollout.ErrNotFound) {
			break
		}
		if err != nil {
			return 0, err
		}
		for _, s := range r.State.Release.Services {
			if s.Name == step.Name && s.Version == version {
				return s.Instances, nil
			}
		}
	}
	return min(1, step.Move.Instances), nil
}
