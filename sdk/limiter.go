package sdk

import (
	"context"
	"sync"
	"time"
)

// limits are what an instance keeps to while it works on a backfill.
type limits struct {
	rate     float64 // records a second of this instance; 0: no limit
	inFlight int     // batches under way at the same time
	held     string  // why no batch may begin; empty: they may
}

// limiter lets the batches of one instance begin.
type limiter struct {
	mu      sync.Mutex
	limits  limits
	busy    int // batches that have begun and hold their place
	tokens  tokenBucket
	changed chan struct{} // closed when something has changed
}

func newLimiter(s limits) *limiter {
	l := &limiter{changed: make(chan struct{})}
	l.set(s)
	return l
}

// set takes effect at once, also on those that wait.
func (l *limiter) set(s limits) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if s == l.limits {
		return
	}
	if s.rate != l.limits.rate {
		l.tokens.set(time.Now(), s.rate)
	}
	l.limits = s
	l.wake()
}

// free gives back the places of n batches.
func (l *limiter) free(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n > 0 {
		l.busy -= n
		l.wake()
	}
}

// wake wakes those that wait. The caller holds mu.
func (l *limiter) wake() {
	close(l.changed)
	l.changed = make(chan struct{})
}

// admit blocks until a batch of n records may begin, which then holds a place.
func (l *limiter) admit(ctx context.Context, n int) error {
	for {
		if err := awaitResume(ctx); err != nil {
			return err
		}
		wait, changed := l.try(time.Now(), n)
		if changed == nil {
			return nil
		}
		if err := await(ctx, wait, changed); err != nil {
			return err
		}
	}
}

// try gives no channel when the batch may begin; else what to wait for, wait being 0 when
// only a change helps.
func (l *limiter) try(now time.Time, n int) (wait time.Duration, changed <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.limits.held != "" || l.busy >= l.limits.inFlight {
		return 0, l.changed
	}
	if wait = l.tokens.take(now, n); wait > 0 {
		return wait, l.changed
	}
	l.busy++
	return 0, nil
}

// await waits for a change, for that long at most; 0 is no limit.
func await(ctx context.Context, longest time.Duration, changed <-chan struct{}) error {
	var over <-chan time.Time
	if longest > 0 {
		timer := time.NewTimer(longest)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-changed:
	case <-over:
	case <-ctx.Done():
		return ctx.Err()
	}
	return nil
}
