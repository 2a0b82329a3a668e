// Package gate decides which versions of a service get production traffic, and moves it
// from one to the next so that no request is lost, none fails, and none is answered by
// a version that is not online.
//
// The route of a service is a key of the routes bucket; instances follow it and confirm
// each revision (package relay tells how). [Gate.Open] leads a route to where it shall
// be in steps: it writes one, waits until every instance that is alive has confirmed it,
// and goes on from whatever route it then finds. So it can be repeated at any point, by
// anybody, in either direction. An instance is alive while its lease is in
// the leases bucket; one that hangs is waited for until its lease has run out by the
// server's word, and by then it answers nothing before it has read the route. Where nobody
// answers because instances of the version that comes have died, [Gate.Open] gives up as soon
// as that is known.
//
// Every write is conditional on the revision before it, so that whoever comes late fails
// instead of opening a gate that is no longer theirs to open. The gate does not know why
// a version may be opened: the caller has made sure of that.
package gate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// DefaultPatience is the patience of a gate that is given none: longer than a lease, and
// than it takes a cluster to elect a leader.
const DefaultPatience = 45 * time.Second

// Config is how a gate works.
type Config struct {
	Conn *nats.Conn // to the environment's bus; required

	Environment string // its id; of the buckets that [Make] makes or changes
	Replicas    int    // likewise, at least; 0: 1

	// Patience is how long an instance that is alive may take to confirm a step, and how
	// long requests may be held for want of instances of the new version; 0:
	// [DefaultPatience].
	Patience time.Duration
}

// Gate is safe for concurrent use. Make it with [Make] or [Open].
type Gate struct {
	patience time.Duration
	nc       *nats.Conn

	*routes    // Route, Routes, Follow, Seal, WriteAgain, Forget
	*instances // Instances
}

// Make is [Open] for an orchestrator: it makes or changes the buckets as [bus.Make] does.
func Make(ctx context.Context, c Config) (*Gate, error) {
	return open(ctx, c, func() (jetstream.KeyValue, error) {
		routes, _, err := bus.MakeRoutes(ctx, c.Conn, c.Environment, c.Replicas)
		return routes, err
	})
}

// Open opens the routes and leases of an environment. It makes nothing: [bus.ErrNone] says
// that no orchestrator has done so yet.
func Open(ctx context.Context, c Config) (*Gate, error) {
	return open(ctx, c, func() (jetstream.KeyValue, error) {
		if _, err := bus.Open(ctx, c.Conn, bus.Leases); err != nil {
			return nil, err
		}
		return bus.Open(ctx, c.Conn, bus.Routes)
	})
}

func open(ctx context.Context, c Config, find func() (routes jetstream.KeyValue, err error)) (*Gate, error) {
	switch {
	case c.Conn == nil:
		return nil, errors.New("a gate needs a connection to the bus")
	case c.Patience < 0:
		return nil, fmt.Errorf("the patience of a gate is %s, it must not be negative", c.Patience)
	}
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	kv, err := find()
	if err != nil {
		return nil, err
	}
	held, err := js.Stream(ctx, "KV_"+protocol.LeasesBucket)
	if err != nil {
		return nil, fmt.Errorf("open the leases: %w", err)
	}
	written, err := js.Stream(ctx, "KV_"+protocol.RoutesBucket)
	if err != nil {
		return nil, fmt.Errorf("open the routes: %w", err)
	}
	return &Gate{
		patience: cmp.Or(c.Patience, DefaultPatience), nc: c.Conn,
		routes:    &routes{nc: c.Conn, kv: kv, written: written, read: make(map[string]Route), proofs: make(map[string]hintProof)},
		instances: newInstances(held),
	}, nil
}
