package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/relay/protocol"
)

type agentOptions struct {
	name   string
	labels []string
	logs   string
}

func agentCommand(c *command) *cobra.Command {
	var o agentOptions
	cmd := &cobra.Command{
		Use:   "agent [DIR]...",
		Short: "Run commands and checks of releases on this host",
		Long: `agent joins an environment and does on this host what steps of rollouts ask for:
commands and checks of the releases whose manifests, golive.yaml, are in DIR
(default: this folder). It runs nothing else: no command comes over the bus. A
step with "on: {role: web}" runs on agents that have this label.

It waits for the bus as long as that takes, and runs until Ctrl-C. Start it anew
to give it another release.`,
		Example: `  golive agent --label role=web
  golive agent --env production --label role=web --label zone=a /srv/shop/2.0.0
  golive agent --name web-1 --nats nats://bus:4222 releases/1.9.0 releases/2.0.0`,
		Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			labels, err := labelsOf(o.labels)
			if err != nil {
				return misused(cmd, err.Error())
			}
			if err := protocol.ValidateAgentName(o.name); o.name != "" && err != nil {
				return misused(cmd, "--name: "+err.Error())
			}
			if o.logs != "text" && o.logs != "json" {
				return misused(cmd, fmt.Sprintf("unknown log format %q: valid are text, json", o.logs))
			}
			if len(args) == 0 {
				args = []string{"."}
			}
			return runAgent(cmd.Context(), c, args, labels, o)
		},
	}
	cmd.Flags().StringArrayVar(&o.labels, "label", nil, "KEY=VALUE that steps ask for with on; may be given several times")
	cmd.Flags().StringVar(&o.name, "name", "", "how this host is called, letters, digits, - and _; empty: as the system calls it")
	cmd.Flags().StringVar(&o.logs, "log-format", "text", "text or json")
	return cmd
}

// awaitJournal opens the journal once an orchestrator has made it; nil when ctx ends first. An
// agent may be started before the first orchestrator of its environment.
func awaitJournal(ctx context.Context, nc *nats.Conn, log *zap.Logger) (*journal.Journal, error) {
	for told := false; ; told = true {
		j, err := journal.Open(ctx, nc)
		if !errors.Is(err, journal.ErrNone) {
			return j, err
		}
		if !told {
			log.Info("waiting for the first orchestrator of this environment")
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil, nil
		}
	}
}

// labelsOf reads labels as flags give them.
func labelsOf(flags []string) (map[string]string, error) {
	labels := make(map[string]string)
	for _, flag := range flags {
		key, value, ok := strings.Cut(flag, "=")
		if !ok || key == "" || value == "" {
			return nil, fmt.Errorf("--label is %q, it must be KEY=VALUE, such as role=web", flag)
		}
		if other, twice := labels[key]; twice {
			return nil, fmt.Errorf("the label %s is both %s and %s", key, other, value)
		}
		labels[key] = value
	}
	return labels, nil
}

func runAgent(ctx context.Context, c *command, dirs []string, labels map[string]string, o agentOptions) error {
	ctx, stop := untilUnread(ctx, os.Stdout, os.Stderr)
	defer stop()
	var releases []*release.Manifest
	for _, dir := range dirs {
		m, err := c.load(dir)
		if err != nil {
			return err
		}
		releases = append(releases, m)
	}
	p, err := c.address(dirs[0])
	if err != nil {
		return err
	}
	r, log, err := c.attach(ctx, p, "golive agent", o.logs == "json")
	if err != nil || r == nil {
		return err
	}
	defer r.Close()
	j, err := awaitJournal(ctx, r.Conn(), log)
	if err != nil || j == nil {
		return err
	}
	a, err := agent.New(agent.Config{
		Conn: r.Conn(), Journal: j, Releases: releases, Name: o.name, Labels: labels,
		Version: Version, Environment: p.Environment(), Logger: log,
	})
	if err != nil {
		return err
	}
	return a.Run(ctx)
}
