package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/relaytest"
)

// stateful is an app whose one service keeps its data in the stream DATA.
func stateful() rollout.Release {
	r := recorded("shop")
	r.Services[0].State = &rollout.Data{Streams: []string{"DATA"}}
	return r
}

// data makes the stream DATA with so many messages.
func (e *environment) data(n int) jetstream.JetStream {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	_, err = js.CreateStream(e.t.Context(), jetstream.StreamConfig{Name: "DATA", Subjects: []string{"data.>"}})
	e.must(err)
	for i := range n {
		_, err := js.Publish(e.t.Context(), fmt.Sprintf("data.%d", i%3), fmt.Append(nil, i))
		e.must(err)
	}
	return js
}

// snapshot takes one of an app.
func (e *environment) snapshot(app string) (snapshot.Snapshot, error) {
	e.t.Helper()
	q := api.TakeRequest{App: app, Snapshot: newID(e.t), By: "ann", Reason: "a test"}
	return e.done(func() (api.SnapshotWork, error) { return e.client.TakeSnapshot(e.t.Context(), q) })
}

// done asks until a snapshot is done.
func (e *environment) done(ask func() (api.SnapshotWork, error)) (s snapshot.Snapshot, err error) {
	e.t.Helper()
	e.untilIn(longPatience, "the snapshot is done", func() bool {
		var work api.SnapshotWork
		if work, err = ask(); work.Snapshot != nil {
			s = *work.Snapshot
		}
		return err != nil || work.Snapshot != nil
	})
	return s, err
}

func TestASnapshotOfAnApp(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	ctx := t.Context()
	list, err := e.client.Snapshots(ctx, "")
	e.must(err)
	if len(list.Snapshots) != 0 {
		t.Errorf("%v are there", list)
	}
	_, err = e.snapshot("shop")
	e.refused(err, api.CodeNotFound, "no rollout of an app")
	e.awaitStatus(e.deploy(recorded("other")), rollout.Completed)
	_, err = e.snapshot("other")
	e.refused(err, api.CodeNoState, "no service of other 1.0.0 says where its data is")
	id := e.deploy(stateful())
	e.awaitStatus(id, rollout.Completed)
	_, err = e.snapshot("shop")
	e.refused(err, api.CodeConflict, "stream DATA")

	e.data(50)
	first, err := e.snapshot("shop")
	e.must(err)
	if first.Rollout != id || first.Version != "1.0.0" || first.By != "ann" || first.Services[0].Parts[0].Messages != 50 || !first.Moment.One {
		t.Errorf("it is %+v", first)
	}
	again := api.TakeRequest{App: "shop", Snapshot: first.ID}
	same, err := e.client.TakeSnapshot(ctx, again)
	e.must(err)
	if same.Snapshot == nil || !same.Snapshot.Taken.Equal(first.Taken) {
		t.Errorf("the same snapshot asked for again is %+v", same)
	}
	second, err := e.snapshot("shop")
	e.must(err)
	list, err = e.client.Snapshots(ctx, "shop")
	e.must(err)
	if len(list.Snapshots) != 2 || list.Snapshots[0].ID != second.ID || list.Snapshots[0].Services[0].Parts[0].Config != nil {
		t.Errorf("%+v are listed", list)
	}
	check := api.SnapshotRequest{Snapshot: first.ID, Check: uuid.NewString()}
	checked, err := e.done(func() (api.SnapshotWork, error) { return e.client.CheckSnapshot(ctx, check) })
	e.must(err)
	if !checked.Checked.After(first.Checked) {
		t.Errorf("it was checked at %s", checked.Checked)
	}
	_, err = e.client.Snapshot(ctx, "0")
	e.refused(err, api.CodeAmbiguous, "several snapshots")
	_, err = e.client.DropSnapshot(ctx, api.SnapshotRequest{Snapshot: first.ID})
	e.must(err)
	_, err = e.client.Snapshot(ctx, first.ID)
	e.refused(err, api.CodeNotFound, first.ID)
	_, err = e.client.TakeSnapshot(ctx, api.TakeRequest{App: "shop", Snapshot: uuid.NewString()})
	e.refused(err, api.CodeInvalid, "UUID v7")
}

// TestATakeGoesOnElsewhere cuts an orchestrator off from the bus for good while it takes one, and
// has whoever waits for it ask on.
func TestATakeGoesOnElsewhere(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	var first sync.Once
	doomed := e.connect()
	e.atSnapshot = func(p snapshot.Point) {
		if p == snapshot.CutFirst {
			first.Do(doomed.Conn().Close)
		}
	}
	ctx, end := context.WithCancel(t.Context())
	defer end()
	dying, ended := e.orchestrator(doomed), make(chan error, 1)
	go func() { ended <- dying.Run(ctx) }()
	next(e, "readiness", dying.Ready())
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(20)
	q := api.TakeRequest{App: "shop", Snapshot: newID(t)}
	_, err := e.client.TakeSnapshot(t.Context(), q)
	e.must(err)
	next(e, "its end", ended)
	e.orchestrate()
	taken, err := e.done(func() (api.SnapshotWork, error) { return e.client.TakeSnapshot(t.Context(), q) })
	e.must(err)
	if taken.ID != q.Snapshot || taken.Services[0].Parts[0].Messages != 20 {
		t.Errorf("it is %+v", taken)
	}
	list, err := e.client.Snapshots(t.Context(), "shop")
	e.must(err)
	if len(list.Snapshots) != 1 {
		t.Errorf("%d are listed", len(list.Snapshots))
	}
}

// TestOneSnapshotAtATimeIsTaken is about one that is under way elsewhere, as its lease says.
func TestOneSnapshotAtATimeIsTaken(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(5)
	kv, err := bus.Make(t.Context(), e.nc, bus.Takes, "", 1)
	e.must(err)
	under := newID(t)
	lease, err := json.Marshal(map[string]any{"id": under, "app": "shop", "snapshot": under, "doing": "take", "progress": map[string]any{"doing": "take", "done": 7}})
	e.must(err)
	_, err = kv.Put(t.Context(), "now", lease)
	e.must(err)
	_, err = e.snapshot("shop")
	e.refused(err, api.CodeConflict, under)
	q := api.TakeRequest{App: "shop", Snapshot: under}
	work, err := e.client.TakeSnapshot(t.Context(), q)
	e.must(err)
	if work.Snapshot != nil || work.Progress.Done != 7 {
		t.Errorf("it tells %+v", work)
	}
	taken, err := e.done(func() (api.SnapshotWork, error) { return e.client.TakeSnapshot(t.Context(), q) }) // once its lease has run out
	e.must(err)
	if taken.ID != under {
		t.Errorf("%s was taken", taken.ID)
	}
}
