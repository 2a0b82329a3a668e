package rehearsal

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/protocol"
)

// Copy is what was read of an environment.
type Copy struct {
	Snapshot snapshot.Snapshot
	Archives snapshot.Folder   // of the snapshot
	Events   []api.RolloutView // of the app's rollouts that have ended or failed, oldest first
	Routes   []api.RouteStatus // of the services that the release touches
}

// ErrUnderWay says that a rollout of the app is under way.
var ErrUnderWay = errors.New("a rollout of the app is under way")

// Read reads what has run of the app, and how the traffic of services is. The error is
// [ErrUnderWay] while a rollout of the app is, which could go on in the copy. It holds all events
// of the app's rollouts in memory.
func (c *Copy) Read(ctx context.Context, client *api.Client, services []string) error {
	for before := ""; ; {
		page, err := client.List(ctx, api.ListRequest{App: c.Snapshot.App, Limit: 100, Before: before})
		if err != nil {
			return err
		}
		for _, r := range page.Rollouts {
			if !r.Status.Final() && r.Status != rollout.Failed {
				return fmt.Errorf("%w: %s of %s", ErrUnderWay, r.ID, r.Release.Version)
			}
			err := client.Past(ctx, r.ID, r.Sequence, func(v api.RolloutView) error {
				c.Events = append(c.Events, v)
				return nil
			})
			if err != nil {
				return fmt.Errorf("read rollout %s: %w", r.ID, err)
			}
		}
		if before = page.Next; before == "" {
			break
		}
	}
	slices.SortFunc(c.Events, func(a, b api.RolloutView) int { return cmp.Compare(a.Sequence, b.Sequence) })
	routes, err := client.Routes(ctx)
	if err != nil {
		return err
	}
	c.Routes = slices.DeleteFunc(routes, func(r api.RouteStatus) bool { return !slices.Contains(services, r.Service) })
	slices.SortFunc(c.Routes, func(a, b api.RouteStatus) int { return cmp.Compare(a.Revision, b.Revision) })
	return nil
}

// Since tells which scripts count as run in the environment now and did not when the snapshot was
// taken, and the other way round, as their ids. There are none where the data is that of what is
// live.
func Since(s snapshot.Snapshot, ran func(protocol.Script) bool, now []protocol.Script) (changed []string) {
	then := make(map[protocol.Script]bool)
	for _, r := range s.Ledger {
		script := protocol.Script{Name: r.Name, Version: r.Version, Phase: r.Phase}
		then[script] = true
		if !ran(script) {
			changed = append(changed, script.String()+" does not count as run any more")
		}
	}
	for _, script := range now {
		if !then[script] {
			changed = append(changed, script.String()+" has run since")
		}
	}
	return changed
}

// Fetch reads the archives of the snapshot, piece by piece, each when the one before is on disk,
// and compares each archive with what the manifest says of it; [snapshot.ErrDamaged] says that it
// is another one. It calls tell with how many bytes have come.
func (c *Copy) Fetch(ctx context.Context, client *api.Client, tell func(done int64)) error {
	done := int64(0)
	for _, service := range c.Snapshot.Services {
		for _, p := range service.Parts {
			q := api.ReadRequest{App: c.Snapshot.App, Snapshot: c.Snapshot.ID, Service: service.Name, Kind: p.Kind, Name: p.Name, Length: api.MaxPiece}
			err := c.Archives.Write(ctx, archive(service.Name, p), func(w io.Writer) error {
				h := sha256.New()
				for q.Offset < p.Size {
					piece, err := client.ReadSnapshot(ctx, q)
					if err != nil {
						return err
					}
					n := int64(len(piece.Data))
					if n == 0 || n > min(int64(q.Length), p.Size-q.Offset) {
						return fmt.Errorf("%w: a piece of %d bytes came at byte %d of %d", snapshot.ErrDamaged, n, q.Offset, p.Size)
					}
					_, _ = h.Write(piece.Data) // never fails
					if _, err := w.Write(piece.Data); err != nil {
						return err
					}
					q.Offset += n
					done += n
					tell(done)
				}
				if hex.EncodeToString(h.Sum(nil)) != p.SHA256 {
					return fmt.Errorf("%w: the archive is not what was written", snapshot.ErrDamaged)
				}
				return nil
			})
			if err != nil {
				return fmt.Errorf("copy %s of service %s: %w", p.Title(), service.Name, err)
			}
		}
	}
	return nil
}

// archive is the name of the archive of a part.
func archive(service string, p snapshot.Part) string {
	return service + "/" + p.Kind + "-" + p.Name + ".s2"
}
