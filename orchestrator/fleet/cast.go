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

// readCast reads an attempt's cast from the leader; revision 0 when no attempt has one.
func (f *Fleet) readCast(ctx context.Context, id string, step rollout.Step) (cast protocol.Cast, revision uint64, err error) {
	key := protocol.CastKey(id, step.Number, step.Revert)
	entry, err := f.hosts.get(ctx, key)
	if err != nil || entry == nil {
		return cast, 0, err
	}
	if err := json.Unmarshal(entry.Value(), &cast); err != nil {
		return cast, 0, fmt.Errorf("read %s: %w", key, err)
	}
	return cast, entry.Revision(), nil
}

// cast gives the cast of the job's attempt, and chooses and keeps it if nobody has yet. With
// a text it could not be chosen: that is what it waits for.
func (f *Fleet) cast(ctx context.Context, j Job) (cast protocol.Cast, waiting string, err error) {
	for {
		cast, revision, err := f.readCast(ctx, j.Rollout, j.Step)
		switch {
		case err != nil:
			return cast, "", err
		case cast.Attempt > j.Step.Attempt:
			return cast, "", fmt.Errorf("attempt %d of step %s: %w", j.Step.Attempt, j.Step.ID, rollout.ErrStale)
		case cast.Attempt == j.Step.Attempt:
			return cast, "", nil
		}
		chosen, waiting, err := f.choose(ctx, j)
		if err != nil || waiting != "" {
			return cast, waiting, err
		}
		cast = protocol.Cast{Attempt: j.Step.Attempt, Hosts: chosen}
		_, err = f.hosts.put(ctx, protocol.CastKey(j.Rollout, j.Step.Number, j.Step.Revert), cast, revision)
		if !errors.Is(err, rollout.ErrConflict) {
			return cast, "", err
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
