package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

type approveOptions struct {
	items  []int
	yes    bool
	reason string
}

func approveCommand(c *command) *cobra.Command {
	var o approveOptions
	cmd := &cobra.Command{
		Use:   "approve ROLLOUT [STEP]",
		Short: "Say yes to an approval step that a rollout waits for",
		Long: `approve says yes to an approval step: to STEP or, without it, to the one that
the rollout waits for. Where items of its checklist are not confirmed, it asks
item by item, and then for the approval. --item confirms single items and does
not approve; --yes confirms all that are left, and approves. Told is what is
missing then, because more people have to approve.`,
		Example: `  golive approve 0199c6d2-1a2b
  golive approve 0199c6d2-1a2b go-ahead --reason "the backup is fresh"
  golive approve 0199c6d2-1a2b go-ahead --item 1 --item 3
  golive approve 0199c6d2-1a2b --yes`,
		Args: arguments(1, 2, "the id of a rollout, or its beginning, and at most one step"),
		RunE: func(cmd *cobra.Command, args []string) error {
			switch {
			case o.yes && len(o.items) > 0:
				return misused(cmd, "--item and --yes exclude each other: --yes confirms all items, and approves")
			case slices.ContainsFunc(o.items, func(item int) bool { return item < 1 }):
				return misused(cmd, "--item must be the number of an item, from 1")
			}
			return runApprove(cmd.Context(), c, args[0], strings.Join(args[1:], ""), o)
		},
	}
	cmd.Flags().IntSliceVar(&o.items, "item", nil, "confirm this item of the checklist, from 1; can be repeated")
	cmd.Flags().BoolVarP(&o.yes, "yes", "y", false, "confirm all items that are left, and approve, without asking")
	cmd.Flags().StringVar(&o.reason, "reason", "", reasonUsage)
	return cmd
}

// runApprove says yes to an approval, after all that has to be confirmed before.
func runApprove(ctx context.Context, c *command, id, step string, o approveOptions) error {
	r, err := c.reach(ctx, "")
	if err != nil {
		return err
	}
	defer r.Close()
	client := api.NewClient(r.Conn())
	found, err := client.Show(ctx, api.RolloutRequest{Rollout: id})
	if err != nil {
		return err
	}
	asked, waits := report.WaitingFor(found.State)
	if step != "" {
		asked, waits = found.Step(step)
		waits = waits && report.Asks(asked)
	} else {
		step = asked.ID
	}
	q := api.ApproveRequest{StepRequest: api.StepRequest{RolloutRequest: about(found.ID, o.reason), Step: step}}
	var open []int
	if waits {
		open = asked.Approval.Unconfirmed()
	}
	switch {
	case len(o.items) > 0:
		return confirmItems(ctx, c, client, q, o.items, false)
	case o.yes || len(open) == 0: // or the API tells why it cannot be approved
		return confirmItems(ctx, c, client, q, open, true)
	case c.keys == nil:
		return unconfirmed(found.State, asked)
	}
	return approveHere(ctx, c, client, q, found.State, asked)
}

// confirmItems confirms items of a checklist and, if that is wanted, approves.
func confirmItems(ctx context.Context, c *command, client *api.Client, q api.ApproveRequest, items []int, whole bool) error {
	if whole {
		items = append(slices.Clone(items), 0)
	}
	var last api.RolloutView
	for _, q.Item = range items {
		var err error
		if last, err = client.Approve(ctx, q); err == nil {
			continue
		}
		found, e := client.Show(ctx, api.RolloutRequest{Rollout: q.Rollout})
		if e != nil || !confirmedIn(found.State, q.Step, q.Item) {
			return err
		}
		last = found.RolloutView // somebody else was faster
	}
	return printApproved(c, last, q.Step)
}

// confirmedIn reports whether an item of an approval's checklist is confirmed, by anybody.
func confirmedIn(s rollout.State, id string, item int) bool {
	step, known := s.Step(id)
	return known && step.Approval != nil && slices.ContainsFunc(step.Approval.Confirmed, func(v rollout.Vote) bool { return v.Item == item })
}

// approveHere asks the person at the terminal item by item, and then for the approval.
func approveHere(ctx context.Context, c *command, client *api.Client, q api.ApproveRequest, s rollout.State, step rollout.Step) error {
	talk := c.talk()
	talk.Tell(report.Approval(s, step)...)
	var last api.RolloutView
	asking := newQuestion(c.prompter(), step, func(text string) { talk.Tell(terminal.Line{Text: text}) }, func(ctx context.Context, v vote) (rollout.State, error) {
		q, err := q, error(nil)
		if q.Item = v.item; v.no {
			if v.reason != "" {
				q.Reason = v.reason
			}
			last, err = client.Reject(ctx, q.StepRequest)
		} else {
			last, err = client.Approve(ctx, q)
		}
		return last.State, err
	})
	came, err := asking.put(ctx)
	switch {
	case ctx.Err() != nil, came == unanswered && err == nil:
		return &failure{code: codePerson, exit: exitPerson, message: fmt.Sprintf("%s of rollout %s is not approved: it still waits", step.ID, s.ID),
			hint: report.AnswerWith(s.ID, step.ID)}
	case err != nil:
		return err
	case came == rejected:
		return c.print(last, func(w io.Writer) { printRejected(w, last.State, step.ID) })
	}
	return printApproved(c, last, step.ID)
}

// unconfirmed refuses to approve what has items that nobody has confirmed.
func unconfirmed(s rollout.State, step rollout.Step) *failure {
	f := &failure{code: codeMisused, exit: exitMisused, message: fmt.Sprintf("the checklist of %s of rollout %s is not confirmed", step.ID, s.ID)}
	open := step.Approval.Unconfirmed()
	for _, item := range open {
		f.message += fmt.Sprintf("\nitem %d: %s", item, terminal.OneLine(step.Approval.Checklist[item-1]))
	}
	f.hint = fmt.Sprintf("confirm one: golive approve %s %s --item %d\nconfirm all, and approve: golive approve %[1]s %[2]s --yes", s.ID, step.ID, open[0])
	return f
}

// printApproved tells how an approval stands after somebody has answered.
func printApproved(c *command, v api.RolloutView, id string) error {
	return c.print(v, func(w io.Writer) {
		if id == "" {
			id = v.Event.Step
		}
		step, known := v.Step(id)
		switch {
		case !known || step.Approval == nil:
			fmt.Fprintf(w, "rollout %s: done\n", v.ID)
		case report.Asks(step):
			fmt.Fprintf(w, "%s of rollout %s still waits: %s\n", id, v.ID, report.TellMissing(v.State, step))
		case step.Status == rollout.StepDone:
			then := "the rollout goes on"
			if v.Paused != nil {
				then = "the rollout is paused, and goes on with: golive resume " + v.ID
			}
			fmt.Fprintf(w, "%s of rollout %s is approved by %s: %s\n", id, v.ID, report.TellVotes(step.Approval.Approved), c.here(then))
		default:
			fmt.Fprintf(w, "%s of rollout %s is %s\n", id, v.ID, step.Status)
		}
	})
}
