package command

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/kept"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Alarms say what keeps production requests from being answered. A rollout that moves traffic
// tells itself what it waits for.

// alarms says why requests to a service are not answered by a version that is online, or not by
// all of its instances. State is the newest rollout of its app.
func alarms(s rollout.State, route gate.Route, instances []gate.Instance) []string {
	var all []string
	for _, version := range route.Online() {
		alive, without := gate.AliveOf(instances, version), withoutLease(instances, version)
		who := fmt.Sprintf("of %s %s", route.Service, version)
		switch {
		case len(without) > 0:
			all = append(all, fmt.Sprintf("%d of %d instances %s %s", len(without), alive+len(without), who, tellUnleased(without)))
		case alive == 0 && route.Maintenance == nil && takesTraffic(s, route.Service) && !moving(s, route.Service):
			all = append(all, fmt.Sprintf("no instance %s is alive, which is online: nobody answers", who))
		}
	}
	return all
}

// withoutLease lists the instances of a version that have no lease.
func withoutLease(instances []gate.Instance, version string) []gate.Instance {
	return slices.DeleteFunc(slices.Clone(instances), func(i gate.Instance) bool { return i.Version != version || i.Alive() })
}

// silentAfter is how long instances may be silent that still run.
const silentAfter = 3 * protocol.ConfirmEvery

// tellUnleased says what instances without a lease do.
func tellUnleased(instances []gate.Instance) string {
	var longest time.Duration
	heard := false
	for _, i := range instances {
		longest = max(longest, time.Duration(i.Unleased))
		heard = heard || time.Since(i.Seen) < silentAfter
	}
	longest = max(longest.Round(time.Second), time.Second)
	if !heard {
		return fmt.Sprintf("have not been heard of, and their leases ran out %s ago", longest)
	}
	return fmt.Sprintf("hold requests: no lease for %s", longest)
}

// takesTraffic reports whether instances of a service have to be alive where it is online.
func takesTraffic(s rollout.State, service string) bool {
	i := slices.IndexFunc(s.Release.Services, func(other rollout.Service) bool { return other.Name == service })
	return i >= 0 && s.Release.Services[i].Instances > 0
}

// moving reports whether a rollout is moving the traffic of a service.
func moving(s rollout.State, service string) bool {
	return slices.ContainsFunc(s.Running(), func(step rollout.Step) bool {
		return step.Name == service && (step.Kind == rollout.Traffic || step.Kind == rollout.Maintenance)
	})
}

// beyond says that instances act on a route that the bus does not hold any more.
func (c *base) beyond(ctx context.Context, service string, instances []gate.Instance) ([]string, error) {
	if !slices.ContainsFunc(instances, func(i gate.Instance) bool { return i.Revision > 0 }) {
		return nil, nil
	}
	now, beyond, err := c.Gate.Beyond(ctx, service, instances)
	if err != nil || len(beyond) == 0 {
		return nil, err
	}
	var who []string
	for _, i := range beyond {
		who = append(who, fmt.Sprintf("%s (%s, by revision %d)", i, cmp.Or(string(i.State), "offline"), i.Revision))
	}
	return []string{fmt.Sprintf("instances of %s act on a route that the bus does not hold, which has %s at revision %d: %s; start instances of what the route has online, or deploy the version that answers",
		service, now, now.Revision, strings.Join(who, ", "))}, nil
}

// busAlarms says what is wrong with the bus, and what was found to be gone.
func (c *base) busAlarms() []string {
	all := c.Kept.Alarms()
	if trouble := c.Storage.Trouble(); trouble != "" {
		all = append(all, trouble)
	}
	return all
}

// explainFor is how long it may take to find out why something is not there.
const explainFor = 4 * time.Second

// explained is an error as it is answered: where storage does not answer, with what is known of
// why.
func (c *base) explained(err error) *protocol.ServiceError {
	e := describe(err)
	if kept.Suspicious(err) {
		ctx, cancel := context.WithTimeout(context.Background(), explainFor)
		defer cancel()
		_ = c.Kept.Compare(ctx) // what it finds stands in the alarms
		if all := c.Kept.Alarms(); len(all) > 0 {
			e.Hint = strings.Join(all, "\n")
		}
		return e
	}
	if trouble := c.Storage.Trouble(); trouble != "" && e.Code == api.CodeUnavailable {
		e.Hint = trouble
	}
	return e
}

// newest gives the newest rollout of the app that a service belongs to; the zero state, if that
// is not known.
func (c *base) newest(ctx context.Context, service string) (rollout.State, error) {
	app := c.Ledger.Owner(service)
	id := c.Ledger.Newest(app)
	if id == "" {
		return rollout.State{}, nil
	}
	r, err := c.Journal.Load(ctx, app, id)
	if errors.Is(err, rollout.ErrNotFound) {
		return rollout.State{}, nil
	}
	return r.State, err
}
