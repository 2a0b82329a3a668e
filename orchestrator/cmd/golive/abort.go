package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

func abortCommand(c *command) *cobra.Command {
	var reason string
	var yes bool
	cmd := &cobra.Command{
		Use:   "abort ROLLOUT",
		Short: "Stop a rollout: what served before serves again, data stays",
		Long: `abort stops the scripts of a rollout, puts the traffic of every service back to
where it was, ends maintenance, and follows that to its end. What scripts have
done to the data is not undone: see golive backward. With strategy downtime,
once an offline script has begun, abort asks first.`,
		Example: `  golive abort 0199c6d2-1a2b --reason "wrong version"`,
		Args:    arguments(1, 1, "the id of a rollout, or its beginning"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runAbort(cmd.Context(), c, api.AbortRequest{RolloutRequest: about(args[0], reason), Force: yes})
		},
	}
	c.reportFlag(cmd, reportUsage)
	cmd.Flags().StringVar(&reason, "reason", "", reasonUsage)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, also where offline scripts have changed data")
	return cmd
}

func runAbort(ctx context.Context, c *command, q api.AbortRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	begun, err := client.Abort(ctx, q)
	var refused *protocol.ServiceError
	if errors.As(err, &refused) && refused.Code == api.CodeConfirm && c.keys != nil {
		if !askToGoOn(ctx, c, refused.Message) {
			return &failure{code: refused.Code, exit: exitFailed, message: "not aborted: nothing was changed", hint: refused.Hint}
		}
		q.Force = true
		begun, err = client.Abort(ctx, q)
	}
	if err != nil {
		return err
	}
	want := rollout.Aborted
	if begun.Restore != nil && begun.Backward != nil && !begun.Status.Final() {
		want = rollout.Reverted
	}
	if begun.Status == rollout.Amending || begun.Status == rollout.Completed { // its records stay aside, its version stays live
		want = rollout.Completed
	}
	return followTo(ctx, c, r, begun, want)
}

// askToGoOn asks the person at the terminal. Ctrl-C is no.
func askToGoOn(ctx context.Context, c *command, question string) bool {
	fmt.Fprintln(c.Err, question)
	answer, err := c.prompter().Ask(ctx, "Go on all the same? [y/N] ")
	return err == nil && terminal.IsYes(answer)
}
