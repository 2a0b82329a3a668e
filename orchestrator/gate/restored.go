package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Where the bus was put back from a backup, or the bucket of routes was made anew, instances act
// on revisions that the bucket has not come to yet. They never go back, so nothing that the gate
// writes reaches them before its revisions are above theirs; and what it writes first has to have
// everybody hold, because nobody knows who answers: only then it goes on to what shall be.

// Forget drops what is remembered of routes: the bucket was put back.
func (g *Gate) Forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	clear(g.read)
}

// beyond is the highest revision that an instance of a service has told of lately, if it is
// above one; else 0.
func (g *Gate) beyond(service string, revision uint64) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	var highest uint64
	for _, c := range g.newest[service] {
		if c.Revision > max(revision, highest) && time.Since(c.at) < heardWithin && c.State != protocol.StateLeft {
			highest = c.Revision
		}
	}
	return highest
}

// Beyond gives the route of a service as it is now, and lists those of its instances that act on
// a later revision than there is.
func (g *Gate) Beyond(ctx context.Context, service string, instances []Instance) (Route, []Instance, error) {
	now, err := g.Route(ctx, service) // after what they have told
	if err != nil {
		return now, nil, err
	}
	return now, slices.DeleteFunc(slices.Clone(instances), func(i Instance) bool {
		return i.Revision <= now.Revision || time.Since(i.Seen) >= heardWithin
	}), nil
}

// filler is a key of the bucket of routes that no service has: it is written to come to a higher
// revision.
const filler = "_"

// raiseMost is how far a bucket is raised: whoever may confirm could ask for more.
const raiseMost = 100_000

// raise has the next revision of the bucket be above the given one. Doing it twice is harmless.
func (g *Gate) raise(ctx context.Context, above uint64) error {
	for raised := false; ; raised = true {
		var info *jetstream.StreamInfo
		err := ask(ctx, func(ctx context.Context) (err error) {
			info, err = g.written.Info(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("find the newest revision of the routes: %w", err)
		}
		if info.State.LastSeq >= above {
			if raised { // the last marker is of no use any more
				return g.written.Purge(ctx, jetstream.WithPurgeSubject(protocol.KeySubject(protocol.RoutesBucket, filler)))
			}
			return nil
		}
		if above-info.State.LastSeq > raiseMost {
			return fmt.Errorf("instances act on revision %d of the routes, the bucket is at %d: too far to come to it, stop these instances", above, info.State.LastSeq)
		}
		for range above - info.State.LastSeq {
			if err := g.kv.Delete(ctx, filler); err != nil {
				return fmt.Errorf("come to revision %d of the routes: %w", above, err)
			}
		}
	}
}

// gather has everybody hold whose route went back, and gives the route then, and that it is
// confirmed. Where it did not go back, but was led further meanwhile, it gives what it is now.
func (g *Gate) gather(ctx context.Context, o Order, found Route, above uint64, moved *Moved) (now Route, confirmed uint64, err error) {
	if now, err = g.fence(ctx, o, found, above); err == nil {
		err = g.confirmed(ctx, o, now, moved)
	}
	if errors.Is(err, rollout.ErrConflict) || errors.Is(err, errOvertaken) {
		now, err = g.Route(ctx, o.Service)
		return now, 0, err
	}
	return now, now.Revision, err
}

// fence writes a route on which everybody holds, above the revision that instances act on, and
// gives it. Those that do not follow it cannot be of the bucket's past.
func (g *Gate) fence(ctx context.Context, o Order, found Route, above uint64) (Route, error) {
	if err := g.raise(ctx, above); err != nil {
		return found, err
	}
	next := found.Route
	next.Versions = slices.Clone(found.Versions)
	for _, v := range next.Versions {
		set(&next, v.Version, protocol.StateFenced)
	}
	confirmed, _ := g.confirmations(o.Service)
	for _, c := range confirmed {
		if c.Revision > found.Revision && time.Since(c.at) < heardWithin && c.State != protocol.StateLeft {
			set(&next, c.Version, protocol.StateFenced)
		}
	}
	next.Service, next.Rollout, next.Sequence = o.Service, o.Rollout, o.Sequence
	revision, err := g.write(ctx, found.Revision, next)
	if err != nil {
		return found, err
	}
	r := Route{Route: next, Revision: revision, Since: time.Now().UTC()}
	g.remember(r)
	return r, nil
}

// Settle leads back the traffic of services of which instances act on a later revision than
// there is: to the versions that the route has online, if one of their instances is alive. Where
// none is, those that answer go on, which Beyond tells. It may be called by several at once.
func (g *Gate) Settle(ctx context.Context, log *zap.Logger) error {
	g.mu.Lock()
	var services []string
	for service := range g.newest {
		services = append(services, service)
	}
	g.mu.Unlock()
	slices.Sort(services)
	for _, service := range services {
		if err := g.settle(ctx, log, service); err != nil {
			return err
		}
	}
	return nil
}

func (g *Gate) settle(ctx context.Context, log *zap.Logger, service string) error {
	if g.beyond(service, g.remembered(service)) == 0 {
		return nil
	}
	found, err := g.Route(ctx, service)
	if err != nil {
		return err
	}
	online := found.Online()
	beyond := g.beyond(service, found.Revision)
	if beyond == 0 || !found.Settled() {
		return nil // a rollout goes on with what is not settled
	}
	say := log.With(zap.String("service", service), zap.Uint64("revision", found.Revision), zap.Uint64("acted on", beyond))
	alive, err := g.anyAlive(ctx, service, online)
	if err != nil {
		return err
	}
	if !alive {
		say.Error("instances act on a route that the bus does not hold, and none is alive of what its route has online: they go on as they do")
		return nil
	}
	say.Error("instances act on a route that the bus does not hold: the traffic is led to what its route says", zap.Strings("online", online))
	order := Order{
		Service: service, Version: online[0], Keep: online[1:], Rollout: found.Rollout, Sequence: found.Sequence, Replaces: found.Revision,
		Instances: 1,
	}
	if found.Maintenance != nil {
		order.Instances, order.RetryAfter = 0, max(time.Duration(found.Maintenance.RetryAfter), time.Second)
	}
	_, err = g.Open(ctx, order)
	if errors.Is(err, rollout.ErrConflict) {
		return nil // a rollout has taken it over
	}
	return err
}

// remembered is the revision of a service's route as far as it is known here.
func (g *Gate) remembered(service string) uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.read[service].Revision
}

// anyAlive reports whether an instance of one of the versions is alive.
func (g *Gate) anyAlive(ctx context.Context, service string, versions []string) (bool, error) {
	holders, err := g.alive(ctx, service)
	return slices.ContainsFunc(holders, func(h leaseholder) bool {
		return slices.ContainsFunc(versions, func(v string) bool { return protocol.EncodeVersion(v) == h.encodedVersion })
	}), err
}

// WriteAgain writes the routes that are remembered here into a bucket that has lost them, above
// the revisions that instances act on.
func (g *Gate) WriteAgain(ctx context.Context, log *zap.Logger) error {
	g.mu.Lock()
	known := make([]Route, 0, len(g.read))
	var above uint64
	for _, r := range g.read {
		known, above = append(known, r), max(above, r.Revision)
	}
	g.mu.Unlock()
	if err := g.raise(ctx, above); err != nil {
		return err
	}
	for _, r := range known {
		if r.Revision == 0 {
			continue
		}
		now, err := g.Route(ctx, r.Service)
		if err != nil {
			return err
		}
		if now.Revision > 0 {
			continue // it is there
		}
		_, err = g.write(ctx, 0, r.Route)
		if err != nil && !errors.Is(err, rollout.ErrConflict) { // else somebody else has written it
			return err
		}
		log.Info("route written again", zap.String("service", r.Service), zap.Stringer("route", r))
	}
	return nil
}

// follow keeps what is remembered of the routes up to date, until ctx ends.
func (g *Gate) follow(ctx context.Context) {
	for ctx.Err() == nil {
		_ = g.Follow(ctx, func(r Route) error { // else the bucket is away, or gone
			if r.Rollout != "" {
				g.remember(r)
			}
			return nil
		})
		pause(ctx, followAgain)
	}
}

// followAgain is how soon a bucket of routes that cannot be followed is tried again.
const followAgain = time.Second
