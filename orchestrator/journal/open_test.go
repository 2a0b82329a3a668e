package journal_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// Who only reads makes nothing.
func TestOnlyAnOrchestratorMakesTheJournal(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	if _, err := journal.Open(t.Context(), nc); !errors.Is(err, journal.ErrNone) {
		t.Fatalf("opening what is not there gives %v", err)
	}
	made, err := journal.Make(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	opened, err := journal.Open(t.Context(), nc)
	if err != nil || made.Environment() == "" || opened.Environment() != made.Environment() {
		t.Errorf("environment %q, and then %q, %v", made.Environment(), opened.Environment(), err)
	}
}

// What was made by somebody else, or by an older version, is brought to what is needed.
func TestAJournalThatIsNotAsItIsNeededIsChanged(t *testing.T) {
	nc := relaytest.Start(t).Connect().Conn()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: protocol.Stream, Subjects: []string{protocol.AllRollouts}, AllowDirect: true}); err != nil {
		t.Fatal(err)
	}
	var environment string
	for range 2 {
		j, err := journal.Make(t.Context(), nc, 1)
		if err != nil {
			t.Fatal(err)
		}
		if environment != "" && j.Environment() != environment {
			t.Errorf("the environment was %s, and is %s", environment, j.Environment())
		}
		environment = j.Environment()
	}
	stream, err := js.Stream(t.Context(), protocol.Stream)
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if len(c.Subjects) != 4 || !slices.Contains(c.Subjects, protocol.AllTimers) || !c.AllowMsgSchedules || !c.AllowMsgTTL || c.AllowDirect {
		t.Errorf("the stream is %+v", c)
	}
	c.Metadata["golive-format"] = "99"
	if _, err := js.UpdateStream(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	for name, err := range map[string]error{
		"opening": func() error { _, err := journal.Open(t.Context(), nc); return err }(),
		"making":  func() error { _, err := journal.Make(t.Context(), nc, 1); return err }(),
	} {
		if !errors.Is(err, rollout.ErrUnknown) {
			t.Errorf("%s the journal of a newer version gives %v", name, err)
		}
	}
}
