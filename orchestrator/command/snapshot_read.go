package command

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// read gives a piece of an archive. Each request stands for itself: any orchestrator answers it,
// and holds that piece alone in memory.
func (c handing) read(ctx context.Context, q api.ReadRequest) (api.SnapshotPiece, error) {
	none := api.SnapshotPiece{}
	if q.Offset < 0 || q.Length < 1 || q.Length > api.MaxPiece {
		return none, refuse(api.CodeInvalid, "ask for less at a time", "a piece begins at 0 or later and is 1 to %d bytes long, found %d bytes at %d", api.MaxPiece, q.Length, q.Offset)
	}
	if err := protocol.ValidateName(q.App); err != nil {
		return none, refuse(api.CodeInvalid, "golive snapshot list tells the apps", "the app: %v", err)
	}
	if err := checkSnapshotID(q.Snapshot); err != nil {
		return none, err
	}
	all, err := c.look(ctx)
	if err != nil {
		return none, err
	}
	if all == nil {
		return none, refuse(api.CodeNotFound, "golive snapshot list tells which there are", "there is no snapshot %s", rollout.Clip(q.Snapshot))
	}
	of, err := all.Load(ctx, q.App, q.Snapshot)
	if err != nil {
		return none, describeSnapshot(err)
	}
	if err := c.checkMasked(of); err != nil {
		return none, err
	}
	p, err := of.Part(q.Service, q.Kind, q.Name)
	if err != nil {
		return none, describeSnapshot(err)
	}
	data, err := all.Piece(ctx, of, q.Service, p, q.Offset, q.Length)
	if err != nil {
		return none, describeSnapshot(err)
	}
	return api.SnapshotPiece{Data: data}, nil
}

// state tells how far the streams are whose data is in a snapshot, and golive's own.
func (c handing) state(ctx context.Context, q api.SnapshotRequest) ([]api.StreamPosition, error) {
	_, s, err := c.find(ctx, q.Snapshot)
	if err != nil {
		return nil, err
	}
	all := []api.StreamPosition{{Stream: protocol.Stream, Golive: true}}
	for _, bucket := range []string{protocol.RoutesBucket, protocol.LedgerBucket} {
		all = append(all, api.StreamPosition{Stream: snapshot.StreamOf(snapshot.KindKV, bucket), Golive: true})
	}
	for _, service := range s.Services {
		for _, p := range service.Parts {
			if !p.Kept() {
				all = append(all, api.StreamPosition{Stream: p.Stream()})
			}
		}
	}
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	for i := range all {
		stream, err := js.Stream(ctx, all[i].Stream)
		switch {
		case errors.Is(err, jetstream.ErrStreamNotFound):
			all[i].Gone = true
		case err != nil:
			return nil, err
		default:
			all[i].Last = stream.CachedInfo().State.LastSeq
		}
	}
	return all, nil
}
