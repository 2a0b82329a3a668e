package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/terminal"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
)

type upOptions struct {
	once   bool
	older  bool
	data   string
	listen string
	seed   int // GOLIVE_SEED of the seed command; 0: it is not run
}

func upCommand(c *command) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [DIR]",
		Short: "Run the app in DIR on this machine and bring its version live",
		Long: `up runs the app whose manifest, golive.yaml, is in DIR (default: this folder):
a bus, its services, its setup services and the rollout of its version. It
stays up until Ctrl-C. What it keeps lies in the data folder, so the next up
knows which scripts have run. With --seed N it has the manifest's seed command
make N records, or whatever N means to it, before the rollout begins.`,
		Example: `  golive up examples/todo
  golive up --once --data /tmp/try examples/todo
  golive up --seed 100000 examples/todo`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) > 0 {
				dir = args[0]
			}
			if cmd.Flags().Changed("seed") && o.seed < 1 {
				return misused(cmd, "--seed must be at least 1")
			}
			return runUp(cmd.Context(), c, dir, o)
		},
	}
	cmd.Flags().BoolVar(&o.older, "allow-older", false, "bring a version that is older than what has run here")
	cmd.Flags().BoolVar(&o.once, "once", false, "end when the rollout has ended: exit code 0 if completed, 1 if failed")
	cmd.Flags().IntVar(&o.seed, "seed", 0, "run the manifest's seed command first, with this number as GOLIVE_SEED")
	cmd.Flags().StringVar(&o.data, "data", "", "folder of what it keeps (environment: GOLIVE_DATA; default .golive in DIR)")
	cmd.Flags().StringVar(&o.listen, "listen", embedded.DefaultListen, "where the bus listens, HOST:PORT; port 0 is a free one")
	return cmd
}

// runUp runs the app in dir.
func runUp(ctx context.Context, c *command, dir string, o upOptions) error {
	m, err := c.load(dir)
	if err != nil {
		return err
	}
	if o.seed > 0 && m.Seed == nil {
		return &failure{code: codeMisused, exit: exitMisused, message: "--seed needs the key seed in " + c.short(m.Path) + ", which has none",
			hint: "give there the command that makes data: seed: [go, run, ./seed]"}
	}
	ctx, stop := untilUnread(ctx, os.Stdout, os.Stderr)
	defer stop()
	t := &upTerminal{command: c, once: o.once, snapshots: snapshotsOf(m), narrator: c.narrator()}
	err = local.Up{
		Manifest: m, Bus: c.named(m), Data: dataFolder(c, m, o.data), Listen: o.listen, Beacons: local.BeaconFolder(c.Getenv), Dir: c.Dir,
		Once: o.once, AllowOlder: o.older, Seed: o.seed, By: me(), Version: Version, Talk: t.narrator.Talk, Logger: c.logger(),
		Orchestrate: t.orchestrate, Follow: t.follow, Events: t.each, Output: t.narrator.stepOutput, Online: t.online, Fail: t.fail,
	}.Run(ctx, atOnce(ctx))
	if t.told != nil && errors.Is(err, t.told) || errors.Is(err, local.ErrUndone) {
		return told(err)
	}
	return err
}

// upTerminal is the terminal of an app that runs on this machine.
type upTerminal struct {
	*command
	once      bool
	snapshots snapshot.Config
	narrator  *narrator
	nc        *nats.Conn // of the bus
	events    events
	told      error // what was told last, and is not to be told once more
}

// upHeartbeat is how often a working script gives a sign of life: on one machine that costs next to
// nothing, and whoever starts an up again that was killed waits for the lease of its scripts.
const upHeartbeat = 2 * time.Second

// orchestrate starts the orchestrator.
func (t *upTerminal) orchestrate(ctx, working context.Context, r *relay.Relay) (local.Orchestrator, error) {
	e, err := newEngine(ctx, r, orchestrator.Config{Replicas: 1, Heartbeat: upHeartbeat, Snapshots: t.snapshots, Logger: t.logger()}, gate.Config{})
	if err != nil {
		return local.Orchestrator{}, err
	}
	ended, err := e.start(working)
	t.nc, t.events = r.Conn(), events{api.NewClient(r.Conn())}
	return local.Orchestrator{Gate: e.gate, Journal: e.journal, Ended: ended}, err
}

// follow tells a rollout's story.
func (t *upTerminal) follow(ctx context.Context, what local.Following) (api.RolloutView, error) {
	f := &follower{nc: t.nc, story: t.narrator, after: what.After, each: what.Each, lines: t.lines()}
	t.askOn(f)
	return f.follow(ctx, t.events, what.App, what.Rollout)
}

// each gives every state of a rollout, as a follower gets them.
func (t *upTerminal) each(ctx context.Context, id string, after uint64, each func(api.Followed) error) error {
	return t.events.follow(ctx, id, after, each)
}

// askOn has approvals asked for in the terminal. Without one, up --once ends when the rollout
// comes to one, and up stays.
func (t *upTerminal) askOn(f *follower) {
	if t.prompter() == nil && !t.once {
		f.story.commands(true)
		return
	}
	attend(t.command, f, api.NewClient(t.nc), "golive up without --once goes on with the rollout, and is there while it is answered")
}

// fail tells how a rollout has failed whose services stay up.
func (t *upTerminal) fail(err error) {
	t.told = err
	t.report(explain(err))
}

// online tells what is online.
func (t *upTerminal) online(o local.Online) error {
	err := t.print(o, func(w io.Writer) {
		fmt.Fprintf(w, "\n%s %s is online\n\n", o.App, o.Version)
		var rows [][]string
		for _, s := range o.Services {
			rows = append(rows, []string{"  " + s.Service, s.Version, fmt.Sprint(s.Instances), terminal.OrDash(s.URL)})
		}
		terminal.Columns(w, []string{"  SERVICE", "VERSION", "INSTANCES", "TRY IT"}, rows)
		if t.once {
			return
		}
		fmt.Fprintf(w, "\nIn another terminal here: golive status, golive show %s, golive ledger\n", o.Rollout)
		fmt.Fprintf(w, "Ctrl-C stops everything.\n\n")
	})
	if !t.once {
		t.told = err
	}
	return err
}

// dataFolder is where an app keeps its data: as the flag says, else the environment, else the
// manifest.
func dataFolder(c *command, m *release.Manifest, flag string) string {
	switch env := c.Getenv("GOLIVE_DATA"); {
	case flag != "":
		return c.absolute(flag)
	case env != "":
		return c.absolute(env)
	case filepath.IsAbs(m.Data):
		return m.Data
	}
	return filepath.Join(m.Dir, m.Data)
}
