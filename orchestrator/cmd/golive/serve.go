package main

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/local"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
)

// minKeep is the shortest time for which the history of a rollout is kept: longer than any
// orchestrator is behind.
const minKeep = time.Hour

type serveOptions struct {
	replicas int
	logs     string
	patience time.Duration
	beat     time.Duration
	keep     time.Duration
}

func serveCommand(c *command) *cobra.Command {
	var o serveOptions
	cmd := &cobra.Command{
		Use:   "serve [DIR]",
		Short: "Run an orchestrator for the environment of a bus",
		Long: `serve runs an orchestrator, and nothing else, against a NATS server or cluster
with JetStream. Any number of them work side by side. It waits for the bus as
long as that takes, and logs one line per event of a rollout to stderr.

With DIR or --env, the environment's approvals in that manifest, golive.yaml,
are the policy of all rollouts here: what is stricter in a release counts, too,
but who may approve is the policy's word. Its snapshots say where those lie, and
how many are kept. Its nats, creds or context say where
the bus is.`,
		Example: `  golive serve --nats nats://127.0.0.1:4222
  golive serve --nats nats://n1:4222,nats://n2:4222,nats://n3:4222 --replicas 3
  golive serve --env production /etc/golive/shop`,
		Args: arguments(0, 1, "at most one folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.replicas < 1 || o.replicas > 5 {
				return misused(cmd, fmt.Sprintf("--replicas is %d, it must be from 1 to 5", o.replicas))
			}
			if o.logs != "text" && o.logs != "json" {
				return misused(cmd, fmt.Sprintf("unknown log format %q: valid are text, json", o.logs))
			}
			if o.patience < time.Second {
				return misused(cmd, fmt.Sprintf("--cutover-timeout is %s, it must be at least 1s", o.patience))
			}
			if o.beat < time.Second || o.beat > time.Minute || o.beat%time.Second != 0 {
				return misused(cmd, fmt.Sprintf("--heartbeat is %s, it must be whole seconds, from 1s to 1m", o.beat))
			}
			if o.keep != 0 && o.keep < minKeep {
				return misused(cmd, fmt.Sprintf("--keep is %s, it must be at least %s, or 0 for ever", o.keep, minKeep))
			}
			return runServe(cmd.Context(), c, strings.Join(args, ""), o)
		},
	}
	cmd.Flags().IntVar(&o.replicas, "replicas", 1, "copies of what is kept, at least: 3 in a cluster")
	cmd.Flags().StringVar(&o.logs, "log-format", "text", "text or json")
	cmd.Flags().DurationVar(&o.beat, "heartbeat", orchestrator.DefaultHeartbeat,
		"how often scripts give a sign of life; one that the bus does not answer for four times that has to have stopped, and is taken for dead")
	cmd.Flags().DurationVar(&o.keep, "keep", 0,
		"how long the history of a rollout is kept after its end, such as 2160h; 0: for ever.\nThe ledger of what has run is kept in any case")
	cmd.Flags().DurationVar(&o.patience, "cutover-timeout", gate.DefaultPatience,
		"how long live instances may take for a step of a cutover")
	return cmd
}

// rules are what a manifest says of all rollouts of the environment that is served.
type rules struct {
	policy    rollout.Policy
	snapshots snapshot.Config
	mask      snapshot.MaskedParts
}

// snapshotsOf is where the snapshots of a manifest's environment lie, and how many are kept.
func snapshotsOf(m *release.Manifest) snapshot.Config {
	s := m.Environment.Snapshots
	if s.Folder != "" && !filepath.IsAbs(s.Folder) {
		s.Folder = filepath.Join(m.Dir, s.Folder)
	}
	return snapshot.Config{Folder: s.Folder, Keep: s.Keep}
}

// governs is where the bus of the environment is that is served, and its rules.
func governs(c *command, dir string) (local.Place, rules, error) {
	p := c.told()
	if dir == "" && c.env == "" {
		if !p.Known() {
			p.URL = nats.DefaultURL
		}
		return p, rules{snapshots: snapshot.Config{Keep: release.DefaultKeepSnapshots}}, nil
	}
	m, err := c.load(cmp.Or(dir, "."))
	if err != nil {
		return p, rules{}, err
	}
	if p = c.named(m); !p.Known() {
		p.URL = nats.DefaultURL
	}
	return p, rules{m.Environment.Approvals, snapshotsOf(m), m.Environment.Mask}, nil
}

func runServe(ctx context.Context, c *command, dir string, o serveOptions) error {
	p, rules, err := governs(c, dir)
	if err != nil {
		return err
	}
	r, log, err := c.attach(ctx, p, "golive serve", o.logs == "json")
	if err != nil || r == nil {
		return err
	}
	defer r.Close()
	e, err := newEngine(ctx, r, orchestrator.Config{Policy: rules.policy, Snapshots: rules.snapshots, Mask: rules.mask, Replicas: o.replicas, Heartbeat: o.beat, Keep: o.keep, Logger: log},
		gate.Config{Patience: o.patience})
	if err != nil {
		return err
	}
	working, stop := context.WithCancel(ctx)
	defer stop()
	ended, err := e.start(working)
	if err != nil {
		return err
	}
	log.Info("orchestrator is ready")
	return <-ended
}
