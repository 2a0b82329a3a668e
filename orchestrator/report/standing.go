package report

import (
	"fmt"
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// How a rollout stands, in words.

// Stands reports whether a rollout has ended, or goes on only if somebody wants it to.
func Stands(s rollout.State) bool {
	return s.Status.Final() || s.Held() || s.Status == rollout.Failed && !s.TurnsBack()
}

// TellStatus is the status of a rollout or, while it does not go on by itself, that.
func TellStatus(s rollout.State) string {
	if _, waits := WaitingFor(s); waits {
		return "waiting"
	}
	if s.Held() {
		return "held"
	}
	if s.IsRepeat() {
		return string(s.Status) + ", no change"
	}
	if s.Restore != nil {
		return string(s.Status) + ", restore"
	}
	return string(s.Status)
}

// TellRepeat says of a rollout that has only repeated another one which that is; empty of any
// other.
func TellRepeat(s rollout.State) string {
	if !s.IsRepeat() {
		return ""
	}
	return fmt.Sprintf("nothing was left to run or to move: %s %s is live by rollout %s", s.Release.App, s.Release.Version, s.Repeats)
}

// ToSay are the commands that have a rollout go on that waits for a person, each on a line.
func ToSay(s rollout.State) []string {
	var all []string
	if step, waits := WaitingFor(s); waits {
		all = append(all, strings.Split(AnswerWith(s.ID, step.ID), "\n")...)
	}
	if s.Held() {
		all = append(all, "go on with: golive deploy, in the folder of "+s.Release.App+" "+s.Release.Version)
	}
	if s.Status == rollout.Failed && s.Restore == nil && s.Backward == nil && !s.TurnsBack() {
		if lines := strings.Split(afterFailure(s), "\n"); len(lines) > 1 {
			all = append(all, lines...)
		}
	}
	return all
}

// Asked tells who has asked for a rollout, behind a space; empty when that is not known.
func Asked(r rollout.State) string {
	if r.By == "" {
		return ""
	}
	return " by " + r.By
}

// AfterAbort is how things are when a rollout has been aborted.
func AfterAbort(r rollout.State) string {
	if len(r.Steps) == 0 {
		return "it had not begun"
	}
	if r.Restore != nil {
		return afterRestoreAbort
	}
	return "what was online before is online"
}

// PutAside is how many records of a rollout, or of one of its steps, are put aside; step empty:
// of all.
func PutAside(r rollout.State, step string) int64 {
	n := int64(0)
	for _, s := range r.All() {
		if step == "" || step == s.ID {
			n += s.Script.PutAside
		}
	}
	return n
}

// TellPutAside says how many records of a rollout are put aside, and how one sees them; empty
// when there are none.
func TellPutAside(r rollout.State) string {
	n := PutAside(r, "")
	if n == 0 {
		return ""
	}
	what := "1 record was"
	if n > 1 {
		what = fmt.Sprintf("%d records were", n)
	}
	return fmt.Sprintf("%s put aside: golive show %s --failed-records", what, r.ID)
}
