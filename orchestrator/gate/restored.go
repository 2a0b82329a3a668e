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
func (s *routes) raise(ctx context.Context, above uint64) error {
	for raised := false; ; raised = true {
		var info *jetstream.StreamInfo
		err := ask(ctx, func(ctx context.Context) (err error) {
			info, err = s.written.Info(ctx)
			return err
		})
		if err != nil {
			return fmt.Errorf("find the newest revision of the routes: %w", err)
		}
		if info.State.LastSeq >= above {
			if raised { // the last marker is of no use any more
				return s.written.Purge(ctx, jetstream.WithPurgeSubject(protocol.KeySubject(protocol.RoutesBucket, filler)))
			}
			return nil
		}
		if above-info.State.LastSeq > raiseMost {
			return fmt.Errorf("instances act on revision %d of the routes, the bucket is at %d: too far to come to it, stop these instances", above, info.State.LastSeq)
		}
		for range above - info.State.LastSeq {
			if err := s.kv.Delete(ctx, filler); err != nil {
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
	for _, service := range g.heardOf() {
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

// WriteAgain writes the routes that are remembered here into a bucket that has lost them, above
// the revisions that instances act on.
func (s *routes) WriteAgain(ctx context.Context, log *zap.Logger) error {
	s.mu.Lock()
	known := make([]Route, 0, len(s.read))
	var above uint64
	for _, r := range s.read {
		known, above = append(known, r), max(above, r.Revision)
	}
	s.mu.Unlock()
	if err := s.raise(ctx, above); err != nil {
		return err
	}
	for _, r := range known {
		if r.Revision == 0 {
			continue
		}
		now, err := s.Route(ctx, r.Service)
		if err != nil {
			return err
		}
		if now.Revision > 0 {
			continue // it is there
		}
		_, err = s.write(ctx, 0, r.Route)
		if err != nil && !errors.Is(err, rollout.ErrConflict) { // else somebody else has written it
			return err
		}
		log.Info("route written again", zap.String("service", r.Service), zap.Stringer("route", r))
	}
	return nil
}

// follow keeps what is remembered of the routes up to date, until ctx ends.
func (s *routes) follow(ctx context.Context) {
	for ctx.Err() == nil {
		_ = s.Follow(ctx, func(r Route) error { // else the bucket is away, or gone
			if r.Rollout != "" {
				s.remember(r)
			}
			return nil
		})
		pause(ctx, followAgain)
	}
}

// followAgain is how soon a bucket of routes that cannot be followed is tried again.
const followAgain = time.Second
