package command

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// ErrUnwanted says that a step of a restore is not to be done any more: it has ended, or is to go
// the other way.
var ErrUnwanted = errors.New("the step is not wanted any more")

// CheckTarget reads back the snapshot that a restore puts back, and blocks until that is done; it
// tells how far it is, as [Server.TakeBefore] does.
func (c *Server) CheckTarget(ctx context.Context, s rollout.State, tell func(working bool, text string)) (rollout.SnapshotRun, error) {
	t := &taker{base: c.base, ctx: ctx}
	all, target, err := t.stored(ctx, s.Release.App, s.Restore.Snapshot)
	if err != nil {
		return rollout.SnapshotRun{}, err
	}
	k, err := t.keeperOf(ctx, target)
	if err != nil {
		return rollout.SnapshotRun{}, err
	}
	all.Keeper = k
	w := work{ID: s.ID, App: s.Release.App, Snapshot: target.ID, Doing: protocol.StateCheck, Inbox: k.inbox}
	err = t.workNow(ctx, w, tell, func(ctx context.Context, l *workLease) error {
		_, err := all.Check(ctx, target, func(p snapshot.Progress) {
			l.progress(p)
			tell(true, tellTaking(p))
		})
		return err
	})
	if err != nil {
		return rollout.SnapshotRun{}, describeSnapshot(err)
	}
	return runOf(target), nil
}

// PutData puts the data of a service back as a step of a restore says and, where that is undone,
// as the snapshot has it which the restore has taken itself. It blocks until that is done. One at
// a time works on the snapshots of an environment: whoever has waited for that looks first whether
// the step is still wanted ([ErrUnwanted]).
func (c *Server) PutData(ctx context.Context, s rollout.State, step rollout.Step, tell func(working bool, text string)) (rollout.PutRun, error) {
	t := &taker{base: c.base, ctx: ctx}
	all, p, err := t.putting(ctx, s, step)
	if err != nil {
		return rollout.PutRun{}, err
	}
	var done snapshot.Done
	k, err := t.keeperOf(ctx, p.Of)
	if err != nil {
		return rollout.PutRun{}, err
	}
	all.Keeper = k
	w := work{ID: s.ID, App: s.Release.App, Snapshot: p.Of.ID, Doing: protocol.StatePut, Inbox: k.inbox}
	err = t.workNow(ctx, w, tell, func(ctx context.Context, l *workLease) (err error) {
		if err := c.stillWanted(ctx, s, step); err != nil {
			return err
		}
		p.Sure = func(ctx context.Context) error { return l.write(ctx, false) }
		p.Tell = func(at snapshot.Progress) {
			l.progress(at)
			tell(true, tellTaking(at))
		}
		done, err = all.Replace(ctx, p)
		return err
	})
	if err != nil {
		return rollout.PutRun{}, describeSnapshot(err)
	}
	run := rollout.PutRun{Messages: done.Messages}
	h := sha256.New()
	for _, d := range done.Digests {
		fmt.Fprintf(h, "%s %s %s %s\n", d.Service, d.Kind, d.Name, d.Digest)
	}
	run.Digest = hex.EncodeToString(h.Sum(nil))
	return run, nil
}

// stored gives a snapshot of an app that has to be there.
func (c *taker) stored(ctx context.Context, app, id string) (*snapshot.Snapshots, snapshot.Snapshot, error) {
	all, err := c.look(ctx)
	if err == nil && all == nil {
		err = fmt.Errorf("snapshot %s of %s: %w", id, app, snapshot.ErrNotFound)
	}
	if err != nil {
		return nil, snapshot.Snapshot{}, describeSnapshot(err)
	}
	s, err := all.Load(ctx, app, id)
	if err != nil {
		return nil, s, describeSnapshot(err)
	}
	return all, s, nil
}

// putting is what a step of a restore puts back, and what of it was not there.
func (c *taker) putting(ctx context.Context, s rollout.State, step rollout.Step) (*snapshot.Snapshots, snapshot.Putting, error) {
	all, target, err := c.stored(ctx, s.Release.App, s.Restore.Snapshot)
	if err != nil || !step.Revert {
		return all, snapshot.Putting{Of: target, Service: step.Name, Drop: step.Put.Drop}, err
	}
	touched := slices.Clone(step.Put.Drop)
	for _, service := range target.Services {
		if service.Name == step.Name {
			for _, p := range service.Parts {
				touched = append(touched, p.Where(service.Name))
			}
		}
	}
	var now snapshot.Snapshot // nothing, where there was no data
	if _, taken := s.SnapshotTaken(); taken {
		if _, now, err = c.stored(ctx, s.Release.App, s.ID); err != nil {
			return all, snapshot.Putting{}, err
		}
	}
	return all, back(now, touched), nil
}

// back is how data comes back that a step has touched, as a snapshot has them, whichever service
// they stand under there; those that it does not have were not there.
func back(now snapshot.Snapshot, touched []string) snapshot.Putting {
	p := snapshot.Putting{Of: now, Parts: []string{}}
	has := make(map[string]bool)
	for _, service := range now.Services {
		for _, part := range service.Parts {
			has[part.Where(service.Name)] = true
		}
	}
	for _, stream := range touched {
		if has[stream] {
			p.Parts = append(p.Parts, stream)
		} else {
			p.Drop = append(p.Drop, stream)
		}
	}
	return p
}

// stillWanted asks the leader whether a step is to be done as it is.
func (c *Server) stillWanted(ctx context.Context, s rollout.State, step rollout.Step) error {
	r, err := c.Journal.Load(ctx, s.Release.App, s.ID)
	if err != nil {
		return err
	}
	now, known := r.State.Step(step.ID)
	if !known || now.Status != rollout.StepRunning || now.Attempt != step.Attempt || now.Revert != step.Revert || now.Cancelled {
		return ErrUnwanted
	}
	return nil
}

// WhyPut is why data could not be put back, and what a person does about it; false where it is to
// be tried again as it is: whoever does it is ending, or is not wanted any more.
func WhyPut(ctx context.Context, _ rollout.Step, err error) (*protocol.ScriptError, bool) {
	return whyFailed(ctx, "the data could not be put back: ", err)
}
