package command

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// deployer begins rollouts.
type deployer struct {
	base
	planner *planner
}

// deploy begins a rollout, or puts it into the app's queue. The plan is made on what is
// known when the app's newest event is the one found here, and recorded only if it still is.
func (c *deployer) deploy(ctx context.Context, q api.DeployRequest) (api.RolloutView, error) {
	if err := checkNeeds(q.Needs); err != nil {
		return api.RolloutView{}, err
	}
	if id, err := uuid.Parse(q.Rollout); err != nil || id.Version() != 7 || q.Rollout != id.String() {
		return api.RolloutView{}, refuse(api.CodeInvalid, "make a UUID v7 and repeat the request with the same one", "rollout id %q is no UUID v7", q.Rollout)
	}
	if err := q.Release.Validate(); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "correct golive.yaml", "%v", err)
	}
	if q.Release = c.planner.governed(q.Release); q.Release.Approvals.NotStarter {
		if err := c.identified(q.Known, "deploy"); err != nil {
			return api.RolloutView{}, err
		}
	}
	if err := q.Release.Validate(); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "the environment's policy and the release's own do not fit together: correct one of them", "%v", err)
	}
	if err := answerable(q.Release.Approvals, q.By); err != nil {
		return api.RolloutView{}, err
	}
	q.By, q.Reason = rollout.Clip(q.By), rollout.Clip(q.Reason)
	if err := checkPlanned(q); err != nil {
		return api.RolloutView{}, err
	}
	return c.untilBegun(ctx, q)
}

// untilBegun looks again whenever somebody else has done something to the app meanwhile.
func (c *deployer) untilBegun(ctx context.Context, q api.DeployRequest) (api.RolloutView, error) {
	conflicts := 0
	for known := true; ; known = false {
		r, err := c.begin(ctx, q, known)
		if errors.Is(err, rollout.ErrConflict) {
			tasks.Pause(ctx, min(time.Duration(conflicts)*conflictPause, maxConflictPause))
			if conflicts++; ctx.Err() != nil {
				return api.RolloutView{}, refuse(api.CodeConflict, "ask again", "others go on changing %s: nothing was begun", q.Release.App)
			}
			if err = c.checkID(ctx, q); err == nil {
				continue
			}
		}
		if known && err != nil {
			continue // what is known here may be behind
		}
		if err != nil {
			return api.RolloutView{}, err
		}
		v := c.viewOf(r)
		if book, err := c.Ledger.Book(ctx, q.Release.App); err == nil { // else there is nothing to say
			v.Before = liveBefore(book, q.Release, v.ID)
		}
		return v, nil
	}
}

// Pauses before a plan is made anew, by the number of conflicts so far.
const (
	conflictPause    = 5 * time.Millisecond
	maxConflictPause = 250 * time.Millisecond
)

// checkID refuses the id of a rollout of another app: the journal has it once.
func (c *deployer) checkID(ctx context.Context, q api.DeployRequest) error {
	r, err := c.Journal.LoadAny(ctx, q.Rollout)
	if errors.Is(err, rollout.ErrNotFound) {
		return nil
	}
	if app := r.State.Release.App; err == nil && app != q.Release.App {
		return refuse(api.CodeConflict, "make a new UUID v7 for each rollout", "the id %s is that of a rollout of %s", q.Rollout, app)
	}
	return err
}

// begin begins a rollout, or puts it into the queue, on what is known here of its app or,
// if known is false, on what the leader knows.
func (c *deployer) begin(ctx context.Context, q api.DeployRequest, known bool) (journal.Record, error) {
	app := q.Release.App
	if own, known := c.View.Newest(q.Rollout); known && own.State.Release.App == app {
		return own, nil
	}
	if own, known := c.asked(q); known {
		return own, nil
	}
	after := c.View.NewestOf(app)
	if !known || after == 0 && c.Ledger.Newest(app) != "" {
		var err error
		if after, err = c.Recorder.AppNow(ctx, app); err != nil {
			return journal.Record{}, err
		}
	}
	if err := c.View.Reach(ctx, after); err != nil { // the ledger knows it then, too
		return journal.Record{}, err
	}
	if own, known, err := c.askedBefore(ctx, q); err != nil || known {
		return own, err
	}
	if fresh := journal.Fresh(q.Rollout, c.Recorder.Now()); after > 0 && !known || !fresh {
		if own, err := c.Journal.Load(ctx, app, q.Rollout); !errors.Is(err, rollout.ErrNotFound) {
			return own, err
		}
		if !fresh { // else the server tells
			if err := c.checkID(ctx, q); err != nil {
				return journal.Record{}, err
			}
		}
	}
	if err := c.View.Readable(app); err != nil {
		return journal.Record{}, err
	}
	if err := c.planner.checkOwners(ctx, q.Release); err != nil {
		return journal.Record{}, err
	}
	facts, err := c.planner.facts(ctx, q.Release)
	if err != nil {
		return journal.Record{}, err
	}
	if err := c.planner.checkVersions(ctx, q.Release, facts, q.AllowOlder); err != nil {
		return journal.Record{}, err
	}
	open := c.View.OfApp(app)
	busy := slices.IndexFunc(open, func(r journal.Record) bool { return !givesWay(r) })
	if busy < 0 || !goesFurther(open[busy].State, q.Release) {
		if err := c.planner.checkRehearsed(ctx, q.Release); err != nil {
			return journal.Record{}, err
		}
	}
	if busy < 0 || !q.Queue { // else what it requires may be on its way
		if err := c.planner.checkRequires(ctx, q.Release); err != nil {
			return journal.Record{}, err
		}
	}
	if busy < 0 {
		if err := c.planner.checkPlan(ctx, q, facts, open); err != nil {
			return journal.Record{}, err
		}
		return c.start(ctx, planned{
			release: q.Release, facts: facts, id: q.Rollout, by: q.By, reason: q.Reason, allowOlder: q.AllowOlder, failed: open,
			phase: q.Phase, store: c.Journal.Begin,
		}, after)
	}
	if goesFurther(open[busy].State, q.Release) {
		if err := c.planner.checkPlan(ctx, q, facts, nil); err != nil {
			return journal.Record{}, err
		}
		return c.further(ctx, q, open[busy])
	}
	if !q.Queue && !q.Replace {
		return journal.Record{}, underWay(open[busy].State)
	}
	if q.Replace {
		return c.replace(ctx, q, open)
	}
	return c.enqueue(ctx, q, after)
}

// givesWay reports whether a rollout ends when another one of its app begins: it has failed,
// and does not go backward by itself. A restore does not: its data may be neither that of before
// nor that of then.
func givesWay(r journal.Record) bool {
	return r.State.Status == rollout.Failed && !r.State.TurnsBack() && r.State.Restore == nil
}

// goesFurther reports whether a deploy of a release has a rollout go on that was to run some
// phases only.
func goesFurther(s rollout.State, r rollout.Release) bool {
	return s.Status == rollout.Running && s.Until != "" && s.Release.Version == r.Version && s.Release.Digest == r.Digest
}

// asked finds the rollout that the same request has had go further already.
func (c *deployer) asked(q api.DeployRequest) (journal.Record, bool) {
	for _, r := range c.View.OfApp(q.Release.App) {
		if r.State.Asked == q.Rollout {
			return r, true
		}
	}
	return journal.Record{}, false
}

// askedBefore finds the app's newest rollout, if it has ended since the same request had it go
// further.
func (c *deployer) askedBefore(ctx context.Context, q api.DeployRequest) (journal.Record, bool, error) {
	newest := c.Ledger.Newest(q.Release.App)
	if newest == "" {
		return journal.Record{}, false, nil
	}
	if request, known := c.View.AskedOf(q.Release.App, newest); known && request != q.Rollout {
		return journal.Record{}, false, nil
	}
	r, err := c.Journal.Load(ctx, q.Release.App, newest)
	if errors.Is(err, rollout.ErrNotFound) {
		return r, false, nil // it was dropped
	}
	return r, err == nil && r.State.Asked == q.Rollout, err
}

// further has a rollout that was to run some phases go on.
func (c *deployer) further(ctx context.Context, q api.DeployRequest, r journal.Record) (journal.Record, error) {
	gone, err := c.Recorder.Change(ctx, q.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if q.Phase != "" && s.Until == q.Phase {
			return nil, nil // it goes that far already
		}
		if !goesFurther(s, q.Release) {
			return nil, rollout.ErrConflict
		}
		return &rollout.Event{Type: rollout.FurtherAsked, At: c.Recorder.Now(), Until: q.Phase, Asked: q.Rollout, By: q.By, Reason: q.Reason}, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		err = refusedBy(r.State.ID, err)
	}
	return gone, err
}

// underWay refuses a rollout beside one that has not ended.
func underWay(s rollout.State) error {
	if s.Held() {
		return refuse(api.CodeRolloutOpen,
			"golive deploy of that very release has it go on; golive abort "+s.ID+" ends it; golive deploy --replace aborts it and takes its place",
			"rollout %s of %s %s has run to the end of phase %s, and is of another release: one app has one rollout at a time", s.ID, s.Release.App, s.Release.Version, s.Until)
	}
	help := "golive show " + s.ID + " tells how far it is"
	if slices.ContainsFunc(s.Running(), func(step rollout.Step) bool { return step.Kind == rollout.Approving }) {
		help = "it waits for a person: golive approve " + s.ID
	}
	return refuse(api.CodeRolloutOpen,
		help+"; golive deploy --queue waits for its end, --replace aborts it",
		"rollout %s of %s %s is %s: one app has one rollout at a time", s.ID, s.Release.App, s.Release.Version, s.Status)
}

// planned is what a rollout that is to begin now was asked for with.
type planned struct {
	release        rollout.Release
	facts          rollout.Facts
	id, by, reason string
	allowOlder     bool
	phase          protocol.Phase   // at whose end it stops; empty: it goes to its own
	failed         []journal.Record // rollouts of the app that give way
	store          view.Store
}

// start begins a rollout if after is still the sequence of the app's newest event.
func (c *deployer) start(ctx context.Context, p planned, after uint64) (journal.Record, error) {
	for _, r := range p.failed {
		if r.State.ID == p.id {
			continue
		}
		reason := "rollout " + p.id + " of " + p.release.Version + " takes its place"
		if err := c.supersede(ctx, r.State, p.id, p.by, reason); err != nil {
			return journal.Record{}, err
		}
		return journal.Record{}, rollout.ErrConflict // the app has a newer event now
	}
	state, err := rollout.CompileUntil(p.id, p.by, c.Recorder.Now(), p.release, p.facts, p.phase)
	if err != nil {
		return journal.Record{}, err
	}
	state.AllowOlder, state.Event.Reason = p.allowOlder, p.reason
	if state.Repeats, err = c.repeated(ctx, p.release); err != nil {
		return journal.Record{}, err
	}
	return c.Recorder.Keep(ctx, state, after, p.store)
}

// repeated is the rollout by which the version of a release is live already; empty: another
// version is, or none.
func (c *deployer) repeated(ctx context.Context, r rollout.Release) (string, error) {
	book, err := c.Ledger.Book(ctx, r.App)
	if err != nil {
		return "", err
	}
	if live := book.Live(); len(live) > 0 && live[len(live)-1].Version == r.Version {
		return live[len(live)-1].Rollout, nil
	}
	return "", nil
}

// supersede ends a failed rollout, on behalf of another one: it is sealed off from its routes
// first. [rollout.ErrConflict] says that it has not failed any more.
func (c *base) supersede(ctx context.Context, s rollout.State, id, by, reason string) error {
	for _, step := range toTake(s) {
		if err := c.takeRoute(ctx, step, s, id); err != nil {
			return err
		}
	}
	_, err := c.Recorder.Change(ctx, s.Release.App, s.ID, func(rollout.State) (*rollout.Event, error) {
		return &rollout.Event{Type: rollout.Replaced, At: c.Recorder.Now(), By: by, Reason: reason}, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		return rollout.ErrConflict
	}
	return err
}

// takeRoute takes the route of a step that has not been finished away from its rollout,
// and leads traffic that was on its way back to where it came from. A service under
// maintenance stays so: what has run offline is not undone.
func (c *base) takeRoute(ctx context.Context, step rollout.Step, s rollout.State, by string) error {
	if err := c.Gate.Seal(ctx, step.Name, by); err != nil {
		return err
	}
	route, err := c.Gate.Route(ctx, step.Name)
	if err != nil || route.Settled() {
		return err
	}
	step.Move.Back = true
	order := gate.OrderBack(s, step)
	order.Rollout, order.Replaces = by, route.Revision
	_, err = c.Gate.Open(ctx, order)
	return err
}
