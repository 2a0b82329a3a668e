package sdk

import (
	"context"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

const (
	defaultHeartbeat = 5 * time.Second        // of a start that names none
	progressEvery    = 100 * time.Millisecond // at most so often
)

// heartbeatOf is how often an attempt has to give a sign of life, as its start says.
func heartbeatOf(start protocol.StartMessage) time.Duration {
	if start.Heartbeat > 0 {
		return time.Duration(start.Heartbeat)
	}
	return defaultHeartbeat
}

// heartbeat publishes a sign of life at once, then what the script told when that has
// changed, and a repetition within the time that the orchestrator expects.
func (a *attempt) heartbeat(ctx context.Context, run *Run) {
	every := heartbeatOf(a.start)
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	run.publish(protocol.ProgressMessage{})
	last, sent := time.Now(), 0
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			told, changes := run.lastProgress()
			if changes == sent && now.Sub(last) < every/2 {
				continue
			}
			run.publish(told)
			last, sent = now, changes
		}
	}
}
