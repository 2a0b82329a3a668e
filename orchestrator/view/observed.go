package view

import (
	"fmt"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Observed is what has been observed of a running attempt, as it is told to others, and what
// is done about it here.
type Observed struct {
	api.Observation

	Started time.Time // when its start was last sent from here
	Heard   time.Time // when its last sign of life came, by the monotonic clock; zero: none has

	// Server and Connection are who has got its start, see [api.Notice].
	Server     string
	Connection uint64
	Gone       time.Time // since when that connection is known to be gone; zero: it is not

	checked time.Time     // when its silence was last looked into
	pause   time.Duration // until that is done again
	rate    api.Rate      // of its progress
	told    bool          // its script says itself how fast it is
}

func attemptKey(step string, attempt int) string { return fmt.Sprintf("%s#%d", step, attempt) }

// Note changes what is known of the newest attempt of a step, or of the one after it,
// which may be heard of before the journal tells that it runs.
func (x *View) Note(id, step string, attempt int, change func(*Observed)) {
	x.mu.Lock()
	defer x.mu.Unlock()
	found := x.open[id]
	if found == nil {
		return
	}
	if newest, known := found.record.State.Step(step); !known || attempt < newest.Attempt || attempt > newest.Attempt+1 {
		return
	}
	key := attemptKey(step, attempt)
	if found.steps[key] == nil {
		found.steps[key] = &Observed{}
	}
	change(found.steps[key])
}

// Of gives what is known of an attempt.
func (x *View) Of(id, step string, attempt int) Observed {
	x.mu.Lock()
	defer x.mu.Unlock()
	if found := x.open[id]; found != nil {
		if s := found.steps[attemptKey(step, attempt)]; s != nil {
			return *s
		}
	}
	return Observed{}
}

// maxSilence is the longest time between two looks into the silence of an attempt.
const maxSilence = 4 * time.Second

// Silent reports whether an attempt has been silent for long enough to look into it: after
// the time first, and then again after longer ones.
func (x *View) Silent(s rollout.State, step rollout.Step, first time.Duration) (look bool) {
	x.Note(s.ID, step.ID, step.Attempt, func(seen *Observed) {
		switch {
		case !seen.Beat.IsZero():
		case seen.pause == 0:
			seen.checked, seen.pause = time.Now(), first
		case time.Since(seen.checked) >= seen.pause:
			seen.checked, seen.pause, look = time.Now(), min(2*seen.pause, max(maxSilence, first)), true
		}
	})
	return look
}

// Alive takes in a sign of life that comes now.
func (s *Observed) Alive() {
	s.Heard = time.Now()
	s.Beat, s.Sent, s.Waiting = s.Heard.UTC(), true, ""
}

// progress takes in how far a script says to have come. Of one that does not say how fast it
// is, that is found out.
func (s *Observed) progress(p protocol.ProgressMessage) {
	s.Done, s.Total, s.Note = *p.Done, p.Total, rollout.Clip(p.Note)
	s.Rate, s.Average, s.Limit = p.Rate, p.Average, p.Limit
	s.Held, s.PutAside = rollout.Clip(p.Held), p.PutAside
	s.told = s.told || s.Rate > 0 || s.Average > 0
	if !s.told {
		s.rate.Add(s.Beat, s.Done)
		s.Rate, s.Average = s.rate.Now(), s.rate.Average()
	}
}

// Progress takes in a sign of life of the script of a step. Without an attempt it is about
// the first one.
func (x *View) Progress(step string, p protocol.ProgressMessage) {
	p = p.Checked()
	x.Note(p.Rollout, step, max(p.Attempt, 1), func(s *Observed) {
		s.Alive()
		if p.Done != nil {
			s.progress(p)
		}
	})
}
