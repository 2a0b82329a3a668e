package fleet

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Hosts tells what agents have done for a step of a rollout in the direction that it has, by
// name, with the end of what they wrote.
func (f *Fleet) Hosts(ctx context.Context, id string, step rollout.Step) ([]protocol.Host, error) {
	found, err := f.entries(ctx, id, step.Number, step.Revert)
	hosts := make([]protocol.Host, len(found))
	for i, e := range found {
		hosts[i] = e.Host
	}
	return hosts, err
}
