package report

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// Markdown is the report as a page for people, in GitHub's Markdown. Whatever scripts, programs
// and people have written stands in it as code, see [terminal.Markdown].
func (r Report) Markdown() string {
	var p page
	what := "Rollout"
	if r.Restore != nil {
		what = "Restore"
	}
	p.line("# %s of %s %s: %s", what, terminal.Markdown(r.App), terminal.Markdown(r.Version), status(string(r.Status)))
	p.table("", []string{"", ""}, r.facts())
	p.table("Plan, and what came of it", []string{"#", "Step", "Does", "Wave", "Status", "Order", "Began", "Took", "Before", "Attempts", "Records", "Remark"}, r.stepRows())
	p.table("Otherwise than planned", []string{"Step", "What", "Detail"}, rowsOf(r.Deviations, func(d Deviation) []string {
		return []string{text(d.Step), text(d.What), text(d.Detail)}
	}))
	p.table("What was asked for", []string{"When", "Who", "What", "Why"}, rowsOf(r.Asked, func(s Intervention) []string {
		return []string{at(s.At), text(s.By), text(s.What), text(s.Reason)}
	}))
	p.table("Approvals", []string{"Step", "What", "Who", "When", "Why"}, r.approvalRows())
	p.table("Checks", []string{"Step", "Check", "Result", "Error"}, rowsOf(r.Checks, func(c Check) []string {
		result := "✓ holds"
		if !c.Holds {
			result = "✗ does not hold"
		}
		return []string{text(c.Step), text(c.Name), result, text(c.Error)}
	}))
	p.table("Hosts", []string{"Step", "Host", "Status", "Attempt", "Took", "Exit code", "Remark"}, rowsOf(r.Hosts, Host.row))
	p.table("Downtime", []string{"Service", "From", "To", "Lasted"}, rowsOf(r.Outages, r.outageRow))
	p.table("Digests", []string{"Part", "Version", "Digest"}, rowsOf(r.digests(), func(d Digest) []string {
		return []string{text(d.Part), text(d.Version), text(d.Digest)}
	}))
	p.table("What happened", []string{"When", "What"}, rowsOf(r.Events, func(e Event) []string {
		return []string{at(e.At), text(e.What)}
	}))
	return p.String()
}

// digests are those of the release, and of the data that was put back.
func (r Report) digests() []Digest {
	if r.Restore == nil {
		return r.Digests
	}
	return append(slices.Clone(r.Digests), r.Restore.Digests...)
}

// page is a page that is being written.
type page struct{ strings.Builder }

func (p *page) line(format string, args ...any) { fmt.Fprintf(p, format+"\n", args...) }

// table writes rows below a title; nothing where there are none.
func (p *page) table(title string, header []string, rows [][]string) {
	if len(rows) == 0 {
		return
	}
	p.line("")
	if title != "" {
		p.line("## %s\n", title)
	}
	p.line("| %s |", strings.Join(header, " | "))
	p.line("|%s", strings.Repeat("---|", len(header)))
	for _, row := range rows {
		p.line("| %s |", strings.Join(row, " | "))
	}
}

func rowsOf[T any](list []T, row func(T) []string) [][]string {
	rows := make([][]string, len(list))
	for i, one := range list {
		rows[i] = row(one)
	}
	return rows
}

// text is a cell with what may be anybody's text.
func text(t string) string { return terminal.Markdown(t) }

// status is one of the words that golive has for a status; anything else is text.
func status(w string) string {
	if w == "" || strings.Trim(w, "abcdefghijklmnopqrstuvwxyz") != "" {
		return text(w)
	}
	return w
}

// at is a cell with a time.
func at(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05.000Z")
}

// took is a cell with a duration.
func took(d rollout.Duration) string {
	if d == 0 {
		return "-"
	}
	return terminal.Took(time.Duration(d))
}

// number is a cell with a number, a dash for none.
func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return terminal.Grouped(n)
}

// facts are what is told of the rollout as a whole.
func (r Report) facts() [][]string {
	rows := [][]string{{"Outcome", text(r.Outcome)}, {"Rollout", text(r.Rollout)}}
	add := func(name, value string) {
		if value != "-" {
			rows = append(rows, []string{name, value})
		}
	}
	add("Environment", text(r.Environment))
	add("Strategy", text(string(r.Strategy)))
	add("Asked for by", text(r.By))
	add("Why", text(r.Reason))
	add("Begun", at(r.Begun))
	add("Ended", at(r.Ended))
	add("Took", took(r.Took))
	if r.Source != nil {
		add("Source", text(TellSource(*r.Source)))
		add("Commit", text(r.Source.Commit))
	} else {
		add("Source", "not known")
	}
	if r.Restore != nil {
		add("Put back", text(r.Restore.Snapshot))
		add("As right before", text(r.Restore.Of))
		add("Version before", text(r.Restore.From))
		add("Messages put back", number(int64(r.Restore.Messages)))
	}
	if r.Snapshot != nil {
		add("Snapshot", text(r.Snapshot.ID))
	}
	if r.Downtime > 0 {
		add("Downtime", took(r.Downtime))
	} else {
		add("Downtime", "none")
	}
	add("Records", number(r.Records))
	add("Records put aside", number(r.PutAside))
	add("Last event", fmt.Sprintf("%d, %s", r.Sequence, at(r.At)))
	return rows
}

// stepRows are the rows of the steps.
func (r Report) stepRows() [][]string {
	return rowsOf(r.Steps, func(s Step) []string {
		wave, order, before := number(int64(s.Wave)), "-", "-"
		if s.Order > 0 {
			order = fmt.Sprint(s.Order)
		}
		if s.Expected != nil {
			before = took(s.Expected.Took)
		}
		remark := strings.Join(terminal.NonEmpty(s.Skipped, s.Error, s.Note, aside(s.PutAside)), ", ")
		return []string{
			fmt.Sprint(s.Number), text(s.ID), text(s.Does), wave, status(string(s.Status)), order, at(s.Begun), took(s.Took), before,
			number(int64(s.Attempt)), number(s.Records), text(remark),
		}
	})
}

// aside is how many records were put aside; empty for none.
func aside(n int64) string {
	if n == 0 {
		return ""
	}
	return terminal.Grouped(n) + " put aside"
}

// approvalRows are the rows of the approvals: the question, the items of its checklist, and what
// was said.
func (r Report) approvalRows() [][]string {
	var rows [][]string
	for _, a := range r.Approvals {
		row := func(v rollout.Vote, what string) {
			rows = append(rows, []string{text(a.Step), what, text(v.By), at(v.At), text(v.Reason)})
		}
		row(rollout.Vote{}, "asked: "+text(a.Question))
		for _, item := range a.Items {
			if item.Confirmed == nil {
				row(rollout.Vote{}, "☐ not confirmed: "+text(item.Text))
				continue
			}
			row(*item.Confirmed, "☑ confirmed: "+text(item.Text))
		}
		for _, v := range a.Approved {
			row(v, "✓ approved")
		}
		if a.Rejected != nil {
			row(*a.Rejected, "✗ rejected")
		}
	}
	return rows
}

// row is the row of a host.
func (h Host) row() []string {
	exit := "-"
	if h.Exit != nil {
		exit = fmt.Sprint(*h.Exit)
	}
	remark := strings.Join(terminal.NonEmpty(h.Error, h.Note), ", ")
	return []string{text(h.Step), text(h.Host), status(h.Status), number(int64(h.Attempt)), took(h.Took), exit, text(remark)}
}

// outageRow is the row of a time in which a service was under maintenance.
func (r Report) outageRow(o rollout.Outage) []string {
	to, until := at(o.To), o.To
	if o.To.IsZero() {
		to, until = "it still is", r.At
	}
	return []string{text(o.Service), at(o.From), to, took(rollout.Duration(until.Sub(o.From)))}
}

// Name is what the files of the report are called, but for their ends .md and .json.
func (r Report) Name() string { return r.App + "-" + r.Version + "-" + r.Rollout }
