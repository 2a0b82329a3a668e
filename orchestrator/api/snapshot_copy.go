package api

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// CodeMasked says that a snapshot is handed out only as a copy in which personal values are masked.
const CodeMasked = "masked"

// CopyRequest asks for a copy of a snapshot that holds only some of it, or in which values are
// masked. The id of the copy is the client's, a UUID v7: the request repeated tells how far the
// copy is. What the environment itself has masked is masked in any case.
type CopyRequest struct {
	App      string       `json:"app"`
	Snapshot string       `json:"snapshot"` // its whole id
	Copy     string       `json:"copy"`     // id of the copy
	Cut      snapshot.Cut `json:"cut"`
	By       string       `json:"by,omitempty"`
	Done     bool         `json:"done,omitempty"` // the copy is of no more use: it is removed, if it is there
}

// Is is of [Personal].
func (q *CopyRequest) Is(user string) { q.By = user }

// CopySnapshot begins to make a copy of a snapshot, or tells how far it is, as [Client.TakeSnapshot]
// does. Of one that is done with it tells nothing.
func (c *Client) CopySnapshot(ctx context.Context, q CopyRequest) (SnapshotWork, error) {
	return call[SnapshotWork](ctx, c, "snapshot-copy", q)
}
