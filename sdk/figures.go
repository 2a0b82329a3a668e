package sdk

import (
	"cmp"
	"context"
	"math"
	"time"
)

// figures are those of one backfill of a script.
type figures struct {
	done, total, putAside int64
	items                 int64 // of done, without those that were put aside
	rate, average, limit  float64
	held, note            string
}

// tell takes in the figures of a backfill. What a script tells is the sum of all that it
// has run so far.
func (r *Run) tell(backfill string, f figures) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, there := r.figures[backfill]; there && before == f {
		return
	}
	if r.figures == nil {
		r.figures = make(map[string]figures)
	}
	r.figures[backfill] = f
	var done, total, putAside int64
	r.items = 0
	for _, each := range r.figures {
		done, total, putAside = done+each.done, total+each.total, putAside+each.putAside
		r.items += each.items
	}
	p := &r.progress
	p.Done, p.Total, p.PutAside = &done, total, putAside
	p.Rate, p.Average, p.Limit, p.Held, p.Note = f.rate, f.average, f.limit, f.held, cmp.Or(f.note, r.note)
	r.changes++
}

// keepTelling tells the figures until ctx ends.
func (c *conductor) keepTelling(ctx context.Context) {
	for pause(ctx, tellEvery) {
		c.tell(ctx)
	}
}

// tell tells the figures of the moment.
func (c *conductor) tell(ctx context.Context) {
	limit := c.setting().rate
	c.mu.Lock()
	defer c.mu.Unlock()
	f := figures{done: c.done(), total: c.total, putAside: c.putAside, limit: limit, held: c.throttled}
	if f.items = f.done; !c.again {
		f.items = max(f.done-f.putAside, 0)
	}
	if c.moving {
		c.meter.add(time.Now(), f.done)
		f.rate, c.average = rounded(c.meter.rate()), rounded(c.meter.average(c.idle()))
	}
	f.average = c.average
	if c.checking != "" {
		f.note = "check: " + c.checking
	}
	if c.plan.total != nil && f.total == 0 {
		f.total = c.plan.total()
	}
	if paused(ctx) {
		f.held = "paused"
	}
	c.run.tell(c.name, f)
}

// left is how many records are put aside, now that all is done.
func (c *conductor) left(ctx context.Context) (int64, error) {
	if c.aside == nil {
		return 0, nil
	}
	if c.run.Start.Rollout != "" { // else they are kept nowhere
		all, err := c.aside.list(ctx)
		if err != nil {
			return 0, err
		}
		c.change(func() { c.putAside = int64(len(all)) })
	}
	c.tell(ctx)
	return c.putAside, nil
}

// rounded leaves three digits: more is noise.
func rounded(x float64) float64 {
	if x <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-2)
	return math.Round(math.Round(x/unit)*unit*1000) / 1000
}

// idling tells how long the script of a context has been paused so far.
func idling(ctx context.Context) func() time.Duration {
	if c, ok := ctx.Value(clockKey{}).(*clock); ok {
		return c.idled
	}
	return func() time.Duration { return 0 }
}

// done is how many records are dealt with, in all attempts; of those that were put aside,
// how many could be dealt with in this one. The caller holds mu, or is alone.
func (c *conductor) done() (n int64) {
	if c.again {
		return c.total - c.putAside
	}
	for _, p := range c.passage.Parts {
		n += p.Done
	}
	return n
}
