package main

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func watchCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "watch [ROLLOUT]",
		Short: "Follow a rollout to its end, as deploy does",
		Long: `watch tells what happens to a rollout, and how far its scripts are, until it has
ended: of the one that is named, or of the newest that is under way. It changes
nothing, and the rollout goes on when watch is stopped. Its exit codes are those
of deploy; when nothing is under way, it says so and exits with 0.`,
		Example: `  golive watch
  golive watch 0199c6d2-1a2b -o jsonl`,
		Args: arguments(0, 1, "at most the id of a rollout, or its beginning"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runWatch(cmd.Context(), c, args)
		},
	}
	c.reportFlag(cmd, reportUsage)
	return cmd
}

func runWatch(ctx context.Context, c *command, args []string) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	id := ""
	if len(args) > 0 {
		id = args[0]
	} else if id, err = underWay(ctx, client); err != nil {
		return err
	}
	if id == "" {
		c.talk().Say(terminal.Plain, "*", "no rollout is under way")
		return nil
	}
	found, err := client.Show(ctx, api.RolloutRequest{Rollout: id})
	if err != nil {
		return err
	}
	c.keepTime(client)
	if found.Mark != nil {
		return &failure{code: api.CodeConflict, exit: exitFailed,
			message: found.ID + " is no rollout: it records that " + found.Mark.Script().String() + " has run"}
	}
	return followTo(ctx, c, r, found.RolloutView, rollout.Completed)
}

// underWay is the newest rollout that is under way, rather one that goes on than one that is
// queued, or has stopped at the end of a phase; empty when there is none.
func underWay(ctx context.Context, client *api.Client) (string, error) {
	queued, held := "", ""
	for q := (api.ListRequest{Limit: 100}); ; {
		page, err := client.List(ctx, q)
		if err != nil {
			return "", err
		}
		for _, r := range page.Rollouts {
			switch {
			case r.Status.Final(), r.Status == rollout.Failed && !r.TurnsBack():
			case r.Held():
				held = cmp.Or(held, r.ID)
			case r.Status != rollout.Queued:
				return r.ID, nil
			case queued == "":
				queued = r.ID
			}
		}
		if q.Before = page.Next; page.Next == "" {
			return cmp.Or(queued, held), nil
		}
	}
}
