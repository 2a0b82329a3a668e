package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

func nothing(context.Context, *sdk.Run) error { return nil }

func TestASetupServiceThatIsNotCompleteIsRefused(t *testing.T) {
	const foreign = ": Setup is the script of an App, and its only one; Before, Offline and Online are those of a Service"
	r := relaytest.Start(t).Connect()
	for _, tt := range []struct {
		setup sdk.SetupService
		why   string
	}{
		{sdk.SetupService{}, "setup service: give either Service or App"},
		{sdk.SetupService{Service: "todos", App: "todo-app"}, "setup service: give either Service or App"},
		{sdk.SetupService{Service: "Todos", Version: "0.0.1", Online: nothing}, `setup service: name "Todos" may hold only lower-case letters, digits and hyphens`},
		{sdk.SetupService{Service: "todos", Online: nothing}, `setup service: version "" must not be empty`},
		{sdk.SetupService{App: "todo-app", Version: "v1.0.0", Setup: nothing}, `setup service: version "v1.0.0" must not start with a v: write 1.0.0, not v1.0.0`},
		{sdk.SetupService{Service: "todos", Version: "0.0.1"}, "setup service of todos 0.0.1 has no script: give a function for a phase"},
		{sdk.SetupService{Service: "todos", Version: "0.0.1", Setup: nothing}, "setup service of todos 0.0.1" + foreign},
		{sdk.SetupService{Service: "todos", Version: "0.0.1", Online: nothing, RevertSetup: nothing}, "setup service of todos 0.0.1" + foreign},
		{sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: nothing, Before: nothing}, "setup service of todo-app 0.0.2" + foreign},
		{sdk.SetupService{App: "todo-app", Version: "0.0.2", RevertOffline: nothing}, "setup service of todo-app 0.0.2" + foreign},
	} {
		if err := tt.setup.Run(t.Context(), r); err == nil || err.Error() != tt.why {
			t.Errorf("error %v, want %s", err, tt.why)
		}
	}
}

func TestEachPhaseAndDirectionHasItsScript(t *testing.T) {
	s := newStage(t)
	type ran struct {
		name  string
		start protocol.StartMessage
	}
	scripts := make(chan ran, 10)
	script := func(name string) sdk.Script {
		return func(_ context.Context, run *sdk.Run) error {
			run.Progress(12, 0, "indexed")
			scripts <- ran{name, run.Start}
			return nil
		}
	}
	s.run(sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Before: script("before"), Offline: script("offline"), Online: script("online"),
		RevertBefore: script("revert before"), RevertOffline: script("revert offline"), RevertOnline: script("revert online"),
	})
	s.run(sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: script("setup"), RevertSetup: script("revert setup")})

	for _, phase := range []protocol.Phase{protocol.Before, protocol.Offline, protocol.Online, protocol.Setup} {
		for _, revert := range []bool{false, true} {
			m := start(phase, 3)
			if phase == protocol.Setup {
				m = startApp(3)
			}
			m.Revert = revert
			want := string(phase)
			if revert {
				want = "revert " + want
			}
			t.Run(want, func(t *testing.T) {
				heard := s.accept(m)
				defer heard.stop()
				s.send(m)
				got := receive(t, scripts, "the script")
				if got.name != want || !reflect.DeepEqual(got.start, m) {
					t.Errorf("%s was run with %+v, want %s with %+v", got.name, got.start, want, m)
				}
				mustAnswer(t, heard.mustBeDone(), m)
			})
		}
	}
}

// mustAnswer fails the test unless an answer names its start as the protocol asks for.
func mustAnswer(t *testing.T, h heard, m protocol.StartMessage) {
	t.Helper()
	if h.msg.Subject != m.Script().Subject(protocol.DoneVerb(m.Revert)) {
		t.Errorf("answered on %s", h.msg.Subject)
	}
	if h.Rollout != m.Rollout || h.Attempt != m.Attempt || h.Items != 12 || h.Note != "indexed" || !strings.HasPrefix(h.Digest, "sha256:") {
		t.Errorf("answered %s", h.msg.Data)
	}
	for name, want := range map[string]string{
		protocol.HeaderRollout: m.Rollout, protocol.HeaderStep: m.Step, protocol.HeaderAttempt: fmt.Sprint(m.Attempt),
		protocol.HeaderTraceparent: "00-1-2-01",
	} {
		if got := h.msg.Header.Get(name); got != want {
			t.Errorf("header %s is %q, want %q", name, got, want)
		}
	}
	if h.msg.Header.Get(protocol.HeaderMessageID) == "" {
		t.Error("the answer has no message id")
	}
}

func TestOneOfSeveralInstancesRunsEachStart(t *testing.T) {
	const starts = 30
	s := newStage(t)
	var runs [3]atomic.Int64
	var mu sync.Mutex
	attempts := make(map[int]int)
	for n := range runs {
		s.run(setup(func(_ context.Context, run *sdk.Run) error {
			runs[n].Add(1)
			mu.Lock()
			defer mu.Unlock()
			attempts[run.Start.Attempt]++
			return nil
		}))
	}
	heard := s.accept(start(protocol.Online, 1))
	for n := range starts {
		s.send(start(protocol.Online, n+1))
	}
	for range starts {
		heard.mustBeDone()
	}
	mu.Lock()
	defer mu.Unlock()
	for attempt, times := range attempts {
		if times != 1 {
			t.Errorf("attempt %d was run %d times", attempt, times)
		}
	}
	if a, b, c := runs[0].Load(), runs[1].Load(), runs[2].Load(); a+b+c != starts || a == 0 || b == 0 || c == 0 {
		t.Errorf("the instances ran %d, %d and %d of %d", a, b, c, starts)
	}
}

func TestAFailureSaysWhatAndWhether(t *testing.T) {
	s := newStage(t)
	failure := make(chan error, 1)
	s.run(setup(func(_ context.Context, run *sdk.Run) error {
		run.Progress(7, 10, "half way")
		err := <-failure
		if err != nil && err.Error() == "panic" {
			panic(err)
		}
		return err
	}))
	heard := s.accept(start(protocol.Online, 1))
	yes := true
	for n, tt := range []struct {
		given   error
		code    string
		message string
		retry   *bool
	}{
		{errors.New("disk full"), "failed", "disk full", nil},
		{sdk.Permanent(errors.New("no such index")), "failed", "no such index", new(bool)},
		{fmt.Errorf("index: %w", sdk.Permanent(errors.New("no such index"))), "failed", "index: no such index", new(bool)},
		{errors.New("panic"), "panic", "panic: panic", nil},
		{context.Canceled, "failed", "context canceled", nil},
		{context.DeadlineExceeded, "failed", "context deadline exceeded", nil},
	} {
		m := start(protocol.Online, n+1)
		failure <- tt.given
		s.send(m)
		h := heard.mustBeFailed(tt.code)
		if h.msg.Subject != "deployment-todo-search-0.0.1-online-failed" || h.Error.Message != tt.message || h.Items != 7 || h.Note != "half way" {
			t.Errorf("%v: answered %s on %s", tt.given, h.msg.Data, h.msg.Subject)
		}
		if (h.Error.Retry == nil) != (tt.retry == nil) || h.Error.Retry != nil && *h.Error.Retry == yes {
			t.Errorf("%v: answered %s", tt.given, h.msg.Data)
		}
	}
	failure <- nil
	s.send(start(protocol.Online, 100))
	heard.mustBeDone()
}

func TestPermanentKeepsTheError(t *testing.T) {
	if sdk.Permanent(nil) != nil {
		t.Error("nothing became an error")
	}
	cause := errors.New("no such index")
	if err := sdk.Permanent(cause); !errors.Is(err, cause) || err.Error() != cause.Error() {
		t.Errorf("the error became %v", err)
	}
}

func TestASetupServiceTellsAboutItsScripts(t *testing.T) {
	s := newStage(t)
	services := s.run(sdk.SetupService{
		Service: "todo-search", Version: "0.0.1-rc.1+build.5",
		Before: nothing, Offline: nothing, RevertOffline: nothing, RevertOnline: nothing,
	})
	s.run(sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: nothing})
	instances := make(map[string]int)
	for script, revert := range map[protocol.Script]bool{
		{Name: "todo-search", Version: "0.0.1-rc.1+build.5", Phase: protocol.Before}:  false,
		{Name: "todo-search", Version: "0.0.1-rc.1+build.5", Phase: protocol.Offline}: true,
		{Name: "todo-search", Version: "0.0.1-rc.1+build.5", Phase: protocol.Online}:  true, // has nothing else
		{Name: "todo-app", Version: "0.0.2", Phase: protocol.Setup}:                   false,
	} {
		info := s.about(script)
		if info.Revert != revert || !strings.HasPrefix(info.Digest, "sha256:") || info.Instance == "" {
			t.Errorf("%s: told %+v", script, info)
		}
		instances[info.Instance]++
	}
	if len(instances) != 2 {
		t.Errorf("the instances of two setup services are %v", instances)
	}
	services.stop()
	for _, unknown := range []protocol.Script{
		{Name: "todo-search", Version: "0.0.1-rc.1+build.5", Phase: protocol.Before}, // it has ended
		{Name: "todo-app", Version: "0.0.3", Phase: protocol.Setup},
	} {
		if m, err := s.nc.Request(protocol.AboutScriptSubject(unknown), nil, patience); !errors.Is(err, nats.ErrNoResponders) {
			t.Errorf("%s: told %v, error %v", unknown, m, err)
		}
	}
}

func TestOneInstanceTellsAboutAScript(t *testing.T) {
	s := newStage(t)
	s.run(setup(nothing))
	s.run(setup(nothing))
	script := start(protocol.Online, 1).Script()
	told := s.listen("_INBOX.answers")
	must(t, s.nc.PublishRequest(protocol.AboutScriptSubject(script), "_INBOX.answers", nil))
	receive(t, told, "what is told")
	s.about(script)
	s.about(script) // one of both would have told by now
	if len(told) > 0 {
		t.Error("both instances told")
	}
}

// about asks about a script.
func (s *stage) about(script protocol.Script) (info protocol.ScriptInfo) {
	s.t.Helper()
	m, err := s.nc.Request(protocol.AboutScriptSubject(script), nil, patience)
	must(s.t, err)
	must(s.t, json.Unmarshal(m.Data, &info))
	return info
}
