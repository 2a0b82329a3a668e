package command

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/kept"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/records"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/setup"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/storage"
	"github.com/golive-dev/golive/orchestrator/view"
)

// Config is what commands work with. All of it is required, but for what has another zero
// value.
type Config struct {
	Conn     *nats.Conn
	Journal  *journal.Journal
	Ledger   *ledger.Index
	View     *view.View
	Recorder *view.Recorder
	Gate     *gate.Gate
	Fleet    *fleet.Fleet
	Setup    *setup.Client
	Records  *records.Store
	Storage  *storage.Probe
	Clocks   *view.Clocks
	Kept     *kept.Watch
	Store    snapshot.Config
	Log      *zap.Logger

	Policy   rollout.Policy // of all rollouts here; what is stricter in a release's own counts, too, but for who may approve
	Replicas int            // of what is made for snapshots; 0 means 1
	Users    bool           // the bus has users, so it can be known who asks for something
	Version  string         // of golive

	Mask snapshot.MaskedParts // what of a snapshot is handed out masked only; nil: all of it as it is
}

// base is what all commands share.
type base struct{ Config }

func (c *base) viewOf(r journal.Record) api.RolloutView {
	v := api.RolloutView{State: r.State, Sequence: r.Sequence, Outages: r.State.Outages(), Waits: r.State.Waits()}
	v.Downtime = rollout.Duration(r.State.Downtime(c.Recorder.Now()).Round(time.Millisecond))
	for _, step := range r.State.Running() {
		if v.Observations == nil {
			v.Observations = make(map[string]api.Observation)
		}
		seen := c.View.Of(r.State.ID, step.ID, step.Attempt).Observation
		seen.Beat = c.Journal.Clock().Of(seen.Beat)
		v.Observations[step.ID] = seen
	}
	return v
}

// find resolves an id or the beginning of one.
func (c *base) find(ctx context.Context, prefix string) (journal.Ref, error) {
	if prefix == "" {
		return journal.Ref{}, refuse(api.CodeInvalid, "golive history lists the rollouts", "no rollout is named")
	}
	found, err := c.Journal.Find(ctx, prefix, 3)
	if err != nil {
		return journal.Ref{}, err
	}
	switch len(found) {
	case 0:
		return journal.Ref{}, refuse(api.CodeNotFound, "golive history lists the rollouts", "there is no rollout %s", prefix)
	case 1:
		return found[0], nil
	}
	return journal.Ref{}, refuse(api.CodeAmbiguous, "give more of its id", "%s is the beginning of several rollouts, such as %s and %s",
		prefix, found[0].ID, found[1].ID)
}
