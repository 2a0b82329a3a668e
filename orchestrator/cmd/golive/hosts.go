package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// printHosts tells what agents have done, by step.
func printHosts(w io.Writer, r api.RolloutStory) {
	var rows [][]string
	for _, step := range r.All() {
		for _, h := range step.Hosts {
			rows = append(rows, append([]string{step.ID}, rowOf(h)...))
		}
	}
	if len(rows) > 0 {
		fmt.Fprintln(w)
		terminal.Columns(w, []string{"STEP", "HOST", "STATUS", "EXIT", "TOOK", "REMARK"}, rows)
		fmt.Fprintf(w, "What they wrote: golive show %s --hosts %s\n", r.ID, rows[0][0])
	}
}

func rowOf(h protocol.Host) []string {
	exit, lasted := "-", "-"
	if h.Exit != nil {
		exit = fmt.Sprint(*h.Exit)
	}
	switch {
	case h.Started.IsZero():
	case h.Ended.IsZero():
		lasted = terminal.Took(terminal.Now().Sub(h.Started))
	default:
		lasted = terminal.Took(h.Ended.Sub(h.Started))
	}
	return []string{h.Name, string(h.Status), exit, lasted, terminal.OrDash(terminal.OneLine(strings.Join(terminal.NonEmpty(h.Error, h.Note), ", ")))}
}

// showHosts prints what agents have done for a step, and the end of what they wrote.
func showHosts(ctx context.Context, c *command, q api.HostsRequest) error {
	hosts, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) ([]protocol.Host, error) {
		return client.Hosts(ctx, q)
	})
	if err != nil {
		return err
	}
	if hosts == nil {
		hosts = []protocol.Host{}
	}
	return c.print(hosts, func(w io.Writer) { printResults(w, q.Step, hosts) })
}

// printResults prints what came of each host, and what it has written.
func printResults(w io.Writer, step string, hosts []protocol.Host) {
	if len(hosts) == 0 {
		fmt.Fprintf(w, "No agent has begun %s yet.\n", step)
		return
	}
	var rows [][]string
	for _, h := range hosts {
		rows = append(rows, rowOf(h))
	}
	terminal.Columns(w, []string{"HOST", "STATUS", "EXIT", "TOOK", "REMARK"}, rows)
	for _, h := range hosts {
		printOutput(w, h)
	}
}

// printOutput prints the end of what a host has written, as it has, but for what would move
// the cursor.
func printOutput(w io.Writer, h protocol.Host) {
	if h.Output == "" {
		return
	}
	fmt.Fprintf(w, "\n%s:\n", h.Name)
	if h.Cut {
		fmt.Fprintln(w, "  …")
	}
	for line := range strings.Lines(h.Output) {
		fmt.Fprintf(w, "  %s\n", terminal.Bare(line))
	}
}
