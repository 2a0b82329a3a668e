package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// returner turns apps round.
type returner struct{ base }

// backward turns an app round: the rollout that brought its version, or was about to, is
// undone, and those before it as far as is asked for.
func (c *returner) backward(ctx context.Context, q api.BackwardRequest) (api.RolloutView, error) {
	if err := protocol.ValidateName(q.App); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
	}
	q.By, q.Reason = rollout.Clip(q.By), rollout.Clip(q.Reason)
	for {
		r, err := c.turnRound(ctx, q, !q.Force)
		if !errors.Is(err, rollout.ErrConflict) {
			return c.viewOf(r), err
		}
	}
}

// turnRound records that the app's last rollout goes backward, if nothing happens to the
// app meanwhile; else [rollout.ErrConflict]. Careful, it does not where the versions before are
// not alive.
func (c *returner) turnRound(ctx context.Context, q api.BackwardRequest, careful bool) (journal.Record, error) {
	var none journal.Record
	after, err := c.Recorder.AppNow(ctx, q.App)
	if err != nil {
		return none, err
	}
	if done, known, err := c.undone(ctx, q); err != nil || known {
		return done, err
	}
	all, err := c.toUndo(ctx, q)
	if err != nil {
		return none, err
	}
	if q.Rollout != "" && all[0].State.ID != q.Rollout {
		return none, refuse(api.CodeConflict, "golive status "+q.App+" tells what is online", "rollout %s is not the last one of %s: that is %s", q.Rollout, q.App, all[0].State.ID)
	}
	e := rollout.Event{Type: rollout.BackwardAsked, By: q.By, Reason: q.Reason, Backward: &rollout.Backward{
		To: q.To, SkipMissing: q.SkipMissing, Force: q.Force, By: q.By, Reason: q.Reason,
	}}
	if last := all[len(all)-1].State.ID; q.To == "" && len(all) > 1 {
		e.Backward.Last = last
	}
	without, err := c.missingReverts(ctx, q.App, all)
	if err != nil {
		return none, err
	}
	if e.Missing = without.stepsOf(all[0].State.ID); len(without.steps) > 0 && !q.SkipMissing {
		return none, without.refuse(all)
	}
	if careful {
		if err := c.refuseDark(ctx, all); err != nil {
			return none, err
		}
	}
	if !q.Force {
		if e.Awaits, err = c.awaiting(ctx, all[0].State); err != nil {
			return none, err
		}
	}
	e.Routes = make(map[string]uint64)
	for _, service := range all[0].State.Release.Touches() {
		route, err := c.Gate.Route(ctx, service)
		if err != nil {
			return none, err
		}
		e.Routes[service] = route.Revision
	}
	e.At = c.Recorder.Now()
	next, err := all[0].State.Apply(e)
	if err != nil {
		return none, err
	}
	return c.Recorder.Keep(ctx, next, after, c.Journal.AppendNext)
}

// undone finds the rollout that q names if it has been taken backward already.
func (c *returner) undone(ctx context.Context, q api.BackwardRequest) (_ journal.Record, known bool, err error) {
	if q.Rollout == "" {
		return journal.Record{}, false, nil
	}
	r, err := c.Journal.Load(ctx, q.App, q.Rollout)
	return r, err == nil && r.State.Backward != nil, err
}

// toUndo lists the rollouts that have to be undone to get where q wants to, in the order of
// doing so. To undo one that is under way, or has failed, and has only repeated the one before
// it so far, would change nothing: that one is undone, too.
func (c *returner) toUndo(ctx context.Context, q api.BackwardRequest) ([]journal.Record, error) {
	var all []journal.Record
	found := false // the one that was asked for, where no version was
	for _, r := range c.View.OfApp(q.App) {
		switch {
		case r.State.Status == rollout.Queued:
			return nil, refuse(api.CodeConflict, "golive abort "+r.State.ID+" takes it out of the queue", "rollout %s of %s waits in the queue: it would begin as soon as the app is back", r.State.ID, r.State.Release.Version)
		case r.State.Status == rollout.Amending:
			return nil, refuse(api.CodeConflict, "golive abort "+r.State.ID+" ends that, and leaves it completed; ask again once its scripts have stopped", "rollout %s tries records again that were put aside", r.State.ID)
		case r.State.Status == rollout.Aborting || r.State.Backward != nil:
			return nil, refuse(api.CodeConflict, "golive show "+r.State.ID+" tells how far it is; if a revert has failed: golive retry "+r.State.ID, "rollout %s is %s already", r.State.ID, r.State.Status)
		}
		all = append(all, r)
		found = found || r.State.Repeats == "" || !r.State.Idle()
	}
	book, err := c.Ledger.Book(ctx, q.App)
	if err != nil {
		return nil, err
	}
	live := book.Live()
	if q.To != "" && !slices.ContainsFunc(live, func(v ledger.AppVersion) bool { return v.Version == q.To }) {
		return nil, refuse(api.CodeNotFound, "golive history "+q.App+" lists what has been live", "version %q of %s was not live before", q.To, q.App)
	}
	for n := len(live) - 1; n >= 0; n-- {
		if live[n].Version == q.To || q.To == "" && found {
			break
		}
		if n == 0 {
			return nil, refuse(api.CodeConflict, "golive history "+q.App+" lists what has been live", "%s %s is the first version of the app here: there is none to go back to", q.App, live[n].Version)
		}
		r, err := c.Journal.Load(ctx, q.App, live[n].Rollout)
		if errors.Is(err, rollout.ErrNotFound) {
			return nil, refuse(api.CodeConflict, "deploy the version that shall be live: golive deploy --allow-older", "rollout %s of %s is no longer in the journal (retention): it is not known what to undo", live[n].Rollout, live[n].Version)
		}
		if err != nil {
			return nil, err
		}
		all, found = append(all, r), true
	}
	if len(all) == 0 {
		return nil, refuse(api.CodeConflict, "golive status "+q.App+" tells what is online", "there is nothing to undo: %s is at version %q", q.App, q.To)
	}
	return all, nil
}

// missingReverts is the scripts that have run in some rollouts and cannot be undone, because
// nobody listens to the starts of their reverts.
type missingReverts struct {
	steps []ranStep
	late  []wanted // of them: those whose setup service is being started
}

// ranStep is a step whose script has run.
type ranStep struct {
	rollout rollout.State
	step    rollout.Step
}

func (r ranStep) revert() wanted { return wanted{r.step.ScriptID(), true} }

// missingReverts finds them. Whoever can start the setup services that are needed is asked to.
func (c *returner) missingReverts(ctx context.Context, app string, all []journal.Record) (missingReverts, error) {
	var ran []ranStep
	var reverts []wanted
	for _, r := range all {
		for _, step := range r.State.All() {
			if step.Kind == rollout.Migration && step.Attempt > 0 {
				ran = append(ran, ranStep{r.State, step})
				reverts = append(reverts, ran[len(ran)-1].revert())
			}
		}
	}
	missing, late, err := c.unheard(ctx, app, reverts)
	ran = slices.DeleteFunc(ran, func(r ranStep) bool { return !slices.Contains(missing, r.revert()) })
	return missingReverts{ran, late}, err
}

// stepsOf lists the steps of a rollout among them.
func (w missingReverts) stepsOf(id string) []string {
	var all []string
	for _, r := range w.steps {
		if r.rollout.ID == id {
			all = append(all, r.step.ID)
		}
	}
	return all
}

// refuse names them all, and how data comes back for which there is a snapshot of before the oldest
// of the rollouts that were to be undone.
func (w missingReverts) refuse(undo []journal.Record) error {
	var names []string
	var missing []wanted
	for _, r := range w.steps {
		names = append(names, r.step.ID+" of "+r.rollout.Release.Version)
		missing = append(missing, r.revert())
	}
	hint := "start the setup service of " + services(missing) + ", with its revert scripts, or leave what they did as it is with --skip-missing"
	last := undo[len(undo)-1].State
	if taken, has := last.SnapshotTaken(); has {
		hint += "; to put data and traffic back as they were before: golive restore " + last.Release.App + " " + taken.ID
	}
	return refuseUnheard(api.CodeNoRevert, fmt.Sprintf("nobody listens to the revert of %s: nothing was changed", strings.Join(names, ", ")), hint, missing, w.late)
}

// furtherBack goes on to the rollout before one that was undone, if the way leads there
// and nothing else has been rolled out since.
func (c *returner) furtherBack(ctx context.Context, s rollout.State) error {
	way := s.Backward
	if way == nil || way.To == "" && way.Last == "" {
		return nil
	}
	app := s.Release.App
	if _, err := c.Recorder.AppNow(ctx, app); err != nil {
		return err
	}
	newest, err := c.Journal.Load(ctx, app, c.Ledger.Newest(app))
	if errors.Is(err, rollout.ErrNotFound) || err == nil && newest.State.Created.After(s.Ended) {
		return nil
	}
	if err != nil {
		return err
	}
	book, err := c.Ledger.Book(ctx, app)
	if err != nil {
		return err
	}
	live := book.Live()
	if len(live) == 0 || len(c.View.OfApp(app)) > 0 {
		return nil
	}
	if last := live[len(live)-1]; last.Version == way.To || way.Last != "" && last.Rollout != way.Last {
		return nil
	}
	_, err = c.turnRound(ctx, api.BackwardRequest{
		App: app, To: way.To, SkipMissing: way.SkipMissing, Force: way.Force, By: way.By, Reason: way.Reason,
	}, false) // that was looked at when it was asked for; who has died since is waited for
	return err
}

// turnBack takes a rollout backward by itself, whose check has failed behind the gate. What
// scripts without a revert script have done stays.
func (c *returner) turnBack(ctx context.Context, r journal.Record) error {
	if r.State.Restore != nil {
		return c.turnRestoreBack(ctx, r)
	}
	missing, err := c.missingReverts(ctx, r.State.Release.App, []journal.Record{r})
	if err != nil {
		return err
	}
	awaits, err := c.awaiting(ctx, r.State)
	if err != nil {
		return err
	}
	why := "a check has failed behind the gate"
	for _, step := range r.State.FailedSteps() {
		if step.Kind == rollout.Check {
			why = rollout.Clip(fmt.Sprintf("the check %s has failed behind the gate: %s", step.ID, step.Error.Message))
		}
	}
	const by = "golive"
	e := rollout.Event{
		Type: rollout.BackwardAsked, By: by, Reason: why, Missing: missing.stepsOf(r.State.ID), Awaits: awaits, Routes: make(map[string]uint64),
		Backward: &rollout.Backward{SkipMissing: true, By: by, Reason: why},
	}
	for _, service := range r.State.Release.Touches() {
		route, err := c.Gate.Route(ctx, service)
		if err != nil {
			return err
		}
		e.Routes[service] = route.Revision
	}
	_, err = c.Recorder.Change(ctx, r.State.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if !s.TurnsBack() {
			return nil, nil // somebody was faster
		}
		e.At = c.Recorder.Now()
		return &e, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		return nil
	}
	return err
}
