package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/ledger"
)

func (c *command) ledgerCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "ledger [APP]",
		Short: "Which scripts have run in this environment",
		Example: `  golive ledger
  golive ledger todo-app -o json`,
		Args: arguments(0, 1, "at most one app"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return c.ledger(cmd.Context(), strings.Join(args, ""))
		},
	}
}

func (c *command) ledger(ctx context.Context, app string) error {
	all, err := ask(ctx, c, "", func(ctx context.Context, client *orchestrator.Client) ([]ledger.Entry, error) {
		return client.Ledger(ctx, orchestrator.AppRequest{App: app})
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
			counts := "yes"
			if e.Void != "" {
				counts = "no: " + e.Void
			}
			rows = append(rows, []string{e.Name, e.Version, string(e.Phase), ago(e.At), took(e.Duration), fmt.Sprint(e.Items), e.Rollout, counts})
		}
		columns(w, []string{"OF", "VERSION", "PHASE", "RAN", "TOOK", "ITEMS", "ROLLOUT", "COUNTS"}, rows)
	})
}
