package orchestrator_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// What the fault suite has found, in short.

// version is a release of todo-app with one service of the same version, without instances.
func (e *environment) version(v string, offline sdk.Script) rollout.Release {
	e.t.Helper()
	e.setup(sdk.SetupService{Service: "todo-search", Version: v, Offline: offline, RevertOffline: nothing})
	return rollout.Release{App: "todo-app", Version: v, Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "todo-search", Version: v, Migrations: []protocol.Phase{protocol.Offline}},
	}}
}

func TestFaultFoundQueuedRolloutsBegin(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	goOn := make(chan struct{})
	id := e.deploy(e.version("1.0.0", func(ctx context.Context, _ *sdk.Run) error {
		select {
		case <-goOn:
			return sdk.Permanent(errors.New("bad luck"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}))
	var queued []string
	for _, v := range []string{"1.0.1", "1.0.2"} {
		next := newID(t)
		_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: next, Release: e.version(v, nothing), Queue: true})
		e.must(err)
		queued = append(queued, next)
	}
	close(goOn)
	for _, next := range queued {
		e.awaitStatus(next, rollout.Completed)
	}
	e.awaitStatus(id, rollout.Superseded)
}

func TestFaultFoundBackwardTwice(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	var all []string
	for _, v := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		id := e.deploy(e.version(v, nothing))
		e.awaitStatus(id, rollout.Completed)
		all = append(all, id)
	}
	for _, id := range []string{all[2], all[1]} {
		_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
		e.must(err)
		e.settledAs(id, rollout.Reverted)
	}
}

func TestFaultFoundBackwardSeveral(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	var all []string
	for _, v := range []string{"1.0.0", "1.0.1", "1.0.2"} {
		id := e.deploy(e.version(v, nothing))
		e.awaitStatus(id, rollout.Completed)
		all = append(all, id)
	}
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", To: "1.0.0"})
	e.must(err)
	e.settledAs(all[2], rollout.Reverted)
	e.settledAs(all[1], rollout.Reverted)
}

// settledAs blocks until a rollout that goes backward has ended, as it should.
func (e *environment) settledAs(id string, want rollout.Status) {
	e.t.Helper()
	story := e.await(id, "settled", func(s api.RolloutStory) bool {
		return s.Status != rollout.Completed && (s.Status.Final() || s.Status == rollout.Failed)
	})
	if story.Status != want {
		for _, step := range story.FailedSteps() {
			e.t.Errorf("%s has failed: %s", step.ID, step.Error.Message)
		}
		e.t.Fatalf("rollout %s is %s, want %s", id, story.Status, want)
	}
}

// A script that was told to stop, and is done all the same, has run as long as it has.
func TestFaultFoundLedgerOfACancelledScript(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	e.starts("deployment-todo-search-0.0.1-offline-revert-start")
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.must(err)
	e.answer(offlineDone, id, 1, `{"items": 12}`)
	e.running(id, "todo-search/offline", 2)
	entries, err := e.client.Ledger(t.Context(), api.LedgerRequest{App: "todo-app"})
	e.must(err)
	if len(entries) != 1 || entries[0].Items != 12 || entries[0].At.Before(time.Now().Add(-time.Hour)) || entries[0].Duration < 0 {
		t.Errorf("the ledger holds %+v", entries)
	}
}

// A deploy that is asked for again, of another orchestrator, while the first is still at
// it, finds the rollout and does not queue it a second time.
func TestFaultFoundQueuedOnce(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	release := e.version("1.0.0", func(ctx context.Context, _ *sdk.Run) error {
		<-ctx.Done()
		return ctx.Err()
	})
	e.deploy(release)
	for range 20 {
		q := api.DeployRequest{Rollout: newID(t), Release: release, Replace: true}
		var group errgroup.Group
		for range 4 {
			group.Go(func() error {
				_, err := e.client.Deploy(t.Context(), q)
				return err
			})
		}
		e.must(group.Wait())
		story := e.show(q.Rollout)
		for i, event := range story.Events {
			if i > 0 && event.Type == rollout.Enqueued {
				t.Fatalf("rollout %s was queued, or begun, before it was queued", q.Rollout)
			}
		}
	}
}

// What a script does with records that were put aside is undone when it has stopped, and not
// while it goes on, though somebody has aborted it.
func TestFaultFoundRevertBesideAnAbortedAmending(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.awaitStatus(e.deploy(e.version("0.0.0", nothing)), rollout.Completed) // there is something to go back to
	id, starts, _ := e.withAside(search(protocol.Offline))
	reverts := e.starts("deployment-todo-search-0.0.1-offline-revert-start")
	e.must(e.retryRecords(id, ""))
	m := next(e, "the second start", starts)
	_, err := e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}})
	e.must(err)
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.refused(err, api.CodeConflict, "tries records again")
	e.must(m.Respond([]byte(`{"done": true, "items": 1, "putAside": 1}`))) // it was too late to stop
	story := e.awaitStatus(id, rollout.Completed)
	if step, _ := story.Step("todo-search/offline"); step.Script.Items != 11 || step.Script.PutAside != 1 || step.Cancelled || step.Error != nil {
		t.Errorf("the step is %+v", step)
	}
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.must(err)
	if s := start(next(e, "the revert", reverts)); s.Attempt != 3 || s.FailedRecords {
		t.Errorf("the revert is %+v", s)
	}
}
