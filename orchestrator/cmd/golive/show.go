package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

func showCommand(c *command) *cobra.Command {
	var records bool
	var step, hosts string
	cmd := &cobra.Command{
		Use:   "show ROLLOUT",
		Short: "One rollout in full: its steps and all that has happened to it",
		Long: `show tells one rollout in full: its steps, how far those are that run, and all
that has happened to it. With --failed-records it lists the records that its
scripts could not deal with and have put aside: the first 100 in a table, all of
them and in full with -o json, yaml or jsonl. With --hosts it tells what agents
have done for a command or check, and the end of what each has written.`,
		Example: `  golive show 0199c6d2-1a2b
  golive show 0199c6d2-1a2b -o yaml
  golive show 0199c6d2-1a2b --hosts smoke-test
  golive show 0199c6d2-1a2b --failed-records
  golive show 0199c6d2-1a2b --failed-records -o jsonl > records.jsonl`,
		Args: arguments(1, 1, "the id of a rollout, or its beginning"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case records && hosts != "":
				return misused(cmd, "--failed-records and --hosts exclude each other")
			case hosts != "":
				return showHosts(cmd.Context(), c, api.HostsRequest{Rollout: args[0], Step: hosts})
			case records:
				return failedRecords(cmd.Context(), c, api.RecordsRequest{Rollout: args[0], Step: step})
			case step != "":
				return misused(cmd, "--step is for --failed-records")
			}
			return runShow(cmd.Context(), c, args[0])
		},
	}
	cmd.Flags().BoolVar(&records, "failed-records", false, "list the records that were put aside")
	cmd.Flags().StringVar(&hosts, "hosts", "", "what agents have done for this command or check")
	cmd.Flags().StringVar(&step, "step", "", "with --failed-records: of this step alone")
	return cmd
}

func runShow(ctx context.Context, c *command, id string) error {
	r, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.RolloutStory, error) {
		return client.Show(ctx, api.RolloutRequest{Rollout: id})
	})
	if err != nil {
		return err
	}
	return c.print(r, func(w io.Writer) {
		if r.Mark != nil {
			fmt.Fprintf(w, "%s\nno rollout: the script %s of %s was recorded as run %s%s\n", r.ID, r.Mark.Script(), r.Release.App, terminal.Ago(r.Created), report.Because(r.Event))
			return
		}
		fmt.Fprintf(w, "rollout %s\n%s %s, %s, begun %s by %s, took %s\n\n",
			r.ID, r.Release.App, r.Release.Version, report.TellStatus(r.State), terminal.Ago(r.Created), terminal.OrDash(r.By), lasted(r.State))
		if s := r.Release.Source; s != nil {
			fmt.Fprintf(w, "source: %s\n\n", terminal.Flat(report.TellSource(*s)))
		}
		if taken, has := r.State.SnapshotTaken(); has {
			fmt.Fprintf(w, "snapshot: %s\n\n", terminal.Flat(report.TellTaken(taken)))
		}
		if text := report.TellRepeat(r.State); text != "" {
			fmt.Fprintf(w, "%s\n\n", text)
		}
		printSteps(w, r)
		printChecks(w, r)
		printVotes(w, r)
		printHosts(w, r)
		if text := report.TellPutAside(r.State); text != "" {
			fmt.Fprintf(w, "\n%s\n", text)
		}
		printOutages(w, r.RolloutView)
		for _, what := range r.Waits {
			fmt.Fprintf(w, "\nIt waits for %s.\n", terminal.Flat(what))
		}
		for _, what := range report.ToSay(r.State) {
			fmt.Fprintf(w, "%s\n", what)
		}
		fmt.Fprintln(w)
		if r.Earlier > 0 {
			fmt.Fprintf(w, "%d earlier events are left out\n", r.Earlier)
		}
		for _, e := range r.Events {
			fmt.Fprintf(w, "%s  %s\n", clock(e.At), terminal.OneLine(report.TellEvent(e)))
		}
	})
}

// printOutages tells what callers saw of maintenance.
func printOutages(w io.Writer, r api.RolloutView) {
	if len(r.Outages) == 0 {
		return
	}
	fmt.Fprintf(w, "\ndowntime %s\n", tellDowntime(r))
	for _, o := range r.Outages {
		to, lasted := "now", terminal.Now().Sub(o.From)
		if !o.To.IsZero() {
			to, lasted = clock(o.To), o.To.Sub(o.From)
		}
		fmt.Fprintf(w, "  %s under maintenance from %s to %s, %s\n", o.Service, clock(o.From), to, terminal.Took(lasted))
	}
}

// clock writes a time to the millisecond, in UTC.
func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05.000") }

func printSteps(w io.Writer, r api.RolloutStory) {
	var rows [][]string
	for _, step := range r.All() {
		text := step.Skipped
		if step.Error != nil {
			text = report.WhyFailed(step)
		}
		items, duration := step.Script.Items, "-"
		if seen, runs := r.Observations[step.ID]; runs && step.Status == rollout.StepRunning {
			items = seen.Done
			p := report.Sighted(r.State, step, seen)
			text = p.Tell(terminal.Now())
		}
		if report.Asks(step) {
			text = report.TellMissing(r.State, step)
		}
		text = strings.Join(terminal.NonEmpty(text, step.Script.Note, onHosts(step), paceOf(step), asideOf(step)), ", ")
		if !step.Ended.IsZero() {
			duration = terminal.Took(step.Ended.Sub(step.Started))
		}
		rows = append(rows, []string{fmt.Sprint(step.Number), step.ID, step.Version, string(step.Status),
			fmt.Sprint(step.Attempt), duration, fmt.Sprint(items), terminal.OrDash(terminal.OneLine(text))})
	}
	terminal.Columns(w, []string{"#", "STEP", "VERSION", "STATUS", "ATTEMPT", "TOOK", "ITEMS", "REMARK"}, rows)
}

// onHosts is on how many hosts a command or check was done; empty for other steps.
func onHosts(step rollout.Step) string {
	if text := report.TellHosts(step.Hosts); text != "" {
		return "done on " + text
	}
	return ""
}

// printVotes tells who has said what to approvals, and what nobody has confirmed.
func printVotes(w io.Writer, r api.RolloutStory) {
	var rows [][]string
	for _, step := range r.All() {
		if a := step.Approval; a != nil && step.Attempt > 0 {
			rows = append(rows, votesOf(step)...)
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		terminal.Columns(w, []string{"APPROVAL", "BY", "HAS SAID", "WHEN", "REASON"}, rows)
	}
}

// votesOf are the rows of an approval: the items of its checklist, and then its answers.
func votesOf(step rollout.Step) [][]string {
	a := step.Approval
	row := func(v rollout.Vote, what string) []string {
		return []string{step.ID, terminal.OrDash(v.By), terminal.OneLine(what), terminal.Ago(v.At), terminal.OrDash(terminal.OneLine(v.Reason))}
	}
	var rows [][]string
	for i, item := range a.Checklist {
		v, said := rollout.Vote{}, "☐ not confirmed"
		if at := slices.IndexFunc(a.Confirmed, func(v rollout.Vote) bool { return v.Item == i+1 }); at >= 0 {
			v, said = a.Confirmed[at], "☑ confirmed"
		}
		rows = append(rows, row(v, fmt.Sprintf("%s %d: %s", said, i+1, item)))
	}
	for _, v := range a.Approved {
		rows = append(rows, row(v, "✓ approved"))
	}
	if a.Rejected != nil {
		rows = append(rows, row(*a.Rejected, "✗ rejected"))
	}
	return rows
}

// printChecks tells what the scripts have checked.
func printChecks(w io.Writer, r api.RolloutStory) {
	var rows [][]string
	for _, step := range r.All() {
		for _, c := range step.Script.Checks {
			result := "✓ holds"
			if !c.Holds {
				result = "✗ does not hold: " + c.Error
			}
			rows = append(rows, []string{step.ID, c.Name, terminal.OneLine(result)})
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		terminal.Columns(w, []string{"STEP", "CHECK", "RESULT"}, rows)
	}
}

// paceOf is the pace of a step that a person or the manifest has given; empty when it has none.
func paceOf(step rollout.Step) string {
	if step.Script.Pace == nil {
		return ""
	}
	return report.TellPace(step.Script.Pace)
}

// asideOf is how many records a step has put aside; empty when there are none.
func asideOf(step rollout.Step) string {
	if step.Script.PutAside == 0 || step.Status == rollout.StepRunning {
		return ""
	}
	return terminal.Grouped(step.Script.PutAside) + " put aside"
}
