package sdk

import "time"

// meterWindow is how far back the rate of a meter looks.
const meterWindow = 3 * time.Second

// meter tells how fast something counts up. Time is what its caller says.
type meter struct {
	began   time.Time
	first   int64
	samples []sample // oldest first
}

type sample struct {
	at   time.Time
	done int64
}

func newMeter(now time.Time, done int64) *meter {
	return &meter{began: now, first: done, samples: []sample{{now, done}}}
}

// add notes how much is done. Of what is older than the window, it keeps the newest.
func (m *meter) add(now time.Time, done int64) {
	m.samples = append(m.samples, sample{now, done})
	for len(m.samples) > 2 && now.Sub(m.samples[1].at) >= meterWindow {
		m.samples = m.samples[1:]
	}
}

// rate is how much was done in a second, over the window.
func (m *meter) rate() float64 {
	from, to := m.samples[0], m.samples[len(m.samples)-1]
	return perSecond(to.done-from.done, to.at.Sub(from.at))
}

// average is how much was done in a second since the beginning, idle left out.
func (m *meter) average(idle time.Duration) float64 {
	to := m.samples[len(m.samples)-1]
	return perSecond(to.done-m.first, to.at.Sub(m.began)-idle)
}

func perSecond(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}
