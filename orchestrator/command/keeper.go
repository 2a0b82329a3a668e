package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/fleet"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/transfer"
)

// keeper reaches services and agents that take and put state. What it asks for has to be claimed
// with its inbox before: agents follow nothing else.
type keeper struct {
	conn     *nats.Conn
	gate     *gate.Gate
	fleet    *fleet.Fleet
	inbox    string
	releases []rollout.Release // whose commands are run, the first that an agent has been given
}

// keeper makes one for an app, whose commands are those of the releases.
func (c *taker) keeper(releases ...rollout.Release) *keeper {
	return &keeper{conn: c.Conn, gate: c.Gate, fleet: c.Fleet, inbox: c.Conn.NewInbox(), releases: releases}
}

// awaitKeeper is how long an agent is waited for that may run a command: one of golive up comes up
// beside the rollout.
const awaitKeeper = 20 * time.Second

// keeperError says that nobody is there who takes or puts the state, or why he does not.
type keeperError struct {
	why, hint string
	cause     error // may be nil
}

// Error is of [error].
func (e *keeperError) Error() string { return e.why }

// Unwrap gives the cause.
func (e *keeperError) Unwrap() error { return e.cause }

// Fetch is of [snapshot.Keeper].
func (k *keeper) Fetch(ctx context.Context, w snapshot.Want, to io.Writer) (string, error) {
	a, err := k.ask(ctx, w)
	if err != nil {
		return "", err
	}
	who, err := transfer.Fetch(ctx, a, to)
	return rollout.Clip(transfer.Name(who)), explainKeeper(w, a, err)
}

// Deliver is of [snapshot.Keeper].
func (k *keeper) Deliver(ctx context.Context, w snapshot.Want, r io.Reader) (string, error) {
	a, err := k.ask(ctx, w)
	if err != nil {
		return "", err
	}
	who, err := transfer.Deliver(ctx, a, r)
	return rollout.Clip(transfer.Name(who)), explainKeeper(w, a, err)
}

// explainKeeper says what a person does about a keeper that has failed.
func explainKeeper(w snapshot.Want, a transfer.Ask, err error) error {
	var said *transfer.Error
	switch {
	case errors.Is(err, transfer.ErrNobody) && w.Part.Kind == snapshot.KindMessages:
		return &keeperError{"nobody answers for the state of service " + w.Service.Name + " " + w.Service.Version,
			"start the service, with relay.Service{State: …}, or take messages out of services." + w.Service.Name + ".state of golive.yaml", err}
	case errors.As(err, &said):
		why := said.Error()
		if said.From == "" { // it has not got to say who it is
			why = a.Subject + ": " + why
		}
		if w.Part.Kind == snapshot.KindMessages { // the command's own words say what it was called with
			why = w.Do + " by " + why
		}
		return &keeperError{rollout.Clip(why), "mend it where it runs, and try again", err}
	}
	return err
}

// ask is the question to whoever keeps a part.
func (k *keeper) ask(ctx context.Context, w snapshot.Want) (transfer.Ask, error) {
	a := transfer.Ask{Conn: k.conn, Inbox: k.inbox, Order: protocol.StateOrder{
		Snapshot: w.Snapshot, App: w.App, Service: w.Service.Name, Version: w.Service.Version, Do: w.Do,
		Timeout: w.Part.Timeout, Most: w.Part.Most,
	}}
	if w.Part.Kind == snapshot.KindMessages {
		version, err := k.online(ctx, w.Service)
		a.Order.Version, a.Subject = version, protocol.StateSubject(w.Service.Name, version, w.Do)
		return a, err
	}
	agent, r, err := k.agent(ctx, w)
	a.Order.Version, a.Order.Digest, a.Subject = r.Version, r.Digest, protocol.AgentSubject(agent, "state")
	return a, err
}

// online is the version of a service that keeps its state: the one that serves or, where none
// does, the one that the snapshot is of.
func (k *keeper) online(ctx context.Context, s snapshot.Service) (string, error) {
	route, err := k.gate.Route(ctx, s.Name)
	if err != nil {
		return "", err
	}
	if online := route.Online(); len(online) > 0 {
		return online[0], nil
	}
	return s.Version, nil
}

// agent is the one agent, or the one with no other labels, that may run the command of a part, and of which release. A drop waits for none.
func (k *keeper) agent(ctx context.Context, w snapshot.Want) (string, rollout.Release, error) {
	for began := time.Now(); ; {
		name, r, err := k.agentNow(ctx, w)
		none := new(keeperError)
		if !errors.As(err, &none) || none.cause != nil || w.Do == protocol.StateDrop || time.Since(began) > awaitKeeper {
			return name, r, err
		}
		if tasks.Pause(ctx, time.Second); ctx.Err() != nil {
			return "", r, ctx.Err()
		}
	}
}

func (k *keeper) agentNow(ctx context.Context, w snapshot.Want) (string, rollout.Release, error) {
	missing := fmt.Sprintf("no release of %s that is known here has a command for the state of service %s", w.App, w.Service.Name)
	for _, r := range k.releases {
		for _, s := range r.Services {
			if s.Name != w.Service.Name || s.State == nil || !s.State.Command {
				continue
			}
			agents, err := k.fleet.Matching(ctx, r, rollout.Step{Work: &rollout.Work{On: s.State.On}})
			switch {
			case err != nil:
				return "", r, err
			case len(agents) == 1:
				return agents[0].Name, r, nil
			case len(agents) > 1:
				exactly := slices.DeleteFunc(slices.Clone(agents), func(a protocol.Agent) bool { return len(a.Labels) != len(s.State.On) })
				if len(exactly) == 1 {
					return exactly[0].Name, r, nil
				}
				return "", r, &keeperError{fmt.Sprintf("%d agents may take the state of service %s, such as %s and %s: it is not known which of them has it", len(agents), s.Name, agents[0].Name, agents[1].Name),
					"give the label of the right one in services." + s.Name + ".state.on of golive.yaml", errSeveral}
			}
			missing = fmt.Sprintf("no agent%s has %s %s, whose command takes the state of service %s", fleet.With(s.State.On), r.App, r.Version, s.Name)
		}
	}
	return "", rollout.Release{}, &keeperError{why: missing, hint: "start one with golive agent"}
}

// errSeveral says that waiting does not help.
var errSeveral = errors.New("several agents may run it")
