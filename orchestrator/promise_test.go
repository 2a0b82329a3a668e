package orchestrator_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// traffic sends production requests until the test ends, and hears their answers and
// one message more in the order in which the server sent them.
type traffic struct {
	e      *environment
	heard  chan *nats.Msg
	inbox  string
	marker string
}

func (e *environment) traffic(subject, marker string) *traffic {
	e.t.Helper()
	nc := e.connect().Conn()
	p := &traffic{e: e, heard: make(chan *nats.Msg, 100_000), inbox: nc.NewInbox(), marker: marker}
	for _, s := range []string{marker, p.inbox} {
		_, err := nc.ChanSubscribe(s, p.heard)
		e.must(err)
	}
	e.must(nc.Flush())
	e.run("traffic", func(ctx context.Context) error {
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if err := nc.PublishRequest(subject, p.inbox, nil); err != nil {
					return err
				}
			case <-ctx.Done():
				return nil
			}
		}
	})
	return p
}

// next tells who answered: a version, "nobody", or the marker.
func (p *traffic) next() string {
	p.e.t.Helper()
	m := next(p.e, "an answer", p.heard)
	switch {
	case m.Subject == p.marker:
		return "marker"
	case m.Header.Get(protocol.HeaderStatus) == "503":
		return "nobody"
	}
	return strings.Trim(string(m.Data), `"`)
}

func TestNewVersionGetsNoTrafficBeforeItsOfflineScript(t *testing.T) {
	t.Parallel()
	for name, old := range map[string]string{"an old version is online": "0.0.1", "nobody listens before": "nobody"} {
		t.Run(name, func(t *testing.T) {
			e := newEnvironment(t)
			e.orchestrate()
			if old != "nobody" {
				e.service("todo-search", old)
				e.awaitStatus(e.deploy(search()), rollout.Completed)
			}
			e.service("todo-search", "0.0.2")
			e.service("todo-search", "0.0.2")
			goOn := make(chan struct{})
			e.setup(sdk.SetupService{Service: "todo-search", Version: "0.0.2", Offline: func(ctx context.Context, _ *sdk.Run) error {
				select {
				case <-goOn:
				case <-ctx.Done():
				}
				return ctx.Err()
			}})
			release := search(protocol.Offline)
			release.Version, release.Services[0].Version, release.Services[0].Instances = "0.0.3", "0.0.2", 2
			p := e.traffic("todo-search.version", "deployment-todo-search-0.0.2-offline-done")
			id := e.deploy(release)
			e.running(id, "todo-search/offline", 1)
			for range 300 {
				if who := p.next(); who != old {
					t.Fatalf("%s answered before the offline script was done, want %s", who, old)
				}
			}
			close(goOn)
			for who := p.next(); who != "marker"; who = p.next() {
				if who != old {
					t.Fatalf("%s answered before the offline script was done, want %s", who, old)
				}
			}
			e.awaitStatus(id, rollout.Completed)
			for answers, inARow := 0, 0; inARow < 300; answers, inARow = answers+1, inARow+1 {
				if who := p.next(); who != "0.0.2" {
					inARow = 0
				}
				if answers == 50_000 {
					t.Fatal("the new version does not come to answer alone")
				}
			}
		})
	}
}

// two is a release in which todo-search depends on todos, each with all scripts.
func two() rollout.Release {
	return rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Setup: true, Services: []rollout.Service{
		{Name: "todo-search", Version: "0.0.1", Migrations: protocol.ServicePhases(), Instances: 1, DependsOn: []string{"todos"}},
		{Name: "todos", Version: "2.0.0", Migrations: protocol.ServicePhases(), Instances: 1},
	}}
}

// serveTwo runs everything that the release of two services needs.
func (e *environment) serveTwo(script sdk.Script) {
	e.t.Helper()
	for name, version := range map[string]string{"todos": "2.0.0", "todo-search": "0.0.1"} {
		e.service(name, version)
		e.setup(sdk.SetupService{Service: name, Version: version, Before: script, Offline: script, Online: script})
	}
	e.setup(sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: script})
}

func TestPhasesComeInTheirOrder(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	var subjects []string
	for name, version := range map[string]string{"todos": "2.0.0", "todo-search": "0.0.1"} {
		for _, phase := range protocol.ServicePhases() {
			script := protocol.Script{Name: name, Version: version, Phase: phase}
			subjects = append(subjects, script.Subject(protocol.Start), script.Subject(protocol.Done))
		}
	}
	e.serveTwo(nothing)
	heard := e.observe(append(subjects, "todo-app-0.0.2-setting-up", appSetUp, "$KV.golive-routes.>")...)
	id := e.deploy(two())
	e.awaitStatus(id, rollout.Completed)
	heard.await(appSetUp, fact)
	// A start is sent once more to a setup service that says only now that it has come up.
	order := slices.CompactFunc(heard.subjects(), func(a, b string) bool { return a == b && strings.HasSuffix(a, "-start") })
	at := func(subject string) int { return slices.Index(order, subject) }
	for _, pair := range [][2]string{
		{"deployment-todos-2.0.0-before-start", "deployment-todos-2.0.0-before-done"},
		{"deployment-todos-2.0.0-before-done", "deployment-todo-search-0.0.1-before-start"},
		{"deployment-todo-search-0.0.1-before-done", "deployment-todos-2.0.0-offline-start"},
		{"deployment-todos-2.0.0-offline-done", "deployment-todo-search-0.0.1-offline-start"},
		{"deployment-todo-search-0.0.1-offline-done", "$KV.golive-routes.todos"},
		{"$KV.golive-routes.todos", "$KV.golive-routes.todo-search"},
		{"$KV.golive-routes.todos", "deployment-todos-2.0.0-online-start"},
		{"$KV.golive-routes.todo-search", "deployment-todo-search-0.0.1-online-start"},
		{"deployment-todos-2.0.0-online-done", "deployment-todo-search-0.0.1-online-start"},
		{"deployment-todo-search-0.0.1-online-done", "todo-app-0.0.2-setting-up"},
		{"todo-app-0.0.2-setting-up", appSetUp},
	} {
		if at(pair[0]) < 0 || at(pair[1]) < at(pair[0]) {
			t.Errorf("%s does not precede %s: %v", pair[0], pair[1], order)
		}
	}
	if n := len(order); n != 17 || order[n-1] != appSetUp {
		t.Errorf("%d messages were heard, want 17 and the completion event last: %v", n, order)
	}
	var opened []string
	for _, event := range e.show(id).Events {
		if event.Type == rollout.Opened {
			opened = append(opened, event.Step)
		}
	}
	if want := []string{"todos/traffic", "todo-search/traffic"}; !slices.Equal(opened, want) {
		t.Errorf("gates opened in the order %v, want %v", opened, want)
	}
}
