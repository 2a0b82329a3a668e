package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Codes of problems of a plan that no command is refused with. They are stable.
const (
	CodeNotListening = "not_listening" // nobody listens to the start of a script
	CodeNotAlive     = "not_alive"     // too few instances of a service are alive
	CodeNoAgent      = "no_agent"      // no agent, or too few, can do a command or check
)

// PlanRequest asks what a deploy of the release would do.
type PlanRequest struct {
	Release    rollout.Release `json:"release"`
	AllowOlder bool            `json:"allowOlder,omitempty"` // as in [DeployRequest]
	Needs      []string        `json:"needs,omitempty"`      // as in [DeployRequest]
	Phase      protocol.Phase  `json:"phase,omitempty"`      // as in [DeployRequest]
}

// PlanView is what a deploy would do. What it depends on is part of it, so that a deploy
// can be held to it.
type PlanView struct {
	ID        string                   `json:"id"` // digest of what it depends on
	App       string                   `json:"app"`
	Version   string                   `json:"version"`
	Strategy  rollout.Strategy         `json:"strategy"`
	Pending   bool                     `json:"pending"`            // there is something to do
	Approval  bool                     `json:"approval,omitempty"` // a person has to approve, at some step
	Phase     protocol.Phase           `json:"phase,omitempty"`    // at whose end it stops; empty: it goes to its own
	GoesOn    string                   `json:"goesOn,omitempty"`   // the rollout that it goes on with, which has stopped at the end of a phase
	Steps     []PlanStep               `json:"steps"`
	Downtime  *PlannedDowntime         `json:"downtime,omitempty"` // nil: no service goes under maintenance
	GivesWay  []string                 `json:"givesWay,omitempty"` // rollouts of the app that have failed, and end when this one begins
	Problems  []*protocol.ServiceError `json:"problems,omitempty"` // because of which it cannot run now
	DependsOn rollout.Basis            `json:"dependsOn"`
}

// PlanStep is a step of a plan.
type PlanStep struct {
	Number    int            `json:"number"` // from 1
	ID        string         `json:"id"`
	Kind      rollout.Kind   `json:"kind"`
	Name      string         `json:"name"`    // of the service, or of the app in phase setup
	Version   string         `json:"version"` // that its script is of, or that gets traffic; of maintenance, that has it
	Phase     protocol.Phase `json:"phase,omitempty"`
	Wave      int            `json:"wave,omitempty"`      // steps of one wave can run at the same time; 0: it is skipped
	WaitsFor  []int          `json:"waitsFor,omitempty"`  // numbers of steps, without those that these wait for
	Online    []string       `json:"online,omitempty"`    // of traffic and maintenance: versions that serve now
	Unchanged bool           `json:"unchanged,omitempty"` // of traffic: the version serves already, and goes on
	Skipped   string         `json:"skipped,omitempty"`   // why it is skipped
	Later     bool           `json:"later,omitempty"`     // it is of a phase that is not asked for

	Approval *rollout.Approval `json:"approval,omitempty"` // of an approval: who is asked what
	Work     *rollout.Work     `json:"work,omitempty"`     // of a command or check
	Hosts    []string          `json:"hosts,omitempty"`    // of a command or check: agents that can do it now
	Lift     bool              `json:"lift,omitempty"`     // of maintenance: it ends it
	Drain    bool              `json:"drain,omitempty"`    // of traffic: no version is online afterwards

	Last *LastRun `json:"last,omitempty"` // nil: it is not known, or has never run
}

// LastRun says when a step was last done, and how long that took.
type LastRun struct {
	Environment string `json:"environment,omitempty"` // where that was; empty: in this one

	Duration rollout.Duration `json:"duration"`
	At       time.Time        `json:"at"` // when it had finished
	Rollout  string           `json:"rollout"`
}

// PlannedDowntime is how long services will be under maintenance.
type PlannedDowntime struct {
	Services []string          `json:"services"`
	Estimate *rollout.Duration `json:"estimate,omitempty"` // what the offline scripts that wait for each other, and the steps beside them, took last; nil: not known
	Unknown  []string          `json:"unknown,omitempty"`  // offline scripts, and steps beside them, that have never run here
}

// foretell tells what a deploy would do. It writes nothing, anywhere.
func (o *Orchestrator) foretell(ctx context.Context, q PlanRequest) (PlanView, error) {
	if err := checkNeeds(q.Needs); err != nil {
		return PlanView{}, err
	}
	q.Release = o.governed(q.Release)
	r := q.Release
	if err := r.Validate(); err != nil {
		return PlanView{}, refuse(CodeInvalid, "correct golive.yaml", "%v", err)
	}
	open := o.sight.ofApp(r.App)
	failed := slices.DeleteFunc(slices.Clone(open), func(r journal.Record) bool { return !givesWay(r) })
	if len(failed) < len(open) {
		failed = nil // as long as one is under way nobody gives way
	}
	g, err := o.ground(ctx, r, q.Phase, "", failed)
	if err != nil {
		return PlanView{}, err
	}
	s, err := o.compiled(q, g, open)
	if err != nil {
		return PlanView{}, err
	}
	p := PlanView{ID: g.basis.Digest(), App: r.App, Version: r.Version, Strategy: r.Strategy, DependsOn: g.basis, Phase: q.Phase, GoesOn: s.ID}
	if p.Steps, err = o.planSteps(ctx, s, g); err != nil {
		return PlanView{}, err
	}
	p.Downtime = plannedDowntime(s, p.Steps)
	for _, f := range failed {
		p.GivesWay = append(p.GivesWay, f.State.ID)
	}
	p.Pending = len(open) > 0 && !s.Held() || p.GoesOn == "" && g.live() != r.Version || slices.ContainsFunc(p.Steps, PlanStep.todo)
	p.Approval = slices.ContainsFunc(p.Steps, func(s PlanStep) bool { return s.Kind == rollout.Approving && s.todo() })
	p.Problems, err = o.problems(ctx, q, p, g, open)
	return p, err
}

// todo reports whether there is something to do in a step.
func (s PlanStep) todo() bool { return s.Skipped == "" && !s.Later && !s.Unchanged }

// compiled is the rollout that a deploy would begin, or go on with: then it has an id.
func (o *Orchestrator) compiled(q PlanRequest, g ground, open []journal.Record) (rollout.State, error) {
	for _, r := range open {
		if !goesFurther(r.State, q.Release) {
			continue
		}
		s := r.State
		s.Steps = slices.Clone(s.Steps)
		for i, step := range s.All() {
			if step.Status == rollout.StepDone {
				s.Steps[i].Status, s.Steps[i].Skipped = rollout.StepSkipped, "done in rollout "+s.ID+", with which it goes on"
			}
		}
		next, err := s.Apply(rollout.Event{Type: rollout.FurtherAsked, At: time.Now().UTC(), Until: q.Phase})
		if errors.Is(err, rollout.ErrStale) {
			return s, nil // it has come that far
		}
		return next, err
	}
	s, err := rollout.CompileUntil("", "", time.Now().UTC(), q.Release, g.basis.Facts(), q.Phase)
	if err == nil {
		err = o.journal.Fits(s)
	}
	return s, err
}

// planSteps are the steps of a plan, in its order.
func (o *Orchestrator) planSteps(ctx context.Context, s rollout.State, g ground) ([]PlanStep, error) {
	var newest rollout.State
	if id := o.index.Newest(s.Release.App); id != "" {
		r, err := o.journal.Load(ctx, s.Release.App, id)
		if err != nil && !errors.Is(err, rollout.ErrNotFound) { // its journal may have been dropped
			return nil, err
		}
		newest = r.State
	}
	waves := make(map[string]int)
	for n, wave := range s.Waves() {
		for _, step := range wave {
			waves[step.ID] = n + 1
		}
	}
	waits, runs := s.WaitsFor(), lastRuns(g.book)
	all := make([]PlanStep, len(s.Steps))
	for i, step := range s.All() {
		p := PlanStep{
			Number: step.Number, ID: step.ID, Kind: step.Kind, Name: step.Name, Version: step.Version, Phase: step.Phase,
			Wave: waves[step.ID], WaitsFor: waits[i], Skipped: step.Skipped, Later: s.Beyond(step),
			Approval: step.Approval, Work: step.Work, Lift: step.Lift, Drain: step.Drain,
		}
		switch {
		case step.Kind == rollout.Migration:
			p.Last = runs[step.Script()]
		case step.Kind == rollout.Approving:
			p.Last = lastMove(newest, step.ID)
		case step.Work != nil:
			p.Last = lastMove(newest, step.ID)
			agents, err := o.fleet.Matching(ctx, s.Release, step)
			if err != nil {
				return nil, err
			}
			for _, a := range agents {
				p.Hosts = append(p.Hosts, a.Name)
			}
		default:
			p.Online, p.Unchanged, p.Last = step.Replaces.Online, g.unchanged(step), lastMove(newest, step.ID)
		}
		all[i] = p
	}
	return all, nil
}

// lastRuns tells when each script ran last, also if that does not count any more.
func lastRuns(book *ledger.Book) map[protocol.Script]*LastRun {
	runs := make(map[protocol.Script]*LastRun)
	for _, e := range book.Entries() {
		if !e.Marked && e.Duration > 0 {
			runs[e.Script()] = &LastRun{Duration: rollout.Duration(e.Duration), At: e.At, Rollout: e.Rollout}
		}
	}
	return runs
}

// lastMove is when traffic was moved last, if a rollout has done so.
func lastMove(s rollout.State, step string) *LastRun {
	found, known := s.Step(step)
	if !known || found.Status != rollout.StepDone {
		return nil
	}
	return &LastRun{Duration: rollout.Duration(found.Ended.Sub(found.Started)), At: found.Ended, Rollout: s.ID}
}

// plannedDowntime estimates how long services will be under maintenance: offline scripts
// run then, independent ones side by side, and what else stands between its beginning and
// the opening of the gates, one after the other.
func plannedDowntime(s rollout.State, steps []PlanStep) *PlannedDowntime {
	d := PlannedDowntime{}
	var longest, between rollout.Duration
	ends := make([]rollout.Duration, len(steps))
	closed := false
	for i, step := range steps {
		switch {
		case step.Later:
		case step.Kind == rollout.Maintenance && (step.Skipped == "" || s.Steps[i].Attempt > 0):
			closed = !step.Lift
			if closed {
				d.Services = append(d.Services, step.Name)
			}
		case step.Kind == rollout.Traffic:
			closed = closed && step.Drain
		case step.Kind != rollout.Migration && (!closed || step.Skipped != ""):
		case step.Kind != rollout.Migration && step.Last == nil:
			d.Unknown = append(d.Unknown, step.ID)
		case step.Kind != rollout.Migration:
			between += step.Last.Duration
		case step.Phase != protocol.Offline || step.Skipped != "":
		case step.Last == nil:
			d.Unknown = append(d.Unknown, step.ID)
		default:
			for _, n := range s.Steps[i].Needs { // they come before it
				ends[i] = max(ends[i], ends[n-1])
			}
			ends[i] += step.Last.Duration
			longest = max(longest, ends[i])
		}
	}
	if len(d.Services) == 0 {
		return nil
	}
	if len(d.Unknown) == 0 {
		longest += between
		d.Estimate = &longest
	}
	return &d
}

// problems says why a plan cannot run now.
func (o *Orchestrator) problems(ctx context.Context, q PlanRequest, p PlanView, g ground, open []journal.Record) ([]*protocol.ServiceError, error) {
	var all []*protocol.ServiceError
	busy := slices.IndexFunc(open, func(r journal.Record) bool { return !givesWay(r) && !goesFurther(r.State, q.Release) })
	if busy >= 0 {
		all = append(all, describe(underWay(open[busy].State)))
	}
	for _, err := range []error{
		o.checkOwners(ctx, q.Release), o.checkVersions(ctx, q.Release, g.basis.Facts(), q.AllowOlder), o.checkRequires(ctx, q.Release),
	} {
		if err == nil {
			continue
		}
		problem := describe(err)
		if problem.Code == CodeUnavailable {
			return nil, err
		}
		all = append(all, problem)
	}
	if !p.Pending {
		return all, nil
	}
	missing := make([]*protocol.ServiceError, len(p.Steps))
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(statusAtOnce)
	for i, step := range p.Steps {
		asking.Go(func() (err error) {
			missing[i], err = o.missing(ctx, q.Release, step)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	return append(all, slices.DeleteFunc(missing, func(e *protocol.ServiceError) bool { return e == nil })...), nil
}

// missing says who is not there that a step needs; nil if nobody.
func (o *Orchestrator) missing(ctx context.Context, r rollout.Release, step PlanStep) (*protocol.ServiceError, error) {
	switch {
	case step.Skipped != "" || step.Later:
		return nil, nil
	case step.Work != nil:
		return missingAgents(r, step), nil
	case step.Kind == rollout.Migration:
		start := protocol.Script{Name: step.Name, Version: step.Version, Phase: step.Phase}.Subject(protocol.Start)
		if listened, err := o.post.listened(ctx, start); err != nil || listened {
			return nil, err
		}
		return &protocol.ServiceError{
			Code: CodeNotListening, Message: fmt.Sprintf("nobody listens to %s, so %s would wait", start, step.ID),
			Hint: fmt.Sprintf("start the setup service of %s %s that answers it", step.Name, step.Version),
		}, nil
	case step.Kind == rollout.Traffic && !step.Drain:
		return o.missingInstances(ctx, r, step)
	}
	return nil, nil
}

// missingAgents says that there are no agents, or too few, for a command or check.
func missingAgents(r rollout.Release, step PlanStep) *protocol.ServiceError {
	need := 1
	if len(step.Work.On) > 0 {
		need = step.Work.Need.Of(len(step.Hosts))
	}
	if len(step.Hosts) >= need {
		return nil
	}
	labels, flags := "", ""
	for _, key := range slices.Sorted(maps.Keys(step.Work.On)) {
		labels += " " + key + "=" + step.Work.On[key]
		flags += " --label " + key + "=" + step.Work.On[key]
	}
	if labels != "" {
		labels = " with" + labels
	}
	who := "no agent" + labels + " has"
	if len(step.Hosts) > 0 {
		who = fmt.Sprintf("%d of at least %d agents%s have", len(step.Hosts), need, labels)
	}
	return &protocol.ServiceError{
		Code: CodeNoAgent, Message: fmt.Sprintf("%s this release of %s %s, so %s would wait", who, r.App, r.Version, step.ID),
		Hint: "start them in a folder with this very golive.yaml: golive agent" + flags,
	}
}

func (o *Orchestrator) missingInstances(ctx context.Context, r rollout.Release, step PlanStep) (*protocol.ServiceError, error) {
	i := slices.IndexFunc(r.Services, func(s rollout.Service) bool { return s.Name == step.Name })
	if r.Services[i].Instances == 0 {
		return nil, nil
	}
	instances, err := o.gate.Instances(ctx, step.Name)
	if err != nil {
		return nil, err
	}
	alive := 0
	for _, one := range instances {
		if one.Version == step.Version {
			alive++
		}
	}
	if alive >= r.Services[i].Instances {
		return nil, nil
	}
	return &protocol.ServiceError{
		Code:    CodeNotAlive,
		Message: fmt.Sprintf("%d of %d instances of %s %s are there, so %s would wait", alive, r.Services[i].Instances, step.Name, step.Version, step.ID),
		Hint:    fmt.Sprintf("start %s %s", step.Name, step.Version),
	}, nil
}
