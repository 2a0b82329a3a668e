package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// rereadEvery bounds how long an instance can act on an old route when no hint reaches it: they are
// not kept, so they are never all we go by.
const rereadEvery = protocol.ConfirmEvery

// maxHints is how many hints may wait. More come only from somebody who is no orchestrator.
const maxHints = 16

// linger is how long an instance goes on listening, and forwards what it gets, after its
// version has been taken off the route. A server chooses among the subscribers that it
// saw when it took a request up: one that is held up for a moment between the two, or has
// not heard yet of subscribers at other servers of its cluster, knows of the old version
// alone, and tells the caller that nobody listens if that has gone.
const linger = 200 * time.Millisecond

// routeTimeout bounds a question about the route, where the bus is near: an answer may be lost
// with the server.
const routeTimeout = time.Second

// follower has an instance play the role that its route gives, and be subscribed to its
// production subjects as that says. All but leaving and drained is touched by the goroutine of
// followRoute alone.
type follower struct {
	*identity
	requests *requests
	traffic  *traffic // of the requests
	stored   <-chan *lease
	began    bus.Instant

	production []*nats.Subscription
	lingering  *time.Timer        // after which production is left
	unread     bool               // the route could not be read
	known      protocol.Route     // the newest
	bucket     jetstream.KeyValue // of routes, which has been found to be one that can be read; nil: not yet

	leaving atomic.Int64  // production subscriptions that are being left
	drained chan struct{} // capacity 1: told when one has been left
}

// followRoute makes the instance play its role, and confirms it, until ctx ends or the
// relay is closed, which is an error; it then takes the instance off production.
//
// The lease comes first: the route is read only after it has been stored. So a gate that
// has written a revision and then finds no lease of an instance knows that the instance
// will read that revision, or a later one, before it answers anything.
func (f *follower) followRoute(ctx context.Context) error {
	defer f.unsubscribe()
	f.lingering = time.NewTimer(linger)
	f.lingering.Stop()
	nc := f.relay.nc
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	hints := make(chan *nats.Msg, maxHints)
	hinted, err := nc.Subscribe(protocol.RouteSubject(f.service.Name), func(m *nats.Msg) {
		select {
		case hints <- m:
		default: // the route is read anew anyway
		}
	})
	if err != nil {
		return fmt.Errorf("listen for changes of the route: %w", err)
	}
	defer func() { _ = hinted.Unsubscribe() }() // the connection may be gone
	var confirmed protocol.Confirmation
	for !nc.IsClosed() {
		confirmed = f.confirmSettled(confirmed)
		leased := f.traffic.leased.Load() != nil
		select {
		case <-ctx.Done():
			return nil
		case l := <-f.stored:
			f.renew(ctx, l)
			confirmed = protocol.Confirmation{} // that there is a lease again is told at once
		case m := <-hints:
			if leased && !f.follow(ctx, m) {
				for len(hints) > 0 {
					<-hints // they say no more
				}
				f.reread(ctx)
			}
		case <-f.traffic.busy.idle:
		case <-f.drained:
		case <-f.lingering.C:
			if !f.traffic.role.Load().listed() {
				f.unsubscribe()
			}
		case <-tick.C:
			confirmed = protocol.Confirmation{} // once more: one may have been lost
			if leased {
				f.reread(ctx)
			} else {
				f.confirm(f.confirmation()) // that counts for nothing, but is shown
			}
			f.traffic.mayAnswer(f.relay.clock()) // it is awake: if the lease has run out, it is renewed now
			f.requests.dismiss()
		case <-changed:
			if leased {
				f.reread(ctx) // a hint may have been missed
			}
		}
	}
	return nats.ErrConnectionClosed
}

// renew takes a lease after one has run out, or the first. The route is read anew before
// anything is answered: gates have stopped waiting for this instance.
func (f *follower) renew(ctx context.Context, l *lease) {
	if !f.reread(ctx) {
		return // the next tick asks for the next lease
	}
	last := f.traffic.leased.Load()
	l.term = last.number()
	if !last.covers(f.relay.clock()) {
		l.term++
		f.requests.streams.cut(errLeaseLapsed, false) // another version may have been online meanwhile
	}
	f.traffic.leased.Store(l)
	at := *f.traffic.role.Load()
	at.over = make(chan struct{})
	f.requests.take(&at) // what was held for want of a lease goes on
}

// reread plays the role that the bucket's leader has now, and reports whether it could.
func (f *follower) reread(ctx context.Context) bool {
	route, revision, err := f.route(ctx)
	f.tellUnread(ctx, err)
	if err == nil {
		err = f.play(ctx, route, revision)
	}
	return err == nil
}

// follow plays the role that a hint gives, and reports whether it counts: if it proves that it
// continues the route that is known. Any other one says only that the route may have changed.
func (f *follower) follow(ctx context.Context, m *nats.Msg) bool {
	revision, ok := protocol.ParseNumber(m.Header.Get(protocol.HeaderRevision))
	if !ok || revision <= f.traffic.role.Load().revision || !protocol.HintHolds(f.known, m.Header.Get(protocol.HeaderProof)) {
		return false
	}
	var route protocol.Route
	if err := json.Unmarshal(m.Data, &route); err != nil || route.Service != f.service.Name {
		return false
	}
	return f.play(ctx, route, revision) == nil
}

// play takes on the role that a revision of the route gives, unless it plays it or a
// later one already.
func (f *follower) play(ctx context.Context, route protocol.Route, revision uint64) error {
	last := f.traffic.role.Load()
	next := newRole(route, revision, f.service.Name, f.service.Version)
	known := revision == last.revision && last.verdict == next.verdict
	if revision < last.revision {
		return nil
	}
	f.known = route
	if known && (f.production != nil || !next.listed()) {
		return nil
	}
	if next.listed() {
		if err := f.subscribe(ctx); err != nil {
			if ctx.Err() == nil {
				f.log.Error("act on route", zap.Uint64("revision", revision), zap.Error(err))
			}
			return err
		}
	}
	f.requests.take(next)
	if last.listed() && !next.listed() {
		f.lingering.Reset(linger)
	}
	if next.state != last.state || revision != last.revision {
		f.log.Info("route", zap.Uint64("revision", revision), zap.String("state", string(next.state)))
	}
	return nil
}

// confirmSettled confirms the role that the instance plays, once.
func (f *follower) confirmSettled(last protocol.Confirmation) protocol.Confirmation {
	c := f.confirmation()
	role := protocol.Confirmation{Revision: c.Revision, State: c.State}
	if role == last || f.traffic.leased.Load() == nil || !f.settled() {
		return last
	}
	f.confirm(c)
	return role
}

// confirmation says what role the instance plays, and for how long it has had no lease.
func (f *follower) confirmation() protocol.Confirmation {
	at := f.traffic.role.Load()
	return protocol.Confirmation{
		Revision: at.revision, State: at.state,
		Unleased: protocol.Duration(f.traffic.leased.Load().since(f.began, f.relay.clock())),
	}
}

// settled reports whether the instance does what its role says and nothing else any
// more: only then does it confirm it.
func (f *follower) settled() bool {
	if f.traffic.role.Load().verdict == answer {
		return true
	}
	left := f.production == nil && f.leaving.Load() == 0
	return f.traffic.busy.n.Load() == 0 && (f.traffic.role.Load().listed() || left)
}

// subscribe connects the instance to production traffic.
func (f *follower) subscribe(ctx context.Context) error {
	if f.production != nil {
		return nil
	}
	for _, e := range f.requests.endpoints {
		to := protocol.ProductionSubject(f.service.Name, e.message)
		sub, err := f.relay.nc.QueueSubscribe(to, f.service.Name, func(m *nats.Msg) {
			f.requests.produce(request{to: e, data: m.Data, header: m.Header, reply: m.Reply})
		})
		if err != nil {
			f.unsubscribe()
			return fmt.Errorf("subscribe %s: %w", to, err)
		}
		f.production = append(f.production, sub)
	}
	return f.flush(ctx)
}

// unsubscribe takes the instance off production traffic; what it has got already is
// still dealt with. Drained is told once it has been.
func (f *follower) unsubscribe() {
	for _, sub := range f.production {
		f.leaving.Add(1)
		sub.SetClosedHandler(func(string) {
			f.leaving.Add(-1)
			tell(f.drained)
		})
		if err := sub.Drain(); err != nil {
			f.leaving.Add(-1)
			if !f.relay.nc.IsClosed() {
				f.log.Warn("drain", zap.String("subject", sub.Subject), zap.Error(err))
			}
		}
	}
	f.production = nil
}

// tellUnread logs that the route cannot be read, once until it can be again.
func (f *follower) tellUnread(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !f.unread && !f.relay.nc.IsClosed() {
		f.log.Warn("route not read, acting on the one before", zap.Error(err))
	}
	f.unread = err != nil
}

// route reads the service's route from the leader of the bucket. No bucket and no
// key are both the zero route at revision 0.
func (f *follower) route(ctx context.Context) (protocol.Route, uint64, error) {
	kv, err := f.routes(ctx)
	if errors.Is(err, bus.ErrNone) || errors.Is(err, jetstream.ErrBucketNotFound) {
		return protocol.Route{}, 0, nil
	}
	if err != nil {
		return protocol.Route{}, 0, err
	}
	var entry jetstream.KeyValueEntry
	err = f.patience.ask(ctx, routeTimeout, 1, func(ctx context.Context) (err error) {
		entry, err = kv.Get(ctx, f.service.Name)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return protocol.Route{}, 0, nil
	}
	if err != nil {
		f.bucket = nil // it may be gone, or another one by now
		return protocol.Route{}, 0, err
	}
	route, err := readRoute(entry)
	return route, entry.Revision(), err
}

// readRoute reads the value of an entry; one that was deleted is the zero route.
func readRoute(entry jetstream.KeyValueEntry) (protocol.Route, error) {
	var route protocol.Route
	if entry.Operation() != jetstream.KeyValuePut {
		return route, nil
	}
	if err := json.Unmarshal(entry.Value(), &route); err != nil {
		return route, fmt.Errorf("route of %s at revision %d: %w", entry.Key(), entry.Revision(), err)
	}
	if route.Service != entry.Key() { // whoever has written that is no orchestrator
		return route, fmt.Errorf("route of %s at revision %d: it says that it is of %q", entry.Key(), entry.Revision(), route.Service)
	}
	return route, nil
}

// routes opens the bucket, once: that takes a question more, and the route is read every two
// seconds.
func (f *follower) routes(ctx context.Context) (jetstream.KeyValue, error) {
	if f.bucket != nil {
		return f.bucket, nil
	}
	js, err := bus.NewJetStream(f.relay.nc)
	if err != nil {
		return nil, err
	}
	err = f.patience.ask(ctx, routeTimeout, 2, func(ctx context.Context) (err error) {
		f.bucket, err = bus.Look(ctx, js, bus.Routes)
		return err
	})
	return f.bucket, err
}
