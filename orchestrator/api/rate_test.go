package api

import (
	"testing"
	"time"
)

// of is a rate that has taken in how much was done, once each so long.
func of(each time.Duration, done ...int64) *Rate {
	r, at := &Rate{}, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, n := range done {
		r.Add(at, n)
		at = at.Add(each)
	}
	return r
}

func TestRate(t *testing.T) {
	steady := make([]int64, 61) // 100 a second at first, and 10 of late
	for i := range steady {
		steady[i] = int64(100*min(i, 50) + 10*max(0, i-50))
	}
	tests := []struct {
		what                string
		rate                *Rate
		now, recent, always float64
		steady              bool
	}{
		{"nothing is known", &Rate{}, 0, 0, 0, false},
		{"it has come a long way before", of(time.Second, 1_000_000), 0, 0, 0, false},
		{"it is told too often to tell", of(100*time.Millisecond, 1_000_000, 1_000_010), 0, 0, 0, false},
		{"it is told often", of(50*time.Millisecond, 0, 5, 10, 15, 20, 25), 100, 100, 100, false},
		{"it goes on steadily", of(time.Second, 0, 10, 20, 30), 10, 10, 10, true},
		{"it has become faster", of(time.Second, 0, 10, 20, 130, 240), 60, 60, 60, false},
		{"it stands still", of(time.Second, 7, 7, 7, 7), 0, 0, 0, false},
		{"it was faster before", of(time.Second, steady...), 10, 2200. / 31, 5100. / 60, false},
		{"it has gone back", of(time.Second, 500, 1000, 0, 10, 20), 10, 10, 10, true},
	}
	for _, test := range tests {
		if got := test.rate.Now(); got != test.now {
			t.Errorf("%s: the rate of now is %g, want %g", test.what, got, test.now)
		}
		if got := test.rate.Recent(); got != test.recent {
			t.Errorf("%s: the rate of late is %g, want %g", test.what, got, test.recent)
		}
		if got := test.rate.Average(); got != test.always {
			t.Errorf("%s: the average is %g, want %g", test.what, got, test.always)
		}
		if got := test.rate.Steady(); got != test.steady {
			t.Errorf("%s: it is steady: %v", test.what, got)
		}
	}
}

func TestRateKeepsFewPoints(t *testing.T) {
	r, at := Rate{}, time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for i := range int64(100_000) {
		r.Add(at.Add(time.Duration(i)*time.Millisecond), i)
	}
	before := r
	if r.Points() > 130 || r.Span() < 30*time.Second || r.Now() != 1000 || r.Average() != 1000 {
		t.Errorf("%d points of %s: %g now, %g on average", r.Points(), r.Span(), r.Now(), r.Average())
	}
	r.Restart()
	r.Add(at.Add(time.Hour), 5)
	if r.Points() != 1 || r.Average() != 0 || before.Now() != 1000 {
		t.Errorf("after a new beginning: %+v; a copy of before: %g", r, before.Now())
	}
}
