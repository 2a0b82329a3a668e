package sdk

import (
	"context"
	"math"
	"time"
)

// figures are those of one backfill of a script.
type figures struct {
	done, total, putAside int64
	rate, average, limit  float64
	held                  string
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
	for _, each := range r.figures {
		done, total, putAside = done+each.done, total+each.total, putAside+each.putAside
	}
	p := &r.progress
	p.Done, p.Total, p.PutAside = &done, total, putAside
	p.Rate, p.Average, p.Limit, p.Held = f.rate, f.average, f.limit, f.held
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
	done := c.done()
	c.meter.add(time.Now(), done)
	f := figures{
		done: done, total: c.total, putAside: c.putAside, limit: limit, held: c.throttled,
		rate: rounded(c.meter.rate()), average: rounded(c.meter.average(c.idle())),
	}
	if c.plan.total != nil && f.total == 0 {
		f.total = c.plan.total()
	}
	if Paused(ctx) {
		f.held = "paused"
	}
	c.run.tell(c.name, f)
}

// left is how many records are put aside, now that all is done. It tells the last figures:
// of a run that dealt with what was put aside, how many it could deal with.
func (c *conductor) left(ctx context.Context) (int64, error) {
	if c.aside == nil {
		return 0, nil
	}
	all, err := c.aside.list(ctx)
	if err != nil {
		return 0, err
	}
	left := int64(len(all))
	if c.run.Start.Rollout == "" { // kept nowhere
		left = c.putAside
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.run.figuresOf(c.name)
	f.putAside = left
	if c.again {
		f.done = c.total - left
	}
	c.run.tell(c.name, f)
	return left, nil
}

// figuresOf gives what was told last of a backfill.
func (r *Run) figuresOf(backfill string) figures {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.figures[backfill]
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

// done is how many records are dealt with, in all attempts. The caller holds mu, or is
// alone.
func (c *conductor) done() (n int64) {
	for _, p := range c.passage.Parts {
		n += p.Done
	}
	return n
}
