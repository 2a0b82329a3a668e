package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Words about commands and checks, which agents do on hosts.

// lastLines is how many lines of what a host has written a story shows.
const lastLines = 5

// tellWork is what a command or check does, and where: on the hosts that can do it now, if
// they are known.
func tellWork(w rollout.Work, hosts []string, known bool) string {
	labels := make([]string, 0, len(w.On))
	for _, key := range slices.Sorted(maps.Keys(w.On)) {
		labels = append(labels, key+"="+w.On[key])
	}
	text := "run"
	if w.Check {
		text = "check"
	}
	switch with := strings.Join(labels, ", "); {
	case with == "" && len(hosts) > 1:
		text += " on one of " + some(hosts)
	case with == "" && len(hosts) == 1:
		text += " on " + hosts[0]
	case with == "":
		text += " on any one host"
	case len(hosts) > 0:
		text += " on " + some(hosts) + " (" + with + ")"
	default:
		text += " on hosts with " + with
	}
	if known && len(hosts) == 0 {
		text += ", of which none is there"
	}
	switch {
	case w.Need.Hosts > 0:
		text += fmt.Sprintf(", %d must succeed", w.Need.Hosts)
	case w.Need.Percent > 0:
		text += fmt.Sprintf(", %d %% must succeed", w.Need.Percent)
	}
	if w.AtOnce > 0 {
		text += fmt.Sprintf(", %d at once", w.AtOnce)
	}
	return text
}

// some are the first of names, and how many more there are.
func some(names []string) string {
	const most = 5
	if more := len(names) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), more)
	}
	return strings.Join(names, ", ")
}

// TellHosts is on how many hosts a command or check has been done; empty when that is not
// known.
func TellHosts(hosts []protocol.Host) string {
	done := 0
	for _, h := range hosts {
		if h.Status == protocol.HostDone {
			done++
		}
	}
	switch {
	case len(hosts) == 0:
		return ""
	case done == len(hosts):
		return terminal.Plural(done, "host")
	}
	return fmt.Sprintf("%d of %s", done, terminal.Plural(len(hosts), "host"))
}

// failedHosts are those on which it was begun, and has not succeeded.
func failedHosts(hosts []protocol.Host) []protocol.Host {
	return slices.DeleteFunc(slices.Clone(hosts), func(h protocol.Host) bool {
		return h.Status != protocol.HostFailed && h.Status != protocol.HostLost
	})
}

// tellHost is what came of a host, in a few words.
func tellHost(h protocol.Host) string {
	text := string(h.Status)
	if h.Exit != nil && *h.Exit != 0 {
		text += fmt.Sprintf(", exit code %d", *h.Exit)
	}
	if !h.Ended.IsZero() && !h.Started.IsZero() {
		text += " after " + terminal.Took(h.Ended.Sub(h.Started))
	}
	if why := strings.Join(terminal.NonEmpty(h.Error, h.Note), ", "); why != "" {
		text += ": " + terminal.OneLine(why)
	}
	return text
}

// lastOf are the last lines of what a host has written, without anything that would move the
// cursor.
func lastOf(output string, most int) []string {
	var lines []string
	for line := range strings.Lines(output) {
		if line = terminal.Bare(line); strings.TrimSpace(line) != "" {
			lines = append(lines, line)
		}
	}
	return lines[max(0, len(lines)-most):]
}

// changeWork shows a change of a command or check.
func (l *lines) changeWork(step rollout.Step) {
	lasted := terminal.Took(step.Ended.Sub(step.Started))
	begun, done, broke := workWords(step.Kind, step.Revert)
	on := TellHosts(step.Hosts)
	switch step.Status {
	case rollout.StepRunning:
		if step.Cancelled {
			begun = "is told to stop"
		}
		l.say(terminal.Plain, "→", "%s %s%s", step.ID, begun, attempt(step))
		return
	case rollout.StepDone, rollout.StepReverted:
		if on != "" {
			done += " on " + on
		}
		if told := noteOfAll(step.Hosts); told != "" {
			done += ": " + told
		}
		l.say(terminal.Green, "✓", "%s %s (%s%s)", step.ID, done, lasted, note(step))
	case rollout.StepRetrying:
		l.say(terminal.Yellow, "✗", "%s %s (%s): %s: attempt %d %s", step.ID, broke, lasted, step.Error, step.Attempt+1, nextTry(step))
	case rollout.StepFailed:
		if step.Error.Code == protocol.CodeCancelled {
			l.say(terminal.Yellow, "✗", "%s is stopped (%s): %s", step.ID, lasted, step.Error.Message)
			break
		}
		l.say(terminal.Red, "✗", "%s %s (%s): %s", step.ID, broke, lasted, step.Error)
	default:
		return
	}
	l.failedHosts(step.Hosts)
}

// noteOfAll is what all hosts have noted, if that is the same.
func noteOfAll(hosts []protocol.Host) string {
	note := ""
	for i, h := range hosts {
		if i > 0 && h.Note != note {
			return ""
		}
		note = h.Note
	}
	return note
}

// workWords say that a command or check has begun, is done, and has failed.
func workWords(kind rollout.Kind, revert bool) (begun, done, broke string) {
	switch {
	case revert:
		return "is being undone", "is undone", "could not be undone"
	case kind == rollout.Check:
		return "is being checked", "holds", "does not hold"
	}
	return "runs", "is done", "has failed"
}

// changeWorkAttempt shows the end of an attempt after which a command or check has gone on
// at once.
func (l *lines) changeWorkAttempt(step rollout.Step, e rollout.Event) {
	_, done, broke := workWords(step.Kind, e.Revert)
	switch {
	case e.Type == rollout.StepAnswered:
		l.say(terminal.Green, "✓", "%s %s", step.ID, done)
	case e.Type == rollout.StepBroke && e.Answer != nil && e.Answer.Error != nil:
		text := ""
		if e.Revert == step.Revert {
			text = fmt.Sprintf(": attempt %d at once", step.Attempt)
		}
		l.say(terminal.Yellow, "✗", "%s %s: %s%s", step.ID, broke, e.Answer.Error, text)
		l.failedHosts(e.Answer.Hosts)
	}
}

// failedHosts shows what came of the hosts that have failed, and what they wrote last.
func (l *lines) failedHosts(hosts []protocol.Host) {
	for _, h := range failedHosts(hosts) {
		l.say(terminal.Red, " ", "✗ %s: %s", h.Name, tellHost(h))
		for _, line := range lastOf(h.Output, lastLines) {
			l.say(terminal.Dim, " ", "  %s | %s", h.Name, line)
		}
	}
}
