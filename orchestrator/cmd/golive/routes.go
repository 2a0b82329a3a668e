package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

func routesCommand(c *command) *cobra.Command {
	var watch, check bool
	cmd := &cobra.Command{
		Use:   "routes",
		Short: "Which versions of each service get production traffic",
		Long: `routes tells which versions of each service get production traffic, and how many
of their live instances have confirmed that. Lines that are marked as alarms say
why production requests are not answered, as those of golive status do.`,
		Example: `  golive routes
  golive routes --check    exit code 1 at an alarm
  golive routes --watch
  golive routes -o json`,
		Args: arguments(0, 0, "no arguments"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case watch && check:
				return misused(cmd, "--watch has no end, and excludes --check")
			case watch:
				return watchRoutes(cmd.Context(), c)
			}
			return runRoutes(cmd.Context(), c, check)
		},
	}
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "go on, and tell each change, until Ctrl-C")
	cmd.Flags().BoolVar(&check, "check", false, "exit with 1 when there is an alarm")
	return cmd
}

func runRoutes(ctx context.Context, c *command, check bool) error {
	all, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) ([]api.RouteStatus, error) {
		return client.Routes(ctx)
	})
	if err != nil {
		return err
	}
	err = c.print(all, func(w io.Writer) { printRoutes(w, all) })
	if err == nil && check && slices.ContainsFunc(all, func(r api.RouteStatus) bool { return len(r.Alarms) > 0 }) {
		return alarmed("routes")
	}
	return err
}

func printRoutes(w io.Writer, all []api.RouteStatus) {
	if len(all) == 0 {
		fmt.Fprintln(w, "No service has a route yet: none gets production traffic.")
		return
	}
	var rows [][]string
	for _, r := range all {
		for _, v := range r.Versions {
			state := string(v.State)
			if r.Maintenance != nil {
				state += ", under maintenance"
			}
			rows = append(rows, []string{r.Service, v.Version, state, confirmed(r, v.Version, v.State), fmt.Sprint(r.Revision), terminal.Ago(r.Since)})
		}
	}
	terminal.Columns(w, []string{"SERVICE", "VERSION", "STATE", "CONFIRMED", "REVISION", "SINCE"}, rows)
	var alarms []string
	for _, r := range all {
		for _, text := range r.Alarms {
			if !slices.Contains(alarms, text) { // what is wrong with the bus is wrong with all
				alarms = append(alarms, text)
			}
		}
	}
	printAlarms(w, alarms)
}

// confirmed tells how many of the version's live instances act on the revision.
func confirmed(r api.RouteStatus, version string, state protocol.VersionState) string {
	have, alive := 0, 0
	for _, i := range r.Instances {
		if i.Version != version || !i.Alive() {
			continue
		}
		alive++
		if i.Revision >= r.Revision && i.State == state {
			have++
		}
	}
	return fmt.Sprintf("%d of %d", have, alive)
}

// recount is how often a watch looks who has confirmed.
const recount = 100 * time.Millisecond

// watchRoutes tells each revision of each route as it is written, and then how many of
// the instances that are alive have confirmed it.
func watchRoutes(ctx context.Context, c *command) error {
	if c.output == "json" || c.output == "yaml" {
		return &failure{code: codeMisused, exit: exitMisused, message: "routes --watch has no end, so its answer is no " + c.output + " document",
			hint: "use -o jsonl: one line for each change"}
	}
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	if _, err := api.NewClient(r.Conn()).Routes(ctx); err != nil {
		return err // nobody writes routes here
	}
	g, err := gate.Open(ctx, gate.Config{Conn: r.Conn()})
	if err != nil {
		return err
	}
	return tellRoutes(ctx, c, g)
}

func tellRoutes(ctx context.Context, c *command, g *gate.Gate) error {
	routes := make(chan gate.Route)
	watching, ctx := errgroup.WithContext(ctx)
	watching.Go(func() error { return g.Run(ctx) })
	watching.Go(func() error {
		return g.Follow(ctx, func(r gate.Route) error {
			select {
			case routes <- r:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
	})
	watching.Go(func() error { return tellEach(ctx, c, g, routes) })
	if err := watching.Wait(); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

func tellEach(ctx context.Context, c *command, g *gate.Gate, routes <-chan gate.Route) error {
	newest := make(map[string]api.RouteStatus)
	complete := time.Now().Add(2 * protocol.ConfirmEvery) // by then whoever confirms has been heard
	tick := time.NewTicker(recount)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case r := <-routes:
			newest[r.Service] = api.RouteStatus{Route: r, Instances: []gate.Instance{}}
			if err := tellRoute(c, newest[r.Service], ""); err != nil {
				return err
			}
		case <-tick.C:
			if err := tellCounts(ctx, c, g, newest, time.Now().After(complete)); err != nil {
				return err
			}
		}
	}
}

// tellCounts tells of the services whose instances have come, gone or confirmed. At the
// beginning it waits until it has heard of each.
func tellCounts(ctx context.Context, c *command, g *gate.Gate, newest map[string]api.RouteStatus, complete bool) error {
	for service, before := range newest {
		instances, err := g.Instances(ctx, service)
		if err != nil {
			return err
		}
		if !complete && slices.ContainsFunc(instances, func(i gate.Instance) bool { return i.Seen.IsZero() }) {
			continue
		}
		now := api.RouteStatus{Route: before.Route, Instances: instances}
		newest[service] = now
		if slices.EqualFunc(before.Instances, instances, sameInstance) {
			continue
		}
		have := 0
		for _, i := range instances {
			if i.Revision >= now.Revision {
				have++
			}
		}
		if err := tellRoute(c, now, fmt.Sprintf("confirmed by %d of %d instances", have, len(instances))); err != nil {
			return err
		}
	}
	return nil
}

func sameInstance(a, b gate.Instance) bool {
	a.Seen, b.Seen = time.Time{}, time.Time{}
	if !a.Alive() && !b.Alive() { // for how long is no change
		a.Unleased, b.Unleased = 0, 0
	}
	return a == b
}

// tellRoute tells a revision, or who has confirmed it.
func tellRoute(c *command, r api.RouteStatus, count string) error {
	if c.output == "jsonl" {
		return json.NewEncoder(c.Out).Encode(r)
	}
	text := r.Route.String()
	if count != "" {
		text = count
	}
	_, err := fmt.Fprintf(c.Out, "%s  %s revision %d: %s\n", time.Now().Format("15:04:05.000"), r.Service, r.Revision, text)
	return err
}
