package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Moment says whether a snapshot was cut at one moment.
func Moment(m snapshot.Moment) string {
	paused := ""
	if m.Paused {
		paused = ", while all its services were under maintenance"
	}
	if m.One {
		return "of one moment" + paused
	}
	if m.Skew == 0 { // and of what is not in JetStream it is not known
		return fmt.Sprintf("not of one moment: its parts were taken one after the other within %s%s", terminal.Took(time.Duration(m.Within)), paused)
	}
	return fmt.Sprintf("not of one moment: %s stored within the %s in which its streams were cut%s",
		was(m.Skew, "message"), terminal.Took(time.Duration(m.Within)), paused)
}

// was is a number of things with its verb.
func was(n uint64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return terminal.Grouped(int64(n)) + " " + what + "s were"
}

// tellPlannedSnapshot is what a snapshot would take.
func tellPlannedSnapshot(s api.PlannedSnapshot) string {
	if len(s.Services) == 0 {
		return "take a snapshot: there is no data yet"
	}
	text := "take a snapshot of " + strings.Join(s.Services, ", ")
	if s.Bytes > 0 { // nobody knows how much there is outside of JetStream
		text += ", " + terminal.Bytes(int64(s.Bytes))
	}
	if s.Estimate != nil {
		text += ", about " + terminal.Took(time.Duration(*s.Estimate))
	}
	return text
}

// TellTaken is the snapshot that a rollout has taken, in a few words.
func TellTaken(s rollout.SnapshotRun) string {
	if s.ID == "" {
		return "there was no data yet" + absent(s)
	}
	moment := "of one moment"
	if !s.One {
		moment = "not of one moment"
	}
	return fmt.Sprintf("%s, %s, %s%s", s.ID, terminal.Bytes(int64(s.Bytes)), moment, absent(s))
}

// absent names the streams that were not there yet, and the state that the version which is live
// does not give.
func absent(s rollout.SnapshotRun) string {
	var streams, states []string
	for _, name := range s.Absent {
		if strings.Contains(name, " ") { // no stream is called so
			states = append(states, name)
		} else {
			streams = append(streams, name)
		}
	}
	text := ""
	if len(states) > 0 {
		text = "; without " + some(states) + ": the version that is live does not"
	}
	switch len(streams) {
	case 0:
		return text
	case 1:
		return ": stream " + streams[0] + " is not there yet" + text
	}
	return ": streams " + some(streams) + " are not there yet" + text
}

// changeSnapshot shows a change of the step that takes a snapshot.
func (l *lines) changeSnapshot(step rollout.Step) {
	lasted := terminal.Took(step.Ended.Sub(step.Started))
	switch step.Status {
	case rollout.StepRunning:
		begun := "is being taken"
		if step.Snapshot.Checks != "" {
			begun = "is being read back"
		}
		if step.Cancelled {
			begun = "is told to stop"
		}
		l.say(terminal.Plain, "→", "%s %s%s", step.ID, begun, attempt(step))
	case rollout.StepDone:
		if step.Snapshot.Checks != "" {
			l.say(terminal.Green, "✓", "%s: it is whole: %s (%s)", step.ID, TellTaken(*step.Snapshot), lasted)
			return
		}
		l.say(terminal.Green, "✓", "%s: %s (%s)", step.ID, TellTaken(*step.Snapshot), lasted)
	case rollout.StepRetrying:
		l.say(terminal.Yellow, "✗", "%s (%s): %s: attempt %d %s", step.ID, lasted, step.Error, step.Attempt+1, nextTry(step))
	case rollout.StepFailed:
		color := terminal.Red
		if step.Error.Code == protocol.CodeCancelled {
			color = terminal.Yellow
		}
		l.say(color, "✗", "%s (%s): %s", step.ID, lasted, step.Error)
	}
}
