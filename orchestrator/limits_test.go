package orchestrator_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// busOf is an environment on a bus whose messages may have so many bytes.
func busOf(t *testing.T, maxPayload int32) *environment {
	t.Helper()
	server, err := embedded.Start(embedded.Config{Data: t.TempDir(), Unsynced: true, MaxPayload: maxPayload})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	e := environmentOn(t, func() *relay.Relay {
		r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	})
	e.log = zap.NewNop() // thousands of lines
	return e
}

// answerAll answers each start of a release's scripts at once, as a setup service without our
// SDK does, and as wordily as an answer may be.
func (e *environment) answerAll(r rollout.Release, note string) {
	e.t.Helper()
	nc := e.connect().Conn()
	for _, script := range scriptsOf(r) {
		done := script.Subject(protocol.Done)
		_, err := nc.QueueSubscribe(script.Subject(protocol.Start), "setup", func(m *nats.Msg) {
			answer := nats.NewMsg(done)
			answer.Data, _ = json.Marshal(protocol.Answer{Done: true, Note: note})
			for _, name := range []string{protocol.HeaderRollout, protocol.HeaderAttempt} {
				answer.Header.Set(name, m.Header.Get(name))
			}
			if err := nc.PublishMsg(answer); err != nil {
				e.t.Error(err)
			}
		})
		e.must(err)
	}
	e.must(nc.Flush())
}

// TestTheLimitsHoldAllAtOnce rolls out as much as a release may hold, planned and shown before
// and after, on buses whose messages may have a megabyte, and 64 KiB.
func TestTheLimitsHoldAllAtOnce(t *testing.T) {
	relaytest.Long(t)
	for _, maxPayload := range []int32{1 << 20, 64 << 10} {
		t.Run(fmt.Sprintf("max_payload=%d", maxPayload), func(t *testing.T) {
			e := busOf(t, maxPayload)
			e.orchestrate()
			services := release.MaxServices
			if raced {
				services /= 5
			}
			r := bigRelease(services)
			r.Workflow = []rollout.Item{{Phase: protocol.Before}, {Phase: protocol.Offline}, {Phase: protocol.Online}}
			for n := len(r.Workflow); n < rollout.MaxItems; n++ {
				r.Workflow = append(r.Workflow, rollout.Item{Name: fmt.Sprintf("approval-%d", n), Approval: &rollout.Question{
					Text: fmt.Sprintf("%d: %s", n, strings.Repeat("is everything well? ", 5)), Checklist: []string{"it is", "and so is that"},
				}})
			}
			e.answerAll(r, strings.Repeat("n", 1000))
			plan, err := e.client.Plan(t.Context(), api.PlanRequest{Release: r})
			if e.must(err); len(plan.Steps) != 4*services+rollout.MaxItems-3 {
				t.Fatalf("the plan has %d steps", len(plan.Steps))
			}
			id := e.deploy(r)
			begun := time.Now()
			j, err := journal.Open(t.Context(), e.nc)
			e.must(err)
			status := func() rollout.State {
				r, err := j.Load(t.Context(), r.App, id)
				e.must(err)
				return r.State
			}
			e.untilIn(longPatience, "the first approval is reached", func() bool {
				running := status().Running()
				return len(running) == 1 && running[0].ID == "approval-3"
			})
			t.Logf("all scripts have run within %s", time.Since(begun).Round(time.Millisecond))
			for _, step := range status().Steps {
				if step.Kind == rollout.Approving {
					continue
				}
				if step.Status != rollout.StepDone || step.Kind == rollout.Migration && len(step.Script.Note) != 1000 {
					t.Fatalf("step %s is %s, with a note of %d bytes", step.ID, step.Status, len(step.Script.Note))
				}
			}
			all, err := e.client.Status(t.Context(), api.AppRequest{})
			if e.must(err); len(all) != 1 {
				t.Errorf("the status has %d apps", len(all))
			}
			if page, err := e.client.List(t.Context(), api.ListRequest{}); err != nil || len(page.Rollouts) != 1 {
				t.Errorf("the list has %d rollouts: %v", len(page.Rollouts), err)
			}
			_, err = e.client.Abort(t.Context(), api.AbortRequest{Force: true, RolloutRequest: api.RolloutRequest{Rollout: id}})
			e.must(err)
			e.untilIn(longPatience, "it is aborted", func() bool { return status().Status == rollout.Aborted })
		})
	}
}

// manyHosts is how many hosts a step may run on.
const manyHosts = rollout.MaxHosts

// agentsOn runs so many agents, a hundred on a connection, and returns once all are there.
func (e *environment) agentsOn(n int, labels map[string]string, m *release.Manifest) {
	e.t.Helper()
	var nc *nats.Conn
	var ready []<-chan struct{}
	for i := range n {
		if i%100 == 0 {
			nc = e.connect().Conn()
		}
		j, err := journal.Open(e.t.Context(), nc)
		e.must(err)
		name := fmt.Sprintf("web-%d", i)
		a, err := agent.New(agent.Config{Conn: nc, Journal: j, Name: name, Labels: labels, Releases: []*release.Manifest{m}})
		e.must(err)
		e.run("agent "+name, a.Run)
		ready = append(ready, a.Ready())
	}
	for _, r := range ready {
		next(e, "an agent", r)
	}
}

// TestAStepOnAsManyHostsAsThereMayBe has as many agents as a step may have do one step quietly,
// and fail at the next one with more words than an event has room for.
func TestAStepOnAsManyHostsAsThereMayBe(t *testing.T) {
	relaytest.Long(t)
	for _, maxPayload := range []int32{1 << 20, 64 << 10} {
		t.Run(fmt.Sprintf("max_payload=%d", maxPayload), func(t *testing.T) {
			e := busOf(t, maxPayload)
			e.orchestrate()
			hosts := manyHosts
			if raced {
				hosts /= 5
			}
			web := map[string]string{"role": "web"}
			r, m := e.upgrade("1.0.0",
				release.Step{Name: "quiet", On: web, AtOnce: 50, Command: &release.Command{Args: []string{"true"}}},
				release.Step{Name: "loud", On: web, AtOnce: 50, Need: rollout.Need{Hosts: 1}, Command: &release.Command{Shell: "head -c 3000 /dev/urandom | base64; exit 1"}},
				online)
			e.agentsOn(hosts, web, m)
			all, err := e.client.Agents(t.Context())
			if e.must(err); len(all) != hosts {
				t.Errorf("%d agents are listed", len(all))
			}
			id := e.deploy(r)
			e.untilIn(4*longPatience, "the rollout has failed", func() bool { return e.show(id).Status == rollout.Failed })
			story := e.show(id)
			if quiet, _ := story.Step("quiet"); quiet.Status != rollout.StepDone || len(quiet.Hosts) != hosts {
				t.Errorf("the quiet step is %s on %d hosts", quiet.Status, len(quiet.Hosts))
			}
			loud, _ := story.Step("loud")
			if loud.Status != rollout.StepFailed || loud.Error == nil || loud.Error.Code != protocol.CodeFailed && loud.Error.Code != api.CodeTooLarge {
				t.Errorf("the loud step is %s: %+v", loud.Status, loud.Error)
			}
			t.Logf("the loud step has failed with %s, and %d hosts in the state", loud.Error.Code, len(loud.Hosts))
			found, err := e.client.Hosts(t.Context(), api.HostsRequest{Rollout: id, Step: "loud"})
			e.must(err)
			for _, h := range found {
				if h.Status != protocol.HostFailed || len(h.Output) < 3000 {
					t.Fatalf("host %s is %s and has written %d bytes", h.Name, h.Status, len(h.Output))
				}
			}
		})
	}
}

// What does not fit is refused before anything runs, with the numbers.
func TestWhatDoesNotFitIsRefused(t *testing.T) {
	e := busOf(t, 16<<10)
	e.orchestrate()
	r := bigRelease(20)
	refused := func(digest int, why string) {
		t.Helper()
		r.Digest = incompressible(digest)
		_, err := e.client.Plan(t.Context(), api.PlanRequest{Release: r})
		e.refused(err, api.CodeTooLarge, why)
		_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: r})
		e.refused(err, api.CodeTooLarge, why)
	}
	refused(40<<10, "the request has ")
	refused(27<<10, "the event has ") // whose request fits
	r.Digest = incompressible(20 << 10)
	if _, err := e.client.Plan(t.Context(), api.PlanRequest{Release: r}); err != nil {
		t.Error("what fits is refused:", err)
	}
}

// incompressible is a text of so many letters that no compression makes much smaller.
func incompressible(n int) string {
	var b strings.Builder
	x := uint64(88172645463325252)
	for b.Len() < n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		fmt.Fprintf(&b, "%016x", x)
	}
	return b.String()[:n]
}
