package main

import (
	"context"
	"fmt"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
)

// engine is an orchestrator with what it works on.
type engine struct {
	*orchestrator.Orchestrator
	gate    *gate.Gate
	journal *journal.Journal
}

// newEngine wires an orchestrator to a bus; how it works stands in c.
func newEngine(ctx context.Context, r *relay.Relay, c orchestrator.Config) (*engine, error) {
	var err error
	c.Conn, c.Version = r.Conn(), Version
	if c.Journal, err = journal.Make(ctx, c.Conn, c.Replicas); err != nil {
		return nil, err
	}
	if c.Ledger, err = ledger.Open(ctx, c.Conn, c.Replicas); err != nil {
		return nil, err
	}
	if c.Gate, err = gate.New(ctx, c.Conn, c.Replicas); err != nil {
		return nil, err
	}
	if c.Fleet, err = fleet.New(ctx, c.Conn, c.Replicas); err != nil {
		return nil, err
	}
	o, err := orchestrator.New(c)
	if err != nil {
		return nil, err
	}
	return &engine{Orchestrator: o, gate: c.Gate, journal: c.Journal}, nil
}

// start runs the engine until ctx ends; it returns once commands are answered. The
// channel gives the one result.
func (e *engine) start(ctx context.Context) (<-chan error, error) {
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	select {
	case <-e.Ready():
		return ended, nil
	case err := <-ended:
		if err == nil {
			err = ctx.Err()
		}
		return nil, fmt.Errorf("start the orchestrator: %w", err)
	}
}

// releaseOf is what a deploy request says of a manifest.
func releaseOf(m *release.Manifest) rollout.Release {
	r := rollout.Release{
		App: m.App, Version: m.Version, Strategy: rollout.Strategy(m.Strategy),
		RetryAfter: rollout.Duration(m.RetryAfter), Setup: m.Setup.Exists(), Digest: m.Digest(),
		MustNotSkip: m.MustNotSkip, AutoRevert: m.AutoRevert, Environment: m.Environment.Name,
		Approvals: policyOf(m.Environment.Approvals),
	}
	if m.Requires != nil {
		r.Requires = &rollout.Requirement{Version: m.Requires.Version}
	}
	for _, s := range m.Steps {
		r.Workflow = append(r.Workflow, itemOf(s))
	}
	for _, s := range m.Services {
		r.Services = append(r.Services, rollout.Service{
			Name: s.Name, Version: s.Version, Migrations: s.Migrations, DependsOn: s.DependsOn,
			Timeout: rollout.Duration(s.Timeout), Retries: s.Retries, Backoff: rollout.Duration(s.Backoff),
			Instances: s.Instances, KeepOnline: s.KeepOnline, Pace: s.Pace,
		})
	}
	return r
}
