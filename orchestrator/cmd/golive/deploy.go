package main

import (
	"context"
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
	commit     string
}

func deployCommand(c *command) *cobra.Command {
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
stops at the end of that phase: the next deploy of the same release goes on.

The release records the git commit that DIR is at. With --commit it is taken
from that commit: what is not committed, or is ignored, is not in it.`,
		Example: `  golive deploy
  golive deploy --phase before
  golive deploy --plan 3f2a9c1b7d04
  golive deploy --commit v1.4.0 --env production
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
			return runDeploy(cmd.Context(), c, dir, o)
		},
	}
	cmd.Flags().BoolVar(&o.queue, "queue", false, "wait for a rollout of the app that is under way")
	cmd.Flags().BoolVar(&o.replace, "replace", false, "abort a rollout of the app that is under way: its scripts are cancelled, its data stays")
	cmd.Flags().BoolVar(&o.allowOlder, "allow-older", false, "bring a version that is older than what has run here")
	cmd.Flags().StringVar(&o.reason, "reason", "", reasonUsage)
	cmd.Flags().StringVar(&o.plan, "plan", "", "do what golive plan has told, or nothing: its id, or the file that it is kept in")
	cmd.Flags().StringVar(&o.commit, "commit", "", commitUsage)
	cmd.Flags().StringVar(&o.phase, "phase", "", "stop at the end of this phase: before, offline, online or setup")
	c.reportFlag(cmd, reportUsage)
	cmd.Flags().DurationVar(&o.wait, "wait", 0, "give up following after this time, with exit code 4; 0: never")
	return cmd
}

func runDeploy(ctx context.Context, c *command, dir string, o deployOptions) error {
	m, r, err := taking{c}.take(ctx, dir, o.commit)
	if err != nil {
		return err
	}
	plan, dependsOn, err := heldTo(ctx, c, o.plan)
	if err != nil {
		return err
	}
	bus, err := c.reachFor(ctx, dir, m)
	if err != nil {
		return err
	}
	defer bus.Close()
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	q := api.DeployRequest{Rollout: id.String(), Release: r, By: me(), Reason: o.reason,
		Queue: o.queue, Replace: o.replace, AllowOlder: o.allowOlder, Phase: protocol.Phase(o.phase),
		Plan: plan, DependsOn: dependsOn}
	return rollOut(ctx, c, bus, q, o.wait)
}

// rollOut begins a rollout, or has one go on, and follows it.
func rollOut(ctx context.Context, c *command, r *relay.Relay, q api.DeployRequest, wait time.Duration) error {
	f := c.follower(r)
	if err := f.listen(q.Release.App, q.Rollout); err != nil {
		return err
	}
	client := api.NewClient(r.Conn())
	begun, err := client.Deploy(ctx, q)
	if err != nil {
		tellPlanChanged(ctx, c, client, q, err)
		return err
	}
	if begun.Before != nil {
		f.story.Say(terminal.Yellow, "!", "%s", report.TellLiveBefore(q.Release.App, q.Release.Version, *begun.Before))
	}
	c.keepTime(client)
	if begun.ID != q.Rollout { // it goes on with one that has stopped at the end of a phase
		f.leave()
		f = c.follower(r)
	}
	attend(c, f, client, "")
	if wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wait)
		defer cancel()
	}
	return followBy(ctx, c, f, begun, rollout.Completed)
}
