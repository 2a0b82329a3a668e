package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	throttleEvery = time.Second      // the author's function is asked
	throttleLimit = 10 * time.Second // for its answer
	batchesASec   = 5                // at least, where the rate allows for it
)

// pacer knows the limits of a backfill, and makes this instance keep to its share of them.
// It is safe for concurrent use.
type pacer struct {
	run         *Run
	author      limits // what the author has chosen
	throttle    func(context.Context, *Run) (string, error)
	assignments *assignments // as many share the rate
	limiter     *limiter     // of this instance

	mu        sync.Mutex
	throttled string // why; empty: it is not
}

func newPacer(run *Run, config backfillConfig, a *assignments) *pacer {
	p := &pacer{run: run, author: config.author, throttle: config.throttle, assignments: a}
	p.limiter = newLimiter(p.limits())
	return p
}

// limits are those of all instances together.
func (p *pacer) limits() limits {
	l := p.author
	told := p.run.Pace()
	if told.Rate != nil {
		l.rate = *told.Rate
	}
	if told.InFlight > 0 {
		l.inFlight = min(told.InFlight, MaxInFlight)
	}
	return l
}

// share is the limits of one of the instances that are at work.
func (p *pacer) share() limits {
	l := p.limits()
	l.rate /= float64(max(1, p.assignments.number()))
	l.held = p.reason()
	return l
}

// reason is why the author's function holds the work; empty when it does not.
func (p *pacer) reason() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.throttled
}

// adjust makes this instance keep to its share.
func (p *pacer) adjust() { p.limiter.set(p.share()) }

// followPace adjusts whenever the orchestrator has named another pace, until ctx ends.
func (p *pacer) followPace(ctx context.Context) {
	if p.run.pace == nil {
		return
	}
	for {
		_, changed := p.run.pace.now()
		p.adjust()
		if await(ctx, 0, changed) != nil {
			return
		}
	}
}

// askThrottle asks the author's function whether the work must be held. An error is for good.
func (p *pacer) askThrottle(ctx context.Context) error {
	if p.throttle == nil {
		return nil
	}
	var reason string
	limited, cancel := context.WithTimeout(ctx, throttleLimit)
	defer cancel()
	err := guard(limited, func(ctx context.Context, run *Run) (err error) { reason, err = p.throttle(ctx, run); return err }, p.run)
	switch {
	case ctx.Err() != nil:
		return nil
	case final(err) || errors.As(err, new(*panicError)):
		return fmt.Errorf("throttle: %w", err)
	case limited.Err() != nil && err != nil:
		reason = fmt.Sprintf("no answer within %s: %s", throttleLimit, err)
	case err != nil:
		reason = err.Error()
	}
	if reason != "" {
		reason = clip("throttled: " + reason)
	}
	p.mu.Lock()
	p.throttled = reason
	p.mu.Unlock()
	p.adjust()
	return nil
}
