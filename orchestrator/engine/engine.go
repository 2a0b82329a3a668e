// Package engine acts on what happens to rollouts. It takes the items of the journal's queue,
// tells the world of each event, and has done what the state says: starts are sent to setup
// services, traffic is moved by the gate, agents are asked, timers are set. It hears what
// comes back, and ends attempts whose workers have died.
//
// A step is in the care of the work item of the event that began it, which comes again
// until the step is done, to another orchestrator if one dies. An orchestrator never opens a
// gate that the journal does not call for, and every act of it is harmless when repeated.
package engine

import (
	"context"
	"errors"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/command"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/kept"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/records"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/setup"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/orchestrator/view"
)

// Config is what an engine works with. All of it is required, but for Keep.
type Config struct {
	Conn     *nats.Conn
	Journal  *journal.Journal
	Ledger   *ledger.Index
	View     *view.View
	Recorder *view.Recorder
	Notices  *view.Notices
	Gate     *gate.Gate
	Fleet    *fleet.Fleet
	Setup    *setup.Client
	Records  *records.Store
	Commands *command.Server // for what follows of its own accord
	Log      *zap.Logger

	Heartbeat time.Duration // how often a working script gives a sign of life, in whole seconds
	Resend    time.Duration // before a start that nobody listens to is sent again
	Keep      time.Duration // after its end a rollout is dropped from the journal; 0: never

	// Sure blocks until the journal is known to be the one that was read, and fails if it is not:
	// the bus may have been put back from a backup while it was away.
	Sure func(context.Context) error
}

// Engine acts on what happens to rollouts. Make it with [New].
type Engine struct {
	Config
	subscriptions *subscriptions
	scripts       *scripts
	answers       *answers
	liveness      *liveness
	hosts         *hosts
	traffic       *traffic
	snapshots     *snapshots
	retention     *retention
	saver         *saver
}

// New makes an engine. It starts nothing.
func New(c Config) *Engine {
	subs := newSubscriptions(c.Conn)
	started := &scripts{c, subs}
	return &Engine{
		Config: c, subscriptions: subs, scripts: started,
		answers:  &answers{c, subs, make(map[rollout.AttemptID]time.Time), newTally(c.Log)},
		liveness: &liveness{c, started},
		hosts:    &hosts{c}, traffic: &traffic{c}, snapshots: &snapshots{c}, retention: &retention{c}, saver: &saver{Config: c},
	}
}

// Run works until ctx ends, and returns when all it started has ended. It calls ready once it
// knows all that had happened to rollouts before. It may be called once.
func (g *Engine) Run(ctx context.Context, ready func()) error {
	g.subscriptions.run(g.answers.heardProgress, g.answers.heardAnswer)
	defer g.answers.refused.close()
	defer g.subscriptions.close()
	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return g.Notices.Hear(ctx) })
	running.Go(func() error { return g.liveness.hearHellos(ctx) })
	running.Go(func() error { return g.follow(ctx) })
	running.Go(func() error {
		if err := g.Recorder.CatchUp(ctx); err != nil {
			return err
		}
		ready()
		running.Go(func() error { return g.takeWork(ctx) })
		running.Go(func() error { return g.liveness.watchHeartbeats(ctx) })
		running.Go(func() error { return g.saver.saveLedger(ctx) })
		running.Go(func() error { return g.retention.retain(ctx) })
		return nil
	})
	return running.Wait()
}

// follow keeps the ledger, the open rollouts and the subscriptions up to date with the journal. It
// begins with the rollouts that were open when the ledger was saved: those that have ended
// cost nothing.
func (g *Engine) follow(ctx context.Context) error {
	after := g.Ledger.Sequence()
	for id := range g.Ledger.Open() {
		r, err := g.Journal.LoadAny(ctx, id)
		if errors.Is(err, rollout.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		g.take(r)
	}
	g.View.Followed(after)
	end, err := g.Journal.End(ctx)
	if err != nil {
		return err
	}
	return g.Journal.Follow(ctx, after, func(e journal.Event) error {
		if err := g.Sure(ctx); err != nil {
			return err
		}
		r, err := e.Record(ctx)
		switch {
		case err == nil:
			g.take(r)
		case e.Dropped():
		case e.Foreign() != "" && e.Sequence > end.Sequence: // one of old is left out like any other
			return kept.Joined(e.Foreign(), g.Journal.Environment())
		case errors.Is(err, rollout.ErrNotFound):
			g.Log.Warn("the journal holds a message that is no event, left out", zap.Uint64("sequence", e.Sequence))
		case errors.Is(err, rollout.ErrUnknown):
			g.behind(r, err)
		default:
			return err
		}
		g.Ledger.Apply(r.State, e.Sequence)
		g.View.Followed(e.Sequence)
		return nil
	})
}

// behind says that a newer version of golive has written an event. The rollout is left to that
// one, whole, and so is the ledger from then on: it would lack what this one cannot read.
func (g *Engine) behind(r journal.Record, why error) {
	if !g.saver.outdated.Swap(true) {
		g.Log.Warn("a newer version of golive works here: its rollouts and the ledger are left to it", zap.String("rollout", r.State.ID), zap.Error(why))
	}
	g.View.Forget(r)
}

// take takes in what has happened to a rollout.
func (g *Engine) take(r journal.Record) {
	g.View.Track(r)
	g.scripts.overtaken(r)
	if err := g.subscriptions.open(r); err != nil {
		g.Log.Warn("listen", zap.String("rollout", r.State.ID), zap.Error(err)) // the work item does it again
	}
}

// takeWork goes on for as long as the orchestrator does: the bus may be away for a
// while.
func (g *Engine) takeWork(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := g.Journal.Work(ctx, g.handle); err != nil && ctx.Err() == nil {
			g.Log.Warn("work interrupted, going on", zap.Error(err))
		}
		tasks.Pause(ctx, time.Second)
	}
	return nil
}
