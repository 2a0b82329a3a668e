package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/source"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	reportPatience = 30 * time.Second // how long making a report may take
	expectedFrom   = 1000             // entries of the ledger that are looked at for how long scripts took before
)

func reportCommand(c *command) *cobra.Command {
	var commit bool
	cmd := &cobra.Command{
		Use:   "report ROLLOUT",
		Short: "The report of a rollout: what was planned, and what came of it",
		Long: `report tells a rollout as a page of Markdown: who asked for it, when and why,
from which commit it was taken, the plan and what came of each step, what went
otherwise, approvals, checks, hosts, downtime and all events. With -o json it is
for machines. It is made of the journal, and of the ledger before it, alone:
whoever makes it, whenever, gets the same bytes, until something more happens to
the rollout.

With --report DIR it is also written into that folder, as APP-VERSION-ROLLOUT.md
and .json. With --commit these two files, and nothing else, are committed to the
git repository that the folder is in: without hooks and without a signature, and
never pushed. The folder is then that of --report, or the manifest's.`,
		Example: `  golive report 0199c6d2-1a2b
  golive report 0199c6d2-1a2b -o json
  golive report 0199c6d2-1a2b --report reports --commit`,
		Args: arguments(1, 1, "the id of a rollout, or its beginning"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runReport(cmd.Context(), c, args[0], commit)
		},
	}
	c.reportFlag(cmd, "write the report into this folder, too")
	cmd.Flags().BoolVar(&commit, "commit", false, "commit the two files to git, and nothing else")
	return cmd
}

// reportUsage describes the flag of commands that follow a rollout to its end.
const reportUsage = "write a report of the rollout into this folder when it has ended"

// reportFlag adds the flag that names the folder of reports.
func (c *command) reportFlag(cmd *cobra.Command, usage string) {
	cmd.Flags().StringVar(&c.reports, "report", "", usage)
}

// reporting is a command that writes reports.
type reporting struct{ *command }

// reportFolder is where reports of an app's rollouts are written: where the flag says, else the
// manifest that was deployed or the one in this folder, if it is the app's; empty: nowhere.
func (c reporting) reportFolder(app string) string {
	if c.reports != "" {
		return c.absolute(c.reports)
	}
	if c.manifest == nil {
		if m, err := release.LoadFor(c.Dir, c.env); err == nil { // else it says nothing of reports
			c.manifest = m
		}
	}
	if m := c.manifest; m != nil && m.App == app && m.Reports != "" {
		return inFolder(m, m.Reports)
	}
	return ""
}

func runReport(ctx context.Context, c *command, id string, commit bool) error {
	r, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (report.Report, error) {
		return makeReport(ctx, client, id, 0)
	})
	if err != nil {
		return err
	}
	folder := ""
	if c.reports != "" || commit {
		folder = reporting{c}.reportFolder(r.App)
	}
	if commit && folder == "" {
		return &failure{code: codeMisused, exit: exitMisused, message: "--commit needs a folder for the files",
			hint: "name one with --report DIR, or by the key reports in the manifest, called in its folder"}
	}
	if folder != "" {
		files, err := reporting{c}.keepReport(r, folder)
		if err != nil {
			return err
		}
		if commit {
			if err := (reporting{c}).commitReport(ctx, r, folder, files); err != nil {
				return err
			}
		}
	}
	return c.print(r, func(w io.Writer) { fmt.Fprint(w, r.Markdown()) })
}

// makeReport makes the report of a rollout, with the event at the sequence least.
func makeReport(ctx context.Context, client *api.Client, id string, least uint64) (report.Report, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, reportPatience, fmt.Errorf("no orchestrator has told all of rollout %s for %s", id, reportPatience))
	defer cancel()
	p := report.NewReporter()
	first, app := uint64(0), ""
	err := client.Past(ctx, id, least, func(v api.RolloutView) error {
		if v.Mark != nil {
			return &failure{code: api.CodeConflict, exit: exitFailed, message: v.ID + " is no rollout: it records that " + v.Mark.Script().String() + " has run"}
		}
		if first == 0 {
			first, app = v.Sequence, v.Release.App
		}
		p.See(v)
		return nil
	})
	if err != nil {
		return report.Report{}, cause(ctx, err)
	}
	entries, err := client.Ledger(ctx, api.LedgerRequest{App: app, Before: first, Limit: expectedFrom})
	if err != nil {
		return report.Report{}, cause(ctx, err)
	}
	before := make(map[protocol.Script]report.Timing)
	for _, e := range entries { // the newest wins
		if !e.Marked && e.Duration > 0 {
			before[e.Script()] = report.Timing{Took: e.Duration, Rollout: e.Rollout}
		}
	}
	p.Expected = func(s protocol.Script) (report.Timing, bool) { t, known := before[s]; return t, known }
	return p.Report(), nil
}

// reported writes the report of a rollout that was followed to where it stands, if that is wanted,
// with the event at the sequence least. The error says that it could not.
func (c reporting) reported(ctx context.Context, client *api.Client, last rollout.State, least uint64) error {
	if last.ID == "" || !report.Stands(last) {
		return nil
	}
	folder := c.reportFolder(last.Release.App)
	if folder == "" {
		return nil
	}
	r, err := makeReport(ctx, client, last.ID, least)
	if err == nil {
		_, err = c.keepReport(r, folder)
	}
	if err == nil {
		return nil
	}
	return &failure{code: codeFailed, exit: exitFailed, message: fmt.Sprintf("rollout %s is %s, but its report was not written: %v", last.ID, last.Status, err),
		hint: fmt.Sprintf("golive report %s --report DIR writes it", last.ID)}
}

// keepReport writes a report into a folder, and tells where.
func (c reporting) keepReport(r report.Report, folder string) ([]string, error) {
	var data bytes.Buffer
	if err := terminal.Print(&data, "json", r, nil); err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	if name := r.Name(); !filepath.IsLocal(name) || filepath.Base(name) != name { // what the bus says is not trusted
		return nil, fmt.Errorf("write the report: %q cannot be the name of a file", name)
	}
	page, machine := filepath.Join(folder, r.Name()+".md"), filepath.Join(folder, r.Name()+".json")
	err := os.MkdirAll(folder, 0o755)
	if err == nil {
		err = errors.Join(writeWhole(machine, data.Bytes()), writeWhole(page, []byte(r.Markdown())))
	}
	if err != nil {
		return nil, fmt.Errorf("write the report: %w", err)
	}
	c.talk().Say(terminal.Plain, "*", "report: %s", terminal.Flat(c.short(page)))
	return []string{page, machine}, nil
}

// writeWhole writes a file so that whoever reads it finds all of it, or what was there before.
func writeWhole(path string, data []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".golive-report-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // it is not there any more when it was renamed
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// commitReport commits the files of a report, and nothing else.
func (c reporting) commitReport(ctx context.Context, r report.Report, folder string, files []string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, sourcePatience, fmt.Errorf("git has not answered for %s", sourcePatience))
	defer cancel()
	message := fmt.Sprintf("Report of %s %s: %s\n\nRollout %s\n", r.App, r.Version, r.Status, r.Rollout)
	id := ""
	repository, err := source.Open(ctx, folder)
	if err == nil {
		id, err = repository.Keep(ctx, message, files...)
	}
	switch {
	case err != nil:
		return &failure{code: codeSource, exit: exitFailed, message: "the report is written, and not committed: " + cause(ctx, err).Error(),
			hint: "commit it yourself: git add, git commit"}
	case id == "":
		c.talk().Say(terminal.Plain, "*", "it is committed already")
	default:
		c.talk().Say(terminal.Plain, "*", "committed: %s", id[:12])
	}
	return nil
}
