package bus

import (
	"sync"
	"time"
)

// ClockTolerance is by how much a clock may differ from the bus's until people are told.
const ClockTolerance = 2 * time.Second

// A reading of the bus's clock is replaced by a later one, unless that is much less exact.
const (
	clockExact = 100 * time.Millisecond // so exact is exact enough
	clockKeeps = time.Minute            // so long a more exact one counts
)

// Clock tells the time of the bus, which is the same for all who are connected to it, however
// their own clocks differ. It knows that from answers of servers, each of which carries the time
// at which it was given: somewhere between the question and the answer, by our own clock. What
// may be our own clock's is taken for that, so that clocks which agree are left alone. The zero
// value, and a nil Clock, tell our own time. It is safe for concurrent use.
type Clock struct {
	own func() time.Time // [time.Now]; another one in tests

	mu    sync.Mutex
	ahead time.Duration // our own clock is at least so far before the bus's; negative: behind
	width time.Duration // of the answer that says so
	read  time.Time     // when that came; zero: there was none
}

// NewClock makes a clock on a machine whose own time is told by own.
func NewClock(own func() time.Time) *Clock { return &Clock{own: own} }

// Own is the time of this machine.
func (c *Clock) Own() time.Time {
	if c == nil || c.own == nil {
		return time.Now()
	}
	return c.own()
}

// Now is the time of the bus, in UTC.
func (c *Clock) Now() time.Time { return c.Of(c.Own()) }

// Of is a time of this machine as the bus tells it, in UTC.
func (c *Clock) Of(own time.Time) time.Time {
	ahead, _ := c.Ahead()
	if own.IsZero() || ahead == 0 {
		return own.UTC()
	}
	return own.Round(0).Add(-ahead).UTC() // no elapsed time can be read from it
}

// Ahead is how far this machine's clock is before the bus's, negative if it is behind; false says
// that the bus's is not known.
func (c *Clock) Ahead() (ahead time.Duration, known bool) {
	if c == nil {
		return 0, false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead, !c.read.IsZero()
}

// Heard takes in the time at which a server says that it has answered, with when it was asked and
// when the answer came, by this machine's clock.
func (c *Clock) Heard(asked, came, server time.Time) {
	if server.IsZero() || came.Before(asked) {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	width := came.Sub(asked)
	if !c.read.IsZero() && width > max(clockExact, 2*c.width) && came.Sub(c.read) < clockKeeps {
		return
	}
	least, most := asked.Round(0).Sub(server), came.Round(0).Sub(server)
	c.ahead, c.width, c.read = min(max(0, least), most), width, came
}
