package sdk

import (
	"cmp"
	"context"
	"math"
	"sync"
	"time"
)

const tellEvery = 250 * time.Millisecond // the progress of a backfill

// backfillProgress is what one backfill of a script has told last.
type backfillProgress struct {
	done, total, putAside int64
	items                 int64 // of done, without those that were put aside
	rate, average, limit  float64
	held, note            string
}

// tellBackfill takes in the progress of a backfill. What a script tells is the sum of all
// that it has run so far.
func (r *Run) tellBackfill(backfill string, f backfillProgress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if before, there := r.backfills[backfill]; there && before == f {
		return
	}
	if r.backfills == nil {
		r.backfills = make(map[string]backfillProgress)
	}
	r.backfills[backfill] = f
	var done, total, putAside int64
	r.items = 0
	for _, each := range r.backfills {
		done, total, putAside = done+each.done, total+each.total, putAside+each.putAside
		r.items += each.items
	}
	p := &r.progress
	p.Done, p.Total, p.PutAside = &done, total, putAside
	p.Rate, p.Average, p.Limit, p.Held, p.Note = f.rate, f.average, f.limit, f.held, cmp.Or(f.note, r.note)
	r.changes++
}

// reporter tells the progress of a backfill. It is safe for concurrent use.
type reporter struct {
	run         *Run
	name        string // of the backfill
	again       bool   // it deals with the records that were put aside
	total       int64  // records, as counted before the work; 0: not known
	sourceTotal func() int64
	assignments *assignments
	pacer       *pacer

	mu       sync.Mutex // held for a whole tell: what is older is not told after it
	checking string     // the name of the check that runs; empty: none does
	moving   bool       // the work is under way; else there are only checks
	meter    *meter
	paused   func() time.Duration // while the work was under way
	average  float64              // as told last
}

// begin tells that the work is under way from now on.
func (p *reporter) begin(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done, _ := p.counts()
	p.meter, p.paused, p.moving = newMeter(time.Now(), done), pausedSince(ctx), true
}

// end tells that it is not any more.
func (p *reporter) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moving = false
}

// tellCheck tells that a check runs; with an empty name none does.
func (p *reporter) tellCheck(ctx context.Context, name string) {
	p.mu.Lock()
	p.checking = name
	p.mu.Unlock()
	p.tell(ctx)
}

// keepTelling tells the progress until ctx ends.
func (p *reporter) keepTelling(ctx context.Context) {
	for pause(ctx, tellEvery) {
		p.tell(ctx)
	}
}

// tell tells the progress of the moment.
func (p *reporter) tell(ctx context.Context) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := backfillProgress{total: p.total, limit: p.pacer.limits().rate, held: p.pacer.reason()}
	now.done, now.putAside = p.counts()
	if now.items = now.done; !p.again {
		now.items = max(now.done-now.putAside, 0)
	}
	if p.moving {
		p.meter.add(time.Now(), now.done)
		now.rate, p.average = rounded(p.meter.rate()), rounded(p.meter.average(p.paused()))
	}
	now.average = p.average
	if p.checking != "" {
		now.note = "check: " + p.checking
	}
	if p.sourceTotal != nil && now.total == 0 {
		now.total = p.sourceTotal()
	}
	if paused(ctx) {
		now.held = "paused"
	}
	p.run.tellBackfill(p.name, now)
}

// counts are how many records are dealt with, in all attempts, and how many are put aside.
// Of those that were put aside before, it is how many could be dealt with in this attempt.
func (p *reporter) counts() (done, putAside int64) {
	done, putAside = p.assignments.counts()
	if p.again {
		done = p.total - putAside
	}
	return done, putAside
}

// rounded leaves three digits: more is noise.
func rounded(x float64) float64 {
	if x <= 0 {
		return 0
	}
	unit := math.Pow(10, math.Floor(math.Log10(x))-2)
	return math.Round(math.Round(x/unit)*unit*1000) / 1000
}

// pausedSince tells how long the script of a context has been paused since the call.
func pausedSince(ctx context.Context) func() time.Duration {
	c, ok := ctx.Value(scriptContextKey{}).(*scriptContext)
	if !ok {
		return func() time.Duration { return 0 }
	}
	before := c.pausedFor()
	return func() time.Duration { return c.pausedFor() - before }
}
