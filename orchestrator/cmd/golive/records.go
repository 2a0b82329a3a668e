package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	recordsInTable = 100  // that a table has; the other forms have all
	recordsAsked   = 1000 // at a time
	clipRecord     = 60   // columns
)

// failedRecords lists the records that the scripts of a rollout have put aside.
func failedRecords(ctx context.Context, c *command, q api.RecordsRequest) error {
	switch c.output {
	case "jsonl":
		return eachRecord(ctx, c, q, func(r protocol.FailedRecord) error { return c.print(r, nil) })
	case "json", "yaml":
		all := []protocol.FailedRecord{}
		err := eachRecord(ctx, c, q, func(r protocol.FailedRecord) error {
			all = append(all, r)
			return nil
		})
		if err != nil {
			return err
		}
		return c.print(all, nil)
	}
	q.Limit = recordsInTable
	page, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.RecordsPage, error) {
		return client.Records(ctx, q)
	})
	if err != nil {
		return err
	}
	return c.print(page, func(w io.Writer) { printRecords(w, q, page) })
}

// eachRecord calls f with every record that is put aside, page by page.
func eachRecord(ctx context.Context, c *command, q api.RecordsRequest, f func(protocol.FailedRecord) error) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	for q.Limit = recordsAsked; ; {
		page, err := client.Records(ctx, q)
		if err != nil {
			return err
		}
		for _, record := range page.Records {
			if err := f(record); err != nil {
				return err
			}
		}
		if q.After = page.Next; page.Next == "" {
			return nil
		}
	}
}

func printRecords(w io.Writer, q api.RecordsRequest, page api.RecordsPage) {
	if len(page.Records) == 0 {
		fmt.Fprintln(w, "No record is put aside.")
		return
	}
	header := []string{"STEP", "CURSOR", "TRIES", "PUT ASIDE", "ERROR", "RECORD"}
	parted := slices.ContainsFunc(page.Records, func(r protocol.FailedRecord) bool { return r.Partition != "" })
	if parted {
		header = slices.Insert(header, 1, "PARTITION")
	}
	var rows [][]string
	for _, r := range page.Records {
		row := []string{r.Step, terminal.Fit(r.Cursor, clipRecord), fmt.Sprint(r.Tries), terminal.Ago(r.At),
			terminal.Fit(r.Error, clipRecord), terminal.Fit(string(r.Record), clipRecord)}
		if parted {
			row = slices.Insert(row, 1, terminal.OrDash(terminal.Fit(r.Partition, clipRecord)))
		}
		rows = append(rows, row)
	}
	terminal.Columns(w, header, rows)
	also := ""
	if q.Step != "" {
		also = " --step " + q.Step
	}
	if page.Next != "" {
		fmt.Fprintf(w, "\nThere are more. All of them, in full: golive show %s --failed-records%s -o jsonl\n", q.Rollout, also)
	}
	fmt.Fprintf(w, "\nTo have them tried again: golive retry %s%s --failed-records\n", q.Rollout, space(q.Step))
}

// retryRecords has the records that are put aside tried again, and follows that to its end.
func retryRecords(ctx context.Context, c *command, q api.RetryRequest) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	begun, err := api.NewClient(r.Conn()).Retry(ctx, q)
	if err != nil {
		return c.withSetups(err)
	}
	f := c.follower(r)
	last, err := followUntil(ctx, f, begun, rollout.Completed)
	unwritten := reporting{c}.reported(ctx, api.NewClient(r.Conn()), last, f.last)
	if err != nil {
		return c.besides(err, unwritten)
	}
	if n := report.PutAside(last, q.Step); n > 0 {
		f := &failure{code: codeFailed, exit: exitFailed,
			message: fmt.Sprintf("%s still put aside", are(n, "record")),
			hint:    fmt.Sprintf("golive show %s --failed-records tells which and why", last.ID)}
		for _, step := range last.All() {
			if step.Script.Records && step.Error != nil {
				f.message += fmt.Sprintf("\nstep %s: %s", step.ID, step.Error)
			}
		}
		return c.besides(f, unwritten)
	}
	if c.output == "jsonl" {
		return unwritten
	}
	return cmp.Or(unwritten, c.print(last, func(w io.Writer) {
		fmt.Fprintf(w, "no record of rollout %s is put aside any more\n", last.ID)
	}))
}

// are is a number of things with its verb.
func are(n int64, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return fmt.Sprintf("%d %ss are", n, what)
}
