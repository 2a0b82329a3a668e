package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// restorer begins restores.
type restorer struct{ base }

// wantedRestore is a restore that could begin now.
type wantedRestore struct {
	rollout.Restoring
	snapshot snapshot.Snapshot
	open     []journal.Record // rollouts of the app that have not ended
	dark     []absentVersion  // whose instances are missing
	stays    []string         // streams that hold data and that the snapshot says nothing of
}

// absentVersion is one that would get traffic, and too few instances of it are there.
type absentVersion struct {
	service, version string
	alive, want      int
}

// restore begins a restore. The plan is made on what is known when the app's newest event is the
// one found here, and recorded only if it still is. Repeated with the same id it gives the same one.
func (c *restorer) restore(ctx context.Context, q api.RestoreRequest) (api.RolloutView, error) {
	if err := checkRestoreID(q); err != nil {
		return api.RolloutView{}, err
	}
	q.By, q.Reason = rollout.Clip(q.By), rollout.Clip(q.Reason)
	for {
		r, err := c.begin(ctx, q)
		if errors.Is(err, rollout.ErrConflict) {
			if ctx.Err() == nil {
				continue
			}
			err = refuse(api.CodeConflict, "ask again", "others go on changing %s: nothing was begun", q.App)
		}
		if err != nil {
			return api.RolloutView{}, err
		}
		return c.viewOf(r), nil
	}
}

func checkRestoreID(q api.RestoreRequest) error {
	if id, err := uuid.Parse(q.Rollout); err != nil || id.Version() != 7 || q.Rollout != id.String() {
		return refuse(api.CodeInvalid, "make a UUID v7 and repeat the request with the same one", "rollout id %q is no UUID v7", rollout.Clip(q.Rollout))
	}
	return nil
}

// begin begins a restore, if nothing happens to the app meanwhile; else [rollout.ErrConflict].
func (c *restorer) begin(ctx context.Context, q api.RestoreRequest) (journal.Record, error) {
	none := journal.Record{}
	if err := protocol.ValidateName(q.App); err != nil {
		return none, refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
	}
	after, err := c.Recorder.AppNow(ctx, q.App)
	if err != nil {
		return none, err
	}
	if there, err := c.Journal.LoadAny(ctx, q.Rollout); !errors.Is(err, rollout.ErrNotFound) {
		if err == nil && (there.State.Restore == nil || there.State.Release.App != q.App) {
			err = refuse(api.CodeConflict, "make a new UUID v7 for each rollout", "the id %s is that of another rollout", q.Rollout)
		}
		return there, err
	}
	if err := c.View.Readable(q.App); err != nil {
		return none, err
	}
	w, err := c.wanted(ctx, q)
	if err != nil {
		return none, err
	}
	for _, problem := range w.problems() {
		if problem.Code != api.CodeNotAlive || !q.Force {
			return none, problem
		}
	}
	if len(w.open) > 0 {
		if err := c.supersede(ctx, w.open[0].State, q.Rollout, q.By, "restore "+q.Rollout+" takes its place"); err != nil {
			return none, err
		}
		return none, rollout.ErrConflict // the app has a newer event now
	}
	s, err := rollout.CompileRestore(q.Rollout, q.By, c.Recorder.Now(), w.Restoring)
	if err != nil {
		return none, err
	}
	s.Event.Reason = q.Reason
	return c.Recorder.Keep(ctx, s, after, c.Journal.Begin)
}

// problems says why a restore cannot begin now.
func (w wantedRestore) problems() []*protocol.ServiceError {
	var all []*protocol.ServiceError
	for _, r := range w.open {
		if !givesWay(r) {
			all = append(all, &protocol.ServiceError{
				Code: api.CodeRolloutOpen, Message: fmt.Sprintf("rollout %s of %s %s is %s: one app has one rollout at a time", r.State.ID, r.State.Release.App, r.State.Release.Version, r.State.Status),
				Hint: "golive show " + r.State.ID + " tells how far it is; golive abort " + r.State.ID + " ends it",
			})
		}
	}
	if len(w.dark) > 0 {
		var who, start []string
		for _, a := range w.dark {
			who = append(who, fmt.Sprintf("%s %s (%d of %d instances are alive)", a.service, a.version, a.alive, a.want))
			start = append(start, a.service+" "+a.version)
		}
		all = append(all, &protocol.ServiceError{
			Code: api.CodeNotAlive, Message: "traffic would go back to " + strings.Join(who, ", "),
			Hint: "start " + strings.Join(start, ", ") + " first, or restore all the same with --yes: it waits for them then, under maintenance",
		})
	}
	return all
}

// wanted collects what a restore depends on.
func (c *restorer) wanted(ctx context.Context, q api.RestoreRequest) (w wantedRestore, err error) {
	if w.snapshot, err = c.target(ctx, q); err != nil {
		return w, err
	}
	s := w.snapshot
	w.Restore = rollout.Restore{Snapshot: s.ID, Taken: s.Taken, Live: s.Rollout}
	for _, ran := range s.Ledger {
		w.Restore.Ran = append(w.Restore.Ran, rollout.RanIn{Name: ran.Name, Version: ran.Version, Phase: ran.Phase, Rollout: ran.Rollout})
	}
	book, err := c.Ledger.Book(ctx, q.App)
	if err != nil {
		return w, err
	}
	if live := book.Live(); len(live) > 0 {
		w.Restore.From = live[len(live)-1].Version
	}
	if w.Release, err = c.releaseOf(ctx, s); err != nil {
		return w, err
	}
	w.open = c.View.OfApp(q.App)
	since, err := c.since(ctx, s)
	if err != nil {
		return w, err
	}
	if len(since) > 0 && since[0].ID == s.ID {
		w.Restore.Of = s.ID
	}
	if err := c.routes(ctx, &w, since); err != nil {
		return w, err
	}
	w.puts(since)
	if newest := c.Ledger.Newest(q.App); newest != "" {
		r, err := c.Journal.Load(ctx, q.App, newest)
		if err != nil && !errors.Is(err, rollout.ErrNotFound) {
			return w, err
		}
		w.Unanswered = r.State.LeftBehind()
	}
	return w, c.standing(ctx, &w)
}

// target is the snapshot that is to be put back: the one named, by its id or that of the rollout
// right before which it was taken, or the newest that a rollout of the app has taken.
func (c *restorer) target(ctx context.Context, q api.RestoreRequest) (snapshot.Snapshot, error) {
	none := snapshot.Snapshot{}
	t := &taker{base: c.base, ctx: ctx}
	all, err := t.look(ctx)
	if err != nil {
		return none, err
	}
	if q.Target == "" {
		var found []snapshot.Snapshot
		if all != nil {
			if found, _, err = all.List(ctx, q.App); err != nil { // one that cannot be read is not the newest
				return none, err
			}
		}
		for _, s := range found {
			if s.For == snapshot.ForRollout {
				return s, nil
			}
		}
		return none, refuse(api.CodeNotFound, "golive snapshot list "+q.App+" tells which there are; golive restore "+q.App+" ID puts one of them back", "no rollout of %s has a snapshot of what was before it", q.App)
	}
	_, s, err := t.find(ctx, q.Target)
	var missing *protocol.ServiceError
	if errors.As(err, &missing) && missing.Code == api.CodeNotFound {
		if found, lost := c.find(ctx, q.Target); lost == nil {
			return none, refuse(api.CodeNotFound, "golive snapshot list "+q.App+" tells which there are", "there is no snapshot of what was before rollout %s: it has taken none, or it was dropped", found.ID)
		}
	}
	if err == nil && s.App != q.App {
		return none, refuse(api.CodeInvalid, "golive snapshot list "+q.App+" tells which there are", "snapshot %s is of app %s, not of %s", s.ID, s.App, q.App)
	}
	if err == nil && s.Cut != nil {
		return none, refuse(api.CodeInvalid, "golive restore "+q.App+" "+s.Of+" puts back the snapshot that it is of", "%s is a copy for a rehearsal: it holds only some of the data, or has values masked", s.ID)
	}
	return s, err
}

// releaseOf is the release that was live when a snapshot was taken; one without a service where none
// was: all that is online now has come since.
func (c *restorer) releaseOf(ctx context.Context, s snapshot.Snapshot) (rollout.Release, error) {
	if s.Rollout == "" {
		return rollout.Release{App: s.App, Version: s.Version, Strategy: rollout.Parallel}, nil
	}
	r, err := c.Journal.Load(ctx, s.App, s.Rollout)
	if errors.Is(err, rollout.ErrNotFound) {
		return rollout.Release{}, refuse(api.CodeConflict, "golive deploy --allow-older brings that version again",
			"the journal of rollout %s, which had brought %s %s, was dropped, and with it where its traffic went", s.Rollout, s.App, s.Version)
	}
	return r.State.Release, err
}

// since lists the rollouts of an app that have begun since a snapshot was taken, that one first
// which it was taken for.
func (c *restorer) since(ctx context.Context, s snapshot.Snapshot) ([]rollout.State, error) {
	var all []rollout.State
	for before := ""; ; {
		page, more, err := c.Journal.Page(ctx, s.App, before, pageSince)
		if err != nil {
			return nil, err
		}
		for _, ref := range page {
			if before = ref.ID; ref.ID < s.ID {
				more = false
				break
			}
			r, err := c.Journal.Load(ctx, ref.App, ref.ID)
			if err != nil && !errors.Is(err, rollout.ErrNotFound) {
				return nil, err
			}
			if err == nil {
				all = append(all, r.State)
			}
		}
		if !more || len(page) == 0 {
			slices.Reverse(all)
			return all, nil
		}
	}
}

// pageSince is how many rollouts are looked at at once.
const pageSince = 50

// routes finds out where the traffic of the app is, and where it was.
func (c *restorer) routes(ctx context.Context, w *wantedRestore, since []rollout.State) error {
	w.Now, w.Then, w.Need = make(map[string]rollout.Replace), make(map[string][]string), make(map[string]int)
	all, err := c.Gate.Routes(ctx)
	if err != nil {
		return err
	}
	for _, r := range all {
		if c.Ledger.Owner(r.Service) == w.Release.App {
			w.Now[r.Service] = rollout.Replace{Revision: r.Revision, Online: r.Online(), Closed: r.Maintenance != nil}
		}
	}
	for _, s := range w.Release.Services {
		then := append([]string{s.Version}, s.KeepOnline...)
		if w.Restore.Of != "" {
			if found, known := routeBefore(since[0], s.Name); known {
				then = found
			}
		}
		if len(then) == 0 {
			continue
		}
		w.Then[s.Name], w.Need[s.Name] = then, s.Instances
		if then[0] != s.Version {
			w.Need[s.Name] = min(1, s.Instances)
		}
	}
	return nil
}

// routeBefore is which versions of a service were online when a rollout began, as far as it was to
// move its traffic.
func routeBefore(s rollout.State, service string) ([]string, bool) {
	for _, step := range s.All() {
		if step.Name == service && step.Move.Replaces != nil {
			return step.Move.Replaces.Online, true
		}
	}
	return nil, false
}

// puts says what is put back, service by service, and what was not there.
func (w *wantedRestore) puts(since []rollout.State) {
	drop := make(map[string][]string) // by service
	has := make(map[string]bool)
	for _, service := range w.snapshot.Services {
		for _, p := range service.Parts {
			has[p.Where(service.Name)] = true
		}
	}
	for _, s := range since {
		step, _ := s.Step(rollout.SnapshotID(s.Release.App))
		if step.Snapshot == nil {
			continue
		}
		for _, service := range snapshot.ServicesOf(s.Release) {
			for _, p := range service.Parts {
				if stream := p.Stream(); !has[stream] && slices.Contains(step.Snapshot.Absent, stream) {
					has[stream] = true
					drop[service.Name] = append(drop[service.Name], stream)
				}
			}
		}
	}
	for _, service := range w.snapshot.Services {
		put := rollout.ServicePut{Service: service.Name, Version: service.Version, PutRun: rollout.PutRun{Drop: drop[service.Name]}}
		for _, p := range service.Parts {
			put.Bytes += p.State.Bytes
		}
		delete(drop, service.Name)
		w.Puts = append(w.Puts, put)
	}
	for _, s := range since {
		for _, service := range s.Release.Services {
			if streams := drop[service.Name]; len(streams) > 0 {
				w.Puts = append(w.Puts, rollout.ServicePut{Service: service.Name, Version: service.Version, PutRun: rollout.PutRun{Drop: streams}})
				delete(drop, service.Name)
			}
		}
		for _, service := range snapshot.ServicesOf(s.Release) {
			for _, p := range service.Parts {
				if where := p.Where(service.Name); !has[where] {
					has[where] = true
					w.stays = append(w.stays, where)
				}
			}
		}
	}
}

// standing finds out which versions are not there that would get traffic.
func (c *restorer) standing(ctx context.Context, w *wantedRestore) error {
	for _, s := range w.Release.Services {
		then, need := w.Then[s.Name], w.Need[s.Name]
		if len(then) == 0 || need == 0 {
			continue
		}
		instances, err := c.Gate.Instances(ctx, s.Name)
		if err != nil {
			return err
		}
		if alive := gate.AliveOf(instances, then[0]); alive < need {
			w.dark = append(w.dark, absentVersion{s.Name, then[0], alive, need})
		}
	}
	return nil
}
