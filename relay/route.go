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

	"github.com/golive-dev/golive/relay/protocol"
)

// rereadEvery bounds how long an instance can act on an old route when no
// notification reaches it: a KV watcher is blind for up to 20 s after the server it
// was made on has died (measured), so notifications are never all we go by.
const rereadEvery = protocol.ConfirmEvery

// routeTimeout bounds one reading of the route: an answer may be lost with the server.
const routeTimeout = 2 * time.Second

// followRoute keeps the instance's production subscriptions as the route says, and
// confirms, until ctx ends or the relay is closed, which is an error; it then takes the
// instance off production.
func (i *instance) followRoute(ctx context.Context) error {
	defer i.unsubscribe()
	nc := i.relay.nc
	changed := nc.StatusChanged(nats.CONNECTED, nats.CLOSED)
	defer nc.RemoveStatusListener(changed)
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	var watch routeWatch
	defer func() { watch.stop() }()
	current := protocol.Confirmation{Version: i.service.Version, State: protocol.StateOffline}
	for !nc.IsClosed() {
		if watch.updates == nil {
			watch = i.watch(ctx)
		}
		current = i.reread(ctx, current)
		select {
		case <-ctx.Done():
			return nil
		case _, open := <-watch.updates:
			if !open {
				watch.stop()
			}
		case <-tick.C:
		case <-changed:
			watch.stop() // it may be blind now
		}
	}
	return nats.ErrConnectionClosed
}

// reread acts on the route as its leader has it now, and confirms it.
func (i *instance) reread(ctx context.Context, current protocol.Confirmation) protocol.Confirmation {
	route, revision, err := i.route(ctx)
	i.tellUnread(ctx, err)
	if err != nil {
		return current
	}
	next := protocol.Confirmation{Revision: revision, Version: i.service.Version, State: route.State(i.service.Version)}
	if err := i.act(ctx, next.State); err != nil {
		if ctx.Err() == nil {
			i.log.Error("act on route", zap.Uint64("revision", revision), zap.Error(err))
		}
		return current
	}
	if next != current {
		i.log.Info("route", zap.Uint64("revision", revision), zap.String("state", string(next.State)))
	}
	i.confirm(next)
	return next
}

// tellUnread logs that the route cannot be read, once until it can be again.
func (i *instance) tellUnread(ctx context.Context, err error) {
	if err != nil && ctx.Err() == nil && !i.unread && !i.relay.nc.IsClosed() {
		i.log.Warn("route not read, acting on the one before", zap.Error(err))
	}
	i.unread = err != nil
}

func (i *instance) act(ctx context.Context, state protocol.VersionState) error {
	if state == protocol.StateOnline {
		return i.subscribe(ctx)
	}
	i.unsubscribe()
	return nil
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
	if errors.Is(err, jetstream.ErrBucketNotFound) {
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
	var route protocol.Route
	if err := json.Unmarshal(entry.Value(), &route); err != nil {
		return protocol.Route{}, 0, fmt.Errorf("route of %s at revision %d: %w", i.service.Name, entry.Revision(), err)
	}
	return route, entry.Revision(), nil
}

func (i *instance) routes(ctx context.Context) (jetstream.KeyValue, error) {
	js, err := jetstream.New(i.relay.nc)
	if err != nil {
		return nil, err
	}
	return js.KeyValue(ctx, protocol.RoutesBucket)
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
