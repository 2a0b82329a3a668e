package main

import (
	"context"
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/bus"
)

// keepTime has what is told of times count from the bus's clock, as far as the answers so far
// tell it, and says so where this machine's is another.
func (c *command) keepTime(client *api.Client) {
	ahead, known := client.Ahead()
	if !known || ahead == 0 {
		return
	}
	terminal.ClockAhead(ahead)
	if ahead.Abs() > bus.ClockTolerance {
		fmt.Fprintf(c.Err, "! The clock of this machine is %s the bus's; times ago are told by the bus's.\n", tellAhead(ahead))
	}
}

// tellAhead says how one clock stands to another.
func tellAhead(ahead time.Duration) string {
	way := "ahead of"
	if ahead < 0 {
		way = "behind"
	}
	return terminal.Took(ahead.Abs().Round(time.Second)) + " " + way
}

// clocksThatDiffer says which orchestrators have another clock than the bus; nothing where none
// has, or none tells.
func clocksThatDiffer(ctx context.Context, client *api.Client) []string {
	v, err := client.Version(ctx)
	if err != nil {
		return nil // an older one: what was asked for is told all the same
	}
	var all []string
	for _, o := range v.Clocks {
		all = append(all, fmt.Sprintf("! The clock of the orchestrator on %s is %s the bus's: set it, as by NTP. What it does is dated by the bus.",
			terminal.Flat(o.Host), tellAhead(time.Duration(o.Ahead))))
	}
	return all
}
