package spec

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// Rollout plays the orchestrator's part for the scripts of one setup service: it sends
// the starts, hears the answers and moves the traffic of the service in between. What
// has to be durable in a real rollout is held in memory. It is not safe for concurrent
// use.
type Rollout struct {
	Relay *relay.Relay // required

	// Start is what all starts say: App and AppVersion, and, but for the app's own
	// setup, Service and Version are required. An empty Rollout is made, Phase, Revert
	// and Attempt are those of each start.
	Start protocol.StartMessage

	Phases  []protocol.Phase // that there are scripts for; required
	Reverts []protocol.Phase // that can be undone

	Previous  string        // the version that serves until the new one is online, and after a revert; empty: none
	Instances int           // of the service, whatever their versions, that must confirm each move of traffic
	Timeout   time.Duration // how long each script may take; 0: as long as the context lets it
	Recording *Recording    // gets what the scripts hear and say; nil: nobody does

	attempts map[protocol.Phase]int // of what has been started; nil: the rollout has not begun
	reverts  map[protocol.Phase]int
	serving  *string // the version that has the traffic; nil: not known yet
}

func (r *Rollout) check() error {
	if r.Start.Service == "" && r.Start.Version != "" {
		return fmt.Errorf("version %s is of no service: name the Service, or give AppVersion alone", r.Start.Version)
	}
	for _, list := range [][]protocol.Phase{r.Phases, r.Reverts} {
		for _, p := range list {
			if err := check(r.message(p, false)); err != nil {
				return err
			}
			if (p == protocol.Setup) != (r.Start.Service == "") {
				return fmt.Errorf("phase %s: setup is the phase of an app, and its only one; before, offline and online are those of a service", p)
			}
		}
	}
	if len(r.Phases) == 0 {
		return errors.New("there is no phase to run: name the Phases that the setup service has scripts for")
	}
	return nil
}

// Run runs the scripts of all phases in their order: before, offline, and, once the
// service is online, online; or the setup of an app. It returns at the first that
// fails, with traffic where it was, and the error then wraps a *[protocol.ScriptError];
// any other error means that a script has not answered, or could not be asked.
func (r *Rollout) Run(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	if r.Start.Service == "" {
		return r.Phase(ctx, protocol.Setup)
	}
	for _, p := range protocol.ServicePhases() {
		if err := r.move(ctx, p); err != nil {
			return err
		}
		if !slices.Contains(r.Phases, p) {
			continue
		}
		if err := r.Phase(ctx, p); err != nil {
			return err
		}
	}
	return nil
}

// Phase runs the script of one phase, with traffic where it is in that phase; each
// call is an attempt of its own. The error is as that of [Rollout.Run].
func (r *Rollout) Phase(ctx context.Context, p protocol.Phase) error {
	if err := r.has(p); err != nil {
		return err
	}
	if err := r.begin(ctx); err != nil {
		return err
	}
	if err := r.move(ctx, p); err != nil {
		return err
	}
	r.attempts[p]++
	return r.start(ctx, p, r.attempts[p], false)
}

// Revert undoes in reverse order what has been started, as far as it can be undone,
// and leaves traffic with the previous version. The error is as that of [Rollout.Run].
func (r *Rollout) Revert(ctx context.Context) error {
	if len(r.attempts) == 0 {
		return fmt.Errorf("no script of %s has run: there is nothing to revert", r.name())
	}
	if len(r.Reverts) == 0 {
		return fmt.Errorf("the setup service of %s can undo nothing: give it a script that reverts", r.name())
	}
	for _, p := range slices.Backward(phases()) {
		if r.attempts[p] == 0 || !slices.Contains(r.Reverts, p) {
			continue
		}
		if err := r.move(ctx, p); err != nil {
			return err
		}
		r.reverts[p]++
		if err := r.start(ctx, p, r.reverts[p], true); err != nil {
			return err
		}
	}
	return r.move(ctx, protocol.Before)
}

// has says whether there is a script for p.
func (r *Rollout) has(p protocol.Phase) error {
	if slices.Contains(r.Phases, p) {
		return nil
	}
	return fmt.Errorf("the setup service of %s has no script for the phase %s: it has %v", r.name(), p, r.Phases)
}

// begin makes what a rollout needs before its first step; further calls do nothing.
func (r *Rollout) begin(ctx context.Context) error {
	if r.attempts != nil {
		return nil
	}
	if err := r.check(); err != nil {
		return err
	}
	if r.Start.Rollout == "" {
		r.Start.Rollout = newRolloutID()
	}
	if err := makeBuckets(ctx, r.Relay.Conn()); err != nil {
		return err
	}
	r.attempts, r.reverts = make(map[protocol.Phase]int), make(map[protocol.Phase]int)
	return nil
}

// move puts traffic where it is while the scripts of a phase run.
func (r *Rollout) move(ctx context.Context, p protocol.Phase) error {
	if r.Start.Service == "" {
		return nil
	}
	version := r.Previous
	if p == protocol.Online {
		version = r.Start.Version
	}
	if r.serving != nil && *r.serving == version {
		return nil
	}
	ctx, cancel := r.withTimeout(ctx)
	defer cancel()
	route := onlineRoute(r.Start.Rollout, r.Start.Service, version)
	if err := moveTraffic(ctx, r.Relay.Conn(), route, r.Instances); err != nil {
		return err
	}
	r.serving = &version
	return nil
}

func (r *Rollout) start(ctx context.Context, p protocol.Phase, attempt int, revert bool) error {
	m := r.message(p, revert)
	m.Attempt = attempt
	ctx, cancel := r.withTimeout(ctx)
	defer cancel()
	_, err := start(ctx, r.Relay.Conn(), m, r.Recording)
	return err
}

func (r *Rollout) withTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if r.Timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, r.Timeout)
}

func (r *Rollout) message(p protocol.Phase, revert bool) protocol.StartMessage {
	m := r.Start
	m.Phase, m.Revert = p, revert
	return m
}

func (r *Rollout) name() string {
	if r.Start.Service != "" {
		return r.Start.Service + " " + r.Start.Version
	}
	return r.Start.App + " " + r.Start.AppVersion
}

// phases are all phases, in their order.
func phases() []protocol.Phase { return append(protocol.ServicePhases(), protocol.Setup) }

func newRolloutID() string { return uuid.Must(uuid.NewV7()).String() }
