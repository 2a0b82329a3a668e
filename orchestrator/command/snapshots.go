package command

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// taker takes and keeps snapshots. What takes long goes on behind the answer, until the server
// ends.
type taker struct {
	base
	ctx   context.Context // of the server
	group *tasks.Group
}

// make opens where snapshots lie, and makes it where it is missing.
func (c *taker) make(ctx context.Context) (*snapshot.Snapshots, error) {
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	return c.Store.Make(ctx, js, c.Journal.Environment(), c.Replicas)
}

// look opens where snapshots lie; nil: there is nothing yet.
func (c *taker) look(ctx context.Context) (*snapshot.Snapshots, error) {
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	s, err := c.Store.Look(ctx, js, c.Journal.Environment())
	if errors.Is(err, bus.ErrNone) {
		return nil, nil
	}
	return s, err
}

// take has a snapshot taken, or tells how far that is.
func (c *taker) take(ctx context.Context, q api.TakeRequest) (api.SnapshotWork, error) {
	if err := checkSnapshotID(q.Snapshot); err != nil {
		return api.SnapshotWork{}, err
	}
	all, err := c.make(ctx)
	if err != nil {
		return api.SnapshotWork{}, err
	}
	there, err := all.Load(ctx, q.App, q.Snapshot)
	if err == nil {
		return api.SnapshotWork{Snapshot: &there}, nil
	}
	if !errors.Is(err, snapshot.ErrNotFound) {
		return api.SnapshotWork{}, describeSnapshot(err)
	}
	if q.For != "" && q.For != snapshot.ForRehearsal {
		return api.SnapshotWork{}, refuse(api.CodeInvalid, "leave it out, or say "+string(snapshot.ForRehearsal), "for must be %s or nothing, found %q", snapshot.ForRehearsal, rollout.Clip(string(q.For)))
	}
	wanted, releases, err := c.wanted(ctx, q)
	if err != nil {
		return api.SnapshotWork{}, err
	}
	k := c.keeper(releases...)
	all.Keeper = k
	return c.work(ctx, work{ID: q.Snapshot, App: q.App, Snapshot: q.Snapshot, Doing: protocol.StateTake, Inbox: k.inbox}, func(ctx context.Context, tell func(snapshot.Progress)) error {
		taken, err := all.Take(ctx, wanted, tell)
		if err == nil {
			c.Log.Info("snapshot taken", zap.String("snapshot", taken.ID), zap.String("app", taken.App), zap.Int64("bytes", taken.Size), zap.String("by", taken.By))
		}
		return err
	})
}

// checkSnapshotID refuses an id that does not tell when it was made.
func checkSnapshotID(id string) error {
	if parsed, err := uuid.Parse(id); err != nil || parsed.Version() != 7 || parsed.String() != id {
		return refuse(api.CodeInvalid, "make one with a library for UUIDs", "the snapshot's id must be a UUID v7 in lower case, found %q", rollout.Clip(id))
	}
	return nil
}

// wanted is what a snapshot of an app is to hold: the data of the services that its last
// completed rollout has brought. Releases are those whose commands take what is not in JetStream.
func (c *taker) wanted(ctx context.Context, q api.TakeRequest) (s snapshot.Snapshot, releases []rollout.Release, err error) {
	none := snapshot.Snapshot{}
	book, err := c.Ledger.Book(ctx, q.App)
	if err != nil {
		return none, nil, err
	}
	live, err := c.liveRollout(ctx, q.App, book)
	var dropped *droppedError
	switch {
	case errors.As(err, &dropped):
		return none, nil, refuse(api.CodeNotFound, "deploy it again: that changes nothing but to record what it is", "the journal of rollout %s, which brought %s %s, was dropped, and with it where its data is", dropped.rollout, q.App, dropped.version)
	case errors.Is(err, rollout.ErrNotFound):
		return none, nil, refuse(api.CodeNotFound, "golive status lists the apps", "no rollout of an app %q has completed here: there is nothing to take", q.App)
	case err != nil:
		return none, nil, err
	}
	s = snapshot.Snapshot{
		ID: q.Snapshot, App: q.App, Version: live.Release.Version, Rollout: live.ID, By: rollout.Clip(q.By), Reason: rollout.Clip(q.Reason), For: q.For,
		Ledger: ranOf(book),
	}
	if s.Services = snapshot.ServicesOf(live.Release); len(s.Services) == 0 {
		return none, nil, refuse(api.CodeNoState, "say it in golive.yaml, services.NAME.state: {streams: [NAME]}, and deploy that",
			"no service of %s %s says where its data is: there is nothing to take", q.App, s.Version)
	}
	s.Moment.Paused, err = c.paused(ctx, s.Services)
	return s, []rollout.Release{live.Release}, err
}

// droppedError says that the journal of the rollout that has brought what is live was dropped. It
// is a [rollout.ErrNotFound].
type droppedError struct{ rollout, version string }

// Error is of [error].
func (e *droppedError) Error() string { return "the journal of rollout " + e.rollout + " was dropped" }

// Unwrap gives [rollout.ErrNotFound].
func (*droppedError) Unwrap() error { return rollout.ErrNotFound }

// liveRollout is the last completed rollout of an app that was not undone; [rollout.ErrNotFound]
// says that there is none, and a droppedError that its journal was dropped.
func (c *taker) liveRollout(ctx context.Context, app string, book *ledger.Book) (rollout.State, error) {
	for _, v := range slices.Backward(book.Versions()) {
		if v.Void != "" {
			continue
		}
		r, err := c.Journal.Load(ctx, app, v.Rollout)
		if errors.Is(err, rollout.ErrNotFound) {
			err = &droppedError{v.Rollout, v.Version}
		}
		return r.State, err
	}
	return rollout.State{}, rollout.ErrNotFound
}

// ranOf are the scripts that count as run.
func ranOf(book *ledger.Book) []snapshot.Ran {
	var all []snapshot.Ran
	for _, e := range book.Entries() {
		if e.Void == "" {
			all = append(all, snapshot.Ran{Name: e.Name, Version: e.Version, Phase: e.Phase, Rollout: e.Rollout})
		}
	}
	return all
}

// paused reports whether all services are under maintenance.
func (c *taker) paused(ctx context.Context, services []snapshot.Service) (bool, error) {
	for _, s := range services {
		r, err := c.Gate.Route(ctx, s.Name)
		if err != nil || r.Maintenance == nil {
			return false, err
		}
	}
	return true, nil
}

// check has a snapshot read back, or tells how far that is.
func (c *taker) check(ctx context.Context, q api.SnapshotRequest) (api.SnapshotWork, error) {
	if _, err := uuid.Parse(q.Check); err != nil {
		return api.SnapshotWork{}, refuse(api.CodeInvalid, "make one with a library for UUIDs", "the check's id must be a UUID, found %q", rollout.Clip(q.Check))
	}
	all, s, err := c.find(ctx, q.Snapshot)
	if err != nil {
		return api.SnapshotWork{}, err
	}
	k, err := c.keeperOf(ctx, s)
	if err != nil {
		return api.SnapshotWork{}, err
	}
	all.Keeper = k
	return c.work(ctx, work{ID: q.Check, App: s.App, Snapshot: s.ID, Doing: protocol.StateCheck, Inbox: k.inbox}, func(ctx context.Context, tell func(snapshot.Progress)) error {
		_, err := all.Check(ctx, s, tell)
		return err
	})
}

// keeperOf reaches who keeps the state that a snapshot holds: the commands of what is live now or,
// if no agent has that, of what was live when it was taken.
func (c *taker) keeperOf(ctx context.Context, s snapshot.Snapshot) (*keeper, error) {
	var releases []rollout.Release
	book, err := c.Ledger.Book(ctx, s.App)
	if err != nil {
		return nil, err
	}
	live, err := c.liveRollout(ctx, s.App, book)
	if err == nil {
		releases = append(releases, live.Release)
	} else if !errors.Is(err, rollout.ErrNotFound) {
		return nil, err
	}
	for _, id := range []string{s.Rollout, s.ID} { // one that was taken before a rollout has its id
		then, err := c.Journal.Load(ctx, s.App, id)
		if err == nil && id != live.ID {
			releases = append(releases, then.State.Release)
		} else if err != nil && !errors.Is(err, rollout.ErrNotFound) {
			return nil, err
		}
	}
	return c.keeper(releases...), nil
}

// find gives the snapshot of an id, or of the beginning of one.
func (c *taker) find(ctx context.Context, prefix string) (*snapshot.Snapshots, snapshot.Snapshot, error) {
	const hint = "golive snapshot list tells which there are"
	none := snapshot.Snapshot{}
	if prefix == "" {
		return nil, none, refuse(api.CodeInvalid, hint, "no snapshot is named")
	}
	all, err := c.look(ctx)
	if err != nil {
		return nil, none, err
	}
	var found []snapshot.Snapshot
	if all != nil {
		if found, err = all.Find(ctx, prefix); err != nil {
			return nil, none, err
		}
	}
	switch len(found) {
	case 0:
		return nil, none, refuse(api.CodeNotFound, hint, "there is no snapshot %s", rollout.Clip(prefix))
	case 1:
		s, err := all.Load(ctx, found[0].App, found[0].ID)
		if err != nil {
			return nil, none, describeSnapshot(err)
		}
		return all, s, nil
	}
	return nil, none, refuse(api.CodeAmbiguous, "give more of its id", "%s is the beginning of several snapshots, such as %s and %s", rollout.Clip(prefix), found[0].ID, found[1].ID)
}

// list lists the snapshots of an app, or of all.
func (c *taker) list(ctx context.Context, q api.AppRequest) (api.SnapshotList, error) {
	list := api.SnapshotList{Snapshots: []snapshot.Snapshot{}}
	all, err := c.look(ctx)
	if err != nil || all == nil {
		return list, err
	}
	found, unread, err := all.List(ctx, q.App)
	if err != nil {
		return list, err
	}
	for _, s := range found {
		for i := range s.Services {
			for j := range s.Services[i].Parts {
				s.Services[i].Parts[j].Config = nil
			}
		}
		list.Snapshots = append(list.Snapshots, s)
	}
	if unread != nil {
		list.Unread = unread.Error()
	}
	return list, nil
}

// show gives all that is known of a snapshot.
func (c *taker) show(ctx context.Context, q api.SnapshotRequest) (snapshot.Snapshot, error) {
	_, s, err := c.find(ctx, q.Snapshot)
	return s, err
}

// drop removes a snapshot. One that is being checked is not there any more then.
func (c *taker) drop(ctx context.Context, q api.SnapshotRequest) (snapshot.Snapshot, error) {
	all, s, err := c.find(ctx, q.Snapshot)
	if err != nil {
		return s, err
	}
	if err := c.dropKept(ctx, all, s); err != nil {
		return s, err
	}
	c.Log.Info("snapshot dropped", zap.String("snapshot", s.ID), zap.String("app", s.App), zap.String("by", q.By))
	return s, nil
}

// dropKept drops a snapshot. Where commands have taken some of it, they drop what they keep of it
// beside, if an agent is there; that is claimed, as all that agents do about states.
func (c *taker) dropKept(ctx context.Context, all *snapshot.Snapshots, s snapshot.Snapshot) error {
	if !slices.ContainsFunc(s.Services, func(one snapshot.Service) bool {
		return slices.ContainsFunc(one.Parts, func(p snapshot.Part) bool { return p.Kind == snapshot.KindCommand })
	}) {
		return all.Drop(ctx, s.App, s.ID)
	}
	k, err := c.keeperOf(ctx, s)
	if err != nil {
		return err
	}
	all.Keeper = k
	l, under, err := c.claim(ctx, work{ID: uuid.NewString(), App: s.App, Snapshot: s.ID, Doing: protocol.StateDrop, Inbox: k.inbox}, false)
	if err != nil {
		return err
	}
	if l == nil {
		return refuse(api.CodeConflict, "wait until it has ended, and drop it then",
			"snapshot %s of %s is under way (%s)", under.Snapshot, under.App, under.Doing)
	}
	return c.run(l, func(context.Context, func(snapshot.Progress)) error { return all.Drop(ctx, s.App, s.ID) })
}

// describeSnapshot says what a person does about a snapshot that cannot be taken, or read.
func describeSnapshot(err error) error {
	kept := new(keeperError)
	switch {
	case errors.As(err, &kept):
		return refuse(api.CodeConflict, kept.hint, "%v", err)
	case errors.Is(err, snapshot.ErrDamaged):
		return refuse(api.CodeConflict, "it cannot be put back: golive snapshot drop removes it, golive snapshot take takes another one", "%v", err)
	case errors.Is(err, snapshot.ErrFormat):
		return refuse(api.CodeConflict, "read it with the version of golive that has taken it", "%v", err)
	case errors.Is(err, snapshot.ErrNotFound):
		return refuse(api.CodeNotFound, "golive snapshot list tells which there are", "%v", err)
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return refuse(api.CodeConflict, "services.NAME.state of golive.yaml names the streams and buckets: correct it, or start the service that makes them", "%v", err)
	case errors.Is(err, snapshot.ErrMirror):
		return refuse(api.CodeConflict, "name the stream that it copies in services.NAME.state of golive.yaml", "%v", err)
	}
	return err
}

// errLost says that somebody else may be taking a snapshot by now.
var errLost = fmt.Errorf("the bus has not answered for %s: somebody else may be at work by now", bus.TakeLease)
