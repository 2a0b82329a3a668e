package command

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// TakeBefore takes the snapshot of the state right before a rollout changes data, under the
// rollout's id, and blocks until that is done. It waits while another snapshot of the environment is
// under way, and takes anew what somebody who has died has begun; one that is there is not taken
// again. It tells in a few words how far the take is or, where it is not taking, what it waits for. The result has no id where there is no data yet.
// An error that a person can do something about is a [*protocol.ServiceError].
func (c *Server) TakeBefore(ctx context.Context, s rollout.State, tell func(taking bool, text string)) (rollout.SnapshotRun, error) {
	t := &taker{base: c.base, ctx: ctx}
	all, err := t.make(ctx)
	if err != nil {
		return rollout.SnapshotRun{}, err
	}
	if s.Restore != nil {
		all.Spare = s.Restore.Snapshot
	}
	there, err := all.Load(ctx, s.Release.App, s.ID)
	if err == nil {
		return runOf(there), nil
	}
	if !errors.Is(err, snapshot.ErrNotFound) {
		return rollout.SnapshotRun{}, describeSnapshot(err)
	}
	wanted, absent, releases, err := preparing{t}.before(ctx, s)
	if err != nil || len(wanted.Services) == 0 {
		return rollout.SnapshotRun{Absent: absent}, err
	}
	k := t.keeper(releases...)
	all.Keeper = k
	var taken snapshot.Snapshot
	err = t.workNow(ctx, work{ID: s.ID, App: s.Release.App, Snapshot: s.ID, Doing: protocol.StateTake, Inbox: k.inbox}, tell, func(ctx context.Context, l *workLease) (err error) {
		taken, err = all.Take(ctx, wanted, func(p snapshot.Progress) {
			l.progress(p)
			tell(true, tellTaking(p))
		})
		return err
	})
	if err != nil {
		return rollout.SnapshotRun{}, describeSnapshot(err)
	}
	c.Log.Info("snapshot taken before a rollout changes data", zap.String("rollout", s.ID), zap.String("app", taken.App), zap.Int64("bytes", taken.Size))
	run := runOf(taken)
	run.Absent = absent
	return run, nil
}

// preparing finds out what the snapshot of a rollout is to hold.
type preparing struct{ *taker }

// before is what the snapshot of the state right before a rollout is to hold: the data of the
// services that are live, and what the new release names beside it and is there. Absent is what is
// not. Its version is the one that is live or, where none is, that of the release. Releases are
// those whose commands take what is not in JetStream: of the one that is live, which knows its
// state, or, if no agent has that any more, of the new one.
func (c preparing) before(ctx context.Context, s rollout.State) (wanted snapshot.Snapshot, absent []string, releases []rollout.Release, err error) {
	book, err := c.Ledger.Book(ctx, s.Release.App)
	if err != nil {
		return wanted, nil, nil, err
	}
	wanted = snapshot.Snapshot{
		ID: s.ID, App: s.Release.App, Version: s.Release.Version, By: rollout.Clip(s.By), For: snapshot.ForRollout,
		Reason: "before rollout " + s.ID + " of " + s.Release.Version, Ledger: ranOf(book),
	}
	live, err := c.liveRollout(ctx, s.Release.App, book)
	var dropped *droppedError
	switch {
	case errors.As(err, &dropped): // what it said of its data is not known any more
		wanted.Version, wanted.Rollout = dropped.version, dropped.rollout
	case errors.Is(err, rollout.ErrNotFound): // nothing is live
	case err != nil:
		return wanted, nil, nil, err
	default:
		releases = []rollout.Release{live.Release}
		wanted.Version, wanted.Rollout, wanted.Services = live.Release.Version, live.ID, snapshot.ServicesOf(live.Release)
	}
	if s.Restore != nil {
		wanted, absent, err = c.beforeRestore(ctx, s, wanted, live.Release)
		return wanted, absent, append(releases, s.Release), err
	}
	if absent, err = c.addThere(ctx, &wanted, snapshot.ServicesOf(s.Release), live.Release); err != nil || len(wanted.Services) == 0 {
		return wanted, absent, nil, err
	}
	wanted.Moment.Paused, err = c.paused(ctx, wanted.Services)
	return wanted, absent, append(releases, s.Release), err
}

// beforeRestore is [taker.before] of a restore: what is live, and what the restore changes. What
// is gone is no reason not to take the rest: it may be why there is a restore.
func (c preparing) beforeRestore(ctx context.Context, s rollout.State, wanted snapshot.Snapshot, live rollout.Release) (_ snapshot.Snapshot, absent []string, err error) {
	touched, err := c.touched(ctx, s)
	if err != nil {
		return wanted, nil, err
	}
	named := append(wanted.Services, touched...)
	wanted.Services, wanted.Reason = nil, "before restore "+s.ID
	if absent, err = c.addThere(ctx, &wanted, named, live); err != nil || len(wanted.Services) == 0 {
		return wanted, absent, err
	}
	wanted.Moment.Paused, err = c.paused(ctx, wanted.Services)
	return wanted, absent, err
}

// touched are the services whose data a restore changes, with what it changes: what it puts back,
// and what it deletes.
func (c preparing) touched(ctx context.Context, s rollout.State) ([]snapshot.Service, error) {
	_, target, err := c.stored(ctx, s.Release.App, s.Restore.Snapshot)
	if err != nil {
		return nil, err
	}
	var all []snapshot.Service
	for _, service := range target.Services {
		one := snapshot.Service{Name: service.Name, Version: service.Version}
		for _, p := range service.Parts {
			one.Parts = append(one.Parts, snapshot.Part{Kind: p.Kind, Name: p.Name, Timeout: p.Timeout, Most: p.Most})
		}
		all = append(all, one)
	}
	for _, step := range s.All() {
		if step.Put == nil || len(step.Put.Drop) == 0 {
			continue
		}
		one := snapshot.Service{Name: step.Name, Version: step.Version}
		for _, stream := range step.Put.Drop {
			one.Parts = append(one.Parts, snapshot.Part{Kind: snapshot.KindStream, Name: stream})
		}
		all = append(all, one)
	}
	return all, nil
}

// addThere adds to what a snapshot is to hold the parts of services that it does not have, and
// that are there. The state that a command takes is there if the service is live; what a service
// itself takes is not if the version that is live does not say so.
func (c preparing) addThere(ctx context.Context, to *snapshot.Snapshot, services []snapshot.Service, live rollout.Release) (absent []string, err error) {
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	has := make(map[string]bool)
	for _, s := range to.Services {
		for _, p := range s.Parts {
			has[p.Title()] = true
		}
	}
	for _, s := range services {
		there := slices.ContainsFunc(live.Services, func(is rollout.Service) bool { return is.Name == s.Name })
		gives := slices.ContainsFunc(live.Services, func(is rollout.Service) bool {
			return is.Name == s.Name && is.State != nil && is.State.Messages
		})
		for _, p := range s.Parts {
			if has[p.Title()] {
				continue
			}
			has[p.Title()] = true
			if p.Kept() {
				if there && p.Kind == snapshot.KindCommand || gives && p.Kind == snapshot.KindMessages {
					addPart(to, s, p)
				} else if there {
					absent = append(absent, p.Title())
				}
				continue
			}
			_, err := js.Stream(ctx, p.Stream())
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				absent = append(absent, p.Stream())
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("look at stream %s of service %s: %w", p.Stream(), s.Name, err)
			}
			addPart(to, s, p)
		}
	}
	return absent, nil
}

// addPart adds a part of a service to what a snapshot is to hold.
func addPart(to *snapshot.Snapshot, s snapshot.Service, p snapshot.Part) {
	i := slices.IndexFunc(to.Services, func(is snapshot.Service) bool { return is.Name == s.Name })
	if i < 0 {
		i = len(to.Services)
		to.Services = append(to.Services, snapshot.Service{Name: s.Name, Version: s.Version})
	}
	to.Services[i].Parts = append(to.Services[i].Parts, p)
}

// workNow does a work that is claimed in the environment, as soon as no other one is under way,
// and blocks until it has ended.
func (c *taker) workNow(ctx context.Context, w work, tell func(taking bool, text string), do func(context.Context, *workLease) error) error {
	for {
		lease, under, err := c.claim(ctx, w, true)
		if err != nil {
			return err
		}
		if lease != nil {
			return c.run(lease, func(ctx context.Context, _ func(snapshot.Progress)) error { return do(ctx, lease) })
		}
		tell(false, fmt.Sprintf("snapshot %s of %s to end: one at a time is taken", under.Snapshot, under.App))
		if tasks.Pause(ctx, renewWork); ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// runOf is what the step of a snapshot tells of it.
func runOf(s snapshot.Snapshot) rollout.SnapshotRun {
	run := rollout.SnapshotRun{ID: s.ID, Size: s.Size, One: s.Moment.One}
	h := sha256.New()
	for _, service := range s.Services {
		for _, p := range service.Parts {
			run.Bytes += p.State.Bytes
			fmt.Fprintf(h, "%s %s %s %s\n", service.Name, p.Kind, p.Name, p.Digest)
		}
	}
	run.Digest = hex.EncodeToString(h.Sum(nil))
	return run
}

// tellTaking is how far a take is, for people.
func tellTaking(p snapshot.Progress) string {
	text := cmp.Or(p.Kept, "stream "+p.Stream)
	switch p.Doing {
	case "check":
		text = "reading back " + text
	case "put":
		text = "putting back " + text
	}
	if p.Of > 1<<20 {
		text += fmt.Sprintf(", %d of about %d MB", p.Done>>20, p.Of>>20)
	}
	return text
}

// WhySnapshot is why the snapshot of a rollout could not be taken or, of a restore, read back, and
// what a person does about it; false where it is to be tried again as it is: whoever does it is ending.
func WhySnapshot(ctx context.Context, step rollout.Step, err error) (*protocol.ScriptError, bool) {
	if step.Snapshot.Checks != "" {
		return whyFailed(ctx, "the snapshot cannot be put back, so nothing was changed: ", err)
	}
	return whyFailed(ctx, "the snapshot could not be taken, so nothing was run: ", err)
}

// whyFailed is the error of a step, which begins with what; false where it is none.
func whyFailed(ctx context.Context, what string, err error) (*protocol.ScriptError, bool) {
	if ctx.Err() != nil || errors.Is(err, ErrUnwanted) {
		return nil, false
	}
	why := &protocol.ScriptError{Code: protocol.CodeFailed, Message: rollout.Clip(what + strings.TrimSpace(err.Error()))}
	var known *protocol.ServiceError
	if errors.As(err, &known) {
		again := false
		why.Retry = &again
		why.Message = rollout.Clip(fmt.Sprintf("%s%s (%s)", what, known.Message, known.Hint))
	}
	return why, true
}

// plannedSnapshot says of the step of a snapshot what it would take, and how long that lasts.
func (c *planner) plannedSnapshot(ctx context.Context, s rollout.State, p *api.PlanStep) error {
	t := &taker{base: c.base, ctx: ctx}
	services, bytes, lasts, err := preparing{t}.planned(ctx, s)
	p.Snapshot = &api.PlannedSnapshot{Services: services, Bytes: bytes}
	if lasts > 0 {
		p.Snapshot.Estimate = new(rollout.Duration)
		*p.Snapshot.Estimate = rollout.Duration(lasts.Round(time.Millisecond))
	}
	return err
}

// planned is what a plan says of a snapshot that is to be taken: of which services, how much
// data that is, and how long it takes if it goes as fast as the newest one of the app did; 0:
// that is not known.
func (c preparing) planned(ctx context.Context, s rollout.State) (services []string, bytes uint64, lasts time.Duration, err error) {
	wanted, _, _, err := c.before(ctx, s)
	if err != nil {
		return nil, 0, 0, err
	}
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, 0, 0, err
	}
	for _, service := range wanted.Services {
		services = append(services, service.Name)
		for _, p := range service.Parts {
			if p.Kept() {
				continue // nobody knows but who keeps it
			}
			stream, err := js.Stream(ctx, p.Stream())
			if errors.Is(err, jetstream.ErrStreamNotFound) {
				continue // the plan says so beside
			}
			if err != nil {
				return nil, 0, 0, fmt.Errorf("look at stream %s of service %s: %w", p.Stream(), service.Name, err)
			}
			bytes += stream.CachedInfo().State.Bytes
		}
	}
	all, err := c.look(ctx)
	if err != nil || all == nil {
		return services, bytes, 0, err
	}
	found, _, err := all.List(ctx, s.Release.App) // those that cannot be read tell no speed
	found = slices.DeleteFunc(found, func(one snapshot.Snapshot) bool { return one.Cut != nil })
	if err != nil || len(found) == 0 {
		return services, bytes, 0, err
	}
	if before := runOf(found[0]); before.Bytes > 0 {
		lasts = time.Duration(float64(found[0].Took) * float64(bytes) / float64(before.Bytes))
	}
	return services, bytes, lasts, nil
}
