package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// deploy begins a rollout. The plan is made on what is known when the app's newest
// event is the one found here, and recorded only if it still is.
func (o *Orchestrator) deploy(ctx context.Context, q DeployRequest) (RolloutView, error) {
	if id, err := uuid.Parse(q.Rollout); err != nil || id.Version() != 7 || q.Rollout != id.String() {
		return RolloutView{}, refuse(CodeInvalid, "make a UUID v7 and repeat the request with the same one", "rollout id %q is no UUID v7", q.Rollout)
	}
	if err := q.Release.Validate(); err != nil {
		return RolloutView{}, refuse(CodeInvalid, "correct golive.yaml", "%v", err)
	}
	for {
		r, err := o.begin(ctx, q)
		if errors.Is(err, rollout.ErrConflict) {
			continue // somebody else has done something to the app: look again
		}
		if err != nil {
			return RolloutView{}, err
		}
		return o.view(r), nil
	}
}

func (o *Orchestrator) begin(ctx context.Context, q DeployRequest) (journal.Record, error) {
	app := q.Release.App
	if own, err := o.journal.Load(ctx, app, q.Rollout); !errors.Is(err, rollout.ErrNotFound) {
		return own, err
	}
	if err := o.checkOwners(q.Release); err != nil {
		return journal.Record{}, err
	}
	after, err := o.makeRoom(ctx, q)
	if err != nil {
		return journal.Record{}, err
	}
	if err := o.reach(ctx, after); err != nil {
		return journal.Record{}, err
	}
	facts, err := o.facts(ctx, q.Release)
	if err != nil {
		return journal.Record{}, err
	}
	state, err := rollout.Compile(q.Rollout, q.By, time.Now().UTC(), q.Release, facts)
	if err != nil {
		return journal.Record{}, err
	}
	sequence, err := o.journal.Begin(ctx, state, after)
	if err != nil {
		return journal.Record{}, err
	}
	o.logEvent(state, sequence)
	return journal.Record{State: state, Sequence: sequence}, nil
}

// makeRoom gives the sequence of the app's newest event, after which a rollout can
// begin. A failed rollout gives way, and one under way if that was asked for: it is
// sealed off from its routes, then ended.
func (o *Orchestrator) makeRoom(ctx context.Context, q DeployRequest) (uint64, error) {
	newest, err := o.journal.Newest(ctx, q.Release.App)
	if errors.Is(err, rollout.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	s := newest.State
	switch {
	case s.Status == rollout.Running && !q.Replace:
		return 0, refuse(CodeRolloutOpen, "golive show "+s.ID+" tells how far it is; golive deploy --replace takes its place",
			"rollout %s of %s %s is under way: one app has one rollout at a time", s.ID, s.Release.App, s.Release.Version)
	case !s.Status.Final():
		for _, step := range s.Steps {
			if step.Kind == rollout.Traffic && step.Status != rollout.StepDone {
				if err := o.takeRoute(ctx, step, s, q.Rollout); err != nil {
					return 0, err
				}
			}
		}
		ended, err := o.apply(ctx, s.Release.App, s.ID, func(rollout.State) (*rollout.Event, error) {
			return &rollout.Event{Type: rollout.Replaced, At: time.Now().UTC(), By: q.By,
				Reason: "rollout " + q.Rollout + " of " + q.Release.Version + " takes its place"}, nil
		})
		if errors.Is(err, rollout.ErrStale) {
			return 0, rollout.ErrConflict
		}
		return ended.Sequence, err
	}
	return newest.Sequence, nil
}

// takeRoute takes the route of a step that has not been finished away from its rollout,
// and leads traffic that was on its way back to where it came from. A service under
// maintenance stays so: what has run offline is not undone.
func (o *Orchestrator) takeRoute(ctx context.Context, step rollout.Step, s rollout.State, by string) error {
	if err := o.gate.Seal(ctx, step.Name, by); err != nil {
		return err
	}
	route, err := o.gate.Route(ctx, step.Name)
	if err != nil || route.Settled() {
		return err
	}
	step.Back = true
	order := backwards(s, step)
	order.Rollout, order.Replaces = by, route.Revision
	_, err = o.gate.Open(ctx, order)
	return err
}

// checkOwners refuses a release that holds another app's service.
func (o *Orchestrator) checkOwners(r rollout.Release) error {
	for _, s := range r.Services {
		if owner := o.index.Owner(s.Name); owner != "" && owner != r.App {
			return refuse(CodeInvalid, "choose another name for the service", "service %s belongs to app %s in this environment", s.Name, owner)
		}
	}
	return nil
}

// facts collects what a plan of r depends on.
func (o *Orchestrator) facts(ctx context.Context, r rollout.Release) (rollout.Facts, error) {
	f := rollout.Facts{Ran: o.index.Ran, Routes: make(map[string]rollout.Replace)}
	for _, s := range r.Services {
		route, err := o.gate.Route(ctx, s.Name)
		if err != nil {
			return f, err
		}
		f.Routes[s.Name] = rollout.Replace{Revision: route.Revision, Online: route.Online()}
	}
	return f, nil
}

// retry has the failed steps of a rollout tried again.
func (o *Orchestrator) retry(ctx context.Context, q RolloutRequest) (RolloutView, error) {
	ref, err := o.find(ctx, q.Rollout)
	if err != nil {
		return RolloutView{}, err
	}
	r, err := o.apply(ctx, ref.App, ref.ID, func(s rollout.State) (*rollout.Event, error) {
		if s.Status != rollout.Failed {
			return nil, refuse(CodeConflict, "golive show "+s.ID+" tells how it ended", "rollout %s is %s: only a failed one can be retried", s.ID, s.Status)
		}
		return &rollout.Event{Type: rollout.Retried, At: time.Now().UTC(), By: q.By, Reason: q.Reason}, nil
	})
	if err != nil {
		return RolloutView{}, err
	}
	return o.view(r), nil
}
