package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Words about approvals.

// WaitingFor is the approval that a rollout waits for; false if there is none.
func WaitingFor(s rollout.State) (rollout.Step, bool) {
	for _, step := range s.All() {
		if Asks(step) {
			return step, true
		}
	}
	return rollout.Step{}, false
}

// Asks reports whether a step waits for people to approve it.
func Asks(step rollout.Step) bool {
	return step.Kind == rollout.Approving && step.Status == rollout.StepRunning && step.Approval != nil
}

// approvers are those who may approve.
func approvers(a rollout.Approval) string {
	if len(a.Policy.By) == 0 {
		return "somebody"
	}
	return either(a.Policy.By)
}

// either names all of which one is meant.
func either(names []string) string {
	if n := len(names); n > 1 {
		return strings.Join(names[:n-1], ", ") + " or " + names[n-1]
	}
	return strings.Join(names, "")
}

// howMany is how many people have to approve.
func howMany(a rollout.Approval) int { return max(a.Policy.Count, 1) }

// TellMissing is what an approval that waits still needs, and from whom.
func TellMissing(s rollout.State, step rollout.Step) string {
	a := step.Approval
	var all []string
	if open := a.Unconfirmed(); len(open) > 0 {
		all = append(all, fmt.Sprintf("%d of %s confirmed", len(a.Checklist)-len(open), terminal.Plural(len(a.Checklist), "item")))
	}
	have := fmt.Sprintf("%d of %d have approved", len(a.Approved), howMany(*a))
	return strings.Join(append(all, have, mayStill(s, *a)), ", ")
}

// mayStill tells who may approve that has not.
func mayStill(s rollout.State, a rollout.Approval) string {
	var not []string
	for _, v := range a.Approved {
		not = append(not, v.By)
	}
	if a.Policy.NotStarter && s.By != "" && !slices.Contains(not, s.By) {
		not = append(not, s.By)
	}
	switch may := slices.DeleteFunc(slices.Clone(a.Policy.By), func(by string) bool { return slices.Contains(not, by) }); {
	case len(may) > 0:
		return either(may) + " may"
	case len(a.Policy.By) > 0:
		return "and nobody else may"
	case len(not) > 0:
		return "anybody may but " + either(not)
	}
	return "anybody may"
}

// TellApproval is what an approval waits for, on one line.
func TellApproval(s rollout.State, step rollout.Step) string {
	a := step.Approval
	text := approvers(*a) + " to approve: " + terminal.Flat(a.Text)
	if len(a.Unconfirmed()) > 0 || howMany(*a) > 1 {
		text += " (" + TellMissing(s, step) + ")"
	}
	return text
}

// AnswerWith are the commands that answer an approval, each on a line.
func AnswerWith(id, step string) string {
	return fmt.Sprintf("answer with: golive approve %s %s\nor with: golive reject %[1]s %[2]s", id, step)
}

// WhyFailed is why a step, which has an error, has failed.
func WhyFailed(step rollout.Step) string {
	if step.Error.Code == rollout.CodeRejected {
		return "rejected " + step.Error.Message
	}
	return step.Error.Error()
}

// TellVotes names those who have approved, and what they said.
func TellVotes(votes []rollout.Vote) string {
	var all []string
	for _, v := range votes {
		text := v.By
		if v.Reason != "" {
			text += " (" + v.Reason + ")"
		}
		all = append(all, text)
	}
	if n := len(all); n > 1 {
		return strings.Join(all[:n-1], ", ") + " and " + all[n-1]
	}
	return strings.Join(all, "")
}

// tellQuestion is what an approval asks, and of whom, before it does.
func tellQuestion(a rollout.Approval) string {
	text := "ask " + approvers(a)
	if n := howMany(a); n > 1 {
		text = fmt.Sprintf("ask %d of %s", n, strings.Join(a.Policy.By, ", "))
		if len(a.Policy.By) == 0 {
			text = fmt.Sprintf("ask %d people", n)
		}
	}
	if a.Policy.NotStarter {
		text += ", not who has started it"
	}
	text += ": " + terminal.Flat(a.Text)
	if n := len(a.Checklist); n > 0 {
		text += " (checklist of " + terminal.Plural(n, "item") + ")"
	}
	return text
}

// Approval tells of an approval that waits, as it stands.
func Approval(r rollout.State, step rollout.Step) []terminal.Line {
	var l lines
	a := step.Approval
	l.say(terminal.Yellow, "?", "%s of %s %s: %s: %s", step.ID, r.Release.App, r.Release.Version, terminal.Flat(a.Text), TellMissing(r, step))
	for i, item := range a.Checklist {
		done := ""
		for _, v := range a.Confirmed {
			if v.Item == i+1 {
				done = ", confirmed by " + v.By
			}
		}
		l.say(terminal.Plain, " ", " %2d. %s%s", i+1, item, done)
	}
	return l
}

// changeApproval shows how an approval of a rollout has begun, or ended, and with which
// commands it can be answered, if that is wanted.
func (l *lines) changeApproval(step rollout.Step, id string, commands bool) {
	a := step.Approval
	lasted := terminal.Took(step.Ended.Sub(step.Started))
	switch {
	case step.Status == rollout.StepRunning:
		text := fmt.Sprintf("%s: waits for %s to approve: %s", step.ID, approvers(*a), terminal.Flat(a.Text))
		if n := howMany(*a); n > 1 {
			text = fmt.Sprintf("%s: waits for %d people, of %s, to approve: %s", step.ID, n, strings.Join(a.Policy.By, ", "), terminal.Flat(a.Text))
			if len(a.Policy.By) == 0 {
				text = fmt.Sprintf("%s: waits for %d people to approve: %s", step.ID, n, terminal.Flat(a.Text))
			}
		}
		l.say(terminal.Yellow, "?", "%s%s", text, attempt(step))
		for i, item := range a.Checklist {
			l.say(terminal.Plain, " ", " %2d. %s", i+1, item)
		}
		if commands {
			for line := range strings.Lines(AnswerWith(id, step.ID)) {
				l.say(terminal.Plain, " ", "%s", line)
			}
		}
	case step.Status == rollout.StepDone:
		l.say(terminal.Green, "✓", "%s: approved by %s (%s)", step.ID, TellVotes(a.Approved), lasted)
	case step.Status == rollout.StepFailed && step.Error != nil && step.Error.Code == rollout.CodeRejected:
		l.say(terminal.Red, "✗", "%s: %s (%s)", step.ID, WhyFailed(step), lasted)
	case step.Status == rollout.StepFailed && step.Error != nil && step.Error.Code == protocol.CodeCancelled:
		l.say(terminal.Yellow, "✗", "%s: nobody has to answer any more: %s", step.ID, step.Error.Message)
	}
}

// said shows what a person has said to an approval that waits on; what has ended it is told
// with its end. False if the event is about something else.
func (l *lines) said(r rollout.State) bool {
	e := r.Event
	step, _ := r.Step(e.Step)
	switch e.Type {
	case rollout.RejectedBy:
	case rollout.ApprovedBy:
		if Asks(step) {
			l.say(terminal.Plain, "*", "%s%s (%s)", tellPerson(e), Because(e), TellMissing(r, step))
		}
	case rollout.ItemConfirmed:
		text := ""
		if a := step.Approval; a != nil && e.Item >= 1 && e.Item <= len(a.Checklist) {
			text = " (" + a.Checklist[e.Item-1] + ")"
		}
		l.say(terminal.Plain, "*", "%s%s%s", tellPerson(e), text, Because(e))
	case rollout.Reminded:
		if Asks(step) {
			l.say(terminal.Yellow, "!", "%s still waits, since %s, for %s", e.Step, terminal.Took(e.At.Sub(step.Started).Round(time.Second)), TellApproval(r, step))
		}
	default:
		return false
	}
	return true
}
