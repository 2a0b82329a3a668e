package rollout_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// workflowLine understands a line of a release that is about its workflow or its policy; false
// when it is about something else.
func (w *world) workflowLine(words []string) (bool, error) {
	switch words[0] {
	case "approvals:":
		return true, w.policy(words[1:])
	case "-":
		item, err := workflowItem(words[1:])
		w.release.Workflow = append(w.release.Workflow, item)
		return true, err
	}
	return false, nil
}

// policy understands who may approve:
//
//	approvals: [required] [notStarter] [by WHO,…] [count N] [deadline DURATION]
func (w *world) policy(words []string) (err error) {
	p := &w.release.Approvals
	for len(words) > 0 && err == nil {
		word, value := words[0], ""
		words = words[1:]
		switch word {
		case "required":
			p.Required = true
			continue
		case "notStarter":
			p.NotStarter = true
			continue
		}
		if len(words) > 0 {
			value, words = words[0], words[1:]
		}
		switch word {
		case "by":
			p.By = strings.Split(value, ",")
		case "count":
			p.Count, err = strconv.Atoi(value)
		case "deadline":
			err = p.Deadline.UnmarshalText([]byte(value))
		default:
			err = errWords
		}
	}
	return err
}

// workflowItem understands an entry of a workflow:
//
//   - phase PHASE
//   - open | drain NAME,… | maintenance-on [NAME,…] | maintenance-off [NAME,…]
//   - approval NAME [text TEXT] [item TEXT]… [deadline DURATION]
//   - command|check NAME [backward] [on KEY=VALUE,…] [need N|N%] [atOnce N] [timeout DURATION]
//     [retries N] [backoff DURATION]
//
// A TEXT has underscores for its spaces.
func workflowItem(words []string) (rollout.Item, error) {
	if len(words) == 0 {
		return rollout.Item{}, errWords
	}
	word, words := words[0], words[1:]
	moves := []rollout.Move{rollout.Open, rollout.Drain, rollout.MaintenanceOn, rollout.MaintenanceOff}
	switch {
	case slices.Contains(moves, rollout.Move(word)) && len(words) < 2 && (word != "drain" || len(words) == 1):
		item := rollout.Item{Traffic: rollout.Move(word)}
		if len(words) == 1 {
			item.Services = strings.Split(words[0], ",")
		}
		return item, nil
	case len(words) == 0:
	case word == "phase" && len(words) == 1:
		return rollout.Item{Phase: protocol.Phase(words[0])}, nil
	case word == "approval":
		q, err := question(words[1:])
		return rollout.Item{Name: words[0], Approval: &q}, err
	case word == "command", word == "check":
		work, err := work(words[1:])
		work.Check = word == "check"
		return rollout.Item{Name: words[0], Work: &work}, err
	}
	return rollout.Item{}, errWords
}

func question(words []string) (rollout.Question, error) {
	q := rollout.Question{Text: "May it go on?"}
	if len(words)%2 == 1 {
		return q, errWords
	}
	for ; len(words) > 0; words = words[2:] {
		text := strings.ReplaceAll(words[1], "_", " ")
		switch words[0] {
		case "text":
			q.Text = text
		case "item":
			q.Checklist = append(q.Checklist, text)
		case "deadline":
			if err := q.Deadline.UnmarshalText([]byte(text)); err != nil {
				return q, err
			}
		default:
			return q, errWords
		}
	}
	return q, nil
}

func work(words []string) (w rollout.Work, err error) {
	if len(words) > 0 && words[0] == "backward" {
		w.Backward, words = true, words[1:]
	}
	if len(words)%2 == 1 {
		return w, errWords
	}
	for ; len(words) > 0 && err == nil; words = words[2:] {
		switch value := words[1]; words[0] {
		case "on":
			w.On = make(map[string]string)
			for _, label := range strings.Split(value, ",") {
				key, is, _ := strings.Cut(label, "=")
				w.On[key] = is
			}
		case "need":
			to := &w.Need.Hosts
			if share, found := strings.CutSuffix(value, "%"); found {
				to, value = &w.Need.Percent, share
			}
			*to, err = strconv.Atoi(value)
		case "atOnce":
			w.AtOnce, err = strconv.Atoi(value)
		case "timeout":
			err = w.Timeout.UnmarshalText([]byte(value))
		case "retries":
			w.Retries, err = strconv.Atoi(value)
		case "backoff":
			err = w.Backoff.UnmarshalText([]byte(value))
		default:
			err = errWords
		}
	}
	return w, err
}

// says has a person answer a question.
func (w *world) says(what string, args []string) (string, error) {
	e := rollout.Event{Type: rollout.ApprovedBy}
	switch {
	case what == "confirm" && len(args) == 3:
		var err error
		if e.Item, err = strconv.Atoi(args[1]); err != nil {
			return "", err
		}
		e.Type, args = rollout.ItemConfirmed, slices.Delete(args, 1, 2)
	case what == "confirm", len(args) < 2:
		return "", errWords
	case what == "reject":
		e.Type = rollout.RejectedBy
	}
	e.Step, e.By, e.Reason = args[0], args[1], strings.Join(args[2:], " ")
	if e.By == "-" {
		e.By = ""
	}
	return w.apply(e)
}

func (w *world) further(args []string) (string, error) {
	if len(args) > 1 {
		return "", errWords
	}
	return w.apply(rollout.Event{Type: rollout.FurtherAsked, By: "ada", Until: protocol.Phase(strings.Join(args, ""))})
}

func describeVotes(a *rollout.Approval) string {
	if a == nil {
		return ""
	}
	text := ""
	for _, v := range a.Confirmed {
		text += fmt.Sprintf(", item %d confirmed by %s", v.Item, v.By)
	}
	for _, v := range a.Approved {
		text += ", approved by " + v.By
	}
	if a.Rejected != nil {
		text += ", rejected by " + a.Rejected.By
	}
	if a.Reminded > 0 {
		text += fmt.Sprintf(", reminded %d times", a.Reminded)
	}
	return text
}

func describeWork(step rollout.Step) string {
	if step.Cancelled {
		return "wait for " + step.ID
	}
	text := fmt.Sprintf("%s %s #%d", step.Kind, step.ID, step.Attempt)
	if step.Revert {
		text += " backward"
	}
	if len(step.Work.On) > 0 {
		text += fmt.Sprintf(" on %v", step.Work.On)
	}
	switch need := step.Work.Need; {
	case need.Hosts > 0:
		text += fmt.Sprintf(", %d hosts have to succeed", need.Hosts)
	case need.Percent > 0:
		text += fmt.Sprintf(", %d%% of the hosts have to succeed", need.Percent)
	}
	if step.Work.AtOnce > 0 {
		text += fmt.Sprintf(", on %d at once", step.Work.AtOnce)
	}
	if !step.Deadline.IsZero() {
		text += " until " + step.Deadline.Format(time.TimeOnly)
	}
	return text
}
