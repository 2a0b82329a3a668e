package orchestrator_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// tally counts the runs of scripts by step.
type tally struct {
	mu   sync.Mutex
	runs map[string]int
}

func newTally() *tally { return &tally{runs: make(map[string]int)} }

func (c *tally) script(_ context.Context, run *sdk.Run) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.runs[run.Start.Step]++
	return nil
}

func (c *tally) of(step string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[step]
}

func TestSecondRolloutOfAVersionRunsNothing(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	ran := newTally()
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Before: ran.script, Offline: ran.script, Online: ran.script})
	e.setup(sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: ran.script})
	release := search(protocol.Before, protocol.Offline, protocol.Online)
	release.Setup = true
	first := e.deploy(release)
	e.awaitStatus(first, rollout.Completed)
	story := e.awaitStatus(e.deploy(release), rollout.Completed)
	want := "todo-search/before skipped\ntodo-search/offline skipped\ntodo-search/traffic done\ntodo-search/online skipped\ntodo-app/setup skipped\n"
	if got := steps(story.State); got != want {
		t.Errorf("steps are\n%swant\n%s", got, want)
	}
	for _, step := range story.All() {
		if step.Kind == rollout.Traffic {
			continue
		}
		if !strings.Contains(step.Skipped, first) {
			t.Errorf("%s was skipped because %q, want the rollout that ran it named", step.ID, step.Skipped)
		}
		if n := ran.of(step.ID); n != 1 {
			t.Errorf("%s ran %d times, want once", step.ID, n)
		}
	}
}

func TestDeployRepeatedFindsItsRollout(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	q := api.DeployRequest{Rollout: newID(t), Release: search(protocol.Offline)}
	first, err := e.client.Deploy(t.Context(), q)
	e.must(err)
	again, err := e.client.Deploy(t.Context(), q)
	e.must(err)
	if again.ID != first.ID || again.Sequence != first.Sequence {
		t.Errorf("repeated, it gives rollout %s at %d, want %s at %d", again.ID, again.Sequence, first.ID, first.Sequence)
	}
	if n := len(e.show(q.Rollout).Events); n != 1 {
		t.Errorf("the journal holds %d events, want 1", n)
	}
}

// An id is that of one rollout, whichever app it is of: a client that uses it for another one is
// told at once, also when the first one was made long ago.
func TestDeployWithAnIDOfAnotherAppIsRefused(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	old := "0199c6d2-1a2b-7000-8000-000000000001"
	for _, id := range []string{newID(t), old} {
		first := search()
		first.App, first.Services[0].Name = "first-"+id[:8], "first-"+id[:8]
		_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: id, Release: first})
		e.must(err)
		for range 2 { // the second time it is known, or is about to be
			begun := time.Now()
			_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: id, Release: search()})
			e.refused(err, api.CodeConflict, "the id "+id+" is that of a rollout of "+first.App)
			if took := time.Since(begun); took > 5*time.Second {
				t.Errorf("that was told after %s", took)
			}
		}
	}
	again := search()
	again.Version = "0.0.3"
	e.deploy(again) // the app is as free as before
}

func TestDeploysAtOnceBeginOneRollout(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	const clients = 8
	refusals := make(chan error, clients)
	var asking sync.WaitGroup
	for range clients {
		asking.Go(func() {
			_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: search(protocol.Offline)})
			refusals <- err
		})
	}
	asking.Wait()
	begun := 0
	for range clients {
		if err := <-refusals; err == nil {
			begun++
		} else {
			e.refused(err, api.CodeRolloutOpen, "one rollout at a time")
		}
	}
	if begun != 1 {
		t.Errorf("%d rollouts were begun, want 1", begun)
	}
}

func TestDeployWhileARolloutIsOpenIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(search(protocol.Offline))
	release := search()
	release.Version = "0.0.3"
	_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: release})
	e.refused(err, api.CodeRolloutOpen, id)
	page, err := e.client.List(t.Context(), api.ListRequest{})
	e.must(err)
	if n := len(page.Rollouts); n != 1 {
		t.Errorf("there are %d rollouts, want 1", n)
	}
}

func TestDeployTakesTheFailedRolloutsPlace(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	heard := e.observe(appFailed)
	e.service("todos", "1.0.0")
	e.service("todo-search", "0.0.1")
	ran := newTally()
	e.setup(sdk.SetupService{Service: "todos", Version: "1.0.0", Before: ran.script, Offline: ran.script, Online: ran.script})
	var mended atomic.Bool
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Online: func(ctx context.Context, run *sdk.Run) error {
		if !mended.Load() {
			return errors.New("no index")
		}
		return ran.script(ctx, run)
	}})
	release := search(protocol.Online)
	release.Services[0].DependsOn = []string{"todos"}
	release.Services = append(release.Services, rollout.Service{
		Name: "todos", Version: "1.0.0", Instances: 1, Migrations: protocol.ServicePhases(),
	})
	id := e.deploy(release)
	e.awaitStatus(id, rollout.Failed)
	mended.Store(true)
	second := e.awaitStatus(e.deploy(release), rollout.Completed)

	if got := e.show(id).Status; got != rollout.Superseded {
		t.Errorf("the failed rollout is %s, want superseded", got)
	}
	heard.await(appFailed, final)
	want := "todos/before done\ntodos/offline done\ntodos/traffic done\ntodos/online skipped\ntodo-search/traffic done\ntodo-search/online done\n"
	if got := steps(second.State); got != want {
		t.Errorf("steps are\n%swant\n%s", got, want)
	}
	for step, times := range map[string]int{"todos/before": 2, "todos/offline": 2, "todos/online": 1, "todo-search/online": 1} {
		if n := ran.of(step); n != times {
			t.Errorf("%s was done %d times, want %d", step, n, times)
		}
	}
	entries, err := e.client.Ledger(t.Context(), api.LedgerRequest{App: "todo-app"})
	e.must(err)
	for _, entry := range entries {
		preparing := entry.Phase == protocol.Before || entry.Phase == protocol.Offline
		if void := entry.Void != ""; void != (preparing && entry.Rollout == id) {
			t.Errorf("ledger: %s of rollout %s is void because %q", entry.Script(), entry.Rollout, entry.Void)
		}
	}
}

func TestRefusedDeployLeavesTheFailedRolloutAlone(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	other := rollout.Release{App: "shop", Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{{Name: "cart", Version: "1.0.0"}}}
	e.awaitStatus(e.deploy(other), rollout.Completed)
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(context.Context, *sdk.Run) error { return errors.New("no") }})
	id := e.deploy(search(protocol.Offline))
	e.awaitStatus(id, rollout.Failed)
	release := search()
	release.Services = append(release.Services, rollout.Service{Name: "cart", Version: "2.0.0"})
	_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: release})
	e.refused(err, api.CodeInvalid, "service cart belongs to app shop")
	if got := e.show(id).Status; got != rollout.Failed {
		t.Errorf("the failed rollout is %s, want it to be there for a retry", got)
	}
}

func TestDeployThatCannotBeUnderstoodIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	nameless := search()
	nameless.App = "golive-app"
	for name, c := range map[string]struct {
		id      string
		release rollout.Release
		words   string
	}{
		"no id":         {"", search(), "no UUID v7"},
		"another UUID":  {"8f14e45f-ceea-467f-a8b5-1d1c1c0a0a0a", search(), "no UUID v7"},
		"reserved name": {newID(t), nameless, "reserved"},
	} {
		_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: c.id, Release: c.release})
		if err == nil {
			t.Errorf("%s: deployed", name)
			continue
		}
		e.refused(err, api.CodeInvalid, c.words)
	}
}

// The names of both scripts hold the same words, cut at different places.
func TestAppsWithNamesAlikeGoSideBySide(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	release := func(app, service, version string) rollout.Release {
		return rollout.Release{App: app, Version: version, Strategy: rollout.Parallel, Setup: true, Services: []rollout.Service{{
			Name: service, Version: version, Migrations: protocol.ServicePhases(), Instances: 1,
		}}}
	}
	all := []rollout.Release{release("x-a", "a-b", "1.0.0"), release("x", "a", "1.0.0-b"), release("x-a-b", "a-b-offline", "1.0.0")}
	var ids []string
	var runs []*tally
	for _, r := range all {
		ran := newTally()
		runs = append(runs, ran)
		s := r.Services[0]
		e.service(s.Name, s.Version)
		e.setup(sdk.SetupService{Service: s.Name, Version: s.Version, Before: ran.script, Offline: ran.script, Online: ran.script})
		e.setup(sdk.SetupService{App: r.App, Version: r.Version, Setup: ran.script})
		ids = append(ids, e.deploy(r))
	}
	for i, id := range ids {
		story := e.awaitStatus(id, rollout.Completed)
		ran := 0
		for _, step := range story.All() {
			if step.Kind == rollout.Migration && runs[i].of(step.ID) != 1 {
				t.Errorf("%s of %s ran %d times in its own setup service, want once", step.ID, all[i].App, runs[i].of(step.ID))
			}
			ran += runs[i].of(step.ID)
		}
		if ran != len(runs[i].runs) {
			t.Errorf("the setup services of %s ran %v, more than their own", all[i].App, runs[i].runs)
		}
	}
}

// A deploy that asks for it takes the place of a rollout whose script still runs: the
// script is cancelled, and what it answers then changes nothing.
func TestReplaceEndsARolloutUnderWay(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	began, cancelled := make(chan struct{}, 1), make(chan struct{}, 1)
	stop := e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: func(ctx context.Context, _ *sdk.Run) error {
		began <- struct{}{}
		<-ctx.Done()
		cancelled <- struct{}{}
		return ctx.Err()
	}})
	first := e.deploy(search(protocol.Offline))
	next(e, "the begin of the first script", began)
	second := newID(t)
	request := api.DeployRequest{Rollout: second, Release: search(), By: "test"}
	if _, err := e.client.Deploy(t.Context(), request); err == nil {
		t.Fatal("a deploy was not refused while another rollout was under way")
	}
	request.Replace = true
	_, err := e.client.Deploy(t.Context(), request)
	e.must(err)
	next(e, "the end of the first script's context", cancelled)
	stop()
	e.awaitStatus(second, rollout.Completed)
	story := e.awaitStatus(first, rollout.Aborted)
	if got, want := steps(story.State), "todo-search/offline failed\ntodo-search/traffic pending\n"; got != want {
		t.Errorf("steps are\n%swant\n%s", got, want)
	}
}
