package orchestrator_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// upgrade is a release of an app without services to run, whose steps write what they do into
// a file of the folder.
func (e *environment) upgrade(version string, steps ...release.Step) (rollout.Release, *release.Manifest) {
	dir := e.t.TempDir()
	m := &release.Manifest{
		App: "shop", Version: version, Strategy: rollout.Parallel, Dir: dir, Path: filepath.Join(dir, release.FileName), Steps: steps,
		Services: []release.Service{{Service: rollout.Service{Name: "cart", Version: version}}},
	}
	return m.Release(), m
}

// does is a command that notes in a file that it ran, in which direction and where.
func does(name string, on map[string]string) release.Step {
	return release.Step{Name: name, On: on, Command: &release.Command{
		Shell: `echo ` + name + ` $1 $GOLIVE_HOST >> did`, Backward: true,
	}}
}

// looks is a check that holds as long as there is no file called broken.
func looks(name string) release.Step {
	return release.Step{Name: name, Check: &release.Check{Shell: "test ! -e broken || { echo it is broken; exit 1; }"}}
}

func (e *environment) agent(name string, labels map[string]string, m *release.Manifest) (stop func()) {
	e.t.Helper()
	nc := e.connect().Conn()
	j, err := journal.Make(e.t.Context(), nc, 1)
	e.must(err)
	a, err := agent.New(agent.Config{Conn: nc, Journal: j, Name: name, Labels: labels, Releases: []*release.Manifest{m}, Logger: e.log})
	e.must(err)
	stop = e.run("agent "+name, func(ctx context.Context) error { return a.Run(ctx) })
	next(e, "the agent", a.Ready())
	return stop
}

func did(t *testing.T, m *release.Manifest) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(m.Dir, "did"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(data)
}

var online = release.Step{Phase: protocol.Online}

func TestCommandsRunOnTheirHostsAndAreUndone(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	before, none := e.upgrade("1.0.0", online)
	e.awaitStatus(e.deploy(before), rollout.Completed)
	web := map[string]string{"role": "web"}
	each := does("stop-front", web)
	each.AtOnce = 1
	r, m := e.upgrade("2.0.0", each, does("backup", nil), online, looks("smoke"))
	if got := strings.Join(codes(e.plan(r)), " "); got != strings.TrimSpace(strings.Repeat(api.CodeNoAgent+" ", 3)) {
		t.Errorf("without agents the plan has the problems %q", got)
	}
	e.agent("other", web, none) // which has another release
	id := e.deploy(r)
	e.await(id, "waiting for an agent", func(s api.RolloutStory) bool {
		return strings.Contains(s.Observations["stop-front"].Waiting, "no agent with role=web")
	})
	e.agent("web-1", web, m)
	e.agent("web-2", web, m)
	story := e.awaitStatus(id, rollout.Completed)
	ran := did(t, m)
	for _, want := range []string{"stop-front forward web-1\n", "backup forward "} {
		if strings.Count(ran, want) != 1 {
			t.Errorf("%q was not done once: %q", want, ran)
		}
	}
	if step, _ := story.Step("stop-front"); len(step.Hosts) == 0 || step.Hosts[0].Status != protocol.HostDone || *step.Hosts[0].Exit != 0 {
		t.Errorf("the state of the hosts: %+v", step.Hosts)
	}
	hosts, err := e.client.Hosts(t.Context(), api.HostsRequest{Rollout: id, Step: "backup"})
	if e.must(err); len(hosts) != 1 {
		t.Errorf("the hosts of backup: %+v", hosts)
	}
	if p := e.plan(r); p.Pending {
		t.Errorf("there is something left to do: %s", planned(p))
	}
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "shop", By: "test"})
	e.must(err)
	e.awaitStatus(id, rollout.Reverted)
	lines := strings.Split(strings.TrimSpace(strings.TrimPrefix(did(t, m), ran)), "\n")
	if len(lines) < 2 || !strings.HasPrefix(lines[0], "backup backward") || !strings.HasPrefix(lines[1], "stop-front backward") {
		t.Errorf("on the way back: %q", lines)
	}
}

func TestACheckThatFailsKeepsTheGateShut(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	r, m := e.upgrade("2.0.0", looks("smoke"), online)
	e.must(os.WriteFile(filepath.Join(m.Dir, "broken"), nil, 0o600))
	e.agent("host", nil, m)
	id := e.deploy(r)
	story := e.awaitStatus(id, rollout.Failed)
	if step, _ := story.Step("cart/traffic"); step.Attempt != 0 {
		t.Error("the gate was opened")
	}
	if step, _ := story.Step("smoke"); !strings.Contains(step.Error.Message, "it is broken") {
		t.Errorf("the error is %v", step.Error)
	}
	e.must(os.Remove(filepath.Join(m.Dir, "broken")))
	e.retry(id)
	e.awaitStatus(id, rollout.Completed)
}

func TestACheckThatFailsBehindTheGateBringsTheVersionBeforeBack(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	first, _ := e.upgrade("1.0.0", online)
	e.awaitStatus(e.deploy(first), rollout.Completed)
	r, m := e.upgrade("2.0.0", does("config", nil), online, looks("smoke"))
	r.AutoRevert = true
	e.must(os.WriteFile(filepath.Join(m.Dir, "broken"), nil, 0o600))
	e.agent("host", nil, m)
	id := e.deploy(r)
	story := e.awaitStatus(id, rollout.Reverted)
	if story.Backward == nil || story.Backward.By != "golive" || !strings.Contains(story.Backward.Reason, "smoke") {
		t.Errorf("it was taken backward: %+v", story.Backward)
	}
	routes, err := e.client.Routes(t.Context())
	if e.must(err); len(routes) != 1 || strings.Join(routes[0].Online(), " ") != "1.0.0" {
		t.Errorf("the routes are %+v", routes)
	}
	if got := did(t, m); got != "config forward host\nconfig backward host\n" {
		t.Errorf("it did %q", got)
	}
}

func TestAnAbortStopsWhatAgentsRun(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	r, m := e.upgrade("2.0.0", release.Step{Name: "slow", Command: &release.Command{
		Shell: "trap 'echo stopped >> did; exit 1' TERM; echo begun >> did; while :; do sleep 0.05; done",
	}}, online)
	e.agent("host", nil, m)
	id := e.deploy(r)
	e.until("it has begun", func() bool { return strings.Contains(did(t, m), "begun") })
	_, err := e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}})
	e.must(err)
	e.awaitStatus(id, rollout.Aborted)
	e.until("it was stopped", func() bool { return strings.Contains(did(t, m), "stopped") })
}

func TestAnotherOrchestratorGoesOnWithACommand(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	r, m := e.upgrade("2.0.0", release.Step{Name: "slow", Command: &release.Command{
		Shell: "echo begun >> did; while test ! -e go; do sleep 0.05; done; echo ended >> did",
	}}, online)
	e.agent("host", nil, m)
	id := e.deploy(r)
	e.until("it has begun", func() bool { return strings.Contains(did(t, m), "begun") })
	stop()
	e.orchestrate()
	e.running(id, "slow", 1)
	e.must(os.WriteFile(filepath.Join(m.Dir, "go"), nil, 0o600))
	e.awaitStatus(id, rollout.Completed)
	if got := did(t, m); got != "begun\nended\n" {
		t.Errorf("it did %q", got)
	}
}

// An agent that dies is missed once its lease has run out, or as soon as another one of its
// name is there; a retry has only the hosts do it again that have not succeeded.
func TestAStepWhoseAgentDiesIsTriedAgainOnThatHostAlone(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	web := map[string]string{"role": "web"}
	r, m := e.upgrade("2.0.0", release.Step{Name: "slow", On: web, Retries: 1, Command: &release.Command{
		Shell: "echo begun $GOLIVE_HOST >> did; test $GOLIVE_HOST = web-1 || while test ! -e go; do sleep 0.05; done",
	}}, online)
	r.Workflow[0].Work.Backoff = rollout.Duration(1)
	e.agent("web-1", web, m)
	leave := e.agent("web-2", web, m)
	id := e.deploy(r)
	e.until("both have begun", func() bool { return strings.Count(did(t, m), "begun") == 2 })
	leave()
	e.must(os.WriteFile(filepath.Join(m.Dir, "go"), nil, 0o600))
	e.agent("web-2", web, m)
	story := e.awaitStatus(id, rollout.Completed)
	step, _ := story.Step("slow")
	if got := did(t, m); step.Attempt != 2 || strings.Count(got, "web-1") != 1 || strings.Count(got, "web-2") != 2 {
		t.Errorf("attempt %d, it did %q", step.Attempt, got)
	}
}

// The orchestrator and the agent both look at the time of a step. Who is first makes no
// difference: the step has timed out, and nobody is at it any more.
func TestACommandThatTakesTooLongIsStopped(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	r, m := e.upgrade("2.0.0", release.Step{Name: "slow", Timeout: rollout.Duration(time.Second), Command: &release.Command{
		Shell: "test ! -e go || exit 0; trap 'echo stopped >> did; exit 1' TERM; while :; do sleep 0.05; done",
	}}, online)
	e.agent("host", nil, m)
	id := e.deploy(r)
	story := e.awaitStatus(id, rollout.Failed)
	step, _ := story.Step("slow")
	if step.Error.Code != protocol.CodeTimeout || !strings.HasPrefix(step.Error.Message, "not done within 1s: ") {
		t.Errorf("it ended with %v", step.Error)
	}
	if len(step.Hosts) != 1 || step.Hosts[0].Name != "host" || step.Hosts[0].Status != protocol.HostFailed || step.Hosts[0].Code != protocol.CodeTimeout {
		t.Errorf("its host ended with %+v", step.Hosts)
	}
	if got := did(t, m); got != "stopped\n" {
		t.Errorf("when the step has timed out, it did %q", got)
	}
	e.must(os.WriteFile(filepath.Join(m.Dir, "go"), nil, 0o600))
	e.retry(id)
	e.awaitStatus(id, rollout.Completed)
}

// Nobody is there to do it, or to notice that its time is over.
func TestACommandThatNoAgentBeginsInTime(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	r, _ := e.upgrade("2.0.0", release.Step{Name: "slow", Timeout: rollout.Duration(300 * time.Millisecond), Command: &release.Command{Shell: "true"}}, online)
	story := e.awaitStatus(e.deploy(r), rollout.Failed)
	step, _ := story.Step("slow")
	if step.Error.Code != protocol.CodeTimeout || !strings.Contains(step.Error.Message, "its time was over before a host had begun") {
		t.Errorf("it ended with %v", step.Error)
	}
}
