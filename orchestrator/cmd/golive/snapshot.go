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
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

func snapshotCommand(c *command) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "snapshot",
		Short: "Take, list, show, check and drop snapshots of an app's data",
		Long: `A snapshot holds the data of an app's services where their manifest says that
it is (services.NAME.state): in JetStream, or wherever a service itself or a
command on its host takes it from. It counts only once it was read back whole.
Services go on while it is taken. Where it lies, and how many of an app
are kept, says the manifest that golive serve is given (snapshots).`,
		Example: `  golive snapshot take todo-app --reason "before the clean-up"
  golive snapshot list
  golive snapshot show 0199c6d2`,
		Args: arguments(0, 0, "one of take, list, show, check and drop"),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return misused(cmd, "golive snapshot needs one of take, list, show, check and drop")
		},
	}
	cmd.AddCommand(snapshotTakeCommand(c), snapshotListCommand(c), snapshotShowCommand(c), snapshotCheckCommand(c), snapshotDropCommand(c))
	return cmd
}

func snapshotTakeCommand(c *command) *cobra.Command {
	var reason string
	cmd := &cobra.Command{
		Use:   "take [APP]",
		Short: "Take a snapshot of an app's data, and check it",
		Long: `take writes the streams and buckets of the app's services away, reads all of it
back, and only then counts it as a snapshot. What was stored meanwhile is not in
it. An orchestrator does that: if it dies, another one takes the same snapshot
anew. Without APP it is that of golive.yaml in this folder.`,
		Example: `  golive snapshot take todo-app --reason "before the clean-up"`,
		Args:    arguments(0, 1, "at most one app"),
		RunE: func(cmd *cobra.Command, args []string) error {
			app := strings.Join(args, "")
			if app == "" {
				m, err := c.load(".")
				if err != nil {
					return err
				}
				app = m.App
			}
			return takeSnapshot(cmd.Context(), c, app, reason)
		},
	}
	cmd.Flags().StringVar(&reason, "reason", "", "why, for the snapshot")
	return cmd
}

func takeSnapshot(ctx context.Context, c *command, app, reason string) error {
	id, err := uuid.NewV7()
	if err != nil {
		return err
	}
	q := api.TakeRequest{App: app, Snapshot: id.String(), By: me(), Reason: reason}
	taken, err := untilDone(ctx, c, func(ctx context.Context, client *api.Client) (api.SnapshotWork, error) {
		return client.TakeSnapshot(ctx, q)
	})
	if err != nil {
		return err
	}
	return c.print(taken, func(w io.Writer) {
		fmt.Fprintf(w, "snapshot %s of %s %s: %s in %s, as %s\n", taken.ID, taken.App, taken.Version,
			held(taken), terminal.Took(time.Duration(taken.Took)), terminal.Bytes(taken.Size))
		fmt.Fprintf(w, "%s\n", report.Moment(taken.Moment))
	})
}

// held is how much data a snapshot holds.
func held(s snapshot.Snapshot) string {
	messages, bytes := uint64(0), uint64(0)
	for _, service := range s.Services {
		for _, p := range service.Parts {
			messages, bytes = messages+p.Messages, bytes+p.Bytes
		}
	}
	if messages == 0 && bytes > 0 { // all of it is outside of JetStream
		return terminal.Bytes(int64(bytes)) + ","
	}
	return fmt.Sprintf("%s, %s,", terminal.Plural(int(messages), "message"), terminal.Bytes(int64(bytes)))
}

// How often it is asked how far a snapshot is: at first soon, as most take no time.
const (
	askSoon  = 50 * time.Millisecond
	askLater = 500 * time.Millisecond
	askAgain = bus.TakeLease + 30*time.Second // of an orchestrator that does not answer, so that another can take over
)

// untilDone asks for a snapshot until it is done, and shows how far it is. While no orchestrator
// answers it goes on asking for a minute: one that has died may be back.
func untilDone(ctx context.Context, c *command, f func(context.Context, *api.Client) (api.SnapshotWork, error)) (snapshot.Snapshot, error) {
	return ask(ctx, c, "", func(ctx context.Context, client *api.Client) (snapshot.Snapshot, error) {
		return untilDoneBy(ctx, c, client, f)
	})
}

// untilDoneBy is untilDone over a connection that is there.
func untilDoneBy(ctx context.Context, c *command, client *api.Client, f func(context.Context, *api.Client) (api.SnapshotWork, error)) (snapshot.Snapshot, error) {
	talk := c.talk()
	defer talk.EndDrawing()
	began, answered := time.Now(), time.Time{}
	for wait := askSoon; ; wait = min(2*wait, askLater) {
		work, err := f(ctx, client)
		switch {
		case err == nil && work.Snapshot != nil:
			return *work.Snapshot, nil
		case err == nil:
			answered = time.Now()
			drawSnapshot(talk, work.Progress, time.Since(began))
		case !nobodyAnswers(err) || answered.IsZero() || time.Since(answered) > askAgain:
			return snapshot.Snapshot{}, err
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return snapshot.Snapshot{}, fmt.Errorf("%w: it goes on, and golive snapshot list tells when it is done", ctx.Err())
		}
	}
}

// nobodyAnswers reports whether an error says that there is no orchestrator at the moment.
func nobodyAnswers(err error) bool {
	var refused *protocol.ServiceError
	return errors.Is(err, api.ErrNoOrchestrator) || errors.Is(err, context.DeadlineExceeded) ||
		errors.As(err, &refused) && refused.Code == api.CodeUnavailable
}

// drawSnapshot shows how far a snapshot is.
func drawSnapshot(talk *terminal.Talk, p snapshot.Progress, since time.Duration) {
	if !talk.Draws() {
		return
	}
	state := "taking"
	if p.Doing == "check" {
		state = "reading it back"
	}
	b := terminal.Bar{Name: terminal.OrDash(cmp.Or(p.Kept, p.Stream)), State: state, Percent: -1, Numbers: terminal.Bytes(p.Done) + "  " + terminal.Took(since.Round(time.Second))}
	if p.Of > 0 && p.Doing == "check" { // what is taken becomes smaller on its way, nobody knows by how much
		b.Percent = min(int(100*p.Done/int64(p.Of)), 100)
	}
	talk.Draw([]terminal.Bar{b})
}

func snapshotListCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:     "list [APP]",
		Short:   "The snapshots of this environment, newest first",
		Example: "  golive snapshot list\n  golive snapshot list todo-app -o json",
		Args:    arguments(0, 1, "at most one app"),
		RunE: func(cmd *cobra.Command, args []string) error {
			return listSnapshots(cmd.Context(), c, strings.Join(args, ""))
		},
	}
}

func listSnapshots(ctx context.Context, c *command, app string) error {
	all, err := ask(ctx, c, "", func(ctx context.Context, client *api.Client) (api.SnapshotList, error) {
		return client.Snapshots(ctx, app)
	})
	if err != nil {
		return err
	}
	return c.print(all, func(w io.Writer) {
		if len(all.Snapshots) == 0 {
			fmt.Fprintln(w, "There is no snapshot here yet.")
		} else {
			var rows [][]string
			for _, s := range all.Snapshots {
				one := "yes"
				if !s.Moment.One {
					one = "no"
				}
				rows = append(rows, []string{s.ID, s.App, s.Version, terminal.Ago(s.Taken), terminal.Took(time.Duration(s.Took)),
					terminal.Bytes(s.Size), one, terminal.Ago(s.Checked), terminal.OrDash(terminal.Fit(s.By, clipRecord)), terminal.Fit(s.Reason, clipRecord)})
			}
			terminal.Columns(w, []string{"SNAPSHOT", "APP", "VERSION", "TAKEN", "TOOK", "SIZE", "ONE MOMENT", "CHECKED", "BY", "REASON"}, rows)
		}
		for line := range strings.SplitSeq(all.Unread, "\n") {
			if line != "" {
				fmt.Fprintf(w, "left out: %s\n", terminal.OneLine(line))
			}
		}
	})
}

func snapshotShowCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:     "show SNAPSHOT",
		Short:   "What is in a snapshot, and how it was taken",
		Example: "  golive snapshot show 0199c6d2",
		Args:    arguments(1, 1, "a snapshot"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := ask(cmd.Context(), c, "", func(ctx context.Context, client *api.Client) (snapshot.Snapshot, error) {
				return client.Snapshot(ctx, args[0])
			})
			if err != nil {
				return err
			}
			return c.print(s, func(w io.Writer) { printSnapshot(w, s) })
		},
	}
}

func printSnapshot(w io.Writer, s snapshot.Snapshot) {
	fmt.Fprintf(w, "snapshot %s of %s %s\n", s.ID, s.App, s.Version)
	who := ""
	if s.By != "" {
		who = " by " + terminal.OneLine(s.By)
	}
	if s.Reason != "" {
		who += ": " + terminal.OneLine(s.Reason)
	}
	fmt.Fprintf(w, "taken %s in %s%s\n", terminal.Ago(s.Taken), terminal.Took(time.Duration(s.Took)), who)
	fmt.Fprintf(w, "read back whole %s, %s stored\n", terminal.Ago(s.Checked), terminal.Bytes(s.Size))
	fmt.Fprintln(w, report.Moment(s.Moment))
	if s.Cut != nil {
		fmt.Fprintf(w, "a copy for a rehearsal, of snapshot %s: %s\n", s.Of, terminal.OneLine(terminal.OrDash(tellCut(*s.Cut))))
	}
	if s.Rollout != "" {
		fmt.Fprintf(w, "brought by rollout %s, after which %s counted as run\n", s.Rollout, terminal.Plural(len(s.Ledger), "script"))
	}
	fmt.Fprintln(w)
	var rows [][]string
	var from []string
	for _, service := range s.Services {
		for _, p := range service.Parts {
			messages, last := terminal.Grouped(int64(p.Messages)), fmt.Sprint(p.State.Last)
			if p.Kept() {
				messages, last = "-", "-"
				from = append(from, fmt.Sprintf("what %s keeps (%s) was given by %s", service.Name, p.Kind, terminal.OneLine(p.From)))
			}
			rows = append(rows, []string{service.Name, service.Version, p.Kind, p.Name, messages, terminal.Bytes(int64(p.Bytes)),
				terminal.Bytes(p.Size), last, short(p.Digest)})
		}
	}
	terminal.Columns(w, []string{"SERVICE", "VERSION", "KIND", "NAME", "MESSAGES", "BYTES", "STORED", "LAST", "DIGEST"}, rows)
	for _, line := range from {
		fmt.Fprintln(w, line)
	}
}

// short is as much of a digest as people compare.
func short(digest string) string { return digest[:min(len(digest), 12)] }

func snapshotCheckCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:   "check SNAPSHOT",
		Short: "Read a snapshot back whole, and compare it",
		Long: `check reads all that is stored of a snapshot, and compares it with the digests
that were made when it was taken.`,
		Example: "  golive snapshot check 0199c6d2",
		Args:    arguments(1, 1, "a snapshot"),
		RunE: func(cmd *cobra.Command, args []string) error {
			q := api.SnapshotRequest{Snapshot: args[0], Check: uuid.NewString(), By: me()}
			s, err := untilDone(cmd.Context(), c, func(ctx context.Context, client *api.Client) (api.SnapshotWork, error) {
				return client.CheckSnapshot(ctx, q)
			})
			if err != nil {
				return err
			}
			return c.print(s, func(w io.Writer) {
				fmt.Fprintf(w, "snapshot %s of %s %s is whole: %s as %s\n", s.ID, s.App, s.Version, held(s), terminal.Bytes(s.Size))
			})
		},
	}
}

func snapshotDropCommand(c *command) *cobra.Command {
	return &cobra.Command{
		Use:     "drop SNAPSHOT",
		Short:   "Remove a snapshot",
		Example: "  golive snapshot drop 0199c6d2",
		Args:    arguments(1, 1, "a snapshot"),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := ask(cmd.Context(), c, "", func(ctx context.Context, client *api.Client) (snapshot.Snapshot, error) {
				return client.DropSnapshot(ctx, api.SnapshotRequest{Snapshot: args[0], By: me()})
			})
			if err != nil {
				return err
			}
			return c.print(s, func(w io.Writer) { fmt.Fprintf(w, "snapshot %s of %s %s is dropped\n", s.ID, s.App, s.Version) })
		},
	}
}
