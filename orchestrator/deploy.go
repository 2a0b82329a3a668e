package orchestrator

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// deploy begins a rollout, or puts it into the app's queue. The plan is made on what is
// known when the app's newest event is the one found here, and recorded only if it still is.
func (o *Orchestrator) deploy(ctx context.Context, q api.DeployRequest) (api.RolloutView, error) {
	if err := checkNeeds(q.Needs); err != nil {
		return api.RolloutView{}, err
	}
	if id, err := uuid.Parse(q.Rollout); err != nil || id.Version() != 7 || q.Rollout != id.String() {
		return api.RolloutView{}, refuse(api.CodeInvalid, "make a UUID v7 and repeat the request with the same one", "rollout id %q is no UUID v7", q.Rollout)
	}
	if err := q.Release.Validate(); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "correct golive.yaml", "%v", err)
	}
	if q.Release = o.governed(q.Release); q.Release.Approvals.NotStarter {
		if err := o.identified(q.Known, "deploy"); err != nil {
			return api.RolloutView{}, err
		}
	}
	if err := q.Release.Validate(); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "the environment's policy and the release's own do not fit together: correct one of them", "%v", err)
	}
	if err := answerable(q.Release.Approvals, q.By); err != nil {
		return api.RolloutView{}, err
	}
	q.By, q.Reason = clip(q.By), clip(q.Reason)
	if err := checkPlanned(q); err != nil {
		return api.RolloutView{}, err
	}
	for known := true; ; known = false {
		r, err := o.begin(ctx, q, known)
		if errors.Is(err, rollout.ErrConflict) {
			continue // somebody else has done something to the app: look again
		}
		if known && err != nil {
			continue // what is known here may be behind
		}
		if err != nil {
			return api.RolloutView{}, err
		}
		return o.viewOf(r), nil
	}
}

// begin begins a rollout, or puts it into the queue, on what is known here of its app or,
// if known is false, on what the leader knows.
func (o *Orchestrator) begin(ctx context.Context, q api.DeployRequest, known bool) (journal.Record, error) {
	app := q.Release.App
	if own, known := o.view.newest(q.Rollout); known && own.State.Release.App == app {
		return own, nil
	}
	if own, known := o.asked(q); known {
		return own, nil
	}
	after := o.view.newestOf(app)
	if !known || after == 0 && o.index.Newest(app) != "" {
		var err error
		if after, err = o.appNow(ctx, app); err != nil {
			return journal.Record{}, err
		}
	}
	if err := o.reach(ctx, after); err != nil { // the ledger knows it then, too
		return journal.Record{}, err
	}
	if after > 0 && (!known || !journal.Fresh(q.Rollout, time.Now())) {
		if own, err := o.journal.Load(ctx, app, q.Rollout); !errors.Is(err, rollout.ErrNotFound) {
			return own, err
		}
	}
	if err := o.view.readable(app); err != nil {
		return journal.Record{}, err
	}
	if err := o.checkOwners(ctx, q.Release); err != nil {
		return journal.Record{}, err
	}
	facts, err := o.facts(ctx, q.Release)
	if err != nil {
		return journal.Record{}, err
	}
	if err := o.checkVersions(ctx, q.Release, facts, q.AllowOlder); err != nil {
		return journal.Record{}, err
	}
	open := o.view.ofApp(app)
	busy := slices.IndexFunc(open, func(r journal.Record) bool { return !givesWay(r) })
	if busy < 0 || !q.Queue { // else what it requires may be on its way
		if err := o.checkRequires(ctx, q.Release); err != nil {
			return journal.Record{}, err
		}
	}
	if busy < 0 {
		if err := o.checkPlan(ctx, q, facts, open); err != nil {
			return journal.Record{}, err
		}
		return o.plan(ctx, planned{
			release: q.Release, facts: facts, id: q.Rollout, by: q.By, reason: q.Reason, allowOlder: q.AllowOlder, failed: open,
			phase: q.Phase, store: o.journal.Begin,
		}, after)
	}
	if goesFurther(open[busy].State, q.Release) {
		if err := o.checkPlan(ctx, q, facts, nil); err != nil {
			return journal.Record{}, err
		}
		return o.further(ctx, q, open[busy])
	}
	if !q.Queue && !q.Replace {
		return journal.Record{}, underWay(open[busy].State)
	}
	if q.Replace {
		return o.replace(ctx, q, open)
	}
	return o.enqueue(ctx, q, after)
}

// givesWay reports whether a rollout ends when another one of its app begins: it has failed,
// and does not go backward by itself.
func givesWay(r journal.Record) bool { return r.State.Status == rollout.Failed && !r.State.TurnsBack() }

// goesFurther reports whether a deploy of a release has a rollout go on that was to run some
// phases only.
func goesFurther(s rollout.State, r rollout.Release) bool {
	return s.Status == rollout.Running && s.Until != "" && s.Release.Version == r.Version && s.Release.Digest == r.Digest
}

// asked finds the rollout that the same request has had go further already.
func (o *Orchestrator) asked(q api.DeployRequest) (journal.Record, bool) {
	for _, r := range o.view.ofApp(q.Release.App) {
		if r.State.Asked == q.Rollout {
			return r, true
		}
	}
	return journal.Record{}, false
}

// further has a rollout that was to run some phases go on.
func (o *Orchestrator) further(ctx context.Context, q api.DeployRequest, r journal.Record) (journal.Record, error) {
	gone, err := o.apply(ctx, q.Release.App, r.State.ID, func(s rollout.State) (*rollout.Event, error) {
		if q.Phase != "" && s.Until == q.Phase {
			return nil, nil // it goes that far already
		}
		if !goesFurther(s, q.Release) {
			return nil, rollout.ErrConflict
		}
		return &rollout.Event{Type: rollout.FurtherAsked, At: time.Now().UTC(), Until: q.Phase, Asked: q.Rollout, By: q.By, Reason: q.Reason}, nil
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

// appNow gives the sequence of the app's newest event, once everything up to it is known
// here; 0 when there is none.
func (o *Orchestrator) appNow(ctx context.Context, app string) (uint64, error) {
	newest, err := o.journal.NewestOf(ctx, app)
	if err != nil {
		return 0, err
	}
	return newest, o.reach(ctx, newest)
}

// planned is what a rollout that is to begin now was asked for with.
type planned struct {
	release        rollout.Release
	facts          rollout.Facts
	id, by, reason string
	allowOlder     bool
	phase          protocol.Phase   // at whose end it stops; empty: it goes to its own
	failed         []journal.Record // rollouts of the app that give way
	store          store
}

// store is [journal.Journal.Begin] or, for a rollout that the journal has, AppendNext.
type store func(context.Context, rollout.State, uint64) (uint64, error)

// plan begins a rollout if after is still the sequence of the app's newest event.
func (o *Orchestrator) plan(ctx context.Context, p planned, after uint64) (journal.Record, error) {
	for _, r := range p.failed {
		if r.State.ID == p.id {
			continue
		}
		if _, err := o.supersede(ctx, r.State, p); err != nil {
			return journal.Record{}, err
		}
		return journal.Record{}, rollout.ErrConflict // the app has a newer event now
	}
	state, err := rollout.CompileUntil(p.id, p.by, time.Now().UTC(), p.release, p.facts, p.phase)
	if err != nil {
		return journal.Record{}, err
	}
	state.AllowOlder, state.Event.Reason = p.allowOlder, p.reason
	return o.keep(ctx, state, after, p.store)
}

// keep stores a state of a rollout if after is still the sequence of the app's newest
// event.
func (o *Orchestrator) keep(ctx context.Context, s rollout.State, after uint64, to store) (journal.Record, error) {
	sequence, err := to(ctx, s, after)
	if err != nil {
		return journal.Record{}, err
	}
	o.at(EventSaved)
	o.logEvent(s, sequence)
	r := journal.Record{State: s, Sequence: sequence}
	o.view.meet(r)
	return r, nil
}

// supersede ends a failed rollout: it is sealed off from its routes first.
func (o *Orchestrator) supersede(ctx context.Context, s rollout.State, p planned) (uint64, error) {
	for _, step := range toTake(s) {
		if err := o.takeRoute(ctx, step, s, p.id); err != nil {
			return 0, err
		}
	}
	ended, err := o.apply(ctx, s.Release.App, s.ID, func(rollout.State) (*rollout.Event, error) {
		return &rollout.Event{Type: rollout.Replaced, At: time.Now().UTC(), By: p.by,
			Reason: "rollout " + p.id + " of " + p.release.Version + " takes its place"}, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		return 0, rollout.ErrConflict
	}
	return ended.Sequence, err
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

// checkOwners refuses a release that holds another app's service. That nobody has one yet
// must not be old news.
func (o *Orchestrator) checkOwners(ctx context.Context, r rollout.Release) error {
	if slices.ContainsFunc(r.Touches(), func(service string) bool { return o.index.Owner(service) == "" }) {
		if err := o.catchUp(ctx); err != nil {
			return err
		}
	}
	for _, service := range r.Touches() {
		if owner := o.index.Owner(service); owner != "" && owner != r.App {
			return refuse(api.CodeInvalid, "choose another name for the service", "service %s belongs to app %s in this environment", service, owner)
		}
	}
	return nil
}

// live finds the rollout by which this very release is live already: the last one that did
// something for it. A release without steps
// of its own does not need to know.
func (o *Orchestrator) live(ctx context.Context, r rollout.Release, book *ledger.Book) (*rollout.Ran, error) {
	if len(r.Workflow) == 0 && !r.Approvals.Required {
		return nil, nil
	}
	var first *rollout.Ran // of those in a row that brought this very release
	for _, v := range slices.Backward(book.Versions()) {
		if v.Void != "" {
			continue
		}
		if v.Version != r.Version {
			break
		}
		found, err := o.journal.Load(ctx, r.App, v.Rollout)
		if errors.Is(err, rollout.ErrNotFound) || err == nil && found.State.Release.Digest != r.Digest {
			break // its journal may have been dropped
		}
		if err != nil {
			return nil, err
		}
		first = &rollout.Ran{Rollout: v.Rollout, At: v.At}
		if slices.ContainsFunc(found.State.Steps, func(step *rollout.Step) bool { return step.Attempt > 0 && step.Kind != rollout.Traffic }) {
			break // it has done more than to look
		}
	}
	return first, nil
}

// facts collects what a plan of r depends on.
func (o *Orchestrator) facts(ctx context.Context, r rollout.Release) (rollout.Facts, error) {
	book, err := o.index.Book(ctx, r.App)
	if err != nil {
		return rollout.Facts{}, err
	}
	f := rollout.Facts{Ran: book.Ran, Routes: make(map[string]rollout.Replace)}
	for _, service := range r.Touches() {
		route, err := o.gate.Route(ctx, service)
		if err != nil {
			return f, err
		}
		f.Routes[service] = rollout.Replace{Revision: route.Revision, Online: route.Online()}
	}
	f.Live, err = o.live(ctx, r, book)
	return f, err
}
