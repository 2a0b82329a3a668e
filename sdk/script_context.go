package sdk

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Paused reports whether the orchestrator holds the script up.
func (r *Run) Paused() bool { return r.script != nil && r.script.pauseEnd() != nil }

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
	if r.script == nil {
		return ctx.Err()
	}
	return r.script.await(ctx)
}

// paused is [Run.Paused] of the script whose context it is, or is derived from; any other
// is never paused.
func paused(ctx context.Context) bool {
	c, ok := ctx.Value(scriptContextKey{}).(*scriptContext)
	return ok && c.pauseEnd() != nil
}

// awaitResume is [Run.AwaitResume] of the script whose context it is, or is derived from.
func awaitResume(ctx context.Context) error {
	if c, ok := ctx.Value(scriptContextKey{}).(*scriptContext); ok {
		return c.await(ctx)
	}
	return ctx.Err()
}

// scriptContextKey is the key under which a scriptContext finds itself.
type scriptContextKey struct{}

// scriptContext is the context of a script. Its deadline can be moved, and never passes while
// the script is paused. Its cause tells why it has ended: errCancelled,
// [context.DeadlineExceeded], or the cause of the context that it was made from.
type scriptContext struct {
	context.Context                         // ends when the script is to end
	end             context.CancelCauseFunc // ends it, with the reason
	done            chan struct{}           // closed once Context has ended
	pace            *pace

	mu       sync.Mutex
	deadline time.Time     // zero: none
	timer    *time.Timer   // ends it at the deadline; nil: the deadline stands still, or there is none
	resumed  chan struct{} // closed when the script may go on; nil: it is not paused
	pausedAt time.Time     // while it is paused
	paused   time.Duration // in the pauses that are over
}

// newScriptContext gives a context without a deadline. Its caller calls stop in the end.
func newScriptContext(ctx context.Context) *scriptContext {
	inner, end := context.WithCancelCause(ctx)
	c := &scriptContext{Context: inner, end: end, done: make(chan struct{}), pace: newPace()}
	context.AfterFunc(inner, func() { close(c.done) })
	return c
}

// cancel ends the context because the orchestrator says so. It does that at the deadline, too, and
// what it says can be here before the own timer goes off: then it is the deadline that ends it.
func (c *scriptContext) cancel() {
	c.mu.Lock()
	defer c.mu.Unlock()
	cause := errCancelled
	if c.timer != nil && time.Until(c.deadline) < cancelSlack {
		cause = context.DeadlineExceeded
	}
	c.end(cause)
}

// cancelSlack is how much earlier than by the own clock the deadline may have passed for the
// orchestrator, from where the start has taken a while to come.
const cancelSlack = 250 * time.Millisecond

// stop ends the context, once the script has.
func (c *scriptContext) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	c.end(nil)
}

// pause holds the script up: until resume, no deadline passes.
func (c *scriptContext) pause() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	if c.resumed == nil {
		c.resumed, c.pausedAt = make(chan struct{}), time.Now()
	}
}

// resume lets the script work until the deadline; zero is none. It also moves the deadline
// of a script that is not paused.
func (c *scriptContext) resume(deadline time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopTimer()
	if c.resumed != nil {
		close(c.resumed)
		c.resumed = nil
		c.paused += time.Since(c.pausedAt)
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

// stopTimer stops the timer. The caller holds mu.
func (c *scriptContext) stopTimer() {
	if c.timer != nil {
		c.timer.Stop()
		c.timer = nil
	}
}

// await blocks while the script is paused, unless ctx or the script ends.
func (c *scriptContext) await(ctx context.Context) error {
	for resumed := c.pauseEnd(); resumed != nil; resumed = c.pauseEnd() {
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

// told is what the script goes by of what it was told.
func (c *scriptContext) told() *protocol.Told {
	told := &protocol.Told{Paused: c.pauseEnd() != nil}
	if pace, _ := c.pace.now(); pace.Rate != nil || pace.InFlight > 0 {
		told.Pace = &pace
	}
	return told
}

// pauseEnd gives what is closed when the script may go on; nil when it is not paused.
func (c *scriptContext) pauseEnd() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.resumed
}

// pausedFor is how long the script has been paused so far.
func (c *scriptContext) pausedFor() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.resumed != nil {
		return c.paused + time.Since(c.pausedAt)
	}
	return c.paused
}

// Deadline is the current one; there is none of its own while the script is paused.
func (c *scriptContext) Deadline() (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	outer, ok := c.Context.Deadline()
	if c.resumed != nil || c.deadline.IsZero() || ok && outer.Before(c.deadline) {
		return outer, ok
	}
	return c.deadline, true
}

// Err is [context.DeadlineExceeded] once the deadline has passed.
func (c *scriptContext) Err() error {
	err := c.Context.Err()
	if err != nil && context.Cause(c.Context) == context.DeadlineExceeded {
		return context.DeadlineExceeded
	}
	return err
}

// Done is a channel other than Context's, for package context to see that this is not
// Context: a context derived from this one then has the Err of this one.
func (c *scriptContext) Done() <-chan struct{} { return c.done }

// AfterFunc spares package context a goroutine for each derived context.
func (c *scriptContext) AfterFunc(f func()) (stop func() bool) {
	return context.AfterFunc(c.Context, f)
}

// Value finds the scriptContext itself, and what the outer context has.
func (c *scriptContext) Value(key any) any {
	if key == (scriptContextKey{}) {
		return c
	}
	return c.Context.Value(key)
}
