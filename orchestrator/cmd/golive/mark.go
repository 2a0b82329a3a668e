package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/relay/protocol"
)

func markCommand(c *command) *cobra.Command {
	var q api.MarkRequest
	cmd := &cobra.Command{
		Use:   "mark NAME VERSION PHASE",
		Short: "Record a script as run, without running it",
		Long: `mark records that the script of a service's version and phase (before, offline
or online), or of an app's version (setup), has run in this environment. A
rollout that begins after it skips the script.`,
		Example: `  golive ledger mark todo-search 0.0.1 online --reason "run by hand"
  golive ledger mark todo-app 0.0.2 setup --reason "not needed here"`,
		Args: arguments(3, 3, "a service or app, its version and the phase"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Name, q.Version, q.Phase, q.By = args[0], args[1], protocol.Phase(args[2]), me()
			if q.Reason == "" {
				return misused(cmd, "--reason is needed: it stands in the ledger")
			}
			return runMark(cmd.Context(), c, q)
		},
	}
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the ledger; required")
	cmd.Flags().StringVar(&q.App, "app", "", "the app of a service that has not been rolled out here yet")
	return cmd
}

func runMark(ctx context.Context, c *command, q api.MarkRequest) error {
	v, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.RolloutView, error) {
		return client.Mark(ctx, q)
	})
	if err != nil {
		return err
	}
	return c.print(v, func(w io.Writer) {
		fmt.Fprintf(w, "%s is recorded as run (%s)\n", v.Mark.Script(), v.ID)
	})
}
