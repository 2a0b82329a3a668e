package orchestrator_test

import (
	"slices"
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

func (e *environment) deployPhase(id string, r rollout.Release, phase protocol.Phase) (api.RolloutView, error) {
	e.t.Helper()
	return e.client.Deploy(e.t.Context(), api.DeployRequest{Rollout: id, Release: r, Phase: phase, By: "test"})
}

func (e *environment) awaitHeld(id string, phase protocol.Phase) {
	e.t.Helper()
	e.await(id, "held behind "+string(phase), func(s api.RolloutStory) bool { return s.Held() && s.Until == phase })
}

// The three runs of the workflow with downtime: before, the downtime, and after.
func TestARolloutGoesOnPhaseByPhase(t *testing.T) {
	e := newEnvironment(t)
	stop := e.orchestrate()
	e.service("todo-search", "0.0.1")
	ran := newTally()
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Before: ran.script, Offline: ran.script, Online: ran.script})
	release := search(protocol.Before, protocol.Offline, protocol.Online)
	release.Digest = "d1"

	_, err := e.deployPhase(newID(t), release, "after")
	e.refused(err, api.CodePhase, "it has before, offline, online")
	_, err = e.deployPhase(newID(t), release, protocol.Offline)
	e.refused(err, api.CodePhase, "phase before has not run")

	id := newID(t)
	_, err = e.deployPhase(id, release, protocol.Before)
	e.must(err)
	e.awaitHeld(id, protocol.Before)
	story := e.show(id)
	if got := steps(story.State); got != "todo-search/before done\ntodo-search/offline pending\ntodo-search/traffic pending\ntodo-search/online pending\n" {
		t.Errorf("after the phase before:\n%s", got)
	}
	if len(story.Waits) != 1 {
		t.Errorf("it waits for %q", story.Waits)
	}
	other := release
	other.Digest = "d2"
	_, err = e.deployPhase(newID(t), other, "")
	e.refused(err, api.CodeRolloutOpen, "is of another release")
	stop()
	stop = e.orchestrate()

	p, err := e.client.Plan(t.Context(), api.PlanRequest{Release: release, Phase: protocol.Offline})
	e.must(err)
	if p.GoesOn != id || len(p.Problems) > 0 || p.Steps[0].Skipped == "" || p.Steps[1].Later || !p.Steps[2].Later {
		t.Errorf("the plan of the second run: %+v", p)
	}
	again, err := e.client.Plan(t.Context(), api.PlanRequest{Release: release})
	e.must(err)
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{
		Rollout: newID(t), Release: release, Phase: protocol.Offline, Plan: again.ID, DependsOn: &again.DependsOn, By: "test",
	})
	e.refused(err, api.CodePlanChanged, "it was to stop at its own end, and is to stop at the end of phase offline")
	request := newID(t)
	for range 2 { // the same request sent twice
		v, err := e.deployPhase(request, release, protocol.Offline)
		if e.must(err); v.ID != id {
			t.Fatalf("rollout %s goes on, not %s", v.ID, id)
		}
		e.awaitHeld(id, protocol.Offline)
	}
	last := newID(t)
	for range 2 {
		v, err := e.deployPhase(last, release, "")
		if e.must(err); v.ID != id {
			t.Fatalf("rollout %s goes on, not %s", v.ID, id)
		}
	}
	story = e.awaitStatus(id, rollout.Completed)
	for range 2 { // it is found also when it has ended, by an orchestrator that has seen that, and by another one
		if v, err := e.deployPhase(last, release, ""); err != nil || v.ID != id {
			t.Errorf("the same request begins rollout %s: %v", v.ID, err)
		}
		stop()
		stop = e.orchestrate()
	}
	further := slices.DeleteFunc(story.Events, func(v api.StoryEvent) bool { return v.Type != rollout.FurtherAsked })
	if len(further) != 2 {
		t.Errorf("it was asked to go on %d times, want 2", len(further))
	}
	for _, step := range story.All() {
		if step.Attempt != 1 {
			t.Errorf("%s ran %d times", step.ID, step.Attempt)
		}
	}
}

// A fill in one release, its use in the next.
func TestAReleaseWaitsForTheOneItRequires(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	fill := e.starts("deployment-todo-search-0.0.1-online-start")
	first := search(protocol.Online)
	second := search()
	second.Version = "0.0.3"
	second.Requires = &rollout.Requirement{Version: "0.0.2"}

	_, err := e.deployPhase(newID(t), second, "")
	e.refused(err, api.CodeRequires, "requires that 0.0.2 has completed here")
	if got := codes(e.plan(second)); !slices.Contains(got, api.CodeRequires) {
		t.Errorf("the plan has the problems %v", got)
	}
	filling := e.deploy(first)
	start := next(e, "the start of the fill", fill)
	for _, replace := range []bool{false, true} { // neither may end what it needs
		_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: second, Replace: replace, By: "test"})
		e.refused(err, api.CodeRequires, "requires that 0.0.2 has completed here")
	}
	queued := newID(t)
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: queued, Release: second, Queue: true, By: "test"})
	e.must(err)
	e.must(start.Respond([]byte(`{"error":{"message":"no room","retry":false}}`)))
	e.awaitStatus(filling, rollout.Failed)
	if s := e.show(queued); s.Status != rollout.Queued {
		t.Fatalf("it is %s, although the fill has failed", s.Status)
	}
	e.retry(filling)
	start = next(e, "the start of the fill", fill)
	e.must(start.Respond([]byte("deployment-todo-search-0.0.1-online-done")))
	e.awaitStatus(filling, rollout.Completed)
	e.awaitStatus(queued, rollout.Completed)
}
