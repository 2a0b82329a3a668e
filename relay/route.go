package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// rereadEvery bounds how long an instance can act on an old route when no
// notification reaches it: a KV watcher is blind for up to 20 s after the server it
// was made on has died (measured), so notifications are never all we go by.
const rereadEvery = protocol.ConfirmEvery

// linger is how long an instance goes on listening, and forwards what it gets, after its
// version has been taken off the route. A server chooses among the subscribers that it
// saw when it took a request up: one that is held up for a moment between the two, or has
// not heard yet of subscribers at other servers of its cluster, knows of the old version
// alone, and tells the caller that nobody listens if that has gone.
const linger = 200 * time.Millisecond

// routeTimeout bounds one reading of the route, and one attempt to watch it: an answer may
// be lost with the server.
const routeTimeout = time.Second

// followRoute makes the instance play its role, and confirms it, until ctx ends or the
// relay is closed, which is an error; it then takes the instance off production.
//
// The lease comes first: the route is read only after it has been stored. So a gate that
// has written a revision and then finds no lease of an instance knows that the instance
// will read that revision, or a later one, before it answers anything.
func (i *instance) followRoute(ctx context.Context) error {
	defer i.unsubscribe()
	i.lingering = time.NewTimer(linger)
	i.lingering.Stop()
	nc := i.relay.nc
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	var watch routeWatch
	defer func() { watch.stop() }()
	var confirmed protocol.Confirmation
	for look := false; !nc.IsClosed(); {
		confirmed = i.confirmSettled(confirmed)
		if look && watch.updates == nil { // not at every turn: it may take its time
			watch = i.watch(ctx)
			i.reread(ctx)
			confirmed = i.confirmSettled(confirmed)
		}
		look = false
		leased := i.traffic.leased.Load() != nil
		select {
		case <-ctx.Done():
			return nil
		case l := <-i.leases:
			i.renew(ctx, l)
			look = true
		case entry, open := <-watch.updates:
			if !open {
				watch.stop()
			} else if entry != nil {
				i.read(ctx, entry)
			}
		case <-i.traffic.busy.idle:
		case <-i.drained:
		case <-i.lingering.C:
			if !i.traffic.role.Load().listed() {
				i.unsubscribe()
			}
		case <-tick.C:
			confirmed = protocol.Confirmation{} // once more: one may have been lost
			if known := i.traffic.role.Load().revision; leased && i.reread(ctx) && i.traffic.role.Load().revision != known {
				watch.stop() // it should have told that: it is blind
			}
			i.mayAnswer(i.relay.clock()) // it is awake: if the lease has run out, it is renewed now
			look = leased
			i.dismiss()
		case <-changed:
			watch.stop() // it may be blind now
			look = leased
		}
	}
	return nats.ErrConnectionClosed
}

// renew takes a lease after one has run out, or the first. The route is read anew before
// anything is answered: gates have stopped waiting for this instance.
func (i *instance) renew(ctx context.Context, l *lease) {
	if !i.reread(ctx) {
		return // the next tick asks for the next lease
	}
	last := i.traffic.leased.Load()
	l.term = last.number()
	if !last.covers(i.relay.clock()) {
		l.term++
		i.streams.cut(errLeaseLapsed, false) // another version may have been online meanwhile
	}
	i.traffic.leased.Store(l)
	at := *i.traffic.role.Load()
	at.over = make(chan struct{})
	i.take(&at) // what was held for want of a lease goes on
}

// reread plays the role that the bucket's leader has now, and reports whether it could.
func (i *instance) reread(ctx context.Context) bool {
	route, revision, err := i.route(ctx)
	i.tellUnread(ctx, err)
	if err == nil {
		err = i.play(ctx, route, revision)
	}
	return err == nil
}

// read plays the role that a watched entry gives. An unreadable one changes nothing.
func (i *instance) read(ctx context.Context, entry jetstream.KeyValueEntry) {
	route, err := readRoute(entry)
	i.tellUnread(ctx, err)
	if err == nil {
		_ = i.play(ctx, route, entry.Revision()) // it has been logged, and the tick tries again
	}
}

// play takes on the role that a revision of the route gives, unless it plays it or a
// later one already.
func (i *instance) play(ctx context.Context, route protocol.Route, revision uint64) error {
	last := i.traffic.role.Load()
	next := newRole(route, revision, i.service.Name, i.service.Version)
	known := revision == last.revision && last.verdict == next.verdict
	if revision < last.revision || known && (i.production != nil || !next.listed()) {
		return nil
	}
	if next.listed() {
		if err := i.subscribe(ctx); err != nil {
			if ctx.Err() == nil {
				i.log.Error("act on route", zap.Uint64("revision", revision), zap.Error(err))
			}
			return err
		}
	}
	i.take(next)
	if last.listed() && !next.listed() {
		i.lingering.Reset(linger)
	}
	if next.state != last.state || revision != last.revision {
		i.log.Info("route", zap.Uint64("revision", revision), zap.String("state", string(next.state)))
	}
	return nil
}

// confirmSettled confirms the role that the instance plays, once.
func (i *instance) confirmSettled(last protocol.Confirmation) protocol.Confirmation {
	at := i.traffic.role.Load()
	c := protocol.Confirmation{Revision: at.revision, State: at.state, Version: i.service.Version}
	if c == last || i.traffic.leased.Load() == nil || !i.settled() {
		return last
	}
	i.confirm(c)
	return c
}

// tellUnread logs that the route cannot be read, once until it can be again.
func (i *instance) tellUnread(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !i.unread && !i.relay.nc.IsClosed() {
		i.log.Warn("route not read, acting on the one before", zap.Error(err))
	}
	i.unread = err != nil
}

func (i *instance) confirm(c protocol.Confirmation) {
	data, err := json.Marshal(c)
	if err != nil {
		return // a Confirmation can always be written
	}
	if err := i.relay.nc.Publish(protocol.ConfirmSubject(i.service.Name, i.id), data); err != nil {
		i.log.Debug("confirm", zap.Error(err))
	}
}

// route reads the service's route from the leader of the bucket. No bucket and no
// key are both the zero route at revision 0.
func (i *instance) route(ctx context.Context) (protocol.Route, uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, routeTimeout)
	defer cancel()
	kv, err := i.routes(ctx)
	if errors.Is(err, bus.ErrNone) || errors.Is(err, jetstream.ErrBucketNotFound) {
		return protocol.Route{}, 0, nil
	}
	if err != nil {
		return protocol.Route{}, 0, err
	}
	entry, err := kv.Get(ctx, i.service.Name)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return protocol.Route{}, 0, nil
	}
	if err != nil {
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
	return route, nil
}

// routes opens the bucket. What it is like is looked at the first time alone, because that
// takes a question more, and the route is read every two seconds.
func (i *instance) routes(ctx context.Context) (jetstream.KeyValue, error) {
	js, err := jetstream.New(i.relay.nc)
	if err != nil {
		return nil, err
	}
	if i.opened {
		return js.KeyValue(ctx, protocol.RoutesBucket)
	}
	kv, err := bus.Look(ctx, js, bus.Routes)
	i.opened = err == nil
	return kv, err
}

// routeWatch tells that a route has changed. The zero value tells nothing.
type routeWatch struct {
	updates <-chan jetstream.KeyValueEntry
	cancel  context.CancelFunc
}

func (w *routeWatch) stop() {
	if w.cancel != nil {
		w.cancel() // NATS ends the subscription
	}
	*w = routeWatch{}
}

// watch watches the route until it is stopped or ctx ends. It gives the zero value when
// the bucket is not there yet, or does not answer in time.
func (i *instance) watch(ctx context.Context) routeWatch {
	ctx, cancel := context.WithCancel(ctx)
	tooLong := time.AfterFunc(routeTimeout, cancel)
	kv, err := i.routes(ctx)
	if err != nil {
		cancel()
		return routeWatch{}
	}
	w, err := kv.Watch(ctx, i.service.Name, jetstream.UpdatesOnly())
	if err != nil || !tooLong.Stop() {
		cancel()
		return routeWatch{}
	}
	return routeWatch{updates: w.Updates(), cancel: cancel}
}
