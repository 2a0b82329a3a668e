package orchestrator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// retry has the failed steps of a rollout tried again or, if they are asked for, the records
// that were put aside.
func (o *Orchestrator) retry(ctx context.Context, q api.RetryRequest) (api.RolloutView, error) {
	if q.FailedRecords {
		return o.amend(ctx, q)
	}
	if q.Step != "" {
		return api.RolloutView{}, refuse(api.CodeInvalid, "leave the step out, or ask for its failed records",
			"all failed steps of a rollout are tried again, not step %q alone", q.Step)
	}
	return o.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		if s.Status != rollout.Failed {
			hint := "golive show " + s.ID + " tells how it stands"
			if s.Status == rollout.Completed && slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool { return step.PutAside > 0 }) {
				hint = "golive retry " + s.ID + " --failed-records tries the records again that its scripts have put aside"
			}
			return nil, refuse(api.CodeConflict, hint, "rollout %s is %s: only a failed one can be retried", s.ID, s.Status)
		}
		return &rollout.Event{Type: rollout.Retried, By: q.By, Reason: q.Reason}, nil
	})
}

// abort puts the version before back and ends the rollout. Of one that tries records again it
// ends that alone, once the scripts have stopped; with force it does not wait any longer for
// those that were told to. Aborting one twice is no error.
func (o *Orchestrator) abort(ctx context.Context, q api.AbortRequest) (api.RolloutView, error) {
	return o.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		switch {
		case s.Status == rollout.Aborting, s.Status == rollout.Aborted, stoppedAmending(s), s.Status == rollout.Amending && s.Stopping() && !q.Force:
			return nil, nil
		case s.Status == rollout.Completed:
			return nil, refuse(api.CodeConflict, "golive backward "+s.Release.App+" goes back to the version before", "rollout %s is completed: it cannot be aborted any more", s.ID)
		case s.Status.Final():
			return nil, refuse(api.CodeConflict, "golive show "+s.ID+" tells how it ended", "rollout %s is %s: it cannot be aborted any more", s.ID, s.Status)
		case !q.Force && s.Status != rollout.Amending && len(undoable(s)) > 0:
			return nil, refuse(api.CodeConfirm, "golive backward "+s.Release.App+" undoes them; to abort all the same: golive abort "+s.ID+" --yes",
				"rollout %s has done what an abort does not undo: %s; the version before may not work on it", s.ID, strings.Join(undoable(s), ", "))
		case !q.Force && s.Status != rollout.Amending && changedOffline(s):
			return nil, refuse(api.CodeConfirm, "golive backward "+s.Release.App+" undoes the scripts; to abort all the same: golive abort "+s.ID+" --yes",
				"offline scripts of rollout %s have begun to change data, which an abort does not undo: the version before may not work on it", s.ID)
		}
		return &rollout.Event{Type: rollout.AbortAsked, By: q.By, Reason: q.Reason}, nil
	})
}

// stoppedAmending reports whether a rollout is complete again because somebody has aborted
// what it did with its records.
func stoppedAmending(s rollout.State) bool {
	if s.Status != rollout.Completed || s.Amended == 0 {
		return false
	}
	step, _ := s.Step(s.Event.Step)
	return s.Event.Type == rollout.AbortAsked ||
		s.Event.Type == rollout.StepBroke && step.Error != nil && step.Error.Code == protocol.CodeCancelled
}

// changedOffline reports whether scripts have changed data that the version before was
// kept away from.
func changedOffline(s rollout.State) bool {
	return s.Release.Strategy == rollout.Downtime && slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		return step.Phase == protocol.Offline && step.Attempt > 0 && step.Status != rollout.StepReverted
	})
}

// undoable lists the commands that have changed something, and can undo it.
func undoable(s rollout.State) []string {
	var done []string
	for _, step := range s.All() {
		if step.Work != nil && step.Work.Backward && step.Attempt > 0 && step.Status != rollout.StepReverted {
			done = append(done, step.ID)
		}
	}
	return done
}

// pause holds a rollout or one of its steps.
func (o *Orchestrator) pause(ctx context.Context, q api.StepRequest) (api.RolloutView, error) {
	return o.hold(ctx, q, rollout.PauseAsked)
}

// resume lets a rollout or one of its steps go on.
func (o *Orchestrator) resume(ctx context.Context, q api.StepRequest) (api.RolloutView, error) {
	return o.hold(ctx, q, rollout.ResumeAsked)
}

func (o *Orchestrator) hold(ctx context.Context, q api.StepRequest, what rollout.EventType) (api.RolloutView, error) {
	return o.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		if q.Step != "" {
			if _, err := stepOf(s, q.Step); err != nil {
				return nil, err
			}
		}
		e := rollout.Event{Type: what, Step: q.Step, By: q.By, Reason: q.Reason}
		if _, err := s.Apply(e); errors.Is(err, rollout.ErrStale) {
			return nil, refuse(api.CodeConflict, holdHint(s, q.Step, what), "%v", err)
		}
		return &e, nil
	})
}

// holdHint is what may be run where a rollout or a step cannot be paused, or resumed.
func holdHint(s rollout.State, id string, what rollout.EventType) string {
	step, _ := s.Step(id)
	switch {
	case s.Status.Final() || s.Status == rollout.Failed:
	case s.Paused != nil:
		return "the whole rollout is paused; to let it go on: golive resume " + s.ID
	case step.Paused != nil:
		return "to let it go on: golive resume " + s.ID + " " + id
	case what == rollout.ResumeAsked && id == "":
		for _, step := range s.All() {
			if step.Paused != nil {
				return "one of its steps is paused; to let it go on: golive resume " + s.ID + " " + step.ID
			}
		}
	}
	return "golive show " + s.ID + " tells how it stands"
}

// intervene makes what a person wants durable. Without an event there is nothing to do.
func (o *Orchestrator) intervene(ctx context.Context, id string, event func(rollout.State) (*rollout.Event, error)) (api.RolloutView, error) {
	ref, err := o.find(ctx, id)
	if err != nil {
		return api.RolloutView{}, err
	}
	r, err := o.apply(ctx, ref.App, ref.ID, func(s rollout.State) (*rollout.Event, error) {
		e, err := event(s)
		if e != nil {
			e.At, e.By, e.Reason = time.Now().UTC(), clip(e.By), clip(e.Reason)
		}
		return e, err
	})
	if err != nil {
		return api.RolloutView{}, refusedBy(ref.ID, err)
	}
	return o.viewOf(r), nil
}

// refusedBy names the rollout in what helps where one does not take what a person wants.
func refusedBy(id string, err error) error {
	e := describe(err)
	if e.Code == api.CodeNotAllowed || e.Code == api.CodeConflict {
		e.Hint = strings.ReplaceAll(e.Hint, "ROLLOUT", id)
	}
	return e
}

// backward turns an app round: the rollout that brought its version, or was about to, is
// undone, and those before it as far as is asked for.
func (o *Orchestrator) backward(ctx context.Context, q api.BackwardRequest) (api.RolloutView, error) {
	if err := protocol.ValidateName(q.App); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
	}
	q.By, q.Reason = clip(q.By), clip(q.Reason)
	for {
		r, err := o.turnRound(ctx, q)
		if !errors.Is(err, rollout.ErrConflict) {
			return o.viewOf(r), err
		}
	}
}

// turnRound records that the app's last rollout goes backward, if nothing happens to the
// app meanwhile; else [rollout.ErrConflict].
func (o *Orchestrator) turnRound(ctx context.Context, q api.BackwardRequest) (journal.Record, error) {
	var none journal.Record
	after, err := o.appNow(ctx, q.App)
	if err != nil {
		return none, err
	}
	if done, known, err := o.undone(ctx, q); err != nil || known {
		return done, err
	}
	all, err := o.toUndo(ctx, q)
	if err != nil {
		return none, err
	}
	if q.Rollout != "" && all[0].State.ID != q.Rollout {
		return none, refuse(api.CodeConflict, "golive status "+q.App+" tells what is online", "rollout %s is not the last one of %s: that is %s", q.Rollout, q.App, all[0].State.ID)
	}
	e := rollout.Event{Type: rollout.BackwardAsked, By: q.By, Reason: q.Reason, Backward: &rollout.Backward{
		To: q.To, SkipMissing: q.SkipMissing, By: q.By, Reason: q.Reason,
	}}
	var missing []string
	for i, r := range all {
		without, err := o.withoutRevert(ctx, r.State)
		if err != nil {
			return none, err
		}
		if i == 0 {
			e.Missing = without
		}
		for _, id := range without {
			missing = append(missing, id+" of "+r.State.Release.Version)
		}
	}
	if len(missing) > 0 && !q.SkipMissing {
		return none, refuse(api.CodeNoRevert, "start the setup service that has their revert scripts, or leave what they did as it is with --skip-missing",
			"nobody listens to the revert of %s: nothing was changed", strings.Join(missing, ", "))
	}
	e.Routes = make(map[string]uint64)
	for _, service := range all[0].State.Release.Touches() {
		route, err := o.gate.Route(ctx, service)
		if err != nil {
			return none, err
		}
		e.Routes[service] = route.Revision
	}
	e.At = time.Now().UTC()
	next, err := all[0].State.Apply(e)
	if err != nil {
		return none, err
	}
	return o.keep(ctx, next, after, o.journal.AppendNext)
}

// undone finds the rollout that q names if it has been taken backward already.
func (o *Orchestrator) undone(ctx context.Context, q api.BackwardRequest) (_ journal.Record, known bool, err error) {
	if q.Rollout == "" {
		return journal.Record{}, false, nil
	}
	r, err := o.journal.Load(ctx, q.App, q.Rollout)
	return r, err == nil && r.State.Backward != nil, err
}

// toUndo lists the rollouts that have to be undone to get where q wants to, in the order of
// doing so.
func (o *Orchestrator) toUndo(ctx context.Context, q api.BackwardRequest) ([]journal.Record, error) {
	var all []journal.Record
	for _, r := range o.view.ofApp(q.App) {
		switch {
		case r.State.Status == rollout.Queued:
			return nil, refuse(api.CodeConflict, "golive abort "+r.State.ID+" takes it out of the queue", "rollout %s of %s waits in the queue: it would begin as soon as the app is back", r.State.ID, r.State.Release.Version)
		case r.State.Status == rollout.Amending:
			return nil, refuse(api.CodeConflict, "golive abort "+r.State.ID+" ends that, and leaves it completed; ask again once its scripts have stopped", "rollout %s tries records again that were put aside", r.State.ID)
		case r.State.Status == rollout.Aborting || r.State.Backward != nil:
			return nil, refuse(api.CodeConflict, "golive show "+r.State.ID+" tells how far it is; if a revert has failed: golive retry "+r.State.ID, "rollout %s is %s already", r.State.ID, r.State.Status)
		}
		all = append(all, r)
	}
	live, err := o.liveVersions(ctx, q.App)
	if err != nil {
		return nil, err
	}
	if q.To != "" && !slices.ContainsFunc(live, func(v appVersion) bool { return v.Version == q.To }) {
		return nil, refuse(api.CodeNotFound, "golive history "+q.App+" lists what has been live", "version %q of %s was not live before", q.To, q.App)
	}
	for n := len(live) - 1; n >= 0; n-- {
		if live[n].Version == q.To || q.To == "" && len(all) > 0 {
			break
		}
		if n == 0 {
			return nil, refuse(api.CodeConflict, "golive history "+q.App+" lists what has been live", "%s %s is the first version of the app here: there is none to go back to", q.App, live[n].Version)
		}
		r, err := o.journal.Load(ctx, q.App, live[n].Rollout)
		if errors.Is(err, rollout.ErrNotFound) {
			return nil, refuse(api.CodeConflict, "deploy the version that shall be live: golive deploy --allow-older", "rollout %s of %s is no longer in the journal (retention): it is not known what to undo", live[n].Rollout, live[n].Version)
		}
		if err != nil {
			return nil, err
		}
		all = append(all, r)
	}
	if len(all) == 0 {
		return nil, refuse(api.CodeConflict, "golive status "+q.App+" tells what is online", "there is nothing to undo: %s is at version %q", q.App, q.To)
	}
	return all, nil
}

// withoutRevert lists the steps whose scripts have run in a rollout and cannot be undone,
// because nobody listens.
func (o *Orchestrator) withoutRevert(ctx context.Context, s rollout.State) ([]string, error) {
	var missing []string
	for _, step := range s.All() {
		if step.Kind != rollout.Migration || step.Attempt == 0 {
			continue
		}
		listened, err := o.delivery.listened(ctx, step.Script().Subject(protocol.RevertStart))
		if err != nil {
			return nil, err
		}
		if !listened {
			missing = append(missing, step.ID)
		}
	}
	return missing, nil
}

// furtherBack goes on to the rollout before one that was undone, if the way leads there
// and nothing else has been rolled out since.
func (o *Orchestrator) furtherBack(ctx context.Context, s rollout.State) error {
	if s.Backward == nil || s.Backward.To == "" {
		return nil
	}
	app, to := s.Release.App, s.Backward.To
	if _, err := o.appNow(ctx, app); err != nil {
		return err
	}
	newest, err := o.journal.Load(ctx, app, o.index.Newest(app))
	if errors.Is(err, rollout.ErrNotFound) || err == nil && newest.State.Created.After(s.Ended) {
		return nil
	}
	if err != nil {
		return err
	}
	live, err := o.liveVersions(ctx, app)
	if err != nil || len(live) == 0 || live[len(live)-1].Version == to || len(o.view.ofApp(app)) > 0 {
		return err
	}
	_, err = o.turnRound(ctx, api.BackwardRequest{
		App: app, To: to, SkipMissing: s.Backward.SkipMissing, By: s.Backward.By, Reason: s.Backward.Reason,
	})
	return err
}

// mark records a script as run, without running it.
func (o *Orchestrator) mark(ctx context.Context, q api.MarkRequest) (api.RolloutView, error) {
	script := protocol.Script{Name: q.Name, Version: q.Version, Phase: q.Phase}
	if err := script.Validate(); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "name it like todo-search 0.0.1 offline", "%v", err)
	}
	if strings.TrimSpace(q.Reason) == "" {
		return api.RolloutView{}, refuse(api.CodeInvalid, "say why, with --reason", "a script is marked as run for a reason, and none is given")
	}
	app, err := o.ownerOf(q.App, script)
	if err != nil {
		return api.RolloutView{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return api.RolloutView{}, err
	}
	for {
		after, err := o.appNow(ctx, app)
		if err != nil {
			return api.RolloutView{}, err
		}
		for _, r := range o.view.ofApp(app) {
			if step, known := r.State.Step(script.Step()); known && step.Script() == script && step.Status == rollout.StepRunning {
				return api.RolloutView{}, refuse(api.CodeConflict, "golive abort "+r.State.ID+" stops it", "the script %s is running, in rollout %s", script, r.State.ID)
			}
		}
		state, err := rollout.MarkRun(id.String(), clip(q.By), clip(q.Reason), time.Now().UTC(), app, script)
		if err != nil {
			return api.RolloutView{}, err
		}
		r, err := o.keep(ctx, state, after, o.journal.Begin)
		if errors.Is(err, rollout.ErrConflict) {
			continue
		}
		if err != nil {
			return api.RolloutView{}, err
		}
		return o.viewOf(r), nil
	}
}

// ownerOf is the app that a script belongs to.
func (o *Orchestrator) ownerOf(app string, script protocol.Script) (string, error) {
	owner := o.index.Owner(script.Name)
	if script.Phase == protocol.Setup {
		owner = script.Name
	}
	switch {
	case owner == "" && app == "":
		return "", refuse(api.CodeInvalid, "name its app with --app", "service %s has not been rolled out here: it is not known to which app it belongs", script.Name)
	case owner == "" || owner == app || app == "":
		if owner == "" {
			owner = app
		}
		if err := protocol.ValidateName(owner); err != nil {
			return "", refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
		}
		return owner, nil
	}
	return "", refuse(api.CodeInvalid, "leave --app out", "%s belongs to app %s, not to %s", script.Name, owner, app)
}
