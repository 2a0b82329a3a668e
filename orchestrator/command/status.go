package command

import (
	"context"
	"errors"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func (c *queries) status(ctx context.Context, q api.AppRequest) ([]api.AppStatus, error) {
	all := []api.AppStatus{}
	for _, app := range c.Ledger.Apps() {
		if q.App != "" && q.App != app {
			continue
		}
		one, err := c.appStatus(ctx, app)
		if errors.Is(err, rollout.ErrNotFound) {
			continue // it has nothing but marks, or its journal was dropped
		}
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	if q.App != "" && len(all) == 0 {
		if told := c.busAlarms(); len(told) > 0 {
			return nil, refuse(api.CodeUnavailable, strings.Join(told, "\n"), "no version of an app %q is known here, and something is wrong with what the bus holds", q.App)
		}
		return nil, refuse(api.CodeNotFound, "golive status lists the apps", "no version of an app %q has been rolled out here", q.App)
	}
	if told := c.busAlarms(); len(all) == 0 && len(told) > 0 {
		return nil, refuse(api.CodeUnavailable, strings.Join(told, "\n"), "no app is known here, and something is wrong with what the bus holds")
	}
	return all, nil
}

func (c *queries) appStatus(ctx context.Context, app string) (api.AppStatus, error) {
	newest := c.Ledger.Newest(app) // of one that only repeated it, the one before
	if newest == "" {
		return api.AppStatus{}, rollout.ErrNotFound
	}
	r, err := c.Journal.Load(ctx, app, newest)
	if err != nil {
		return api.AppStatus{}, err
	}
	book, err := c.Ledger.Book(ctx, app)
	if err != nil {
		return api.AppStatus{}, err
	}
	s := api.AppStatus{App: app, Version: r.State.Release.Version, Rollout: c.viewOf(r), Services: make([]api.ServiceStatus, len(r.State.Release.Services))}
	for _, open := range c.View.OfApp(app) {
		if isQueued(open) {
			s.Queued = append(s.Queued, c.viewOf(open))
		}
	}
	asking, ctx := errgroup.WithContext(ctx)
	asking.SetLimit(statusAtOnce)
	alarmed := make([][]string, len(r.State.Release.Services))
	for i, service := range r.State.Release.Services {
		asking.Go(func() (err error) {
			s.Services[i], alarmed[i], err = c.serviceStatus(ctx, r.State, service, book)
			return err
		})
	}
	if r.State.Release.Setup {
		asking.Go(func() error {
			s.Changed = c.changed(ctx, book, protocol.Script{Name: app, Version: r.State.Release.Version, Phase: protocol.Setup})
			return nil
		})
	}
	err = asking.Wait()
	s.Alarms = slices.Concat(append([][]string{c.busAlarms()}, alarmed...)...)
	return s, err
}

// statusAtOnce is how many services are asked about at the same time.
const statusAtOnce = 16

// serviceStatus tells what of a service is online, and what is wrong about that.
func (c *queries) serviceStatus(ctx context.Context, newest rollout.State, service rollout.Service, book *ledger.Book) (api.ServiceStatus, []string, error) {
	s := api.ServiceStatus{Service: service.Name, Version: service.Version, Online: []string{}}
	route, err := c.Gate.Route(ctx, service.Name)
	if err != nil {
		return s, nil, err
	}
	s.Online, s.Maintenance = append(s.Online, route.Online()...), route.Maintenance
	instances, err := c.Gate.Instances(ctx, service.Name)
	if err != nil {
		return s, nil, err
	}
	counted := s.Online
	if len(counted) == 0 {
		counted = []string{service.Version}
	}
	for _, version := range counted {
		s.Alive += gate.AliveOf(instances, version)
		s.Holding += len(withoutLease(instances, version))
	}
	for _, phase := range service.Migrations {
		script := protocol.Script{Name: service.Name, Version: service.Version, Phase: phase}
		if _, yes := book.Ran(script); !yes {
			s.NotRun = append(s.NotRun, string(phase))
		} else if c.changed(ctx, book, script) {
			s.Changed = append(s.Changed, string(phase))
		}
	}
	beyond, err := c.beyond(ctx, service.Name, instances)
	return s, append(alarms(newest, route, instances), beyond...), err
}

// changed reports whether the setup service that is running now tells another digest of a
// script than was recorded when it ran. What cannot be known has not changed.
func (c *queries) changed(ctx context.Context, book *ledger.Book, script protocol.Script) bool {
	for _, e := range slices.Backward(book.Entries()) {
		if e.Void != "" || e.Script() != script {
			continue
		}
		if e.Digest == "" {
			return false
		}
		info, err := c.Setup.About(ctx, script)
		return err == nil && info.Digest != "" && info.Digest != e.Digest
	}
	return false
}
