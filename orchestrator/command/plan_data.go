package command

import (
	"context"
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
)

// noData lists the streams in which a release says that the data of its services is, and which
// are not there. A service that is not online in any version may make its own once it starts.
func (c *planner) noData(ctx context.Context, r rollout.Release, g planInputs) ([]string, error) {
	var missing []string
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	for _, service := range snapshot.ServicesOf(r) {
		if len(g.basis.Facts().Routes[service.Name].Online) == 0 {
			continue
		}
		for _, p := range service.Parts {
			if p.Kept() {
				continue
			}
			_, err := js.Stream(ctx, p.Stream())
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				missing = append(missing, p.Stream())
				continue
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return missing, nil
}
