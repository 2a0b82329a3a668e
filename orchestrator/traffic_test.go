package orchestrator_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// version is the release that brings a version of todo-search.
func version(v string, phases ...protocol.Phase) rollout.Release {
	r := search(phases...)
	r.Version, r.Services[0].Version = v, v
	return r
}

// serving has a version of todo-search serve, by a rollout that has completed.
func (e *environment) serving(v string) {
	e.t.Helper()
	e.service("todo-search", v)
	e.awaitStatus(e.deploy(version(v)), rollout.Completed)
}

// hang has an instance be alive by its lease that never says anything, until its lease
// is taken from it.
func (e *environment) hang(service, version string) (end func()) {
	e.t.Helper()
	_, _, err := bus.MakeRoutes(e.t.Context(), e.nc, "", 1)
	e.must(err)
	js, err := jetstream.New(e.nc)
	e.must(err)
	key := protocol.LeaseKey(service, version, "hangs")
	value, err := json.Marshal(protocol.Lease{Version: version, Host: "somewhere", PID: 7})
	e.must(err)
	_, err = js.Publish(e.t.Context(), protocol.KeySubject(protocol.LeasesBucket, key), value, jetstream.WithMsgTTL(time.Hour))
	e.must(err)
	return func() {
		stream, err := js.Stream(e.t.Context(), "KV_"+protocol.LeasesBucket)
		e.must(err)
		e.must(stream.Purge(e.t.Context(), jetstream.WithPurgeSubject(protocol.KeySubject(protocol.LeasesBucket, key))))
	}
}

// routes keeps every revision of the route of todo-search from now on.
func (e *environment) routes() func() []string {
	e.t.Helper()
	kept := e.observe(protocol.KeySubject(protocol.RoutesBucket, "todo-search"))
	return func() []string {
		var all []string
		for _, m := range kept.heard(protocol.KeySubject(protocol.RoutesBucket, "todo-search")) {
			var r protocol.Route
			e.must(json.Unmarshal(m.Data, &r))
			var versions []string
			for _, v := range r.Versions {
				versions = append(versions, v.Version+" "+string(v.State))
			}
			all = append(all, strings.Join(versions, ", "))
		}
		return all
	}
}

func TestACutoverThatCannotBeFinishedGoesBack(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.gatePatience = 500 * time.Millisecond
	stop := e.orchestrate()
	e.serving("1.0.0")
	e.service("todo-search", "2.0.0")
	p := e.traffic("todo-search.version", "nothing")
	end := e.hang("todo-search", "1.0.0")
	id := e.deploy(version("2.0.0"))
	e.await(id, "turned back", func(s api.RolloutStory) bool {
		return slices.ContainsFunc(s.Events, func(e api.StoryEvent) bool { return e.Type == rollout.TurnedBack })
	})
	stop() // another one goes on with the way back
	e.orchestrate()
	end()
	story := e.awaitStatus(id, rollout.Failed)
	step, _ := story.Step("todo-search/traffic")
	if step.Error == nil || step.Error.Code != "unconfirmed" ||
		!strings.Contains(step.Error.Message, "instance hangs of 1.0.0 (somewhere, pid 7) did not confirm") {
		t.Errorf("the step's error is %v", step.Error)
	}
	for range 100 {
		if who := p.next(); who != "1.0.0" {
			t.Fatalf("answered by %s", who)
		}
	}
	e.retry(id)
	e.awaitStatus(id, rollout.Completed)
	e.answeredBy("2.0.0")
}

func (e *environment) answeredBy(want string) {
	e.t.Helper()
	var got string
	e.must(e.r.Request(e.t.Context(), "todo-search.version", nil, &got))
	if got != want {
		e.t.Errorf("answered by %s, want %s", got, want)
	}
}

// An orchestrator dies after each of the steps of a cutover; another goes on with it.
func TestOrchestratorMayDieInTheMiddleOfACutover(t *testing.T) {
	t.Parallel()
	for n := 1; n <= 5; n++ {
		t.Run(fmt.Sprintf("after step %d", n), func(t *testing.T) {
			t.Parallel()
			if n != 3 {
				relaytest.Long(t)
			}
			e := newEnvironment(t)
			stop := e.orchestrate()
			e.serving("1.0.0")
			e.service("todo-search", "2.0.0")
			p := e.traffic("todo-search.version", "nothing")
			stop()
			r := e.connect()
			o := e.orchestrator(r)
			ended := make(chan error, 1)
			go func() { ended <- o.Run(context.Background()) }()
			next(e, "readiness", o.Ready())
			written := e.routes()
			id := e.deploy(version("2.0.0"))
			e.until("the step is taken", func() bool { return len(written()) >= n })
			r.Close()
			_ = next(e, "the orchestrator's end", ended) // its connection is closed
			e.orchestrate()
			e.awaitStatus(id, rollout.Completed)
			if got := written(); got[len(got)-1] != "2.0.0 online" {
				t.Errorf("the route went by %q", got)
			}
			e.answeredBy("2.0.0")
			for who := p.next(); who != "2.0.0"; who = p.next() {
				if who != "1.0.0" {
					t.Fatalf("answered by %s", who)
				}
			}
			for range 100 {
				if who := p.next(); who != "2.0.0" {
					t.Fatalf("answered by %s", who)
				}
			}
		})
	}
}

func TestReplacingARolloutInTheMiddleOfACutover(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.serving("1.0.0")
	e.service("todo-search", "2.0.0")
	e.service("todo-search", "3.0.0")
	p := e.traffic("todo-search.version", "nothing")
	written := e.routes()
	end := e.hang("todo-search", "1.0.0")
	first := e.deploy(version("2.0.0"))
	e.until("the cutover has begun", func() bool { return len(written()) > 0 })
	second := newID(t)
	deployed := make(chan error, 1)
	go func() {
		_, err := e.client.Deploy(context.Background(), api.DeployRequest{Rollout: second, Release: version("3.0.0"), Replace: true})
		deployed <- err
	}()
	e.until("the route is taken away", func() bool { return len(written()) > 1 })
	end()
	e.must(next(e, "the deploy", deployed))
	e.awaitStatus(first, rollout.Aborted)
	e.awaitStatus(second, rollout.Completed)
	e.answeredBy("3.0.0")
	for _, route := range written() {
		if strings.Contains(route, "2.0.0 online") {
			t.Errorf("the version that was replaced has been online: %s", route)
		}
	}
	for who := p.next(); who != "3.0.0"; who = p.next() {
		if who != "1.0.0" {
			t.Fatalf("answered by %s", who)
		}
	}
}

// opening gives the time when the test hears of the first step that the route of todo-search
// takes after a version has come online: the gate has seen that before.
func (e *environment) opening(version string) <-chan time.Time {
	e.t.Helper()
	heard := make(chan time.Time, 1)
	online := false
	nc := e.connect().Conn()
	_, err := nc.Subscribe(protocol.KeySubject(protocol.RoutesBucket, "todo-search"), func(m *nats.Msg) {
		var r protocol.Route
		if err := json.Unmarshal(m.Data, &r); err != nil {
			e.t.Error(err)
		}
		if online {
			select {
			case heard <- time.Now():
			default: // it has been heard
			}
		}
		online = online || r.Maintenance == nil && r.State(version) == protocol.StateOnline
	})
	e.must(err)
	e.must(nc.Flush())
	return heard
}

// What the rollout says of its downtime is what a caller saw. How far the two may be apart on a
// busy machine is bounded by what must have come before and after, not by a time.
func TestDowntimeIsAsTheCallerSawIt(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.serving("1.0.0")
	e.service("todo-search", "2.0.0")
	took := make(chan struct{})
	e.setup(sdk.SetupService{Service: "todo-search", Version: "2.0.0", Offline: func(ctx context.Context, run *sdk.Run) error {
		<-took
		return ctx.Err()
	}})
	seen := e.watchCaller()
	opening := e.opening("2.0.0")
	release := version("2.0.0", protocol.Offline)
	release.Strategy, release.RetryAfter = rollout.Downtime, rollout.Duration(7*time.Second)
	deployed := time.Now()
	id := e.deploy(release)
	e.running(id, "todo-search/offline", 1)
	e.until("the caller is told so", func() bool { return seen().refused > 100 })
	offline := time.Now() // still
	close(took)
	story := e.awaitStatus(id, rollout.Completed)
	completed := time.Now()
	opened := next(e, "the step after 2.0.0 came online", opening)
	e.until("the caller is answered again", func() bool { return seen().answered["2.0.0"] > 100 })
	saw := seen()
	if saw.other != 0 || saw.retryAfter != 7*time.Second {
		t.Errorf("the caller saw %+v", saw)
	}
	if len(story.Outages) != 1 {
		t.Fatalf("the outages are %+v", story.Outages)
	}
	o := story.Outages[0]
	if o.From.Before(deployed) || o.From.After(saw.from) {
		t.Errorf("the outage begins at %s, not between the deploy at %s and the caller's first 503 at %s", o.From, deployed, saw.from)
	}
	if o.To.Before(offline) || o.To.After(opened) {
		t.Errorf("the outage ends at %s, not between the end of the script at %s and the next step of the route at %s", o.To, offline, opened)
	}
	if saw.to.Before(offline) || saw.last.After(completed) {
		t.Errorf("the caller was answered at %s and refused at %s, the script ended at %s and the rollout at %s", saw.to, saw.last, offline, completed)
	}
	if got, want := time.Duration(story.Downtime), o.To.Sub(o.From); (got - want).Abs() > time.Millisecond {
		t.Errorf("the downtime is %s, the outage lasts %s", got, want)
	}
}
