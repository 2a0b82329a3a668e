package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// applyRecords has the scripts of a completed rollout try the records again that they have
// put aside. The rollout stays as complete as it was: no traffic moves, and nothing that
// happens to the scripts makes it fail.
func applyRecords(d *draft, e Event) error {
	if d.Status != Completed {
		return fmt.Errorf("%w: rollout %s is %s, only a completed one can try records again that were put aside", ErrStale, d.ID, d.Status)
	}
	whose := "rollout " + d.ID
	if e.Step != "" {
		if _, err := d.named(e.Step); err != nil {
			return err
		}
		whose = "step " + e.Step + " of " + whose
	}
	begun := false
	for i := range d.Steps {
		step := d.edit(i)
		if step.Status != StepDone || step.Script.PutAside <= 0 || e.Step != "" && e.Step != step.ID {
			continue
		}
		step.Script.Records, begun = true, true
		step.Tries.forget()
		step.Paused = nil
		step.begin(e.At)
		d.hold(step, e.At)
	}
	if !begun {
		return fmt.Errorf("%w: no records were put aside by %s", ErrStale, whose)
	}
	d.Status, d.Ended = Amending, time.Time{}
	d.Amended++
	return nil
}

// advanceAmended completes the rollout again once no script deals with records any more, also
// none that was told to stop.
func (d *draft) advanceAmended(at time.Time) {
	for _, step := range d.All() {
		if step.Status == StepRunning || step.Status == StepRetrying {
			return
		}
	}
	d.Status, d.Ended, d.Paused = Completed, at, nil
}

// abortAmending ends the attempts at the records. Scripts that run are told to stop, and
// waited for: what they did could be undone next. One that was told so before is left to
// itself. What they have achieved stays, and so does the traffic.
func abortAmending(d *draft, e Event) {
	d.Paused = nil
	for i := range d.Steps {
		switch step := d.edit(i); {
		case step.Status == StepRunning && !step.Cancelled:
			step.Cancelled, step.Paused = true, nil
			d.hold(step, e.At)
		case step.Status == StepRunning:
			step.leave()
			step.Ended, step.Error = e.At, &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "it was aborted, and did not say that it has stopped"}
			step.giveUp()
		case step.Status == StepRetrying:
			step.giveUp()
		}
	}
	d.advance(e.At)
}

// Stopping reports whether the scripts that run were all told to stop, as one does that are
// waited for.
func (s State) Stopping() bool {
	return !slices.ContainsFunc(s.Steps, func(step *Step) bool {
		return step.Status == StepRetrying || step.Status == StepRunning && !step.Cancelled
	})
}

// giveUp leaves the records of a step where they are. The step is done, as it was before;
// its error tells of the attempt.
func (s *Step) giveUp() {
	s.Status, s.Paused, s.Cancelled = StepDone, nil, false
	s.Deadline, s.Next, s.Left = time.Time{}, time.Time{}, 0
}

// learn takes in what an answer says of the work. Of an attempt at records that were put
// aside, items are added to those of the attempts before, and a failed one changes nothing.
func (s *Step) learn(answer protocol.Answer, done bool) {
	if done && !s.Revert && s.Kind == Migration {
		s.Script.PutAside = answer.PutAside
	}
	s.Script.Checks = answer.Checks
	if s.Work != nil {
		s.Hosts = answer.Hosts
	}
	switch {
	case !s.Script.Records:
		s.Script.Items, s.Script.Note, s.Script.Digest = answer.Items, answer.Note, answer.Digest
	case done:
		s.Script.Items, s.Script.Note, s.Script.Digest = s.Script.Items+answer.Items, answer.Note, answer.Digest
	}
}
