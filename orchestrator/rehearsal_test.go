package orchestrator_test

import (
	"errors"
	"path/filepath"
	"slices"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rehearsal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
)

// A copy has the data, the history and the routes of the environment, on a bus of its own; an
// archive that is not what the manifest says is refused.
func TestACopyOfAnEnvironment(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	ctx := t.Context()
	e.data(5000)
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	second := stateful()
	second.Services[0].Retries = 1
	e.awaitStatus(e.deploy(second), rollout.Completed)
	taken, err := e.snapshot("shop")
	e.must(err)
	service := taken.Services[0].Name
	c := rehearsal.Copy{Snapshot: taken, Archives: snapshot.Folder(filepath.Join(t.TempDir(), "archives"))}
	e.must(c.Read(ctx, e.client, []string{service}))
	came := int64(0)
	e.must(c.Fetch(ctx, e.client, func(done int64) { came = done }))
	if came != taken.Size {
		t.Errorf("%d of %d bytes have come", came, taken.Size)
	}

	other, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true})
	e.must(err)
	t.Cleanup(func() { e.must(other.Stop()) })
	nc, err := nats.Connect(other.URL())
	e.must(err)
	t.Cleanup(nc.Close)
	e.must(c.Fill(ctx, nc))
	js, err := bus.NewJetStream(nc)
	e.must(err)
	stream, err := js.Stream(ctx, "DATA")
	e.must(err)
	if s := stream.CachedInfo().State; s.Msgs != 5000 || s.LastSeq != 5000 {
		t.Errorf("the data is %+v", s)
	}
	j, err := journal.Open(ctx, nc)
	e.must(err)
	for _, v := range c.Events {
		r, err := j.Load(ctx, "shop", v.ID)
		e.must(err)
		if r.State.Status != rollout.Completed {
			t.Errorf("rollout %s is %s", v.ID, r.State.Status)
		}
	}
	if j.Environment() == "" || j.Environment() == taken.ID {
		t.Errorf("it is environment %q", j.Environment())
	}
	_, err = ledger.Make(ctx, nc, j.Environment(), 1)
	e.must(err)
	g, err := gate.Make(ctx, gate.Config{Conn: nc, Environment: j.Environment(), Replicas: 1})
	e.must(err)
	here, err := g.Route(ctx, service)
	e.must(err)
	there := c.Routes[0]
	if here.Revision != there.Revision || !slices.Equal(here.Online(), there.Online()) || here.Rollout != there.Rollout {
		t.Errorf("the route is %+v, want %+v", here, there)
	}

	c.Snapshot.Services = slices.Clone(c.Snapshot.Services)
	c.Snapshot.Services[0].Parts = slices.Clone(c.Snapshot.Services[0].Parts)
	c.Snapshot.Services[0].Parts[0].SHA256 = taken.Services[0].Parts[0].Digest
	if err := c.Fetch(ctx, e.client, func(int64) {}); !errors.Is(err, snapshot.ErrDamaged) {
		t.Errorf("another archive than the manifest says: %v", err)
	}
}

// What is under way would go on in the copy, so there is none.
func TestNoCopyWhileARolloutIsUnderWay(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	r := stateful()
	r.Services[0].Migrations = nil
	r.Approvals = rollout.Policy{Required: true}
	id := e.deploy(r)
	e.awaitStatus(id, rollout.Running)
	c := rehearsal.Copy{Snapshot: snapshot.Snapshot{App: "shop"}}
	if err := c.Read(t.Context(), e.client, nil); !errors.Is(err, rehearsal.ErrUnderWay) {
		t.Errorf("it is copied: %v", err)
	}
}
