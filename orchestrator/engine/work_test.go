package engine

import (
	"testing"
	"time"

	"github.com/google/uuid"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// The timer of the newest event comes to an orchestrator that has not heard of that event yet.
// What it takes for late is over; what is late must happen all the same, for no other timer
// goes off.
func TestTimerThatComesBeforeTheNewsOfItsEvent(t *testing.T) {
	ctx := t.Context()
	nc := relaytest.Start(t).Connect().Conn()
	j, err := journal.Make(ctx, nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	seen := view.New()
	g := New(Config{Conn: nc, Journal: j, View: seen, Recorder: view.NewRecorder(j, seen, zap.NewNop(), nil), Log: zap.NewNop()})

	id, err := uuid.NewV7()
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now().Add(-time.Minute).UTC()
	s, err := rollout.Compile(id.String(), "test", begun, rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Services: []rollout.Service{{
		Name: "todo-search", Version: "0.0.1", Migrations: []protocol.Phase{protocol.Offline},
		Timeout: rollout.Duration(time.Second), Retries: 1, Backoff: rollout.Duration(time.Second),
	}}}, rollout.Facts{Ran: func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false }})
	if err != nil {
		t.Fatal(err)
	}
	first, err := j.Begin(ctx, s, 0)
	if err != nil {
		t.Fatal(err)
	}
	seen.Track(journal.Record{State: s, Sequence: first}) // and of nothing that comes after it
	late, err := s.Apply(rollout.Event{Type: rollout.StepBroke, At: begun.Add(time.Second), Step: "todo-search/offline", Attempt: 1, Named: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(ctx, late, first); err != nil {
		t.Fatal(err)
	}

	if err := g.due(ctx, "todo-app", id.String()); err != nil {
		t.Fatal(err)
	}
	r, err := j.Load(ctx, "todo-app", id.String())
	if err != nil {
		t.Fatal(err)
	}
	if step, _ := r.State.Step("todo-search/offline"); step.Status != rollout.StepRunning || step.Attempt != 2 {
		t.Errorf("the step is %s at attempt %d, want it to run at attempt 2", step.Status, step.Attempt)
	}
}
