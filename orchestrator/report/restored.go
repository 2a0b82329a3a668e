package report

import (
	"fmt"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Restored is what a restore was to put back.
type Restored struct {
	Snapshot string   `json:"snapshot"`
	Of       string   `json:"of,omitempty"`   // the rollout right before which it was taken; absent: somebody had asked for it
	From     string   `json:"from,omitempty"` // version that was live when it began
	Messages uint64   `json:"messages"`       // that were put back
	Digests  []Digest `json:"digests"`        // of the data of each service that was put back, as it was read back; that of the snapshot
}

// restored is what a restore has put back; nil for any other rollout.
func restored(s rollout.State) *Restored {
	if s.Restore == nil {
		return nil
	}
	r := &Restored{Snapshot: s.Restore.Snapshot, Of: s.Restore.Of, From: s.Restore.From, Digests: []Digest{}}
	for _, step := range s.All() {
		if step.Put != nil && step.Put.Digest != "" && step.Status == rollout.StepDone {
			r.Messages += step.Put.Messages
			r.Digests = append(r.Digests, Digest{Part: step.ID, Version: step.Version, Digest: step.Put.Digest})
		}
	}
	return r
}

// asOf says as of when the data and traffic are that a restore puts back.
func asOf(r rollout.Restore) string {
	if r.Of != "" {
		return "as right before rollout " + r.Of
	}
	return "as in snapshot " + r.Snapshot
}

// endRestore says that a restore has ended, or what it waits for.
func (l *lines) endRestore(r rollout.State) {
	what := r.Release.App + " " + r.Release.Version
	switch {
	case r.Status == rollout.Completed && r.Restore.Live == "":
		l.say(terminal.Green, "✓", "no version of %s is live, and its data is %s: %s%s", r.Release.App, asOf(*r.Restore), inTime(r), withDowntime(r))
		return
	case r.Restore.Live == "":
		what = r.Release.App
	}
	switch r.Status {
	case rollout.Completed:
		l.say(terminal.Green, "✓", "%s is live, with its data %s: %s%s", what, asOf(*r.Restore), inTime(r), withDowntime(r))
	case rollout.Failed:
		if r.Backward == nil {
			l.say(terminal.Red, "✗", "the restore has failed: data and traffic are put back as they were when it began")
			return
		}
		l.say(terminal.Red, "✗", "the restore is not undone: its way back has failed, and the services stay under maintenance until it is retried")
	case rollout.Reverted:
		l.say(terminal.Yellow, "✗", "the restore of %s is undone%s: data and traffic are as they were when it began", what, withDowntime(r))
	case rollout.Aborted:
		l.say(terminal.Red, "✗", "the restore of %s is ended as it is%s: %s", what, withDowntime(r), afterRestoreAbort)
	case rollout.Superseded:
		l.say(terminal.Yellow, "✗", "rollout %s was superseded%s", r.ID, Because(r.Event))
	}
}

const afterRestoreAbort = "services may be under maintenance and their data incomplete, until another restore puts something whole back"

// changePut shows a change of a step that puts data back.
func (l *lines) changePut(step rollout.Step) {
	lasted := terminal.Took(step.Ended.Sub(step.Started))
	switch step.Status {
	case rollout.StepRunning:
		begun := "the data is being put back"
		switch {
		case step.Cancelled:
			begun = "is told to stop"
		case step.Revert:
			begun = "the data is being put back as it was when the restore began"
		}
		l.say(terminal.Plain, "→", "%s: %s%s", step.ID, begun, attempt(step))
	case rollout.StepDone:
		l.say(terminal.Green, "✓", "%s: %s, as in the snapshot (%s)", step.ID, terminal.Plural(int(step.Put.Messages), "message"), lasted)
	case rollout.StepReverted:
		l.say(terminal.Green, "✓", "%s: the data is as it was when the restore began (%s)", step.ID, lasted)
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

// putDoes is what a step of a restore does that puts data back.
func putDoes(p rollout.PutRun) string {
	text := ""
	if p.Bytes > 0 {
		text = "put " + terminal.Bytes(int64(p.Bytes)) + " of data back"
	}
	if len(p.Drop) > 0 {
		if text != "" {
			text += ", "
		}
		text += fmt.Sprintf("delete %s, which was not there", some(p.Drop))
	}
	if text == "" {
		return "put the data back"
	}
	return text
}

// AsOf says as of when the data and traffic are that a restore would put back.
func AsOf(p api.RestorePlan) string { return asOf(rollout.Restore{Snapshot: p.Snapshot, Of: p.Of}) }

// TellRestoreStep is what a step of a restore would do.
func TellRestoreStep(s api.RestoreStep) string {
	step := rollout.Step{ID: s.ID, Kind: s.Kind, Name: s.Name, Version: s.Version, Move: rollout.RouteMove{Drain: s.Drain, Replaces: &rollout.Replace{Online: s.Online}}}
	switch s.Kind {
	case rollout.Put:
		step.Put = &rollout.PutRun{Bytes: s.Bytes, Drop: s.Drop}
	case rollout.Snapshot:
		step.Snapshot = &rollout.SnapshotRun{}
		if s.Checks {
			step.Snapshot.Checks = s.ID
		}
	}
	return stepDoes(step)
}
