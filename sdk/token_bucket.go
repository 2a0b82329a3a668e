package sdk

import (
	"math"
	"time"
)

// burst is how much of the rate may be made up for at once, when work was held up.
const burst = 200 * time.Millisecond

// tokenBucket lets so many records a second through, on average, and no more than a batch or
// those of burst at once. The zero tokenBucket has no limit. Time is what its caller says.
type tokenBucket struct {
	rate   float64 // 0: no limit
	tokens float64
	at     time.Time // when tokens were counted
}

// set changes the rate. What was earned so far stays.
func (b *tokenBucket) set(now time.Time, rate float64) {
	if rate <= 0 || math.IsNaN(rate) || math.IsInf(rate, 0) {
		rate = 0
	}
	if b.rate == 0 {
		b.tokens, b.at = 0, now
	}
	b.earn(now, math.MaxFloat64)
	b.rate = rate
}

// take lets n records through and gives 0, or gives how long it takes until they may pass.
func (b *tokenBucket) take(now time.Time, n int) (wait time.Duration) {
	if b.rate == 0 {
		return 0
	}
	need := float64(n)
	b.earn(now, max(need, b.rate*burst.Seconds()))
	if b.tokens < need {
		seconds := min((need-b.tokens)/b.rate, time.Hour.Seconds())
		return max(time.Duration(seconds*float64(time.Second)), time.Microsecond)
	}
	b.tokens -= need
	return 0
}

// earn counts the time since the last call.
func (b *tokenBucket) earn(now time.Time, most float64) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens += b.rate * d.Seconds()
		b.at = now
	}
	b.tokens = min(b.tokens, most)
}
