package api

import "time"

const (
	rateNow   = 5 * time.Second        // that the rate of now is taken over
	rateKept  = 30 * time.Second       // how far back it is remembered how much was done
	rateEvery = 250 * time.Millisecond // between two points at least, so that there are few
)

// Rate finds out how many records a second the script of an attempt deals with, from how far
// it says to have come. All its rates are 0 where they cannot be known yet. The zero value has
// heard of nothing. A copy stays as it was when it was taken; apart from that, a Rate is not
// safe for concurrent use.
type Rate struct {
	first  point
	points []point // of the last seconds, the oldest first; never changed, only added and left out
}

// point is how far a script had come at a time.
type point struct {
	at   time.Time
	done int64
}

// Add takes in that so many records were done at a time. Who goes back begins anew.
func (r *Rate) Add(at time.Time, done int64) {
	n := len(r.points)
	switch {
	case n > 0 && done < r.points[n-1].done:
		r.Restart()
	case n > 0 && at.Sub(r.points[n-1].at) < rateEvery:
		return
	}
	now := point{at, done}
	if r.points = append(r.points, now); len(r.points) == 1 {
		r.first = now
	}
	for len(r.points) > 2 && at.Sub(r.points[1].at) > rateKept {
		r.points = r.points[1:]
	}
}

// Restart forgets what was: from now on the script goes at another speed.
func (r *Rate) Restart() { r.points = nil }

// Points is how many points are remembered since the beginning; 0: nothing is known yet.
func (r Rate) Points() int { return len(r.points) }

// Now is the rate of the last five seconds, where it is told so often how much is done.
func (r Rate) Now() float64 {
	all := r.points
	for len(all) > 2 && all[len(all)-1].at.Sub(all[1].at) > rateNow {
		all = all[1:]
	}
	return between(all)
}

// Recent is the rate of up to the last half minute.
func (r Rate) Recent() float64 { return between(r.points) }

// Average is the rate of all the time since the beginning.
func (r Rate) Average() float64 {
	if len(r.points) == 0 {
		return 0
	}
	return r.points[len(r.points)-1].since(r.first)
}

// Span is the time that [Rate.Recent] is taken over.
func (r Rate) Span() time.Duration {
	if len(r.points) == 0 {
		return 0
	}
	return r.points[len(r.points)-1].at.Sub(r.points[0].at)
}

// Steady reports whether [Rate.Recent] can be reckoned with: neither half of its time has
// more than double the rate of the other. It takes three points at least.
func (r Rate) Steady() bool {
	n := len(r.points)
	if n < 3 {
		return false
	}
	first, second := between(r.points[:n/2+1]), between(r.points[n/2:])
	return min(first, second) > 0 && max(first, second) <= 2*min(first, second)
}

// between is the rate from the first point to the last.
func between(all []point) float64 {
	if len(all) < 2 {
		return 0
	}
	return all[len(all)-1].since(all[0])
}

// since is the rate since another point.
func (p point) since(before point) float64 {
	elapsed := p.at.Sub(before.at).Seconds()
	if elapsed <= 0 {
		return 0
	}
	return float64(p.done-before.done) / elapsed
}
