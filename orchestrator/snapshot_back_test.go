package orchestrator_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// restore begins to put an app's data and traffic back, and gives the rollout that does it.
func (e *environment) restore(app, target string) string {
	e.t.Helper()
	q := api.RestoreRequest{App: app, Rollout: newID(e.t), Target: target, By: "ann", Reason: "a test"}
	_, err := e.client.Restore(e.t.Context(), q)
	e.must(err)
	return q.Rollout
}

// holds is the digest of a stream, and how many messages it has.
func (e *environment) holds(stream string) (digest string, messages uint64) {
	e.t.Helper()
	js, err := bus.NewJetStream(e.nc)
	e.must(err)
	var archive bytes.Buffer
	_, err = snapshot.Take(e.t.Context(), js, stream, &archive)
	e.must(err)
	content, err := snapshot.Read(&archive)
	e.must(err)
	return content.Digest, content.Messages
}

func TestDataAndTrafficArePutBack(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	first := e.deploy(stateful())
	e.awaitStatus(first, rollout.Completed)
	e.data(50)
	before, _ := e.holds("DATA")
	ran := e.writer("1.1.0")
	second := e.deploy(changing("1.1.0"))
	e.awaitStatus(second, rollout.Completed)
	after, n := e.holds("DATA")
	if n != 51 || after == before {
		t.Fatalf("%d messages are there", n)
	}

	plan, err := e.client.PlanRestore(t.Context(), api.RestoreRequest{App: "shop"})
	e.must(err)
	if plan.Version != "1.0.0" || plan.From != "1.1.0" || plan.Of != second || plan.Snapshot != second || len(plan.Problems) > 0 {
		t.Errorf("the plan is %+v", plan)
	}
	id := e.restore("shop", "")
	s := e.awaitStatus(id, rollout.Completed).State
	if got, n := e.holds("DATA"); got != before || n != 50 {
		t.Errorf("%d messages are there, of digest %s instead of %s", n, got, before)
	}
	if taken := e.taken(s); taken.ID != id || !taken.One {
		t.Errorf("the snapshot of now is %+v", taken)
	}
	status, err := e.client.Status(t.Context(), api.AppRequest{App: "shop"})
	e.must(err)
	if status[0].Version != "1.0.0" {
		t.Errorf("it is at %s", status[0].Version)
	}
	routes, err := e.client.Routes(t.Context())
	e.must(err)
	if online := routes[0].Online(); len(online) != 1 || online[0] != "1.0.0" || routes[0].Maintenance != nil {
		t.Errorf("the route is %s", routes[0].Route)
	}

	third := e.deploy(changing("1.1.0"))
	e.awaitStatus(third, rollout.Completed)
	if ran.of("shop-service/offline") != 2 {
		t.Error("the script of the newer version did not run again")
	}
	e.awaitStatus(e.restore("shop", id), rollout.Completed) // as it was before the restore
	if got, _ := e.holds("DATA"); got != after {
		t.Errorf("the data is of digest %s instead of %s", got, after)
	}
	status, err = e.client.Status(t.Context(), api.AppRequest{App: "shop"})
	e.must(err)
	if status[0].Version != "1.1.0" {
		t.Errorf("it is at %s", status[0].Version)
	}
}

// written brings version 1.1.0 of the stateful app, whose script has stored one message more, and
// gives the rollout and the digests of before and after.
func (e *environment) written() (second, before, after string) {
	e.t.Helper()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(50)
	before, _ = e.holds("DATA")
	e.writer("1.1.0")
	second = e.deploy(changing("1.1.0"))
	e.awaitStatus(second, rollout.Completed)
	after, _ = e.holds("DATA")
	return second, before, after
}

// unchanged checks that a restore has ended with the data and the traffic that it has found, for
// that reason.
func (e *environment) unchanged(id, after, why string) rollout.State {
	e.t.Helper()
	var s api.RolloutStory
	e.untilIn(longPatience, "the restore is undone", func() bool {
		s = e.show(id)
		return s.Status == rollout.Reverted
	})
	if s.Backward == nil || !strings.Contains(s.Backward.Reason, why) {
		e.t.Errorf("it is undone because of %+v, want %q", s.Backward, why)
	}
	if got, _ := e.holds("DATA"); got != after {
		e.t.Error("the data is not that of before the restore")
	}
	routes, err := e.client.Routes(e.t.Context())
	e.must(err)
	if online := routes[0].Online(); len(online) != 1 || online[0] != "1.1.0" || routes[0].Maintenance != nil {
		e.t.Errorf("the route is %s", routes[0].Route)
	}
	return s.State
}

func TestWhatCannotBePutBackIsRefused(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	ask := func(q api.RestoreRequest) error {
		if q.Rollout == "" {
			q.Rollout = newID(t)
		}
		_, err := e.client.Restore(t.Context(), q)
		return err
	}
	e.refused(ask(api.RestoreRequest{App: "shop"}), api.CodeNotFound, "no rollout of shop has a snapshot")
	e.refused(ask(api.RestoreRequest{App: "shop", Rollout: "7"}), api.CodeInvalid, "no UUID v7")
	e.refused(ask(api.RestoreRequest{App: "a.b"}), api.CodeInvalid, "app")
	second, _, after := e.written()
	e.awaitStatus(e.deploy(recorded("other")), rollout.Completed)
	e.refused(ask(api.RestoreRequest{App: "other", Target: second}), api.CodeInvalid, "is of app shop, not of other")
	e.refused(ask(api.RestoreRequest{App: "shop", Target: "ffff"}), api.CodeNotFound, "there is no snapshot ffff")
	e.refused(ask(api.RestoreRequest{App: "shop", Rollout: second}), api.CodeConflict, "another rollout")

	store := e.store()
	rewrite := func(from, to string) {
		name := "shop/" + second + "/manifest.json"
		r, err := store.Open(t.Context(), name)
		e.must(err)
		data, err := io.ReadAll(r)
		e.must(err)
		e.must(r.Close())
		changed := bytes.Replace(data, []byte(from), []byte(to), 1)
		if bytes.Equal(changed, data) {
			t.Fatalf("%s is not in %s", from, data)
		}
		e.must(store.Write(t.Context(), name, func(w io.Writer) error { _, err := w.Write(changed); return err }))
	}
	rewrite(`"format": 1`, `"format": 0`)
	e.refused(ask(api.RestoreRequest{App: "shop", Target: second}), api.CodeConflict, "another format")
	rewrite(`"format": 0`, `"format": 1`)
	rewrite(`"DATA"`, `"KV_golive-routes"`)
	e.refused(ask(api.RestoreRequest{App: "shop", Target: second}), api.CodeConflict, "golive's own")
	if got, _ := e.holds("DATA"); got != after {
		t.Error("the data has changed")
	}
}

// store is where the snapshots lie.
func (e *environment) store() snapshot.Store {
	e.t.Helper()
	js, err := bus.NewJetStream(e.nc)
	e.must(err)
	j, err := journal.Open(e.t.Context(), e.nc)
	e.must(err)
	all, err := snapshot.Config{}.Look(e.t.Context(), js, j.Environment())
	e.must(err)
	return all.Store
}

// TestADamagedSnapshotChangesNothing cuts the archive off, or changes bytes of it: that is found
// before anything goes under maintenance.
func TestADamagedSnapshotChangesNothing(t *testing.T) {
	t.Parallel()
	for what, damage := range map[string]func([]byte) []byte{
		"truncated": func(data []byte) []byte { return data[:len(data)/2] },
		"tampered":  func(data []byte) []byte { data[len(data)/2] ^= 1; return data },
		"empty":     func([]byte) []byte { return nil },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t)
			e.orchestrate()
			second, _, after := e.written()
			store, name := e.store(), "shop/"+second+"/shop-service/stream-DATA.s2"
			r, err := store.Open(t.Context(), name)
			e.must(err)
			data, err := io.ReadAll(r)
			e.must(err)
			e.must(r.Close())
			e.must(store.Write(t.Context(), name, func(w io.Writer) error { _, err := w.Write(damage(data)); return err }))
			s := e.unchanged(e.restore("shop", ""), after, "cannot be put back, so nothing was changed")
			if len(s.Outages()) > 0 {
				t.Error("services were under maintenance")
			}
		})
	}
}

// TestAPutThatFailsIsUndone has something in the way of each attempt to put the data back.
func TestAPutThatFailsIsUndone(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	js, err := jetstream.New(e.nc)
	e.must(err)
	var times atomic.Int64
	e.atSnapshot = func(p snapshot.Point) {
		if p == snapshot.PutDeleted && times.Add(1) <= 3 {
			_, _ = js.CreateStream(context.Background(), jetstream.StreamConfig{Name: "DATA", Subjects: []string{"data.>"}})
		}
	}
	e.orchestrate()
	_, _, after := e.written()
	s := e.unchanged(e.restore("shop", ""), after, "there is one already")
	if step, _ := s.Step(rollout.PutID("shop-service")); step.Attempt != 4 || step.Status != rollout.StepReverted {
		t.Errorf("it is %s at attempt %d", step.Status, step.Attempt)
	}
	if len(s.Outages()) != 1 {
		t.Errorf("the outages are %v", s.Outages())
	}
}

// TestARestoreIsAborted holds a put in the middle, pauses it, has it go on, and aborts it.
func TestARestoreIsAborted(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	at, goOn := make(chan struct{}, 8), make(chan struct{})
	e.atSnapshot = func(p snapshot.Point) {
		if p == snapshot.PutDeleted {
			at <- struct{}{}
			<-goOn
		}
	}
	e.orchestrate()
	_, _, after := e.written()
	id := e.restore("shop", "")
	next(e, "a put", at)
	q := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ann"}}
	_, err := e.client.Pause(t.Context(), q)
	e.must(err)
	goOn <- struct{}{}
	_, err = e.client.Resume(t.Context(), q)
	e.must(err)
	next(e, "another put", at)
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: changing("1.2.0")})
	e.refused(err, api.CodeRolloutOpen, "one app has one rollout at a time")
	abort := api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ann", Reason: "a mistake"}}
	for range 2 {
		_, err = e.client.Abort(t.Context(), abort)
		e.must(err)
	}
	goOn <- struct{}{}
	next(e, "the way back", at)
	goOn <- struct{}{}
	e.unchanged(id, after, "a mistake")
}

// TestARestoreMayFindNoRoom has the bus full, but for a little.
func TestARestoreMayFindNoRoom(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true, MaxStore: 24 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	e := environmentOn(t, func() *relay.Relay {
		r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	})
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	js := e.data(3)
	noise := rand.NewChaCha8([32]byte{1})
	for range 16 { // 4 MB that cannot be compressed
		part := make([]byte, 256<<10)
		_, _ = noise.Read(part)
		_, err := js.Publish(t.Context(), "data.large", part)
		e.must(err)
	}
	e.writer("1.1.0")
	e.awaitStatus(e.deploy(changing("1.1.0")), rollout.Completed)
	stream, err := js.Stream(t.Context(), "DATA")
	e.must(err)
	e.must(stream.Purge(t.Context(), jetstream.WithPurgeSubject("data.large")))
	after, _ := e.holds("DATA")
	_, err = js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "FILL", Subjects: []string{"fill"}})
	e.must(err)
	for range 1000 { // until two megabytes are left
		info, err := js.AccountInfo(t.Context())
		e.must(err)
		if info.Store > 22<<20 {
			break
		}
		_, err = js.Publish(t.Context(), "fill", make([]byte, 256<<10))
		e.must(err)
	}
	e.unchanged(e.restore("shop", ""), after, "insufficient")
}

// TestAStreamThatWasNotThereIsDeleted brings a version with a stream of its own, takes it back, and
// undoes that.
func TestAStreamThatWasNotThereIsDeleted(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	js := e.data(5)
	e.writer("1.1.0")
	release := changing("1.1.0")
	release.Services[0].State = &rollout.Data{Streams: []string{"DATA", "NEW"}}
	e.awaitStatus(e.deploy(release), rollout.Completed)
	_, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "NEW", Subjects: []string{"new"}})
	e.must(err)
	_, err = js.Publish(t.Context(), "new", []byte("1"))
	e.must(err)
	made, _ := e.holds("NEW")
	id := e.restore("shop", "")
	e.awaitStatus(id, rollout.Completed)
	if _, err := js.Stream(t.Context(), "NEW"); !errors.Is(err, jetstream.ErrStreamNotFound) {
		t.Errorf("the new stream is there: %v", err)
	}
	e.awaitStatus(e.restore("shop", ""), rollout.Completed) // the newest is that of the restore
	if got, _ := e.holds("NEW"); got != made {
		t.Error("the new stream is not back")
	}
	e.must(js.DeleteStream(t.Context(), "DATA")) // gone by mistake: that is no reason not to restore
	e.awaitStatus(e.restore("shop", id), rollout.Completed)
	if _, n := e.holds("DATA"); n != 6 {
		t.Errorf("%d messages are there", n)
	}
}

// TestARestoreNeedsThoseOfThen has no instance of the version that comes back.
func TestARestoreNeedsThoseOfThen(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	alive := func(r rollout.Release) rollout.Release {
		r.Services[0].Instances = 1
		return r
	}
	stop := e.service("shop-service", "1.0.0")
	e.service("shop-service", "1.1.0")
	e.awaitStatus(e.deploy(alive(stateful())), rollout.Completed)
	e.data(5)
	before, _ := e.holds("DATA")
	e.writer("1.1.0")
	e.awaitStatus(e.deploy(alive(changing("1.1.0"))), rollout.Completed)
	stop()
	e.until("the instance is gone", func() bool {
		plan, err := e.client.PlanRestore(t.Context(), api.RestoreRequest{App: "shop"})
		e.must(err)
		return len(plan.Problems) == 1 && plan.Problems[0].Code == api.CodeNotAlive && strings.Contains(plan.Problems[0].Hint, "start shop-service 1.0.0 first")
	})
	q := api.RestoreRequest{App: "shop", Rollout: newID(t)}
	_, err := e.client.Restore(t.Context(), q)
	e.refused(err, api.CodeNotAlive, "shop-service 1.0.0 (0 of 1 instances are alive)")
	q.Force = true
	for range 2 {
		v, err := e.client.Restore(t.Context(), q)
		e.must(err)
		if v.ID != q.Rollout {
			t.Errorf("it is %s", v.ID)
		}
	}
	e.running(q.Rollout, "shop-service/traffic", 1)
	e.service("shop-service", "1.0.0")
	e.awaitStatus(q.Rollout, rollout.Completed)
	if got, _ := e.holds("DATA"); got != before {
		t.Error("the data is not that of before")
	}
}

// TestBackwardOffersARestore has no revert script for what was done.
func TestBackwardOffersARestore(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	second, before, _ := e.written()
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "shop", By: "ann"})
	var refused *protocol.ServiceError
	if !errors.As(err, &refused) || refused.Code != api.CodeNoRevert || !strings.Contains(refused.Hint, "golive restore shop "+second) {
		t.Fatalf("it is refused with %+v", refused)
	}
	id := e.restore("shop", second[:13])
	e.awaitStatus(id, rollout.Completed)
	if got, _ := e.holds("DATA"); got != before {
		t.Error("the data is not that of before")
	}
	_, err = e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}})
	e.refused(err, api.CodeConflict, "cannot be aborted any more")
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "shop", By: "ann"})
	e.refused(err, api.CodeConflict, "first version of the app here")
}

// TestAFailedRolloutGivesWayToARestore puts data back that a script has left half done.
func TestAFailedRolloutGivesWayToARestore(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(5)
	before, _ := e.holds("DATA")
	e.setup(sdk.SetupService{Service: "shop-service", Version: "1.1.0", Offline: func(context.Context, *sdk.Run) error {
		if _, err := e.nc.Request("data.half", []byte("1"), patience); err != nil {
			return err
		}
		return sdk.Permanent(errors.New("it breaks in the middle"))
	}})
	release := changing("1.1.0")
	release.Strategy = rollout.Downtime
	failed := e.deploy(release)
	e.awaitStatus(failed, rollout.Failed)
	id := e.restore("shop", "")
	e.awaitStatus(id, rollout.Completed)
	e.awaitStatus(failed, rollout.Superseded)
	if got, _ := e.holds("DATA"); got != before {
		t.Error("the data is not that of before")
	}
	routes, err := e.client.Routes(t.Context())
	e.must(err)
	if online := routes[0].Online(); len(online) != 1 || online[0] != "1.0.0" || routes[0].Maintenance != nil {
		t.Errorf("the route is %s", routes[0].Route)
	}
}

// TestTheFirstRolloutIsUndoneByARestore has data that was there before any version was live.
func TestTheFirstRolloutIsUndoneByARestore(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.data(5)
	before, _ := e.holds("DATA")
	e.writer("1.1.0")
	first := e.deploy(changing("1.1.0"))
	e.awaitStatus(first, rollout.Completed)
	after, _ := e.holds("DATA")
	plan, err := e.client.PlanRestore(t.Context(), api.RestoreRequest{App: "shop"})
	e.must(err)
	if plan.Version != "" || plan.From != "1.1.0" || len(plan.Problems) > 0 {
		t.Errorf("the plan is %+v", plan)
	}
	id := e.restore("shop", "")
	e.awaitStatus(id, rollout.Completed)
	if got, _ := e.holds("DATA"); got != before {
		t.Error("the data is not that of before")
	}
	routes, err := e.client.Routes(t.Context())
	e.must(err)
	if online := routes[0].Online(); len(online) > 0 || routes[0].Maintenance != nil {
		t.Errorf("the route is %s", routes[0].Route)
	}
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "shop", By: "ann"})
	e.refused(err, api.CodeConflict, "nothing to undo")
	_, err = e.client.Status(t.Context(), api.AppRequest{App: "shop"})
	e.must(err)
	e.awaitStatus(e.restore("shop", id), rollout.Completed)
	if got, _ := e.holds("DATA"); got != after {
		t.Error("the data is not that of before the restore")
	}
	routes, err = e.client.Routes(t.Context())
	e.must(err)
	if online := routes[0].Online(); len(online) != 1 || online[0] != "1.1.0" {
		t.Errorf("the route is %s", routes[0].Route)
	}
}
