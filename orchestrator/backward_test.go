package orchestrator_test

import (
	"context"
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// Production would be answered by nobody, though the newer version is well.
func TestGoingBackwardNeedsTheVersionBefore(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	old := e.service("todo-search", "1.0.0")
	e.awaitStatus(e.deploy(version("1.0.0")), rollout.Completed)
	e.service("todo-search", "2.0.0")
	reverted := make(chan struct{}, 10)
	e.setup(sdk.SetupService{Service: "todo-search", Version: "2.0.0",
		Online:       sdk.Script(func(context.Context, *sdk.Run) error { return nil }),
		RevertOnline: sdk.Script(func(context.Context, *sdk.Run) error { reverted <- struct{}{}; return nil }),
	})
	id := e.deploy(version("2.0.0", protocol.Online))
	e.awaitStatus(id, rollout.Completed)
	old()
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.refused(err, api.CodeNotAlive, "traffic would go back to todo-search 1.0.0 (0 of 1 instances are alive): nothing was changed")
	e.answeredBy("2.0.0")
	if e.show(id).Status != rollout.Completed || len(reverted) > 0 {
		t.Error("something was changed all the same")
	}
	e.service("todo-search", "1.0.0")
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.must(err)
	e.awaitStatus(id, rollout.Reverted)
	e.answeredBy("1.0.0")
	if len(reverted) != 1 {
		t.Errorf("%d revert scripts ran", len(reverted))
	}
}

// Who dies while scripts are undone is waited for, and the newer version serves meanwhile.
func TestTheWayBackWaitsForAnInstanceOfTheVersionBefore(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	old := e.service("todo-search", "1.0.0")
	e.awaitStatus(e.deploy(version("1.0.0")), rollout.Completed)
	e.service("todo-search", "2.0.0")
	begun, goOn := make(chan struct{}), make(chan struct{})
	e.setup(sdk.SetupService{Service: "todo-search", Version: "2.0.0",
		Online: sdk.Script(func(context.Context, *sdk.Run) error { return nil }),
		RevertOnline: sdk.Script(func(context.Context, *sdk.Run) error {
			close(begun)
			<-goOn
			return nil
		}),
	})
	id := e.deploy(version("2.0.0", protocol.Online))
	e.awaitStatus(id, rollout.Completed)
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.must(err)
	next(e, "the revert script", begun)
	old()
	close(goOn)
	e.until("it tells what it waits for", func() bool {
		return e.show(id).Observations["todo-search/traffic"].Waiting != ""
	})
	e.answeredBy("2.0.0")
	e.service("todo-search", "1.0.0")
	e.awaitStatus(id, rollout.Reverted)
	e.answeredBy("1.0.0")
}

func TestGoingBackwardCanBeForced(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	old := e.service("todo-search", "1.0.0")
	e.awaitStatus(e.deploy(version("1.0.0")), rollout.Completed)
	e.serving("2.0.0")
	e.serving("3.0.0")
	old()
	_, err := e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", To: "1.0.0"})
	e.refused(err, api.CodeNotAlive, "todo-search 1.0.0 (0 of 1 instances are alive)")
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", To: "1.0.0", Force: true})
	e.must(err)
	e.awaitAlarm("no instance of todo-search 1.0.0 is alive, which is online: nobody answers")
}
