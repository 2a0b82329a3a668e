package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

type planOptions struct {
	allowOlder bool
	out        string
	phase      string
	commit     string
	deploy     []string // flags to deploy the plan with
}

func planCommand(c *command) *cobra.Command {
	var o planOptions
	cmd := &cobra.Command{
		Use:   "plan [DIR]",
		Short: "What deploy would do and why, step by step; changes nothing",
		Long: `plan asks the orchestrators of an environment what a deploy of the release whose
manifest, golive.yaml, is in DIR (default: this folder) would do there: which
steps, in which order, which are skipped because they have run, and how long
each took last time. It changes nothing.

The exit code is 0 when there is nothing to do, 3 when there is, 5 when somebody
has to approve it, and 1 when it could not be done now; the reasons are told.

A plan has an id. golive deploy --plan ID is refused if by then the plan would
be another one. With --out the plan is kept in a file; golive deploy --plan FILE
then tells also what has changed.`,
		Example: `  golive plan
  golive plan examples/todo -o json
  golive plan --phase before
  golive plan --out plan.json
  golive deploy --plan plan.json`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, name := range []string{"nats", "creds", "context", "env"} {
				if flag := cmd.Flags().Lookup(name); flag.Changed {
					o.deploy = append(o.deploy, "--"+name, flag.Value.String())
				}
			}
			if o.commit != "" {
				o.deploy = append(o.deploy, "--commit", o.commit)
			}
			if o.phase != "" {
				o.deploy = append(o.deploy, "--phase", o.phase)
			}
			if o.allowOlder {
				o.deploy = append(o.deploy, "--allow-older")
			}
			return runPlan(cmd.Context(), c, args, o)
		},
	}
	cmd.Flags().BoolVar(&o.allowOlder, "allow-older", false, "plan for a version that is older than what has run here")
	cmd.Flags().StringVar(&o.phase, "phase", "", "plan to the end of this phase: before, offline, online or setup")
	cmd.Flags().StringVar(&o.commit, "commit", "", commitUsage)
	cmd.Flags().StringVar(&o.out, "out", "", "a file to keep the plan in, in JSON")
	return cmd
}

func runPlan(ctx context.Context, c *command, args []string, o planOptions) error {
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	m, r, err := taking{c}.take(ctx, dir, o.commit)
	if err != nil {
		return err
	}
	bus, err := c.reachFor(ctx, dir, m)
	if err != nil {
		return err
	}
	p, err := askBy(ctx, c, bus, func(ctx context.Context, client *api.Client) (api.PlanView, error) {
		return client.Plan(ctx, api.PlanRequest{Release: r, AllowOlder: o.allowOlder, Phase: protocol.Phase(o.phase)})
	})
	if err != nil {
		return err
	}
	tellElsewhere(ctx, c, m, &p)
	if err := keepPlan(c, p, o.out); err != nil {
		return err
	}
	err = c.print(p, func(w io.Writer) {
		printPlan(w, p)
		if p.Pending && len(p.Problems) == 0 {
			held := cmp.Or(o.out, p.ID[:rollout.ShortPlan])
			printApprovals(w, p)
			fmt.Fprintf(w, "To do exactly this: %s\n", shellLine(slices.Concat([]string{"golive", "deploy"}, args, []string{"--plan", held}, o.deploy)))
		}
	})
	if err != nil {
		return err
	}
	return verdict(c, p)
}

// verdict is how plan ends: with what there is to do, and what keeps it from being done.
func verdict(c *command, p api.PlanView) error {
	switch {
	case len(p.Problems) > 0:
		return reportProblems(c, p)
	case p.Approval && p.Pending:
		return &failure{code: codePerson, exit: exitPerson, message: "somebody has to approve it", told: true}
	case p.Pending:
		return &failure{code: "pending", exit: exitPending, message: "there is something to do", told: true}
	}
	return nil
}

// keepPlan writes the plan to a file, if one is named.
func keepPlan(c *command, p api.PlanView, file string) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(p, "", "  ")
	if err == nil {
		err = os.WriteFile(c.absolute(file), append(data, '\n'), 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep the plan: %w", err)
	}
	return nil
}

// reportProblems tells why a plan cannot run. For programs they are part of the answer.
func reportProblems(c *command, p api.PlanView) error {
	if c.output == "table" {
		for _, problem := range p.Problems {
			c.report(explain(problem))
		}
	}
	return &failure{code: codeFailed, exit: exitFailed, message: "the plan cannot run now", told: true}
}

// heldTo is the id of the plan that a deploy is held to and, where it was kept in a file,
// what it depends on.
func heldTo(ctx context.Context, c *command, plan string) (string, *rollout.Basis, error) {
	if plan == "" || rollout.IsPlanID(plan) {
		return plan, nil, nil
	}
	data, err := readFile(ctx, c.absolute(plan))
	if errors.Is(err, os.ErrNotExist) {
		return "", nil, &failure{code: codeMisused, exit: exitMisused, hint: "golive plan tells the id, golive plan --out FILE keeps the plan",
			message: fmt.Sprintf("plan %q is neither a file nor an id, which has %d to %d digits from 0 to f", plan, rollout.ShortPlan, rollout.LongPlan)}
	}
	if err != nil {
		return "", nil, fmt.Errorf("read the plan: %w", err)
	}
	var p api.PlanView
	if err := json.Unmarshal(data, &p); err != nil || !rollout.IsPlanID(p.ID) {
		return "", nil, &failure{code: codeMisused, exit: exitMisused, message: plan + " holds no plan", hint: "golive plan --out FILE keeps one"}
	}
	return p.ID, &p.DependsOn, nil
}

// readFile reads a file, or what a pipe of that name holds and gets, until ctx ends.
func readFile(ctx context.Context, path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe that nobody writes to is empty
	if err != nil {
		return nil, err
	}
	defer f.Close()
	defer context.AfterFunc(ctx, func() { _ = f.SetReadDeadline(time.Now()) })() // a plain file needs none
	data, err := io.ReadAll(f)
	return data, cmp.Or(ctx.Err(), err)
}

// tellPlanChanged shows the plan as it is now, when a deploy was refused because it was
// held to another one of which only the id is known.
func tellPlanChanged(ctx context.Context, c *command, client *api.Client, q api.DeployRequest, refusal error) {
	var refused *protocol.ServiceError
	if c.output != "table" || q.DependsOn != nil || !errors.As(refusal, &refused) || refused.Code != api.CodePlanChanged {
		return
	}
	p, err := client.Plan(ctx, api.PlanRequest{Release: q.Release, AllowOlder: q.AllowOlder, Phase: q.Phase})
	if err == nil { // else the refusal says enough
		printPlan(c.Err, p)
	}
}

func printPlan(w io.Writer, p api.PlanView) {
	todo := 0
	for _, s := range p.Steps {
		if s.Skipped == "" && !s.Unchanged && !s.Later {
			todo++
		}
	}
	fmt.Fprintf(w, "plan %s: %s %s, strategy %s, %d of %s to do\n\n", p.ID[:rollout.ShortPlan], p.App, p.Version, p.Strategy, todo, terminal.Plural(len(p.Steps), "step"))
	printWaves(w, p)
	printSkipped(w, p)
	if p.Source != nil {
		fmt.Fprintf(w, "source: %s\n", terminal.Flat(report.TellSource(*p.Source)))
	}
	if p.GoesOn != "" {
		fmt.Fprintf(w, "goes on: with rollout %s, which was to run to the end of a phase\n", p.GoesOn)
	}
	if slices.ContainsFunc(p.Steps, func(s api.PlanStep) bool { return s.Later }) {
		fmt.Fprintf(w, "stops: at the end of phase %s\n", p.Phase)
	}
	if p.Before != nil {
		fmt.Fprintf(w, "changed: %s\n", report.TellLiveBefore(p.App, p.Version, *p.Before))
	}
	for _, id := range p.GivesWay {
		fmt.Fprintf(w, "gives way: rollout %s, which has failed\n", id)
	}
	fmt.Fprintf(w, "downtime: %s\n", report.TellPlannedDowntime(p.Downtime))
	if p.Rehearsed != nil {
		fmt.Fprintf(w, "rehearsed: %s\n", report.TellRehearsal(*p.Rehearsed))
	}
	for _, stream := range p.NoData {
		fmt.Fprintf(w, "no snapshot: stream %s, in which the release says that data is, is not there\n", stream)
	}
	if !p.Pending {
		fmt.Fprintf(w, "There is nothing to do: %s %s is live.\n", p.App, p.Version)
	}
}

// printWaves prints the steps that are not skipped. Those of one wave run side by side.
func printWaves(w io.Writer, p api.PlanView) {
	steps := slices.DeleteFunc(slices.Clone(p.Steps), func(s api.PlanStep) bool { return s.Wave == 0 })
	slices.SortStableFunc(steps, func(a, b api.PlanStep) int { return a.Wave - b.Wave })
	if len(steps) == 0 {
		return
	}
	var rows [][]string
	for i, s := range steps {
		wave := ""
		if i == 0 || steps[i-1].Wave != s.Wave {
			wave = fmt.Sprint(s.Wave)
		}
		last := "-"
		if s.Last != nil {
			last = report.TellLast(*s.Last)
		}
		rows = append(rows, []string{wave, "│ " + s.ID, report.TellPlanned(s), last, report.TellWaits(p, s)})
	}
	terminal.Columns(w, []string{"WAVE", "│ STEP", "DOES", "LAST TOOK", "WAITS FOR"}, rows)
	fmt.Fprintln(w)
}

// printApprovals tells how what has to be approved can be, once the rollout comes to it.
func printApprovals(w io.Writer, p api.PlanView) {
	for _, s := range p.Steps {
		if s.Kind == rollout.Approving && s.Skipped == "" && !s.Later {
			fmt.Fprintf(w, "Somebody has to answer the step %s: golive approve %s %s, once the rollout comes to it\n", s.ID, cmp.Or(p.GoesOn, "ROLLOUT"), s.ID)
		}
	}
}

func printSkipped(w io.Writer, p api.PlanView) {
	var rows [][]string
	for _, s := range p.Steps {
		if s.Skipped == "" {
			continue
		}
		lasted, when, in := "-", "-", "-"
		if s.Last != nil {
			lasted = terminal.Took(time.Duration(s.Last.Duration))
		}
		if s.Kind != rollout.Migration { // of which the ledger knows nothing
			if s.Last != nil {
				when, in = terminal.Ago(s.Last.At), s.Last.Rollout
			}
			rows = append(rows, []string{s.ID, s.Version, when, lasted, in})
			continue
		}
		for _, r := range p.DependsOn.Ran {
			if r.Name == s.Name && r.Version == s.Version && r.Phase == s.Phase {
				when, in = terminal.Ago(r.At), r.Rollout
			}
		}
		rows = append(rows, []string{s.ID, s.Version, when, lasted, in})
	}
	if len(rows) > 0 {
		terminal.Columns(w, []string{"SKIPPED", "VERSION", "HAS RUN", "TOOK", "IN ROLLOUT"}, rows)
		fmt.Fprintln(w)
	}
}
