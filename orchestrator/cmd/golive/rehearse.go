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

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
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
		return reading{r}.read(ctx, api.NewClient(environment.Conn()))
	}
	if err := read(); err != nil {
		return r.stopped(ctx, err)
	}
	ran := r.run(ctx)
	ending{r}.lookAgain(ctx, dir)
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
