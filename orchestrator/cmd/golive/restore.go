package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func restoreCommand(c *command) *cobra.Command {
	var q api.RestoreRequest
	var plan bool
	cmd := &cobra.Command{
		Use:   "restore APP [ROLLOUT|SNAPSHOT]",
		Short: "Put data and traffic back as they were before a rollout",
		Long: `restore puts an app's data and traffic back as they were right before a rollout:
by default the last one that took a snapshot, else the one that is named, or as
in the snapshot that is named. What callers have stored since is gone from the
data, so restore asks for the name of the version that comes back. It takes a
snapshot of now before it changes any data, so that it can be undone itself by
another restore. While it works, the services of the app are under maintenance.
A restore that fails, or is aborted, puts data and traffic back as they were
when it began. Scripts that have run since count no more: a deploy of the newer
version runs them again.`,
		Example: `  golive restore todo-app --plan
  golive restore todo-app --reason "the new search has lost titles"
  golive restore todo-app 0199c6d2 --yes`,
		Args: arguments(1, 2, "an app, and at most one rollout or snapshot"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q.App, q.By = args[0], me()
			if len(args) > 1 {
				q.Target = args[1]
			}
			if plan {
				return planRestore(cmd.Context(), c, q)
			}
			return runRestore(cmd.Context(), c, q)
		},
	}
	c.reportFlag(cmd, reportUsage)
	cmd.Flags().StringVar(&q.Reason, "reason", "", reasonUsage)
	cmd.Flags().BoolVar(&plan, "plan", false, "tell what it would do, and how long that takes; change nothing")
	cmd.Flags().BoolVarP(&q.Force, "yes", "y", false, "do not ask, also where nobody of the version of then is there to answer")
	return cmd
}

func planRestore(ctx context.Context, c *command, q api.RestoreRequest) error {
	p, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.RestorePlan, error) {
		return client.PlanRestore(ctx, q)
	})
	if err != nil {
		return err
	}
	if err := c.print(p, func(w io.Writer) { printRestorePlan(w, p) }); err != nil {
		return err
	}
	if len(p.Problems) == 0 {
		return &failure{code: "pending", exit: exitPending, message: "there is something to do", told: true}
	}
	if c.output == "table" {
		for _, problem := range p.Problems {
			c.report(explain(problem))
		}
	}
	return &failure{code: codeFailed, exit: exitFailed, message: "the restore cannot begin now", told: true}
}

func printRestorePlan(w io.Writer, p api.RestorePlan) {
	fmt.Fprintf(w, "restore of %s: from %s to %s, %s, %s\n", p.App, terminal.OrDash(p.From), cmp.Or(p.Version, "no version"), report.AsOf(p), terminal.Ago(p.Taken))
	fmt.Fprintf(w, "puts back: %s, %s\n\n", terminal.Plural(int(p.Messages), "message"), terminal.Bytes(int64(p.Bytes)))
	var rows [][]string
	for _, s := range p.Steps {
		rows = append(rows, []string{fmt.Sprint(s.Number), s.ID, report.TellRestoreStep(s), lasts(s.Lasts, s.AtLeast)})
	}
	terminal.Columns(w, []string{"#", "STEP", "DOES", "TAKES"}, rows)
	fmt.Fprintln(w)
	if !p.OneCut {
		fmt.Fprintln(w, "not of one moment: services wrote while the snapshot was taken; golive snapshot show tells how much")
	}
	for _, script := range p.Void {
		fmt.Fprintf(w, "counts no more: %s, which has run since\n", terminal.Flat(script))
	}
	for _, stream := range p.Stays {
		fmt.Fprintf(w, "stays as it is: %s, of which the snapshot says nothing\n", stream)
	}
	about := "about"
	if p.AtLeast {
		about = "at least"
	}
	fmt.Fprintf(w, "takes: %s %s, of which %s under maintenance\n", about, terminal.Took(time.Duration(p.Lasts)), terminal.Took(time.Duration(p.Closed)))
	if p.AtLeast {
		fmt.Fprintln(w, "It is longer: no data of this app was put back here yet, and it is written slower than it was read.")
	}
}

// lasts is how long a step takes, a dash where that is next to nothing.
func lasts(d rollout.Duration, atLeast bool) string {
	switch {
	case d == 0:
		return "-"
	case atLeast:
		return "more than " + terminal.Took(time.Duration(d))
	}
	return terminal.Took(time.Duration(d))
}

func runRestore(ctx context.Context, c *command, q api.RestoreRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	q.Rollout = id.String()
	if !q.Force {
		if err := confirmRestore(ctx, c, client, &q); err != nil {
			return err
		}
	}
	begun, err := client.Restore(ctx, q)
	if err != nil {
		return err
	}
	return followTo(ctx, c, r, begun, rollout.Completed)
}

// confirmRestore asks the person at the terminal for the name of the version that comes back, and
// holds the request to the snapshot that was told of.
func confirmRestore(ctx context.Context, c *command, client *api.Client, q *api.RestoreRequest) error {
	p, err := client.PlanRestore(ctx, *q)
	if err != nil {
		return err
	}
	q.Target = p.Snapshot
	var dark []string
	for _, problem := range p.Problems {
		if problem.Code != api.CodeNotAlive {
			return problem
		}
		dark = append(dark, problem.Message+": they are waited for, under maintenance")
	}
	again := "golive restore " + q.App + " " + p.Snapshot + " --yes"
	if c.keys == nil {
		return &failure{code: codeMisused, exit: exitMisused, message: "restore asks before it changes anything, and nobody is here to answer", hint: "to do it without being asked: " + again}
	}
	printRestorePlan(c.Err, p)
	fmt.Fprintf(c.Err, "What was stored since %s is gone from the data then; another restore can bring it back.\n", p.Taken.UTC().Format(time.RFC3339))
	for _, text := range dark {
		fmt.Fprintln(c.Err, terminal.Flat(text))
	}
	name, question := p.Version, "Type the version that comes back, "+p.Version+", to go on: "
	if name == "" {
		name, question = p.App, "No version was live then, so none is afterwards. Type the name of the app, "+p.App+", to go on: "
	}
	answer, err := c.prompter().Ask(ctx, question)
	if err != nil && !errors.Is(err, io.EOF) {
		return cmp.Or(ctx.Err(), err)
	}
	if strings.TrimSpace(answer) != name {
		return &failure{code: codeFailed, exit: exitFailed, message: "not restored: nothing was changed", hint: "to do it without being asked: " + again}
	}
	q.Force = len(dark) > 0
	return nil
}
