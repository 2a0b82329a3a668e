package journal

import "sync"

// skipped counts the messages that readers have skipped, each once, although every reader
// meets it and some meet it again and again. It is safe for concurrent use.
type skipped struct {
	mu    sync.Mutex
	total uint64
	known map[uint64]bool // by sequence
	order []uint64        // oldest first
}

// keepSkipped is how many messages are known again. Whoever skips more than that, and then reads
// them a second time, counts them a second time.
const keepSkipped = 4096

// add counts the message at a sequence, unless it is counted already.
func (s *skipped) add(sequence uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known[sequence] {
		return
	}
	if s.known == nil {
		s.known = make(map[uint64]bool)
	}
	s.total++
	s.known[sequence] = true
	if s.order = append(s.order, sequence); len(s.order) > keepSkipped {
		delete(s.known, s.order[0])
		s.order = s.order[1:]
	}
}

func (s *skipped) count() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.total
}
