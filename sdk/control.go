package sdk

import (
	"context"
	"encoding/json"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// control is a message that the orchestrator sends to every instance about a script,
// whichever direction that runs in.
type control struct {
	script protocol.Script
	verb   protocol.Verb // Cancel, Pause, Resume or PaceSet
}

// controls are those of all jobs, by subject.
func controls(jobs []job) map[string]control {
	all := make(map[string]control)
	for _, j := range jobs {
		for _, verb := range []protocol.Verb{protocol.Cancel, protocol.Pause, protocol.Resume, protocol.PaceSet} {
			all[j.script.Subject(verb)] = control{j.script, verb}
		}
	}
	return all
}

// attemptID names an attempt. Those of a step are counted through both directions.
type attemptID struct {
	rollout, step string
	attempt       int
}

// order is what the orchestrator has said about an attempt. It can come before the start.
type order struct {
	cancelled bool // for good
	paused    bool
	resumed   bool      // since the start, which has another deadline
	deadline  time.Time // of the resume; zero: none
	pace      *protocol.Pace
}

// slowTo takes in a pace, which may leave open what one before has named.
func (o *order) slowTo(told *protocol.Pace) {
	if told == nil {
		return
	}
	all := *told
	if o.pace != nil {
		all = merge(*o.pace, *told)
	}
	o.pace = &all
}

// hear deals with controls in the order in which they come, until ctx ends.
func (w *worker) hear(ctx context.Context, said <-chan *nats.Msg, known map[string]control) {
	for {
		select {
		case <-ctx.Done():
			return
		case m := <-said:
			w.control(known[m.Subject], m)
		}
	}
}

// control deals with a message about an attempt, which may run here, run elsewhere or be
// about to begin.
func (w *worker) control(c control, m *nats.Msg) {
	var which protocol.ControlMessage
	_ = json.Unmarshal(m.Data, &which) // what is missing is taken from the headers
	if which.Rollout == "" {
		which.Rollout = m.Header.Get(protocol.HeaderRollout)
	}
	if which.Attempt == 0 {
		which.Attempt, _ = strconv.Atoi(m.Header.Get(protocol.HeaderAttempt))
	}
	about := zap.Int("attempt", which.Attempt)
	if which.Rollout == "" || which.Attempt < 1 {
		w.log.Warn("it names no attempt", zap.String("message", m.Subject), about)
		return
	}
	if w.obey(c, which) {
		w.log.Info("told", zap.String("message", m.Subject), about)
	} else {
		w.log.Debug("told of an attempt that does not run here", zap.String("message", m.Subject), about)
	}
}

// obey remembers what was said, for a start that is still to come, and does it; false when
// the attempt does not run here.
func (w *worker) obey(c control, which protocol.ControlMessage) bool {
	id := attemptID{which.Rollout, c.script.Step(), which.Attempt}
	w.mu.Lock()
	defer w.mu.Unlock()
	o, _ := w.orders.get(id)
	switch c.verb {
	case protocol.Cancel:
		o.cancelled = true
	case protocol.Pause:
		o.paused = true
	case protocol.Resume:
		o.paused, o.resumed, o.deadline = false, true, which.Deadline
	case protocol.PaceSet:
		o.slowTo(which.Pace)
	}
	w.orders.put(id, o)
	here := false
	for _, revert := range []bool{false, true} {
		clock := w.running[protocol.ClaimKey(id.rollout, id.step, id.attempt, revert)]
		if clock == nil {
			continue
		}
		here = true
		switch c.verb {
		case protocol.Cancel:
			clock.end(errCancelled)
		case protocol.Pause:
			clock.pause()
		case protocol.Resume:
			clock.goOn(which.Deadline)
		case protocol.PaceSet:
			clock.pace.add(which.Pace)
		}
	}
	return here
}

// enter makes the attempt the one that is dealt with under its key, and gives the context
// of its script; nil when it is dealt with already.
func (w *worker) enter(ctx context.Context, a *attempt) *clock {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.running[a.key] != nil {
		return nil
	}
	c := newClock(ctx)
	w.running[a.key] = c
	c.pace.add(a.start.Pace)
	o, _ := w.orders.get(attemptID{a.start.Rollout, a.start.Step, a.start.Attempt})
	c.pace.add(o.pace)
	switch {
	case o.cancelled:
		c.end(errCancelled)
	case o.paused:
		c.pause()
	case o.resumed:
		c.goOn(o.deadline)
	default:
		c.goOn(a.start.Deadline)
	}
	return c
}

func (w *worker) leave(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.running, key)
}
