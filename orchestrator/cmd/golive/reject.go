package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

func rejectCommand(c *command) *cobra.Command {
	var q api.StepRequest
	cmd := &cobra.Command{
		Use:   "reject ROLLOUT [STEP]",
		Short: "Say no to an approval step that a rollout waits for",
		Long: `reject says no to an approval step: to STEP or, without it, to the one that the
rollout waits for. The rollout has failed then: golive retry asks again, golive
abort ends it.`,
		Example: `  golive reject 0199c6d2-1a2b --reason "not on a Friday"
  golive reject 0199c6d2-1a2b go-ahead`,
		Args: arguments(1, 2, "the id of a rollout, or its beginning, and at most one step"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.RolloutRequest, q.Step = about(args[0], q.Reason), strings.Join(args[1:], "")
			v, err := ask(cmd.Context(), c, "", func(ctx context.Context, client *api.Client) (api.RolloutView, error) {
				return client.Reject(ctx, q)
			})
			if err != nil {
				return err
			}
			return c.print(v, func(w io.Writer) { printRejected(w, v.State, q.Step) })
		},
	}
	cmd.Flags().StringVar(&q.Reason, "reason", "", reasonUsage)
	return cmd
}

// printRejected tells what comes of a no.
func printRejected(w io.Writer, s rollout.State, step string) {
	if step == "" {
		step = s.Event.Step
	}
	fmt.Fprintf(w, "%s of rollout %s is rejected\n", step, s.ID)
	if s.Status == rollout.Failed {
		fmt.Fprintf(w, "The rollout has failed. To ask again: golive retry %s; to end it: golive abort %[1]s\n", s.ID)
	}
}
