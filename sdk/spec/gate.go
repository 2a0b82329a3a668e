package spec

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// makeBuckets makes the buckets that services and setup services look into, where
// they are missing.
func makeBuckets(ctx context.Context, nc *nats.Conn) error {
	if _, _, err := bus.MakeRoutes(ctx, nc, "", 1); err != nil {
		return err
	}
	for _, b := range []bus.Bucket{bus.Claims, bus.Checkpoints, bus.FailedRecords} {
		if _, err := bus.Make(ctx, nc, b, "", 1); err != nil {
			return err
		}
	}
	return nil
}

// moveTraffic writes a route and blocks until that many instances of its service
// act on it.
func moveTraffic(ctx context.Context, nc *nats.Conn, route protocol.Route, instances int) error {
	heard, err := listenToInstances(nc, route.Service)
	if err != nil {
		return err
	}
	defer heard.stop()
	revision, err := putRoute(ctx, nc, route)
	if err != nil {
		return err
	}
	return heard.await(ctx, instances, func(c protocol.Confirmation) bool {
		return c.Revision >= revision && c.State == route.State(c.Version)
	})
}

func putRoute(ctx context.Context, nc *nats.Conn, route protocol.Route) (uint64, error) {
	js, err := bus.NewJetStream(nc)
	if err != nil {
		return 0, err
	}
	kv, err := js.KeyValue(ctx, protocol.RoutesBucket)
	if err != nil {
		return 0, fmt.Errorf("open bucket %s: %w", protocol.RoutesBucket, err)
	}
	value, err := json.Marshal(route)
	if err != nil {
		return 0, err
	}
	revision, err := kv.Put(ctx, route.Service, value)
	if err != nil {
		return 0, fmt.Errorf("write the route of %s: %w", route.Service, err)
	}
	if err := nc.Publish(protocol.RouteSubject(route.Service), nil); err != nil {
		return 0, fmt.Errorf("tell that the route of %s has changed: %w", route.Service, err)
	}
	return revision, nil
}

// onlineRoute gives a service's traffic to one version; to none when it is empty.
func onlineRoute(rollout, service, version string) protocol.Route {
	route := protocol.Route{Service: service, Rollout: rollout, Versions: []protocol.RouteVersion{}}
	if version != "" {
		route.Versions = append(route.Versions, protocol.RouteVersion{Version: version, State: protocol.StateOnline})
	}
	return route
}

// confirmations are what the instances of a service tell about their route.
type confirmations struct {
	service string
	sub     *nats.Subscription
}

func listenToInstances(nc *nats.Conn, service string) (*confirmations, error) {
	sub, err := nc.SubscribeSync(protocol.ConfirmSubject(service, "*"))
	if err != nil {
		return nil, fmt.Errorf("listen to the instances of %s: %w", service, err)
	}
	return &confirmations{service, sub}, nil
}

func (c *confirmations) stop() { _ = c.sub.Unsubscribe() } // the connection may be gone

// await blocks until that many instances have told something that is right.
func (c *confirmations) await(ctx context.Context, instances int, right func(protocol.Confirmation) bool) error {
	told := make(map[string]bool)
	for len(told) < instances {
		m, err := c.sub.NextMsgWithContext(ctx)
		if err != nil {
			return fmt.Errorf("%d of %d instances of %s have confirmed their route: %w", len(told), instances, c.service, err)
		}
		var confirmation protocol.Confirmation
		if json.Unmarshal(m.Data, &confirmation) == nil && right(confirmation) {
			told[m.Subject] = true
		}
	}
	return nil
}
