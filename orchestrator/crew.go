package orchestrator

import "sync"

// crew does what comes from the bus, each task in a goroutine of its own, until it is
// dismissed. The zero crew is ready for work; it is safe for concurrent use.
type crew struct {
	mu        sync.Mutex
	dismissed bool
	busy      sync.WaitGroup
}

// do starts a task, unless the crew has been dismissed.
func (c *crew) do(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dismissed {
		c.busy.Go(task)
	}
}

// dismiss takes no more tasks and waits for those under way.
func (c *crew) dismiss() {
	c.mu.Lock()
	c.dismissed = true
	c.mu.Unlock()
	c.busy.Wait()
}
