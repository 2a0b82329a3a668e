package gate

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

const (
	// deadAfter is how long too few instances of the version that comes have to be there, while
	// requests wait for them, until they count as dead: one may be on its way back to the bus.
	deadAfter = time.Second

	// backWithin is how long instances may take to come back to a bus that was away.
	backWithin = 5 * time.Second

	// awayAfter is how long the bus takes to answer when it was away meanwhile.
	awayAfter = askTimeout

	// unleasedAfter is how long an instance may be without a lease and count as there.
	unleasedAfter = 3 * time.Second
)

// vigil finds out, while requests wait for the version that comes, whether its instances have
// died. Those that answer at an address of their own are asked there, because NATS tells at
// once that nobody listens any more; of others the lease has to run out.
type vigil struct {
	gate    *Gate
	order   Order
	lost    time.Time              // since when too few are there; zero: they are
	excused time.Time              // until then it proves nothing that they are not there
	known   map[string]leaseholder // by id: that were there

	asking  sync.WaitGroup
	stop    context.CancelFunc // of those who are being asked
	mu      sync.Mutex
	holders []leaseholder // that are asked
	gone    map[string]bool
}

func newVigil(g *Gate, o Order) *vigil {
	return &vigil{gate: g, order: o, known: make(map[string]leaseholder), gone: make(map[string]bool), stop: func() {}}
}

// end stops asking, and waits for that.
func (v *vigil) end() {
	v.stop()
	v.asking.Wait()
}

// list lists the leaseholders. What was away while they were asked about excuses everybody.
func (v *vigil) list(ctx context.Context) ([]leaseholder, error) {
	began := time.Now()
	holders, err := v.gate.alive(ctx, v.order.Service)
	if err != nil || time.Since(began) > awayAfter {
		v.excused = time.Now().Add(backWithin)
	}
	return holders, err
}

// missing reports whether nobody answers because too few instances of the version are there,
// and have been for a while.
func (v *vigil) missing(ctx context.Context, p progress, holders []leaseholder, confirmed map[string]confirmation) bool {
	if !p.dark() {
		return false
	}
	v.ask(ctx, holders, confirmed)
	now := time.Now()
	if !p.lacking() || now.Before(v.excused) {
		v.lost = time.Time{}
		return false
	}
	if v.lost.IsZero() {
		v.lost = now
	}
	return now.Sub(v.lost) >= deadAfter
}

// ask begins to ask the instances of the version whether they are there, or goes on with those
// that are known now.
func (v *vigil) ask(ctx context.Context, holders []leaseholder, confirmed map[string]confirmation) {
	target := protocol.EncodeVersion(v.order.Version)
	var asked []leaseholder
	for _, h := range holders {
		c := confirmed[h.id]
		if h.encodedVersion != target || c.State == protocol.StateLeft {
			continue
		}
		v.known[h.id] = h
		if c.Address {
			asked = append(asked, h)
		}
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	begun := v.holders != nil
	v.holders = append([]leaseholder{}, asked...)
	if begun {
		return
	}
	ctx, v.stop = context.WithCancel(ctx)
	v.asking.Go(func() { v.goOnAsking(ctx) })
}

// goOnAsking asks each instance again and again until ctx ends.
func (v *vigil) goOnAsking(ctx context.Context) {
	for ctx.Err() == nil {
		v.mu.Lock()
		holders := v.holders
		v.mu.Unlock()
		round, cancel := context.WithTimeout(ctx, relist)
		var asking sync.WaitGroup
		for _, h := range holders {
			asking.Go(func() { v.askOne(round, h) })
		}
		asking.Wait()
		<-round.Done()
		cancel()
	}
}

// askOne asks an instance whether it is there. No answer proves nothing: it may hang, and be
// back before its lease has run out.
func (v *vigil) askOne(ctx context.Context, h leaseholder) {
	ctx, cancel := context.WithTimeout(ctx, relist)
	defer cancel()
	to := protocol.InstanceSubject(v.order.Service, v.order.Version, h.id)
	_, err := v.gate.nc.RequestWithContext(ctx, to, nil)
	if err != nil && !errors.Is(err, nats.ErrNoResponders) {
		return
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	v.gone[h.id] = err != nil
}

// isGone reports whether nobody listens any more at the address of an instance.
func (v *vigil) isGone(id string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.gone[id]
}

// dead describes the instances of the version that have died while requests waited for them.
func (v *vigil) dead(ctx context.Context, holders []leaseholder, confirmed map[string]confirmation) ([]Instance, error) {
	dead := maps.Clone(v.known)
	for _, h := range holders {
		if !v.isGone(h.id) {
			delete(dead, h.id)
		}
	}
	return v.gate.describeAll(ctx, slices.Collect(maps.Values(dead)), confirmed)
}

// dark reports whether nobody answers production requests unless the version that comes does,
// though somebody could: instances of another version are alive.
func (p progress) dark() bool {
	o := p.order
	if o.Instances == 0 || o.Version == "" || o.RetryAfter > 0 || o.settled || p.revision.Maintenance != nil || !p.relief {
		return false
	}
	for _, v := range p.revision.Versions {
		if v.State == protocol.StateOnline && v.Version != o.Version {
			return false
		}
	}
	return p.revision.State(o.Version) != protocol.StateOffline
}

// lacking reports whether too few instances of the version are there: fewer than the order
// says or, where it answers already and nobody else waits for it to begin, none.
func (p progress) lacking() bool {
	if p.revision.State(p.order.Version) == protocol.StateOnline && !p.taking() {
		return p.present == 0
	}
	return p.present < p.order.Instances
}
