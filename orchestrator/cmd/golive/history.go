package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func historyCommand(c *command) *cobra.Command {
	var q api.ListRequest
	cmd := &cobra.Command{
		Use:   "history [APP]",
		Short: "The rollouts of this environment, newest first",
		Example: `  golive history
  golive history todo-app --limit 5`,
		Args: arguments(0, 1, "at most one app"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.App = strings.Join(args, "")
			return runHistory(cmd.Context(), c, q)
		},
	}
	cmd.Flags().IntVar(&q.Limit, "limit", 20, "how many, 1 to 100")
	cmd.Flags().StringVar(&q.Before, "before", "", "only rollouts older than this one: the next page")
	return cmd
}

func runHistory(ctx context.Context, c *command, q api.ListRequest) error {
	page, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.RolloutList, error) {
		return client.List(ctx, q)
	})
	if err != nil {
		return err
	}
	if c.output == "jsonl" {
		return c.print(page.Rollouts, nil)
	}
	return c.print(page, func(w io.Writer) {
		if len(page.Rollouts) == 0 {
			fmt.Fprintln(w, "There has been no rollout here yet.")
			return
		}
		var rows [][]string
		for _, r := range page.Rollouts {
			rows = append(rows, []string{r.ID, r.Release.App, terminal.OrDash(r.Release.Version), report.TellStatus(r.State), terminal.Ago(r.Created), lasted(r.State), terminal.OrDash(r.By)})
		}
		terminal.Columns(w, []string{"ROLLOUT", "APP", "VERSION", "STATUS", "BEGUN", "TOOK", "BY"}, rows)
		if page.Next != "" {
			fmt.Fprintf(w, "\nOlder ones: golive history --before %s\n", page.Next)
		}
	})
}

func lasted(r rollout.State) string {
	if r.Ended.IsZero() {
		return terminal.Took(terminal.Now().Sub(r.Created))
	}
	return terminal.Took(r.Ended.Sub(r.Created))
}
