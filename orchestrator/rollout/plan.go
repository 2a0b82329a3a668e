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
	Live   *Ran                              // the rollout by which this very release is live already; nil: it is not

	Unanswered []AttemptID // attempts of the app's rollouts before, whose scripts may be at work still
}

// Ran says that a script has run in this environment.
type Ran struct {
	Rollout string
	At      time.Time
}

// Compile makes the plan of a rollout and starts its first steps. Scripts that have
// run are skipped, and where the release is live, so are the steps of its own. A release
// that is not valid gives the error of [Release.Validate].
func Compile(id, by string, at time.Time, r Release, f Facts) (State, error) {
	return CompileUntil(id, by, at, r, f, "")
}

// CompileUntil is Compile for a rollout that shall stop at the end of a phase, until it is
// asked to go on; an empty phase is its own end. The error is a [*PhaseError] if the
// release has no such phase, or one before it has to run first.
func CompileUntil(id, by string, at time.Time, r Release, f Facts, phase protocol.Phase) (State, error) {
	if err := r.Validate(); err != nil {
		return State{}, err
	}
	services, err := r.ordered()
	if err != nil {
		return State{}, err
	}
	p := planner{facts: f, release: r, services: services, reach: make(map[string][]int)}
	if items := r.fullWorkflow(); items != nil {
		p.follow(items)
	} else {
		p.phases()
	}
	p.snapshot()
	d := draft{State{
		ID: id, Release: r, Status: Running, Steps: pointers(p.steps), By: by, Created: at, Unanswered: f.Unanswered,
		Event: Event{Type: Created, At: at, By: by},
	}}
	if err := d.runUntil(phase, -1); err != nil {
		return State{}, err
	}
	d.advance(at)
	return d.State, nil
}

// phases plans a release that has phases alone.
func (p *planner) phases() {
	services := p.services
	for _, s := range services {
		p.migration(s, protocol.Before)
	}
	if p.release.Strategy == Downtime && p.changes(services) {
		p.close(nil)
	}
	for _, s := range services {
		p.migration(s, protocol.Offline)
	}
	for _, s := range services {
		p.traffic(s)
		p.migration(s, protocol.Online)
	}
	p.setup()
}

// follow plans a release that has a workflow: one entry after the other.
func (p *planner) follow(items []Item) {
	opened := false
	for i, item := range items {
		p.stage = i + 1
		switch {
		case item.Approval != nil || item.Work != nil:
			p.own(item)
		case item.Traffic == MaintenanceOn:
			if len(p.release.Workflow) > 0 || p.changes(p.services) {
				p.close(item.Services)
			}
		case item.Traffic == MaintenanceOff:
			p.lift(item.Services)
		case item.Traffic == Drain:
			p.drain(item.Services)
		case item.Phase == protocol.Setup:
			p.setup()
		case item.Phase == protocol.Online || item.Traffic == Open:
			for _, s := range p.services {
				if !opened {
					p.traffic(s)
				}
				if item.Phase == protocol.Online {
					p.migration(s, protocol.Online)
				}
			}
			opened = true
		default:
			for _, s := range p.services {
				p.migration(s, item.Phase)
			}
		}
	}
}

// own adds a step of the release's own.
func (p *planner) own(item Item) {
	s := Step{ID: item.Name, Name: p.release.App, Version: p.release.Version, Status: StepPending}
	if item.Approval != nil {
		s.Kind = Approving
		s.Approval = &Approval{Question: *item.Approval, Policy: p.release.Approvals}
		s.Approval.Policy.Required = false
		if s.Approval.Deadline == 0 {
			s.Approval.Deadline = p.release.Approvals.Deadline
		}
	} else {
		work := *item.Work
		s.Kind, s.Work = Command, &work
		if work.Check {
			s.Kind = Check
		}
		s.Timeout, s.Tries.Retries, s.Tries.Backoff = work.Timeout, work.Retries, work.Backoff
	}
	p.add(p.doneIfLive(s))
}

// doneIfLive skips a step that is not about a script if the release is live.
func (p *planner) doneIfLive(s Step) Step {
	if live := p.facts.Live; live != nil {
		s.Status = StepSkipped
		s.Skipped = fmt.Sprintf("was done in rollout %s, completed %s", live.Rollout, live.At.UTC().Format(time.RFC3339))
	}
	return s
}

// setup adds the step of the app's own script.
func (p *planner) setup() {
	if r := p.release; r.Setup {
		p.add(p.script(protocol.Script{Name: r.App, Version: r.Version, Phase: protocol.Setup}))
	}
}

func pointers(steps []Step) []*Step {
	all := make([]*Step, len(steps))
	for i := range steps {
		all[i] = &steps[i]
	}
	return all
}

// Enqueue is the state of a rollout that has to wait for another one of its app, before it
// gets its plan from [Compile]. The error is that of [Release.Validate].
func Enqueue(id, by, reason string, at time.Time, r Release) (State, error) {
	if err := r.Validate(); err != nil {
		return State{}, err
	}
	return State{
		ID: id, Release: r, Status: Queued, Steps: []*Step{}, By: by, Created: at,
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
		ID: id, Release: Release{App: app}, Status: Marked, Steps: []*Step{}, By: by, Created: at, Ended: at,
		Mark:  &Mark{Name: script.Name, Version: script.Version, Phase: script.Phase},
		Event: Event{Type: MarkedRun, At: at, Step: script.Step(), By: by, Reason: reason},
	}, nil
}

// planner collects the steps of a plan. Services come in the order of dependsOn, so
// what a step needs has been added before it.
type planner struct {
	facts    Facts
	release  Release
	services []Service // in the order of dependsOn
	stage    int       // of the steps that are added now; 0: the release has no workflow
	steps    []Step
	reach    map[string][]int // by id: the steps that whoever needs it has to wait for
}

func (p *planner) add(s Step) {
	s.Number, s.Stage = len(p.steps)+1, p.stage
	p.steps = append(p.steps, s)
	p.reach[s.ID] = []int{s.Number}
}

func (p *planner) script(script protocol.Script) Step {
	s := Step{
		ID: script.Step(), Kind: Migration, Name: script.Name, Version: script.Version, Script: ScriptRun{Phase: script.Phase},
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
	step.Timeout, step.Tries.Retries, step.Tries.Backoff, step.Needs = s.Timeout, s.Retries, s.Backoff, needs
	step.Script.Pace = paced(nil, s.Pace)
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

// close adds the steps that put services under maintenance: those that are named, or all.
func (p *planner) close(names []string) {
	for _, s := range slices.Backward(p.services) {
		p.maintenance(s, len(names) == 0 || slices.Contains(names, s.Name))
	}
}

// maintenance adds the step that puts a service that serves under maintenance, if that is
// wanted and not planned yet. Those that depend on it go first, also by way of one that is
// not closed: what they still have to do can be finished.
func (p *planner) maintenance(s Service, wanted bool) {
	step := Step{ID: s.Name + "/maintenance", Kind: Maintenance, Name: s.Name, Status: StepPending}
	for _, other := range p.services {
		if slices.Contains(other.DependsOn, s.Name) {
			step.Needs = p.need(step.Needs, other.Name+"/maintenance")
		}
	}
	replace := p.facts.Routes[s.Name]
	if !wanted || len(replace.Online) == 0 || replace.Closed || p.planned(step.ID) >= 0 {
		p.reach[step.ID] = step.Needs
		return
	}
	step.Move.Replaces, step.Version = &replace, replace.Online[0]
	if p.stage > 0 {
		step = p.doneIfLive(step)
	}
	p.add(step)
}

// lift adds the steps that end the maintenance of services before their gates open: of those
// that are named, or of all. Those that others depend on come back first.
func (p *planner) lift(names []string) {
	for _, s := range p.services {
		step := Step{ID: liftID(s.Name), Kind: Maintenance, Move: RouteMove{Lift: true}, Name: s.Name, Status: StepPending}
		for _, d := range s.DependsOn {
			step.Needs = p.need(step.Needs, liftID(d))
		}
		closed := p.planned(s.Name + "/maintenance")
		wanted := len(names) == 0 || slices.Contains(names, s.Name)
		if !wanted || closed < 0 || p.planned(step.ID) >= 0 {
			p.reach[step.ID] = step.Needs
			continue
		}
		step.Move.Replaces, step.Version = p.steps[closed].Move.Replaces, p.steps[closed].Version
		p.add(p.doneIfLive(step))
	}
}

// planned is the index of a step that the plan holds already, or -1.
func (p *planner) planned(id string) int {
	return slices.IndexFunc(p.steps, func(s Step) bool { return s.ID == id })
}

// drain adds the steps that take the traffic from services that the release does not hold.
func (p *planner) drain(names []string) {
	for _, name := range names {
		replace := p.facts.Routes[name]
		if len(replace.Online) == 0 {
			continue
		}
		p.add(Step{
			ID: name + "/drain", Kind: Traffic, Move: RouteMove{Drain: true, Replaces: &replace}, Name: name, Version: replace.Online[0],
			Status: StepPending,
		})
	}
}

func (p *planner) traffic(s Service) {
	step := Step{
		ID: trafficID(s.Name), Kind: Traffic, Name: s.Name, Version: s.Version,
		Status: StepPending, Move: RouteMove{Instances: s.Instances, Keep: s.KeepOnline},
	}
	replace := p.facts.Routes[s.Name]
	step.Move.Replaces = &replace
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

func liftID(service string) string { return service + "/maintenance-off" }
