package orchestrator_test

import (
	"slices"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// wakeTime is how long a process that has stood still may go on with what it was about to do
// when it was stopped: nobody is told anything between two instructions.
const wakeTime = time.Second

// checkDark: no offline script is at work when a version of its rollout answers, no attempt at
// one that was given up either. One that was told to stop, and has, is not at work. A bare one
// is only told by when it has to have stopped.
func (j *judge) checkDark(h []journal.Record) {
	last := h[len(h)-1].State
	answered := j.answeredAt(h)
	if answered.IsZero() {
		return
	}
	for _, step := range last.All() {
		if step.Script.Phase != protocol.Offline {
			continue
		}
		for r, lines := range j.runs {
			if r.rollout != last.ID || r.step != step.ID || r.revert {
				continue
			}
			if d, dark := j.atWork(lines, answered); dark {
				j.find("rollout %s: %s (attempt %d, by %s) was at work %s after a version of it had answered",
					last.ID, r.step, r.attempt, d.By, d.At.Sub(answered).Round(time.Millisecond))
			}
		}
	}
}

// answeredAt is when a version that a rollout brings answered in production for the first time
// since that began.
func (j *judge) answeredAt(h []journal.Record) (first time.Time) {
	created := h[0].State.Created
	for _, s := range h[len(h)-1].State.Release.Services {
		for _, a := range j.answers {
			if at := time.Unix(0, a.Began); a.service == s.Name && a.Version == s.Version && at.After(created) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
	}
	return first
}

// atWork gives the last line by which a script did something after a time.
func (j *judge) atWork(lines []int, after time.Time) (last action, found bool) {
	for _, i := range lines {
		d := j.actions[i]
		if d.What == broke || d.Bare || d.Records || !d.At.After(after) || j.justWoken(d) {
			continue
		}
		last, found = d, true
	}
	return last, found
}

// justWoken reports whether whoever has done something had stood still right before.
func (j *judge) justWoken(d action) bool {
	return slices.ContainsFunc(j.actions, func(w action) bool {
		return w.What == wakes && w.By == d.By && !d.At.Before(w.At) && d.At.Before(w.At.Add(wakeTime))
	})
}

// checkOverlap: once the new version of a service has answered, no version of before does,
// unless its traffic was put back meanwhile.
func (j *judge) checkOverlap(h []journal.Record) {
	last := h[len(h)-1].State
	if !j.stays(h) {
		return
	}
	for _, s := range last.Release.Services {
		var first time.Time
		for _, a := range j.answers {
			if at := time.Unix(0, a.Began); a.service == s.Name && a.Version == s.Version && at.After(last.Created) && (first.IsZero() || at.Before(first)) {
				first = at
			}
		}
		for _, a := range j.answers {
			at := time.Unix(0, a.Began)
			if first.IsZero() || a.service != s.Name || a.Version == s.Version || !at.After(first) || !j.before(s.Name, a.Version, last) {
				continue
			}
			j.find("rollout %s: %s %s answered %s after %s had", last.ID, s.Name, a.Version, at.Sub(first).Round(time.Millisecond), s.Version)
			break
		}
	}
}

// stays reports whether a rollout was completed for good, and its traffic moved once.
func (j *judge) stays(h []journal.Record) bool {
	back := slices.ContainsFunc(h, func(r journal.Record) bool {
		e := r.State.Event
		step, _ := r.State.Step(e.Step)
		return e.Type == rollout.TurnedBack || e.Type == rollout.BackwardAsked || e.Type == rollout.StepBroke && step.Kind == rollout.Traffic
	})
	return !back && slices.Contains([]rollout.Status{rollout.Completed, rollout.Amending}, h[len(h)-1].State.Status)
}

// before reports whether a version of a service is of a rollout that began before another.
func (j *judge) before(service, version string, than rollout.State) bool {
	for _, h := range j.histories {
		s := h[len(h)-1].State // one that was queued has been created anew
		if s.Created.Before(than.Created) && slices.ContainsFunc(s.Release.Services, func(s rollout.Service) bool { return s.Name == service && s.Version == version }) {
			return true
		}
	}
	return false
}

// lateWork has a script of a rollout do something when all is over, and its version answers.
func (x *tale) lateWork(id, step, what string) action {
	d := x.actions[x.action(began, id, step, false)]
	d.What, d.At = what, x.later()
	x.actions = append(x.actions, d)
	return d
}

func TestFaultJudgeBearsAScriptThatWasJustWoken(t *testing.T) {
	x := toldTale(t)
	x.actions = append(x.actions, action{What: wakes, By: "setup-0", At: x.later()})
	x.lateWork("1.0.0", "todos/offline", works)
	if found := x.findings(); len(found) > 0 {
		t.Errorf("%d findings: %s", len(found), some(found))
	}
	x.now = x.now.Add(wakeTime)
	x.lateWork("1.0.0", "todos/offline", works)
	if found := x.findings(); len(found) != 1 {
		t.Errorf("%d findings, want one: %s", len(found), some(found))
	}
}

func TestFaultJudgeBearsAScriptThatHasStopped(t *testing.T) {
	x := toldTale(t)
	x.lateWork("1.0.0", "todos/offline", broke)
	if found := x.findings(); len(found) > 0 {
		t.Errorf("%d findings: %s", len(found), some(found))
	}
}
