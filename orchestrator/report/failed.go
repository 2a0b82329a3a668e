package report

import (
	"fmt"
	"slices"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// byItself is by whom a rollout was taken backward for which nobody has asked.
const byItself = "golive"

// WasAskedFor reports whether somebody has asked for a rollout to be taken backward: it does not
// go by itself.
func WasAskedFor(s rollout.State) bool { return s.Backward != nil && s.Backward.By != byItself }

// Failed is what there is to say about a rollout that has ended otherwise than it was meant to.
func Failed(s rollout.State) *Failure {
	back := s.Status == rollout.Failed && s.Backward != nil
	end := map[rollout.Status]string{
		rollout.Failed: "has failed", rollout.Completed: "has completed", rollout.Aborted: "was aborted",
		rollout.Reverted: "was taken backward", rollout.Superseded: "has given way to a later one",
	}[s.Status]
	if back {
		end = "has failed on its way backward"
	}
	what := "rollout"
	if s.Restore != nil {
		what = "restore"
	}
	f := &Failure{Code: CodeFailed, Hint: "golive show " + s.ID + " tells by whom and why",
		Message: fmt.Sprintf("%s %s of %s %s %s", what, s.ID, s.Release.App, s.Release.Version, end)}
	for _, step := range s.FailedSteps() {
		f.Message += fmt.Sprintf("\nstep %s: %s", step.ID, WhyFailed(step))
	}
	if s.Status == rollout.Reverted && s.Backward != nil && s.Backward.By == byItself {
		f.Message += "\n" + s.Backward.Reason
	}
	switch {
	case back && s.Restore != nil:
		f.Hint = "until then the services stay under maintenance; correct the cause, then: golive retry " + s.ID
	case s.Restore != nil && s.Status == rollout.Reverted:
		f.Message += "\ndata and traffic are as they were when it began"
	case back:
		f.Hint = "correct the cause, then: golive retry " + s.ID
	case s.Status == rollout.Failed:
		f.Hint = afterFailure(s)
	}
	return f
}

// afterFailure says how a rollout that has failed can be gone on with, or ended.
func afterFailure(s rollout.State) string {
	again := "correct the cause, then: golive retry " + s.ID
	for _, step := range s.FailedSteps() {
		switch {
		case step.Error != nil && step.Error.Code == rollout.CodeRejected:
			return "it ends with: golive abort " + s.ID + "\nto ask again: golive retry " + s.ID
		case step.Kind == rollout.Snapshot:
			return again + "\nno script has run: golive abort " + s.ID + " ends it"
		case step.Work != nil && underMaintenance(s):
			return fmt.Sprintf("%s\nto undo what was done, and have the previous version serve again: golive backward %s\nto have it serve on what was done: golive abort %s",
				again, s.Release.App, s.ID)
		}
	}
	return again
}

// underMaintenance reports whether services of a rollout are under maintenance, before it has
// moved any traffic.
func underMaintenance(s rollout.State) bool {
	moved := slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		return step.Kind == rollout.Traffic && !step.Move.Drain && step.Attempt > 0
	})
	return !moved && slices.ContainsFunc(s.Outages(), func(o rollout.Outage) bool { return o.To.IsZero() })
}
