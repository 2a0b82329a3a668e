package rollout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// ErrNotAllowed says that somebody may not say what he has said.
var ErrNotAllowed = errors.New("not allowed")

// CodeRejected is the code of an approval step that a person has rejected.
const CodeRejected = "rejected"

// asked finds the step that a person speaks about, if it waits for an answer.
func asked(d *draft, e Event) (*Step, error) {
	step, err := d.named(e.Step)
	switch {
	case err != nil:
		return nil, err
	case step.Kind != Approving:
		return nil, fmt.Errorf("%w: step %s asks nobody", ErrStale, e.Step)
	case d.Status != Running || step.Status != StepRunning:
		return nil, fmt.Errorf("%w: step %s of a rollout that is %s is %s, it waits for nobody", ErrStale, e.Step, d.Status, step.Status)
	case e.By == "":
		return nil, fmt.Errorf("%w: nobody is named who says so", ErrNotAllowed)
	}
	asked := *step.Approval
	step.Approval = &asked // the one before this event stays as it is
	p := asked.Policy
	switch {
	case len(p.By) > 0 && !slices.Contains(p.By, e.By):
		return nil, fmt.Errorf("%w: %s may not answer %s, that is for %s", ErrNotAllowed, e.By, e.Step, strings.Join(p.By, ", "))
	case p.NotStarter && e.By == d.By && e.Type != RejectedBy:
		return nil, fmt.Errorf("%w: %s has started the rollout, somebody else has to answer %s", ErrNotAllowed, e.By, e.Step)
	}
	return step, nil
}

// applyConfirmed notes that a person has confirmed an item of the checklist.
func applyConfirmed(d *draft, e Event) error {
	step, err := asked(d, e)
	if err != nil {
		return err
	}
	a := step.Approval
	switch {
	case e.Item < 1 || e.Item > len(a.Checklist):
		return fmt.Errorf("%w: the checklist of %s has %d items, there is no item %d", ErrStale, e.Step, len(a.Checklist), e.Item)
	case slices.ContainsFunc(a.Confirmed, func(v Vote) bool { return v.Item == e.Item }):
		return fmt.Errorf("%w: item %d of %s is confirmed already", ErrStale, e.Item, e.Step)
	}
	a.Confirmed = append(slices.Clip(a.Confirmed), Vote{By: e.By, At: e.At, Reason: e.Reason, Item: e.Item})
	slices.SortFunc(a.Confirmed, func(a, b Vote) int { return a.Item - b.Item })
	return nil
}

// applyApproved counts a yes, and goes on once there are enough.
func applyApproved(d *draft, e Event) error {
	step, err := asked(d, e)
	if err != nil {
		return err
	}
	a := step.Approval
	if open := a.Unconfirmed(); len(open) > 0 {
		return fmt.Errorf("%w: item %d of the checklist of %s is not confirmed: %s", ErrStale, open[0], e.Step, a.Checklist[open[0]-1])
	}
	if slices.ContainsFunc(a.Approved, func(v Vote) bool { return v.By == e.By }) {
		return fmt.Errorf("%w: %s has approved %s already, %d of %d", ErrStale, e.By, e.Step, len(a.Approved), a.needed())
	}
	a.Approved = append(slices.Clip(a.Approved), Vote{By: e.By, At: e.At, Reason: e.Reason})
	if len(a.Approved) < a.needed() {
		return nil
	}
	step.Status, step.Ended, step.Next = StepDone, e.At, time.Time{}
	d.advance(e.At)
	return nil
}

// applyRejected ends the question with a no: the step has failed.
func applyRejected(d *draft, e Event) error {
	step, err := asked(d, e)
	if err != nil {
		return err
	}
	step.Approval.Rejected = &Vote{By: e.By, At: e.At, Reason: e.Reason}
	message := "by " + e.By
	if e.Reason != "" {
		message += ": " + e.Reason
	}
	step.Status, step.Ended, step.Next = StepFailed, e.At, time.Time{}
	step.Error = &protocol.ScriptError{Code: CodeRejected, Message: message}
	d.advance(e.At)
	return nil
}

// applyReminded notes that somebody was reminded, and sets the time of the next reminder.
func applyReminded(d *draft, e Event) error {
	step, err := d.named(e.Step)
	if err != nil {
		return err
	}
	if step.Kind != Approving || step.Status != StepRunning || step.Next.IsZero() || e.At.Before(step.Next) {
		return fmt.Errorf("%w: nobody is to be reminded of step %s now", ErrStale, e.Step)
	}
	asked := *step.Approval
	asked.Reminded++
	step.Approval, step.Next = &asked, e.At.Add(time.Duration(asked.Deadline))
	return nil
}

// Unconfirmed lists the items of the checklist that nobody has confirmed, from 1.
func (a Approval) Unconfirmed() []int {
	var open []int
	for i := range a.Checklist {
		if !slices.ContainsFunc(a.Confirmed, func(v Vote) bool { return v.Item == i+1 }) {
			open = append(open, i+1)
		}
	}
	return open
}

// needed is how many people have to approve.
func (a Approval) needed() int { return max(a.Policy.Count, 1) }

// ask begins a question anew: nobody has said anything.
func (s *Step) ask(at time.Time) {
	asked := Approval{Question: s.Approval.Question, Policy: s.Approval.Policy}
	s.Approval = &asked
	if asked.Deadline > 0 {
		s.Next = at.Add(time.Duration(asked.Deadline))
	}
}

// withdraw ends a question that nobody has to answer any more.
func (s *Step) withdraw(at time.Time, why string) {
	s.Status, s.Ended, s.Next = StepFailed, at, time.Time{}
	s.Error = &protocol.ScriptError{Code: protocol.CodeCancelled, Message: why}
}

// waitsForPeople says whom a question waits for, in words for people.
func (s Step) waitsForPeople() string {
	a := s.Approval
	who := "somebody"
	if len(a.Policy.By) > 0 {
		who = strings.Join(a.Policy.By, " or ")
	}
	text := fmt.Sprintf("%s: %s to approve it: %s", s.ID, who, a.Text)
	var details []string
	if open := a.Unconfirmed(); len(open) > 0 {
		details = append(details, fmt.Sprintf("%d of %d items confirmed", len(a.Checklist)-len(open), len(a.Checklist)))
	}
	if a.needed() > 1 {
		details = append(details, fmt.Sprintf("%d of %d have approved", len(a.Approved), a.needed()))
	}
	if len(details) > 0 {
		text += " (" + strings.Join(details, ", ") + ")"
	}
	return text
}
