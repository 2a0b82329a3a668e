package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Reporter takes in a rollout event by event, from its first one, and makes its [Report]. It is
// not safe for concurrent use.
type Reporter struct {
	// Expected tells how long a script has taken in the last rollout before this one; nil: it is
	// not known of any. It has to be the same whenever the report is made.
	Expected func(protocol.Script) (Timing, bool)

	plan     rollout.State // as it was when the rollout began
	last     rollout.State
	sequence uint64
	begun    map[string]time.Time // by step: its first attempt
	done     map[string]time.Time // by step: when it had first finished
	events   []Event
	asked    []Intervention
	failures []Deviation
	reason   string
}

// NewReporter has taken in nothing.
func NewReporter() *Reporter {
	return &Reporter{begun: make(map[string]time.Time), done: make(map[string]time.Time)}
}

// See takes in a rollout after its next event.
func (p *Reporter) See(v api.RolloutView) {
	s, e := v.State, v.Event
	if p.sequence == 0 {
		p.reason = e.Reason
	} else if text := tellPerson(e); text != "" && isPersons(e.Type) {
		p.asked = append(p.asked, Intervention{At: e.At.UTC(), By: e.By, What: text, Step: e.Step, Reason: e.Reason})
	}
	if e.Type == rollout.Created {
		p.plan = s
	}
	p.last, p.sequence = s, v.Sequence
	p.events = append(p.events, Event{
		Sequence: v.Sequence, At: e.At.UTC(), Type: s.What(), Status: s.Status,
		What: TellEvent(api.StoryEvent{Event: e, Sequence: v.Sequence, Status: s.Status}),
	})
	if e.Type == rollout.StepBroke && e.Answer != nil && e.Answer.Error != nil {
		what := fmt.Sprintf("attempt %d has failed", e.Attempt)
		if e.Revert {
			what = fmt.Sprintf("attempt %d, to undo it, has failed", e.Attempt)
		}
		p.failures = append(p.failures, Deviation{Step: e.Step, What: what, Detail: e.Answer.Error.Error()})
	}
	for _, step := range s.All() {
		if _, known := p.begun[step.ID]; !known && !step.Started.IsZero() {
			p.begun[step.ID] = step.Started.UTC()
		}
		if _, known := p.done[step.ID]; !known && step.Status == rollout.StepDone {
			p.done[step.ID] = step.Ended.UTC()
		}
	}
}

// isPersons reports whether an event is what a person has asked for.
func isPersons(t rollout.EventType) bool {
	return t != rollout.Reminded && t != rollout.Stopped
}

// Report is the report of what was taken in. Without an event it is empty.
func (p *Reporter) Report() Report {
	s := p.last
	r := Report{
		Format: FormatReport, Rollout: s.ID, App: s.Release.App, Version: s.Release.Version, Environment: s.Release.Environment,
		Strategy: s.Release.Strategy, Status: s.Status, Outcome: outcome(s), Sequence: p.sequence, At: s.Event.At.UTC(),
		By: s.By, Reason: p.reason, Begun: s.Created.UTC(), Took: rollout.Duration(s.Event.At.Sub(s.Created)), Repeats: s.Repeats,
		Restore: restored(s), Source: s.Release.Source, Digests: digests(s), Steps: p.steps(), Asked: orEmpty(p.asked), Approvals: []Question{},
		Checks: []Check{}, Hosts: []Host{}, PutAside: PutAside(s, ""), Downtime: rollout.Duration(s.Downtime(s.Event.At)),
		Outages: orEmpty(s.Outages()), Events: orEmpty(p.events),
	}
	if !s.Ended.IsZero() {
		r.Ended, r.Took = s.Ended.UTC(), rollout.Duration(s.Ended.Sub(s.Created))
	}
	for i, o := range r.Outages {
		r.Outages[i].From, r.Outages[i].To = o.From.UTC(), o.To.UTC()
	}
	if taken, has := s.SnapshotTaken(); has {
		r.Snapshot = &Snapshot{ID: taken.ID, Digest: taken.Digest}
	}
	for _, step := range s.All() {
		r.addStep(step)
	}
	r.Deviations = p.deviations(r.Steps)
	return r
}

// orEmpty is a list that JSON has as one also where nothing is in it.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// outcome is how a rollout has ended, or stands, in a sentence.
func outcome(s rollout.State) string {
	var l lines
	if text := TellRepeat(s); text != "" {
		l.say(terminal.Plain, "", "%s", text)
	} else {
		l.end(s)
	}
	if len(l) == 0 {
		l.say(terminal.Plain, "", "%s %s: the rollout is %s", s.Release.App, s.Release.Version, TellStatus(s))
	}
	return l[0].Text
}

// digests are those of the parts of a release that are known.
func digests(s rollout.State) []Digest {
	all := []Digest{}
	if s.Release.Digest != "" {
		all = append(all, Digest{Part: "manifest", Version: s.Release.Version, Digest: s.Release.Digest})
	}
	for _, step := range s.All() {
		if step.Script.Digest != "" {
			all = append(all, Digest{Part: step.ID, Version: step.Version, Digest: step.Script.Digest})
		}
	}
	return all
}

// steps are the steps of the plan with what came of them.
func (p *Reporter) steps() []Step {
	waves, order := make(map[string]int), p.order()
	for n, wave := range p.plan.Waves() {
		for _, step := range wave {
			waves[step.ID] = n + 1
		}
	}
	waits := p.plan.WaitsFor()
	all := []Step{}
	for i, step := range p.last.All() {
		one := Step{
			Number: step.Number, ID: step.ID, Does: terminal.Flat(stepDoes(step)), Wave: waves[step.ID], Skipped: step.Skipped,
			Status: step.Status, Order: order[step.ID], Attempt: step.Attempt, Begun: p.begun[step.ID], Ended: step.Ended.UTC(),
			Records: step.Script.Items, PutAside: step.Script.PutAside, Note: step.Script.Note,
		}
		if i < len(waits) {
			one.WaitsFor = waits[i]
		}
		if !step.Ended.IsZero() && !step.Started.IsZero() {
			one.Took = rollout.Duration(step.Ended.Sub(step.Started))
		}
		if step.Error != nil {
			one.Error = WhyFailed(step)
		}
		if step.Kind == rollout.Migration && p.Expected != nil {
			if before, known := p.Expected(step.ScriptID()); known {
				one.Expected = &before
			}
		}
		all = append(all, one)
	}
	return all
}

// order tells of each step that has begun as the how manyth it did so.
func (p *Reporter) order() map[string]int {
	var begun []rollout.Step
	for _, step := range p.last.All() {
		if _, has := p.begun[step.ID]; has {
			begun = append(begun, step)
		}
	}
	slices.SortStableFunc(begun, func(a, b rollout.Step) int {
		return cmp.Or(p.begun[a.ID].Compare(p.begun[b.ID]), a.Number-b.Number)
	})
	order := make(map[string]int)
	for i, step := range begun {
		order[step.ID] = i + 1
	}
	return order
}

// addStep adds what a step says beside the table of steps.
func (r *Report) addStep(step rollout.Step) {
	r.Records += step.Script.Items
	for _, c := range step.Script.Checks {
		r.Checks = append(r.Checks, Check{Step: step.ID, Name: c.Name, Holds: c.Holds, Error: c.Error})
	}
	if step.Kind == rollout.Check && step.Attempt > 0 && (step.Status == rollout.StepDone || step.Error != nil) {
		c := Check{Step: step.ID, Holds: step.Status == rollout.StepDone}
		if step.Error != nil {
			c.Error = WhyFailed(step)
		}
		r.Checks = append(r.Checks, c)
	}
	if a := step.Approval; a != nil && step.Attempt > 0 {
		r.Approvals = append(r.Approvals, questionOf(step.ID, *a))
	}
	for _, h := range step.Hosts {
		one := Host{Step: step.ID, Host: h.Name, Status: string(h.Status), Attempt: h.Attempt, Exit: h.Exit, Note: h.Note, Error: h.Error}
		if !h.Started.IsZero() && !h.Ended.IsZero() {
			one.Took = rollout.Duration(h.Ended.Sub(h.Started))
		}
		r.Hosts = append(r.Hosts, one)
	}
}

// questionOf is what people have said to an approval.
func questionOf(step string, a rollout.Approval) Question {
	utc := func(v rollout.Vote) rollout.Vote {
		v.At = v.At.UTC()
		return v
	}
	one := Question{Step: step, Question: a.Text}
	for i, text := range a.Checklist {
		item := Item{Text: text}
		for _, v := range a.Confirmed {
			if v.Item == i+1 {
				v = utc(v)
				item.Confirmed = &v
			}
		}
		one.Items = append(one.Items, item)
	}
	for _, v := range a.Approved {
		one.Approved = append(one.Approved, utc(v))
	}
	if a.Rejected != nil {
		v := utc(*a.Rejected)
		one.Rejected = &v
	}
	return one
}

// deviations are what went otherwise than planned: attempts that have failed, steps that took much
// longer than before, that began too early, or that have not been done.
func (p *Reporter) deviations(steps []Step) []Deviation {
	all := orEmpty(slices.Clone(p.failures))
	for i, step := range p.last.All() {
		one := steps[i]
		if one.slow() {
			all = append(all, Deviation{Step: one.ID, What: fmt.Sprintf("it took %s, and %s before",
				terminal.Took(time.Duration(one.Took)), terminal.Took(time.Duration(one.Expected.Took)))})
		}
		if early := p.early(one, steps); len(early) > 0 {
			all = append(all, Deviation{Step: one.ID, What: "it began before " + strings.Join(early, ", ") + " had finished"})
		}
		if what := notDone(p.last, step); what != "" {
			all = append(all, Deviation{Step: one.ID, What: what})
		}
	}
	return all
}

// slow reports whether a step took more than twice as long as before, and more than a second more.
func (s Step) slow() bool {
	return s.Expected != nil && s.Took > 2*s.Expected.Took && s.Took-s.Expected.Took > rollout.Duration(time.Second)
}

// early names the steps that one had to wait for and did not.
func (p *Reporter) early(one Step, steps []Step) []string {
	var all []string
	for _, n := range one.WaitsFor {
		before := steps[n-1]
		done, finished := p.done[before.ID]
		if !one.Begun.IsZero() && before.Skipped == "" && (!finished || one.Begun.Before(done)) {
			all = append(all, before.ID)
		}
	}
	return all
}

// notDone says of a step that was planned and has not been done how it stands; empty of any other.
func notDone(s rollout.State, step rollout.Step) string {
	switch step.Status {
	case rollout.StepPending:
		if s.Beyond(step) {
			return ""
		}
		return "it was not begun"
	case rollout.StepReverted:
		return "it was undone"
	case rollout.StepRunning, rollout.StepRetrying:
		return "it has not finished"
	}
	return ""
}
