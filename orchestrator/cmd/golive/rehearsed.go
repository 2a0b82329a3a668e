package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/protocol"
)

// Rehearsed is what came of a rehearsal.
type Rehearsed struct {
	App      string `json:"app"`
	Version  string `json:"version"`
	Digest   string `json:"digest"` // of the manifest
	Snapshot string `json:"snapshot"`
	Taken    bool   `json:"taken"` // for this rehearsal

	Cut *snapshot.Cut `json:"cut,omitempty"` // what of the snapshot was copied, and masked; absent: all, as it is

	Plan        string   `json:"plan"`        // id of the plan in the environment
	Same        bool     `json:"same"`        // the rehearsal had that very plan
	Differences []string `json:"differences"` // of the plan here from the one there

	Bytes    int64            `json:"bytes"` // of the archives that were copied
	Messages uint64           `json:"messages"`
	Copied   rollout.Duration `json:"copied"` // how long it took to bring them here
	Filled   rollout.Duration `json:"filled"` // and to put them back
	Took     rollout.Duration `json:"took"`   // all, from the command on

	Seen    []rehearsal.Seen `json:"seen,omitempty"`    // by callers, of the requests that were sent meanwhile
	Command string           `json:"command,omitempty"` // how the command that ran meanwhile has ended; empty: there was none

	NotRehearsed []string `json:"notRehearsed"` // what was not tried
	Moved        []string `json:"moved"`        // streams of the environment that were written to meanwhile
	Compared     bool     `json:"compared"`     // that is known
	Told         bool     `json:"told"`         // the environment knows what came of it
	Kept         string   `json:"kept,omitempty"`

	Drill  *rehearsal.Drilled `json:"drill,omitempty"`  // absent: there was none
	Report *report.Report     `json:"report,omitempty"` // of the rollout; absent: it has not begun
}

// outcome is what the environment is told.
func (d Rehearsed) outcome(id string, held []rehearsed.Held) rehearsed.Outcome {
	o := rehearsed.Outcome{
		ID: id, App: d.App, Version: d.Version, Digest: d.Digest, Snapshot: d.Snapshot,
		Passed: d.Report.Status == rollout.Completed, Downtime: d.Report.Downtime, Held: held,
	}
	if d.Cut != nil {
		o.Partial = d.Cut.Latest > 0 || len(d.Cut.Where) > 0 || d.Cut.Sample > 0
	}
	if d.Drill != nil && d.Drill.Final == "" {
		o.Drilled, o.Passed = d.Drill.Held, o.Passed && d.Drill.Held
	}
	if d.Report.Source != nil && !d.Report.Source.Dirty {
		o.Commit = d.Report.Source.Commit
	}
	for _, s := range d.Report.Steps {
		if s.Status == rollout.StepDone && s.Skipped == "" {
			o.Steps = append(o.Steps, rehearsed.Step{ID: s.ID, Took: s.Took, Records: s.Records, Offline: strings.HasSuffix(s.ID, "/"+string(protocol.Offline))})
		}
	}
	return o
}

// printRehearsed tells a rehearsal for people.
func printRehearsed(w io.Writer, d Rehearsed, s snapshot.Snapshot) {
	p := d.Report
	fmt.Fprintf(w, "\nRehearsal of %s %s on snapshot %s of %s, in %s: %s\n\n", d.App, d.Version, d.Snapshot, s.Version, terminal.Took(time.Duration(d.Took)), p.Status)
	var rows [][]string
	for _, step := range p.Steps {
		records, aside, rate := "-", "-", "-"
		if step.Records > 0 {
			records, aside = terminal.Grouped(step.Records), terminal.Grouped(step.PutAside)
			if step.Took > 0 {
				rate = terminal.PerSecond(float64(step.Records) / time.Duration(step.Took).Seconds())
			}
		}
		took := "-"
		if step.Took > 0 {
			took = terminal.Took(time.Duration(step.Took))
		}
		rows = append(rows, []string{fmt.Sprint(step.Number), step.ID, string(step.Status), took, records, rate, aside, terminal.OrDash(terminal.Fit(terminal.OneLine(step.Error), clipRecord))})
	}
	terminal.Columns(w, []string{"#", "STEP", "STATUS", "TOOK", "RECORDS", "RATE", "PUT ASIDE", "ERROR"}, rows)
	fmt.Fprintln(w)
	if d.Cut != nil {
		fmt.Fprintf(w, "data: %s\n", terminal.OneLine(tellCut(*d.Cut)))
	}
	if p.Source != nil {
		fmt.Fprintf(w, "source: %s\n", terminal.Flat(report.TellSource(*p.Source)))
	}
	held := 0
	for _, check := range p.Checks {
		if check.Holds {
			held++
		} else {
			fmt.Fprintf(w, "check failed: %s: %s\n", strings.TrimSpace(check.Step+" "+check.Name), terminal.OneLine(check.Error))
		}
	}
	if held > 0 {
		fmt.Fprintf(w, "%d of %s held.\n", held, terminal.Plural(len(p.Checks), "check"))
	}
	switch {
	case p.Status != rollout.Completed: // nobody knows how long the rest would take
	case p.Downtime > 0:
		fmt.Fprintf(w, "In the environment: offline about %s, at this machine's rates and with as many records as in the snapshot.\n", terminal.Took(time.Duration(p.Downtime)))
	default:
		fmt.Fprintln(w, "In the environment: no downtime, as here.")
	}
	printSeen(w, d.Seen, d.Command)
	printDrill(w, d.Drill)
	for _, what := range d.NotRehearsed {
		fmt.Fprintf(w, "not rehearsed: %s\n", terminal.OneLine(what))
	}
	for _, what := range d.Differences {
		fmt.Fprintf(w, "the plan differs from the environment's: %s\n", terminal.OneLine(what))
	}
	if !d.Compared {
		fmt.Fprintln(w, "The environment: it is not known whether its streams were written to meanwhile.")
		return
	}
	if len(d.Moved) == 0 {
		fmt.Fprintln(w, "The environment: none of its streams was written to meanwhile.")
		return
	}
	fmt.Fprintf(w, "The environment went on meanwhile, by itself: %s\n", terminal.OneLine(strings.Join(d.Moved, ", ")))
}

// printDrill tells a drill for people; nil: there was none.
func printDrill(w io.Writer, d *rehearsal.Drilled) {
	if d == nil {
		return
	}
	if d.Final != "" {
		fmt.Fprintf(w, "Drill: what it does cannot be undone: %s\n", terminal.OneLine(d.Final))
		return
	}
	legs := []struct {
		way, was string
		took     rollout.Duration
		differs  []string
	}{{"back", "before", d.Took, d.Back}, {"forward again", "after", d.Forward, d.Again}}
	for i, leg := range legs {
		if len(d.Digests) < i+3 {
			break
		}
		if len(leg.differs) == 0 {
			fmt.Fprintf(w, "Drill: %s in %s: the data is what it was %s (%.12s).\n", leg.way, terminal.Took(time.Duration(leg.took)), leg.was, d.Digests[i+2])
			continue
		}
		fmt.Fprintf(w, "Drill: %s in %s, and the data is not what it was %s:\n", leg.way, terminal.Took(time.Duration(leg.took)), leg.was)
		for _, what := range leg.differs {
			fmt.Fprintf(w, "  %s\n", terminal.OneLine(what))
		}
	}
	if d.Failed != "" {
		fmt.Fprintf(w, "Drill: %s\n", terminal.OneLine(d.Failed))
	}
}

// drillFailed is the failure of a drill that has not held; nil: it has, or there was none.
func drillFailed(d *rehearsal.Drilled) error {
	if d == nil || d.Held || d.Final != "" {
		return nil
	}
	message := d.Failed
	switch {
	case message != "":
	case len(d.Back) > 0:
		message = "what it does is not undone by going back: " + d.Back[0]
	default:
		message = "going forward again does something else: " + d.Again[0]
	}
	return &failure{code: codeFailed, exit: exitFailed, message: "in the drill, " + message, hint: "nothing has changed in the environment; mend it, and rehearse again"}
}

// tellCut says what of a snapshot there was.
func tellCut(c snapshot.Cut) string {
	var all []string
	if c.Latest > 0 {
		all = append(all, fmt.Sprintf("the newest %d of each subject", c.Latest))
	}
	if len(c.Where) > 0 {
		all = append(all, "only "+strings.Join(c.Where, ", "))
	}
	if c.Sample > 0 {
		all = append(all, fmt.Sprintf("a sample of about %g%%", 100*c.Sample))
	}
	var masked []string
	for _, name := range slices.Sorted(maps.Keys(c.Mask)) {
		if !c.Mask[name].Passes() {
			masked = append(masked, name)
		}
	}
	if len(masked) > 0 {
		all = append(all, "masked in "+strings.Join(masked, ", "))
	}
	return strings.Join(all, "; ")
}
