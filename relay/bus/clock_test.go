package bus_test

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/bus"
)

func TestClockTellsTheTimeOfTheBus(t *testing.T) {
	real := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		off         time.Duration // of our own clock
		there, back time.Duration // on the way
		least, most time.Duration // what it may be ahead
	}{
		"as the bus's":       {0, time.Millisecond, time.Millisecond, 0, 0},
		"an hour ahead":      {time.Hour, time.Millisecond, time.Millisecond, time.Hour - 2*time.Millisecond, time.Hour},
		"an hour behind":     {-time.Hour, time.Millisecond, time.Millisecond, -time.Hour, -time.Hour + 2*time.Millisecond},
		"far from the bus":   {0, 2 * time.Second, 2 * time.Second, 0, 0},
		"far, and behind it": {-time.Minute, time.Second, 3 * time.Second, -time.Minute, -time.Minute + 4*time.Second},
	} {
		own := real.Add(c.off)
		clock := bus.NewClock(func() time.Time { return own })
		if ahead, known := clock.Ahead(); known || ahead != 0 || !clock.Now().Equal(own) {
			t.Errorf("%s: before it has heard of the bus it is %s ahead", name, ahead)
		}
		clock.Heard(own, own.Add(c.there+c.back), real.Add(c.there))
		ahead, known := clock.Ahead()
		if !known || ahead < c.least || ahead > c.most {
			t.Errorf("%s: it is %s ahead, want from %s to %s", name, ahead, c.least, c.most)
		}
		if now := clock.Now(); !now.Equal(own.Add(-ahead)) || now.Location() != time.UTC {
			t.Errorf("%s: the bus's time is told as %s", name, now)
		}
		if at := clock.Of(time.Time{}); !at.IsZero() {
			t.Errorf("%s: no time becomes %s", name, at)
		}
	}
}

// A long way makes an answer inexact, and a late answer does not undo what is known better.
func TestClockKeepsTheMoreExactAnswer(t *testing.T) {
	real := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	own := real.Add(time.Hour)
	clock := bus.NewClock(func() time.Time { return own })
	clock.Heard(own, own.Add(time.Millisecond), real)
	exact, _ := clock.Ahead()
	clock.Heard(own, own.Add(20*time.Second), real.Add(20*time.Second))
	if ahead, _ := clock.Ahead(); ahead != exact {
		t.Errorf("it is %s ahead after an inexact answer, want %s", ahead, exact)
	}
	later := own.Add(2 * time.Minute) // the clock was set
	clock.Heard(later, later.Add(time.Second), later)
	if ahead, _ := clock.Ahead(); ahead > time.Second || ahead < 0 {
		t.Errorf("it is still %s ahead once the clock was set", ahead)
	}
	clock.Heard(later, later, time.Time{}) // a server that tells no time
	clock.Heard(later.Add(time.Second), later, real)
	if ahead, _ := clock.Ahead(); ahead > time.Second {
		t.Errorf("what cannot be has put it %s ahead", ahead)
	}
	var none *bus.Clock
	if ahead, known := none.Ahead(); known || ahead != 0 || none.Now().IsZero() {
		t.Errorf("no clock is %s ahead", ahead)
	}
}
