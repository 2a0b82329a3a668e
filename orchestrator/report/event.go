package report

import (
	"fmt"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// TellEvent is an event in a few words.
func TellEvent(e api.StoryEvent) string {
	if text := tellPerson(e.Event); text != "" {
		return text + Because(e.Event)
	}
	text := string(e.Type)
	if e.Revert {
		text = map[rollout.EventType]string{rollout.StepAnswered: "reverted", rollout.StepBroke: "revert-failed"}[e.Type]
	}
	if e.Step != "" {
		text += " " + e.Step
	}
	if e.Attempt > 1 {
		text += fmt.Sprintf(" (attempt %d)", e.Attempt)
	}
	if e.Answer != nil && e.Answer.Error != nil {
		text += ": " + e.Answer.Error.Error()
	}
	if e.Type != rollout.Created || e.Reason != "" {
		text += Because(e.Event)
	}
	if e.Status != rollout.Running {
		text += ", rollout " + string(e.Status)
	}
	return text
}

// tellPerson is what a person wanted, as an event tells; empty when it tells something else.
func tellPerson(e rollout.Event) string {
	what := "the rollout"
	if e.Step != "" {
		what = e.Step
	}
	switch e.Type {
	case rollout.ApprovedBy:
		return what + " is approved"
	case rollout.RejectedBy:
		return what + " is rejected"
	case rollout.ItemConfirmed:
		return fmt.Sprintf("item %d of %s is confirmed", e.Item, what)
	case rollout.Reminded:
		return what + " still waits for an answer"
	case rollout.FurtherAsked:
		if e.Until != "" {
			return "the rollout goes on to the end of phase " + string(e.Until)
		}
		return "the rollout goes on to its end"
	case rollout.Retried:
		return "tried again"
	case rollout.AbortAsked:
		return "aborted"
	case rollout.BackwardAsked:
		return "taken backward"
	case rollout.PauseAsked:
		return what + " is paused"
	case rollout.ResumeAsked:
		return what + " goes on, resumed"
	case rollout.Stopped:
		return fmt.Sprintf("attempt %d of %s has stopped", e.Of.Number, e.Of.Script())
	case rollout.PaceAsked:
		return what + " " + TellPace(e.Pace)
	case rollout.RecordsAsked:
		if e.Step != "" {
			return "the records that " + e.Step + " has put aside are tried again"
		}
		return "the records that were put aside are tried again"
	}
	return ""
}

// Because is by whom and why something was asked for, as far as that is known, behind a space:
// " by ann: the disk was full".
func Because(e rollout.Event) string {
	text := ""
	if e.By != "" {
		text += " by " + e.By
	}
	if e.Reason != "" {
		text += ": " + e.Reason
	}
	return text
}

// TellPace says how fast a script may work.
func TellPace(p *protocol.Pace) string {
	if p == nil {
		return "works as fast as it can"
	}
	var all []string
	switch {
	case p.Rate != nil && *p.Rate > 0:
		all = append(all, "at most "+terminal.PerSecond(*p.Rate))
	case p.Rate != nil:
		all = append(all, "as fast as it can")
	}
	if p.InFlight > 0 {
		batches := "batches"
		if p.InFlight == 1 {
			batches = "batch"
		}
		all = append(all, fmt.Sprintf("%d %s at the same time", p.InFlight, batches))
	}
	return "works " + strings.Join(all, ", ")
}
