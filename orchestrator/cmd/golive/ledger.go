package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

func (c *command) ledgerCommand() *cobra.Command {
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
			return c.ledger(cmd.Context(), q)
		},
	}
	cmd.Flags().IntVar(&q.Limit, "limit", 100, "how many, the newest ones; 0: all")
	cmd.Flags().Uint64Var(&q.Before, "before", 0, "only what ran before this event: the page before")
	cmd.AddCommand(c.markCommand())
	return cmd
}

func (c *command) markCommand() *cobra.Command {
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
			return c.mark(cmd.Context(), q)
		},
	}
	cmd.Flags().StringVar(&q.Reason, "reason", "", "why, for the ledger; required")
	cmd.Flags().StringVar(&q.App, "app", "", "the app of a service that has not been rolled out here yet")
	return cmd
}

func (c *command) mark(ctx context.Context, q api.MarkRequest) error {
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

func (c *command) ledger(ctx context.Context, q api.LedgerRequest) error {
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
			counts, duration, items := "yes", terminal.Took(e.Duration), fmt.Sprint(e.Items)
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
