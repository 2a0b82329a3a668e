package journal

import "sync"

// cache holds rollouts as they were after their latest events: what comes next is folded onto
// them. States of a rollout share the steps that are the same in them. It is safe for
// concurrent use.
type cache struct {
	mu      sync.Mutex
	records map[uint64]Record // by sequence
	order   []uint64          // oldest first
	steps   int               // of all records together
}

// What is held: so many records, some two kilobytes each, with so many steps together, eight
// bytes each.
const (
	keepRecords = 4096
	keepSteps   = 1 << 19
)

func (c *cache) get(sequence uint64) (Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, known := c.records[sequence]
	return r, known
}

func (c *cache) put(r Record) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.records[r.Sequence]; known {
		return
	}
	if c.records == nil {
		c.records = make(map[uint64]Record)
	}
	c.records[r.Sequence] = r
	c.order = append(c.order, r.Sequence)
	c.steps += weight(r)
	for (c.steps > keepSteps || len(c.order) > keepRecords) && len(c.order) > 1 {
		c.steps -= weight(c.records[c.order[0]])
		delete(c.records, c.order[0])
		c.order = c.order[1:]
	}
}

// forget empties the cache.
func (c *cache) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.records, c.order, c.steps = nil, nil, 0
}

// weight is what a record counts for; one without steps is not free.
func weight(r Record) int { return len(r.State.Steps) + 16 }
