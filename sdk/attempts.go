package sdk

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// remembered is how many attempts are, of a kind. A start is repeated for seconds, so these
// are many.
const remembered = 1000

var errBegun = errors.New("it was begun here, and cut off")

// attempts knows the attempts of one instance: those that run, how those that were begun have
// ended, and what the orchestrator has said about them. It is safe for concurrent use.
type attempts struct {
	busy sync.WaitGroup // starts that are dealt with

	mu       sync.Mutex
	ended    bool                                  // no start is dealt with any more
	helping  bool                                  // another instance
	running  map[string]*scriptContext             // by claim key
	controls *boundedMap[attemptID, controlState]  // also of attempts that never come here
	answers  *boundedMap[string, *protocol.Answer] // by claim key: of what was begun here; nil while it has no answer
}

// attemptID names an attempt. Those of a step are counted through both directions.
type attemptID struct {
	rollout, step string
	attempt       int
}

// controlState is what the orchestrator has said about an attempt. It can come before the
// start.
type controlState struct {
	cancelled bool // for good
	paused    bool
	resumed   bool      // since the start, which has another deadline
	deadline  time.Time // of the resume; zero: none
	pace      *protocol.Pace
}

// setPace takes in a pace, which may leave open what one before has named.
func (c *controlState) setPace(told *protocol.Pace) {
	if told == nil {
		return
	}
	all := *told
	if c.pace != nil {
		all = merge(*c.pace, *told)
	}
	c.pace = &all
}

func newAttempts() *attempts {
	return &attempts{
		running:  make(map[string]*scriptContext),
		controls: newBoundedMap[attemptID, controlState](remembered),
		answers:  newBoundedMap[string, *protocol.Answer](remembered),
	}
}

// begin counts one more start in busy, unless the instance is told to end.
func (s *attempts) begin(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || ctx.Err() != nil {
		return false
	}
	s.busy.Add(1)
	return true
}

// end lets nothing begin any more.
func (s *attempts) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// beginHelp is begin for an instance that is idle, and is to help another one.
func (s *attempts) beginHelp(ctx context.Context) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || ctx.Err() != nil || s.helping || len(s.running) > 0 {
		return false
	}
	s.helping = true
	s.busy.Add(1)
	return true
}

func (s *attempts) endHelp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.helping = false
}

// enter makes the attempt the one that is dealt with under its key, and gives the context
// of its script; nil when it is dealt with already.
func (s *attempts) enter(ctx context.Context, a *attempt) *scriptContext {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running[a.key] != nil {
		return nil
	}
	c := newScriptContext(ctx)
	s.running[a.key] = c
	c.pace.add(a.start.Pace)
	said, _ := s.controls.get(attemptID{a.start.Rollout, a.start.Step, a.start.Attempt})
	c.pace.add(said.pace)
	switch {
	case said.cancelled:
		c.end(errCancelled)
	case said.paused:
		c.pause()
	case said.resumed:
		c.resume(said.deadline)
	default:
		c.resume(a.start.Deadline)
	}
	return c
}

func (s *attempts) leave(key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, key)
}

// answer gives the answer of an attempt that was begun here; nil when it has none.
func (s *attempts) answer(key string) (answer *protocol.Answer, begun bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.answers.get(key)
}

// keep notes that an attempt was begun here, and its answer once there is one.
func (s *attempts) keep(key string, answer *protocol.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers.put(key, answer)
}

// control remembers what was said, for a start that is still to come, and does it; false when
// the attempt does not run here.
func (s *attempts) control(c control, which protocol.ControlMessage) (here bool) {
	id := attemptID{which.Rollout, c.script.Step(), which.Attempt}
	s.mu.Lock()
	defer s.mu.Unlock()
	said, _ := s.controls.get(id)
	switch c.verb {
	case protocol.Cancel:
		said.cancelled = true
	case protocol.Pause:
		said.paused = true
	case protocol.Resume:
		said.paused, said.resumed, said.deadline = false, true, which.Deadline
	case protocol.PaceSet:
		said.setPace(which.Pace)
	}
	s.controls.put(id, said)
	for _, revert := range []bool{false, true} {
		script := s.running[protocol.ClaimKey(id.rollout, id.step, id.attempt, revert)]
		if script == nil {
			continue
		}
		here = true
		switch c.verb {
		case protocol.Cancel:
			script.cancel()
		case protocol.Pause:
			script.pause()
		case protocol.Resume:
			script.resume(which.Deadline)
		case protocol.PaceSet:
			script.pace.add(which.Pace)
		}
	}
	return here
}
