package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Order asks for the traffic of a service to be led somewhere on behalf of a rollout.
type Order struct {
	Service  string
	Version  string   // that shall be online; empty: none
	Keep     []string // versions that stay online beside it, if they are
	Rollout  string
	Sequence uint64 // of the journal's event that calls for it
	Replaces uint64 // the revision of the route that it may be written on; 0: none

	// Instances is how many of the version must be alive and confirm that they are
	// online. Until that many stand by, the version before goes on serving.
	Instances int

	// RetryAfter, if it is not 0, puts the service under maintenance: the version stays
	// on the route, and every request is answered at once with 503 and this time, in
	// whole seconds, rounded up.
	RetryAfter time.Duration

	// Seal has the route written as it is before anything else, so that nobody who holds an
	// earlier order can write it any more.
	Seal bool

	// Tell, if it is not nil, is called with what the order waits for, and with nothing
	// when it goes on.
	Tell func(waiting string)

	settled bool // the route was as ordered before: nobody but the version's instances matters
}

// OrderFor is the order that a traffic or maintenance step is there for or, of one that goes
// back, the one that puts back what it has found: where the step says so, once an instance of
// that is there. It names no rollout yet.
func OrderFor(s rollout.State, step rollout.Step) Order {
	if step.Backwards() || step.Kind == rollout.Maintenance {
		order := OrderBack(s, step)
		if step.Move.Awaits && step.Revert && order.Version != "" && order.RetryAfter == 0 {
			order.Instances = 1
		}
		return order
	}
	order := Order{Service: step.Name, Version: step.Version, Keep: step.Move.Keep, Instances: step.Move.Instances}
	if step.Move.Drain {
		order.Version = ""
	}
	if step.Move.Replaces != nil {
		order.Replaces = step.Move.Replaces.Revision
	}
	return order
}

// OrderBack is the order that puts the versions back that a traffic or maintenance step has
// found: under maintenance, if callers shall be told so then. It names no rollout yet.
func OrderBack(s rollout.State, step rollout.Step) Order {
	order := Order{Service: step.Name, RetryAfter: s.RetryAfter(step)}
	if step.Move.Replaces != nil {
		order.Replaces = step.Move.Replaces.Revision
		if online := step.Move.Replaces.Online; len(online) > 0 {
			order.Version, order.Keep = online[0], online[1:]
		}
	}
	return order
}

// Moved is where an order has led to.
type Moved struct {
	Revision uint64    // of the route, confirmed by every instance that is alive
	At       time.Time // when the first instance answered as ordered: online, or 503
}

// UnconfirmedError says that a step was not confirmed in time, or cannot be any more: the order
// cannot be finished, and the route is left in the middle of it, where no request fails yet; if
// it was there that everybody held requests, those who served before serve again.
// An order for the version before leads it back.
type UnconfirmedError struct {
	Service   string
	Version   string // that was to be online
	Route     Route
	Have      int // instances of the version that have confirmed
	Want      int
	Alive     int        // instances of the version that are there
	Unready   []Instance // instances that are alive and have not confirmed
	Dead      []Instance // instances of the version that have died meanwhile
	WaitedFor time.Duration
}

// Error names the step and those that keep it from being finished.
func (e *UnconfirmedError) Error() string {
	why := fmt.Sprintf("%d of %d instances have confirmed", e.Have, e.Want)
	if len(e.Unready) > 0 {
		why = names(e.Unready) + " did not confirm"
	}
	if e.Alive < e.Want || len(e.Dead) > 0 {
		why = fmt.Sprintf("%d of %d instances of %s are alive", e.Alive, e.Want, e.Version)
	}
	if len(e.Dead) > 0 {
		why = names(e.Dead) + " died: " + why
	}
	return fmt.Sprintf("route revision %d of %s (%s) was not confirmed within %s: %s",
		e.Route.Revision, e.Service, e.Route, e.WaitedFor.Round(time.Millisecond), why)
}

func names(all []Instance) string {
	var who []string
	for _, i := range all {
		who = append(who, i.String())
	}
	return strings.Join(who, ", ")
}

// Open leads the route of a service to where the order says, and blocks until every
// instance that is alive has confirmed that. Repeated, it goes on where the route is.
//
// [rollout.ErrConflict] says that somebody else has written the route since the order
// was made, or that a later order of the same rollout has; [*UnconfirmedError] that a
// step cannot be finished: instances that are alive do not confirm it within the gate's
// patience, or, sooner, too few of the version are alive and nobody else answers. While too few
// instances of the version stand by, and as long as that harms nobody, it waits for them
// without limit.
func (g *Gate) Open(ctx context.Context, o Order) (Moved, error) {
	if o.Tell == nil {
		o.Tell = func(string) {}
	}
	// What the order was made on is likely to be what is there. Who writes on top of
	// it finds out.
	l := &leading{Gate: g, order: o}
	if l.found, l.guessed = g.at(o.Service, o.Replaces); !l.guessed {
		if err := l.look(ctx); err != nil {
			return l.moved, err
		}
	}
	for {
		if done, err := l.step(ctx); done || err != nil {
			return l.moved, err
		}
	}
}

// leading is one order that is being followed.
type leading struct {
	*Gate
	order   Order
	found   Route  // where the route is
	guessed bool   // it was not read, but remembered
	known   uint64 // the revision that is known to be confirmed
	moved   Moved
}

// look reads where the route is.
func (l *leading) look(ctx context.Context) (err error) {
	l.guessed = false
	l.found, err = l.Route(ctx, l.order.Service)
	return err
}

// lookAnew is look after somebody else was faster: nothing is known to be confirmed.
func (l *leading) lookAnew(ctx context.Context) error {
	l.known = 0
	return l.look(ctx)
}

// step leads the route one step further from where it is; done says that it is where it was
// to go.
func (l *leading) step(ctx context.Context) (done bool, err error) {
	o := l.order
	if !o.owns(l.found) && l.found.Revision != o.Replaces {
		return false, fmt.Errorf("move the traffic of %s to %q: the route is at revision %d of rollout %s, not at %d: %w",
			o.Service, o.Version, l.found.Revision, l.found.Rollout, o.Replaces, rollout.ErrConflict)
	}
	if above := l.beyond(o.Service, l.found.Revision); above > 0 {
		if l.guessed {
			return false, l.look(ctx)
		}
		l.found, l.known, err = l.gather(ctx, o, l.found, above, &l.moved)
		return false, err
	}
	alone, err := l.alone(ctx, o, l.found.Route)
	if err != nil {
		return false, err
	}
	next, done := o.transition().next(l.found.Route, alone)
	if done && l.guessed {
		return false, l.look(ctx)
	}
	if o.Seal && (l.found.Rollout != o.Rollout || l.found.Sequence != o.Sequence) {
		next, done = l.found.Route, false
		if next.Versions == nil {
			next.Versions = []protocol.RouteVersion{} // not null on the wire
		}
	} else if l.found.Revision != l.known { // whoever wrote it may have died before it was confirmed
		if err := l.find(ctx, o, l.found, done, &l.moved); errors.Is(err, errOvertaken) {
			return false, l.lookAnew(ctx)
		} else if err != nil {
			return false, err
		}
	}
	if done {
		l.moved.Revision = l.found.Revision
		return true, nil
	}
	return false, l.writeNext(ctx, next)
}

// writeNext writes the next route, and blocks until it is confirmed.
func (l *leading) writeNext(ctx context.Context, next protocol.Route) error {
	o := l.order
	next.Service, next.Rollout, next.Sequence = o.Service, o.Rollout, o.Sequence
	revision, err := l.write(ctx, l.found.Revision, next)
	if errors.Is(err, rollout.ErrConflict) {
		return l.lookAnew(ctx) // another worker of the same rollout, or somebody whom that finds
	}
	if err != nil {
		return err
	}
	before := l.found.Route
	l.found, l.guessed, l.known = Route{Route: next, Revision: revision, Since: time.Now().UTC()}, false, revision
	l.remember(l.found)
	err = l.confirmed(ctx, o, l.found, &l.moved)
	if errors.Is(err, errOvertaken) {
		return l.lookAnew(ctx)
	}
	if err != nil {
		l.relieve(ctx, err, before, l.found)
	}
	return err
}

// relieve puts the states back that a route had before a step that was not confirmed, if that
// step has everybody hold what comes: those who answered before do so again, at once. Nobody can
// answer then who could not before, and nobody needs to confirm it. Where it does not succeed,
// requests are held until an order leads the route back.
func (g *Gate) relieve(ctx context.Context, failure error, before protocol.Route, unconfirmed Route) {
	var stuck *UnconfirmedError
	if !errors.As(failure, &stuck) || !holding(unconfirmed.Route) || len(before.Online()) == 0 || before.Maintenance != nil {
		return
	}
	next := unconfirmed.Route
	next.Versions = before.Versions
	if revision, err := g.write(ctx, unconfirmed.Revision, next); err == nil {
		g.remember(Route{Route: next, Revision: revision, Since: time.Now().UTC()})
	}
}

// find blocks until a route that this call has not written is confirmed as far as it has
// to be: one of the order's own like any step, one that was as ordered before by enough
// instances, and one that is to be replaced not at all.
func (g *Gate) find(ctx context.Context, o Order, found Route, done bool, moved *Moved) error {
	switch {
	case o.owns(found):
		return g.confirmed(ctx, o, found, moved)
	case done:
		o.settled = true
		return g.confirmed(ctx, o, found, moved)
	}
	return nil
}

// owns reports whether a route was written by this order, or by an earlier one of the
// same rollout.
func (o Order) owns(r Route) bool { return r.Rollout == o.Rollout && r.Sequence <= o.Sequence }

// transition is where the order leads to.
func (o Order) transition() transition {
	c := transition{target: o.Version, keep: o.Keep, recorded: o.Instances == 0}
	if o.RetryAfter > 0 {
		c.maintenance = &protocol.Maintenance{Since: time.Now().UTC(), RetryAfter: protocol.Duration(o.RetryAfter)}
	}
	return c
}

// alone reports whether no instance is alive of a version that has to leave, and enough
// are of the one that comes.
func (g *Gate) alone(ctx context.Context, o Order, found protocol.Route) (bool, error) {
	if len(found.Versions) == 1 && found.Versions[0].Version == o.Version {
		return false, nil // nobody has to leave, and nobody asks
	}
	holders, err := g.alive(ctx, o.Service)
	if err != nil {
		return false, err
	}
	confirmed, _ := g.confirmations(o.Service)
	coming := 0
	for _, h := range holders {
		switch {
		case confirmed[h.id].State == protocol.StateLeft:
		case !o.stays(h.encodedVersion):
			return false, nil
		case h.encodedVersion == protocol.EncodeVersion(o.Version):
			coming++
		}
	}
	return coming >= o.Instances, nil
}

func (o Order) stays(encodedVersion string) bool {
	return encodedVersion == protocol.EncodeVersion(o.Version) ||
		slices.ContainsFunc(o.Keep, func(v string) bool { return encodedVersion == protocol.EncodeVersion(v) })
}
