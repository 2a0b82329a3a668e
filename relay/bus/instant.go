package bus

import "time"

// Instant is a moment by two clocks: the monotonic one, which nobody sets, and the one on
// the wall, because the monotonic one stands still while the machine is suspended. Leases are
// measured by it. It is comparable only with others of the same [Instants].
type Instant struct {
	ticks time.Duration // by the monotonic clock, since it was first looked at
	wall  time.Duration // by the clock on the wall, since 1970
}

// Add is the moment d later.
func (t Instant) Add(d time.Duration) Instant { return Instant{t.ticks + d, t.wall + d} }

// Before reports whether both clocks say that t comes before u.
func (t Instant) Before(u Instant) bool { return t.ticks < u.ticks && t.wall < u.wall }

// Instants tells the moment by both clocks. It is safe for concurrent use.
type Instants func() Instant

// NewInstants begins to count.
func NewInstants() Instants {
	first := time.Now()
	return func() Instant {
		now := time.Now()
		return Instant{ticks: now.Sub(first), wall: time.Duration(now.UnixNano())}
	}
}
