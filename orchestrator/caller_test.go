package orchestrator_test

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/golive-dev/golive/relay"
)

// saw is what a caller that asks all the time has seen.
type saw struct {
	answered   map[string]int // by version
	refused    int            // with 503, under maintenance
	other      int            // errors of any other kind
	retryAfter time.Duration  // that it was told
	from, to   time.Time      // of the first 503, and of the first answer after it
	last       time.Time      // when it asked what was refused last
}

// watchCaller asks todo-search for its version every millisecond until the test ends.
func (e *environment) watchCaller() func() saw {
	e.t.Helper()
	var mu sync.Mutex
	s := saw{answered: make(map[string]int)}
	r := e.connect()
	e.run("caller", func(ctx context.Context) error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
			var version string
			asked := time.Now()
			err := r.Request(ctx, "todo-search.version", nil, &version)
			if ctx.Err() != nil {
				return nil
			}
			mu.Lock()
			s.note(asked, version, err)
			mu.Unlock()
		}
	})
	return func() saw {
		mu.Lock()
		defer mu.Unlock()
		copied := s
		copied.answered = maps.Clone(s.answered)
		return copied
	}
}

func (s *saw) note(asked time.Time, version string, err error) {
	var answered *relay.Error
	switch {
	case err == nil:
		s.answered[version]++
		if s.refused > 0 && s.to.IsZero() {
			s.to = time.Now()
		}
	case errors.Is(err, relay.ErrMaintenance) && errors.As(err, &answered):
		s.refused++
		s.last = asked
		s.retryAfter = answered.RetryAfter
		if s.from.IsZero() {
			s.from = time.Now()
		}
	default:
		s.other++
	}
}
