package sdk

import (
	"context"
	"sync"
	"time"
)

// setting is what an instance keeps to while it works on a backfill.
type setting struct {
	rate     float64 // records a second of this instance; 0: no limit
	inFlight int     // batches under way at the same time
	held     string  // why no batch may begin; empty: they may
}

// valve lets the batches of one instance begin.
type valve struct {
	mu      sync.Mutex
	setting setting
	busy    int // batches that have begun and hold their place
	bucket  bucket
	changed chan struct{} // closed when something has changed
}

func newValve(s setting) *valve {
	v := &valve{changed: make(chan struct{})}
	v.set(s)
	return v
}

// set takes effect at once, also on those that wait.
func (v *valve) set(s setting) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if s == v.setting {
		return
	}
	if s.rate != v.setting.rate {
		v.bucket.set(time.Now(), s.rate)
	}
	v.setting = s
	v.tell()
}

// free gives back the places of n batches.
func (v *valve) free(n int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if n > 0 {
		v.busy -= n
		v.tell()
	}
}

// tell wakes those that wait. The caller holds mu.
func (v *valve) tell() {
	close(v.changed)
	v.changed = make(chan struct{})
}

// admit blocks until a batch of n records may begin, which then holds a place.
func (v *valve) admit(ctx context.Context, n int) error {
	for {
		if err := awaitResume(ctx); err != nil {
			return err
		}
		wait, changed := v.try(time.Now(), n)
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
func (v *valve) try(now time.Time, n int) (wait time.Duration, changed <-chan struct{}) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.setting.held != "" || v.busy >= v.setting.inFlight {
		return 0, v.changed
	}
	if wait = v.bucket.take(now, n); wait > 0 {
		return wait, v.changed
	}
	v.busy++
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
