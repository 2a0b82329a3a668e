package local

import (
	"context"
	"path/filepath"
	"slices"

	"github.com/golive-dev/golive/orchestrator/release"
)

// before is the app of the version before, as far as its services are others: none where it is
// not known.
func (u Up) before(bus Place) *app {
	if u.Before == nil {
		return nil
	}
	m := *u.Before
	m.Services = slices.DeleteFunc(slices.Clone(m.Services), func(s release.Service) bool {
		return slices.ContainsFunc(u.Manifest.Services, func(now release.Service) bool { return now.Name == s.Name && now.Version == s.Version })
	})
	others := u
	others.Manifest, others.Data = &m, filepath.Join(u.Data, "before")
	a := newApp(others, bus)
	a.records, a.old = u.records(), true
	return a
}

// startBefore starts the services of the version before, and blocks until they are on the bus.
func (u *upRun) startBefore(ctx context.Context) error {
	if u.old == nil {
		return nil
	}
	if err := u.old.startServices(); err != nil {
		return err
	}
	return u.awaitServices(ctx, u.old)
}
