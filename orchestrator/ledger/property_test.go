package ledger_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Whoever saves when, a book that is loaded is the one that is made from the beginning.
func TestLoadedBookEqualsTheOneMadeFromTheBeginning(t *testing.T) {
	store, _ := newStore(t)
	ctx, apps := t.Context(), 0
	rapid.Check(t, func(t *rapid.T) {
		apps++
		app := fmt.Sprintf("app-%d", apps) // of its own for each check; the environment starts anew
		p := &tape{}
		indexes := []*ledger.Index{
			ledger.NewIndex(ledger.Environment{}, store, p.Tail),
			ledger.NewIndex(ledger.Environment{}, store, p.Tail),
		}
		check := func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		}
		for range rapid.IntRange(1, 40).Draw(t, "events") {
			events := 1
			if rapid.IntRange(0, 40).Draw(t, "burst") == 0 {
				events = 300
			}
			s := drawState(t, app)
			for range events {
				p.add(s)
			}
			x := rapid.SampledFrom(indexes).Draw(t, "orchestrator")
			switch rapid.IntRange(0, 5).Draw(t, "act") {
			case 0:
				check(p.into(x).Save(ctx))
			case 1:
				check(p.into(x).SaveApp(ctx, app))
			case 2:
				_, err := x.Book(ctx, app) // maybe before it knows all
				check(err)
			case 3: // it starts again, with what it knew of the environment
				env := ledger.Environment{Sequence: x.Sequence(), Newest: map[string]string{}, Open: x.Open()}
				if env.Sequence > 0 {
					env.Newest[app] = x.Newest(app)
				}
				indexes[0] = ledger.NewIndex(env, store, p.Tail)
			}
		}
		for _, x := range indexes {
			same(ctx, t, "in the end", p.into(x), app, p)
		}
	})
}

// drawState is any state after any event: the ledger takes the journal's word for it.
func drawState(t *rapid.T, app string) rollout.State {
	number := rapid.IntRange(1, 4).Draw(t, "rollout")
	s := rollout.State{
		ID: fmt.Sprintf("r%d", number), Created: noon, Ended: noon, By: "anna",
		Status: rapid.SampledFrom([]rollout.Status{
			rollout.Queued, rollout.Running, rollout.Failed, rollout.Completed, rollout.Aborting, rollout.Aborted,
			rollout.Reverting, rollout.Reverted, rollout.Superseded, rollout.Marked, rollout.Amending,
		}).Draw(t, "status"),
		Release: rollout.Release{App: app, Version: fmt.Sprintf("1.%d.0", number)},
	}
	s.Release.MustNotSkip = rapid.SliceOfN(rapid.SampledFrom([]string{"1.0.0", "1.1.0", "1.2.0"}), 0, 2).Draw(t, "mustNotSkip")
	for i, phase := range append(protocol.ServicePhases(), "") {
		step := rollout.Step{
			Number: i + 1, ID: "todos/" + string(phase), Kind: rollout.Migration, Name: "todos", Script: rollout.ScriptRun{Phase: phase, Records: rapid.Bool().Draw(t, "records"), Items: int64(number), PutAside: rapid.Int64Range(0, 3).Draw(t, "put aside")},
			Version: fmt.Sprintf("1.%d.0", (number+1)/2), Started: noon, Ended: noon,
			Attempt: rapid.IntRange(0, 1).Draw(t, "attempt"),
			Status:  rapid.SampledFrom([]rollout.StepStatus{rollout.StepDone, rollout.StepDone, rollout.StepReverted}).Draw(t, "step status"),
		}
		if phase == "" {
			step.Kind = rollout.Traffic
		}
		s.Steps = append(s.Steps, &step)
	}
	s.Mark = &rollout.Mark{Name: "todos", Version: "1.1.0", Phase: protocol.Online}
	s.Event = rollout.Event{
		Type: rapid.SampledFrom([]rollout.EventType{
			rollout.Created, rollout.Enqueued, rollout.StepAnswered, rollout.StepAnswered, rollout.StepAnswered,
			rollout.Opened, rollout.MarkedRun, rollout.Replaced, rollout.BackwardAsked, rollout.Restored,
			rollout.RecordsAsked, rollout.PaceAsked,
		}).Draw(t, "event"),
		Step: s.Steps[rapid.IntRange(0, len(s.Steps)-1).Draw(t, "step")].ID,
	}
	return s
}
