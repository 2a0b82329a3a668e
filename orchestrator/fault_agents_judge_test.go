package orchestrator_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// place is where a step stands in the workflow of its release.
func place(r rollout.Release, s rollout.Step) int {
	return slices.IndexFunc(r.Workflow, func(i rollout.Item) bool {
		switch s.Kind {
		case rollout.Approving, rollout.Command, rollout.Check:
			return i.Name == s.ID
		case rollout.Traffic:
			return i.Traffic == rollout.Open || i.Phase == protocol.Online
		}
		return i.Phase != "" && i.Phase == s.Script.Phase
	})
}

// stint is one run of a program: the indexes of its first line and of its last, which is -1
// when it has written none.
type stint struct {
	action
	from, to int
	fine     bool // it has ended with exit code 0
}

// collect lists the runs of all programs.
func (j *judge) collect() []stint {
	type key struct {
		by  string
		pid int
		run
	}
	var all []stint
	open := make(map[key]int) // indexes of those that have not ended
	for i, d := range j.actions {
		if d.Program == nil {
			continue
		}
		k := key{d.By, d.Program.Pid, run{d.Rollout, d.Step, d.Attempt, d.Revert}}
		if d.What == began {
			open[k] = len(all)
			all = append(all, stint{action: d, from: i, to: -1})
			continue
		}
		n, ok := open[k]
		if !ok {
			j.find("%s of rollout %s has %s by %s, and never began", d.Step, d.Rollout, d.What, k.by)
			continue
		}
		all[n].to, all[n].fine = i, d.What == ended && d.Program.Exit == 0
		delete(open, k)
	}
	return all
}

// of lists the runs of a rollout.
func of(all []stint, rollout string) []stint {
	return slices.DeleteFunc(slices.Clone(all), func(s stint) bool { return s.Rollout != rollout })
}

// ofStep lists the runs of a step in one direction, of those of a rollout.
func ofStep(all []stint, step string, revert bool) []stint {
	return slices.DeleteFunc(slices.Clone(all), func(s stint) bool { return s.Step != step || s.Revert != revert })
}

// disturbed reports whether an agent was killed or put to sleep before the action at an index:
// what its programs do from then on nobody can know.
func (j *judge) disturbed(agent string, until int) bool {
	at, ok := j.disturbances[agent]
	return ok && at < until
}

// checkPrograms: an attempt is begun at most once on each host; no more hosts are at it at
// the same time than the release allows, as far as agents lived and were awake.
func (j *judge) checkPrograms() {
	j.disturbances, j.killed = make(map[string]int), make(map[string]int)
	for i, d := range j.actions {
		if d.What == kills {
			j.killed[d.By] = i
		}
		if _, known := j.disturbances[d.By]; !known && (d.What == kills || d.What == sleeps) {
			j.disturbances[d.By] = i
		}
	}
	type attempt struct {
		run
		host, verb string
	}
	j.stints = j.collect()
	begun, by := make(map[attempt]int), make(map[attempt]string)
	at := make(map[run][]stint)
	for _, s := range j.stints {
		r := run{s.Rollout, s.Step, s.Attempt, s.Revert}
		at[r] = append(at[r], s)
		a := attempt{r, s.Program.Host, s.Program.Verb}
		most := 1
		if s.Program.Verb == verbLook {
			most = workTries
		}
		if begun[a]++; begun[a] > most {
			j.find("%s of attempt %d of %s (revert %t) of rollout %s ran %d times on %s", s.Program.Verb, s.Attempt, s.Step, s.Revert, s.Rollout, begun[a], a.host)
		}
		a.verb = ""
		if other := by[a]; other != "" && other != s.By {
			j.find("attempt %d of %s (revert %t) of rollout %s was begun by %s and by %s", s.Attempt, s.Step, s.Revert, s.Rollout, other, s.By)
		}
		by[a] = s.By
	}
	for r, stints := range at {
		h := j.histories[r.rollout]
		if len(h) == 0 {
			j.find("%s of rollout %s was run, and the journal does not know it", r.step, r.rollout)
			continue
		}
		if n := entryOf(h, r.step).Work.AtOnce; n > 0 {
			j.checkAtOnce(r, stints, n)
		}
		j.checkCast(h, r, stints)
		j.checkLate(h, r, stints)
	}
}

// entryOf is what the release says of a step.
func entryOf(h []journal.Record, step string) rollout.Item {
	for _, i := range h[0].State.Release.Workflow {
		if i.Name == step {
			return i
		}
	}
	return rollout.Item{Work: &rollout.Work{}}
}

func (j *judge) checkAtOnce(r run, stints []stint, most int) {
	for _, s := range stints {
		if j.disturbed(s.By, s.from) {
			continue
		}
		hosts := map[string]bool{s.Program.Host: true}
		for _, other := range stints {
			if other.from < s.from && (other.to < 0 || other.to > s.from) && !j.disturbed(other.By, s.from) {
				hosts[other.Program.Host] = true
			}
		}
		if len(hosts) > most {
			j.find("attempt %d of %s (revert %t) of rollout %s ran on %d hosts at the same time, at most %d may", r.attempt, r.step, r.revert, r.rollout, len(hosts), most)
		}
	}
}

// checkCast: an attempt is done by the hosts that it was given to, and by one where any will
// do.
func (j *judge) checkCast(h []journal.Record, r run, stints []stint) {
	hosts := make(map[string]bool)
	for _, s := range stints {
		hosts[s.Program.Host] = true
	}
	if len(hosts) > 1 && len(entryOf(h, r.step).Work.On) == 0 && !r.revert {
		j.find("attempt %d of %s of rollout %s ran on %d hosts, one does it", r.attempt, r.step, r.rollout, len(hosts))
	}
	for _, record := range h {
		e := record.State.Event
		if e.Step != r.step || e.Attempt != r.attempt || e.Revert != r.revert || e.Answer == nil || len(e.Answer.Hosts) == 0 {
			continue
		}
		for host := range hosts {
			if !slices.ContainsFunc(e.Answer.Hosts, func(other protocol.Host) bool { return other.Name == host }) {
				j.find("attempt %d of %s (revert %t) of rollout %s ran on %s, which it was not given to by the journal", r.attempt, r.step, r.revert, r.rollout, host)
			}
		}
	}
}

// startTime is how long a program may take from its start to its first line.
const startTime = 5 * time.Second

// checkLate: no attempt begins on a host when it is over, also where an agent has slept
// meanwhile: it asks first. (The program of one that was killed may be slow to begin.)
func (j *judge) checkLate(h []journal.Record, r run, stints []stint) {
	for _, record := range h {
		step, _ := record.State.Step(r.step)
		if step.Attempt < r.attempt || step.Attempt == r.attempt && step.Status == rollout.StepRunning {
			continue
		}
		for _, s := range stints {
			late := s.At.After(record.State.Event.At.Add(startTime))
			if at, killed := j.killed[s.By]; late && (!killed || at > s.from) {
				j.find("attempt %d of %s (revert %t) of rollout %s began on %s (by %s, %s) when it was over", r.attempt, r.step, r.revert, r.rollout, s.Program.Host, s.By, s.At.Format(time.RFC3339Nano))
			}
		}
		return
	}
}

// checkWork: what people, agents and scripts do comes in the order of the release's workflow,
// is undone in the reverse order and only where it was begun, and the journal says of hosts
// what their programs say.
func (j *judge) checkWork(h []journal.Record) {
	last := h[len(h)-1].State
	if len(last.Release.Workflow) == 0 {
		return
	}
	all := of(j.stints, last.ID)
	for _, b := range last.All() {
		for _, a := range last.All() {
			if a.Status != rollout.StepSkipped && place(last.Release, a) < place(last.Release, b) {
				j.checkBarrier(h, all, a, b)
				j.checkBarrierBack(h, all, a, b)
			}
		}
		if b.Work != nil {
			j.checkHosts(h, ofStep(all, b.ID, false), b, false)
			j.checkHosts(h, ofStep(all, b.ID, true), b, true)
			j.checkUndone(h, all, b)
		}
	}
}

// begins lists the indexes of the lines with which a step began in one direction.
func (j *judge) begins(all []stint, id string, step rollout.Step, revert bool) []int {
	var begins []int
	for _, s := range ofStep(all, step.ID, revert) {
		begins = append(begins, s.from)
	}
	for i, d := range j.actions {
		if step.Kind == rollout.Migration && d.script() && d.What == began && d.Rollout == id && d.Step == step.ID && d.Revert == revert {
			begins = append(begins, i)
		}
	}
	return begins
}

// readiness is when a step was done, by whoever did it: the index of the line that says so,
// if there is one, and the time.
type readiness struct {
	index int
	at    time.Time
	ever  bool
}

func (r readiness) before(index int, at time.Time) bool {
	return r.ever && r.index < index && !r.at.After(at)
}

// done finds out when a step was done in one direction, as its programs, its script or a
// person say; of traffic, as the journal says.
func (j *judge) done(h []journal.Record, all []stint, step rollout.Step, revert bool) readiness {
	id := h[0].State.ID
	switch {
	case step.Kind == rollout.Migration:
		if i, ok := j.doneAt(h, step.ID, revert); ok {
			return readiness{i, j.actions[i].At, true}
		}
	case step.Work != nil:
		e, ok := answered(h, step.ID, revert)
		if !ok {
			break
		}
		var ends []int
		for _, host := range e.Answer.Hosts {
			if i := j.proof(ofStep(all, step.ID, revert), host, step, revert); host.Status == protocol.HostDone && i >= 0 {
				ends = append(ends, i)
			}
		}
		slices.Sort(ends)
		switch need := needOf(step, len(e.Answer.Hosts), revert); {
		case need == 0:
			return readiness{-1, e.At, true}
		case len(ends) >= need:
			i := ends[need-1]
			return readiness{i, j.actions[i].At, true}
		}
	case step.Kind == rollout.Approving:
		n := slices.IndexFunc(j.actions, func(d action) bool { return d.What == approves && d.Rollout == id && d.Step == step.ID })
		if at, ok := doneBy(h, step.ID); ok && n >= 0 {
			return readiness{n, at, true}
		}
	default:
		if at, ok := doneBy(h, step.ID); ok {
			return readiness{-1, at, true}
		}
	}
	return readiness{}
}

// needOf is how many of so many hosts must succeed.
func needOf(step rollout.Step, hosts int, revert bool) int {
	if revert || len(step.Work.On) == 0 {
		return hosts
	}
	return step.Work.Need.Of(hosts)
}

// answered finds the event with which the journal has taken a step for done.
func answered(h []journal.Record, step string, revert bool) (rollout.Event, bool) {
	for _, r := range h {
		if e := r.State.Event; e.Type == rollout.StepAnswered && e.Step == step && e.Revert == revert {
			return e, true
		}
	}
	return rollout.Event{}, false
}

// doneBy is the time of the event with which a step was done for the first time.
func doneBy(h []journal.Record, step string) (time.Time, bool) {
	for _, r := range h {
		if s, _ := r.State.Step(step); s.Status == rollout.StepDone {
			return r.State.Event.At, true
		}
	}
	return time.Time{}, false
}

// proof is the index of the line with which a host's program says what the journal says of
// the host; -1 when none does.
func (j *judge) proof(all []stint, host protocol.Host, step rollout.Step, revert bool) int {
	for _, s := range all {
		if s.to < 0 || s.Attempt != host.Attempt || s.Program.Host != host.Name {
			continue
		}
		exit := j.actions[s.to].Program.Exit
		ends := j.actions[s.to].What == ended
		switch {
		case host.Status == protocol.HostFailed && host.Exit != nil && ends && exit == *host.Exit && s.Program.Verb != "status",
			host.Status == protocol.HostDone && host.Note == "" && s.fine && s.Program.Verb != "status",
			host.Status == protocol.HostDone && host.Note != "" && ends && s.Program.Verb == "status" && (exit == 0) != revert:
			return s.to
		}
	}
	return -1
}

// checkBarrier: b begins nowhere before a is done, and nothing of a is left over then.
func (j *judge) checkBarrier(h []journal.Record, all []stint, a, b rollout.Step) {
	id := h[0].State.ID
	ready := j.done(h, all, a, false)
	begins := j.begins(all, id, b, false)
	for _, i := range begins {
		if !ready.before(i, j.actions[i].At) {
			j.find("rollout %s: %s began (by %s, %s) before %s was done", id, b.ID, j.actions[i].By, j.actions[i].At.Format(time.RFC3339Nano), a.ID)
		}
	}
	if b.Kind == rollout.Traffic {
		j.checkGate(h, a, b, ready)
	}
	if a.Work == nil || len(begins) == 0 {
		return
	}
	first := slices.Min(begins)
	for _, s := range ofStep(all, a.ID, false) {
		if (s.to < 0 || s.to > first) && !j.disturbed(s.By, max(s.from, first)) {
			j.find("rollout %s: %s ran on %s (attempt %d, by %s) while %s had begun", id, a.ID, s.Program.Host, s.Attempt, s.By, b.ID)
		}
	}
}

// checkGate: no version is on the route, or answers, before a is done.
func (j *judge) checkGate(h []journal.Record, a, gate rollout.Step, ready readiness) {
	other, again := j.putByAnother(h[0].State.ID, gate.Name, gate.Version)
	early := func(at time.Time) bool {
		return (!ready.ever || at.Before(ready.at)) && (!again || at.Before(other))
	}
	for _, r := range j.routes {
		if r.Service == gate.Name && r.State(gate.Version) != protocol.StateOffline && early(r.Since) {
			j.find("rollout %s: %s %s was put on the route (revision %d) before %s was done", h[0].State.ID, gate.Name, gate.Version, r.Revision, a.ID)
		}
	}
	for _, told := range j.answers {
		if told.service == gate.Name && told.Version == gate.Version && early(time.Unix(0, told.Began)) {
			j.find("rollout %s: %s %s answered before %s was done", h[0].State.ID, gate.Name, gate.Version, a.ID)
		}
	}
}

// checkBarrierBack: a is undone nowhere before b is, if b had begun and can be undone.
func (j *judge) checkBarrierBack(h []journal.Record, all []stint, a, b rollout.Step) {
	id := h[0].State.ID
	can := b.Kind == rollout.Migration && !b.NoRevert || b.Work != nil && b.Work.Backward
	if !can || beganAt(h, b.ID) == 0 {
		return
	}
	ready := j.done(h, all, b, true)
	for _, i := range j.begins(all, id, a, true) {
		if !ready.before(i, j.actions[i].At) {
			j.find("rollout %s: the revert of %s began (by %s) before that of %s was done", id, a.ID, j.actions[i].By, b.ID)
		}
	}
}

// checkUndone: a step is undone only where it was begun, and is not gone on with there.
func (j *judge) checkUndone(h []journal.Record, all []stint, step rollout.Step) {
	id := h[0].State.ID
	begun := make(map[string]bool) // hosts, as the journal says: a program may be killed before its first line
	silent := false                // the journal does not say it of all attempts
	for _, r := range h {
		if e := r.State.Event; e.Step == step.ID && !e.Revert && e.Answer != nil {
			silent = silent || e.Answer.Error != nil && e.Answer.Error.Code == protocol.CodeTimeout
			for _, host := range e.Answer.Hosts {
				begun[host.Name] = begun[host.Name] || !host.Started.IsZero()
			}
		}
	}
	forward := ofStep(all, step.ID, false)
	for _, back := range ofStep(all, step.ID, true) {
		if step.Work.Check || !step.Work.Backward {
			j.find("rollout %s: %s was undone on %s, and cannot be", id, step.ID, back.Program.Host)
		}
		ran := begun[back.Program.Host]
		for _, s := range forward {
			if s.Program.Host != back.Program.Host {
				continue
			}
			ran = ran || s.from < back.from
			if (s.to < 0 || s.to > back.from) && !j.disturbed(s.By, max(s.from, back.from)) {
				j.find("rollout %s: %s ran on %s (by %s) after its revert had begun there", id, step.ID, s.Program.Host, s.By)
			}
		}
		if !ran && !silent {
			j.find("rollout %s: %s was undone on %s, where it was never begun", id, step.ID, back.Program.Host)
		}
	}
}

// checkHosts: the journal says of hosts what their programs say.
func (j *judge) checkHosts(h []journal.Record, all []stint, step rollout.Step, revert bool) {
	id := h[0].State.ID
	for _, r := range h {
		e := r.State.Event
		if e.Step != step.ID || e.Revert != revert || e.Answer == nil || e.Type != rollout.StepAnswered && e.Type != rollout.StepBroke {
			continue
		}
		what := func(host protocol.Host) string {
			return fmt.Sprintf("rollout %s: the journal says that attempt %d of %s (revert %t) is %s on %s", id, e.Attempt, step.ID, revert, host.Status, host.Name)
		}
		done := 0
		for _, host := range e.Answer.Hosts {
			proof := j.proof(all, host, step, revert)
			ran := slices.ContainsFunc(all, func(s stint) bool {
				return s.Attempt == e.Attempt && s.Program.Host == host.Name && s.Program.Verb != "status"
			})
			fine := slices.ContainsFunc(all, func(s stint) bool {
				return s.Attempt == e.Attempt && s.Program.Host == host.Name && s.Program.Verb != "status" && s.fine
			})
			switch {
			case host.Status == protocol.HostDone:
				if done++; proof < 0 {
					j.find("%s, which no program has said", what(host))
				}
			case host.Status == protocol.HostRunning:
				j.find("%s, in an attempt that is over", what(host))
			case host.Status == protocol.HostWaiting && ran, host.Started.IsZero() && ran:
				j.find("%s, and it was begun there", what(host))
			case host.Status == protocol.HostFailed && host.Exit != nil && proof < 0:
				j.find("%s with exit code %d, which no program has said", what(host), *host.Exit)
			case host.Status == protocol.HostFailed && host.Exit == nil && fine && !strings.HasPrefix(host.Error, "cancelled") && !strings.HasPrefix(host.Error, "timeout"):
				j.find("%s (%s), and a program has ended well", what(host), host.Error)
			}
		}
		if need := needOf(step, len(e.Answer.Hosts), revert); e.Type == rollout.StepAnswered && done < need {
			j.find("rollout %s: %s (revert %t) is done by the journal with %d of %d hosts, %d are needed", id, step.ID, revert, done, len(e.Answer.Hosts), need)
		}
	}
}
