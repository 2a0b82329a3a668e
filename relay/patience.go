package relay

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

// maxPatience is as long as an answer of the bus is waited for at most: a lease may have to be
// stored, and the route read, before one of 20 s runs out.
const maxPatience = 8 * time.Second

// patience is how long an instance waits for an answer of the bus. The bus may be far away: it is
// twice as long after each answer that did not come in time, and twice as long as one has taken.
// It is safe for concurrent use; the zero value is that of a bus that is near.
type patience struct {
	learned atomic.Int64 // nanoseconds
}

// bound is how long to wait for what is waited for for so long at least.
func (p *patience) bound(least time.Duration) time.Duration {
	return max(least, time.Duration(p.learned.Load()))
}

// ask bounds so many questions to the bus, one after the other, and learns from how long they
// take.
func (p *patience) ask(ctx context.Context, least time.Duration, trips time.Duration, questions func(context.Context) error) error {
	bound, began := p.bound(least), time.Now()
	asking, cancel := context.WithTimeout(ctx, trips*bound)
	defer cancel()
	err := questions(asking)
	switch {
	case err == nil:
		p.learned.Store(int64(min(2*time.Since(began)/trips, maxPatience)))
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil:
		p.learned.Store(int64(min(2*bound, maxPatience)))
	}
	return err
}
