package sdk

import (
	"fmt"
	"math"
	"testing"
	"time"
)

// runBucket takes n at a time as fast as it may from one time to another, coming late each
// time by what late says, and gives how many it took in each second.
func runBucket(b *tokenBucket, from time.Time, d time.Duration, n int, late func(i int) time.Duration) (seconds []int) {
	seconds = make([]int, d/time.Second)
	now := from
	for i := 0; now.Sub(from) < d; i++ {
		if wait := b.take(now, n); wait > 0 {
			now = now.Add(wait + late(i))
			continue
		}
		seconds[now.Sub(from)/time.Second] += n
	}
	return seconds
}

func TestATokenBucketKeepsToItsRate(t *testing.T) {
	for _, c := range []struct {
		rate float64
		n    int
	}{{30_000, 500}, {1000, 200}, {2500, 500}, {10, 2}, {1, 1}, {123_456, 500}} {
		t.Run(fmt.Sprint(c), func(t *testing.T) {
			at := time.Unix(1000, 0)
			var b tokenBucket
			b.set(at, c.rate)
			const span = 60
			sum := 0
			seconds := runBucket(&b, at, span*time.Second, c.n, func(i int) time.Duration {
				return time.Duration(i%7) * 3 * time.Millisecond // a busy machine
			})
			for _, got := range seconds {
				sum += got
				if off := math.Abs(float64(got) - c.rate); off > max(0.2*c.rate, float64(c.n)) {
					t.Errorf("%d in one second, want about %v: %v", got, c.rate, seconds)
				}
			}
			if got := float64(sum) / span; math.Abs(got-c.rate) > 0.05*c.rate {
				t.Errorf("%v a second, want %v", got, c.rate)
			}
		})
	}
}

func TestATokenBucketMakesUpForNoMoreThanABurst(t *testing.T) {
	at := time.Unix(1000, 0)
	var b tokenBucket
	b.set(at, 1000)
	at = at.Add(time.Hour)
	took := 0
	for b.take(at, 50) == 0 {
		took += 50
	}
	if took != 200 {
		t.Errorf("it let %d through at once", took)
	}
}

func TestANewRateCountsFromNowOn(t *testing.T) {
	at := time.Unix(1000, 0)
	var b tokenBucket
	b.set(at, 10)
	if wait := b.take(at, 100); wait != 10*time.Second {
		t.Errorf("it takes %s", wait)
	}
	at = at.Add(5 * time.Second) // 50 are earned
	b.set(at, 100)
	if wait := b.take(at, 100); wait != 500*time.Millisecond {
		t.Errorf("after the change it takes %s", wait)
	}
	b.set(at, 0)
	if wait := b.take(at, 1_000_000); wait != 0 {
		t.Errorf("without a limit it takes %s", wait)
	}
	b.set(at, 1e-9)
	if wait := b.take(at, 1); wait != time.Hour {
		t.Errorf("next to never is %s", wait)
	}
}
