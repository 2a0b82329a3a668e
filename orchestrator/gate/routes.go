package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

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

// routes are the entries of the bucket, and what is remembered of them. It is safe for concurrent
// use.
type routes struct {
	nc      *nats.Conn
	kv      jetstream.KeyValue
	written jetstream.Stream // of the bucket

	mu     sync.Mutex
	read   map[string]Route     // by service: as it was read or written here last
	proofs map[string]hintProof // by service: of the newest route that was written here
}

// Route reads the route of a service from the bucket's leader. What no orchestrator has written is
// replaced by the route before, if that is known here; else it lists nothing.
func (s *routes) Route(ctx context.Context, service string) (Route, error) {
	for {
		entry, err := s.entry(ctx, service)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return none(service), nil
		}
		if err != nil {
			return Route{}, fmt.Errorf("read route of %s: %w", service, err)
		}
		r, written := routeOf(entry)
		if before := s.last(service); !written && before.Revision > 0 && before.Revision < r.Revision {
			if _, err := s.write(ctx, r.Revision, before.Route); err != nil && !errors.Is(err, rollout.ErrConflict) {
				return Route{}, err
			}
			continue
		}
		if written {
			s.remember(r)
		}
		return r, nil
	}
}

// last is the route of a service as far as it is known here.
func (s *routes) last(service string) Route {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.read[service]
}

func none(service string) Route { return Route{Route: protocol.Route{Service: service}} }

func (s *routes) remember(r Route) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Revision > s.read[r.Service].Revision {
		s.read[r.Service] = r
	}
}

// at is what the route of a service was at a revision, which never changes, if that is
// known here.
func (s *routes) at(service string, revision uint64) (Route, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.read[service]
	if !known {
		return none(service), revision == 0
	}
	return r, r.Revision == revision
}

// entry is what the bucket's leader has of a service.
func (s *routes) entry(ctx context.Context, service string) (entry jetstream.KeyValueEntry, err error) {
	err = ask(ctx, func(ctx context.Context) error {
		entry, err = s.kv.Get(ctx, service)
		return err
	})
	return entry, err
}

// Routes reads all routes, by service in the order of names.
func (s *routes) Routes(ctx context.Context) ([]Route, error) {
	listing, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	keys, err := s.kv.ListKeys(listing)
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
		r, err := s.Route(ctx, name)
		if err != nil {
			return nil, err
		}
		routes = append(routes, r)
	}
	return routes, nil
}

// Seal writes the route as it is once more on behalf of a rollout, so that whoever
// still wants to write on the revision before fails.
func (s *routes) Seal(ctx context.Context, service, by string) error {
	for {
		found, err := s.Route(ctx, service)
		if err != nil {
			return err
		}
		found.Rollout = by
		if found.Versions == nil {
			found.Versions = []protocol.RouteVersion{} // not null on the wire
		}
		if _, err := s.write(ctx, found.Revision, found.Route); !errors.Is(err, rollout.ErrConflict) {
			return err
		}
	}
}

// write stores a route on top of a revision. Where the answer is not clear it looks
// whether the writing is there, and writes again if not: on its revision it can be stored
// once at most.
func (s *routes) write(ctx context.Context, on uint64, r protocol.Route) (revision uint64, err error) {
	var proof string
	proof, r.Next = protocol.NewHint()
	value, err := json.Marshal(r)
	if err != nil {
		return 0, fmt.Errorf("write route of %s: %w", r.Service, err)
	}
	err = ask(ctx, func(asking context.Context) error {
		if revision, err = s.kv.Update(asking, r.Service, value, on); err == nil {
			return nil
		}
		entry, readErr := s.entry(ctx, r.Service)
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
	s.hint(r.Service, revision, value, on, proof)
	return revision, nil
}

// hint tells the instances of a service its route, on top of a revision. One that misses it, or to
// whom it proves nothing, reads the route by itself. Proof is that of the hint that comes next.
func (s *routes) hint(service string, revision uint64, value []byte, on uint64, proof string) {
	s.mu.Lock()
	last := s.proofs[service]
	s.proofs[service] = hintProof{revision, proof}
	s.mu.Unlock()
	m := nats.NewMsg(protocol.RouteSubject(service))
	m.Header.Set(protocol.HeaderRevision, strconv.FormatUint(revision, 10))
	if last.of == on {
		m.Header.Set(protocol.HeaderProof, last.text)
	}
	m.Data = value
	_ = s.nc.PublishMsg(m) // the connection may be gone
}

// hintProof is what the hint of the revision after another one is proved by.
type hintProof struct {
	of   uint64 // that other one, which was written here
	text string
}

// Forget drops what is remembered of routes: the bucket was put back.
func (s *routes) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.read)
}

// remembered is the revision of a service's route as far as it is known here.
func (s *routes) remembered(service string) uint64 { return s.last(service).Revision }
