package report

import (
	"fmt"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// Words about a plan.

// TellWaits lists what a step waits for; of many, as a barrier may make them, the first.
func TellWaits(p api.PlanView, s api.PlanStep) string {
	const most = 4
	var ids []string
	for _, n := range s.WaitsFor {
		ids = append(ids, p.Steps[n-1].ID)
	}
	if more := len(ids) - most; more > 1 {
		return fmt.Sprintf("%s and %d more", strings.Join(ids[:most], ", "), more)
	}
	return terminal.OrDash(strings.Join(ids, ", "))
}

// TellPlanned is what a step does.
func TellPlanned(s api.PlanStep) string {
	if s.Later {
		s.Later = false
		return "later: " + TellPlanned(s)
	}
	from := strings.Join(s.Online, ", ")
	switch {
	case s.Approval != nil:
		return tellQuestion(*s.Approval)
	case s.Work != nil:
		return tellWork(*s.Work, s.Hosts, true)
	case s.Snapshot != nil:
		return tellPlannedSnapshot(*s.Snapshot)
	case s.Kind == rollout.Maintenance && s.Lift:
		return "end the maintenance of " + from
	case s.Kind == rollout.Maintenance:
		return "put " + from + " under maintenance"
	case s.Kind == rollout.Migration:
		return fmt.Sprintf("run the %s script of %s", s.Phase, s.Version)
	case s.Drain:
		return "take the traffic from " + from
	case s.Unchanged:
		return s.Version + " is online already"
	case from == "" || from == s.Version:
		return "bring " + s.Version + " online"
	}
	return "move traffic from " + from + " to " + s.Version
}

// TellLiveBefore says that a version of an app has been live with another manifest.
func TellLiveBefore(app, version string, b api.LiveBefore) string {
	return fmt.Sprintf("%s %s has been live here with another manifest (rollout %s, %s)", app, version, b.Rollout, terminal.Ago(b.At))
}

// TellLast is how long a step took last, and when and where that was.
func TellLast(r api.LastRun) string {
	text := terminal.Took(time.Duration(r.Duration))
	switch {
	case r.Rehearsal:
		text += " by a rehearsal"
	case r.Environment != "":
		text += " in " + r.Environment
	}
	return text + ", " + terminal.Ago(r.At)
}

// TellRehearsal is what is known of the last rehearsal of a release.
func TellRehearsal(r api.PlannedRehearsal) string {
	on := "on"
	if r.Partial {
		on = "on some of the data of"
	}
	text := fmt.Sprintf("%s %s snapshot %s", terminal.Ago(r.At), on, r.Snapshot)
	if r.Drilled {
		text += ", with a drill"
	}
	switch {
	case !r.Passed:
		return text + ": it has failed"
	case r.Downtime > 0:
		return text + ", offline about " + terminal.Took(time.Duration(r.Downtime))
	}
	return text + ", no downtime"
}

// TellPlannedDowntime is how long services will be under maintenance, as far as that is known.
func TellPlannedDowntime(d *api.PlannedDowntime) string {
	if d == nil {
		return "none"
	}
	text := "of " + strings.Join(d.Services, ", ")
	if d.Estimate == nil {
		has := " has never run here"
		if len(d.Unknown) > 1 {
			has = " have never run here"
		}
		return text + ", for how long is not known: " + strings.Join(d.Unknown, ", ") + has
	}
	if *d.Estimate == 0 {
		return text + ", while the traffic moves: there is no offline script to run"
	}
	return text + ", about " + terminal.Took(time.Duration(*d.Estimate)) + ", if the offline scripts take as long as last time"
}
