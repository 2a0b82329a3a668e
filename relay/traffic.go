package relay

import (
	"sync/atomic"
	"time"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// endpoint is a message of a service, and what has come of its production requests.
type endpoint struct {
	message string
	handler Handler
	stream  StreamHandler // nil: it answers plainly

	requests, failed, working atomic.Int64 // working: nanoseconds in the handler
}

// traffic is the part of an instance that every production request goes through.
type traffic struct {
	role   atomic.Pointer[role]
	leased atomic.Pointer[lease] // the newest; nil: none yet
	lapsed chan struct{}         // capacity 1: told when a request comes after that
	busy   tally                 // production requests that are being answered
	held   waitingRoom           // production requests that wait for the next role
	looked func()                // called between the two looks at the role; nil but in tests

	forwarded atomic.Int64
}

// mayAnswer reports whether the instance's lease has not run out at the time given.
func (t *traffic) mayAnswer(at bus.Instant) bool {
	if t.leased.Load().covers(at) {
		return true
	}
	tell(t.lapsed)
	return false
}

// trafficStats is what `nats micro stats` shows of an endpoint beside the requests at
// its private address. Forwarded, held, busy and streams are of the whole instance.
type trafficStats struct {
	State       protocol.VersionState `json:"state"`
	Revision    uint64                `json:"revision"`
	Requests    int64                 `json:"productionRequests"`
	Errors      int64                 `json:"productionErrors"`
	AverageTime time.Duration         `json:"productionAverageProcessingTime"` // in nanoseconds, as NATS's own
	Forwarded   int64                 `json:"forwarded"`
	Held        int64                 `json:"held"`
	Busy        int64                 `json:"busy"`
	Streams     int64                 `json:"streams"`
}

func (r *requests) stats(e *endpoint) trafficStats {
	at := r.traffic.role.Load()
	s := trafficStats{
		State: at.state, Revision: at.revision, Requests: e.requests.Load(), Errors: e.failed.Load(),
		Forwarded: r.traffic.forwarded.Load(), Held: r.traffic.held.count(), Busy: r.traffic.busy.n.Load(),
		Streams: r.streams.count(),
	}
	if s.Requests > 0 {
		s.AverageTime = time.Duration(e.working.Load() / s.Requests)
	}
	return s
}
