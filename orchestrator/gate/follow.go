package gate

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// Follow calls told with the route of each service as it is now and with each revision
// that is written, until ctx ends, which is no error, or told gives one. After a loss of
// the bus it goes on with the newest; revisions between may be left out. It blocks.
func (s *routes) Follow(ctx context.Context, told func(Route) error) error {
	changed := s.nc.StatusChanged(nats.CONNECTED)
	defer s.nc.RemoveStatusListener(changed)
	known := make(map[string]uint64)
	for ctx.Err() == nil {
		if err := s.followUntil(ctx, changed, known, told); err != nil {
			return err
		}
	}
	return nil
}

// followUntil follows until the connection is a new one, after which a watcher made on
// the one before may be blind.
func (s *routes) followUntil(ctx context.Context, changed <-chan nats.Status, known map[string]uint64, told func(Route) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	w, err := s.kv.WatchAll(ctx)
	if err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return fmt.Errorf("follow routes: %w", err)
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
			return nil
		case entry, open := <-w.Updates():
			if !open {
				return nil
			}
			if entry == nil || entry.Revision() <= known[entry.Key()] || entry.Key() == filler {
				continue // the end of what was there, what we know, or no route
			}
			known[entry.Key()] = entry.Revision()
			r, written := routeOf(entry)
			if !written {
				if _, err := s.Route(ctx, entry.Key()); err == nil { // which mends it
					continue
				}
			}
			if err := told(r); err != nil {
				return err
			}
		}
	}
}

// routeOf reads an entry; false says that it is none that an orchestrator has written, and then it
// lists nothing: the instances go by the one before, and say so in their logs.
func routeOf(entry jetstream.KeyValueEntry) (Route, bool) {
	r := Route{Revision: entry.Revision(), Since: entry.Created().UTC()}
	err := json.Unmarshal(entry.Value(), &r.Route)
	if whole := err == nil && r.Service == entry.Key(); !whole {
		r.Route = protocol.Route{Service: entry.Key()}
		return r, entry.Operation() != jetstream.KeyValuePut
	}
	r.Next = "" // it tells nobody here anything
	return r, true
}
