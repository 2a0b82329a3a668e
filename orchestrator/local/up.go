package local

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

// Up is an app that is to run on this machine, and the command line that has it run.
type Up struct {
	Manifest *release.Manifest
	Bus      Place  // where its messages go; not known: to a server of its own, in this process
	Data     string // folder of what it keeps
	Listen   string // where the server of its own listens, HOST:PORT
	Beacons  string // folder in which other commands look for it: see [BeaconFolder]
	Dir      string // where it was called; paths are told as they are seen from there

	// Of a rehearsal, which brings what an environment would bring, and keeps away from it:

	Before   *release.Manifest       // of the version before, whose services run, too; nil: none does
	Release  *rollout.Release        // that is deployed, of the same manifest; nil: as the manifest has it
	Environ  []string                // of its programs, in place of this process's own; nil: this process's own
	Unsynced bool                    // its own bus leaves syncing to the operating system: it is thrown away
	Skips    func(release.Step) bool // commands that are taken for done without being run; nil: none
	States   func() []Kept           // of its services, which are put back before they are asked for anything; it is called when the bus is there. Nil: none

	// After is called with Once when the rollout has completed, while all still runs. It may do more
	// with rollouts of the app, each of which is followed by follow to its end: from a state on, of
	// which the sequence is given (0: from the beginning). An error is what Run gives. Nil: nothing
	// is done.
	After func(ctx context.Context, last rollout.State, sequence uint64, follow Follower) error

	Once       bool // it ends when the rollout has ended
	AllowOlder bool // it may bring a version that is older than what has run here
	Seed       int  // GOLIVE_SEED of the manifest's seed command; 0: it is not run

	By      string         // who is recorded to have asked for the rollout
	Version string         // of this golive
	Talk    *terminal.Talk // where it says what it does
	Logger  *zap.Logger

	// Orchestrate starts an orchestrator on the bus, and returns once it answers commands. It
	// works until working ends.
	Orchestrate func(ctx, working context.Context, r *relay.Relay) (Orchestrator, error)
	// Follow tells a rollout's story until it stands, and gives its last state; when ctx ends
	// first, the last one so far and an error.
	Follow func(context.Context, Following) (api.RolloutView, error)
	// Events calls each with every state of a rollout from behind an event on, and with those
	// that come, until ctx ends or each gives an error.
	Events func(ctx context.Context, id string, after uint64, each func(api.Followed) error) error
	// Output shows a line of what an agent runs for an attempt of a step. It is called
	// concurrently.
	Output func(step string, attempt int, line string)
	// Online shows what is online at the end of a rollout that has completed.
	Online func(Online) error
	// Fail shows how a rollout has failed whose services stay up.
	Fail func(error)
}

// Orchestrator is what runs an app's rollouts.
type Orchestrator struct {
	Gate    *gate.Gate
	Journal *journal.Journal // for agents
	Ended   <-chan error     // gives its one result
}

// Following is a rollout that is to be followed.
type Following struct {
	App, Rollout string
	Bus          string                    // URL of the bus that programs reach
	After        uint64                    // the sequence of the event to go on from; 0: from the beginning
	Each         func(rollout.State) error // called with every state, after it was told; an error ends following
}

// Follower follows a rollout, from behind the event at a sequence on, to its end, with the programs
// that it needs. It gives its last state, and the sequence of that.
type Follower func(ctx context.Context, begun rollout.State, after uint64) (rollout.State, uint64, error)

// ErrUndone says that the rollout was undone because somebody wanted that, as its story has told.
var ErrUndone = errors.New("it was undone")

// Run runs the app: its bus, its services and setup services, its agents and the rollout of its
// version. It returns when ctx ends, when something has ended without which it cannot go on, or,
// with Once, when the rollout has ended, and has then stopped all that it has started. What an
// earlier one on the same data has left that was killed is stopped first. What does not stop by
// itself is killed when atOnce ends. An error that was given to Fail, or came from Online, may be
// returned, too; a [report.Failure] says what to do next, and [ErrUndone] that there is nothing to
// say.
func (u Up) Run(ctx, atOnce context.Context) (err error) {
	if err := u.stopRemains(atOnce); err != nil {
		return err
	}
	place, r, closeBus, err := u.openBus(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeBus()) }()
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	o, err := u.Orchestrate(ctx, working, r)
	if err != nil {
		return err
	}
	a := newApp(u, place)
	run := &upRun{Up: u, app: a, old: u.before(place), orchestrator: o, relay: r, client: api.NewClient(r.Conn()), atOnce: atOnce}
	err = run.run(ctx)
	u.Talk.Say(terminal.Dim, "▪", "stopping what was started")
	for _, started := range []*app{a, run.old} {
		if started == nil {
			continue
		}
		if e := started.stop(atOnce); e != nil {
			err = errors.Join(err, e)
		}
	}
	stopWorking()
	if e := <-o.Ended; e != nil && err == nil {
		err = e
	}
	return err
}

// openBus reaches the bus that is named, or starts one. It gives where it is, a relay on it, and
// what closes both.
func (u Up) openBus(ctx context.Context) (Place, *relay.Relay, func() error, error) {
	if u.Bus.Known() {
		r, err := u.Bus.Connect(ctx, u.By, u.Logger)
		if err != nil {
			return Place{}, nil, nil, err
		}
		u.Talk.Say(terminal.Plain, "▸", "bus: %s", r.Conn().ConnectedUrlRedacted())
		return u.Bus, r, func() error { r.Close(); return nil }, nil
	}
	server, err := embedded.Start(embedded.Config{Data: u.Data, Listen: u.Listen, Unsynced: u.Unsynced, Logger: u.Logger})
	if err != nil {
		return Place{}, nil, nil, err
	}
	r, err := relay.Connect(ctx, relay.Config{Server: server, Name: "golive up", Logger: u.Logger})
	if err != nil {
		return Place{}, nil, nil, errors.Join(err, server.Stop())
	}
	put, err := Beacon{URL: server.URL(), Dir: u.Manifest.Dir, Cwd: u.Dir, Data: u.Data}.Light(u.Beacons)
	if err != nil {
		r.Close()
		return Place{}, nil, nil, errors.Join(err, server.Stop())
	}
	u.Talk.Say(terminal.Plain, "▸", "bus: %s, its data in %s", server.URL(), u.short(u.Data))
	return Place{URL: server.URL()}, r, func() error {
		put()
		r.Close()
		return server.Stop()
	}, nil
}

// short is a path as it is seen from where up was called.
func (u Up) short(path string) string { return terminal.PathFrom(u.Dir, path) }
