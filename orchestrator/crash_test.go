package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// What orchestrators do that others can see: events, routes, notices.
var doings = []string{protocol.AllRollouts, "$KV.golive-routes.>", protocol.AllNotices}

func TestOrchestratorMayStopAtAnyPoint(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 16; n += 3 {
		t.Run(fmt.Sprintf("after message %d", n), func(t *testing.T) {
			t.Parallel()
			if n != 1 && n != 13 {
				relaytest.Long(t)
			}
			e := newEnvironment(t)
			stop := e.orchestrate()
			e.survives(n, func() { stop(); e.orchestrate() })
		})
	}
}

func TestOrchestratorMayDieBesideAnother(t *testing.T) {
	t.Parallel()
	for n := 3; n <= 13; n += 5 {
		t.Run(fmt.Sprintf("after message %d", n), func(t *testing.T) {
			t.Parallel()
			if n != 8 {
				relaytest.Long(t)
			}
			e := newEnvironment(t)
			r := e.connect()
			o := e.orchestrator(r)
			ended := make(chan error, 1)
			go func() { ended <- o.Run(context.Background()) }()
			next(e, "readiness", o.Ready())
			e.orchestrate()
			e.survives(n, func() {
				r.Close() // it cannot hand anything over
				if err := next(e, "the orchestrator's end", ended); err == nil {
					t.Error("an orchestrator whose connection is closed ends without an error")
				}
			})
		})
	}
}

// survives checks that a rollout completes, each script run once, although something
// happens to an orchestrator after it has let out so many messages.
func (e *environment) survives(messages int, what func()) {
	e.t.Helper()
	ran := newTally()
	e.serveTwo(ran.script)
	heard, completed := e.observe(doings...), e.observe(appSetUp)
	id := e.deploy(two())
	heard.countUnless(messages, completed) // a fast machine has fewer notices
	what()
	for _, step := range e.awaitStatus(id, rollout.Completed).Steps {
		if step.Kind == rollout.Migration && (ran.of(step.ID) != 1 || step.Attempt != 1) {
			e.t.Errorf("%s ran %d times and is at attempt %d, want once", step.ID, ran.of(step.ID), step.Attempt)
		}
	}
	completed.await(appSetUp, fact)
	facts, _ := completed.find(appSetUp, fact)
	if len(ids(facts)) != 1 {
		e.t.Errorf("the completion event was heard with %d ids, want 1", len(ids(facts)))
	}
}

func TestThreeOrchestratorsShareTwentyRollouts(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	for range 3 {
		e.orchestrate()
	}
	const apps = 20
	ran := newTally()
	var releases []rollout.Release
	for i := range apps {
		service, app := fmt.Sprintf("service-%d", i), fmt.Sprintf("app-%d", i)
		e.service(service, "1.0.0")
		e.setup(sdk.SetupService{Service: service, Version: "1.0.0", Offline: ran.script, Online: ran.script})
		e.setup(sdk.SetupService{App: app, Version: "1.0.0", Setup: ran.script})
		releases = append(releases, rollout.Release{App: app, Version: "1.0.0", Strategy: rollout.Parallel, Setup: true, Services: []rollout.Service{
			{Name: service, Version: "1.0.0", Migrations: []protocol.Phase{protocol.Offline, protocol.Online}, Instances: 1},
		}})
	}
	var subjects []string
	for _, r := range releases {
		subjects = append(subjects, protocol.CompletedSubject(r.App, r.Version))
	}
	heard := e.observe(subjects...)
	var rollouts []string
	for _, r := range releases {
		rollouts = append(rollouts, e.deploy(r))
	}
	for i, id := range rollouts {
		for _, step := range e.awaitStatus(id, rollout.Completed).Steps {
			if step.Kind == rollout.Migration && ran.of(step.ID) != 1 {
				t.Errorf("%s ran %d times, want once", step.ID, ran.of(step.ID))
			}
		}
		heard.await(subjects[i], fact)
		facts, _ := heard.find(subjects[i], fact)
		if len(ids(facts)) != 1 {
			t.Errorf("the completion event of %s was heard with %d ids, want 1", releases[i].App, len(ids(facts)))
		}
	}
}

// dyingWorker runs a setup service whose script tells that it has begun and then
// works until the test ends; die takes it off the bus.
func (e *environment) dyingWorker(service string) (begun <-chan struct{}, die func()) {
	e.t.Helper()
	started := make(chan struct{}, 1)
	r := e.connect()
	s := sdk.SetupService{Service: service, Version: "0.0.1", Offline: func(ctx context.Context, _ *sdk.Run) error {
		started <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}}
	stop := e.run("setup service", func(ctx context.Context) error { return s.Run(ctx, r) })
	return started, func() { r.Close(); stop() }
}

// lost blocks until the worker of the first attempt was taken for dead, not too early, and
// the next attempt has begun.
func (e *environment) lost(id string) {
	e.t.Helper()
	story := e.await(id, "at attempt 2", func(s api.RolloutStory) bool {
		step, _ := s.Step("todo-search/offline")
		return step.Attempt == 2
	})
	last := story.Events[len(story.Events)-1]
	if last.Answer == nil || last.Answer.Error == nil || last.Answer.Error.Code != protocol.CodeLost {
		e.t.Errorf("the event is %+v, want one with code lost", last)
	}
	if took := last.At.Sub(story.Created); took < protocol.LeaseBeats*heartbeat {
		e.t.Errorf("the worker was taken for dead after %s, before three signs of life were missed", took)
	}
}

func TestDeadWorkerIsNoticed(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.orchestrate()
	begun, die := e.dyingWorker("todo-search")
	id := e.deploy(search(protocol.Offline))
	next(e, "the script's begin", begun)
	die()
	e.lost(id)
	if n := len(e.show(id).Events); n != 2 {
		t.Errorf("the journal holds %d events, want 2: one orchestrator's finding is enough", n)
	}
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.1", Offline: nothing})
	e.running(id, "todo-search/traffic", 1)
}

// The new orchestrator has never heard a sign of life; the claim tells that there was
// a worker who had promised them.
func TestDeadWorkerIsNoticedByTheNextOrchestrator(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	begun, die := e.dyingWorker("todo-search")
	id := e.deploy(search(protocol.Offline))
	next(e, "the script's begin", begun)
	stop()
	die()
	e.orchestrate()
	e.lost(id)
}

// However long a start has waited for somebody: a worker that has just claimed it has
// all the time there is to give its signs of life.
func TestWorkerThatCameLateIsNotTakenForDeadAtOnce(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(search(protocol.Offline))
	begun := time.Now()
	e.until("the start has waited longer than signs of life may stay away", func() bool {
		return time.Since(begun) > (protocol.LeaseBeats+1)*heartbeat
	})
	js, err := jetstream.New(e.nc)
	e.must(err)
	claims, err := js.KeyValue(t.Context(), protocol.ClaimsBucket)
	e.must(err)
	claimed := time.Now()
	_, err = claims.Create(t.Context(), protocol.ClaimKey(id, "todo-search/offline", 1, false), nil)
	e.must(err)
	e.lost(id)
	events := e.show(id).Events
	if after := events[len(events)-1].At.Sub(claimed); after < protocol.LeaseBeats*heartbeat {
		t.Errorf("the worker was taken for dead %s after its claim", after)
	}
}

// A setup service that never promised a sign of life is not taken for dead.
func TestSilentWorkerIsWaitedFor(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	begun, die := e.dyingWorker("other")
	other := e.deploy(rollout.Release{App: "other-app", Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "other", Version: "0.0.1", Migrations: []protocol.Phase{protocol.Offline}},
	}})
	next(e, "the script's begin", begun)
	die()
	e.running(other, "other/offline", 2) // by then the silent one has been silent for longer
	e.running(id, "todo-search/offline", 1)
	e.answer(offlineDone, id, 1, "")
	e.awaitStatus(id, rollout.Completed)
}

// server is an embedded server that can be restarted on its port and its data.
type server struct {
	config embedded.Config
	*embedded.Server
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{config: embedded.Config{Data: t.TempDir(), Unsynced: true}}
	s.start(t)
	at, err := url.Parse(s.URL())
	if err != nil {
		t.Fatal(err)
	}
	s.config.Listen = at.Host
	t.Cleanup(func() { s.stop(t) })
	return s
}

func (s *server) start(t *testing.T) {
	t.Helper()
	running, err := embedded.Start(s.config)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = running
}

func (s *server) stop(t *testing.T) {
	t.Helper()
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}

func (s *server) environment(t *testing.T) *environment {
	t.Helper()
	url := s.URL()
	return environmentOn(t, func() *relay.Relay {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		r, err := relay.Connect(ctx, relay.Config{URL: url})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(r.Close)
		return r
	})
}

func TestServerRestartsUnderTheOrchestrator(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	e := s.environment(t)
	e.orchestrate()
	e.serveTwo(nothing)
	waiting := e.deploy(search(protocol.Offline)) // version 0.0.1 of todo-search has a listener, so it is on its way
	e.awaitStatus(waiting, rollout.Completed)
	id := e.deploy(rollout.Release{App: "todo-app", Version: "0.0.3", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "todo-search", Version: "0.0.2", Migrations: []protocol.Phase{protocol.Offline}, Instances: 1},
	}})
	e.waiting(id, "todo-search/offline", "deployment-todo-search-0.0.2-offline-start")
	s.stop(t)
	s.start(t)
	e.service("todo-search", "0.0.2")
	e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.2", Offline: nothing})
	e.awaitStatus(id, rollout.Completed)
	older := newID(t)
	_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: older, Release: two(), By: "test", AllowOlder: true})
	e.must(err)
	e.awaitStatus(older, rollout.Completed) // from its beginning
}

func TestOrchestratorStopsWhileTheBusIsAway(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	s := newServer(t)
	e := s.environment(t)
	stop := e.orchestrate()
	e.deploy(search(protocol.Offline))
	s.stop(t)
	stopped := make(chan struct{})
	go func() { defer close(stopped); stop() }()
	select {
	case <-stopped:
	case <-time.After(2 * flush):
		t.Error("the orchestrator does not stop")
		<-stopped
	}
	s.start(t)
}

// flush bounds how long one call of an orchestrator waits for a bus that is away.
const flush = 5 * time.Second

// Much work may wear out any number of workers, as long as each comes further.
func TestWorkersThatComeFurtherMayDie(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	for attempt := 1; attempt <= rollout.MaxLost+2; attempt++ {
		for {
			var s protocol.StartMessage
			e.must(json.Unmarshal(next(e, "a start", starts).Data, &s))
			if s.Attempt == attempt {
				break
			}
		}
		done := int64(attempt)
		data, err := json.Marshal(protocol.ProgressMessage{Rollout: id, Attempt: attempt, Done: &done})
		e.must(err)
		e.must(e.nc.Publish("deployment-todo-search-0.0.1-offline-progress", data))
	}
	e.answer(offlineDone, id, rollout.MaxLost+2, `{"items": 12}`)
	e.running(id, "todo-search/traffic", 1)
}
