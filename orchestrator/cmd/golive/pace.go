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
	"github.com/golive-dev/golive/relay/protocol"
)

func paceCommand(c *command) *cobra.Command {
	q := api.PaceRequest{}
	rate := 0.0
	cmd := &cobra.Command{
		Use:   "pace ROLLOUT [STEP] [--rate N] [--in-flight N]",
		Short: "Have a script work faster, or slower",
		Long: `pace tells the script of a step how fast it may work: so many records a second,
of all its instances together, and so many batches at the same time in each. It
holds for the step's later attempts, too. STEP may be left out while a single
script runs.`,
		Example: `  golive pace 0199c6d2-1a2b todo-search/online --rate 500
  golive pace 0199c6d2-1a2b --rate 0 --reason "the night has come"
  golive pace 0199c6d2-1a2b --in-flight 4`,
		Args: arguments(1, 2, "the id of a rollout, or its beginning, and at most one step"),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed
			switch {
			case !given("rate") && !given("in-flight"):
				return misused(cmd, "golive pace needs --rate or --in-flight")
			case !(rate >= 0 && rate <= 1e12):
				return misused(cmd, "--rate must be records a second, or 0 for no limit")
			case given("in-flight") && (q.InFlight < 1 || q.InFlight > rollout.MaxInFlight):
				return misused(cmd, fmt.Sprintf("--in-flight must be from 1 to %d", rollout.MaxInFlight))
			}
			if given("rate") {
				q.Rate = &rate
			}
			q.Rollout, q.Step, q.By = args[0], strings.Join(args[1:], ""), me()
			return runPace(cmd.Context(), c, q)
		},
	}
	cmd.Flags().Float64Var(&rate, "rate", 0, "records a second; 0 lifts the limit")
	cmd.Flags().IntVar(&q.InFlight, "in-flight", 0, "batches under way at the same time, in each instance")
	cmd.Flags().StringVar(&q.Reason, "reason", "", reasonUsage)
	return cmd
}

func runPace(ctx context.Context, c *command, q api.PaceRequest) error {
	v, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.RolloutView, error) {
		if q.Step == "" {
			found, err := client.Show(ctx, api.RolloutRequest{Rollout: q.Rollout})
			if err == nil {
				q.Step, err = onlyScript(found.State)
			}
			if err != nil {
				return api.RolloutView{}, err
			}
		}
		return client.Pace(ctx, q)
	})
	if err != nil {
		return err
	}
	return c.print(v, func(w io.Writer) {
		pace := &protocol.Pace{Rate: q.Rate, InFlight: q.InFlight}
		if step, known := v.Step(q.Step); known && step.Script.Pace != nil {
			pace = step.Script.Pace
		}
		fmt.Fprintf(w, "step %s of rollout %s %s\n", q.Step, v.ID, report.TellPace(pace))
	})
}

// onlyScript is the step whose script runs, if there is one and no other.
func onlyScript(s rollout.State) (string, error) {
	var all []string
	for _, step := range s.Running() {
		if step.Kind == rollout.Migration {
			all = append(all, step.ID)
		}
	}
	switch {
	case len(all) == 1:
		return all[0], nil
	case s.Status.Final():
		return "", &failure{code: api.CodeConflict, exit: exitFailed, message: fmt.Sprintf("rollout %s is %s: none of its scripts runs any more", s.ID, s.Status),
			hint: "golive show " + s.ID + " tells how it ended"}
	case len(all) == 0:
		return "", &failure{code: api.CodeConflict, exit: exitFailed, message: fmt.Sprintf("no script of rollout %s runs", s.ID),
			hint: "name the step whose script shall have the pace when it runs: golive show " + s.ID + " lists them"}
	}
	return "", &failure{code: api.CodeAmbiguous, exit: exitFailed,
		message: fmt.Sprintf("several scripts of rollout %s run: %s", s.ID, strings.Join(all, ", ")),
		hint:    "name the step: golive pace " + s.ID + " " + all[0]}
}
