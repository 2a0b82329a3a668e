package command

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// planner makes plans of what is known of the environment, and says what is in the way of one.
type planner struct{ base }

// plan tells what a deploy would do. It writes nothing, anywhere.
func (c *planner) plan(ctx context.Context, q api.PlanRequest) (api.PlanView, error) {
	if err := checkNeeds(q.Needs); err != nil {
		return api.PlanView{}, err
	}
	q.Release = c.governed(q.Release)
	r := q.Release
	if err := r.Validate(); err != nil {
		return api.PlanView{}, refuse(api.CodeInvalid, "correct golive.yaml", "%v", err)
	}
	open := c.View.OfApp(r.App)
	failed := slices.DeleteFunc(slices.Clone(open), func(r journal.Record) bool { return !givesWay(r) })
	if len(failed) < len(open) {
		failed = nil // as long as one is under way nobody gives way
	}
	g, err := c.planInputs(ctx, r, q.Phase, "", failed)
	if err != nil {
		return api.PlanView{}, err
	}
	s, err := c.compiled(q, g, open)
	if err != nil {
		return api.PlanView{}, err
	}
	p := api.PlanView{ID: g.basis.Digest(), App: r.App, Version: r.Version, Strategy: r.Strategy, DependsOn: g.basis, Phase: q.Phase, GoesOn: s.ID, Source: r.Source}
	if p.Steps, err = c.planSteps(ctx, s, g); err != nil {
		return api.PlanView{}, err
	}
	if err := c.rehearsedBefore(ctx, r, &p); err != nil {
		return api.PlanView{}, err
	}
	p.Before = liveBefore(g.book, r, p.GoesOn)
	p.Downtime = plannedDowntime(s, p.Steps)
	for _, f := range failed {
		p.GivesWay = append(p.GivesWay, f.State.ID)
	}
	p.Pending = len(open) > 0 && !s.Held() || p.GoesOn == "" && g.live() != r.Version || slices.ContainsFunc(p.Steps, api.PlanStep.Todo)
	p.Approval = slices.ContainsFunc(p.Steps, func(s api.PlanStep) bool { return s.Kind == rollout.Approving && s.Todo() })
	if p.NoData, err = c.noData(ctx, r, g); err != nil {
		return api.PlanView{}, err
	}
	p.Problems, err = c.problems(ctx, q, p, g, open)
	return p, err
}

// compiled is the rollout that a deploy would begin, or go on with: then it has an id.
func (c *planner) compiled(q api.PlanRequest, g planInputs, open []journal.Record) (rollout.State, error) {
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
		next, err := s.Apply(rollout.Event{Type: rollout.FurtherAsked, At: c.Recorder.Now(), Until: q.Phase})
		if errors.Is(err, rollout.ErrStale) {
			return s, nil // it has come that far
		}
		return next, err
	}
	s, err := rollout.CompileUntil("", "", c.Recorder.Now(), q.Release, g.basis.Facts(), q.Phase)
	if err == nil {
		err = c.Journal.Fits(s)
	}
	return s, err
}

// planSteps are the steps of a plan, in its order.
func (c *planner) planSteps(ctx context.Context, s rollout.State, g planInputs) ([]api.PlanStep, error) {
	var newest rollout.State
	if id := c.Ledger.Newest(s.Release.App); id != "" {
		r, err := c.Journal.Load(ctx, s.Release.App, id)
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
	all := make([]api.PlanStep, len(s.Steps))
	for i, step := range s.All() {
		p := api.PlanStep{
			Number: step.Number, ID: step.ID, Kind: step.Kind, Name: step.Name, Version: step.Version, Phase: step.Script.Phase,
			Wave: waves[step.ID], WaitsFor: waits[i], Skipped: step.Skipped, Later: s.Beyond(step),
			Approval: step.Approval, Work: step.Work, Lift: step.Move.Lift, Drain: step.Move.Drain,
		}
		switch {
		case step.Kind == rollout.Migration:
			p.Last = runs[step.ScriptID()]
		case step.Kind == rollout.Approving:
			p.Last = lastMove(newest, step.ID)
		case step.Work != nil:
			p.Last = lastMove(newest, step.ID)
			agents, err := c.Fleet.Matching(ctx, s.Release, step)
			if err != nil {
				return nil, err
			}
			for _, a := range agents {
				p.Hosts = append(p.Hosts, a.Name)
			}
		case step.Kind == rollout.Snapshot:
			p.Last = lastMove(newest, step.ID)
			if err := c.plannedSnapshot(ctx, s, &p); err != nil {
				return nil, err
			}
		default:
			p.Online, p.Unchanged, p.Last = step.Move.Replaces.Online, g.unchanged(step), lastMove(newest, step.ID)
		}
		all[i] = p
	}
	return all, nil
}

// lastRuns tells when each script ran last, also if that does not count any more.
func lastRuns(book *ledger.Book) map[protocol.Script]*api.LastRun {
	runs := make(map[protocol.Script]*api.LastRun)
	for _, e := range book.Entries() {
		if !e.Marked && e.Duration > 0 {
			runs[e.Script()] = &api.LastRun{Duration: rollout.Duration(e.Duration), At: e.At, Rollout: e.Rollout}
		}
	}
	return runs
}

// lastMove is when traffic was moved last, if a rollout has done so.
func lastMove(s rollout.State, step string) *api.LastRun {
	found, known := s.Step(step)
	if !known || found.Status != rollout.StepDone {
		return nil
	}
	return &api.LastRun{Duration: rollout.Duration(found.Ended.Sub(found.Started)), At: found.Ended, Rollout: s.ID}
}

// plannedDowntime estimates how long services will be under maintenance: offline scripts
// run then, independent ones side by side, and what else stands between its beginning and
// the opening of the gates, one after the other.
func plannedDowntime(s rollout.State, steps []api.PlanStep) *api.PlannedDowntime {
	d := api.PlannedDowntime{}
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
		case step.Snapshot != nil && step.Snapshot.Estimate != nil:
			between += *step.Snapshot.Estimate
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
func (c *planner) problems(ctx context.Context, q api.PlanRequest, p api.PlanView, g planInputs, open []journal.Record) ([]*protocol.ServiceError, error) {
	var all []*protocol.ServiceError
	busy := slices.IndexFunc(open, func(r journal.Record) bool { return !givesWay(r) && !goesFurther(r.State, q.Release) })
	if busy >= 0 {
		all = append(all, describe(underWay(open[busy].State)))
	}
	var rehearsal error
	if p.GoesOn == "" { // else it was looked at when it began
		rehearsal = c.checkRehearsed(ctx, q.Release)
	}
	for _, err := range []error{
		rehearsal, c.checkOwners(ctx, q.Release), c.checkVersions(ctx, q.Release, g.basis.Facts(), q.AllowOlder), c.checkRequires(ctx, q.Release),
	} {
		if err == nil {
			continue
		}
		problem := describe(err)
		if problem.Code == api.CodeUnavailable {
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
			missing[i], err = c.missing(ctx, q.Release, step)
			return err
		})
	}
	if err := asking.Wait(); err != nil {
		return nil, err
	}
	return append(all, slices.DeleteFunc(missing, func(e *protocol.ServiceError) bool { return e == nil })...), nil
}

// missing says who is not there that a step needs; nil if nobody.
func (c *planner) missing(ctx context.Context, r rollout.Release, step api.PlanStep) (*protocol.ServiceError, error) {
	switch {
	case step.Skipped != "" || step.Later:
		return nil, nil
	case step.Work != nil:
		return missingAgents(r, step), nil
	case step.Kind == rollout.Migration:
		start := protocol.Script{Name: step.Name, Version: step.Version, Phase: step.Phase}.Subject(protocol.Start)
		if listened, err := c.Setup.Listened(ctx, start); err != nil || listened {
			return nil, err
		}
		return &protocol.ServiceError{
			Code: api.CodeNotListening, Message: fmt.Sprintf("nobody listens to %s, so %s would wait", start, step.ID),
			Hint: fmt.Sprintf("start the setup service of %s %s that answers it", step.Name, step.Version),
		}, nil
	case step.Kind == rollout.Traffic && !step.Drain:
		return c.missingInstances(ctx, r, step)
	}
	return nil, nil
}

// missingAgents says that there are no agents, or too few, for a command or check.
func missingAgents(r rollout.Release, step api.PlanStep) *protocol.ServiceError {
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
		Code: api.CodeNoAgent, Message: fmt.Sprintf("%s this release of %s %s, so %s would wait", who, r.App, r.Version, step.ID),
		Hint: "start them in a folder with this very golive.yaml: golive agent" + flags,
	}
}

func (c *planner) missingInstances(ctx context.Context, r rollout.Release, step api.PlanStep) (*protocol.ServiceError, error) {
	i := slices.IndexFunc(r.Services, func(s rollout.Service) bool { return s.Name == step.Name })
	if r.Services[i].Instances == 0 {
		return nil, nil
	}
	instances, err := c.Gate.Instances(ctx, step.Name)
	if err != nil {
		return nil, err
	}
	alive := gate.AliveOf(instances, step.Version)
	if alive >= r.Services[i].Instances {
		return nil, nil
	}
	return &protocol.ServiceError{
		Code:    api.CodeNotAlive,
		Message: fmt.Sprintf("%d of %d instances of %s %s are there, so %s would wait", alive, r.Services[i].Instances, step.Name, step.Version, step.ID),
		Hint:    fmt.Sprintf("start %s %s", step.Name, step.Version),
	}, nil
}
