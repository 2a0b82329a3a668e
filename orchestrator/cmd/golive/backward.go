package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

func backwardCommand(c *command) *cobra.Command {
	var reason string
	var skipMissing, yes bool
	cmd := &cobra.Command{
		Use:   "backward APP [VERSION]",
		Short: "Go back to a version that was live before, and undo scripts",
		Long: `backward undoes, in reverse order, what the app's last rollout did: it runs the
revert scripts of what has run, and puts the traffic back to the previous
version. A rollout that ran nothing and moved nothing, as of the same release
once more, is gone over. With VERSION it goes on, rollout by rollout, until that
version is back. A script that has no revert script is named before anything
changes, and so is a version that would get its traffic back and is not there:
backward asks first then, and where nobody can be asked it refuses.`,
		Example: `  golive backward todo-app --reason "the search finds too much"
  golive backward todo-app 0.0.1 --skip-missing`,
		Args: arguments(1, 2, "an app and at most one version"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.BackwardRequest{App: args[0], SkipMissing: skipMissing, Force: yes, By: me(), Reason: reason}
			if len(args) > 1 {
				q.To = args[1]
			}
			return runBackward(cmd.Context(), c, q)
		},
	}
	c.reportFlag(cmd, reportUsage)
	cmd.Flags().StringVar(&reason, "reason", "", reasonUsage)
	cmd.Flags().BoolVar(&skipMissing, "skip-missing", false, "leave as it is what scripts without a revert script have done")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask, also where nobody of the version before is there to answer")
	return cmd
}

func runBackward(ctx context.Context, c *command, q api.BackwardRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	begun, err := client.Backward(ctx, q)
	var refused *protocol.ServiceError
	if errors.As(err, &refused) && refused.Code == api.CodeNotAlive && c.keys != nil {
		if !askToGoOn(ctx, c, refused.Message) {
			return &failure{code: refused.Code, exit: exitFailed, message: "not taken backward: nothing was changed", hint: refused.Hint}
		}
		q.Force = true
		begun, err = client.Backward(ctx, q)
	}
	if err != nil {
		return c.withSetups(err)
	}
	for err == nil {
		if err = followTo(ctx, c, r, begun, rollout.Reverted); err != nil || q.To == "" && !onlyRepeats(begun) {
			return err
		}
		var further bool
		if begun, further, err = nextBack(ctx, r, begun.ID, q); !further {
			return err
		}
	}
	return err
}

// onlyRepeats reports whether a rollout that is undone has only repeated the one before it, so
// that this one is undone next.
func onlyRepeats(r api.RolloutView) bool { return r.Backward != nil && r.Backward.Last != "" }

// nextBack gives the rollout that is undone after one on the way to a version, or in its place;
// false when there is none left.
func nextBack(ctx context.Context, r *relay.Relay, undone string, q api.BackwardRequest) (api.RolloutView, bool, error) {
	client := api.NewClient(r.Conn())
	for before := undone; ; {
		page, err := client.List(ctx, api.ListRequest{App: q.App, Before: before, Limit: 1})
		if err != nil || len(page.Rollouts) == 0 {
			return api.RolloutView{}, false, err
		}
		found := page.Rollouts[0]
		before = found.ID
		switch {
		case found.IsRepeat(): // it is not undone
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
