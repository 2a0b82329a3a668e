package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

type deployOptions struct {
	wait       time.Duration
	queue      bool
	replace    bool
	allowOlder bool
	reason     string
	plan       string
	phase      string
}

func (c *command) deployCommand() *cobra.Command {
	var o deployOptions
	cmd := &cobra.Command{
		Use:   "deploy [DIR]",
		Short: "Roll the release in DIR out and follow it to its end",
		Long: `deploy asks the orchestrators of an environment to roll out the release whose
manifest, golive.yaml, is in DIR (default: this folder), and follows the rollout
to its end. Services and setup services are started by you, not by deploy. The
rollout goes on when deploy is stopped.

Approvals that it waits for are asked for in the terminal. Without one, deploy
ends with exit code 5 when it comes to an approval. With --phase the rollout
stops at the end of that phase: the next deploy of the same release goes on.`,
		Example: `  golive deploy
  golive deploy --phase before
  golive deploy --plan 3f2a9c1b7d04
  golive deploy --queue --reason "the fix for the search"
  golive deploy --nats nats://127.0.0.1:4222 --wait 10m examples/todo`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if o.wait < 0 {
				return misused(cmd, "--wait must not be negative")
			}
			if o.queue && o.replace {
				return misused(cmd, "--queue and --replace exclude each other")
			}
			if o.plan != "" && (o.queue || o.replace) {
				return misused(cmd, "--plan excludes --queue and --replace: what waits or replaces cannot be held to a plan")
			}
			return c.deploy(cmd.Context(), dir, o)
		},
	}
	cmd.Flags().BoolVar(&o.queue, "queue", false, "wait for a rollout of the app that is under way")
	cmd.Flags().BoolVar(&o.replace, "replace", false, "abort a rollout of the app that is under way: its scripts are cancelled, its data stays")
	cmd.Flags().BoolVar(&o.allowOlder, "allow-older", false, "bring a version that is older than what has run here")
	cmd.Flags().StringVar(&o.reason, "reason", "", reasonUsage)
	cmd.Flags().StringVar(&o.plan, "plan", "", "do what golive plan has told, or nothing: its id, or the file that it is kept in")
	cmd.Flags().StringVar(&o.phase, "phase", "", "stop at the end of this phase: before, offline, online or setup")
	cmd.Flags().DurationVar(&o.wait, "wait", 0, "give up following after this time, with exit code 4; 0: never")
	return cmd
}

func (c *command) deploy(ctx context.Context, dir string, o deployOptions) error {
	m, err := c.load(dir)
	if err != nil {
		return err
	}
	plan, dependsOn, err := c.heldTo(o.plan)
	if err != nil {
		return err
	}
	r, err := c.reach(ctx, dir)
	if err != nil {
		return err
	}
	defer r.Close()
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	q := api.DeployRequest{Rollout: id.String(), Release: m.Release(), By: me(), Reason: o.reason,
		Queue: o.queue, Replace: o.replace, AllowOlder: o.allowOlder, Phase: protocol.Phase(o.phase),
		Plan: plan, DependsOn: dependsOn}
	return c.rollOut(ctx, r, q, o.wait)
}

// rollOut begins a rollout, or has one go on, and follows it.
func (c *command) rollOut(ctx context.Context, r *relay.Relay, q api.DeployRequest, wait time.Duration) error {
	f := c.follower(r)
	if err := f.listen(q.Release.App, q.Rollout); err != nil {
		return err
	}
	client := api.NewClient(r.Conn())
	begun, err := client.Deploy(ctx, q)
	if err != nil {
		c.tellPlanChanged(ctx, client, q, err)
		return err
	}
	if begun.ID != q.Rollout { // it goes on with one that has stopped at the end of a phase
		f.leave()
		f = c.follower(r)
	}
	c.attend(f, client, "")
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	return c.followBy(ctx, f, begun, rollout.Completed)
}

// followTo follows a rollout to its end; the answer is its last state. Any other end than
// the one that is wanted is a failure.
func (c *command) followTo(ctx context.Context, r *relay.Relay, begun api.RolloutView, want rollout.Status) error {
	return c.followBy(ctx, c.follower(r), begun, want)
}

func (c *command) follower(r *relay.Relay) *follower {
	f := &follower{nc: r.Conn(), story: c.narrator(), lines: c.lines()}
	f.story.commands(true)
	return f
}

// followBy is followTo by a follower that may listen already.
func (c *command) followBy(ctx context.Context, f *follower, begun api.RolloutView, want rollout.Status) error {
	last, err := c.followUntil(ctx, f, begun, want)
	if err != nil {
		return err
	}
	if c.output == "jsonl" {
		return nil
	}
	return c.print(last, func(w io.Writer) {
		app, version := last.Release.App, last.Release.Version
		if last.Held() {
			fmt.Fprintf(w, "phase %s of %s %s has run: the rollout waits; go on with: %s (rollout %s)\n", last.Until, app, version, c.here("golive deploy"), last.ID)
			return
		}
		switch want {
		case rollout.Aborted:
			fmt.Fprintf(w, "rollout %s of %s %s is aborted: %s\n", last.ID, app, version, report.AfterAbort(last))
		case rollout.Reverted:
			fmt.Fprintf(w, "rollout %s of %s %s is undone: what was online before is online\n", last.ID, app, version)
		default:
			fmt.Fprintf(w, "%s %s is live (rollout %s)\n", app, version, last.ID)
		}
	})
}

// followUntil tells a rollout's story until it has ended, or stands at the end of the phase
// that it was to run, and gives its last state. Any other end than the one that is wanted is
// a failure.
func (c *command) followUntil(ctx context.Context, f *follower, begun api.RolloutView, want rollout.Status) (rollout.State, error) {
	last, err := c.followAll(ctx, f, begun)
	switch {
	case err != nil && ctx.Err() != nil:
		err = &failure{code: codeGaveUp, exit: exitGaveUp,
			message: fmt.Sprintf("stopped following rollout %s: it goes on", begun.ID),
			hint:    "see how far it is: golive watch " + begun.ID}
	case err == nil && last.Status != want && !last.Held():
		err = report.Failed(last)
	}
	return last, err
}

// followAll tells a rollout's story, from what has just been asked for to its end, and
// gives its last state.
func (c *command) followAll(ctx context.Context, f *follower, begun api.RolloutView) (rollout.State, error) {
	from, err := openEvents(ctx, f.nc)
	if err != nil {
		return rollout.State{}, err
	}
	f.since, f.seen = begun.Sequence, begun.Observations
	last, err := f.follow(ctx, from, begun.Release.App, begun.ID)
	return last.State, err
}

// talk is what is said on the terminal of the command. Where lines for programs are printed,
// nothing is drawn: they may come to the same terminal, through a pipe.
func (c *command) talk() *terminal.Talk { return c.Talk(c.output != "jsonl") }

// narrator tells rollouts on the terminal of the command.
func (c *command) narrator() *narrator { return &narrator{Talk: c.talk(), story: report.NewStory()} }

// lines prints what happens while a command follows a rollout, if that was asked for.
func (c *command) lines() func(any) error {
	if c.output != "jsonl" {
		return nil
	}
	return func(line any) error { return c.print(line, nil) }
}
