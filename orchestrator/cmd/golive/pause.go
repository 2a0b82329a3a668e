package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
)

func pauseCommand(c *command) *cobra.Command {
	return holdCommand(c, "pause ROLLOUT [STEP]", "Hold a rollout, or one of its steps",
		`pause has a rollout, or one of its steps, begin nothing more. Scripts that run
are told to hold, if they can, and their clocks stand still. A move of traffic
that is under way is finished.`,
		`  golive pause 0199c6d2-1a2b --reason "lunch"
  golive pause 0199c6d2-1a2b todo-search/online`, (*api.Client).Pause, "holds")
}

func resumeCommand(c *command) *cobra.Command {
	return holdCommand(c, "resume ROLLOUT [STEP]", "Let a rollout, or one of its steps, go on",
		`resume lets a rollout, or one of its steps, that was paused go on. The clocks of
scripts go on where they stood.`,
		`  golive resume 0199c6d2-1a2b
  golive resume 0199c6d2-1a2b todo-search/online`, (*api.Client).Resume, "goes on")
}

func holdCommand(c *command, use, short, long, example string,
	ask func(*api.Client, context.Context, api.StepRequest) (api.RolloutView, error), does string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: arguments(1, 2, "the id of a rollout, or its beginning, and at most one step"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.StepRequest{RolloutRequest: about(args[0], reason)}
			what := "rollout "
			if len(args) > 1 {
				q.Step = args[1]
				what = "step " + q.Step + " of rollout "
			}
			r, err := c.reach(cmd.Context(), "")
			if err != nil {
				return err
			}
			defer r.Close()
			v, err := ask(api.NewClient(r.Conn()), cmd.Context(), q)
			if err != nil {
				return err
			}
			return c.print(v, func(w io.Writer) {
				fmt.Fprintf(w, "%s%s %s\n", what, v.ID, does)
			})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", reasonUsage)
	return cmd
}
