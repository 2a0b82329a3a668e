package relay

import (
	"slices"
	"sync"
	"time"
)

// waitingRoom keeps the requests that are held, in the order in which they came.
type waitingRoom struct {
	mu       sync.Mutex
	requests []request
}

// entry is what becomes of a request that wants to wait.
type entry int

const (
	waits entry = iota
	full        // as many wait as may
	late        // what it wants to wait for has happened
)

// enter has a request wait, unless it is no longer early. Who empties the room makes sure
// of that first, so that nobody enters behind it.
func (w *waitingRoom) enter(q request, most int, early func() bool) entry {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !early():
		return late
	case len(w.requests) >= most:
		return full
	}
	if q.held.IsZero() {
		q.held = time.Now()
	}
	w.requests = append(w.requests, q)
	return waits
}

// empty gives all that wait.
func (w *waitingRoom) empty() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := w.requests
	w.requests = nil
	return all
}

// since gives those that have been held since before a time; they wait no longer.
func (w *waitingRoom) since(before time.Time) (gone []request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.requests = slices.DeleteFunc(w.requests, func(q request) bool {
		old := q.held.Before(before)
		if old {
			gone = append(gone, q)
		}
		return old
	})
	return gone
}

func (w *waitingRoom) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return int64(len(w.requests))
}
