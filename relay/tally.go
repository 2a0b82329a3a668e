package relay

import "sync/atomic"

// tally counts what is under way.
type tally struct {
	n       atomic.Int64
	awaited atomic.Bool   // whether idle is told
	idle    chan struct{} // capacity 1: told when n has fallen to 0
}

func (t *tally) init() { t.idle = make(chan struct{}, 1) }

func (t *tally) begin() { t.n.Add(1) }

func (t *tally) end() {
	if t.n.Add(-1) == 0 && t.awaited.Load() {
		tell(t.idle)
	}
}

// wait blocks until nothing is under way. Only one may wait at a time.
func (t *tally) wait() {
	for t.awaited.Store(true); t.n.Load() > 0; {
		<-t.idle
	}
}

// tell leaves a word for whoever looks next; one is enough.
func tell(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
