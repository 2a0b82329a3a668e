package main

import (
	"fmt"
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// stands reports whether a rollout has ended, or goes on only if somebody wants it to.
func stands(s rollout.State) bool {
	return s.Status.Final() || s.Held() || s.Status == rollout.Failed && !s.TurnsBack()
}

// tellStatus is the status of a rollout or, while it does not go on by itself, that.
func tellStatus(s rollout.State) string {
	if _, waits := waitingFor(s); waits {
		return "waiting"
	}
	if s.Held() {
		return "held"
	}
	return string(s.Status)
}

// toSay are the commands that have a rollout go on that waits for a person.
func toSay(s rollout.State) []string {
	var all []string
	if step, waits := waitingFor(s); waits {
		all = append(all, strings.Split(answerWith(s.ID, step.ID), "\n")...)
	}
	if s.Held() {
		all = append(all, "go on with: golive deploy, in the folder of "+s.Release.App+" "+s.Release.Version)
	}
	if s.Status == rollout.Failed && s.Backward == nil && !s.TurnsBack() {
		if lines := strings.Split(afterFailure(s), "\n"); len(lines) > 1 {
			all = append(all, lines...)
		}
	}
	return all
}

// asked tells who has asked for a rollout.
func asked(r rollout.State) string {
	if r.By == "" {
		return ""
	}
	return " by " + r.By
}

// afterAbort is how things are when a rollout has been aborted.
func afterAbort(r rollout.State) string {
	if len(r.Steps) == 0 {
		return "it had not begun"
	}
	return "what was online before is online"
}

// left is how many records of a rollout, or of one of its steps, are put aside.
func left(r rollout.State, step string) int64 {
	n := int64(0)
	for _, s := range r.All() {
		if step == "" || step == s.ID {
			n += s.PutAside
		}
	}
	return n
}

// tellLeft says how many records of a rollout are put aside, and how one sees them; empty
// when there are none.
func tellLeft(r rollout.State) string {
	n := left(r, "")
	if n == 0 {
		return ""
	}
	what := "1 record was"
	if n > 1 {
		what = fmt.Sprintf("%d records were", n)
	}
	return fmt.Sprintf("%s put aside: golive show %s --failed-records", what, r.ID)
}
