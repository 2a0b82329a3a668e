package gate_test

import (
	"sync"
	"time"
)

// outage is a time after which what an instance, or a server, had taken before can be
// gone.
type outage struct {
	pid  int // of the instance; 0: a server
	from int64
	to   int64 // nothing is handed to it any more
	woke bool  // it went on: it has lost nothing, but may answer an error for what it was at work on
}

// busyFor is for how long an instance may have had a request that it could answer at
// once: this machine is busy.
const busyFor = int64(500 * time.Millisecond)

// noticed is how long it takes a server to see that a process is gone that has been
// reaped: its connections are closed by then.
const noticed = int64(100 * time.Millisecond)

// outages are all that there were in a test.
type outages struct {
	mu  sync.Mutex
	all []outage
}

func (o *outages) add(one outage) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.all = append(o.all, one)
}

// excuse says which requests may have no answer, or an error, because of an outage: those
// that were sent while an instance can have had them that did not live to answer them. It
// can have had them for long only if it held them: while no version was online.
func (o *outages) excuse(holds []span) func(call) bool {
	return func(c call) bool {
		for _, one := range o.all {
			from := one.from - busyFor
			for _, h := range holds {
				if h.from <= from && from <= h.to+busyFor {
					from = h.from - busyFor
				}
			}
			if from <= c.sent && c.sent <= one.to && (one.woke && c.lapsed() || !one.woke && c.lost()) {
				return true
			}
		}
		return false
	}
}

// stopped reports whether the process that answered a call was stopped at any time.
func (o *outages) stopped(c call) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, one := range o.all {
		if one.pid == c.pid {
			return true
		}
	}
	return false
}
