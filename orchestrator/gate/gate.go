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
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
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

	nc      *nats.Conn
	kv      jetstream.KeyValue // of the routes
	written jetstream.Stream   // likewise
	held    jetstream.Stream   // of the leases

	mu      sync.Mutex
	read    map[string]Route                   // by service: as it was read or written here last
	newest  map[string]map[string]confirmation // by service and instance
	kept    map[string]int                     // by service: how many were left when some were forgotten
	counted map[string]int                     // by service: confirmations
	changed chan struct{}                      // closed and replaced with every confirmation
}

// confirmation is the newest confirmation of an instance.
type confirmation struct {
	protocol.Confirmation
	at time.Time
}

// Route is the entry of a service at a revision; revision 0 is a service without one.
type Route struct {
	protocol.Route
	Revision uint64    `json:"revision"`
	Since    time.Time `json:"since"` // when this revision was written
}

// String writes the route for people.
func (r Route) String() string {
	var all []string
	for _, v := range r.Versions {
		all = append(all, v.Version+" "+string(v.State))
	}
	if r.Maintenance != nil {
		all = append(all, "under maintenance")
	}
	if len(all) == 0 {
		return "no version"
	}
	return strings.Join(all, ", ")
}

// Settled reports whether no traffic is on its way: every version that is listed is
// online, or the service is under maintenance.
func (r Route) Settled() bool { return len(r.Online()) == len(r.Versions) || r.Maintenance != nil }

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
	routes, err := find()
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
		patience: cmp.Or(c.Patience, DefaultPatience),
		nc:       c.Conn, kv: routes, written: written, held: held,
		read: make(map[string]Route), newest: make(map[string]map[string]confirmation), kept: make(map[string]int), counted: make(map[string]int), changed: make(chan struct{}),
	}, nil
}

// Route reads the route of a service from the bucket's leader.
func (g *Gate) Route(ctx context.Context, service string) (Route, error) {
	entry, err := g.entry(ctx, service)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return none(service), nil
	}
	if err != nil {
		return Route{}, fmt.Errorf("read route of %s: %w", service, err)
	}
	r := Route{Revision: entry.Revision(), Since: entry.Created().UTC()}
	if err := json.Unmarshal(entry.Value(), &r.Route); err != nil {
		return Route{}, fmt.Errorf("read route of %s at revision %d: %w", service, entry.Revision(), err)
	}
	g.remember(r)
	return r, nil
}

func none(service string) Route { return Route{Route: protocol.Route{Service: service}} }

func (g *Gate) remember(r Route) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Revision > g.read[r.Service].Revision {
		g.read[r.Service] = r
	}
}

// at is what the route of a service was at a revision, which never changes, if that is
// known here.
func (g *Gate) at(service string, revision uint64) (Route, bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	r, known := g.read[service]
	if !known {
		return none(service), revision == 0
	}
	return r, r.Revision == revision
}

// entry is what the bucket's leader has of a service.
func (g *Gate) entry(ctx context.Context, service string) (entry jetstream.KeyValueEntry, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		entry, err = g.kv.Get(ctx, service)
		return err
	})
	return entry, err
}

// Routes reads all routes, by service in the order of names.
func (g *Gate) Routes(ctx context.Context) ([]Route, error) {
	listing, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	keys, err := g.kv.ListKeys(listing)
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	var names []string
	for k := range keys.Keys() {
		names = append(names, k)
	}
	if err := listing.Err(); err != nil {
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
// whether the writing is there, and writes again if not: on its revision it can be stored
// once at most.
func (g *Gate) write(ctx context.Context, on uint64, r protocol.Route) (revision uint64, err error) {
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("write route of %s: %w", r.Service, err)
	}
	err = ask(ctx, func(asking context.Context) error {
		if revision, err = g.kv.Update(asking, r.Service, value, on); err == nil {
			return nil
		}
		entry, readErr := g.entry(ctx, r.Service)
		switch {
		case readErr == nil && entry.Revision() > on && string(entry.Value()) == string(value):
			revision = entry.Revision()
			return nil
		case readErr == nil && entry.Revision() != on:
			return fmt.Errorf("revision %d was replaced: %w", on, rollout.ErrConflict)
		case errors.Is(readErr, jetstream.ErrKeyNotFound) && on != 0:
			return fmt.Errorf("revision %d is not there any more: %w", on, rollout.ErrConflict)
		case errors.Is(err, jetstream.ErrKeyRevisionMismatch):
			return fmt.Errorf("%w: %w", errAgain, err)
		}
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("write route of %s: %w", r.Service, err)
	}
	return revision, nil
}
