package orchestrator_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// changing is the stateful app in a version whose offline script changes the data.
func changing(version string) rollout.Release {
	r := stateful()
	r.Version, r.Services[0].Version = version, version
	r.Services[0].Migrations = []protocol.Phase{protocol.Offline}
	return r
}

// writer serves the offline script of a version, which stores one message in DATA, and counts how
// often it ran.
func (e *environment) writer(version string) *tally {
	e.t.Helper()
	ran := newTally()
	e.setup(sdk.SetupService{Service: changing(version).Services[0].Name, Version: version, Offline: func(ctx context.Context, s *sdk.Run) error {
		if _, err := e.nc.Request("data.written", []byte(version), patience); err != nil {
			return err
		}
		return ran.script(ctx, s)
	}})
	return ran
}

// taken is the snapshot that a rollout has taken.
func (e *environment) taken(s rollout.State) rollout.SnapshotRun {
	e.t.Helper()
	taken, has := s.SnapshotTaken()
	if !has {
		e.t.Fatalf("rollout %s has taken no snapshot: %+v", s.ID, s.Steps[0])
	}
	return taken
}

func TestARolloutTakesASnapshotBeforeItChangesData(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	first := e.deploy(stateful())
	s := e.awaitStatus(first, rollout.Completed).State
	if _, planned := s.Step(rollout.SnapshotID("shop")); planned {
		t.Error("a rollout that changes no data plans a snapshot")
	}
	e.data(50)
	ran := e.writer("1.1.0")
	plan, err := e.client.Plan(t.Context(), api.PlanRequest{Release: changing("1.1.0")})
	e.must(err)
	i := slices.IndexFunc(plan.Steps, func(s api.PlanStep) bool { return s.Kind == rollout.Snapshot })
	if i < 0 || plan.Steps[i].Snapshot == nil || plan.Steps[i].Snapshot.Bytes == 0 || !slices.Equal(plan.Steps[i].Snapshot.Services, []string{"shop-service"}) {
		t.Fatalf("the plan is %+v", plan.Steps)
	}
	if plan.Steps[i].Snapshot.Estimate != nil {
		t.Errorf("it lasts %v, which nobody can know", *plan.Steps[i].Snapshot.Estimate)
	}
	id := e.deploy(changing("1.1.0"))
	s = e.awaitStatus(id, rollout.Completed).State
	taken := e.taken(s)
	if taken.ID != id || taken.Bytes == 0 || !taken.One || taken.Before != protocol.Offline {
		t.Errorf("it has taken %+v", taken)
	}
	there, err := e.client.Snapshot(t.Context(), id)
	e.must(err)
	if there.Services[0].Parts[0].Messages != 50 || there.Version != "1.0.0" || there.Rollout != first {
		t.Errorf("the snapshot is %+v", there)
	}
	if ran.of("shop-service/offline") != 1 {
		t.Error("the script did not run once")
	}
	plan, err = e.client.Plan(t.Context(), api.PlanRequest{Release: changing("1.2.0")})
	e.must(err)
	if i := slices.IndexFunc(plan.Steps, func(s api.PlanStep) bool { return s.Kind == rollout.Snapshot }); i < 0 || plan.Steps[i].Snapshot.Estimate == nil || *plan.Steps[i].Snapshot.Estimate > 2*there.Took {
		t.Errorf("the next plan is %+v", plan.Steps)
	}
	never := changing("1.2.0")
	never.Snapshot = rollout.NeverSnapshot
	e.writer("1.2.0")
	s = e.awaitStatus(e.deploy(never), rollout.Completed).State
	if _, has := s.SnapshotTaken(); has {
		t.Error("a snapshot was taken that is never to be")
	}
}

func TestWithoutItsSnapshotARolloutRunsNothing(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	ran := e.writer("1.1.0")
	refused := e.deploy(changing("1.1.0"))
	s := e.awaitStatus(refused, rollout.Failed).State
	step, _ := s.Step(rollout.SnapshotID("shop"))
	if step.Error == nil || !strings.Contains(step.Error.Message, "nothing was run") || !strings.Contains(step.Error.Message, "stream DATA is not there") || step.Attempt != 1 {
		t.Errorf("attempt %d has failed with %v", step.Attempt, step.Error)
	}
	if ran.of("shop-service/offline") != 0 {
		t.Error("the script ran all the same")
	}
	e.data(3)
	e.retry(refused)
	s = e.awaitStatus(refused, rollout.Completed).State
	if taken := e.taken(s); taken.ID != refused || ran.of("shop-service/offline") != 1 {
		t.Errorf("after a retry it has taken %+v", taken)
	}
	before := e.taken(s)

	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "shop", SkipMissing: true, By: "ann"})
	e.must(err)
	s = e.awaitStatus(refused, rollout.Reverted).State
	if step, _ := s.Step(rollout.SnapshotID("shop")); step.Status != rollout.StepDone || e.taken(s).Digest != before.Digest {
		t.Errorf("taken backward, the snapshot is %s", step.Status)
	}
	list, err := e.client.Snapshots(t.Context(), "shop")
	e.must(err)
	if len(list.Snapshots) != 1 {
		t.Errorf("%d snapshots are there", len(list.Snapshots))
	}
}

func TestARolloutWhoseSnapshotIsRefusedCanBeAborted(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	id := e.deploy(changing("1.1.0"))
	e.awaitStatus(id, rollout.Failed)
	_, err := e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ann"}})
	e.must(err)
	e.awaitStatus(id, rollout.Aborted)
}

func TestTheFirstRolloutMayFindNoData(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.data(0)
	r := changing("1.1.0")
	r.Services[0].State.KV = []string{"settings"}
	e.writer("1.1.0")
	taken := e.taken(e.awaitStatus(e.deploy(r), rollout.Completed).State)
	if !slices.Equal(taken.Absent, []string{"KV_settings"}) || taken.Bytes != 0 || taken.ID == "" {
		t.Errorf("it has taken %+v", taken)
	}
	none := changing("1.1.0")
	none.App, none.Services[0].Name, none.Services[0].State = "other", "other-service", &rollout.Data{Streams: []string{"NONE"}}
	e.setup(sdk.SetupService{Service: "other-service", Version: "1.1.0", Offline: newTally().script})
	s := e.awaitStatus(e.deploy(none), rollout.Completed).State
	step, planned := s.Step(rollout.SnapshotID("other"))
	if !planned || step.Status != rollout.StepDone || step.Snapshot.ID != "" || report.TellTaken(*step.Snapshot) != "there was no data yet: stream NONE is not there yet" {
		t.Errorf("without data the step is %+v", step)
	}
}

// TestASnapshotOfARolloutIsTakenAnewAfterADeath cuts the orchestrator off from the bus for good at
// each point of a take: another one takes the snapshot, and only then the script runs.
func TestASnapshotOfARolloutIsTakenAnewAfterADeath(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	for _, point := range []snapshot.Point{snapshot.Swept, snapshot.CutFirst, snapshot.CutAll, snapshot.ReadBack, snapshot.Recorded} {
		t.Run(string(point), func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t)
			var once sync.Once
			doomed := e.connect()
			e.atSnapshot = func(p snapshot.Point) {
				if p == point {
					once.Do(doomed.Conn().Close)
				}
			}
			dying, ended := e.orchestrator(doomed), make(chan error, 1)
			go func() { ended <- dying.Run(context.Background()) }()
			next(e, "readiness", dying.Ready())
			e.awaitStatus(e.deploy(stateful()), rollout.Completed)
			e.data(20)
			ran := e.writer("1.1.0")
			id := e.deploy(changing("1.1.0"))
			next(e, "its end", ended)
			if ran.of("shop-service/offline") != 0 {
				t.Error("the script ran before the snapshot was taken")
			}
			e.orchestrate()
			var s api.RolloutStory
			e.untilIn(longPatience, "the rollout is complete", func() bool {
				s = e.show(id)
				return s.Status == rollout.Completed
			})
			e.taken(s.State)
			there, err := e.client.Snapshot(t.Context(), id)
			e.must(err)
			if there.Services[0].Parts[0].Messages != 20 || ran.of("shop-service/offline") != 1 {
				t.Errorf("the snapshot holds %d messages, the script ran %d times", there.Services[0].Parts[0].Messages, ran.of("shop-service/offline"))
			}
			if list, err := e.client.Snapshots(t.Context(), "shop"); err != nil || len(list.Snapshots) != 1 {
				t.Errorf("%d are there, %v", len(list.Snapshots), err)
			}
		})
	}
}

// TestATakeIsStoppedWithItsRollout holds a take at a point, and has its rollout paused, resumed
// and taken backward meanwhile.
func TestATakeIsStoppedWithItsRollout(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	at, goOn := make(chan struct{}, 8), make(chan struct{})
	e.atSnapshot = func(p snapshot.Point) {
		if p == snapshot.Swept {
			at <- struct{}{}
			<-goOn
		}
	}
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(5)
	ran := e.writer("1.1.0")
	id := e.deploy(changing("1.1.0"))
	next(e, "a take", at)
	q := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ann"}}
	_, err := e.client.Pause(t.Context(), q)
	e.must(err)
	goOn <- struct{}{}
	_, err = e.client.Resume(t.Context(), q)
	e.must(err)
	next(e, "another take", at)
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "shop", By: "ann"})
	e.must(err)
	goOn <- struct{}{}
	e.awaitStatus(id, rollout.Reverted)
	if ran.of("shop-service/offline") != 0 {
		t.Error("the script ran")
	}
}

// TestARolloutWaitsForASnapshotThatIsUnderWay is about one of another app, as its lease says.
func TestARolloutWaitsForASnapshotThatIsUnderWay(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	e.data(5)
	ran := e.writer("1.1.0")
	kv, err := bus.Make(t.Context(), e.nc, bus.Takes, "", 1)
	e.must(err)
	_, err = kv.Put(t.Context(), "now", []byte(`{"id": "other", "app": "web", "snapshot": "other", "doing": "take"}`))
	e.must(err)
	id := e.deploy(changing("1.1.0"))
	e.await(id, "waiting for it", func(s api.RolloutStory) bool {
		seen := s.Observations[rollout.SnapshotID("shop")]
		return !seen.Sent && strings.Contains(seen.Waiting, "snapshot other of web to end")
	})
	if ran.of("shop-service/offline") != 0 {
		t.Error("the script ran meanwhile")
	}
	e.must(kv.Purge(t.Context(), "now"))
	e.taken(e.awaitStatus(id, rollout.Completed).State)
}

// TestAFullStoreIsSaid has no room for the snapshot, and makes some.
func TestAFullStoreIsSaid(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(stateful()), rollout.Completed)
	js := e.data(200)
	_, err := e.snapshot("shop")
	e.must(err)
	room := func(bytes int64) {
		store, err := js.Stream(t.Context(), "OBJ_"+protocol.SnapshotsStore)
		e.must(err)
		c := store.CachedInfo().Config
		c.MaxBytes, c.Discard = bytes, jetstream.DiscardNew
		_, err = js.UpdateStream(t.Context(), c)
		e.must(err)
	}
	store, err := js.Stream(t.Context(), "OBJ_"+protocol.SnapshotsStore)
	e.must(err)
	room(int64(store.CachedInfo().State.Bytes) + 100)
	ran := e.writer("1.1.0")
	id := e.deploy(changing("1.1.0"))
	s := e.awaitStatus(id, rollout.Failed).State
	step, _ := s.Step(rollout.SnapshotID("shop"))
	if step.Attempt != 3 || !strings.Contains(step.Error.Message, "nothing was run") || !strings.Contains(step.Error.Message, "maximum bytes exceeded") {
		t.Errorf("attempt %d has failed with %v", step.Attempt, step.Error)
	}
	if ran.of("shop-service/offline") != 0 {
		t.Error("the script ran all the same")
	}
	room(-1)
	e.retry(id)
	e.taken(e.awaitStatus(id, rollout.Completed).State)
}
