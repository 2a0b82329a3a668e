package agent

import (
	"sync"

	"github.com/golive-dev/golive/relay/protocol"
)

// jobs are the attempts that this agent has accepted and whose results are not stored yet. It
// is safe for concurrent use.
type jobs struct {
	mu   sync.Mutex
	all  map[string]*job // by the key of their entry
	work sync.WaitGroup
}

// get gives the job of an entry; nil when there is none.
func (s *jobs) get(key string) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all[key]
}

// of gives the job of an order; nil when there is none.
func (s *jobs) of(o protocol.Order) *job {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.all {
		if j.order.Rollout == o.Rollout && j.order.Step == o.Step && j.order.Attempt == o.Attempt && j.order.Revert == o.Revert {
			return j
		}
	}
	return nil
}

// add adds a job. Its result is stored when ended is called.
func (s *jobs) add(key string, j *job) (ended func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all[key] = j
	return func() {
		s.mu.Lock()
		delete(s.all, key)
		s.mu.Unlock()
		close(j.ended)
	}
}

// stop stops all jobs.
func (s *jobs) stop(why error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, j := range s.all {
		j.stop(why)
	}
}
