package terminal

import (
	"sync/atomic"
	"time"
)

// ahead is how far this machine's clock is before the one by which times are told.
var ahead atomic.Int64

// ClockAhead says how far this machine's clock is before the one by which the times are told that
// come from elsewhere, negative if it is behind; what this process tells of them from then on
// counts from that other clock. It is safe for concurrent use.
func ClockAhead(by time.Duration) { ahead.Store(int64(by)) }

// Now is the time by the clock that times from elsewhere are told by; this machine's own while
// nobody has said otherwise.
func Now() time.Time { return time.Now().Add(-time.Duration(ahead.Load())) }

// since is how long ago a time was that comes from elsewhere.
func since(t time.Time) time.Duration { return Now().Round(0).Sub(t) }
