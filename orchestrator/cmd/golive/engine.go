package main

import (
	"context"
	"fmt"

	"github.com/golive-dev/golive/orchestrator"
	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/relay"
)

// engine is an orchestrator with what it works on.
type engine struct {
	*orchestrator.Orchestrator
	gate    *gate.Gate
	journal *journal.Journal
}

// newEngine wires an orchestrator to a bus; how it works stands in c, and how its gate does
// in cutovers.
func newEngine(ctx context.Context, r *relay.Relay, c orchestrator.Config, cutovers gate.Config) (*engine, error) {
	var err error
	c.Conn, c.Version = r.Conn(), Version
	if c.Journal, err = journal.Make(ctx, c.Conn, c.Replicas); err != nil {
		return nil, err
	}
	if c.Ledger, err = ledger.Make(ctx, c.Conn, c.Journal.Environment(), c.Replicas); err != nil {
		return nil, err
	}
	cutovers.Conn, cutovers.Environment, cutovers.Replicas = c.Conn, c.Journal.Environment(), c.Replicas
	if c.Gate, err = gate.Make(ctx, cutovers); err != nil {
		return nil, err
	}
	if c.Fleet, err = fleet.Make(ctx, c.Conn, c.Journal.Environment(), c.Replicas); err != nil {
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
