package rollout

import (
	"fmt"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Facts is what is known of the environment when a plan is made.
type Facts struct {
	Ran    func(protocol.Script) (Ran, bool) // what the ledger holds; required
	Routes map[string]Replace                // by service; a missing one has no route
}

// Ran says that a script has run in this environment.
type Ran struct {
	Rollout string
	At      time.Time
}

// Compile makes the plan of a rollout and starts its first steps. Scripts that have
// run are skipped. A release that is not valid gives the error of [Release.Validate].
func Compile(id, by string, at time.Time, r Release, f Facts) (State, error) {
	if err := r.Validate(); err != nil {
		return State{}, err
	}
	services, err := r.ordered()
	if err != nil {
		return State{}, err
	}
	p := planner{facts: f, reach: make(map[string][]int)}
	for _, s := range services {
		p.migration(s, protocol.Before)
	}
	if r.Strategy == Downtime && p.changes(services) {
		for _, s := range slices.Backward(services) {
			p.maintenance(s, services)
		}
	}
	for _, s := range services {
		p.migration(s, protocol.Offline)
	}
	for _, s := range services {
		p.traffic(s)
		p.migration(s, protocol.Online)
	}
	if r.Setup {
		p.add(p.script(protocol.Script{Name: r.App, Version: r.Version, Phase: protocol.Setup}))
	}
	state := State{
		ID: id, Release: r, Status: Running, Steps: p.steps, By: by, Created: at,
		Event: Event{Type: Created, At: at, By: by},
	}
	return state.advance(at), nil
}

// Enqueue is the state of a rollout that has to wait for another one of its app, before it
// gets its plan from [Compile]. The error is that of [Release.Validate].
func Enqueue(id, by, reason string, at time.Time, r Release) (State, error) {
	if err := r.Validate(); err != nil {
		return State{}, err
	}
	return State{
		ID: id, Release: r, Status: Queued, Steps: []Step{}, By: by, Created: at,
		Event: Event{Type: Enqueued, At: at, By: by, Reason: reason},
	}, nil
}

// MarkRun is the record, under an id of its own, of a script of app that a person says has
// run. The error is that of the script's Validate.
func MarkRun(id, by, reason string, at time.Time, app string, script protocol.Script) (State, error) {
	if err := script.Validate(); err != nil {
		return State{}, err
	}
	if err := protocol.ValidateName(app); err != nil {
		return State{}, err
	}
	return State{
		ID: id, Release: Release{App: app}, Status: Marked, Steps: []Step{}, By: by, Created: at, Ended: at,
		Mark:  &Mark{Name: script.Name, Version: script.Version, Phase: script.Phase},
		Event: Event{Type: MarkedRun, At: at, Step: script.Step(), By: by, Reason: reason},
	}, nil
}

// planner collects the steps of a plan. Services come in the order of dependsOn, so
// what a step needs has been added before it.
type planner struct {
	facts Facts
	steps []Step
	reach map[string][]int // by id: the steps that whoever needs it has to wait for
}

func (p *planner) add(s Step) {
	s.Number = len(p.steps) + 1
	p.steps = append(p.steps, s)
	p.reach[s.ID] = []int{s.Number}
}

func (p *planner) script(script protocol.Script) Step {
	s := Step{
		ID: script.Step(), Kind: Migration, Name: script.Name, Version: script.Version, Phase: script.Phase,
		Status: StepPending,
	}
	if ran, yes := p.facts.Ran(script); yes {
		s.Status = StepSkipped
		s.Skipped = fmt.Sprintf("ran %s in rollout %s", ran.At.UTC().Format(time.RFC3339), ran.Rollout)
	}
	return s
}

// migration adds the step of a service's phase, if it has a script for it. Within a
// phase a service waits for those it depends on, also by way of one that has no
// script or whose script has run; its online script waits for its own gate and theirs, too.
func (p *planner) migration(s Service, phase protocol.Phase) {
	script := protocol.Script{Name: s.Name, Version: s.Version, Phase: phase}
	var needs []int
	for _, d := range s.DependsOn {
		needs = p.need(needs, protocol.Script{Name: d, Phase: phase}.Step())
	}
	if !slices.Contains(s.Migrations, phase) {
		p.reach[script.Step()] = needs
		return
	}
	step := p.script(script)
	step.Timeout, step.Retries, step.Backoff, step.Needs = s.Timeout, s.Retries, s.Backoff, needs
	step.Pace = paced(nil, s.Pace)
	if phase == protocol.Online {
		step.Needs = p.need(step.Needs, trafficID(s.Name)) // which waits for the gates it depends on
	}
	p.add(step)
	if step.Status == StepSkipped {
		p.reach[step.ID] = step.Needs // it keeps nobody waiting, but what it would have waited for does
	}
}

// changes reports whether there is anything that nobody may see half done: offline
// scripts to run, or traffic to move.
func (p *planner) changes(services []Service) bool {
	for _, s := range services {
		online := p.facts.Routes[s.Name].Online
		if len(online) != 1 || online[0] != s.Version {
			return true
		}
		script := protocol.Script{Name: s.Name, Version: s.Version, Phase: protocol.Offline}
		if _, ran := p.facts.Ran(script); slices.Contains(s.Migrations, protocol.Offline) && !ran {
			return true
		}
	}
	return false
}

// maintenance adds the step that puts a service that serves under maintenance. Those that
// depend on it go first: what they still have to do can be finished.
func (p *planner) maintenance(s Service, all []Service) {
	step := Step{ID: s.Name + "/maintenance", Kind: Maintenance, Name: s.Name, Status: StepPending}
	for _, other := range all {
		if slices.Contains(other.DependsOn, s.Name) {
			step.Needs = p.need(step.Needs, other.Name+"/maintenance")
		}
	}
	replace := p.facts.Routes[s.Name]
	if len(replace.Online) == 0 {
		p.reach[step.ID] = step.Needs
		return
	}
	step.Replaces, step.Version = &replace, replace.Online[0]
	p.add(step)
}

func (p *planner) traffic(s Service) {
	step := Step{
		ID: trafficID(s.Name), Kind: Traffic, Name: s.Name, Version: s.Version,
		Status: StepPending, Instances: s.Instances, Keep: s.KeepOnline,
	}
	replace := p.facts.Routes[s.Name]
	step.Replaces = &replace
	for _, d := range s.DependsOn {
		step.Needs = p.need(step.Needs, trafficID(d))
	}
	p.add(step)
}

func (p *planner) need(needs []int, id string) []int {
	for _, n := range p.reach[id] {
		if !slices.Contains(needs, n) {
			needs = append(needs, n)
		}
	}
	return needs
}

func trafficID(service string) string { return service + "/traffic" }
