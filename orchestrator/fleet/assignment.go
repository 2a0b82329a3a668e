package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// readAssignment reads which hosts a step's latest attempt was given to, from the leader;
// revision 0 when none was given to any.
func (f *Fleet) readAssignment(ctx context.Context, id string, step rollout.Step) (assigned protocol.Assignment, revision uint64, err error) {
	key := protocol.AssignmentKey(id, step.Number, step.Revert)
	entry, err := f.hosts.get(ctx, key)
	if err != nil || entry == nil {
		return assigned, 0, err
	}
	if err := json.Unmarshal(entry.Value(), &assigned); err != nil {
		return assigned, 0, fmt.Errorf("read %s: %w", key, err)
	}
	return assigned, entry.Revision(), nil
}

// assign gives the hosts of the job's attempt, and chooses and keeps them if nobody has yet.
// With a text they could not be chosen: that is what it waits for.
func (f *Fleet) assign(ctx context.Context, j Job) (assigned protocol.Assignment, waiting string, err error) {
	for {
		assigned, revision, err := f.readAssignment(ctx, j.Rollout, j.Step)
		switch {
		case err != nil:
			return assigned, "", err
		case assigned.Attempt > j.Step.Attempt:
			return assigned, "", fmt.Errorf("attempt %d of step %s: %w", j.Step.Attempt, j.Step.ID, rollout.ErrStale)
		case assigned.Attempt == j.Step.Attempt:
			return assigned, "", nil
		}
		chosen, waiting, err := f.choose(ctx, j)
		if err != nil || waiting != "" {
			return assigned, waiting, err
		}
		assigned = protocol.Assignment{Attempt: j.Step.Attempt, Hosts: chosen}
		_, err = f.hosts.put(ctx, protocol.AssignmentKey(j.Rollout, j.Step.Number, j.Step.Revert), assigned, revision)
		if !errors.Is(err, rollout.ErrConflict) {
			return assigned, "", err
		}
	}
}

// choose chooses the hosts of an attempt. Those which have done it already, in this
// direction, stay.
func (f *Fleet) choose(ctx context.Context, j Job) (hosts []string, waiting string, err error) {
	if j.Step.Revert {
		hosts, err = f.begun(ctx, j)
		return hosts, "", err
	}
	entries, err := f.entries(ctx, j.Rollout, j.Step.Number, false)
	if err != nil {
		return nil, "", err
	}
	done := []string{} // not null on the wire
	for _, e := range entries {
		if e.Status == protocol.HostDone {
			done = append(done, e.Name)
		}
	}
	matching, err := f.Matching(ctx, j.Release, j.Step)
	if err != nil {
		return nil, "", err
	}
	names := make([]string, 0, len(matching))
	for _, a := range matching {
		names = append(names, a.Name)
	}
	if len(j.Step.Work.On) == 0 {
		return f.one(ctx, j, done, names)
	}
	hosts = append(done, names...)
	slices.Sort(hosts)
	hosts = slices.Compact(hosts)
	if len(names) == 0 || len(hosts) < j.Step.Work.Need.Hosts {
		return nil, missing(j, len(hosts)), nil
	}
	return hosts, "", nil
}

// one chooses the host of a step that any agent may do: the one which has done it, one that
// has done something of this rollout before, or the first by name.
func (f *Fleet) one(ctx context.Context, j Job, done, names []string) (hosts []string, waiting string, err error) {
	switch {
	case len(done) > 0:
		return done[:1], "", nil
	case len(names) == 0:
		return nil, missing(j, 0), nil
	}
	keys, err := f.hosts.keys(ctx, protocol.HostKeys(j.Rollout))
	if err != nil {
		return nil, "", fmt.Errorf("list the hosts of rollout %s: %w", j.Rollout, err)
	}
	for _, key := range keys {
		if _, _, _, name, ok := protocol.ParseHostKey(key); ok && slices.Contains(names, name) {
			return []string{name}, "", nil
		}
	}
	return names[:1], "", nil
}

// begun lists the hosts on which a step was begun forward, whatever has become of it there.
func (f *Fleet) begun(ctx context.Context, j Job) ([]string, error) {
	entries, err := f.entries(ctx, j.Rollout, j.Step.Number, false)
	if err != nil {
		return nil, err
	}
	hosts := []string{}
	for _, e := range entries {
		if !e.Started.IsZero() {
			hosts = append(hosts, e.Name)
		}
	}
	return hosts, nil
}

// missing says which agents a job waits for.
func missing(j Job, there int) string {
	digest := j.Release.Digest
	if len(digest) > 8 {
		digest = digest[:8] + "…"
	}
	release := fmt.Sprintf("%s %s (digest %s)", j.Release.App, j.Release.Version, digest)
	with := ""
	if on := j.Step.Work.On; len(on) > 0 {
		with = " with " + labels(on)
	}
	if there == 0 {
		return fmt.Sprintf("no agent%s has %s", with, release)
	}
	return fmt.Sprintf("%d agents%s have %s, %d are needed", there, with, release, j.Step.Work.Need.Hosts)
}
