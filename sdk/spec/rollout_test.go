package spec_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/spec"
)

// runSetup keeps a setup service at work until the test ends.
func runSetup(t *testing.T, b *relaytest.Bus, s sdk.SetupService) {
	t.Helper()
	r := b.Connect()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx, r) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
}

// serve runs a version of todo-search that tells which it is.
func serve(b *relaytest.Bus, version string) {
	b.Serve(relay.Service{Name: "todo-search", Version: version, Handlers: map[string]relay.Handler{
		"which": func(context.Context, *relay.Message) (any, error) { return version, nil },
	}})
}

func TestTrafficMovesBetweenThePhases(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	serve(b, "0.0.1")
	serve(b, "0.0.2")
	told := make(chan string, 10)
	tell := func(name string) sdk.Script {
		return func(ctx context.Context, run *sdk.Run) error {
			var private string
			if err := run.Request(ctx, "todo-search.which", nil, &private); err != nil {
				return err
			}
			told <- name + ": " + online(ctx, t, b) + " serves, sets up " + private
			return nil
		}
	}
	runSetup(t, b, sdk.SetupService{
		Service: "todo-search", Version: "0.0.2",
		Before: tell("before"), Offline: tell("offline"), Online: tell("online"),
		RevertOffline: tell("undo offline"), RevertOnline: tell("undo online"),
	})
	rollout := &spec.Rollout{
		Relay: b.Connect(), Start: startMessage(), Previous: "0.0.1", Instances: 2, Timeout: 10 * time.Second,
		Phases:  []protocol.Phase{protocol.Online, protocol.Before, protocol.Offline},
		Reverts: []protocol.Phase{protocol.Offline, protocol.Online},
	}
	rollout.Start.Version = "0.0.2"
	must(t, rollout.Run(t.Context()))
	if got := online(t.Context(), t, b); got != "0.0.2" {
		t.Errorf("after the rollout %s serves", got)
	}
	must(t, rollout.Revert(t.Context()))
	if got := online(t.Context(), t, b); got != "0.0.1" {
		t.Errorf("after the revert %s serves", got)
	}
	for _, want := range []string{
		"before: 0.0.1 serves, sets up 0.0.2", "offline: 0.0.1 serves, sets up 0.0.2", "online: 0.0.2 serves, sets up 0.0.2",
		"undo online: 0.0.2 serves, sets up 0.0.2", "undo offline: 0.0.1 serves, sets up 0.0.2",
	} {
		if got := next(t, told); got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

func online(ctx context.Context, t *testing.T, b *relaytest.Bus) string {
	var version string
	must(t, b.Connect().Request(ctx, "todo-search.which", nil, &version))
	return version
}

func TestAFailureMovesNoTraffic(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	serve(b, "0.0.1")
	runSetup(t, b, sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Offline: func(context.Context, *sdk.Run) error { return sdk.Permanent(errors.New("no room")) },
		Online:  func(context.Context, *sdk.Run) error { panic("not to be run") },
	})
	rollout := &spec.Rollout{
		Relay: b.Connect(), Start: startMessage(), Instances: 1, Timeout: 10 * time.Second,
		Phases: []protocol.Phase{protocol.Offline, protocol.Online}, Recording: &spec.Recording{},
	}
	err := rollout.Run(t.Context())
	var failed *protocol.ScriptError
	if !errors.As(err, &failed) || failed.Message != "no room" || failed.Retry == nil || *failed.Retry {
		t.Errorf("got %v", err)
	}
	if err := b.Connect().Request(t.Context(), "todo-search.which", nil, nil); !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("the version is in production: %v", err)
	}
	names := names(rollout.Recording)
	if want := []string{startName, failedName}; !slices.Equal(names, want) {
		t.Errorf("got %q, want %q", names, want)
	}
}

// names are those of the recorded messages but for signs of life.
func names(r *spec.Recording) []string {
	var all []string
	for _, m := range r.Messages() {
		if m.Name != m.Script.Subject(protocol.Progress) {
			all = append(all, m.Name)
		}
	}
	return all
}

func TestAPhaseThatRunsAgainIsTheNextAttempt(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	attempts := make(chan string, 2)
	runSetup(t, b, sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Offline: func(_ context.Context, run *sdk.Run) error {
			attempts <- run.Start.Rollout + " " + string('0'+rune(run.Start.Attempt))
			return nil
		},
	})
	start := startMessage()
	start.Rollout = "0199c6d2-0000-7000-8000-000000000000"
	rollout := &spec.Rollout{Relay: b.Connect(), Start: start, Phases: []protocol.Phase{protocol.Offline}}
	for _, want := range []string{start.Rollout + " 1", start.Rollout + " 2"} {
		must(t, rollout.Phase(deadline(t), protocol.Offline))
		if got := next(t, attempts); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

func TestInstancesThatDoNotConfirm(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	rollout := &spec.Rollout{
		Relay: b.Connect(), Start: startMessage(), Phases: []protocol.Phase{protocol.Offline},
		Instances: 1, Timeout: 100 * time.Millisecond,
	}
	mustSay(t, rollout.Run(t.Context()), "0 of 1 instances of todo-search have confirmed their route")
}

func TestTheSetupOfAnApp(t *testing.T) {
	t.Parallel()
	spec.Run(t, spec.Suite{
		SetupService: sdk.SetupService{App: "todo-app", Version: "0.0.2", Setup: func(ctx context.Context, run *sdk.Run) error {
			subject := run.Start.App + " has " + run.Start.AppVersion
			return run.Request(ctx, "mail.send", map[string]string{"subject": subject}, nil)
		}},
		Features: []string{"testdata/setup.feature"},
		Doubles:  []spec.Double{{Name: "mail", Version: "1.0.0", Add: "send"}},
	})
}
