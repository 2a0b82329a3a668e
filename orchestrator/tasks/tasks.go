// Package tasks runs what comes from the bus: callbacks that arrive at any time, also while
// whoever takes them is about to end.
package tasks

import (
	"context"
	"sync"
	"time"
)

// Group does tasks as they come, each in a goroutine of its own, until it is dismissed. The
// zero value is ready; it is safe for concurrent use.
type Group struct {
	mu        sync.Mutex
	dismissed bool
	busy      sync.WaitGroup
}

// Do starts a task, and reports whether it has: not once the group was dismissed. It does not
// block.
func (g *Group) Do(task func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.dismissed {
		g.busy.Go(task)
	}
	return !g.dismissed
}

// Dismiss takes no more tasks and waits for those under way.
func (g *Group) Dismiss() {
	g.mu.Lock()
	g.dismissed = true
	g.mu.Unlock()
	g.busy.Wait()
}

// Pause waits for a time, at most until ctx ends.
func Pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
