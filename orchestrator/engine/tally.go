package engine

import (
	"sync"
	"time"

	"go.uber.org/zap"
)

// tally logs what anybody may cause, in any number: the first ones of a kind line by line, then
// one line a second with how many more there were. Make it with newTally; it is safe for
// concurrent use.
type tally struct {
	log   *zap.Logger
	every time.Duration

	mu     sync.Mutex
	closed bool
	kinds  map[string]*tallied // by what they say
}

// tallied is what was noted of a kind.
type tallied struct {
	lines   int // that may be logged at once
	since   time.Time
	left    int         // not logged yet
	subject string      // of the last of those
	err     error       // of that one
	timer   *time.Timer // that logs them; nil: none are left
}

const (
	tallyEvery = time.Second
	tallyLines = 16 // of a kind at once, after a time without any
)

func newTally(log *zap.Logger) *tally {
	return &tally{log: log, every: tallyEvery, kinds: make(map[string]*tallied)}
}

// note logs something that was refused, and why, or counts it.
func (t *tally) note(what, subject string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kinds[what]
	if k == nil {
		k = &tallied{lines: tallyLines, since: time.Now()}
		t.kinds[what] = k
	}
	if gained := int(time.Since(k.since) / t.every); gained > 0 {
		k.lines, k.since = min(k.lines+gained, tallyLines), time.Now()
	}
	if k.lines > 0 && k.timer == nil || t.closed {
		k.lines--
		t.log.Warn(what, zap.String("message", subject), zap.Error(err))
		return
	}
	k.left, k.subject, k.err = k.left+1, subject, err
	if k.timer == nil {
		k.timer = time.AfterFunc(t.every, func() { t.tell(what) })
	}
}

// tell logs how many of a kind were not.
func (t *tally) tell(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kinds[what]
	k.timer = nil
	if k.left == 0 {
		return
	}
	k.lines, k.since = 0, time.Now()
	t.log.Warn(what, zap.String("message", k.subject), zap.Error(k.err), zap.Int("more like it", k.left-1))
	k.left, k.err = 0, nil
}

// close logs what is left. What is noted later is logged line by line.
func (t *tally) close() {
	t.mu.Lock()
	t.closed = true
	var left []string
	for what, k := range t.kinds {
		if k.timer != nil {
			k.timer.Stop()
			left = append(left, what)
		}
	}
	t.mu.Unlock()
	for _, what := range left {
		t.tell(what)
	}
}
