package spec_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
	"github.com/golive-dev/golive/sdk/spec"
)

var update = flag.Bool("update", false, "rewrite testdata/transcript.txt")

// setupWithAll says everything that a script can say.
func setupWithAll() sdk.SetupService {
	return sdk.SetupService{
		Service: "todo-search", Version: "0.0.1",
		Offline: func(_ context.Context, run *sdk.Run) error {
			for i := range int64(5) {
				run.Progress(i+1, 5, "indexing")
			}
			return nil
		},
		Online:        func(context.Context, *sdk.Run) error { return errors.New("no room <here>") },
		RevertOffline: func(context.Context, *sdk.Run) error { return nil },
	}
}

func scripts() []protocol.Script {
	return []protocol.Script{
		{Name: "todo-search", Version: "0.0.1", Phase: protocol.Offline},
		{Name: "todo-search", Version: "0.0.1", Phase: protocol.Online},
	}
}

// playAll plays a rollout on a bus of its own; what observers heard is the first result,
// what the orchestrator recorded the second.
func playAll(t *testing.T) (heard, recorded *spec.Recording) {
	t.Helper()
	b := relaytest.Start(t)
	runSetup(t, b, setupWithAll())
	heard, err := spec.Listen(deadline(t), b.Connect().Conn(), scripts()...)
	if err != nil {
		t.Fatal(err)
	}
	rollout := &spec.Rollout{
		Relay: b.Connect(), Start: startMessage(), Recording: &spec.Recording{}, Timeout: 10 * time.Second,
		Phases:  []protocol.Phase{protocol.Offline, protocol.Online},
		Reverts: []protocol.Phase{protocol.Offline},
	}
	mustSay(t, rollout.Run(t.Context()), "todo-search 0.0.1 online: failed: no room <here>")
	must(t, rollout.Revert(t.Context()))
	must(t, heard.Stop(deadline(t)))
	must(t, heard.Stop(deadline(t)))
	return heard, rollout.Recording
}

func TestRecordingsOfTheSameScriptsAreTheSameText(t *testing.T) {
	t.Parallel()
	const file = "testdata/transcript.txt"
	heard, recorded := playAll(t)
	if *update {
		must(t, os.WriteFile(file, []byte(heard.String()), 0o600))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	for _, r := range []*spec.Recording{heard, recorded} {
		if got := r.String(); got != string(want) {
			t.Errorf("got\n%s\nwant\n%s", got, want)
		}
	}
}

func TestAPlainReplyIsRecordedAndAnnounced(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	bareService(t, b, func(_ *nats.Conn, start *nats.Msg) { must(t, start.Respond([]byte("no room"))) })
	r := b.Connect()
	heard, err := spec.Listen(deadline(t), r.Conn(), scripts()[0])
	if err != nil {
		t.Fatal(err)
	}
	_, err = spec.Start(deadline(t), r, startMessage())
	mustSay(t, err, "no room")
	must(t, heard.Stop(deadline(t)))
	messages := heard.Messages()
	if len(messages) != 3 {
		t.Fatalf("got\n%s", heard)
	}
	mustMatch(t, "start", messages[0].Name, startName)
	mustMatch(t, "reply", messages[1].Name+" "+string(messages[1].Data), `^golive\.answer\..* no room$`)
	mustMatch(t, "announcement", messages[2].Name+" "+string(messages[2].Data), failedName+` \{.*"error":\{"code":"reply","message":"no room"\}\}$`)
	mustMatch(t, "announcement's step", messages[2].Header.Get(protocol.HeaderStep), "^todo-search/offline$")
}

// An observer of a start would keep NATS from saying that nobody listens.
func TestAnObserverWaitsForSomebodyToObserve(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := spec.Listen(ctx, b.Connect().Conn(), scripts()[0])
	mustSay(t, err, "nobody listens to "+startName+": context deadline exceeded: start the setup service, then listen")
	if !errors.Is(err, relay.ErrNobodyListens) {
		t.Errorf("got %v, want ErrNobodyListens", err)
	}
}

// NATS tells one subscription of a connection that nobody listens: not the observer's.
func TestAnObserverLeavesTheWordThatNobodyListens(t *testing.T) {
	t.Parallel()
	b := relaytest.Start(t)
	r := b.Connect()
	service := b.Connect().Conn()
	other := protocol.Script{Name: "todos", Version: "0.0.1", Phase: protocol.Online}
	_, err := service.Subscribe(other.Subject(protocol.Start), func(*nats.Msg) {})
	must(t, err)
	heard, err := spec.Listen(deadline(t), r.Conn(), other)
	if err != nil {
		t.Fatal(err)
	}
	m := startMessage()
	m.Deadline = time.Now().Add(200 * time.Millisecond)
	_, err = spec.Start(deadline(t), r, m)
	mustSay(t, err, "nobody listens to "+startName)
	must(t, heard.Stop(deadline(t)))
}
