package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

const reasonUsage = "why, for the journal"

func (c *command) retryCommand() *cobra.Command {
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
				return c.retryRecords(cmd.Context(), q)
			case q.Step != "":
				return misused(cmd, "a step can be named with --failed-records only: all failed steps are tried again")
			}
			return c.retry(cmd.Context(), q)
		},
	}
	cmd.Flags().BoolVar(&q.FailedRecords, "failed-records", false, "try the records that were put aside")
	cmd.Flags().StringVar(&q.Reason, "reason", "", reasonUsage)
	return cmd
}

// about is a request of the person at this terminal about a rollout.
func (c *command) about(id, reason string) api.RolloutRequest {
	return api.RolloutRequest{Rollout: id, By: me(), Reason: reason}
}

func (c *command) retry(ctx context.Context, q api.RetryRequest) error {
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
	c.attend(f, api.NewClient(r.Conn()), "")
	return c.followBy(ctx, f, begun, want)
}

func (c *command) abortCommand() *cobra.Command {
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
			return c.abort(cmd.Context(), api.AbortRequest{RolloutRequest: c.about(args[0], reason), Force: yes})
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", reasonUsage)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, also where offline scripts have changed data")
	return cmd
}

func (c *command) abort(ctx context.Context, q api.AbortRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	begun, err := client.Abort(ctx, q)
	var refused *protocol.ServiceError
	if errors.As(err, &refused) && refused.Code == api.CodeConfirm && c.keys != nil {
		if !c.confirmed(ctx, refused.Message) {
			return &failure{code: refused.Code, exit: exitFailed, message: "not aborted: nothing was changed", hint: refused.Hint}
		}
		q.Force = true
		begun, err = client.Abort(ctx, q)
	}
	if err != nil {
		return err
	}
	want := rollout.Aborted
	if begun.Status == rollout.Amending || begun.Status == rollout.Completed { // its records stay aside, its version stays live
		want = rollout.Completed
	}
	return c.followTo(ctx, r, begun, want)
}

// confirmed asks the person at the terminal. Ctrl-C is no.
func (c *command) confirmed(ctx context.Context, question string) bool {
	fmt.Fprintln(c.Err, question)
	answer, err := c.prompter().Ask(ctx, "Go on all the same? [y/N] ")
	return err == nil && terminal.IsYes(answer)
}

func (c *command) pauseCommand() *cobra.Command {
	return c.holdCommand("pause ROLLOUT [STEP]", "Hold a rollout, or one of its steps",
		`pause has a rollout, or one of its steps, begin nothing more. Scripts that run
are told to hold, if they can, and their clocks stand still. A move of traffic
that is under way is finished.`,
		`  golive pause 0199c6d2-1a2b --reason "lunch"
  golive pause 0199c6d2-1a2b todo-search/online`, (*api.Client).Pause, "holds")
}

func (c *command) resumeCommand() *cobra.Command {
	return c.holdCommand("resume ROLLOUT [STEP]", "Let a rollout, or one of its steps, go on",
		`resume lets a rollout, or one of its steps, that was paused go on. The clocks of
scripts go on where they stood.`,
		`  golive resume 0199c6d2-1a2b
  golive resume 0199c6d2-1a2b todo-search/online`, (*api.Client).Resume, "goes on")
}

func (c *command) holdCommand(use, short, long, example string,
	ask func(*api.Client, context.Context, api.StepRequest) (api.RolloutView, error), does string) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: arguments(1, 2, "the id of a rollout, or its beginning, and at most one step"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.StepRequest{RolloutRequest: c.about(args[0], reason)}
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

func (c *command) backwardCommand() *cobra.Command {
	var reason string
	var skipMissing bool
	cmd := &cobra.Command{
		Use:   "backward APP [VERSION]",
		Short: "Go back to a version that was live before, and undo scripts",
		Long: `backward undoes, in reverse order, what the app's last rollout did: it runs the
revert scripts of what has run, and puts the traffic back to the previous
version. With VERSION it goes on, rollout by rollout, until that version is
back. A script that has no revert script is named before anything changes.`,
		Example: `  golive backward todo-app --reason "the search finds too much"
  golive backward todo-app 0.0.1 --skip-missing`,
		Args: arguments(1, 2, "an app and at most one version"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.BackwardRequest{App: args[0], SkipMissing: skipMissing, By: me(), Reason: reason}
			if len(args) > 1 {
				q.To = args[1]
			}
			return c.backward(cmd.Context(), q)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", reasonUsage)
	cmd.Flags().BoolVar(&skipMissing, "skip-missing", false, "leave as it is what scripts without a revert script have done")
	return cmd
}

func (c *command) backward(ctx context.Context, q api.BackwardRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	begun, err := client.Backward(ctx, q)
	for err == nil {
		if err = c.followTo(ctx, r, begun, rollout.Reverted); err != nil || q.To == "" {
			return err
		}
		var further bool
		if begun, further, err = c.nextBack(ctx, r, begun.ID, q); !further {
			return err
		}
	}
	return err
}

// nextBack gives the rollout that is undone after one on the way to a version; false when
// there is none left.
func (c *command) nextBack(ctx context.Context, r *relay.Relay, undone string, q api.BackwardRequest) (api.RolloutView, bool, error) {
	client := api.NewClient(r.Conn())
	for before := undone; ; {
		page, err := client.List(ctx, api.ListRequest{App: q.App, Before: before, Limit: 1})
		if err != nil || len(page.Rollouts) == 0 {
			return api.RolloutView{}, false, err
		}
		found := page.Rollouts[0]
		before = found.ID
		switch {
		case found.Status == rollout.Completed && found.Release.Version == q.To:
			return found, false, nil
		case found.Status == rollout.Completed: // its turn is about to come
			if err := pauseFor(ctx, awaitNext); err != nil {
				return found, false, err
			}
			before = undone
		case found.Backward != nil && found.Status != rollout.Reverted:
			return found, true, nil
		}
	}
}

// awaitNext is how long to wait before looking again whether the next rollout is undone.
const awaitNext = 50 * time.Millisecond

func pauseFor(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
