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

// followRoute keeps the instance's production subscriptions as the route says, and
// confirms, until ctx ends; it then takes the instance off production.
func (i *instance) followRoute(ctx context.Context) {
	defer i.unsubscribe()
	again := i.relay.nc.StatusChanged(nats.CONNECTED)
	tick := time.NewTicker(rereadEvery)
	defer tick.Stop()
	current := protocol.Confirmation{Version: i.service.Version, State: protocol.StateOffline}
	var watch jetstream.KeyWatcher
	for {
		if watch == nil {
			watch = i.watch(ctx)
		}
		current = i.reread(ctx, current)
		select {
		case <-ctx.Done():
			stopWatch(watch)
			return
		case _, open := <-updates(watch):
			if !open {
				watch = nil
			}
		case <-tick.C:
		case <-again:
			stopWatch(watch)
			watch = nil
		}
	}
}

// reread acts on the route as its leader has it now, and confirms it.
func (i *instance) reread(ctx context.Context, current protocol.Confirmation) protocol.Confirmation {
	route, revision, err := i.route(ctx)
	if err != nil {
		if ctx.Err() == nil {
			i.log.Debug("read route", zap.Error(err))
		}
		return current
	}
	next := protocol.Confirmation{Revision: revision, Version: i.service.Version, State: route.State(i.service.Version)}
	if err := i.act(next.State); err != nil {
		i.log.Error("act on route", zap.Uint64("revision", revision), zap.Error(err))
		return current
	}
	if next != current {
		i.log.Info("route", zap.Uint64("revision", revision), zap.String("state", string(next.State)))
	}
	i.confirm(next)
	return next
}

func (i *instance) act(state protocol.VersionState) error {
	if state == protocol.StateOnline {
		return i.subscribe()
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
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
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

// watch notifies of changes of the route; nil when the bucket is not there yet.
func (i *instance) watch(ctx context.Context) jetstream.KeyWatcher {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	kv, err := i.routes(ctx)
	if err != nil {
		return nil
	}
	w, err := kv.Watch(context.WithoutCancel(ctx), i.service.Name, jetstream.UpdatesOnly())
	if err != nil {
		i.log.Debug("watch route", zap.Error(err))
		return nil
	}
	return w
}

func updates(w jetstream.KeyWatcher) <-chan jetstream.KeyValueEntry {
	if w == nil {
		return nil
	}
	return w.Updates()
}

func stopWatch(w jetstream.KeyWatcher) {
	if w != nil {
		_ = w.Stop() // the connection may be gone; nothing is lost
	}
}
