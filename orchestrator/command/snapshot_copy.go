package command

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// handing hands out what is in snapshots, and makes copies for that.
type handing struct{ *taker }

// copy has a copy of a snapshot made, or tells how far that is.
func (c handing) copy(ctx context.Context, q api.CopyRequest) (api.SnapshotWork, error) {
	none := api.SnapshotWork{}
	if err := protocol.ValidateName(q.App); err != nil {
		return none, refuse(api.CodeInvalid, "golive snapshot list tells the apps", "the app: %v", err)
	}
	for _, id := range []string{q.Snapshot, q.Copy} {
		if err := checkSnapshotID(id); err != nil {
			return none, err
		}
	}
	if q.Done {
		return none, c.dropCopy(ctx, q)
	}
	q.Cut.Mask = c.Mask.And(q.Cut.Mask)
	if err := q.Cut.Validate(); err != nil {
		return none, refuse(api.CodeInvalid, "correct what is asked for, or the key mask of golive.yaml", "a copy of a snapshot: %v", err)
	}
	all, err := c.make(ctx)
	if err != nil {
		return none, err
	}
	there, err := all.Load(ctx, q.App, q.Copy)
	if err == nil {
		return api.SnapshotWork{Snapshot: &there}, nil
	}
	if !errors.Is(err, snapshot.ErrNotFound) {
		return none, describeSnapshot(err)
	}
	of, err := all.Load(ctx, q.App, q.Snapshot)
	if err != nil {
		return none, describeSnapshot(err)
	}
	if of.Cut != nil {
		return none, refuse(api.CodeInvalid, "name the snapshot that it is of", "%s is a copy itself, of %s", of.ID, of.Of)
	}
	return c.work(ctx, work{ID: q.Copy, App: q.App, Snapshot: q.Copy, Doing: "copy"}, func(ctx context.Context, tell func(snapshot.Progress)) error {
		copied, err := all.Copy(ctx, of, q.Copy, rollout.Clip(q.By), q.Cut, tell)
		if errors.Is(err, snapshot.ErrMask) {
			return refuse(api.CodeMasked, "correct the key mask of golive.yaml, or leave the part out", "%v", err)
		}
		if err == nil {
			c.Log.Info("snapshot copied", zap.String("snapshot", copied.Of), zap.String("copy", copied.ID), zap.String("app", copied.App), zap.String("by", copied.By))
		}
		return err
	})
}

// dropCopy removes a copy, and nothing that is none.
func (c handing) dropCopy(ctx context.Context, q api.CopyRequest) error {
	all, err := c.look(ctx)
	if err != nil || all == nil {
		return err
	}
	there, err := all.Load(ctx, q.App, q.Copy)
	switch {
	case errors.Is(err, snapshot.ErrNotFound):
		return nil
	case err != nil:
		return describeSnapshot(err)
	case there.Cut == nil || there.Of != q.Snapshot:
		return refuse(api.CodeInvalid, "golive snapshot drop removes a snapshot", "%s is no copy of snapshot %s", q.Copy, q.Snapshot)
	}
	return all.Drop(ctx, q.App, q.Copy)
}

// checkMasked refuses to hand out what the environment wants masked, and is not.
func (c handing) checkMasked(of snapshot.Snapshot) error {
	if len(c.Mask) == 0 || of.Cut != nil && of.Cut.Mask.Covers(c.Mask) {
		return nil
	}
	return refuse(api.CodeMasked, "golive rehearse has a masked copy made by itself", "snapshot %s is handed out only as a copy, in which values are masked (mask in the manifest of the environment)", of.ID)
}
