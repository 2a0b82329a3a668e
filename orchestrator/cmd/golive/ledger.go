package main

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func ledgerCommand(c *command) *cobra.Command {
	q := api.LedgerRequest{}
	cmd := &cobra.Command{
		Use:   "ledger [APP]",
		Short: "Which scripts have run in this environment",
		Example: `  golive ledger
  golive ledger todo-app -o json
  golive ledger mark todo-search 0.0.1 online --reason "run by hand"`,
		Args: arguments(0, 1, "at most one app"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Limit < 0 {
				return misused(cmd, "--limit must not be negative")
			}
			q.App = strings.Join(args, "")
			return runLedger(cmd.Context(), c, q)
		},
	}
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "how many, the newest ones; 0: all")
	cmd.Flags().Uint64Var(&q.Before, "before", 0, "only what ran before this event: the page before")
	cmd.AddCommand(markCommand(c))
	return cmd
}

func runLedger(ctx context.Context, c *command, q api.LedgerRequest) error {
	all, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) ([]ledger.Entry, error) {
		return client.Ledger(ctx, q)
	})
	if err != nil {
		return err
	}
	return c.print(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "No script has run here yet.")
			return
		}
		var rows [][]string
		for _, e := range all {
			counts, duration, items := "yes", terminal.Took(time.Duration(e.Duration)), fmt.Sprint(e.Items)
			if e.PutAside > 0 {
				items += ", " + terminal.Grouped(e.PutAside) + " put aside"
			}
			if e.Marked {
				duration, items = "-", "-" // it was not run here
				counts = "yes, marked" + report.Because(rollout.Event{By: e.By, Reason: e.Reason})
			}
			if e.Void != "" {
				counts = "no: " + e.Void
			}
			rows = append(rows, []string{e.Name, e.Version, string(e.Phase), terminal.Ago(e.At), duration, items, e.Rollout, counts})
		}
		terminal.Columns(w, []string{"OF", "VERSION", "PHASE", "RAN", "TOOK", "ITEMS", "ROLLOUT", "COUNTS"}, rows)
		if len(all) == q.Limit {
			fmt.Fprintf(w, "\nOlder ones: golive ledger %s--before %d\n", space(q.App), all[0].Sequence)
		}
	})
}

// space is text with a space behind it, where there is text.
func space(text string) string {
	if text == "" {
		return ""
	}
	return text + " "
}
