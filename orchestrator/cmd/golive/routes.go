package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/relay/protocol"
)

func (c *command) routesCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "routes",
		Short: "Which versions of each service get production traffic",
		Example: `  golive routes
  golive routes -o json`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error { return c.routes(cmd.Context()) },
	}
}

func (c *command) routes(ctx context.Context) error {
	all, err := ask(ctx, c, "", func(ctx context.Context, client *orchestrator.Client) ([]orchestrator.RouteStatus, error) {
		return client.Routes(ctx)
	})
	if err != nil {
		return err
	}
	return c.print(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "No service has a route yet: none gets production traffic.")
			return
		}
		var rows [][]string
		for _, r := range all {
			for _, v := range r.Versions {
				rows = append(rows, []string{r.Service, v.Version, string(v.State), confirmed(r, v.Version, v.State), fmt.Sprint(r.Revision), ago(r.Since)})
			}
		}
		columns(w, []string{"SERVICE", "VERSION", "STATE", "CONFIRMED", "REVISION", "SINCE"}, rows)
	})
}

// confirmed tells how many of the version's live instances act on the revision.
func confirmed(r orchestrator.RouteStatus, version string, state protocol.VersionState) string {
	have, alive := 0, 0
	for _, i := range r.Instances {
		if i.Version != version {
			continue
		}
		alive++
		if i.Revision >= r.Revision && i.State == state {
			have++
		}
	}
	return fmt.Sprintf("%d of %d", have, alive)
}

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
