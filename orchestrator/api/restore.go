package api

import (
	"context"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// RestoreRequest asks for the data and the traffic of an app to be put back as they were when a
// snapshot was taken, or for the plan of that. The id of the rollout is the client's, a UUID v7:
// the request repeated gives the same one.
type RestoreRequest struct {
	App     string `json:"app"`
	Rollout string `json:"rollout"`          // of the restore; not needed for a plan
	Target  string `json:"target,omitempty"` // a snapshot, or the rollout right before which it was taken: its id or any unique beginning of it; empty: the newest that a rollout of the app has taken
	Force   bool   `json:"force,omitempty"`  // also where too few instances are alive of what gets production traffic again; else [CodeNotAlive]
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`
}

// RestorePlan is what a restore would do.
type RestorePlan struct {
	App      string                   `json:"app"`
	From     string                   `json:"from,omitempty"`     // version that is live; empty: none
	Version  string                   `json:"version,omitempty"`  // that was live then; empty: none
	Snapshot string                   `json:"snapshot"`           // id
	Taken    time.Time                `json:"taken"`              // when it was taken
	Of       string                   `json:"of,omitempty"`       // the rollout right before which it was taken; empty: somebody had asked for it
	OneCut   bool                     `json:"oneMoment"`          // it is of one moment
	Bytes    uint64                   `json:"bytes"`              // of data that is put back
	Messages uint64                   `json:"messages"`           // that are put back
	Stays    []string                 `json:"stays,omitempty"`    // streams that the snapshot says nothing of: they stay as they are
	Void     []string                 `json:"void,omitempty"`     // scripts that have run since, as in "todos 0.0.2 offline": they count no more
	Steps    []RestoreStep            `json:"steps"`              // in their order
	Lasts    rollout.Duration         `json:"lasts"`              // how long it takes, by what was measured
	Closed   rollout.Duration         `json:"closed"`             // of it: how long services are under maintenance
	AtLeast  bool                     `json:"atLeast,omitempty"`  // it takes longer: nothing was put back here yet, and it is written slower than it was read
	Problems []*protocol.ServiceError `json:"problems,omitempty"` // why it cannot begin now
}

// RestoreStep is a step of the plan of a restore.
type RestoreStep struct {
	Number  int              `json:"number"`
	ID      string           `json:"id"`
	Kind    rollout.Kind     `json:"kind"`
	Name    string           `json:"name"`
	Version string           `json:"version"`
	Online  []string         `json:"online,omitempty"`  // versions that are online now
	Checks  bool             `json:"checks,omitempty"`  // of a snapshot: it is read back, and none is taken
	Drain   bool             `json:"drain,omitempty"`   // no version is online afterwards
	Bytes   uint64           `json:"bytes,omitempty"`   // that are read or put back
	Drop    []string         `json:"drop,omitempty"`    // streams that are deleted: they were not there
	Lasts   rollout.Duration `json:"lasts"`             // by what was measured; moves of traffic take next to nothing
	AtLeast bool             `json:"atLeast,omitempty"` // it takes longer
}

// Restore begins a restore, and gives the rollout that does it.
func (c *Client) Restore(ctx context.Context, q RestoreRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "restore", q)
}

// PlanRestore tells what a restore would do. It changes nothing.
func (c *Client) PlanRestore(ctx context.Context, q RestoreRequest) (RestorePlan, error) {
	return call[RestorePlan](ctx, c, "restore-plan", q)
}
