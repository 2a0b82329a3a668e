package orchestrator_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/report"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// reportOf makes the report of a rollout, as a client of its own.
func (e *environment) reportOf(id string, least uint64) report.Report {
	e.t.Helper()
	p := report.NewReporter()
	e.must(api.NewClient(e.connect().Conn()).Past(e.t.Context(), id, least, func(v api.RolloutView) error {
		p.See(v)
		return nil
	}))
	return p.Report()
}

// TestTheSameJournalGivesTheSameReport holds that a report has all events, also where they come in
// several pages, and that another client of another orchestrator makes the same one.
func TestTheSameJournalGivesTheSameReport(t *testing.T) {
	t.Parallel()
	const pauses = 260 // two events each: more than a page has
	e := newEnvironment(t)
	stop := e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	r := search(protocol.Offline)
	r.Source = &rollout.Source{Commit: strings.Repeat("a", 40), Describe: "v1", Remote: "https://example.com/shop.git", Folder: "apps/todo", Dirty: true}
	id := e.deploy(r)
	next(e, "the start", starts)
	client := api.NewClient(e.connect().Conn())
	for range pauses {
		_, err := client.Pause(t.Context(), api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ann", Reason: "lunch"}})
		e.must(err)
		_, err = client.Resume(t.Context(), api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ann"}})
		e.must(err)
	}
	e.answer(offlineDone, id, 1, "")
	last := e.awaitStatus(id, rollout.Completed).Sequence
	first := e.reportOf(id[:13], last)
	stop()
	e.orchestrate()
	again := e.reportOf(id, last)
	if first.Markdown() != again.Markdown() {
		t.Errorf("it was\n%s\nand is\n%s", first.Markdown(), again.Markdown())
	}
	if first.Source == nil || *first.Source != *r.Source || len(first.Asked) != 2*pauses || first.Sequence != last || len(first.Events) != 2*pauses+3 {
		t.Errorf("source %v, %d asked for, %d events until %d", first.Source, len(first.Asked), len(first.Events), first.Sequence)
	}
	if !slices.IsSortedFunc(first.Events, func(a, b report.Event) int { return int(a.Sequence) - int(b.Sequence) }) {
		t.Error("the events are in disorder")
	}
	if got, want := first.Steps[0].Order, 1; got != want || first.Status != rollout.Completed {
		t.Errorf("the first step was number %d, the rollout is %s", got, first.Status)
	}
	ended := errors.New("ended")
	if err := client.Past(t.Context(), id, 0, func(api.RolloutView) error { return ended }); !errors.Is(err, ended) {
		t.Errorf("an error of the callee became %v", err)
	}
	var refused *protocol.ServiceError
	if err := client.Past(t.Context(), newID(t), 0, func(api.RolloutView) error { return nil }); !errors.As(err, &refused) || refused.Code != api.CodeNotFound {
		t.Errorf("of no rollout: %v", err)
	}
}

// TestASourceWithASecretIsRefused holds that nothing of it comes into the journal or the refusal.
func TestASourceWithASecretIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	r := search()
	r.Source = &rollout.Source{Commit: strings.Repeat("a", 40), Remote: "https://ann:hunter2@example.com/shop.git"}
	client := api.NewClient(e.connect().Conn())
	_, err := client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: r})
	e.refused(err, api.CodeInvalid, "source: remote holds credentials, leave them out")
	_, err = client.Plan(t.Context(), api.PlanRequest{Release: r})
	e.refused(err, api.CodeInvalid, "source: remote holds credentials, leave them out")
	if strings.Contains(err.Error(), "hunter2") {
		t.Errorf("it is told: %v", err)
	}
	r.Source.Remote = "https://example.com/shop.git"
	p, err := client.Plan(t.Context(), api.PlanRequest{Release: r})
	if e.must(err); p.Source == nil || *p.Source != *r.Source || p.DependsOn.Release.Source != nil {
		t.Errorf("the plan has the source %v, and depends on %v", p.Source, p.DependsOn.Release.Source)
	}
	r.Source = nil
	other, err := client.Plan(t.Context(), api.PlanRequest{Release: r})
	if e.must(err); other.ID != p.ID {
		t.Error("the plan depends on the source")
	}
}
