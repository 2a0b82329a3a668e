package api

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// ReadRequest asks for a piece of the archive of one part of a snapshot, which is named by its
// whole id.
type ReadRequest struct {
	App      string `json:"app"`
	Snapshot string `json:"snapshot"`
	Service  string `json:"service"`
	Kind     string `json:"kind"` // of the part
	Name     string `json:"name"` // of the part
	Offset   int64  `json:"offset,omitempty"`
	Length   int    `json:"length"` // bytes, 1 to [snapshot.MaxPiece]
}

// SnapshotPiece is a piece of an archive.
type SnapshotPiece struct {
	Data []byte `json:"data"` // as long as was asked for, or up to the end of the archive
}

// ReadSnapshot gives a piece of an archive. An archive whose piece is missing is refused as
// damaged; what is not in the snapshot's manifest is not found.
func (c *Client) ReadSnapshot(ctx context.Context, q ReadRequest) (SnapshotPiece, error) {
	return call[SnapshotPiece](ctx, c, "snapshot-read", q)
}

// StreamPosition is how far a stream of the environment is.
type StreamPosition struct {
	Stream string `json:"stream"`
	Last   uint64 `json:"last"`             // sequence of its last message
	Gone   bool   `json:"gone,omitempty"`   // there is no such stream
	Golive bool   `json:"golive,omitempty"` // it is golive's own: the journal, or a bucket
}

// Positions tells how far the streams are whose data is in a snapshot, and golive's own. Whoever
// asks twice finds out whether something was stored meanwhile. The id may be any unique beginning
// of it.
func (c *Client) Positions(ctx context.Context, id string) ([]StreamPosition, error) {
	return call[[]StreamPosition](ctx, c, "snapshot-state", SnapshotRequest{Snapshot: id})
}

// MaxPiece is how many bytes of an archive may be asked for at once.
const MaxPiece = snapshot.MaxPiece
