package relay

import "sync"

// workerPool runs the requests that it is given, at most so many at once. Its workers are kept:
// a goroutine made for each request costs a third of the throughput of short handlers
// (measured). One more worker is called when there is more to do than those at work have
// taken, so a handler that blocks holds up nobody.
type workerPool struct {
	most int // workers

	mu      sync.Mutex
	queue   []request // in order; the first one to be taken is at next
	next    int
	workers int
	idle    int
	calling bool // a worker was called and has not come yet
	ended   bool
	more    sync.Cond // for idle workers
	room    sync.Cond // for those who give
	working sync.WaitGroup
	run     func(*request)
}

func newWorkerPool(most int, run func(*request)) *workerPool {
	c := &workerPool{most: most, run: run}
	c.more.L, c.room.L = &c.mu, &c.mu
	return c
}

// give has a request run. It blocks while as many as the pool has workers wait already.
func (c *workerPool) give(q request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.queue)-c.next >= c.most {
		c.room.Wait()
	}
	c.queue = append(c.queue, q)
	c.call()
}

// call has one more worker come, unless one is on its way or all are at work.
func (c *workerPool) call() {
	switch {
	case c.calling:
	case c.idle > 0:
		c.calling = true
		c.more.Signal()
	case c.workers < c.most:
		c.calling = true
		c.workers++
		c.working.Go(c.work)
	}
}

func (c *workerPool) work() {
	var q request
	for c.take(&q) {
		c.run(&q)
	}
}

// take blocks until there is a request to run; false when the pool has ended.
func (c *workerPool) take(q *request) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.calling = false
	for c.next == len(c.queue) {
		if c.ended {
			return false
		}
		c.idle++
		c.more.Wait()
		c.idle--
		c.calling = false
	}
	*q = c.queue[c.next]
	c.queue[c.next] = request{}
	c.next++
	if c.next == len(c.queue) {
		c.queue, c.next = c.queue[:0], 0
	} else {
		c.call()
	}
	if len(c.queue)-c.next < c.most {
		c.room.Signal()
	}
	return true
}

// end waits for what has been given, and then for the workers to leave.
func (c *workerPool) end() {
	c.mu.Lock()
	c.ended = true
	c.more.Broadcast()
	c.mu.Unlock()
	c.working.Wait()
}
