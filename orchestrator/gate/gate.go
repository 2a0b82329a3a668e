// Package gate decides which versions of a service get production traffic.
//
// The route of a service is a key of the routes bucket; instances follow it and
// confirm each revision (see package relay). Every write is conditional on the
// revision before it, so that whoever comes late fails instead of opening a gate that
// is no longer theirs to open. The gate does not know why a version may be opened:
// the caller has made sure of that.
package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// aliveFor is how long an instance counts as alive after its last confirmation.
const aliveFor = 3 * protocol.ConfirmEvery

// Gate is safe for concurrent use.
type Gate struct {
	nc *nats.Conn
	kv jetstream.KeyValue

	mu        sync.Mutex
	instances map[string]map[string]Instance // by service and instance id
	changed   chan struct{}                  // closed and replaced with every confirmation
}

// Instance is a running instance of a service as it last told.
type Instance struct {
	ID       string                `json:"id"`
	Version  string                `json:"version"`
	State    protocol.VersionState `json:"state"`    // that it acts on
	Revision uint64                `json:"revision"` // of the route that it acts on
	Seen     time.Time             `json:"seen"`
}

// Route is the entry of a service at a revision; revision 0 is a service without one.
type Route struct {
	protocol.Route
	Revision uint64    `json:"revision"`
	Since    time.Time `json:"since"` // when this revision was written
}

// New opens the routes of the environment that nc is connected to, and makes their
// bucket with the given number of replicas when it is missing.
func New(ctx context.Context, nc *nats.Conn, replicas int) (*Gate, error) {
	kv, err := relay.OpenBucket(ctx, nc, relay.Bucket{Name: protocol.RoutesBucket, Replicas: replicas})
	if err != nil {
		return nil, err
	}
	return &Gate{nc: nc, kv: kv, instances: make(map[string]map[string]Instance), changed: make(chan struct{})}, nil
}

// Run listens to the confirmations of all instances until ctx ends. Without it no
// instance counts as alive.
func (g *Gate) Run(ctx context.Context) error {
	sub, err := g.nc.Subscribe(protocol.AllConfirms, g.heard)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", protocol.AllConfirms, err)
	}
	<-ctx.Done()
	_ = sub.Unsubscribe() // the connection may be gone
	return nil
}

func (g *Gate) heard(m *nats.Msg) {
	service, id, ok := protocol.ParseConfirmSubject(m.Subject)
	var c protocol.Confirmation
	if !ok || json.Unmarshal(m.Data, &c) != nil || c.Version == "" {
		return // not ours to understand: it confirms nothing
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.instances[service] == nil {
		g.instances[service] = make(map[string]Instance)
	}
	g.forget(service)
	g.instances[service][id] = Instance{ID: id, Version: c.Version, State: c.State, Revision: c.Revision, Seen: time.Now()}
	close(g.changed)
	g.changed = make(chan struct{})
}

// Instances lists the instances of a service that are alive, by id.
func (g *Gate) Instances(service string) []Instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(service)
	alive := slices.Collect(maps.Values(g.instances[service]))
	slices.SortFunc(alive, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return alive
}

// forget drops the instances of a service that have not been heard of for too long.
func (g *Gate) forget(service string) {
	maps.DeleteFunc(g.instances[service], func(_ string, i Instance) bool { return time.Since(i.Seen) > aliveFor })
}

// Route reads the route of a service from the bucket's leader.
func (g *Gate) Route(ctx context.Context, service string) (Route, error) {
	entry, err := g.kv.Get(ctx, service)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Route{Route: protocol.Route{Service: service}}, nil
	}
	if err != nil {
		return Route{}, fmt.Errorf("read route of %s: %w", service, err)
	}
	r := Route{Revision: entry.Revision(), Since: entry.Created()}
	if err := json.Unmarshal(entry.Value(), &r.Route); err != nil {
		return Route{}, fmt.Errorf("read route of %s at revision %d: %w", service, entry.Revision(), err)
	}
	return r, nil
}

// Routes reads all routes, by service in the order of names.
func (g *Gate) Routes(ctx context.Context) ([]Route, error) {
	keys, err := g.kv.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var names []string
	for k := range keys.Keys() {
		names = append(names, k)
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("list routes: %w", err) // the list ends early without telling
	}
	slices.Sort(names)
	routes := make([]Route, 0, len(names))
	for _, name := range names {
		r, err := g.Route(ctx, name)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// Order asks for a version of a service to be opened on behalf of a rollout.
type Order struct {
	Service, Version string
	Rollout          string
	Sequence         uint64 // of the journal's event that calls for it
	Replaces         uint64 // the revision of the route that it may be written on; 0: none
}

// Open writes the route so that the ordered version serves, and gives its revision.
// Repeated, it finds its own writing and gives that. A route that already lists the
// version as the one online is left as it is. [rollout.ErrConflict] says that somebody
// else has written the route since the order was made.
func (g *Gate) Open(ctx context.Context, o Order) (uint64, error) {
	found, err := g.Route(ctx, o.Service)
	if err != nil {
		return 0, err
	}
	online := found.Online()
	settled := len(online) == 1 && online[0] == o.Version && len(found.Versions) == 1
	if settled && (found.Rollout == o.Rollout || found.Revision == o.Replaces) {
		return found.Revision, nil
	}
	if found.Revision != o.Replaces {
		return 0, fmt.Errorf("open %s %s: the route is at revision %d of rollout %s, not at %d: %w",
			o.Service, o.Version, found.Revision, found.Rollout, o.Replaces, rollout.ErrConflict)
	}
	return g.write(ctx, o.Replaces, protocol.Route{
		Service: o.Service, Rollout: o.Rollout, Sequence: o.Sequence,
		Versions: []protocol.RouteVersion{{Version: o.Version, State: protocol.StateOnline}},
	})
}

// Seal writes the route as it is once more on behalf of a rollout, so that whoever
// still wants to write on the revision before fails.
func (g *Gate) Seal(ctx context.Context, service, by string) error {
	for {
		found, err := g.Route(ctx, service)
		if err != nil {
			return err
		}
		found.Rollout = by
		if found.Versions == nil {
			found.Versions = []protocol.RouteVersion{} // not null on the wire
		}
		if _, err := g.write(ctx, found.Revision, found.Route); !errors.Is(err, rollout.ErrConflict) {
			return err
		}
	}
}

// write stores a route on top of a revision. Where the answer is not clear it looks
// whether the writing is there.
func (g *Gate) write(ctx context.Context, on uint64, r protocol.Route) (uint64, error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("write route of %s: %w", r.Service, err)
	}
	revision, err := g.kv.Update(ctx, r.Service, value, on)
	if err == nil {
		return revision, nil
	}
	entry, readErr := g.kv.Get(ctx, r.Service)
	switch {
	case readErr == nil && entry.Revision() > on && string(entry.Value()) == string(value):
		return entry.Revision(), nil
	case readErr == nil && entry.Revision() != on:
		return 0, fmt.Errorf("write route of %s on revision %d: %w", r.Service, on, rollout.ErrConflict)
	}
	return 0, fmt.Errorf("write route of %s: %w", r.Service, err)
}

// Await blocks until at least want instances of the version have confirmed a revision
// not older than the given one as online, or ctx ends. It gives how many have.
func (g *Gate) Await(ctx context.Context, service, version string, revision uint64, want int) (int, error) {
	for {
		g.mu.Lock()
		changed := g.changed
		g.mu.Unlock()
		have := 0
		for _, i := range g.Instances(service) {
			if i.Version == version && i.Revision >= revision && i.State == protocol.StateOnline {
				have++
			}
		}
		if have >= want {
			return have, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return have, ctx.Err()
		}
	}
}
