package api

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// CodeNoState says that no service of the app tells where its data is.
const CodeNoState = "no_state"

// TakeRequest asks for a snapshot of the data of an app. The id is the client's, a UUID v7: the
// request repeated tells how far the snapshot is, has it taken anew where whoever took it has
// died, and gives it in the end.
type TakeRequest struct {
	App      string `json:"app"`
	Snapshot string `json:"snapshot"`
	By       string `json:"by,omitempty"`
	Reason   string `json:"reason,omitempty"`

	For snapshot.Purpose `json:"for,omitempty"` // snapshot.ForRehearsal, or empty
}

// SnapshotRequest names a snapshot by its id or any unique beginning of it. A check has an id of
// its own, the client's, as a take has.
type SnapshotRequest struct {
	Snapshot string `json:"snapshot"`
	Check    string `json:"check,omitempty"` // id of the check, a UUID
	By       string `json:"by,omitempty"`
}

// SnapshotWork is how far a snapshot is that is being taken or checked.
type SnapshotWork struct {
	Snapshot *snapshot.Snapshot `json:"snapshot,omitempty"` // once it is done
	Progress snapshot.Progress  `json:"progress,omitzero"`
}

// SnapshotList lists snapshots, newest first, without the configurations of their streams.
type SnapshotList struct {
	Snapshots []snapshot.Snapshot `json:"snapshots"`
	Unread    string              `json:"unread,omitempty"` // those that cannot be read, each with the reason, on a line of its own
}

// TakeSnapshot begins to take a snapshot, or tells how far it is. It returns at once: whoever
// waits for the end asks again.
func (c *Client) TakeSnapshot(ctx context.Context, q TakeRequest) (SnapshotWork, error) {
	return call[SnapshotWork](ctx, c, "snapshot-take", q)
}

// CheckSnapshot begins to read a snapshot back, or tells how far that is, as [Client.TakeSnapshot]
// does.
func (c *Client) CheckSnapshot(ctx context.Context, q SnapshotRequest) (SnapshotWork, error) {
	return call[SnapshotWork](ctx, c, "snapshot-check", q)
}

// Snapshots lists the snapshots of an app, or of all.
func (c *Client) Snapshots(ctx context.Context, app string) (SnapshotList, error) {
	return call[SnapshotList](ctx, c, "snapshot-list", AppRequest{App: app})
}

// Snapshot gives all that is known of a snapshot.
func (c *Client) Snapshot(ctx context.Context, id string) (snapshot.Snapshot, error) {
	return call[snapshot.Snapshot](ctx, c, "snapshot-show", SnapshotRequest{Snapshot: id})
}

// DropSnapshot removes a snapshot, and gives what it was.
func (c *Client) DropSnapshot(ctx context.Context, q SnapshotRequest) (snapshot.Snapshot, error) {
	return call[snapshot.Snapshot](ctx, c, "snapshot-drop", q)
}
