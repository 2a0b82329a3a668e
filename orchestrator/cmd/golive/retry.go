package main

import (
	"context"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

func retryCommand(c *command) *cobra.Command {
	var q api.RetryRequest
	cmd := &cobra.Command{
		Use:   "retry ROLLOUT [STEP --failed-records]",
		Short: "Try the failed steps of a rollout again, and follow it to its end",
		Long: `retry tries the failed steps of a rollout again, and follows it to its end. With
--failed-records it has a completed rollout's scripts, or that of STEP alone,
deal once more with the records that they have put aside, and with no others:
golive show ROLLOUT --failed-records lists them. The exit code is then 0 if none
is left, and 1 if some are.`,
		Example: `  golive retry 0199c6d2-1a2b --reason "the disk was full"
  golive retry 0199c6d2-1a2b --failed-records
  golive retry 0199c6d2-1a2b todo-search/online --failed-records`,
		Args: arguments(1, 2, "the id of a rollout, or its beginning, and at most one step"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.Rollout, q.Step, q.By = args[0], strings.Join(args[1:], ""), me()
			switch {
			case q.FailedRecords:
				return retryRecords(cmd.Context(), c, q)
			case q.Step != "":
				return misused(cmd, "a step can be named with --failed-records only: all failed steps are tried again")
			}
			return runRetry(cmd.Context(), c, q)
		},
	}
	cmd.Flags().BoolVar(&q.FailedRecords, "failed-records", false, "try the records that were put aside")
	c.reportFlag(cmd, reportUsage)
	cmd.Flags().StringVar(&q.Reason, "reason", "", reasonUsage)
	return cmd
}

func runRetry(ctx context.Context, c *command, q api.RetryRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	begun, err := api.NewClient(r.Conn()).Retry(ctx, q)
	if err != nil {
		return err
	}
	want := rollout.Completed
	if begun.Backward != nil {
		want = rollout.Reverted
	}
	f := c.follower(r)
	attend(c, f, api.NewClient(r.Conn()), "")
	return followBy(ctx, c, f, begun, want)
}
