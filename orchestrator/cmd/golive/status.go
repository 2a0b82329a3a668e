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

func statusCommand(c *command) *cobra.Command {
	var check, everywhere bool
	cmd := &cobra.Command{
		Use:   "status [APP]",
		Short: "What is online, what is rolling out, what has not run yet",
		Long: `status tells what is online of each app, how many instances of that are alive,
what is rolling out, and what has not run yet. Lines that are marked as alarms
say why production requests are not answered: nobody is alive of what is online,
instances hold requests because they cannot renew their leases, or the bus
stores nothing.`,
		Example: `  golive status
  golive status todo-app -o json
  golive status --check    exit code 1 at an alarm, 3 when something is left
  golive status --all      which version is in which environment`,
		Args: arguments(0, 1, "at most one app"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case everywhere && (check || len(args) > 0):
				return misused(cmd, "--all is about the app of this folder, and excludes an app's name and --check")
			case everywhere:
				return runStatusAll(cmd.Context(), c)
			}
			return runStatus(cmd.Context(), c, strings.Join(args, ""), check)
		},
	}
	cmd.Flags().BoolVar(&check, "check", false, "exit with 1 when there is an alarm, with 3 when a rollout is not completed or a version not online")
	cmd.Flags().BoolVar(&everywhere, "all", false, "which version of this folder's app is in which environment of its manifest")
	return cmd
}

func runStatus(ctx context.Context, c *command, app string, check bool) error {
	var clocks []string
	all, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) ([]api.AppStatus, error) {
		all, err := client.Status(ctx, api.AppRequest{App: app})
		if err == nil {
			clocks = clocksThatDiffer(ctx, client)
		}
		return all, err
	})
	if err != nil {
		return err
	}
	for _, line := range clocks {
		fmt.Fprintln(c.Err, line)
	}
	err = c.print(all, func(w io.Writer) {
		if len(all) == 0 {
			fmt.Fprintln(w, "No app has been rolled out here yet: golive deploy DIR")
		}
		for i, a := range all {
			if i > 0 {
				fmt.Fprintln(w)
			}
			printApp(w, a)
		}
	})
	if err == nil && check && slices.ContainsFunc(all, func(a api.AppStatus) bool { return len(a.Alarms) > 0 }) {
		return alarmed("status")
	}
	if err == nil && check && pending(all) {
		return &failure{code: "pending", exit: exitPending, message: "something is left to do", hint: "golive status tells what"}
	}
	return err
}

// alarmed is the failure of a command that was to check whether there is an alarm.
func alarmed(command string) error {
	return &failure{code: codeAlarm, exit: exitFailed, message: "there is an alarm: production requests are not answered, or will not be for long",
		hint: "golive " + command + " tells why"}
}

func pending(all []api.AppStatus) bool {
	for _, a := range all {
		if a.Rollout.Status != rollout.Completed {
			return true
		}
		for _, s := range a.Services {
			if len(s.NotRun) > 0 || !slices.Contains(s.Online, s.Version) {
				return true
			}
		}
	}
	return false
}

// printApp tells what is online of an app, and what is under way.
func printApp(w io.Writer, a api.AppStatus) {
	r := a.Rollout
	at := r.Created
	if !r.Ended.IsZero() {
		at = r.Ended
	}
	fmt.Fprintf(w, "%s %s: rollout %s %s %s\n", a.App, a.Version, r.ID, report.TellStatus(r.State), terminal.Ago(at))
	for _, step := range r.Running() {
		if report.Asks(step) { // for whom it waits is told below
			continue
		}
		seen := r.Observations[step.ID]
		text, p := "", report.Sighted(r.State, step, seen)
		if told := p.Tell(terminal.Now()); told != "" {
			text = ", " + told
		} else if step.Kind == rollout.Migration && seen.Beat.IsZero() && step.Deadline.IsZero() {
			text = ", waiting, no sign of life, no timeout"
		}
		fmt.Fprintf(w, "  running: %s since %s%s\n", step.ID, terminal.Ago(step.Started), text)
	}
	if r.Downtime > 0 {
		fmt.Fprintf(w, "  downtime: %s\n", tellDowntime(r))
	}
	for _, step := range r.FailedSteps() {
		fmt.Fprintf(w, "  failed: %s: %s\n", step.ID, report.WhyFailed(step))
	}
	if text := report.TellPutAside(r.State); text != "" && r.Status != rollout.Amending {
		fmt.Fprintf(w, "  %s\n", text)
	}
	for _, what := range r.Waits {
		fmt.Fprintf(w, "  waits for %s\n", terminal.Flat(what))
	}
	for _, what := range report.ToSay(r.State) {
		fmt.Fprintf(w, "  %s\n", what)
	}
	for _, q := range a.Queued {
		fmt.Fprintf(w, "  queued: rollout %s of %s%s, %s\n", q.ID, q.Release.Version, report.Asked(q.State), terminal.Ago(q.Created))
	}
	if a.Changed {
		fmt.Fprintf(w, "  changed: the setup script of %s is not the one that ran\n", a.Version)
	}
	printServices(w, a)
	printAlarms(w, a.Alarms)
}

func printAlarms(w io.Writer, alarms []string) {
	for _, text := range alarms {
		fmt.Fprintf(w, "  ✗ alarm: %s\n", terminal.Flat(text))
	}
}

// printServices tells of each service what is online, and what has not run.
func printServices(w io.Writer, a api.AppStatus) {
	header := []string{"  SERVICE", "VERSION", "ONLINE", "ALIVE", "NOT RUN"}
	changed := slices.ContainsFunc(a.Services, func(s api.ServiceStatus) bool { return len(s.Changed) > 0 })
	if changed {
		header = append(header, "CHANGED")
	}
	var rows [][]string
	for _, s := range a.Services {
		online := terminal.OrDash(strings.Join(s.Online, ", "))
		if s.Maintenance != nil {
			online += " (under maintenance)"
		}
		alive := fmt.Sprint(s.Alive)
		if s.Holding > 0 {
			alive += fmt.Sprintf(" of %d", s.Alive+s.Holding)
		}
		row := []string{"  " + s.Service, s.Version, online, alive, terminal.OrDash(strings.Join(s.NotRun, ", "))}
		if changed {
			row = append(row, terminal.OrDash(strings.Join(s.Changed, ", ")))
		}
		rows = append(rows, row)
	}
	terminal.Columns(w, header, rows)
}

// tellDowntime says how long the app was, or has been, under maintenance.
func tellDowntime(r api.RolloutView) string {
	text := terminal.Took(time.Duration(r.Downtime))
	if slices.ContainsFunc(r.Outages, func(o rollout.Outage) bool { return o.To.IsZero() }) {
		text += " so far, under maintenance"
	}
	return text
}
