// Package orchestrator puts the parts of an orchestrator together, and runs them: the engine
// acts on what happens to rollouts, and commands are answered.
//
// Any number of orchestrators work side by side on one environment without knowing
// of each other: the journal gives each piece of work to one of them, and to another
// one when that one dies. What an orchestrator keeps in memory is either an index over
// the journal or a mere observation (who was seen alive, what nobody listens to), so
// losing it loses nothing. README.md lists the duties of the engine, each with the file that
// keeps it.
package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/command"
	"github.com/golive-dev/golive/orchestrator/engine"
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
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Defaults of [Config].
const (
	DefaultHeartbeat = 5 * time.Second
	DefaultResend    = 2 * time.Second
)

// Config says what an orchestrator works with.
type Config struct {
	Conn    *nats.Conn       // required
	Journal *journal.Journal // required
	Ledger  *ledger.Store    // required
	Gate    *gate.Gate       // required; New does not run it, Run does

	Fleet *fleet.Fleet // required

	Policy    rollout.Policy  // of all rollouts here; what is stricter in a release's own counts, too, but for who may approve
	Replicas  int             // of the buckets that setup services keep things in; 0 means 1
	Heartbeat time.Duration   // how often a working script gives a sign of life, in whole seconds; 0: [DefaultHeartbeat]
	Resend    time.Duration   // before a start that nobody listens to is sent again; 0: [DefaultResend]
	Keep      time.Duration   // after its end the journal of a rollout, and what it has put aside, is dropped, not what the ledger has of it; 0: never
	Probe     time.Duration   // how often it looks whether the bus stores what it is told; 0: [storage.DefaultEvery]
	Compare   time.Duration   // how often it looks whether the stream and the buckets are those that it knows; 0: [kept.DefaultEvery]
	Snapshots snapshot.Config // where they lie, and how many are kept; the zero value: in the environment's object store, all
	Version   string          // of golive, as told by the API; empty: "0.0.0-dev"
	Logger    *zap.Logger     // nil means silence

	Mask snapshot.MaskedParts // what of a snapshot is handed out masked only; nil: all of it as it is

	// At, if it is not nil, is called whenever the engine has come to one of its named
	// points; it may end the process there, to show that nothing is lost.
	At func(view.Point)
}

// Orchestrator is one engine. Make it with [New].
type Orchestrator struct {
	id    string
	cfg   Config
	ready chan struct{}
	once  sync.Once // closes ready
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
	return &Orchestrator{id: uuid.NewString(), cfg: c, ready: make(chan struct{})}, nil
}

// Ready is closed once the orchestrator takes commands and works on rollouts.
func (o *Orchestrator) Ready() <-chan struct{} { return o.ready }

// Run works until ctx ends; it returns when all it started has ended. It may be
// called once. What is under way when it ends is gone on with by another
// orchestrator, or by the next one. Where the bus was put back from a backup, it forgets what
// it knows and begins anew. [kept.ErrGone] says that the journal was deleted.
func (o *Orchestrator) Run(ctx context.Context) error {
	watch := kept.New(kept.Config{
		Conn: o.cfg.Conn, ID: o.id, Journal: o.cfg.Journal, Buckets: buckets, Replicas: o.cfg.Replicas, Every: o.cfg.Compare, Log: o.cfg.Logger,
	})
	for again := false; ; again = true {
		err := o.run(ctx, watch)
		switch {
		case ctx.Err() != nil:
			return nil // what failed then was told to end
		case errors.Is(err, kept.ErrBehind):
		case again && err != nil && !errors.Is(err, kept.ErrGone) && !errors.Is(err, kept.ErrJoined):
			o.cfg.Logger.Warn("not begun anew, trying again", zap.Error(err)) // the bus may be away again
			tasks.Pause(ctx, time.Second)
		default:
			return err
		}
		o.cfg.Journal.Forget()
		o.cfg.Gate.Forget()
	}
}

func (o *Orchestrator) run(ctx context.Context, watch *kept.Watch) error {
	parts, err := o.parts(ctx, watch)
	if err != nil {
		return err
	}
	defer parts.setup.Close()
	if err := watch.Begin(ctx, o.known(parts)); err != nil {
		return err
	}
	err = o.work(ctx, watch, parts)
	if ctx.Err() == nil && errors.Is(err, kept.ErrBehind) {
		o.stopLost(ctx, parts)
	}
	if errors.Is(err, kept.ErrJoined) {
		watch.Farewell(ctx)
	}
	return err
}

// work runs the parts until ctx ends, or one of them does.
func (o *Orchestrator) work(ctx context.Context, watch *kept.Watch, parts parts) error {
	running, ctx := errgroup.WithContext(ctx)
	known := make(chan struct{})
	running.Go(func() error { return o.watchBus(ctx) })
	running.Go(func() error { return watch.Run(ctx) })
	running.Go(func() error { return o.settle(ctx) })
	running.Go(func() error { return o.cfg.Gate.Run(ctx) })
	running.Go(func() error { return parts.storage.Run(ctx) })
	running.Go(func() error { return parts.clocks.Run(ctx) })
	running.Go(func() error { return parts.engine.Run(ctx, func() { close(known) }) })
	running.Go(func() error {
		select {
		case <-known:
			return parts.commands.Serve(ctx, func() { o.once.Do(func() { close(o.ready) }) })
		case <-ctx.Done():
			return nil
		}
	})
	return running.Wait()
}

// parts are what an orchestrator is made of.
type parts struct {
	setup    *setup.Client
	storage  *storage.Probe
	commands *command.Server
	engine   *engine.Engine
	clocks   *view.Clocks
	view     *view.View
	ledger   *ledger.Index
}

// parts opens what the parts need, and puts them together.
func (o *Orchestrator) parts(ctx context.Context, watch *kept.Watch) (parts, error) {
	c := o.cfg
	events := ledger.Events{Holds: o.holds, Dropped: o.dropped}
	environment, ahead, err := c.Ledger.LoadFrom(ctx, events)
	if err != nil {
		return parts{}, err
	}
	if ahead {
		c.Logger.Error("the ledger that is stored is ahead of the journal, which was put back from a backup: it is made anew from the journal")
	}
	claims, put, err := o.buckets(ctx)
	if err != nil {
		return parts{}, err
	}
	users, err := api.HasUsers(ctx, c.Conn)
	if err != nil {
		return parts{}, err
	}
	services, err := setup.Open(c.Conn, claims)
	if err != nil {
		return parts{}, err
	}
	probe, err := storage.New(storage.Config{Conn: c.Conn, Version: c.Version, ID: o.id, Every: c.Probe, Log: c.Logger, Fails: watch.Suspect})
	if err != nil {
		return parts{}, err
	}
	seen := view.New()
	index := ledger.NewIndex(environment, c.Ledger, c.Journal.Tail).Against(events)
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	clocks := view.NewClocks(c.Conn, c.Journal, o.id, host, c.Logger)
	recorder := view.NewRecorder(c.Journal, seen, c.Logger, c.At)
	commands := command.New(command.Config{
		Conn: c.Conn, Journal: c.Journal, Ledger: index, View: seen, Recorder: recorder, Gate: c.Gate, Fleet: c.Fleet,
		Setup: services, Records: put, Storage: probe, Kept: watch, Log: c.Logger, Policy: c.Policy, Users: users, Version: c.Version, Clocks: clocks,
		Store: c.Snapshots, Mask: c.Mask, Replicas: c.Replicas,
	})
	return parts{services, probe, commands, engine.New(engine.Config{
		Conn: c.Conn, Journal: c.Journal, Ledger: index, View: seen, Recorder: recorder, Gate: c.Gate, Fleet: c.Fleet,
		Notices: &view.Notices{Conn: c.Conn, View: seen, From: o.id, Log: c.Logger},
		Setup:   services, Records: put, Commands: commands, Log: c.Logger,
		Heartbeat: c.Heartbeat, Resend: c.Resend, Keep: c.Keep, Sure: watch.Sure,
	}), clocks, seen, index}, nil
}

// buckets makes those that setup services keep things in.
func (o *Orchestrator) buckets(ctx context.Context) (*setup.Claims, *records.Store, error) {
	c := o.cfg
	id := c.Journal.Environment()
	claims, err := bus.Make(ctx, c.Conn, bus.Claims, id, c.Replicas)
	if err != nil {
		return nil, nil, err
	}
	if _, err = bus.Make(ctx, c.Conn, bus.Checkpoints, id, c.Replicas); err != nil {
		return nil, nil, err
	}
	if _, err = bus.Make(ctx, c.Conn, bus.FailedRecords, id, c.Replicas); err != nil {
		return nil, nil, err
	}
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, nil, err
	}
	put, err := records.Open(ctx, js, protocol.FailedRecordsBucket)
	return setup.NewClaims(claims), put, err
}

// watchBus ends the orchestrator when its connection is closed for good, as the client
// does after it has been refused twice.
func (o *Orchestrator) watchBus(ctx context.Context) error {
	closed := o.cfg.Conn.StatusChanged(nats.CLOSED)
	defer o.cfg.Conn.RemoveStatusListener(closed)
	if !o.cfg.Conn.IsClosed() {
		select {
		case <-closed:
		case <-ctx.Done():
			return nil
		}
	}
	return fmt.Errorf("the connection to the bus is closed: %w", cmp.Or(o.cfg.Conn.LastError(), nats.ErrConnectionClosed))
}
