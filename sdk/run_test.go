package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// says serves a service whose message "say" is answered with its name and version.
func (s *stage) says(name, version string, got chan<- string) {
	s.t.Helper()
	s.Serve(relay.Service{Name: name, Version: version, Handlers: map[string]relay.Handler{
		"say": func(context.Context, *relay.Message) (any, error) {
			if got != nil {
				got <- name + " " + version
			}
			return name + " " + version, nil
		},
	}})
}

// online puts a version of a service in production, and returns once it is.
func (s *stage) online(name, version string) {
	s.t.Helper()
	kv, err := bus.Make(s.within(), s.nc, bus.Routes, "", 1)
	must(s.t, err)
	confirmed := s.listen(protocol.ConfirmSubject(name, "*"))
	route := protocol.Route{Service: name, Versions: []protocol.RouteVersion{{Version: version, State: protocol.StateOnline}}}
	data, err := json.Marshal(route)
	must(s.t, err)
	_, err = kv.Put(s.within(), name, data)
	must(s.t, err)
	for {
		var c protocol.Confirmation
		must(s.t, json.Unmarshal(receive(s.t, confirmed, "a confirmation").Data, &c))
		if c.Version == version && c.State == protocol.StateOnline {
			return
		}
	}
}

// maintain puts a service under maintenance, or ends that, and returns once it is seen.
func (s *stage) maintain(name, version string, on bool) {
	s.t.Helper()
	kv, _, err := bus.MakeRoutes(s.within(), s.nc, "", 1)
	must(s.t, err)
	route := protocol.Route{Service: name, Versions: []protocol.RouteVersion{{Version: version, State: protocol.StateOnline}}}
	if on {
		route.Maintenance = &protocol.Maintenance{Since: time.Now(), RetryAfter: protocol.Duration(60 * time.Second)}
	}
	data, err := json.Marshal(route)
	must(s.t, err)
	confirmed := s.listen(protocol.ConfirmSubject(name, "*"))
	revision, err := kv.Put(s.within(), name, data)
	must(s.t, err)
	for {
		var c protocol.Confirmation
		must(s.t, json.Unmarshal(receive(s.t, confirmed, "a confirmation").Data, &c))
		if c.Version == version && c.Revision >= revision {
			return
		}
	}
}

// inScript runs do as the script of a start and gives its error.
func (s *stage) inScript(m protocol.StartMessage, do sdk.Script) *protocol.ScriptError {
	s.t.Helper()
	it := sdk.SetupService{Service: m.Service, Version: m.Version, Online: do}
	switch {
	case m.Service == "":
		it = sdk.SetupService{App: m.App, Version: m.AppVersion, Setup: do}
	case m.Revert:
		it = sdk.SetupService{Service: m.Service, Version: m.Version, RevertOnline: do}
	}
	running := s.run(it)
	defer running.stop()
	heard := s.accept(m)
	defer heard.stop()
	s.send(m)
	return heard.next().Error
}

func TestWhereAScriptsRequestsGo(t *testing.T) {
	s := newStage(t)
	s.says("todo-search", "0.0.0", nil)
	s.online("todo-search", "0.0.0")
	s.says("todo-search", "0.0.1", nil)
	s.says("todos", "0.0.2", nil)
	s.says("todos", "0.0.3", nil)
	s.says("mail", "1.0.0", nil)

	ask := func(m protocol.StartMessage, name string, opts ...relay.RequestOption) (answer string, failed error) {
		if e := s.inScript(m, func(ctx context.Context, run *sdk.Run) error {
			return run.Request(ctx, name, nil, &answer, opts...)
		}); e != nil {
			failed = errors.New(e.Message)
		}
		return answer, failed
	}
	mine, apps := start(protocol.Online, 0), startApp(0)
	attempt := 0
	mustAsk := func(m protocol.StartMessage, name, want string, opts ...relay.RequestOption) {
		t.Helper()
		attempt++
		m.Attempt = attempt
		answer, err := ask(m, name, opts...)
		if err != nil {
			answer = err.Error()
		}
		if answer != want {
			t.Errorf("%s answered %q, want %q", name, answer, want)
		}
	}
	mustAsk(mine, "todo-search.say", "todo-search 0.0.1") // its own, though another is online
	mustAsk(mine, "todos.say", "todos 0.0.3")             // of the rollout, as none is online
	mustAsk(apps, "todos.say", "todos 0.0.3")
	mustAsk(mine, "todos.say", "todos 0.0.2", relay.ToVersion("0.0.2"))
	mustAsk(mine, "mail.say", "request mail.say: nobody listens") // not of the rollout
	mustAsk(mine, "todos", `message "todos" must be written <service>.<message>, such as todos.list`)
	s.online("todos", "0.0.2")
	mustAsk(mine, "todos.say", "todos 0.0.2") // the one that is online
	mustAsk(apps, "todos.say", "todos 0.0.2")
	mustAsk(apps, "todo-search.say", "todo-search 0.0.0") // an app's script has no service of its own
	s.maintain("todos", "0.0.2", true)
	mustAsk(mine, "todos.say", "todos 0.0.3") // nobody answers in production
	mustAsk(mine, "todos.say", "todos 0.0.3", relay.AwaitMaintenance())
	s.maintain("todos", "0.0.2", false)
	mustAsk(mine, "todos.say", "todos 0.0.2")
}

// What was known of a route may be a second old: a request that nobody has seen goes
// where it should have gone.
func TestAScriptsRequestsFollowTheRoute(t *testing.T) {
	s := newStage(t)
	s.says("todos", "0.0.2", nil)
	s.online("todos", "0.0.2")
	s.says("todos", "0.0.3", nil)
	var answers [3]string
	if e := s.inScript(start(protocol.Online, 1), func(ctx context.Context, run *sdk.Run) error {
		for n := range answers {
			s.maintain("todos", "0.0.2", n == 1)
			if err := run.Request(ctx, "todos.say", nil, &answers[n]); err != nil {
				return err
			}
			if err := run.Send("todos.say", nil); err != nil {
				return err
			}
		}
		return nil
	}); e != nil {
		t.Fatal(e)
	}
	if answers[0] != "todos 0.0.2" || answers[1] != "todos 0.0.3" {
		t.Errorf("answered by %q", answers)
	}
}

func TestWhereAScriptsMessagesGo(t *testing.T) {
	s := newStage(t)
	got := make(chan string, 10)
	s.says("todo-search", "0.0.0", got)
	s.online("todo-search", "0.0.0")
	s.says("todo-search", "0.0.1", got)
	s.says("todos", "0.0.2", got)
	s.online("todos", "0.0.2")
	s.says("todos", "0.0.3", got)
	for n, tt := range []struct {
		name string
		opts []relay.SendOption
		want string
	}{
		{"todo-search.say", nil, "todo-search 0.0.1"},
		{"todos.say", nil, "todos 0.0.2"},
		{"todos.say", []relay.SendOption{relay.ToVersion("0.0.3")}, "todos 0.0.3"},
	} {
		if e := s.inScript(start(protocol.Online, n+1), func(context.Context, *sdk.Run) error {
			return errors.New("none")
		}); e.Message != "none" {
			t.Fatalf("error %v", e)
		}
		if e := s.inScript(start(protocol.Online, 100+n), func(_ context.Context, run *sdk.Run) error {
			return run.Send(tt.name, nil, tt.opts...)
		}); e != nil {
			t.Errorf("%s: %v", tt.name, e)
		}
		if to := receive(t, got, "the message"); to != tt.want {
			t.Errorf("%s went to %s, want %s", tt.name, to, tt.want)
		}
	}
	if e := s.inScript(start(protocol.Online, 200), func(_ context.Context, run *sdk.Run) error {
		return run.Send("todos", nil)
	}); e == nil {
		t.Error("a message to no service was sent")
	}
}

func TestAScriptsLogReachesWhoeverFollowsTheRollout(t *testing.T) {
	s := newStage(t)
	lines := s.listen(protocol.LogSubject(rollout))
	m := start(protocol.Online, 3)
	s.inScript(m, func(_ context.Context, run *sdk.Run) error {
		run.Log.Debug("too much")
		run.Log.Info("half way", zap.Int("todos", 12))
		run.Log.With(zap.String("index", "titles")).Warn("slow")
		run.Log.Error("disk full")
		run.Log.DPanic("worse")
		return nil
	})
	for _, want := range []protocol.LogLine{
		{Level: "info", Text: `half way {"todos": 12}`},
		{Level: "warn", Text: `slow {"index": "titles"}`},
		{Level: "error", Text: "disk full"},
		{Level: "error", Text: "worse"},
	} {
		var got protocol.LogLine
		must(t, json.Unmarshal(receive(t, lines, "a line").Data, &got))
		if got.Time.IsZero() || got.Time.Location().String() != "UTC" {
			t.Errorf("time %s", got.Time)
		}
		want.Step, want.Attempt, want.Time = "todo-search/online", 3, got.Time
		if got != want {
			t.Errorf("line %+v, want %+v", got, want)
		}
	}
}

func TestAScriptWhoseParentShowsItsOutputDoesNotLogOverTheBus(t *testing.T) {
	t.Setenv(bus.EnvSupervised, "1")
	s := newStage(t)
	lines := s.listen(protocol.LogSubject(rollout))
	s.inScript(start(protocol.Online, 1), func(_ context.Context, run *sdk.Run) error {
		run.Log.Info("half way")
		return nil
	})
	if len(lines) > 0 {
		t.Errorf("%d lines on the bus", len(lines))
	}
}
