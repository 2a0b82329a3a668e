package sdk

import (
	"cmp"
	"context"
	"sync"
	"time"
)

// Paused reports whether the orchestrator holds the script up.
func (r *Run) Paused() bool { return r.clock != nil && r.clock.held() != nil }

// AwaitResume blocks while the script is paused. It returns nil when the script may go on,
// at once when it is not paused, and an error when ctx or the script's own context has ended.
//
// A script that calls it between two pieces of work honours both a pause and its end:
//
//	for _, todo := range todos {
//		if err := run.AwaitResume(ctx); err != nil {
//			return err
//		}
//		…
//	}
//
// A run that only helps with the [Backfill] of another instance is never paused: that
// instance holds the work.
func (r *Run) AwaitResume(ctx context.Context) error {
	if r.clock == nil {
		return ctx.Err()
	}
	return r.clock.await(ctx)
}

// paused is [Run.Paused] of the script whose context it is, or is derived from; any other
// is never paused.
func paused(ctx context.Context) bool {
	c, ok := ctx.Value(clockKey{}).(*clock)
	return ok && c.held() != nil
}

// awaitResume is [Run.AwaitResume] of the script whose context it is, or is derived from.
func awaitResume(ctx context.Context) error {
	if c, ok := ctx.Value(clockKey{}).(*clock); ok {
		return c.await(ctx)
	}
	return ctx.Err()
}

// clockKey is what a script's context has its clock under.
type clockKey struct{}

// clock is the context of a script. Its deadline can be moved, and never passes while the
// script is paused. Its cause tells why it has ended: errCancelled,
// [context.DeadlineExceeded], or the cause of the context that it was made from.
type clock struct {
	context.Context                         // ends when the script is to end
	end             context.CancelCauseFunc // ends it, with the reason
	done            chan struct{}           // closed once Context has ended
	pace            *pace

	mu       sync.Mutex
	deadline time.Time     // zero: none
	timer    *time.Timer   // ends the clock at the deadline; nil while it stands still
	resumed  chan struct{} // closed when the script may go on; nil: it is not paused
	pausedAt time.Time     // while it is paused
	idle     time.Duration // of the pauses that are over
}

// newClock gives a clock without a deadline. It takes the time of its caller until stop.
func newClock(ctx context.Context) *clock {
	inner, end := context.WithCancelCause(ctx)
	c := &clock{Context: inner, end: end, done: make(chan struct{}), pace: newPace()}
	context.AfterFunc(inner, func() { close(c.done) })
	return c
}

// stop ends the clock, once the script has.
func (c *clock) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halt()
	c.end(nil)
}

// pause holds the script up: until goOn, no deadline passes.
func (c *clock) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halt()
	if c.resumed == nil {
		c.resumed, c.pausedAt = make(chan struct{}), time.Now()
	}
}

// goOn lets the script work until the deadline; zero is none. It also moves the deadline
// of a script that is not paused.
func (c *clock) goOn(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.halt()
	if c.resumed != nil {
		close(c.resumed)
		c.resumed = nil
		c.idle += time.Since(c.pausedAt)
	}
	c.deadline = deadline
	if deadline.IsZero() {
		return
	}
	left := time.Until(deadline)
	if left <= 0 { // before anybody can begin
		c.end(context.DeadlineExceeded)
		return
	}
	var timer *time.Timer
	timer = time.AfterFunc(left, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.timer == timer { // else it went off just as the deadline was taken away
			c.end(context.DeadlineExceeded)
		}
	})
	c.timer = timer
}

// halt stops the timer. The caller holds mu.
func (c *clock) halt() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// await blocks while the script is paused, unless ctx or the clock ends.
func (c *clock) await(ctx context.Context) error {
	for resumed := c.held(); resumed != nil; resumed = c.held() {
		select {
		case <-resumed:
		case <-ctx.Done():
			return ctx.Err()
		case <-c.Done(): // ctx may outlive the script
			return c.Err()
		}
	}
	return cmp.Or(ctx.Err(), c.Err())
}

// held gives what is closed when the script may go on; nil when it is not paused.
func (c *clock) held() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resumed
}

// idled is how long the script has been paused so far.
func (c *clock) idled() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumed != nil {
		return c.idle + time.Since(c.pausedAt)
	}
	return c.idle
}

// Deadline is the current one; there is none of its own while the script is paused.
func (c *clock) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	outer, ok := c.Context.Deadline()
	if c.resumed != nil || c.deadline.IsZero() || ok && outer.Before(c.deadline) {
		return outer, ok
	}
	return c.deadline, true
}

// Err is [context.DeadlineExceeded] once the deadline has passed.
func (c *clock) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// Done is a channel other than Context's, for package context to see that this is not
// Context: a context derived from the clock then has the clock's Err.
func (c *clock) Done() <-chan struct{} { return c.done }

// AfterFunc spares package context a goroutine for each context derived from the clock.
func (c *clock) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(c.Context, f) }

// Value finds the clock itself, and what the outer context has.
func (c *clock) Value(key any) any {
	if key == (clockKey{}) {
		return c
	}
	return c.Context.Value(key)
}
