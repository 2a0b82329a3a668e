package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// routeAge is how long a route that was read is gone by: a script sends many messages.
const routeAge = time.Second

// routeTimeout bounds the reading of a route where the script gives no context.
const routeTimeout = 5 * time.Second

// routes knows which services answer in production.
type routes struct {
	nc *nats.Conn

	mu    sync.Mutex
	known map[string]observation // by service
}

type observation struct {
	serves bool
	at     time.Time
}

func newRoutes(nc *nats.Conn) *routes { return &routes{nc: nc, known: make(map[string]observation)} }

// serves reports whether a version of the service answers in production.
func (r *routes) serves(ctx context.Context, service string) (bool, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.known[service]; time.Since(s.at) < routeAge {
		return s.serves, nil
	}
	route, err := r.read(ctx, service)
	if err != nil {
		return false, fmt.Errorf("read the route of %s: %w", service, err)
	}
	serves := len(route.Online()) > 0 && route.Maintenance == nil
	r.known[service] = observation{serves, time.Now()}
	return serves, nil
}

// forget makes the next call read the route anew.
func (r *routes) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.known)
}

func (r *routes) read(ctx context.Context, service string) (route protocol.Route, err error) {
	js, err := bus.NewJetStream(r.nc)
	if err != nil {
		return route, err
	}
	kv, err := bus.Look(ctx, js, bus.Routes)
	if errors.Is(err, bus.ErrNone) {
		return route, nil
	}
	if err != nil {
		return route, err
	}
	entry, err := kv.Get(ctx, service)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return route, nil
	}
	if err != nil {
		return route, err
	}
	return route, json.Unmarshal(entry.Value(), &route)
}
