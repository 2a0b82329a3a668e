package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/kept"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// buckets are those of an environment, and what is lost with each of them.
var buckets = []kept.Kept{
	{Bucket: bus.Leases}, // instances and orchestrators write theirs again within seconds
	{Bucket: bus.Agents},
	{Bucket: bus.Routes, Fills: true, Lost: "instances that run go on by the routes that they know, and routes that an orchestrator knew are written again; where golive routes shows no version of a service, deploy the one that is live again"},
	{Bucket: bus.Ledger, Fills: true, Lost: "it is made anew from the journal and from what is in memory; what rollouts have run that were dropped from the journal (serve --keep) may be missing: compare golive ledger, and add what is missing with golive ledger mark"},
	{Bucket: bus.Claims, Lost: "scripts under way are told to stop, and run again as the next attempt or in the same one"},
	{Bucket: bus.Checkpoints, Lost: "a backfill that is tried again begins at its first record"},
	{Bucket: bus.FailedRecords, Lost: "the records that scripts had put aside are not known any more"},
	{Bucket: bus.Hosts, Lost: "what agents have done for steps under way is not known any more, and may be done again: look at their hosts"},
}

// known is what the watch compares with.
func (o *Orchestrator) known(p parts) kept.Known {
	return kept.Known{
		Last: func() rollout.Position { return later(p.ledger.Last(), p.view.Last()) },
		Newest: func() map[string]string {
			all := make(map[string]string)
			for _, app := range p.ledger.Apps() {
				all[app] = p.ledger.Newest(app)
			}
			return all
		},
		Leased: p.storage.Last,
		Lost: func(ctx context.Context, bucket string) {
			switch bucket {
			case protocol.LedgerBucket:
				p.ledger.StoreAgain()
			case protocol.RoutesBucket:
				if err := o.cfg.Gate.WriteAgain(ctx, o.cfg.Logger); err != nil {
					o.cfg.Logger.Error("routes not written again", zap.Error(err))
				}
			}
		},
	}
}

// later is the one of two positions that stands behind the other one.
func later(a, b rollout.Position) rollout.Position {
	if b.Sequence > a.Sequence {
		return b
	}
	return a
}

// holds is of [ledger.Events].
func (o *Orchestrator) holds(ctx context.Context, p rollout.Position) (bool, error) {
	if p.Rollout == "" { // stored by a version that did not note which event it is
		end, err := o.cfg.Journal.End(ctx)
		return end.Sequence >= p.Sequence, err
	}
	fate, err := o.cfg.Journal.FateOf(ctx, p)
	return fate == journal.Held || fate == journal.Missing, err
}

// dropped is of [ledger.Events].
func (o *Orchestrator) dropped(ctx context.Context, p rollout.Position) (bool, error) {
	fate, err := o.cfg.Journal.FateOf(ctx, p)
	return fate == journal.Missing, err
}

// settleAfter is when the traffic is looked at that instances may lead by a route of another
// history: by then each has told of itself.
const settleAfter = 2*protocol.ConfirmEvery + time.Second

// settle looks at it now and then, until ctx ends.
func (o *Orchestrator) settle(ctx context.Context) error {
	for wait := settleAfter; ; wait = cmp.Or(o.cfg.Compare, kept.DefaultEvery) {
		if tasks.Pause(ctx, wait); ctx.Err() != nil {
			return nil
		}
		if err := o.cfg.Gate.Settle(ctx, o.cfg.Logger); err != nil && ctx.Err() == nil {
			o.cfg.Logger.Warn("traffic not settled, trying again", zap.Error(err))
		}
	}
}

// stopLost has the scripts stop that are at work, as far as is known here, for what the journal
// does not hold, and gives all scripts the time of a lease to do so: the same ones may be started
// by other rollouts soon. One that nobody here knows of finds that its claim is gone.
func (o *Orchestrator) stopLost(ctx context.Context, p parts) {
	for _, r := range p.view.All() {
		o.cfg.Journal.Forget()
		is, err := o.cfg.Journal.Load(ctx, r.State.Release.App, r.State.ID)
		if err != nil && !errors.Is(err, rollout.ErrNotFound) {
			continue
		}
		for _, step := range r.State.Running() {
			now, _ := is.State.Step(step.ID)
			if step.Kind != rollout.Migration || now.Status == step.Status && now.Attempt == step.Attempt {
				continue
			}
			if err := p.setup.PublishCancel(r.State.Attempt(step)); err != nil {
				o.cfg.Logger.Warn("script not told to stop", zap.String("step", step.ID), zap.Error(err))
			}
		}
	}
	tasks.Pause(ctx, protocol.LeaseBeats*o.cfg.Heartbeat)
}
