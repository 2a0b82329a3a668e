package orchestrator_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// lostIn is the step in whose middle the agent of a host dies, and which does not need it.
const lostIn, lostHost = "stop-front", "web-3"

// work has agents do a step, one host after the other.
func (x *tale) work(id string, step rollout.Step) []protocol.Host {
	hosts := []string{"web-1"}
	if len(step.Work.On) > 0 {
		hosts = []string{"web-1", "web-2", lostHost}
	}
	verb := "forward"
	switch {
	case step.Work.Check:
		verb = verbLook
	case step.Revert:
		verb = "backward"
	}
	var all []protocol.Host
	for _, name := range hosts {
		d := action{Rollout: id, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert, By: instance(name, 1)}
		h := protocol.Host{Name: name, Instance: d.By, Attempt: step.Attempt, Status: protocol.HostDone, Started: x.later(), Exit: new(0)}
		lost := step.ID == lostIn && name == lostHost && !step.Revert
		if step.ID == "backup" {
			status := 1
			if step.Revert {
				status = 0
			}
			x.runs(d, name, "status", status)
		}
		if lost {
			x.line(d, began, name, verb, 0)
			x.actions = append(x.actions, action{What: kills, By: d.By, At: x.later()})
			h.Status, h.Exit, h.Error = protocol.HostLost, nil, "its agent has died"
		} else {
			x.runs(d, name, verb, 0)
		}
		h.Ended = x.later()
		all = append(all, h)
	}
	return all
}

func (x *tale) runs(d action, host, verb string, exit int) {
	x.line(d, began, host, verb, 0)
	x.line(d, ended, host, verb, exit)
}

func (x *tale) line(d action, what, host, verb string, exit int) {
	if what == began {
		x.number++
	}
	d.What, d.At = what, x.later()
	d.Program = &program{Host: host, Pid: int(x.number), Verb: verb, Exit: exit}
	x.actions = append(x.actions, d)
}

// workTale is a tale of a rollout whose release has steps of its own, and of the next one, which
// is undone.
func workTale(t *testing.T) *tale {
	x := newTale(t)
	for v, id := range []string{"first", "second"} {
		m, err := workManifest(t.TempDir(), everything, v+1)
		if err != nil {
			t.Fatal(err)
		}
		x.bring(id, m.Release())
	}
	x.undo("second")
	return x
}

// line of the program that has done something of a step.
func (x *tale) lineOf(what, id, step, host, verb string) int {
	x.t.Helper()
	n := slices.IndexFunc(x.actions, func(d action) bool {
		return d.What == what && d.Rollout == id && d.Step == step && d.Program != nil && d.Program.Host == host && d.Program.Verb == verb
	})
	if n < 0 {
		x.t.Fatalf("nobody has %s %s of %s on %s (%s)", what, step, id, host, verb)
	}
	return n
}

// change has a line say something else.
func (x *tale) change(n int, change func(d *action, p *program)) {
	d := x.actions[n]
	p := *d.Program
	d.Program = &p
	change(&d, &p)
	x.actions[n] = d
}

// answer has the event with which a step was done say something else of its hosts.
func (x *tale) answer(id, step string, revert bool, change func(hosts []protocol.Host)) {
	for i, r := range x.histories[id] {
		if e := r.State.Event; e.Type == rollout.StepAnswered && e.Step == step && e.Revert == revert {
			a := *e.Answer
			a.Hosts = slices.Clone(a.Hosts)
			change(a.Hosts)
			x.histories[id][i].State.Event.Answer = &a
		}
	}
}

func TestFaultJudgeOfAgentsFindsNothingWrongWithAGoodTale(t *testing.T) {
	x := workTale(t)
	for id, want := range map[string]rollout.Status{"first": rollout.Completed, "second": rollout.Reverted} {
		if s := x.newest(id).Status; s != want {
			t.Errorf("rollout %s is %s", id, s)
		}
	}
	if found := x.findings(); len(found) > 0 {
		t.Errorf("%d findings: %s", len(found), some(found))
	}
}

func TestFaultJudgeOfAgentsFindsWhatIsWrong(t *testing.T) {
	const a, b = "first", "second"
	again := func(x *tale, n int, by string) {
		d := x.actions[n]
		p := *d.Program
		p.Pid += 1000
		d.Program = &p
		if by != "" {
			d.By = by
		}
		x.actions = slices.Insert(x.actions, n+2, d)
	}
	tests := []struct {
		name  string
		spoil func(x *tale)
		want  string
	}{
		{"an attempt ran twice on a host", func(x *tale) {
			again(x, x.lineOf(began, a, "stop-front", "web-1", "forward"), "")
		}, "forward of attempt 1 of stop-front (revert false) of rollout first ran 2 times on web-1"},
		{"it was asked twice whether it was done", func(x *tale) {
			again(x, x.lineOf(began, a, "backup", "web-1", "status"), "")
		}, "status of attempt 1 of backup (revert false) of rollout first ran 2 times"},
		{"two agents of a host did an attempt", func(x *tale) {
			again(x, x.lineOf(began, a, "smoke", "web-1", verbLook), "web-1/2")
		}, "was begun by web-1/1 and by web-1/2"},
		{"it looks too often", func(x *tale) {
			for range 2 {
				again(x, x.lineOf(began, a, "smoke", "web-1", verbLook), "")
			}
		}, "ran 3 times on web-1"},
		{"a step began before enough hosts had done the one before", func(x *tale) {
			x.move(x.lineOf(began, a, "backup", "web-1", "status"), x.lineOf(ended, a, "stop-front", "web-2", "forward"))
		}, "backup began (by web-1/1"},
		{"a program was left over when the next step began", func(x *tale) {
			x.actions = slices.DeleteFunc(x.actions, func(d action) bool { return d.What == kills })
		}, "stop-front ran on web-3 (attempt 1, by web-3/1) while backup had begun"},
		{"a program began when the next step had", func(x *tale) {
			x.move(x.lineOf(began, a, "backup", "web-1", "status"), x.lineOf(began, a, "stop-front", "web-1", "forward"))
		}, "stop-front ran on web-1 (attempt 1, by web-1/1) while backup had begun"},
		{"a step began before somebody had said yes", func(x *tale) {
			n := slices.IndexFunc(x.actions, func(d action) bool { return d.What == approves })
			x.move(n, x.lineOf(ended, a, "stop-front", "web-1", "forward"))
		}, "stop-front began (by web-1/1"},
		{"nobody has said yes", func(x *tale) {
			x.actions = slices.DeleteFunc(x.actions, func(d action) bool { return d.What == approves && d.Rollout == b })
		}, "before go was done"},
		{"a script ran before a command", func(x *tale) {
			x.move(x.action(began, a, "work-0-one/offline", false), x.lineOf(ended, a, "backup", "web-1", "forward"))
		}, "work-0-one/offline began (by setup-0"},
		{"a check ran before a script", func(x *tale) {
			x.move(x.lineOf(began, a, "ready", "web-1", verbLook), x.action(ended, a, "work-0-one/offline", false))
		}, "ready began (by web-1/1"},
		{"a check behind the gate ran before it opened", func(x *tale) {
			at := x.actions[x.lineOf(ended, a, "ready", lostHost, verbLook)].At
			x.change(x.lineOf(began, a, "smoke", "web-1", verbLook), func(d *action, _ *program) { d.At = at })
		}, "before work-0-one/traffic was done"},
		{"traffic moves before a check", func(x *tale) {
			x.routes[0].Since = x.actions[x.lineOf(ended, a, "ready", lostHost, verbLook)].At.Add(-1)
		}, "was put on the route (revision"},
		{"a version answers before a check", func(x *tale) {
			x.answers[0].Began = x.actions[x.lineOf(ended, a, "ready", "web-1", verbLook)].At.UnixNano()
		}, "answered before ready was done"},
		{"too many hosts at once", func(x *tale) {
			x.move(x.lineOf(began, a, "stop-front", "web-2", "forward"), x.lineOf(ended, a, "stop-front", "web-1", "forward"))
		}, "ran on 2 hosts at the same time, at most 1 may"},
		{"a step of one host ran on two", func(x *tale) {
			n := x.lineOf(began, a, "smoke", "web-1", verbLook)
			again(x, n, "")
			x.change(n+2, func(d *action, p *program) { d.By, p.Host = "web-2/1", "web-2" })
		}, "attempt 1 of smoke of rollout first ran on 2 hosts, one does it"},
		{"a host took part that was not asked to", func(x *tale) {
			n := x.lineOf(began, a, "ready", "web-2", verbLook)
			again(x, n, "")
			x.change(n+2, func(d *action, p *program) { d.By, p.Host = "web-7/1", "web-7" })
		}, "ran on web-7, which it was not given to by the journal"},
		{"an attempt began after the next one", func(x *tale) {
			n := slices.IndexFunc(x.histories[a], func(r journal.Record) bool { step, _ := r.State.Step("ready"); return step.Attempt == 1 })
			x.alter(a, n, func(_ *rollout.State, step *rollout.Step) {
				if step.ID == "ready" {
					step.Attempt = 2
				}
			})
			x.change(x.lineOf(began, a, "ready", "web-1", verbLook), func(d *action, _ *program) { d.At = d.At.Add(2 * startTime) })
		}, "attempt 1 of ready (revert false) of rollout first began on web-1"},
		{"an attempt began when it was over", func(x *tale) {
			x.change(x.lineOf(began, a, "smoke", "web-1", verbLook), func(d *action, _ *program) { d.At = d.At.Add(2 * startTime) })
		}, "attempt 1 of smoke (revert false) of rollout first began on web-1"},
		{"one agent asked whether it was done, and another one did it", func(x *tale) {
			x.change(x.lineOf(began, a, "backup", "web-1", "forward"), func(d *action, _ *program) { d.By = "web-1/2" })
		}, "attempt 1 of backup (revert false) of rollout first was begun by web-1/1 and by web-1/2"},
		{"undone in the wrong order", func(x *tale) {
			x.move(x.lineOf(began, b, "stop-front", "web-1", "backward"), x.lineOf(began, b, "backup", "web-1", "backward"))
		}, "the revert of stop-front began (by web-1/1) before that of backup was done"},
		{"undone before the script behind it was", func(x *tale) {
			x.move(x.lineOf(began, b, "backup", "web-1", "backward"), x.action(ended, b, "work-0-one/offline", true))
		}, "the revert of backup began (by web-1/1) before that of work-0-one/offline was done"},
		{"undone where it was never begun", func(x *tale) {
			n := x.lineOf(began, b, "stop-front", "web-1", "backward")
			x.actions = slices.Insert(x.actions, n, x.actions[n])
			x.change(n, func(d *action, p *program) { d.By, p.Host = "web-9/1", "web-9" })
		}, "stop-front was undone on web-9, where it was never begun"},
		{"a check is undone", func(x *tale) {
			x.change(x.lineOf(began, b, "stop-front", "web-1", "backward"), func(d *action, _ *program) { d.Step = "smoke" })
		}, "smoke was undone on web-1, and cannot be"},
		{"gone on with while it is undone", func(x *tale) {
			x.move(x.lineOf(ended, b, "start-front", "web-1", "forward"), x.lineOf(ended, b, "start-front", "web-1", "backward"))
		}, "start-front ran on web-1 (by web-1/1) after its revert had begun there"},
		{"a host is done, and its program never ended", func(x *tale) {
			n := x.lineOf(ended, a, "ready", "web-2", verbLook)
			x.actions = slices.Delete(x.actions, n, n+1)
		}, "the journal says that attempt 1 of ready (revert false) is done on web-2, which no program has said"},
		{"a host is done, and its program has failed", func(x *tale) {
			x.change(x.lineOf(ended, a, "ready", "web-2", verbLook), func(_ *action, p *program) { p.Exit = 3 })
		}, "is done on web-2, which no program has said"},
		{"a host is done by another attempt", func(x *tale) {
			x.answer(a, "ready", false, func(hosts []protocol.Host) { hosts[1].Attempt = 2 })
		}, "is done on web-2, which no program has said"},
		{"a host had been done already, and said no", func(x *tale) {
			x.answer(a, "backup", false, func(hosts []protocol.Host) { hosts[0].Note = "had been done already" })
		}, "is done on web-1, which no program has said"},
		{"a host has failed, and its program has not", func(x *tale) {
			x.answer(a, "ready", false, func(hosts []protocol.Host) {
				hosts[1].Status, hosts[1].Exit, hosts[1].Error = protocol.HostFailed, nil, "ended by a signal"
			})
		}, "a program has ended well"},
		{"a host has failed otherwise than its program", func(x *tale) {
			x.answer(a, "ready", false, func(hosts []protocol.Host) { hosts[1].Status, hosts[1].Exit = protocol.HostFailed, new(7) })
		}, "with exit code 7, which no program has said"},
		{"a host has not begun, and has", func(x *tale) {
			x.answer(a, "start-front", false, func(hosts []protocol.Host) { hosts[2] = protocol.Host{Name: lostHost, Status: protocol.HostWaiting} })
		}, "is waiting on web-3, and it was begun there"},
		{"a host still runs in an attempt that is over", func(x *tale) {
			x.answer(a, "start-front", false, func(hosts []protocol.Host) { hosts[2].Status = protocol.HostRunning })
		}, "in an attempt that is over"},
		{"a step is done with too few hosts", func(x *tale) {
			x.answer(a, "stop-front", false, func(hosts []protocol.Host) { hosts[1].Status = protocol.HostLost })
		}, "is done by the journal with 1 of 3 hosts, 2 are needed"},
		{"a program ran that the journal does not know", func(x *tale) {
			x.change(x.lineOf(began, a, "ready", "web-2", verbLook), func(d *action, _ *program) { d.Rollout = "third" })
		}, "the journal does not know it"},
		{"a rollout does not end", func(x *tale) { x.histories[a] = x.histories[a][:3] }, "is running at the end"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			x := workTale(t)
			tt.spoil(x)
			found := x.findings()
			if !slices.ContainsFunc(found, func(f string) bool { return strings.Contains(f, tt.want) }) {
				t.Errorf("the findings are %q, want one with %q", found, tt.want)
			}
		})
	}
}
