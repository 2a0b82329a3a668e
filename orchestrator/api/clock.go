package api

import (
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// ClockStatus is an orchestrator whose own clock differs from the bus's by more than
// [bus.ClockTolerance]. What it does is dated by the bus all the same.
type ClockStatus struct {
	From  string           `json:"from"`  // which orchestrator
	Host  string           `json:"host"`  // where it runs
	Ahead rollout.Duration `json:"ahead"` // of the bus's; negative: behind it
}

// Ahead is how far the clock of this machine is before the bus's, as the answers so far tell;
// negative if it is behind. False says that it is not known: there was no answer, or it was an
// older orchestrator's.
func (c *Client) Ahead() (time.Duration, bool) { return c.clock.Ahead() }

// heard takes in what an answer tells about the time of the bus.
func (c *Client) heard(asked time.Time, m *nats.Msg) {
	if at, err := time.Parse(time.RFC3339Nano, m.Header.Get(protocol.HeaderTime)); err == nil {
		c.clock.Heard(asked, c.clock.Own(), at)
	}
}
