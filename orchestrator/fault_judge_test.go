package orchestrator_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// evidence is all that is known of an environment when everything in it has come to rest,
// from sources that do not know each other: the journal, the ledger, what scripts have
// written down, and what was seen from outside.
type evidence struct {
	histories map[string][]journal.Record    // by rollout
	books     map[string][]ledger.Entry      // by app
	versions  map[string][]ledger.AppVersion // by app
	actions   []action                       // in their order
	accepted  []string                       // rollouts that an orchestrator said it has begun
	heard     []heard                        // completion events
	away      []span                         // when none could be heard
	routes    []gate.Route
	answers   []answer
}

// judge finds what must not be. It knows the order of a rollout from its release and from
// relay/protocol/README.md, not from the plan.
type judge struct {
	evidence
	found []string

	runs         map[run][]int  // of scripts: the indexes of their actions
	stints       []stint        // of programs, in the order in which they began
	disturbances map[string]int // of agents' instances: the index of the first line that tells of it
	killed       map[string]int // instances of agents: the same, of those that were killed
}

// run is an attempt of a script in one direction.
type run struct {
	rollout, step string
	attempt       int
	revert        bool
}

// findings lists everything that must not be; nothing, if all is well.
func (e evidence) findings() []string {
	j := &judge{evidence: e, runs: make(map[run][]int)}
	for i, d := range j.actions {
		if d.script() || d.What == works {
			r := run{d.Rollout, d.Step, d.Attempt, d.Revert}
			j.runs[r] = append(j.runs[r], i)
		}
	}
	j.checkAttempts()
	j.checkPrograms()
	for _, id := range j.accepted {
		if len(j.histories[id]) == 0 {
			j.find("rollout %s was accepted, and the journal does not know it", id)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(j.histories)) {
		h := j.histories[id]
		j.checkStates(h)
		j.checkRecorded(h)
		j.checkOrder(h)
		j.checkReverts(h)
		j.checkWork(h)
		j.checkPromise(h)
		j.checkDark(h)
		j.checkOverlap(h)
		j.checkCompletion(h)
		j.checkAmending(h)
		j.checkLost(h)
		j.checkEnd(h)
	}
	j.checkOneAtATime()
	j.checkWayBack()
	j.checkLedger()
	j.checkVersions()
	return j.found
}

func (j *judge) find(format string, args ...any) {
	j.found = append(j.found, fmt.Sprintf(format, args...))
}

// checkAttempts: no attempt runs twice, where the setup service claims it.
func (j *judge) checkAttempts() {
	for r, all := range j.runs {
		begun := 0
		for _, i := range all {
			if d := j.actions[i]; d.What == began && !d.Bare {
				begun++
			}
		}
		if begun > 1 {
			j.find("%v ran %d times", r, begun)
		}
	}
}

// checkStates: each state of the journal is what its event makes of the one before.
func (j *judge) checkStates(h []journal.Record) {
	for i := 1; i < len(h); i++ {
		before, after := h[i-1].State, h[i].State
		if before.Status == rollout.Queued && after.Event.Type == rollout.Created {
			continue // its plan was made then
		}
		want, err := before.Apply(after.Event)
		if err != nil {
			j.find("rollout %s: event %s at sequence %d has no place in it: %v", after.ID, after.Event.Type, h[i].Sequence, err)
			continue
		}
		if a, b := text(want), text(after); a != b {
			j.find("rollout %s: the state at sequence %d is\n%s\nwant\n%s", after.ID, h[i].Sequence, b, a)
		}
	}
}

func text(v any) string {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(data)
}

// checkRecorded: what has ended is recorded once, by the answer of the run that it is of.
func (j *judge) checkRecorded(h []journal.Record) {
	times := make(map[string]int)
	for i, r := range h {
		e := r.State.Event
		again := i > 0 && h[i-1].State.Status == rollout.Amending // only with what was put aside
		if e.Type == rollout.StepBroke && again {
			j.checkBroke(h[i-1], r)
		}
		if e.Type != rollout.StepAnswered {
			continue
		}
		var before rollout.Step
		if i > 0 {
			if before, _ = h[i-1].State.Step(e.Step); before.Status != rollout.StepRunning || before.Attempt != e.Attempt || before.Revert != e.Revert {
				j.find("rollout %s: the answer of attempt %d of %s (revert %t) was taken when attempt %d was %s (revert %t)",
					r.State.ID, e.Attempt, e.Step, e.Revert, before.Attempt, before.Status, before.Revert)
			}
		}
		key := fmt.Sprintf("%s of rollout %s, revert %t,", e.Step, r.State.ID, e.Revert)
		if again {
			key = fmt.Sprintf("attempt %d at the records of %s of rollout %s", e.Attempt, e.Step, r.State.ID)
		}
		if times[key]++; times[key] > 1 {
			j.find("%s is recorded as done %d times", key, times[key])
		}
		step, _ := r.State.Step(e.Step)
		if step.Work != nil {
			continue // by agents
		}
		ok := false
		for _, i := range j.runs[run{r.State.ID, e.Step, e.Attempt, e.Revert}] {
			d := j.actions[i]
			ok = ok || d.What == ended && d.Records == again && (e.Answer == nil || d.Number == e.Answer.Items && d.Aside == e.Answer.PutAside)
		}
		if !ok {
			j.find("%s is recorded as done at attempt %d with %d, which no script has said", key, e.Attempt, e.Answer.Items)
		}
		items := e.Answer.Items
		if again {
			items += before.Script.Items
		}
		if !step.Revert && step.Status == rollout.StepDone && step.Script.Items != items {
			j.find("%s has the items %d, its answer says %d, it had %d", key, step.Script.Items, e.Answer.Items, before.Script.Items)
		}
		if !step.Revert && step.Status == rollout.StepDone && step.Script.PutAside != e.Answer.PutAside {
			j.find("%s has put %d aside, its answer says %d", key, step.Script.PutAside, e.Answer.PutAside)
		}
	}
}

// checkBroke: an attempt at records that has failed changes nothing of what was achieved.
func (j *judge) checkBroke(before, after journal.Record) {
	id := after.State.Event.Step
	was, _ := before.State.Step(id)
	is, _ := after.State.Step(id)
	if is.Script.Items != was.Script.Items || is.Script.PutAside != was.Script.PutAside {
		j.find("rollout %s: %s had %d items and %d aside, and after a failed attempt %d and %d", after.State.ID, id, was.Script.Items, was.Script.PutAside, is.Script.Items, is.Script.PutAside)
	}
}

// rank is where a step stands among the barriers: those of the release's workflow, or of the
// phases.
func rank(r rollout.Release, s rollout.Step) int {
	switch {
	case len(r.Workflow) > 0:
		return place(r, s)
	case s.Kind == rollout.Maintenance:
		return 1
	case s.Kind == rollout.Traffic, s.Script.Phase == protocol.Online:
		return 3
	case s.Script.Phase == protocol.Before:
		return 0
	case s.Script.Phase == protocol.Offline:
		return 2
	}
	return 4
}

// precedes reports whether a has to be done before b begins.
func precedes(r rollout.Release, a, b rollout.Step) bool {
	if rank(r, a) != rank(r, b) {
		return rank(r, a) < rank(r, b)
	}
	if a.Kind == rollout.Maintenance {
		return dependsOn(r, a.Name, b.Name)
	}
	if a.Kind == rollout.Migration && b.Kind == rollout.Traffic {
		return false
	}
	if a.Kind == rollout.Traffic && b.Kind == rollout.Migration && a.Name == b.Name {
		return true
	}
	return dependsOn(r, b.Name, a.Name)
}

func dependsOn(r rollout.Release, service, other string) bool {
	for _, s := range r.Services {
		if s.Name != service {
			continue
		}
		for _, d := range s.DependsOn {
			if d == other || dependsOn(r, d, other) {
				return true
			}
		}
	}
	return false
}

// doneAt gives the index of the action with which a script was done in the run that the
// journal has taken; false when the journal has taken none.
func (j *judge) doneAt(h []journal.Record, step string, revert bool) (int, bool) {
	for _, r := range h {
		e := r.State.Event
		if e.Type != rollout.StepAnswered || e.Step != step || e.Revert != revert {
			continue
		}
		for _, i := range j.runs[run{r.State.ID, step, e.Attempt, revert}] {
			if j.actions[i].What == ended && (e.Answer == nil || e.Answer.Items == j.actions[i].Number) {
				return i, true
			}
		}
	}
	return 0, false
}

// beganAt gives the sequence of the event with which a step began first.
func beganAt(h []journal.Record, step string) uint64 {
	for _, r := range h {
		if s, _ := r.State.Step(step); s.Attempt > 0 {
			return r.Sequence
		}
	}
	return 0
}

// checkOrder: nothing begins before what it waits for has ended, by the order of actions
// between scripts, and by that of the journal where traffic moves.
func (j *judge) checkOrder(h []journal.Record) {
	last := h[len(h)-1].State
	for _, b := range last.All() {
		for _, a := range last.All() {
			if a.Status == rollout.StepSkipped || !precedes(last.Release, a, b) {
				continue
			}
			if begun := beganAt(h, b.ID); begun > 0 && !finishedAt(h, a.ID, begun) {
				j.find("rollout %s: %s began by the journal (sequence %d) before %s was done", last.ID, b.ID, begun, a.ID)
			}
			if a.Kind != rollout.Migration || b.Kind != rollout.Migration {
				continue
			}
			done, ok := j.doneAt(h, a.ID, false)
			for i, d := range j.actions {
				if d.Rollout == last.ID && d.Step == b.ID && !d.Revert && d.What == began && (!ok || i < done) {
					j.find("rollout %s: %s ran (by %s, %s) before %s was done", last.ID, b.ID, d.By, d.At.Format(time.RFC3339Nano), a.ID)
				}
			}
		}
	}
}

// finishedAt reports whether a step was done in the state at a sequence.
func finishedAt(h []journal.Record, step string, sequence uint64) bool {
	for _, r := range h {
		if r.Sequence == sequence {
			s, _ := r.State.Step(step)
			return s.Status == rollout.StepDone || s.Status == rollout.StepSkipped
		}
	}
	return false
}

// checkReverts: what was done is undone in the reverse order, and nothing is undone while
// it is still being done.
func (j *judge) checkReverts(h []journal.Record) {
	last := h[len(h)-1].State
	undone := func(step string) (from, to int) {
		from, to = -1, -1
		for i, d := range j.actions {
			if d.Rollout != last.ID || d.Step != step || !d.Revert {
				continue
			}
			if d.What == began && from < 0 {
				from = i
			}
		}
		if at, ok := j.doneAt(h, step, true); ok {
			to = at
		}
		return from, to
	}
	for _, a := range last.All() {
		from, _ := undone(a.ID)
		if a.Kind != rollout.Migration || from < 0 {
			continue
		}
		for i, d := range j.actions {
			if i > from && d.Rollout == last.ID && d.Step == a.ID && !d.Revert && d.What != cameTo && !givenUp(h, a.ID, d.Attempt) && !j.ranAgain(i, from) {
				j.find("rollout %s: %s %s (attempt %d, by %s) after its revert had begun", last.ID, a.ID, d.What, d.Attempt, d.By)
			}
		}
		for _, b := range last.All() {
			if b.Kind != rollout.Migration || b.NoRevert || !precedes(last.Release, a, b) || beganAt(h, b.ID) == 0 {
				continue
			}
			if _, to := undone(b.ID); to < 0 || to > from {
				j.find("rollout %s: the revert of %s began before that of %s was done", last.ID, a.ID, b.ID)
			}
		}
	}
}

// ranAgain reports whether an action is of a bare script that was run twice in its attempt,
// as one that remembers nothing may be, and had answered before the action called until.
func (j *judge) ranAgain(i, until int) bool {
	d := j.actions[i]
	return d.Bare && slices.ContainsFunc(j.runs[run{d.Rollout, d.Step, d.Attempt, d.Revert}], func(k int) bool {
		return k < until && j.actions[k].What == ended
	})
}

// givenUp reports whether an attempt of a script was taken for dead, or was too late.
func givenUp(h []journal.Record, step string, attempt int) bool {
	return slices.ContainsFunc(h, func(r journal.Record) bool {
		e := r.State.Event
		return e.Type == rollout.StepBroke && e.Step == step && e.Attempt == attempt && e.Answer != nil && e.Answer.Error != nil &&
			(e.Answer.Error.Code == protocol.CodeLost || e.Answer.Error.Code == protocol.CodeTimeout)
	})
}

// putByAnother is when another rollout that brings a version has put it on the route first. What
// happens from then on is judged by that rollout's scripts.
func (j *judge) putByAnother(id, service, version string) (first time.Time, found bool) {
	for _, r := range j.routes {
		if r.Service != service || r.State(version) == protocol.StateOffline || r.Rollout == "" || r.Rollout == id {
			continue
		}
		if !found || r.Since.Before(first) {
			first, found = r.Since, true
		}
	}
	return first, found
}

// checkPromise: no traffic begins to move, and no instance of a version answers, before
// every offline script of the plan has ended done.
func (j *judge) checkPromise(h []journal.Record) {
	last := h[len(h)-1].State
	var ready time.Time
	never := ""
	for _, step := range last.All() {
		if step.Script.Phase != protocol.Offline || step.Status == rollout.StepSkipped {
			continue
		}
		at, ok := j.doneAt(h, step.ID, false)
		if !ok {
			never = step.ID
		} else if j.actions[at].At.After(ready) {
			ready = j.actions[at].At
		}
	}
	for _, s := range last.Release.Services {
		other, again := j.putByAnother(last.ID, s.Name, s.Version)
		early := func(at time.Time) bool {
			return (never != "" || at.Before(ready)) && (!again || at.Before(other))
		}
		for _, r := range j.routes {
			if r.Service == s.Name && r.State(s.Version) != protocol.StateOffline && early(r.Since) {
				j.find("rollout %s: %s %s was put on the route (revision %d) before the offline scripts were done %s", last.ID, s.Name, s.Version, r.Revision, never)
			}
		}
		for _, a := range j.answers {
			if a.service == s.Name && a.Version == s.Version && early(time.Unix(0, a.Began)) {
				j.find("rollout %s: %s %s answered at %s, before the offline scripts were done %s", last.ID, s.Name, s.Version, time.Unix(0, a.Began), never)
			}
		}
	}
}

// toBeHeard is how long it may take from an event to its announcement, which is repeated
// until then: who does it may die.
const toBeHeard = 6 * time.Second

// completion is the event with which a rollout was completed, if it was: the first one. When
// its records were tried again, it had been.
func completion(h []journal.Record) (journal.Record, bool) {
	for _, r := range h {
		if r.State.Status == rollout.Completed {
			return r, true
		}
	}
	return journal.Record{}, false
}

// checkCompletion: each rollout that completes says so, under one id.
func (j *judge) checkCompletion(h []journal.Record) {
	completed, _ := completion(h)
	ids := make(map[string]bool)
	id := h[0].State.ID
	for _, m := range j.heard {
		if m.rollout != id {
			continue
		}
		ids[m.id] = true
		if m.sequence != completed.Sequence {
			j.find("rollout %s: a completion event says sequence %d, it was completed at %d", id, m.sequence, completed.Sequence)
		}
	}
	if len(ids) > 1 {
		j.find("rollout %s: the completion event came with %d ids", id, len(ids))
	}
	if completed.Sequence == 0 || len(ids) > 0 {
		return
	}
	at := completed.State.Event.At
	for _, s := range j.away {
		if s.from.Before(at.Add(toBeHeard)) && (s.to.IsZero() || s.to.After(at)) {
			return
		}
	}
	j.find("rollout %s was completed, and no completion event was heard", id)
}

// checkEnd: nothing is left hanging.
func (j *judge) checkEnd(h []journal.Record) {
	if s := h[len(h)-1].State; !s.Status.Final() {
		j.find("rollout %s is %s at the end: it waits for %q, %s runs", s.ID, s.Status, s.Waits(), steps(s))
	}
}

// checkOneAtATime: never are two rollouts of an app under way.
func (j *judge) checkOneAtATime() {
	var all []journal.Record
	for _, h := range j.histories {
		all = append(all, h...)
	}
	slices.SortFunc(all, func(a, b journal.Record) int { return cmp.Compare(a.Sequence, b.Sequence) })
	open := make(map[string]string)  // by app
	begun := make(map[string]string) // by app: the rollout that began last
	for _, r := range all {
		name, id := r.State.Release.App, r.State.ID
		switch r.State.Event.Type {
		case rollout.Created:
			begun[name] = id
		case rollout.RecordsAsked:
			if begun[name] != id {
				j.find("the records of rollout %s were tried again at sequence %d, after rollout %s of %s had begun", id, r.Sequence, begun[name], name)
			}
		}
		switch other := open[name]; {
		case r.State.Status.Final():
			if other == id {
				delete(open, name)
			}
		case r.State.Status == rollout.Queued:
		case other != "" && other != id:
			j.find("rollouts %s and %s of %s are both under way at sequence %d", other, id, name, r.Sequence)
		default:
			open[name] = id
		}
	}
}

// checkWayBack: whoever asked to go back to a version gets there, unless something else has
// happened to the app since, or a revert has failed on the way.
func (j *judge) checkWayBack() {
	last := make(map[string]journal.Record) // of each app
	live := make(map[string]rollout.State)
	for _, h := range j.histories {
		r := h[len(h)-1]
		name := r.State.Release.App
		if r.Sequence > last[name].Sequence {
			last[name] = r
		}
		if r.State.Status == rollout.Completed && r.State.Created.After(live[name].Created) {
			live[name] = r.State
		}
	}
	for name, r := range last {
		if back := r.State.Backward; r.State.Status == rollout.Reverted && back != nil && back.To != "" && live[name].Release.Version != back.To {
			j.find("%s was to go back to %s, and is at %q", name, back.To, live[name].Release.Version)
		}
	}
}

// checkLedger: the ledger holds each script that was recorded as done, once, and nothing
// else; what was not completed or was undone is void.
func (j *judge) checkLedger() {
	type key struct{ rollout, step string }
	type ran struct {
		journal.Record       // that says so
		items, aside   int64 // with what was dealt with of what had been put aside
	}
	want := make(map[key]*ran)
	for _, h := range j.histories {
		for i, r := range h {
			e := r.State.Event
			if step, _ := r.State.Step(e.Step); e.Type != rollout.StepAnswered || e.Revert || step.Work != nil {
				continue
			}
			k := key{r.State.ID, e.Step}
			if want[k] == nil || h[i-1].State.Status != rollout.Amending {
				want[k] = &ran{Record: r}
			}
			want[k].items += e.Answer.Items
			want[k].aside = e.Answer.PutAside
		}
	}
	for _, entries := range j.books {
		for _, e := range entries {
			k := key{e.Rollout, e.Script().Step()}
			r, ok := want[k]
			if !ok {
				j.find("the ledger holds %s %s of rollout %s, which the journal does not, or twice", e.Script(), e.Version, e.Rollout)
				continue
			}
			delete(want, k)
			if step, _ := r.State.Step(k.step); r.Sequence != e.Sequence || e.Items != r.items || e.PutAside != r.aside || step.Version != e.Version {
				j.find("the ledger says of %v: %+v, the journal: %d items, %d aside, %+v", k, e, r.items, r.aside, r.State.Event)
			}
			h := j.histories[e.Rollout]
			last := h[len(h)-1].State
			counts := last.Status == rollout.Completed || !last.Status.Final() ||
				last.Status != rollout.Reverted && e.Phase != protocol.Before && e.Phase != protocol.Offline
			if e.Void == "" && !counts {
				j.find("%s of rollout %s counts in the ledger, though the rollout is %s", e.Script(), e.Rollout, last.Status)
			}
		}
	}
	for k := range want {
		j.find("%s of rollout %s is recorded as done, and is not in the ledger", k.step, k.rollout)
	}
}

// some is the first few of many.
func some(all []string) string {
	n := len(all)
	if n > 20 {
		all = append(slices.Clone(all[:20]), fmt.Sprintf("and %d more", n-20))
	}
	return strings.Join(all, "\n")
}
