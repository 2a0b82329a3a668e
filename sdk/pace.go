package sdk

import (
	"sync"

	"github.com/golive-dev/golive/relay/protocol"
)

// Pace is how fast the orchestrator wants the script to work at the moment: as the start
// says, and what it has said since. A nil Rate and an InFlight of 0 are not named: the
// author's choice holds. A [Backfill] keeps to it by itself. Safe for concurrent use.
func (r *Run) Pace() protocol.Pace {
	if r.pace == nil {
		return protocol.Pace{}
	}
	now, _ := r.pace.now()
	return now
}

// pace is what an attempt has been told of its pace.
type pace struct {
	mu      sync.Mutex
	told    protocol.Pace
	changed chan struct{} // closed when there is something new
}

func newPace() *pace { return &pace{changed: make(chan struct{})} }

// add takes in what was told; nil is nothing.
func (p *pace) add(told *protocol.Pace) {
	if told == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told = merge(p.told, *told)
	close(p.changed)
	p.changed = make(chan struct{})
}

// now gives what holds, and what is closed when that changes.
func (p *pace) now() (protocol.Pace, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.told, p.changed
}

// merge is what holds after told came on top of before.
func merge(before, told protocol.Pace) protocol.Pace {
	if told.Rate != nil && *told.Rate >= 0 {
		before.Rate = told.Rate
	}
	if told.InFlight > 0 {
		before.InFlight = told.InFlight
	}
	return before
}
