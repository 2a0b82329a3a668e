package view

import (
	"math"
	"slices"
	"time"
)

// speed is how fast the script of an attempt works, as its progress tells.
type speed struct {
	told  bool    // the script says itself how fast it is
	first point   // of all
	last  []point // of the last seconds, oldest first
}

// point is how far a script had come at a time.
type point struct {
	at   time.Time
	done int64
}

const (
	speedFor  = 5 * time.Second        // that the rate is taken over, where progress is told so often
	speedStep = 250 * time.Millisecond // between two points at least, so that there are few
)

// take takes in progress, and gives the rate of the last seconds, and of all the time since
// the first progress; 0 where it cannot be known yet. Who goes back begins anew.
func (s *speed) take(now point) (rate, average float64) {
	if n := len(s.last); n == 0 || now.done < s.last[n-1].done {
		s.first, s.last = now, []point{now}
		return 0, 0
	}
	for len(s.last) > 1 && now.at.Sub(s.last[1].at) >= speedFor {
		s.last = slices.Delete(s.last, 0, 1)
	}
	rate, average = now.since(s.last[0]), now.since(s.first)
	if now.at.Sub(s.last[len(s.last)-1].at) >= speedStep {
		s.last = append(s.last, now)
	}
	return rate, average
}

// since is the rate, in records a second, since another point.
func (p point) since(before point) float64 {
	if elapsed := p.at.Sub(before.at); elapsed >= speedStep {
		return float64(p.done-before.done) / elapsed.Seconds()
	}
	return 0
}

// sane is a number that came from somebody else; 0 in the place of one that cannot be.
func sane(number float64) float64 {
	if math.IsNaN(number) || math.IsInf(number, 0) || number < 0 {
		return 0
	}
	return number
}
