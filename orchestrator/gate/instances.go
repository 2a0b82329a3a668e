package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// Instance is a running instance of a service as it last told.
type Instance struct {
	ID       string                `json:"id"`
	Version  string                `json:"version"`
	Host     string                `json:"host,omitempty"`
	PID      int                   `json:"pid,omitempty"`
	State    protocol.VersionState `json:"state"`         // that it acts on; empty: not heard of yet
	Revision uint64                `json:"revision"`      // of the route that it acts on
	Seen     time.Time             `json:"seen,omitzero"` // when it last confirmed

	// Unleased is for how long it has had no lease that counts, in which it answers no
	// production request; 0: it has one.
	Unleased protocol.Duration `json:"unleased,omitempty"`
}

// Alive reports whether the instance has a lease, and so may answer.
func (i Instance) Alive() bool { return i.Unleased == 0 }

// String names the instance for people.
func (i Instance) String() string {
	name := "instance " + i.ID[:min(8, len(i.ID))] + " of " + i.Version
	if i.Host != "" {
		name += fmt.Sprintf(" (%s, pid %d)", i.Host, i.PID)
	}
	return name
}

// forgetAfter is how long a confirmation is kept of an instance that is not heard of any
// more; its lease decides whether it is alive.
const forgetAfter = time.Minute

// keepAtLeast is how many instances of a service are remembered before it is looked for
// some to forget.
const keepAtLeast = 100

// instances are those that have told of themselves, and the leases. It is safe for concurrent use.
type instances struct {
	held jetstream.Stream // of the leases

	mu      sync.Mutex
	newest  map[string]map[string]confirmation // by service and instance
	kept    map[string]int                     // by service: how many were left when some were forgotten
	counted map[string]int                     // by service: confirmations
	changed chan struct{}                      // closed and replaced with every confirmation
}

func newInstances(leases jetstream.Stream) *instances {
	return &instances{
		held: leases, newest: make(map[string]map[string]confirmation), kept: make(map[string]int), counted: make(map[string]int),
		changed: make(chan struct{}),
	}
}

// confirmation is the newest confirmation of an instance.
type confirmation struct {
	protocol.Confirmation
	at time.Time
}

// Run listens to the confirmations of all instances, and follows the routes, until ctx ends.
// Without it no step of a cutover is ever confirmed.
func (g *Gate) Run(ctx context.Context) error {
	sub, err := g.nc.Subscribe(protocol.AllConfirms, g.receive)
	if err != nil {
		return fmt.Errorf("listen to %s: %w", protocol.AllConfirms, err)
	}
	g.follow(ctx)
	_ = sub.Unsubscribe() // the connection may be gone
	return nil
}

func (x *instances) receive(m *nats.Msg) {
	service, id, ok := protocol.ParseConfirmSubject(m.Subject)
	var c protocol.Confirmation
	if !ok || json.Unmarshal(m.Data, &c) != nil || c.Version == "" {
		return // not ours to understand: it confirms nothing
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.newest[service] == nil {
		x.newest[service] = make(map[string]confirmation)
	}
	if last := x.newest[service][id]; last.State == protocol.StateLeft || last.Revision > c.Revision {
		return
	}
	x.newest[service][id] = confirmation{c, time.Now()}
	x.counted[service]++
	if len(x.newest[service]) > 2*x.kept[service] { // now and then: it looks at all
		maps.DeleteFunc(x.newest[service], func(_ string, c confirmation) bool { return time.Since(c.at) > forgetAfter })
		x.kept[service] = max(len(x.newest[service]), keepAtLeast)
	}
	close(x.changed)
	x.changed = make(chan struct{})
}

// confirmations gives what the instances of a service have confirmed, and how many
// confirmations that were.
func (x *instances) confirmations(service string) (map[string]confirmation, int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.newest[service]), x.counted[service]
}

// count is how many confirmations of a service have come, and a channel that is
// closed with the next one of any.
func (x *instances) count(service string) (int, <-chan struct{}) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.counted[service], x.changed
}

// AliveOf counts the instances of a version that are alive.
func AliveOf(instances []Instance, version string) int {
	alive := 0
	for _, i := range instances {
		if i.Version == version && i.Alive() {
			alive++
		}
	}
	return alive
}

// leaseholder is an instance that has a lease.
type leaseholder struct {
	key, id        string
	encodedVersion string
	listed         time.Time // when it had it, by the server's clock
}

// alive lists the instances that hold a lease, from the leader of the bucket. A bucket
// that is not there is an error: it does not say that nobody is alive.
func (x *instances) alive(ctx context.Context, service string) ([]leaseholder, error) {
	prefix := protocol.KeySubject(protocol.LeasesBucket, "")
	var info *jetstream.StreamInfo
	err := ask(ctx, func(ctx context.Context) (err error) {
		// A service without any instance is common, and asked about at a lower price.
		if _, err = x.held.GetLastMsgForSubject(ctx, prefix+service+".>"); errors.Is(err, jetstream.ErrMsgNotFound) {
			info = &jetstream.StreamInfo{}
			return nil
		}
		info, err = x.held.Info(ctx, jetstream.WithSubjectFilter(prefix+service+".>"))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("list the instances of %s: %w", service, err)
	}
	var all []leaseholder
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, prefix)
		_, version, id, ok := protocol.ParseLeaseKey(key)
		if !ok {
			continue
		}
		h := leaseholder{key, id, version, info.TimeStamp}
		if genuine, err := x.genuine(ctx, service, h); err != nil {
			return nil, err
		} else if genuine {
			all = append(all, h)
		}
	}
	return all, nil
}

// genuine reports whether what stands in place of a lease is one. Somebody else may have had the
// server write its answer there, which never runs out. Who has confirmed something is an instance.
func (x *instances) genuine(ctx context.Context, service string, h leaseholder) (bool, error) {
	x.mu.Lock()
	_, heard := x.newest[service][h.id]
	x.mu.Unlock()
	if heard {
		return true, nil
	}
	m, err := x.lease(ctx, h)
	if m == nil || err != nil {
		return false, err
	}
	var lease protocol.Lease
	_, timed := time.ParseDuration(m.Header.Get(protocol.HeaderTTL))
	return json.Unmarshal(m.Data, &lease) == nil && protocol.EncodeVersion(lease.Version) == h.encodedVersion && timed == nil, nil
}

// lease reads the lease of an instance; nil: there is none any more.
func (x *instances) lease(ctx context.Context, h leaseholder) (m *jetstream.RawStreamMsg, err error) {
	err = ask(ctx, func(ctx context.Context) (err error) {
		m, err = x.held.GetLastMsgForSubject(ctx, protocol.KeySubject(protocol.LeasesBucket, h.key))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			m, err = nil, nil
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read lease %s: %w", h.key, err)
	}
	return m, nil
}

// Instances lists the instances of a service, by version and id: those that are alive, and
// those that hold requests because they have no lease any more, or have not got one.
func (x *instances) Instances(ctx context.Context, service string) ([]Instance, error) {
	holders, err := x.alive(ctx, service)
	if err != nil {
		return nil, err
	}
	confirmed, _ := x.confirmations(service)
	var all []Instance
	for _, h := range holders {
		c := confirmed[h.id]
		delete(confirmed, h.id)
		if c.State == protocol.StateLeft {
			continue
		}
		i, err := x.describe(ctx, h, c)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	for id, c := range confirmed {
		if c.Unleased > 0 && c.State != protocol.StateLeft && time.Since(c.at) < heardWithin {
			all = append(all, c.instance(id))
		}
	}
	slices.SortFunc(all, func(a, b Instance) int {
		return strings.Compare(a.Version+" "+a.ID, b.Version+" "+b.ID)
	})
	return all, nil
}

// heardWithin is how old the newest confirmation may be of an instance that is there without a
// lease.
const heardWithin = 3 * protocol.ConfirmEvery

// expiryTakes is how much later than it says a server may forget a lease.
const expiryTakes = 3 * time.Second

// describe is what is known of an instance, from its lease and what it has confirmed. A lease
// that is there and should not be any more, as where the bus cannot store that it has run out,
// is none.
func (x *instances) describe(ctx context.Context, l leaseholder, c confirmation) (Instance, error) {
	i := c.instance(l.id)
	m, err := x.lease(ctx, l)
	if m == nil || err != nil {
		return i, err
	}
	var lease protocol.Lease
	if json.Unmarshal(m.Data, &lease) == nil {
		i.Version, i.Host, i.PID = lease.Version, lease.Host, lease.PID
	}
	lasts, err := time.ParseDuration(m.Header.Get(protocol.HeaderTTL))
	if over := l.listed.Sub(m.Time) - lasts; err == nil && over > expiryTakes {
		i.Unleased = max(i.Unleased, protocol.Duration(over.Round(time.Second)))
	}
	return i, nil
}

// instance is what an instance has told of itself.
func (c confirmation) instance(id string) Instance {
	return Instance{ID: id, Version: c.Version, State: c.State, Revision: c.Revision, Seen: c.at.UTC(), Unleased: protocol.Duration(c.unleased())}
}

// unleased is for how long the instance has had no lease by its own word; 0: it has one.
func (c confirmation) unleased() time.Duration {
	if c.Unleased == 0 {
		return 0
	}
	return (time.Duration(c.Unleased) + time.Since(c.at)).Round(time.Second / 10)
}

// beyond is the highest revision that an instance of a service has told of lately, if it is
// above one; else 0.
func (x *instances) beyond(service string, revision uint64) uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	var highest uint64
	for _, c := range x.newest[service] {
		if c.Revision > max(revision, highest) && time.Since(c.at) < heardWithin && c.State != protocol.StateLeft {
			highest = c.Revision
		}
	}
	return highest
}

// anyAlive reports whether an instance of one of the versions is alive.
func (x *instances) anyAlive(ctx context.Context, service string, versions []string) (bool, error) {
	holders, err := x.alive(ctx, service)
	return slices.ContainsFunc(holders, func(h leaseholder) bool {
		return slices.ContainsFunc(versions, func(v string) bool { return protocol.EncodeVersion(v) == h.encodedVersion })
	}), err
}

// heardOf lists the services of which instances have told, in the order of names.
func (x *instances) heardOf() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.newest))
}
