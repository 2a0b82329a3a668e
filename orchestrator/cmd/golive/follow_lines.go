package main

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// maxLogged is how many lines of scripts may wait to be shown; more than that are dropped.
const maxLogged = 64 << 10

// holdFor is how long lines of scripts are held at most for an event to be told before them.
const holdFor = time.Second

// showLogs shows the lines of scripts that have come by now, up to the next event that is not
// told yet. The connection hands both over in the order of what it gets: what was logged
// before an event is shown before it, and what was logged because of it behind it.
func (f *follower) showLogs() {
	f.showing.Lock()
	defer f.showing.Unlock()
	for f.held.IsZero() || time.Since(f.held) > holdFor {
		select {
		case m := <-f.logs:
			f.held = time.Time{}
			if m.Subject != protocol.LogSubject(f.id) {
				if f.isNext(m) {
					f.held = time.Now()
				}
				continue
			}
			var l protocol.LogLine
			if json.Unmarshal(m.Data, &l) == nil {
				f.story.stepOutput(l.Step, l.Attempt, l.Text)
			}
		default:
			return
		}
	}
}

// isNext reports whether a message is the event behind the one that was told last, or a later
// one: a writer that was too late has named one before.
func (f *follower) isNext(m *nats.Msg) bool {
	var e struct {
		Previous uint64 `json:"previous"`
	}
	return json.Unmarshal(m.Data, &e) == nil && e.Previous >= f.last
}

// has says that an event was told: what was logged because of it is shown from now on.
func (f *follower) has(sequence uint64) {
	f.showing.Lock()
	defer f.showing.Unlock()
	f.last, f.held = sequence, time.Time{}
}
