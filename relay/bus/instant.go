package bus

import "time"

// Instant is a moment by two clocks: the monotonic one, which nobody sets, and the one on
// the wall, because the monotonic one stands still while the machine is suspended. Leases are
// measured by it. It is comparable only with others of the same [Instants].
type Instant struct {
	Ticks time.Duration // by the monotonic clock, since it was first looked at
	Wall  time.Duration // by the clock on the wall, since 1970
}

// Add is the moment d later.
func (t Instant) Add(d time.Duration) Instant { return Instant{t.Ticks + d, t.Wall + d} }

// Before reports whether both clocks say that t comes before u.
func (t Instant) Before(u Instant) bool { return t.Ticks < u.Ticks && t.Wall < u.Wall }

// Instants tells the moment by both clocks. It is safe for concurrent use.
type Instants func() Instant

// NewInstants begins to count.
func NewInstants() Instants {
	first := time.Now()
	return func() Instant {
		now := time.Now()
		return Instant{Ticks: now.Sub(first), Wall: time.Duration(now.UnixNano())}
	}
}
