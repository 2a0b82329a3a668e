package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// reading is a rehearsal that takes from the environment what it needs. It is connected meanwhile,
// and never again before its end.
type reading struct{ *rehearsalRun }

// read takes from the environment all that the rehearsal needs.
func (r reading) read(ctx context.Context, client *api.Client) (err error) {
	if r.plan, err = client.Plan(ctx, api.PlanRequest{Release: r.release}); err != nil {
		return err
	}
	if err := r.checkFrom(ctx, client); err != nil {
		return err
	}
	if r.copied.Snapshot, err = r.snapshot(ctx, client); err != nil {
		return err
	}
	s := r.copied.Snapshot
	r.out.App, r.out.Version, r.out.Digest, r.out.Plan, r.out.Snapshot, r.out.Taken = r.m.App, r.m.Version, r.release.Digest, r.plan.ID, s.ID, r.o.snapshot == ""
	if s.App != r.m.App {
		return &failure{code: codeMisused, exit: exitMisused, message: fmt.Sprintf("snapshot %s is of %s, the release is of %s", s.ID, s.App, r.m.App), hint: "golive snapshot list " + r.m.App}
	}
	if r.live != nil && r.live.Version != s.Version {
		return r.notFrom("the snapshot is of " + s.Version)
	}
	if err := r.current(ctx, client, s); err != nil {
		return err
	}
	r.copied.Archives = r.sandbox.Archives()
	var services []string
	for _, route := range r.plan.DependsOn.Routes {
		services = append(services, route.Service)
	}
	if err := r.copied.Read(ctx, client, services); errors.Is(err, rehearsal.ErrUnderWay) {
		return &failure{code: api.CodeConflict, exit: exitFailed, message: err.Error(), hint: "wait until it has ended: golive watch; then rehearse again"}
	} else if err != nil {
		return err
	}
	if r.before, err = client.Positions(ctx, s.ID); err != nil {
		return err
	}
	began := time.Now()
	if err := r.fetch(ctx, client); err != nil {
		return err
	}
	s = r.copied.Snapshot
	r.out.Bytes, r.out.Copied = s.Size, rollout.Duration(time.Since(began).Round(time.Millisecond))
	r.say("✓", "copied %s of snapshot %s in %s", terminal.Bytes(s.Size), r.out.Snapshot, terminal.Took(time.Duration(r.out.Copied)))
	return nil
}

// checkFrom refuses a folder that is not that of the version that is live, before a snapshot is
// taken.
func (r reading) checkFrom(ctx context.Context, client *api.Client) error {
	if r.live == nil {
		return nil
	}
	if r.live.App != r.m.App {
		return r.notFrom("the release is of " + r.m.App)
	}
	if r.o.snapshot != "" {
		return nil // it says what was live
	}
	live, err := rehearsal.Live(ctx, client, r.m.App)
	if err == nil && live != "" && live != r.live.Version { // if nothing is, there is nothing to rehearse on
		err = r.notFrom(live + " is live")
	}
	return err
}

func (r reading) notFrom(why string) error {
	return &failure{code: codeMisused, exit: exitMisused, message: fmt.Sprintf("--from is the folder of %s %s, and %s", r.live.App, r.live.Version, why),
		hint: "name the folder of the version that is live: golive status"}
}

// draw shows how much of the snapshot has come.
func (r reading) draw(done int64) {
	if r.story.Draws() {
		r.story.Draw([]terminal.Bar{{Name: "snapshot", State: "copying", Percent: int(100 * done / max(r.copied.Snapshot.Size, 1)), Numbers: terminal.Bytes(done)}})
	}
}

// checkRoom refuses data that there is no room for.
func (r reading) checkRoom(s snapshot.Snapshot) error {
	free, err := rehearsal.Room(os.TempDir())
	if err != nil {
		return err
	}
	needs := rehearsal.Needs(s)
	if r.o.drill {
		needs += uint64(s.Size) // going forward again takes another snapshot
	}
	if free >= needs {
		return nil
	}
	return &failure{code: codeFailed, exit: exitFailed, message: fmt.Sprintf("there is no room for a rehearsal: it needs about %s, and %s has %s", terminal.Bytes(int64(needs)), os.TempDir(), terminal.Bytes(int64(free))),
		hint: "make room there, name another folder with TMPDIR, or take less: --latest, --where, --sample"}
}

// fetch brings the archives here: of the snapshot or, where only some of it is asked for or values
// are masked, of a copy that is made of it there, and removed when it has come.
func (r reading) fetch(ctx context.Context, client *api.Client) error {
	defer r.story.EndDrawing()
	cut, err := r.cut()
	if err != nil {
		return err
	}
	if cut.Whole() {
		if err := r.checkRoom(r.copied.Snapshot); err != nil {
			return err
		}
		err = r.copied.Fetch(ctx, client, r.draw)
		var refused *protocol.ServiceError
		if !errors.As(err, &refused) || refused.Code != api.CodeMasked {
			return err
		}
	}
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	q := api.CopyRequest{App: r.m.App, Snapshot: r.copied.Snapshot.ID, Copy: id.String(), Cut: cut, By: me()}
	made, err := r.untilFree(ctx, client, "copy", func(ctx context.Context, client *api.Client) (api.SnapshotWork, error) {
		return client.CopySnapshot(ctx, q)
	})
	if err != nil {
		return err
	}
	if r.copied.Snapshot, err = client.Snapshot(ctx, made.ID); err != nil {
		return err
	}
	r.out.Cut = r.copied.Snapshot.Cut
	if err := r.checkRoom(r.copied.Snapshot); err != nil {
		return err
	}
	if err := r.copied.Fetch(ctx, client, r.draw); err != nil {
		return err
	}
	q.Done = true
	if _, err := client.CopySnapshot(ctx, q); err != nil {
		r.say("!", "the copy %s of the snapshot is still there, until later ones take its place: %s", made.ID, terminal.Flat(err.Error()))
	}
	return nil
}

// snapshot is the one that is named, or one that is taken now.
func (r reading) snapshot(ctx context.Context, client *api.Client) (snapshot.Snapshot, error) {
	if r.o.snapshot != "" {
		return client.Snapshot(ctx, r.o.snapshot)
	}
	id, err := uuid.NewV7()
	if err != nil {
		return snapshot.Snapshot{}, err
	}
	q := api.TakeRequest{App: r.m.App, Snapshot: id.String(), By: me(), Reason: "rehearsal of " + r.m.Version, For: snapshot.ForRehearsal}
	taken, err := r.untilFree(ctx, client, "take", func(ctx context.Context, client *api.Client) (api.SnapshotWork, error) {
		return client.TakeSnapshot(ctx, q)
	})
	if err != nil {
		return taken, err
	}
	r.say("✓", "snapshot %s of %s %s: %s in %s, %s", taken.ID, taken.App, taken.Version, held(taken), terminal.Took(time.Duration(taken.Took)), report.Moment(taken.Moment))
	return client.Snapshot(ctx, taken.ID)
}

// untilFree asks for a snapshot until it is done, and waits first until another one is that is under
// way: one at a time is taken or copied.
func (r reading) untilFree(ctx context.Context, client *api.Client, doing string, ask func(context.Context, *api.Client) (api.SnapshotWork, error)) (snapshot.Snapshot, error) {
	begun, since := false, time.Now()
	return untilDoneBy(ctx, r.command, client, func(ctx context.Context, client *api.Client) (api.SnapshotWork, error) {
		work, err := ask(ctx, client)
		var refused *protocol.ServiceError
		if !begun && errors.As(err, &refused) && refused.Code == api.CodeConflict && time.Since(since) < askAgain {
			return api.SnapshotWork{Progress: snapshot.Progress{Doing: doing}}, nil
		}
		begun = true
		return work, err
	})
}

// current refuses a snapshot since which scripts have run: what they did is not in its data.
func (r reading) current(ctx context.Context, client *api.Client, s snapshot.Snapshot) error {
	changed, err := rehearsal.Changed(ctx, client, s)
	if err != nil {
		return err
	}
	if len(changed) == 0 {
		return nil
	}
	return &failure{code: api.CodeConflict, exit: exitFailed, message: fmt.Sprintf("snapshot %s is older than what is live: %s", s.ID, strings.Join(changed, "; ")),
		hint: "rehearse without --snapshot: that takes one of what is live"}
}
