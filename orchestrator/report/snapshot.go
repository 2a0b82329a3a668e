package report

import (
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// Moment says whether a snapshot was cut at one moment.
func Moment(m snapshot.Moment) string {
	paused := ""
	if m.Paused {
		paused = ", while all its services were under maintenance"
	}
	if m.One {
		return "of one moment" + paused
	}
	return fmt.Sprintf("not of one moment: %s stored within the %s in which its streams were cut%s",
		was(m.Skew, "message"), terminal.Took(time.Duration(m.Within)), paused)
}

// was is a number of things with its verb.
func was(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return terminal.Grouped(int64(n)) + " " + what + "s were"
}
