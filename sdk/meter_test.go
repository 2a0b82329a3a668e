package sdk

import (
	"testing"
	"time"
)

func TestAMeterTellsTheRateOfTheLastSecondsAndTheAverageOfAll(t *testing.T) {
	at := time.Unix(1000, 0)
	m := newMeter(at, 500)
	if m.rate() != 0 || m.average(0) != 0 {
		t.Errorf("at first %v and %v", m.rate(), m.average(0))
	}
	done := int64(500)
	for range 40 { // 10 s at 400 a second
		at, done = at.Add(250*time.Millisecond), done+100
		m.add(at, done)
	}
	for range 40 { // 10 s at 40 a second
		at, done = at.Add(250*time.Millisecond), done+10
		m.add(at, done)
	}
	if m.rate() != 40 || m.average(0) != 220 {
		t.Errorf("%v and %v, want 40 and 220", m.rate(), m.average(0))
	}
	if got := m.average(10 * time.Second); got != 440 {
		t.Errorf("of the time that it was not paused it is %v, want 440", got)
	}
	if len(m.samples) > 15 {
		t.Errorf("it keeps %d samples", len(m.samples))
	}
}

func TestRatesHaveThreeDigits(t *testing.T) {
	for x, want := range map[float64]float64{0: 0, -1: 0, 0.12345: 0.123, 1234.5: 1230, 99.99: 100, 7: 7, 300_123: 300_000} {
		if got := rounded(x); got != want {
			t.Errorf("%v becomes %v, want %v", x, got, want)
		}
	}
}
