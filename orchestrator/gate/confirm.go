package gate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// relist is how often the leases are looked at again while a step is not confirmed.
const relist = 250 * time.Millisecond

// tellAfter is how long a step may take before it is told what it waits for.
const tellAfter = 2 * time.Second

// confirmed blocks until a revision has been confirmed. The leases are listed after it
// was written: whoever is not among them reads it before it answers anything.
func (g *Gate) confirmed(ctx context.Context, o Order, at Route, moved *Moved) error {
	began, told := time.Now(), ""
	v := newVigil(g, o)
	defer v.end()
	holders, err := v.list(ctx)
	if err != nil {
		return err
	}
	tick := time.NewTicker(relist)
	defer tick.Stop()
	for {
		confirmed, count := g.confirmations(o.Service)
		p := o.progress(at, holders, confirmed, v.isGone)
		if moved.At.IsZero() {
			moved.At = p.acting
		}
		if g.beyond(o.Service, at.Revision) > 0 {
			return errOvertaken
		}
		if p.ready() {
			if told != "" {
				o.Tell("")
			}
			return nil
		}
		waited := time.Since(began)
		if waited > relist && v.missing(ctx, p, holders, confirmed) || waited > g.patience && p.overdue() {
			dead, err := v.dead(ctx, holders, confirmed)
			if err != nil {
				return err
			}
			return g.unconfirmed(ctx, p, dead, waited)
		}
		if waited > tellAfter {
			if waiting := g.waiting(ctx, p); waiting != told {
				o.Tell(waiting)
				told = waiting
			}
		}
		if !g.await(ctx, o.Service, count+p.missing(), tick.C) {
			if found, err := v.list(ctx); err == nil { // else the bus is away: all are kept
				holders = found
			}
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
}

// errOvertaken says that an instance acts on a later revision than the one whose confirmation
// is waited for: another worker of the same rollout has led the route further, while this one
// slept, or the route went back. The next look at the route tells which.
var errOvertaken = errors.New("the route has been led further")

// await blocks until so many confirmations of a service have come; false when the
// tick came first, or ctx ended.
func (g *Gate) await(ctx context.Context, service string, confirmations int, tick <-chan time.Time) bool {
	for {
		count, changed := g.count(service)
		if count >= confirmations {
			return true
		}
		select {
		case <-changed:
		case <-tick:
			return false
		case <-ctx.Done():
			return false
		}
	}
}

func (g *Gate) unconfirmed(ctx context.Context, p progress, dead []Instance, waited time.Duration) error {
	confirmed, _ := g.confirmations(p.order.Service)
	unready, err := g.describeAll(ctx, p.unready, confirmed)
	if err != nil {
		return err
	}
	return &UnconfirmedError{
		Service: p.order.Service, Version: p.order.Version, Route: p.revision, Have: p.have, Want: p.want, Alive: p.present,
		Unready: unready, Dead: dead, WaitedFor: waited,
	}
}

// describeAll describes instances, by id.
func (g *Gate) describeAll(ctx context.Context, holders []leaseholder, confirmed map[string]confirmation) ([]Instance, error) {
	var all []Instance
	for _, h := range holders {
		i, err := g.describe(ctx, h, confirmed[h.id])
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	slices.SortFunc(all, func(a, b Instance) int { return strings.Compare(a.ID, b.ID) })
	return all, nil
}

// waiting says what is waited for.
func (g *Gate) waiting(ctx context.Context, p progress) string {
	if p.have < p.want {
		text := fmt.Sprintf("%d of %d instances of %s %s have confirmed route revision %d",
			p.have, p.want, p.order.Service, p.order.Version, p.revision.Revision)
		if p.present < p.want {
			text += fmt.Sprintf(", %d are alive", p.present)
		}
		return text
	}
	var names []string
	confirmed, _ := g.confirmations(p.order.Service)
	unready, err := g.describeAll(ctx, p.unready, confirmed)
	for _, i := range unready {
		names = append(names, i.String())
	}
	if err != nil || len(names) == 0 { // the bus is away
		names = []string{fmt.Sprintf("%d instances", len(p.unready))}
	}
	return fmt.Sprintf("%s, alive by lease, to confirm route revision %d of %s", strings.Join(names, ", "), p.revision.Revision, p.order.Service)
}

// progress is how far the confirmation of a revision has come.
type progress struct {
	order    Order
	revision Route
	unready  []leaseholder // alive, and have not confirmed it
	have     int           // instances of the ordered version that have
	want     int
	present  int       // instances of the ordered version that are there
	relief   bool      // an instance of another version is alive
	acting   time.Time // since when instances answer as ordered; zero: none does
}

func (o Order) progress(at Route, holders []leaseholder, confirmed map[string]confirmation, gone func(id string) bool) progress {
	p := progress{order: o, revision: at, want: o.Instances}
	target := protocol.EncodeVersion(o.Version)
	state := at.State(o.Version)
	maintained := false
	var first time.Time // that an instance of the version has said that it acts
	for _, h := range holders {
		c := confirmed[h.id]
		if c.State == protocol.StateLeft {
			continue
		}
		acts := c.Revision >= at.Revision
		if !acts {
			p.unready = append(p.unready, h)
		}
		maintained = maintained || acts && at.Maintenance != nil
		if h.encodedVersion != target {
			p.relief = true
			continue
		}
		if !gone(h.id) && c.unleased() < unleasedAfter {
			p.present++
		}
		if acts && c.State == state {
			p.have++
			if first.IsZero() || c.at.Before(first) {
				first = c.at
			}
		}
	}
	switch {
	case o.RetryAfter > 0 && maintained:
		p.acting = at.Maintenance.Since
	case o.RetryAfter == 0 && at.Maintenance == nil && state == protocol.StateOnline:
		p.acting = first.UTC()
	}
	switch {
	case o.Version == "" || o.RetryAfter > 0 || state == protocol.StateFenced || state == protocol.StateOffline || state == protocol.StateDraining:
		p.want = 0
	case p.want == 0 && state == protocol.StateOnline:
		p.want = min(1, p.present)
	}
	return p
}

// taking reports whether the step is the one at which the version goes online while
// others still hold what they have got. They may forward it to whoever has come online:
// an instance that hangs keeps nobody waiting then.
func (p progress) taking() bool {
	return p.revision.State(p.order.Version) == protocol.StateOnline && p.order.RetryAfter == 0 &&
		slices.ContainsFunc(p.revision.Versions, func(v protocol.RouteVersion) bool { return v.State == protocol.StateFenced })
}

func (p progress) ready() bool {
	return p.have >= p.want && (len(p.unready) == 0 || p.taking() || p.order.settled)
}

// missing is how many confirmations have to come at least before the step can be ready.
func (p progress) missing() int {
	if p.taking() || p.order.settled {
		return max(p.want-p.have, 1)
	}
	return max(p.want-p.have, len(p.unready), 1)
}

// overdue reports whether waiting on would harm somebody, or be of no use: instances
// that are alive do not confirm, or requests are held for too few.
func (p progress) overdue() bool {
	return len(p.unready) > 0 || p.taking() || holding(p.revision.Route) && p.revision.State(p.order.Version) != protocol.StateOffline
}
