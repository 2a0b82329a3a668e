// Package fleet has steps of rollouts done by the agents on hosts, and finds out what has
// come of them.
//
// [Fleet.Do] brings one attempt of a step to its end. All that it knows is in the hosts
// bucket, so it can be broken off at any point and called again, by any orchestrator, also
// by two at once: nothing is begun twice. An attempt's hosts are chosen once and kept as its
// assignment; what each of them does stands in an entry that its agent writes before it begins and
// after it has ended; and every write is conditional on the one before it.
//
// A host is lost when its entry says that it runs but its agent's lease is gone, or its agent
// was started anew; the entry then says so, and what the agent may say later is refused. That
// is noticed within a look ([LookEvery]) of an agent's new start, and, when it does not
// start again, within a look of the end of its lease ([protocol.AgentLease]). What a dead
// agent has begun may still run on its host.
//
// The fleet sends names and numbers, never a command: package agent tells why, and what an
// agent finds out for itself before it does something.
package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// LookEvery is how often everything is looked at anew, beside what is heard at once.
const LookEvery = 2 * time.Second

// Fleet is the agents of an environment. It is safe for concurrent use.
type Fleet struct {
	nc     *nats.Conn
	agents bucket
	hosts  bucket
}

// Make opens the agents' leases and what they have done, in the environment that nc is
// connected to, for an orchestrator: it makes or changes the buckets as [bus.Make] does, for
// the environment with that id.
func Make(ctx context.Context, nc *nats.Conn, environment string, replicas int) (*Fleet, error) {
	agents, err := makeBucket(ctx, nc, bus.Agents, environment, replicas)
	if err != nil {
		return nil, err
	}
	hosts, err := makeBucket(ctx, nc, bus.Hosts, environment, replicas)
	if err != nil {
		return nil, err
	}
	return &Fleet{nc: nc, agents: agents, hosts: hosts}, nil
}

// Agents lists those that are alive, by name.
func (f *Fleet) Agents(ctx context.Context) ([]protocol.Agent, error) {
	names, err := f.agents.keys(ctx, ">")
	if err != nil {
		return nil, fmt.Errorf("list agents: %w", err)
	}
	all := make([]protocol.Agent, 0, len(names))
	for _, name := range names {
		a, alive, err := f.agent(ctx, name)
		if err != nil {
			return nil, fmt.Errorf("list agents: %w", err)
		}
		if alive {
			all = append(all, a)
		}
	}
	slices.SortFunc(all, func(a, b protocol.Agent) int { return cmp.Compare(a.Name, b.Name) })
	return all, nil
}

// agent reads an agent's lease from the leader; alive is false when it holds none.
func (f *Fleet) agent(ctx context.Context, name string) (a protocol.Agent, alive bool, err error) {
	entry, err := f.agents.get(ctx, name)
	if err != nil || entry == nil {
		return a, false, err
	}
	if json.Unmarshal(entry.Value(), &a) != nil || a.Name != name {
		return a, false, nil // not the lease of an agent that we know
	}
	return a, true, nil
}

// Matching lists the agents that may do a step: they are alive, were given the release and
// have the labels that the step asks for.
func (f *Fleet) Matching(ctx context.Context, r rollout.Release, step rollout.Step) ([]protocol.Agent, error) {
	all, err := f.Agents(ctx)
	if err != nil {
		return nil, err
	}
	given := protocol.AgentRelease{App: r.App, Version: r.Version, Digest: r.Digest}
	return slices.DeleteFunc(all, func(a protocol.Agent) bool {
		return !slices.Contains(a.Releases, given) || !labelled(a, step)
	}), nil
}

func labelled(a protocol.Agent, step rollout.Step) bool {
	if step.Work == nil {
		return true
	}
	for key, value := range step.Work.On {
		if has, ok := a.Labels[key]; !ok || has != value {
			return false
		}
	}
	return true
}

// With says which labels agents need, " with role=web"; empty: none.
func With(on map[string]string) string {
	if len(on) == 0 {
		return ""
	}
	return " with " + labels(on)
}

// labels writes what a step asks for: "role=web, zone=a".
func labels(on map[string]string) string {
	var all []string
	for _, key := range slices.Sorted(maps.Keys(on)) {
		all = append(all, key+"="+on[key])
	}
	return strings.Join(all, ", ")
}

var rolloutID = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// Forget drops all that hosts have done for a rollout. It must have ended.
func (f *Fleet) Forget(ctx context.Context, id string) error {
	if !rolloutID.MatchString(id) {
		return fmt.Errorf("forget the hosts of rollout %q: this is no rollout", id)
	}
	err := f.hosts.stream.Purge(ctx, jetstream.WithPurgeSubject(f.hosts.prefix+protocol.HostKeys(id)))
	if err != nil {
		return fmt.Errorf("forget the hosts of rollout %s: %w", id, err)
	}
	return nil
}
