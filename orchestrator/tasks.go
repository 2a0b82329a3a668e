package orchestrator

import "sync"

// tasks are done as they come from the bus, each in a goroutine of its own, until they are
// dismissed. The zero value is ready; it is safe for concurrent use.
type tasks struct {
	mu        sync.Mutex
	dismissed bool
	busy      sync.WaitGroup
}

// do starts a task, unless tasks are no more taken.
func (c *tasks) do(task func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dismissed {
		c.busy.Go(task)
	}
}

// dismiss takes no more tasks and waits for those under way.
func (c *tasks) dismiss() {
	c.mu.Lock()
	c.dismissed = true
	c.mu.Unlock()
	c.busy.Wait()
}
