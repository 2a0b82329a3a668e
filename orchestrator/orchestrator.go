// Package orchestrator is the engine: it hears what happens to rollouts, applies it,
// saves the new state, and only then acts on it.
//
// Any number of orchestrators work side by side on one environment without knowing
// of each other: the journal gives each piece of work to one of them, and to another
// one when that one dies. What an orchestrator keeps in memory is either an index over
// the journal or a mere observation (who was seen alive, what nobody listens to), so
// losing it loses nothing.
//
// A step is in the care of the work item of the event that began it, which comes again
// until the step is done, to another orchestrator if one dies. An orchestrator never opens a
// gate that the journal does not call for, and every act of it is harmless when repeated.
// README.md lists the duties of the engine, each with the file that keeps it.
package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Defaults of [Config].
const (
	DefaultHeartbeat = 5 * time.Second
	DefaultResend    = 2 * time.Second
)

// claimsMaxAge is how long it is known which attempts setup services have begun: longer
// than any rollout stays open.
const claimsMaxAge = 90 * 24 * time.Hour

// Config says what an orchestrator works with.
type Config struct {
	Conn    *nats.Conn       // required
	Journal *journal.Journal // required
	Ledger  *ledger.Store    // required
	Gate    *gate.Gate       // required; New does not run it, Run does

	Fleet *fleet.Fleet // required

	Policy    rollout.Policy // of all rollouts here; what is stricter in a release's own counts, too, but for who may approve
	Replicas  int            // of the buckets that setup services keep things in; 0 means 1
	Heartbeat time.Duration  // how often a working script gives a sign of life, in whole seconds; 0: [DefaultHeartbeat]
	Resend    time.Duration  // before a start that nobody listens to is sent again; 0: [DefaultResend]
	Keep      time.Duration  // after its end the journal of a rollout, and what it has put aside, is dropped, not what the ledger has of it; 0: never
	Version   string         // of golive, as told by the API; empty: "0.0.0-dev"
	Logger    *zap.Logger    // nil means silence

	// At, if it is not nil, is called whenever the engine has come to one of its named
	// points; it may end the process there, to show that nothing is lost.
	At func(Point)
}

// Point is a place in the engine between two steps of which one or both have an effect
// that others can see.
type Point string

// The points.
const (
	EventSaved  Point = "event-saved"  // an event is durable, nothing was done about it
	Announced   Point = "announced"    // the world has been told of an event, its steps have not begun
	TimerSet    Point = "timer-set"    // the rollout's timer is set
	StartSent   Point = "start-sent"   // a start has been sent, the work item is not acknowledged
	TrafficLed  Point = "traffic-led"  // a route is where it shall be, which is not recorded
	ItemDone    Point = "item-done"    // a work item is done, and not acknowledged
	AnswerSaved Point = "answer-saved" // an answer is durable, and its sender does not know it
	LedgerSaved Point = "ledger-saved" // the ledger's snapshot is stored
)

// Points lists all points.
func Points() []Point {
	return []Point{EventSaved, Announced, TimerSet, StartSent, TrafficLed, ItemDone, AnswerSaved, LedgerSaved}
}

func (o *Orchestrator) at(p Point) {
	if o.cfg.At != nil {
		o.cfg.At(p)
	}
}

// Orchestrator is one engine. Make it with [New].
type Orchestrator struct {
	id      string
	nc      *nats.Conn
	journal *journal.Journal
	store   *ledger.Store
	gate    *gate.Gate
	fleet   *fleet.Fleet
	log     *zap.Logger
	cfg     Config

	index         *ledger.Index
	view          *view
	turns         turns
	subscriptions *subscriptions
	delivery      *delivery
	claims        jetstream.KeyValue
	failed        *failedRecords
	outdated      atomic.Bool // a newer version of golive has written an event
	users         bool        // the bus has users, so it can be known who asks for something
	ready         chan struct{}
}

// New checks c and fills in its defaults. It starts nothing.
func New(c Config) (*Orchestrator, error) {
	if c.Conn == nil || c.Journal == nil || c.Ledger == nil || c.Gate == nil || c.Fleet == nil {
		return nil, errors.New("orchestrator: Conn, Journal, Ledger, Gate and Fleet are required")
	}
	if c.Heartbeat == 0 {
		c.Heartbeat = DefaultHeartbeat
	}
	if c.Heartbeat < time.Second || c.Heartbeat%time.Second != 0 {
		return nil, fmt.Errorf("orchestrator: Heartbeat is %s, it must be whole seconds", c.Heartbeat)
	}
	if c.Resend == 0 {
		c.Resend = DefaultResend
	}
	if c.Version == "" {
		c.Version = "0.0.0-dev"
	}
	if c.Logger == nil {
		c.Logger = zap.NewNop()
	}
	return &Orchestrator{
		id: uuid.NewString(),
		nc: c.Conn, journal: c.Journal, store: c.Ledger, gate: c.Gate, fleet: c.Fleet, log: c.Logger, cfg: c,
		view: newView(), ready: make(chan struct{}),
	}, nil
}

// Ready is closed once the orchestrator takes commands and works on rollouts.
func (o *Orchestrator) Ready() <-chan struct{} { return o.ready }

// Run works until ctx ends; it returns when all it started has ended. It may be
// called once. What is under way when it ends is gone on with by another
// orchestrator, or by the next one.
func (o *Orchestrator) Run(ctx context.Context) error {
	if err := o.run(ctx); ctx.Err() == nil {
		return err
	}
	return nil // what failed then was told to end
}

func (o *Orchestrator) run(ctx context.Context) error {
	environment, err := o.store.Load(ctx)
	if err != nil {
		return err
	}
	o.index = ledger.NewIndex(environment, o.store, o.journal.Tail)
	o.claims, err = relay.OpenBucket(ctx, o.nc, relay.Bucket{
		Name: protocol.ClaimsBucket, Replicas: o.cfg.Replicas, MaxAge: claimsMaxAge,
	})
	if err != nil {
		return err
	}
	_, err = relay.OpenBucket(ctx, o.nc, relay.Bucket{
		Name: protocol.CheckpointsBucket, Replicas: o.cfg.Replicas, MaxAge: claimsMaxAge,
	})
	if err != nil {
		return err
	}
	_, err = relay.OpenBucket(ctx, o.nc, relay.Bucket{ // what is in it goes with the rollout
		Name: protocol.FailedRecordsBucket, Replicas: o.cfg.Replicas,
	})
	if err != nil {
		return err
	}
	js, err := jetstream.New(o.nc)
	if err != nil {
		return err
	}
	if o.failed, err = openFailedRecords(ctx, js, protocol.FailedRecordsBucket); err != nil {
		return err
	}
	user, err := api.User(ctx, o.nc)
	if err != nil {
		return err
	}
	o.users = user != ""
	if o.delivery, err = newDelivery(o.nc); err != nil {
		return err
	}
	defer o.delivery.close()
	o.subscriptions = newSubscriptions(o)
	defer o.subscriptions.close()

	running, ctx := errgroup.WithContext(ctx)
	running.Go(func() error { return o.watchBus(ctx) })
	running.Go(func() error { return o.gate.Run(ctx) })
	running.Go(func() error { return o.hearNotices(ctx) })
	running.Go(func() error { return o.hearHellos(ctx) })
	running.Go(func() error { return o.follow(ctx) })
	running.Go(func() error {
		if err := o.catchUp(ctx); err != nil {
			return err
		}
		running.Go(func() error { return o.takeWork(ctx) })
		running.Go(func() error { return o.watchHearts(ctx) })
		running.Go(func() error { return o.saveLedger(ctx) })
		running.Go(func() error { return o.retain(ctx) })
		running.Go(func() error { return o.serveAPI(ctx) })
		return nil
	})
	return running.Wait()
}

// watchBus ends the orchestrator when its connection is closed for good, as the client
// does after it has been refused twice.
func (o *Orchestrator) watchBus(ctx context.Context) error {
	closed := o.nc.StatusChanged(nats.CLOSED)
	defer o.nc.RemoveStatusListener(closed)
	if !o.nc.IsClosed() {
		select {
		case <-closed:
		case <-ctx.Done():
			return nil
		}
	}
	return fmt.Errorf("the connection to the bus is closed: %w", cmp.Or(o.nc.LastError(), nats.ErrConnectionClosed))
}

// takeWork goes on for as long as the orchestrator does: the bus may be away for a
// while.
func (o *Orchestrator) takeWork(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := o.journal.Work(ctx, o.handle); err != nil && ctx.Err() == nil {
			o.log.Warn("work interrupted, going on", zap.Error(err))
		}
		pause(ctx, time.Second)
	}
	return nil
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// follow keeps the index, the open rollouts and the subscriptions up to date with the journal. It
// begins with the rollouts that were open when the ledger was saved: those that have ended
// cost nothing.
func (o *Orchestrator) follow(ctx context.Context) error {
	after := o.index.Sequence()
	for id := range o.index.Open() {
		r, err := o.journal.LoadAny(ctx, id)
		if errors.Is(err, rollout.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		o.take(r)
	}
	o.view.follow(after)
	return o.journal.Follow(ctx, after, func(e journal.Event) error {
		r, err := e.Record(ctx)
		switch {
		case err == nil:
			o.take(r)
		case e.Dropped():
		case errors.Is(err, rollout.ErrNotFound):
			o.log.Warn("the journal holds a message that is no event, left out", zap.Uint64("sequence", e.Sequence))
		case errors.Is(err, rollout.ErrUnknown):
			o.behind(r, err)
		default:
			return err
		}
		o.index.Apply(r.State, e.Sequence)
		o.view.follow(e.Sequence)
		return nil
	})
}

// behind says that a newer version of golive has written an event. The rollout is left to that
// one, whole, and so is the ledger from then on: it would lack what this one cannot read.
func (o *Orchestrator) behind(r journal.Record, why error) {
	if !o.outdated.Swap(true) {
		o.log.Warn("a newer version of golive works here: its rollouts and the ledger are left to it", zap.String("rollout", r.State.ID), zap.Error(why))
	}
	o.view.forget(r)
}

// take takes in what has happened to a rollout.
func (o *Orchestrator) take(r journal.Record) {
	o.view.track(r)
	o.overtaken(r)
	if err := o.subscriptions.hear(r); err != nil {
		o.log.Warn("listen", zap.String("rollout", r.State.ID), zap.Error(err)) // the work item does it again
	}
}

// catchUp blocks until all that had happened to rollouts when it was called is known.
func (o *Orchestrator) catchUp(ctx context.Context) error {
	last, err := o.journal.Last(ctx)
	if err != nil {
		return err
	}
	return o.reach(ctx, last)
}

func (o *Orchestrator) reach(ctx context.Context, sequence uint64) error {
	for {
		reached, further := o.view.reached(sequence)
		if reached {
			return nil
		}
		select {
		case <-further:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// flush blocks until the server has taken what was published.
func (o *Orchestrator) flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return o.nc.FlushWithContext(ctx)
}

// The ledger is saved after this time, and what is read at the start of an orchestrator
// also whenever it has grown by so many events: the start reads those that came after.
const (
	saveEvery  = time.Minute
	saveEvents = 2000
	lookEvery  = time.Second     // how often its growth is looked at
	saveFor    = 5 * time.Second // at the end of an orchestrator
)

func (o *Orchestrator) saveLedger(ctx context.Context) error {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	saved := time.Now()
	for {
		select {
		case <-tick.C:
			switch {
			case time.Since(saved) >= saveEvery:
				o.saveNow(ctx, o.index.Save)
				saved = time.Now()
			case o.index.Changes() >= saveEvents:
				o.saveNow(ctx, o.index.SaveEnvironment)
			}
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveFor)
			defer cancel()
			o.saveNow(last, o.index.Save)
			return nil
		}
	}
}

func (o *Orchestrator) saveNow(ctx context.Context, save func(context.Context) error) {
	if o.outdated.Load() {
		return
	}
	if err := save(ctx); err != nil {
		o.log.Warn("ledger not saved, it is made anew from the journal when needed", zap.Error(err))
	}
	o.at(LedgerSaved)
}
