package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Reasons that the fleet gives for a host.
const (
	reasonDied      = "its agent has died"
	reasonGone      = "its agent is gone"
	reasonCancelled = "cancelled before it had begun"
	reasonHopeless  = "not begun: too many others had failed"
	reasonLate      = "its time was over before it had begun"
)

// entry is what the bucket has of a host; revision 0: nothing.
type entry struct {
	protocol.Host
	revision uint64
}

// entry reads what a host has done for a step from the leader.
func (f *Fleet) entry(ctx context.Context, key, name string) (entry, error) {
	found, err := f.hosts.get(ctx, key)
	if err != nil {
		return entry{}, err
	}
	if found == nil {
		return entry{Host: protocol.Host{Name: name, Status: protocol.HostWaiting}}, nil
	}
	e := entry{revision: found.Revision()}
	if err := json.Unmarshal(found.Value(), &e.Host); err != nil {
		return e, fmt.Errorf("read %s at revision %d: %w", key, e.revision, err)
	}
	e.Name = name // its key says so: an agent may write no other
	if more := len(e.Output) - protocol.MaxHostOutput; more > 0 {
		e.Output, e.Cut = strings.ToValidUTF8(e.Output[more:], ""), true
	}
	return e, nil
}

// entries reads what all hosts have done for a step in one direction, by name.
func (f *Fleet) entries(ctx context.Context, id string, step int, revert bool) ([]entry, error) {
	keys, err := f.hosts.keys(ctx, protocol.HostKey(id, step, revert, "*"))
	if err != nil {
		return nil, fmt.Errorf("list the hosts of rollout %s: %w", id, err)
	}
	var all []entry
	for _, key := range keys {
		_, _, _, name, ok := protocol.ParseHostKey(key)
		if !ok {
			continue
		}
		e, err := f.entry(ctx, key, name)
		if err != nil {
			return nil, err
		}
		if e.revision > 0 {
			all = append(all, e)
		}
	}
	return all, nil
}

// end writes, on top of what was found, that an attempt has ended on a host, or does not
// begin there, without its agent. When somebody else has written meanwhile, that counts, and is
// found with the next look. When it began, and on whose word, is kept: who undoes the step has
// to know.
func (f *Fleet) end(ctx context.Context, key string, found entry, attempt int, status protocol.HostStatus, code, reason string) error {
	h := protocol.Host{
		Name: found.Name, Instance: found.Instance, Started: found.Started,
		Attempt: attempt, Status: status, Ended: time.Now().UTC(), Error: reason, Code: code,
	}
	_, err := f.hosts.put(ctx, key, h, found.revision)
	if err != nil && !errors.Is(err, rollout.ErrConflict) {
		return err
	}
	return nil
}
