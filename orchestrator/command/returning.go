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

// refuseDark refuses to undo rollouts where production traffic would come back to versions that
// are not there: nobody would answer, though the newer ones are well.
func (c *returner) refuseDark(ctx context.Context, app string, undo []journal.Record) error {
	missing, err := c.notAlive(ctx, app, undo)
	if err != nil || len(missing) == 0 {
		return err
	}
	return refuse(api.CodeNotAlive, "start what is missing first, or go back all the same with --yes",
		"traffic would go back to %s: nothing was changed", strings.Join(missing, ", "))
}

// notAlive lists the versions that would get production traffic again if rollouts were undone,
// and of which too few instances are alive for that.
func (c *returner) notAlive(ctx context.Context, app string, undo []journal.Record) ([]string, error) {
	book, err := c.Ledger.Book(ctx, app)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, r := range undo {
		for _, step := range r.State.All() {
			if !movesBack(step) {
				continue
			}
			texts, err := c.notAliveFor(ctx, app, book, step)
			if err != nil {
				return nil, err
			}
			for _, text := range texts {
				if !slices.Contains(missing, text) {
					missing = append(missing, text)
				}
			}
		}
	}
	return missing, nil
}

// movesBack reports whether a step has moved traffic that is moved back when it is undone.
func movesBack(step rollout.Step) bool {
	return step.Kind == rollout.Traffic && step.Attempt > 0 && step.Move.Replaces != nil &&
		(step.Status == rollout.StepDone || step.Status == rollout.StepRunning)
}

// notAliveFor is notAlive for one step. What is online now keeps what it has.
func (c *returner) notAliveFor(ctx context.Context, app string, book *ledger.Book, step rollout.Step) ([]string, error) {
	route, err := c.Gate.Route(ctx, step.Name)
	if err != nil {
		return nil, err
	}
	back := slices.DeleteFunc(slices.Clone(step.Move.Replaces.Online), func(v string) bool { return slices.Contains(route.Online(), v) })
	if len(back) == 0 {
		return nil, nil
	}
	instances, err := c.Gate.Instances(ctx, step.Name)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, version := range back {
		want, err := c.needed(ctx, app, book, step, version)
		if err != nil {
			return nil, err
		}
		if alive := gate.AliveOf(instances, version); alive < want {
			missing = append(missing, fmt.Sprintf("%s %s (%d of %d instances are alive)", step.Name, version, alive, want))
		}
	}
	return missing, nil
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
