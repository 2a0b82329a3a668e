package main

import (
	"cmp"
	"context"
	"fmt"
	"io"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
)

// followTo follows a rollout to its end; the answer is its last state. Any other end than
// the one that is wanted is a failure.
func followTo(ctx context.Context, c *command, r *relay.Relay, begun api.RolloutView, want rollout.Status) error {
	return followBy(ctx, c, c.follower(r), begun, want)
}

// followBy is followTo by a follower that may listen already.
func followBy(ctx context.Context, c *command, f *follower, begun api.RolloutView, want rollout.Status) error {
	last, err := followUntil(ctx, f, begun, want)
	unwritten := reporting{c}.reported(ctx, api.NewClient(f.nc), last, f.last)
	if err != nil {
		return c.besides(err, unwritten)
	}
	if c.output == "jsonl" {
		return unwritten
	}
	return cmp.Or(unwritten, c.print(last, func(w io.Writer) {
		app, version := last.Release.App, last.Release.Version
		if last.Held() {
			fmt.Fprintf(w, "phase %s of %s %s has run: the rollout waits; go on with: %s (rollout %s)\n", last.Until, app, version, c.here("golive deploy"), last.ID)
			return
		}
		switch {
		case last.Restore != nil && want == rollout.Completed && last.Restore.Live == "":
			fmt.Fprintf(w, "no version of %s is live, and its data is as in snapshot %s; to undo that: golive restore %s %s (rollout %s)\n",
				app, last.Restore.Snapshot, app, last.ID, last.ID)
			return
		case last.Restore != nil && want == rollout.Completed:
			fmt.Fprintf(w, "%s %s is live, with its data as in snapshot %s; to undo that: golive restore %s %s (rollout %s)\n",
				app, version, last.Restore.Snapshot, app, last.ID, last.ID)
			return
		case last.Restore != nil && want == rollout.Reverted:
			fmt.Fprintf(w, "restore %s of %s %s is undone: data and traffic are as they were when it began\n", last.ID, app, version)
			return
		}
		switch want {
		case rollout.Aborted:
			fmt.Fprintf(w, "rollout %s of %s %s is aborted: %s\n", last.ID, app, version, report.AfterAbort(last))
		case rollout.Reverted:
			fmt.Fprintf(w, "rollout %s of %s %s is undone: what was online before is online\n", last.ID, app, version)
		default:
			fmt.Fprintf(w, "%s %s is live (rollout %s)\n", app, version, last.ID)
		}
	}))
}

// besides is err; a report that was not written is told beside it.
func (c *command) besides(err, unwritten error) error {
	if unwritten != nil {
		c.talk().Say(terminal.Yellow, "!", "%s", terminal.Flat(unwritten.Error()))
	}
	return err
}

// followUntil tells a rollout's story until it has ended, or stands at the end of the phase
// that it was to run, and gives its last state. Any other end than the one that is wanted is
// a failure.
func followUntil(ctx context.Context, f *follower, begun api.RolloutView, want rollout.Status) (rollout.State, error) {
	last, err := followAll(ctx, f, begun)
	switch {
	case err != nil && ctx.Err() != nil:
		err = &failure{code: codeGaveUp, exit: exitGaveUp,
			message: fmt.Sprintf("stopped following rollout %s: it goes on", begun.ID),
			hint:    "see how far it is: golive watch " + begun.ID}
	case err == nil && last.Status != want && !last.Held():
		err = report.Failed(last)
	}
	return last, err
}

// followAll tells a rollout's story, from what has just been asked for to its end, and
// gives its last state.
func followAll(ctx context.Context, f *follower, begun api.RolloutView) (rollout.State, error) {
	f.since, f.seen = begun.Sequence, begun.Observations
	last, err := f.follow(ctx, events{api.NewClient(f.nc)}, begun.Release.App, begun.ID)
	return last.State, err
}

// attend has a follower ask the person at the terminal for approvals. Where nobody is there
// to be asked it ends as soon as one waits; how the rollout can be gone on with is then said
// by again, if it does not go on by itself.
func attend(c *command, f *follower, client *api.Client, again string) {
	f.story.commands(false)
	p := c.prompter()
	if p == nil {
		f.person = func(s rollout.State, step rollout.Step) error { return waitsForPerson(s, step, again) }
		return
	}
	say := func(text string) { f.story.Tell(terminal.Line{Color: terminal.Yellow, Text: text}) }
	f.desk = &desk{say: say, ask: func(s rollout.State, step rollout.Step) *question {
		return newQuestion(p, step, func(text string) { f.story.Tell(terminal.Line{Text: text}) }, voter(client, s.ID, step.ID))
	}}
}
