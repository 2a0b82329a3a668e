package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// rehearsing is who asks for the rollout in a rehearsal. Its approvals are answered by another one,
// as that may have to be so.
const rehearsing = "golive rehearse"

type rehearseOptions struct {
	snapshot string
	from     string // folder of the version before; empty: it does not run
	commit   string // that the release is of; empty: it is the folder's
	keep     bool
	load     string   // file of requests that are sent meanwhile; empty: none are
	command  []string // that runs meanwhile; nil: none does
	latest   int
	where    []string
	sample   string
	drill    bool     // it is gone back and forward again, too
	tell     bool     // the environment is told what came of it
	pass     []string // variables of the environment that programs get, too
}

func rehearseCommand(c *command) *cobra.Command {
	var o rehearseOptions
	cmd := &cobra.Command{
		Use:   "rehearse [DIR] [-- COMMAND]",
		Short: "Try a release on this machine, on a copy of an environment's data",
		Long: `rehearse brings the release whose manifest, golive.yaml, is in DIR (default:
this folder) live on a copy of the environment, on this machine, and changes
nothing there but that it takes a snapshot, and tells at the end what came of
it. With --snapshot it uses one that is there. The copy has the data of the
snapshot, what has run, and the routes, so the plan is the one that a deploy
would have. Its bus and its services run here, as golive up runs them, and are
gone at the end with all their data.

Programs of the rehearsal have no address and no credentials of the environment:
of the variables of this shell they get those that a program needs to run, and
those that --pass names. Their home is a folder of the rehearsal. What stands in
files of DIR they can read.

Approvals answer themselves. Commands of steps are run only where they say
rehearse: true; the others are named.

With --drill it goes back afterwards, with the revert scripts, and forward
again: the data has to be what it was before, and then what it was after.
With --load requests are sent while the rollout runs, and what callers have seen
is told. A COMMAND runs for as long, in this folder, with GOLIVE_NATS_URL.
With --latest, --where and --sample only some of the data is copied. What the
manifest masks is masked before it comes here.

The exit code is 0 if the rollout has completed, and a drill has found nothing;
1 if not.`,
		Example: `  golive rehearse examples/todo
  golive rehearse --snapshot 0199c6d2 -o json
  golive rehearse --commit v0.0.2 --from ../todo-0.0.1
  golive rehearse --load requests.jsonl --from ../todo-0.0.1
  golive rehearse examples/todo -- ./ask-all-the-time
  golive rehearse --latest 1 --sample 1%
  golive rehearse --drill --from ../todo-0.0.1
  golive rehearse --pass LICENSE_KEY --report reports`,
		Args: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				args, o.command = args[:n], args[n:]
			}
			return arguments(0, 1, "at most one folder, and behind -- a command")(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if n := cmd.ArgsLenAtDash(); n >= 0 {
				args = args[:n]
			}
			if o.drill && (o.load != "" || len(o.command) > 0) {
				return misused(cmd, "--drill cannot be had together with requests or a command: what they write would count as a difference")
			}
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			for _, name := range o.pass {
				if strings.HasPrefix(name, "GOLIVE_") || strings.HasPrefix(name, "NATS_") || strings.ContainsAny(name, "= ") || name == "" {
					return misused(cmd, fmt.Sprintf("--pass %q: it must be the name of a variable, and none of golive or NATS, which tell of an environment", name))
				}
			}
			return runRehearse(cmd.Context(), c, dir, o)
		},
	}
	cmd.Flags().StringVar(&o.from, "from", "", "folder of the version that is live, whose services run in the rehearsal, too")
	cmd.Flags().StringVar(&o.commit, "commit", "", commitUsage)
	cmd.Flags().StringVar(&o.snapshot, "snapshot", "", "id of the snapshot to rehearse on, or its beginning (default: one is taken)")
	c.reportFlag(cmd, "write the report of the rollout into this folder, too")
	cmd.Flags().BoolVar(&o.keep, "keep", false, "keep the data of the rehearsal, and say where it is")
	cmd.Flags().StringVar(&o.load, "load", "", "a file of requests that are sent while the rollout runs, one in JSON on each line")
	cmd.Flags().IntVar(&o.latest, "latest", 0, "copy only so many messages of each subject, the newest; 0: all")
	cmd.Flags().StringSliceVar(&o.where, "where", nil, "of the stream or bucket that it is of copy only this subject, with * and >; can be repeated")
	cmd.Flags().StringVar(&o.sample, "sample", "", "copy only about this share of the data, such as 1%")
	cmd.Flags().BoolVar(&o.drill, "drill", false, "go back and forward again, too, and compare the data each time")
	cmd.Flags().BoolVar(&o.tell, "tell", true, "tell the environment what came of it, for plan and for approvals: {rehearsed}")
	cmd.Flags().StringSliceVar(&o.pass, "pass", nil, "name of a variable that programs get from this shell; can be repeated")
	return cmd
}

// testCommand has rehearse under the name of what it is to others: a test of a deploy.
func testCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "test",
		Short: "Try a release: golive test deploy is golive rehearse",
		Long: `test deploy is another name of golive rehearse: it brings a release live on a
copy of the environment's data, on this machine.`,
		Example: "  golive test deploy examples/todo",
		Hidden:  true,
		Args:    arguments(0, 0, "deploy"),
		RunE:    func(cmd *cobra.Command, _ []string) error { return misused(cmd, "golive test needs deploy") },
	}
	deploy := rehearseCommand(c)
	deploy.Use, deploy.Example = "deploy [DIR] [-- COMMAND]", "  golive test deploy examples/todo"
	cmd.AddCommand(deploy)
	return cmd
}

// rehearsalRun is one rehearsal.
type rehearsalRun struct {
	*command
	o       rehearseOptions
	id      string
	began   time.Time
	m       *release.Manifest
	live    *release.Manifest // whose services run, too; nil: none
	release rollout.Release
	plan    api.PlanView
	copied  rehearsal.Copy
	sandbox *rehearsal.Sandbox
	before  []api.StreamPosition
	held    []rehearsed.Held // by the copy
	state   rehearsal.State  // of the data before the rollout, for a drill
	rolled  rollout.Release  // as it is deployed here
	load    []rehearsal.Load // that is sent meanwhile
	out     Rehearsed

	story *narrator
	relay *relay.Relay // of the sandbox
	last  rollout.State
}

func runRehearse(ctx context.Context, c *command, dir string, o rehearseOptions) (err error) {
	ctx, stop := untilUnread(ctx, os.Stdout, os.Stderr)
	defer stop()
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	r := &rehearsalRun{command: c, o: o, id: id.String(), began: time.Now(), story: c.narrator(), out: Rehearsed{Differences: []string{}, NotRehearsed: []string{}, Moved: []string{}}}
	defer func() { err = errors.Join(err, r.clean()) }()
	if err := r.prepare(ctx, dir); err != nil {
		return r.stopped(ctx, err)
	}
	environment, err := c.reachFor(ctx, dir, r.m)
	if err != nil {
		return err
	}
	read := func() error {
		defer environment.Close()
		return r.read(ctx, api.NewClient(environment.Conn()))
	}
	if err := read(); err != nil {
		return r.stopped(ctx, err)
	}
	ran := r.run(ctx)
	r.lookAgain(ctx, dir)
	return r.conclude(ctx, ran)
}

// prepare makes the folder of the rehearsal, and reads the release.
func (r *rehearsalRun) prepare(ctx context.Context, dir string) (err error) {
	swept, err := rehearsal.Sweep(atOnce(ctx), os.TempDir())
	for _, folder := range swept {
		r.say("▪", "removed what a rehearsal has left that was killed: %s", folder)
	}
	if err != nil {
		r.say("!", "what a rehearsal has left that was killed is still there: %s", terminal.Flat(err.Error()))
	}
	if r.sandbox, err = rehearsal.Make(os.TempDir()); err != nil {
		return err
	}
	if r.o.commit == "" {
		r.m, r.release, err = taking{r.command}.take(ctx, dir, "")
	} else {
		r.m, r.release, err = taking{r.command}.takeTree(ctx, dir, r.o.commit, r.sandbox.Tree())
	}
	if err == nil && r.o.from != "" {
		r.live, err = r.command.load(r.o.from)
	}
	if err == nil && r.o.load != "" {
		r.load, err = r.readLoad(ctx)
	}
	if err == nil {
		_, err = r.cut()
	}
	return err
}

func (r *rehearsalRun) say(mark, format string, args ...any) {
	r.story.Say(terminal.Plain, mark, format, args...)
}

// stopped is how a rehearsal ends that a person has ended.
func (r *rehearsalRun) stopped(ctx context.Context, err error) error {
	if ctx.Err() == nil || err == nil {
		return err
	}
	return &failure{code: codeGaveUp, exit: exitGaveUp, message: "stopped: the rehearsal has no result", hint: "nothing of it is left but the snapshot: golive snapshot list"}
}

// clean removes what the rehearsal has made on this machine, or says where it is.
func (r *rehearsalRun) clean() error {
	if r.sandbox == nil {
		return nil
	}
	if !r.o.keep {
		return r.sandbox.Remove()
	}
	kept, err := r.sandbox.Keep()
	if err == nil {
		r.say("▪", "the data of the rehearsal is kept in %s: remove it when it is of no more use", kept)
	}
	return err
}

// read takes from the environment all that the rehearsal needs.
func (r *rehearsalRun) read(ctx context.Context, client *api.Client) (err error) {
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
func (r *rehearsalRun) checkFrom(ctx context.Context, client *api.Client) error {
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

func (r *rehearsalRun) notFrom(why string) error {
	return &failure{code: codeMisused, exit: exitMisused, message: fmt.Sprintf("--from is the folder of %s %s, and %s", r.live.App, r.live.Version, why),
		hint: "name the folder of the version that is live: golive status"}
}

// draw shows how much of the snapshot has come.
func (r *rehearsalRun) draw(done int64) {
	if r.story.Draws() {
		r.story.Draw([]terminal.Bar{{Name: "snapshot", State: "copying", Percent: int(100 * done / max(r.copied.Snapshot.Size, 1)), Numbers: terminal.Bytes(done)}})
	}
}

// cut is what is asked for of the data.
func (r *rehearsalRun) cut() (snapshot.Cut, error) {
	c := snapshot.Cut{Latest: r.o.latest, Where: r.o.where, Mask: r.m.Environment.Mask}
	if r.o.sample != "" {
		number, percent := strings.CutSuffix(r.o.sample, "%")
		share, err := strconv.ParseFloat(number, 64)
		if percent {
			share /= 100
		}
		if err != nil || share <= 0 || share > 1 {
			return c, &failure{code: codeMisused, exit: exitMisused, message: fmt.Sprintf("--sample %s: it must be a share like 1%%, more than 0 and at most 100%%", r.o.sample)}
		}
		c.Sample = share
	}
	if err := c.Validate(); err != nil {
		return c, &failure{code: codeMisused, exit: exitMisused, message: err.Error(), hint: "see golive rehearse --help"}
	}
	return c, nil
}

// checkRoom refuses data that there is no room for.
func (r *rehearsalRun) checkRoom(s snapshot.Snapshot) error {
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
func (r *rehearsalRun) fetch(ctx context.Context, client *api.Client) error {
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
func (r *rehearsalRun) snapshot(ctx context.Context, client *api.Client) (snapshot.Snapshot, error) {
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
func (r *rehearsalRun) untilFree(ctx context.Context, client *api.Client, doing string, ask func(context.Context, *api.Client) (api.SnapshotWork, error)) (snapshot.Snapshot, error) {
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
func (r *rehearsalRun) current(ctx context.Context, client *api.Client, s snapshot.Snapshot) error {
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

// run brings the release live in the sandbox.
func (r *rehearsalRun) run(ctx context.Context) error {
	for _, step := range r.m.Steps {
		if skipped(step) {
			r.out.NotRehearsed = append(r.out.NotRehearsed, "the command of step "+step.Name)
		}
	}
	for _, service := range r.m.Services {
		if service.Run == nil && service.Instances > 0 {
			r.out.NotRehearsed = append(r.out.NotRehearsed, "service "+service.Name+", which the manifest has no command for (run)")
		}
	}
	if r.live == nil {
		r.out.NotRehearsed = append(r.out.NotRehearsed, "the handing over from instances of "+r.copied.Snapshot.Version+", none of which ran: name their folder with --from")
	}
	governed := r.plan.DependsOn.Release                                // as the environment has it, with its own rules
	governed.Source, governed.Approvals.Rehearsed = r.release.Source, 0 // this is the rehearsal
	r.rolled = governed
	return local.Up{
		Manifest: r.m, Data: r.sandbox.Data(), Listen: embedded.DefaultListen, Beacons: r.sandbox.Dir, Dir: r.Dir,
		Before: r.live, Release: &r.rolled, After: r.drill, Environ: r.sandbox.Environ(os.Environ(), r.o.pass...), Unsynced: true, Skips: skipped,
		States: func() []local.Kept { return r.kept(ctx) },
		Once:   true, AllowOlder: true, By: rehearsing, Version: Version, Talk: r.story.Talk, Logger: r.logger(),
		Orchestrate: r.orchestrate, Follow: r.follow, Output: r.story.stepOutput,
		Events: func(context.Context, string, uint64, func(api.Followed) error) error { return nil }, Online: func(local.Online) error { return nil }, Fail: func(error) {},
	}.Run(ctx, atOnce(ctx))
}

// kept is the state of the copy that is not in JetStream.
func (r *rehearsalRun) kept(ctx context.Context) []local.Kept {
	var all []local.Kept
	for _, k := range r.copied.Kept(ctx) {
		all = append(all, local.Kept{Service: k.Service, Snapshot: r.copied.Snapshot.ID, Command: k.Part.Kind == snapshot.KindCommand, Open: k.Open})
	}
	return all
}

// skipped reports whether a step is a command that a rehearsal does not run.
func skipped(step release.Step) bool { return step.Command != nil && !step.Command.Rehearse }

// orchestrate fills the bus of the sandbox, and starts an orchestrator on it.
func (r *rehearsalRun) orchestrate(ctx, working context.Context, there *relay.Relay) (local.Orchestrator, error) {
	began := time.Now()
	if err := r.copied.Fill(ctx, there.Conn()); err != nil {
		return local.Orchestrator{}, err
	}
	r.out.Filled = rollout.Duration(time.Since(began).Round(time.Millisecond))
	for _, s := range r.copied.Snapshot.Services {
		for _, p := range s.Parts {
			r.out.Messages += p.Messages
			r.held = append(r.held, rehearsed.Held{Stream: p.Stream(), Messages: p.Messages})
		}
	}
	if r.o.drill {
		js, err := bus.NewJetStream(there.Conn())
		if err == nil {
			r.state, err = rehearsal.Look(ctx, js, rehearsal.PartsOf(r.copied.Snapshot, r.rolled))
		}
		if err != nil {
			return local.Orchestrator{}, err
		}
	}
	r.say("✓", "put back %s in %s", terminal.Plural(int(r.out.Messages), "message"), terminal.Took(time.Duration(r.out.Filled)))
	e, err := newEngine(ctx, there, orchestrator.Config{Replicas: 1, Heartbeat: upHeartbeat, Logger: r.logger()}, gate.Config{})
	if err != nil {
		return local.Orchestrator{}, err
	}
	ended, err := e.start(working)
	if err != nil {
		return local.Orchestrator{}, err
	}
	r.relay = there
	here, err := api.NewClient(there.Conn()).Plan(ctx, api.PlanRequest{Release: r.plan.DependsOn.Release, AllowOlder: true})
	if err != nil {
		return local.Orchestrator{}, err
	}
	r.out.Same = here.ID == r.plan.ID
	if r.out.Same {
		r.say("✓", "the plan is the one of the environment: %s", here.ID[:rollout.ShortPlan])
	} else {
		r.out.Differences = rehearsal.Differences(r.plan.DependsOn, here.DependsOn)
		r.say("!", "the plan differs from the one of the environment: %s", terminal.Flat(strings.Join(r.out.Differences, "; ")))
	}
	return local.Orchestrator{Gate: e.gate, Journal: e.journal, Ended: ended}, nil
}

// follow tells the story of the rollout, answers its approvals, and makes the report.
func (r *rehearsalRun) follow(ctx context.Context, what local.Following) (api.RolloutView, error) {
	client := api.NewClient(r.relay.Conn())
	f := &follower{nc: r.relay.Conn(), story: r.story, after: what.After, each: what.Each, lines: r.lines()}
	f.person = func(s rollout.State, step rollout.Step) error { return r.answer(ctx, client, s, step) }
	if r.out.Report == nil {
		stop, err := r.startLoad(ctx, what.Bus)
		if err != nil {
			return api.RolloutView{}, err
		}
		defer stop()
	}
	last, err := f.follow(ctx, events{client}, what.App, what.Rollout)
	if r.out.Report != nil { // it is the drill
		return last, err
	}
	r.last = last.State
	if err == nil {
		made, e := makeReport(ctx, client, last.ID, last.Sequence)
		if e != nil {
			return last, e
		}
		r.out.Report = &made
	}
	return last, err
}

// drill goes back and forward again, if that is asked for. What it finds is not an error.
func (r *rehearsalRun) drill(ctx context.Context, last rollout.State, sequence uint64, follow local.Follower) error {
	if !r.o.drill {
		return nil
	}
	r.say("*", "the drill: back to %s, and forward again", r.copied.Snapshot.Version)
	js, err := bus.NewJetStream(r.relay.Conn())
	if err != nil {
		return err
	}
	d := rehearsal.Drill{
		JetStream: js, Client: api.NewClient(r.relay.Conn()), Parts: rehearsal.PartsOf(r.copied.Snapshot, r.rolled), Release: r.rolled, By: rehearsing,
		Follow: follow,
	}
	found, err := d.Run(ctx, r.state, last, sequence)
	if err != nil && ctx.Err() != nil {
		return err
	}
	if err != nil {
		found.Failed = err.Error()
	}
	r.out.Drill = &found
	return nil
}

// answer says yes to an approval, and that it was the rehearsal.
func (r *rehearsalRun) answer(ctx context.Context, client *api.Client, s rollout.State, step rollout.Step) error {
	if err := rehearsal.Approve(ctx, client, s, step); err != nil {
		return err
	}
	r.say("✓", "approval %s is answered by the rehearsal itself: in the environment it waits for people", step.ID)
	return nil
}

// lookAgain goes back to the environment at the end: to see which of its streams were written to
// since the rehearsal began, and to tell it what came of that.
func (r *rehearsalRun) lookAgain(ctx context.Context, dir string) {
	if ctx.Err() != nil {
		return
	}
	environment, err := r.reachFor(ctx, dir, r.m)
	if err != nil {
		r.say("!", "it is not known whether anything was written in the environment meanwhile: %s", terminal.Flat(err.Error()))
		r.notTold(err)
		return
	}
	defer environment.Close()
	client := api.NewClient(environment.Conn())
	r.compare(ctx, client)
	r.tell(ctx, client)
}

// compare tells which streams of the environment were written to since the rehearsal began.
func (r *rehearsalRun) compare(ctx context.Context, client *api.Client) {
	after, err := client.Positions(ctx, r.out.Snapshot)
	if err != nil {
		r.say("!", "it is not known whether anything was written in the environment meanwhile: %s", terminal.Flat(err.Error()))
		return
	}
	r.out.Compared = true
	for i, p := range after {
		if i < len(r.before) && r.before[i].Last != p.Last {
			r.out.Moved = append(r.out.Moved, fmt.Sprintf("%s: from %d to %d", p.Stream, r.before[i].Last, p.Last))
		}
	}
}

// tell tells the environment what came of the rehearsal, if its rollout has come to an end.
func (r *rehearsalRun) tell(ctx context.Context, client *api.Client) {
	if !r.o.tell || r.out.Report == nil {
		return
	}
	q := api.RehearsalRequest{Outcome: r.out.outcome(r.id, r.held), By: me()}
	if _, err := client.TellRehearsal(ctx, q); err != nil {
		r.notTold(err)
		return
	}
	r.out.Told = true
}

func (r *rehearsalRun) notTold(err error) {
	if r.o.tell && r.out.Report != nil {
		r.say("!", "the environment does not know what came of the rehearsal: %s", terminal.Flat(err.Error()))
	}
}

// conclude tells what came of the rehearsal; ran is how its rollout has ended.
func (r *rehearsalRun) conclude(ctx context.Context, ran error) error {
	if ctx.Err() != nil {
		return r.stopped(ctx, ran)
	}
	r.out.Took = rollout.Duration(time.Since(r.began).Round(time.Millisecond))
	if r.out.Report == nil {
		return ran
	}
	if folder := (reporting{r.command}).reportFolder(r.m.App); folder != "" && r.reports != "" {
		if _, err := (reporting{r.command}).keepReport(*r.out.Report, folder); err != nil {
			return r.besides(ran, err)
		}
	}
	if err := r.print(r.out, func(w io.Writer) { printRehearsed(w, r.out, r.copied.Snapshot) }); err != nil {
		return err
	}
	if ran == nil {
		return drillFailed(r.out.Drill)
	}
	f := report.Failed(r.last)
	return &failure{code: f.Code, exit: exitFailed, message: "in the rehearsal, " + f.Message, hint: "nothing has changed in the environment; mend it, and rehearse again"}
}
