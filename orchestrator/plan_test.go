package orchestrator_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

func (e *environment) plan(r rollout.Release) api.PlanView {
	e.t.Helper()
	p, err := e.client.Plan(e.t.Context(), api.PlanRequest{Release: r})
	e.must(err)
	return p
}

// deployPlan deploys what was planned, and gives the rollout's id.
func (e *environment) deployPlan(r rollout.Release, plan string, on *rollout.Basis) (string, error) {
	id := newID(e.t)
	_, err := e.client.Deploy(e.t.Context(), api.DeployRequest{Rollout: id, Release: r, By: "test", Plan: plan, DependsOn: on})
	return id, err
}

// planned writes a plan in one line for each step.
func planned(p api.PlanView) string {
	var b strings.Builder
	for _, s := range p.Steps {
		fmt.Fprintf(&b, "%d %s", s.Wave, s.ID)
		for _, n := range s.WaitsFor {
			fmt.Fprintf(&b, " after %s", p.Steps[n-1].ID)
		}
		switch {
		case s.Skipped != "":
			b.WriteString(" skipped")
		case s.Unchanged:
			b.WriteString(" unchanged")
		case s.Kind != rollout.Migration && len(s.Online) > 0:
			fmt.Fprintf(&b, " from %s", strings.Join(s.Online, ", "))
		}
		if s.Last != nil {
			b.WriteString(" known")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// codes are those of the problems of a plan.
func codes(p api.PlanView) []string {
	var all []string
	for _, problem := range p.Problems {
		all = append(all, problem.Code)
		if problem.Message == "" || problem.Hint == "" {
			all = append(all, "without message or hint")
		}
	}
	return all
}

func TestPlanTellsWhatADeployWouldDo(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	release := search(protocol.Before, protocol.Offline, protocol.Online)
	release.Setup = true
	p := e.plan(release)
	want := "1 todo-search/before\n2 todo-search/offline after todo-search/before\n3 todo-search/traffic after todo-search/offline\n" +
		"4 todo-search/online after todo-search/traffic\n5 todo-app/setup after todo-search/online\n"
	if got := planned(p); got != want || !p.Pending {
		t.Errorf("pending: %t, the plan is\n%swant\n%s", p.Pending, got, want)
	}
	nobody := api.CodeNotListening
	if got := codes(p); !slices.Equal(got, []string{nobody, nobody, api.CodeNotAlive, nobody, nobody}) {
		t.Errorf("the problems are %v", got)
	}
	if p.DependsOn.Digest() != p.ID || e.plan(release).ID != p.ID {
		t.Errorf("the id is %s, then %s, that of what it depends on %s", p.ID, e.plan(release).ID, p.DependsOn.Digest())
	}

	e.service("todo-search", "0.0.1")
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Before: nothing, Offline: nothing, Online: nothing})
	e.setup(sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: nothing})
	e.until("nothing is in the way", func() bool { return len(e.plan(release).Problems) == 0 })
	if again := e.plan(release); again.ID != p.ID {
		t.Errorf("the programs have come, and the plan is %s, not %s", again.ID, p.ID)
	}
	id := e.deploy(release)
	e.awaitStatus(id, rollout.Completed)

	p = e.plan(release)
	want = "0 todo-search/before skipped known\n0 todo-search/offline skipped known\n1 todo-search/traffic unchanged known\n" +
		"0 todo-search/online skipped known\n0 todo-app/setup skipped known\n"
	if got := planned(p); got != want || p.Pending || len(p.Problems) > 0 {
		t.Errorf("pending: %t, problems %v, the plan is\n%swant\n%s", p.Pending, codes(p), got, want)
	}
	for _, step := range p.Steps {
		if step.Last.Rollout != id || step.Last.Duration <= 0 || step.Last.At.IsZero() {
			t.Errorf("%s was last done %+v", step.ID, step.Last)
		}
	}

	release.Version, release.Services[0].Version = "0.0.3", "0.0.2"
	p = e.plan(release)
	traffic := p.Steps[2]
	if !p.Pending || !slices.Equal(traffic.Online, []string{"0.0.1"}) || traffic.Version != "0.0.2" || traffic.Unchanged {
		t.Errorf("of the next version the plan is %+v", p)
	}
	release.Services[0].Version, release.Setup = "0.0.1", false
	if p = e.plan(release); !p.Pending {
		t.Error("the app's next version has not been completed, and nothing is to be done")
	}
}

func TestPlanTellsWhatIsInItsWay(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	e.starts(offlineStart)
	release := search(protocol.Offline)
	id := e.deploy(release)
	e.running(id, "todo-search/offline", 1)
	p := e.plan(release)
	if got := codes(p); !p.Pending || !slices.Equal(got, []string{api.CodeRolloutOpen}) || !strings.Contains(p.Problems[0].Message, id) {
		t.Errorf("pending: %t, the problems are %v", p.Pending, got)
	}
	e.answer(offlineDone, id, 1, "{}")
	e.awaitStatus(id, rollout.Completed)
	release.Version = "0.0.1"
	if got := codes(e.plan(release)); !slices.Equal(got, []string{api.CodeOlder}) {
		t.Errorf("of an older version the problems are %v", got)
	}
	allowed, err := e.client.Plan(t.Context(), api.PlanRequest{Release: release, AllowOlder: true})
	e.must(err)
	if got := codes(allowed); !allowed.Pending || len(got) > 0 {
		t.Errorf("of an older one that is allowed the problems are %v", got)
	}
	release.App = "another"
	if got := codes(e.plan(release)); !slices.Equal(got, []string{api.CodeInvalid}) {
		t.Errorf("with another app's service the problems are %v", got)
	}
	_, err = e.client.Plan(t.Context(), api.PlanRequest{})
	e.refused(err, api.CodeInvalid, "app")
}

func TestPlanKnowsTheDowntime(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.serving("1.0.0")
	e.service("todo-search", "2.0.0")
	starts := e.starts("deployment-todo-search-2.0.0-offline-start")
	release := version("2.0.0", protocol.Offline)
	if p := e.plan(release); p.Downtime != nil {
		t.Errorf("without maintenance the downtime is %+v", p.Downtime)
	}
	release.Strategy = rollout.Downtime
	p := e.plan(release)
	if d := p.Downtime; d == nil || !slices.Equal(d.Services, []string{"todo-search"}) || d.Estimate != nil || !slices.Equal(d.Unknown, []string{"todo-search/offline"}) {
		t.Errorf("of a script that has never run the downtime is %+v", d)
	}
	id, err := e.deployPlan(release, p.ID, nil)
	e.must(err)
	next(e, "the start", starts)
	begun := time.Now()
	e.answer("deployment-todo-search-2.0.0-offline-done", id, 1, "{}")
	e.awaitStatus(id, rollout.Completed)
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", SkipMissing: true})
	e.must(err)
	e.awaitStatus(id, rollout.Reverted)
	p = e.plan(release)
	if d := p.Downtime; d == nil || d.Estimate == nil || *d.Estimate <= 0 || time.Duration(*d.Estimate) > time.Since(begun)+patience || len(d.Unknown) > 0 {
		t.Errorf("of a script that has run once the downtime is %+v", d)
	}
}

// Between a plan and its deploy the world may change: then nothing begins.
func TestDeployIsHeldToItsPlan(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: nothing})
	release := search(protocol.Offline)
	before := e.plan(release)
	for _, plan := range []string{"x", before.ID[:11], before.ID + "0", strings.ToUpper(before.ID)} {
		_, err := e.deployPlan(release, plan, nil)
		e.refused(err, api.CodeInvalid, plan)
	}
	for _, q := range []api.DeployRequest{{Queue: true}, {Replace: true}} {
		q.Rollout, q.Release, q.Plan = newID(t), release, before.ID
		_, err := e.client.Deploy(t.Context(), q)
		e.refused(err, api.CodeInvalid, "held to a plan")
	}
	id, err := e.deployPlan(release, before.ID[:rollout.ShortPlan], nil)
	e.must(err)
	e.awaitStatus(id, rollout.Completed)

	_, err = e.deployPlan(release, before.ID, nil)
	after := e.plan(release)
	e.refused(err, api.CodePlanChanged, "plan "+before.ID[:12]+" does not hold any more: for todo-app 0.0.2 it is plan "+after.ID[:12]+" now")
	_, err = e.deployPlan(release, before.ID, &before.DependsOn)
	e.refused(err, api.CodePlanChanged, "\ntodo-search/offline is not needed any more: it ran ")
	e.refused(err, api.CodePlanChanged, "\nthe route of todo-search was written by rollout "+id+": it leads to 0.0.1, and led to no version")
	changed := release
	changed.RetryAfter = rollout.Duration(time.Minute)
	_, err = e.deployPlan(changed, after.ID, &after.DependsOn)
	e.refused(err, api.CodePlanChanged, "\ngolive.yaml has changed")
	if page, err := e.client.List(t.Context(), api.ListRequest{}); err != nil || len(page.Rollouts) != 1 {
		t.Errorf("what was refused has begun: %+v, %v", page.Rollouts, err)
	}
	id, err = e.deployPlan(release, after.ID, nil)
	e.must(err)
	e.awaitStatus(id, rollout.Completed)
	q := api.DeployRequest{Rollout: id, Release: release, Plan: after.ID}
	if again, err := e.client.Deploy(t.Context(), q); err != nil || again.ID != id {
		t.Errorf("repeated, the request gives %s, %v", again.ID, err)
	}
}

// A failed rollout gives way to the next one, which is part of that one's plan: what it had
// prepared runs again, and its routes are written anew.
func TestPlanReckonsWithAFailedRollout(t *testing.T) {
	for name, phases := range map[string][]protocol.Phase{
		"before the gate": {protocol.Before, protocol.Offline},
		"behind it":       {protocol.Before, protocol.Online},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := newEnvironment(t)
			e.orchestrate()
			e.serving("1.0.0")
			e.service("todo-search", "2.0.0")
			fails := func(context.Context, *sdk.Run) error { return sdk.Permanent(errors.New("no room")) }
			setup := sdk.SetupService{Service: "todo-search", Version: "2.0.0", Before: nothing}
			last := "todo-search/" + string(phases[1])
			if phases[1] == protocol.Offline {
				setup.Offline = fails
			} else {
				setup.Online = fails
			}
			e.setup(setup)
			release := version("2.0.0", phases...)
			failed := e.deploy(release)
			e.awaitStatus(failed, rollout.Failed)
			before := e.show(failed).Events
			p := e.plan(release)
			if !p.Pending || !slices.Equal(p.GivesWay, []string{failed}) || len(p.Problems) > 0 {
				t.Fatalf("the plan is %+v", p)
			}
			if after := e.show(failed).Events; len(after) != len(before) {
				t.Errorf("the plan has ended the failed rollout: %+v", after)
			}
			id, err := e.deployPlan(release, p.ID, nil)
			e.must(err)
			e.awaitStatus(failed, rollout.Superseded)
			story := e.awaitStatus(id, rollout.Failed)
			for _, step := range p.Steps {
				did, _ := story.Step(step.ID)
				if (step.Skipped == "") != (did.Status != rollout.StepSkipped) {
					t.Errorf("planned was %+v, done %+v", step, did)
				}
				if did.Move.Replaces != nil && !slices.Equal(did.Move.Replaces.Online, step.Online) {
					t.Errorf("planned was %+v, found %+v", step, did.Move.Replaces)
				}
			}
			if did, _ := story.Step("todo-search/before"); did.Status != rollout.StepDone {
				t.Errorf("what had prepared the version was %s", did.Status)
			}
			if did, _ := story.Step(last); did.Status != rollout.StepFailed {
				t.Errorf("%s is %s", last, did.Status)
			}
		})
	}
}

// Of many who go on with the same plan, one does.
func TestAPlanIsDeployedOnce(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	release := recorded("one")
	plan := e.plan(release).ID
	const clients = 8
	errs := make(chan error, clients)
	var asking sync.WaitGroup
	for range clients {
		asking.Go(func() { _, err := e.deployPlan(release, plan, nil); errs <- err })
	}
	asking.Wait()
	close(errs)
	begun := 0
	for err := range errs {
		if err == nil {
			begun++
		} else if code := codeOf(err); code != api.CodePlanChanged && code != api.CodeRolloutOpen {
			t.Errorf("refused with %v", err)
		}
	}
	if begun != 1 {
		t.Errorf("%d have begun", begun)
	}
}

func codeOf(err error) string {
	var refusal *protocol.ServiceError
	if errors.As(err, &refusal) {
		return refusal.Code
	}
	return ""
}

// kept is all that the server keeps, by stream and sequence, but for who is alive.
func (e *environment) kept() map[string]string {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	all := make(map[string]string)
	streams := js.ListStreams(e.t.Context())
	for info := range streams.Info() {
		name := info.Config.Name
		if name == "KV_"+protocol.LeasesBucket {
			continue
		}
		all[name] = fmt.Sprintf("%d messages, %d to %d", info.State.Msgs, info.State.FirstSeq, info.State.LastSeq)
		stream, err := js.Stream(e.t.Context(), name)
		e.must(err)
		for sequence := info.State.FirstSeq; sequence <= info.State.LastSeq && info.State.Msgs > 0; sequence++ {
			m, err := stream.GetMsg(e.t.Context(), sequence)
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				continue
			}
			e.must(err)
			all[fmt.Sprintf("%s %d", name, sequence)] = fmt.Sprintf("%s %s %v %q", m.Subject, m.Time, m.Header, m.Data)
		}
	}
	e.must(streams.Err())
	return all
}

// quiet blocks until what the server keeps has not changed for a while.
func (e *environment) quiet() {
	e.t.Helper()
	last, same := e.kept(), 0
	e.until("nothing is written any more", func() bool {
		now := e.kept()
		if same++; !maps.Equal(now, last) {
			last, same = now, 0
		}
		return same >= 20
	})
}

// After any number of plans, in whatever state the app is, all that is kept is byte for
// byte as it was, and no script has been started.
func TestPlanChangesNothing(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	heard := e.observe("*") // starts have one word
	release := search(protocol.Offline, protocol.Online)
	release.Strategy = rollout.Downtime
	other := release
	other.Services = slices.Clone(release.Services)
	other.Version, other.Services[0].Version = "0.0.3", "0.0.2"
	look := func(when string) {
		t.Helper()
		before, said := e.kept(), len(heard.subjects())
		var asking sync.WaitGroup
		for range 10 {
			for _, r := range []rollout.Release{release, other, recorded("unheard-of")} {
				asking.Go(func() { _, _ = e.client.Plan(t.Context(), api.PlanRequest{Release: r}) })
			}
			asking.Go(func() { _, _ = e.deployPlan(other, "000000000000", nil) }) // refused, and nothing is changed either
		}
		asking.Wait()
		if p := e.plan(release); p.ID == "" {
			t.Fatalf("%s there is no plan", when)
		}
		e.must(e.nc.Flush())
		if after := e.kept(); !maps.Equal(before, after) {
			for key := range after {
				if before[key] != after[key] {
					t.Errorf("%s a plan has changed %s from %s to %s", when, key, before[key], after[key])
				}
			}
			t.Fatalf("%s %d entries became %d", when, len(before), len(after))
		}
		if now := heard.subjects(); len(now) != said {
			t.Errorf("%s a plan has said %v", when, now[said:])
		}
	}
	look("at first")
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	e.bare("deployment-todo-search-0.0.1-online-start", func(_ *nats.Conn, m *nats.Msg) { _ = m.Respond([]byte(`{"done": true}`)) })
	look("before the first rollout")
	id := e.deploy(release)
	next(e, "the start", starts)
	e.quiet()
	look("while a script runs")
	e.answer(offlineFailed, id, 1, `{"error": {"code": "full", "message": "disk is full"}}`)
	e.awaitStatus(id, rollout.Failed)
	e.quiet()
	look("after a failure")
	e.retry(id)
	next(e, "the second start", starts)
	e.answer(offlineDone, id, 2, "{}")
	e.awaitStatus(id, rollout.Completed)
	e.quiet()
	look("after the rollout")
}

// Where each of a hundred services has scripts for all phases, each waits for a hundred others.
func TestPlanOfManyServicesFitsIntoAMessage(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	release := rollout.Release{App: "many", Version: "1.0.0", Strategy: rollout.Parallel, Setup: true}
	for n := range 100 {
		release.Services = append(release.Services, rollout.Service{
			Name: fmt.Sprintf("service-with-a-long-name-%d", n), Version: "1.0.0", Migrations: protocol.ServicePhases(), Instances: 1,
		})
	}
	if p := e.plan(release); len(p.Steps) != 401 || len(p.Problems) != 401 || len(p.Steps[100].WaitsFor) != 100 {
		t.Errorf("%d steps, %d problems, %+v", len(p.Steps), len(p.Problems), p.Steps[100])
	}
}

// A script is marked as run at the moment of the deploy: what begins is what was planned, or
// nothing begins.
func TestDeployIsHeldToItsPlanInARace(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	begun := 0
	for n := range 30 {
		release := recorded(fmt.Sprintf("app-%d", n))
		service := &release.Services[0]
		service.Migrations = []protocol.Phase{protocol.Offline}
		p := e.plan(release)
		var marking sync.WaitGroup
		marking.Go(func() {
			_, err := e.client.Mark(t.Context(), api.MarkRequest{
				App: release.App, Name: service.Name, Version: service.Version, Phase: protocol.Offline, By: "test", Reason: "by hand",
			})
			if err != nil && codeOf(err) != api.CodeConflict {
				t.Errorf("mark: %v", err)
			}
		})
		id, err := e.deployPlan(release, p.ID, &p.DependsOn)
		marking.Wait()
		if err != nil {
			e.refused(err, api.CodePlanChanged, service.Name+"/offline is not needed any more")
			continue
		}
		begun++
		if step, _ := e.show(id).Step(service.Name + "/offline"); step.Status == rollout.StepSkipped {
			t.Errorf("it was planned to run %s, and it is %s", step.ID, step.Skipped)
		}
	}
	t.Logf("%d of 30 have begun", begun)
}
