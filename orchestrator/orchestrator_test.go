package orchestrator_test

import (
	"testing"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

func TestRolloutCompletes(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	heard := e.observe(appSetUp, offlineDone)
	e.service("todo-search", "0.0.1")
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: nothing, Online: nothing})
	id := e.deploy(search(protocol.Offline, protocol.Online))
	story := e.awaitStatus(id, rollout.Completed)
	want := "todo-search/offline done\ntodo-search/traffic done\ntodo-search/online done\n"
	if got := steps(story.State); got != want {
		t.Errorf("steps are\n%swant\n%s", got, want)
	}
	if n := len(story.Events); n != 4 {
		t.Errorf("the journal holds %d events, want 4: one a transition", n)
	}
	m := heard.await(appSetUp, fact)
	if got := m.Header.Get(protocol.HeaderRollout); got != id {
		t.Errorf("completion event is of rollout %q, want %q", got, id)
	}
	if n := len(heard.heard(offlineDone)); n != 1 {
		t.Errorf("offline-done was heard %d times, want once", n)
	}
}

func TestAppWithoutServicesCompletesItsSetup(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	heard := e.observe(appSetUp)
	e.setup(sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: nothing})
	id := e.deploy(rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Setup: true})
	e.awaitStatus(id, rollout.Completed)
	heard.await(appSetUp, fact)
	if all := heard.heard(appSetUp); len(all) != 2 || fact(all[0]) || !fact(all[1]) {
		t.Errorf("set-up was heard %d times, want the script's first and then the completion event", len(all))
	}
}
