package orchestrator_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
	"github.com/golive-dev/golive/sdk"
)

// Old journals go, what has run stays in the ledger, and the last rollout stays whole.
func TestOldRolloutsAreDroppedFromTheJournal(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.keep = time.Second
	stop := e.orchestrate()
	ran := newTally()
	var all []string
	for _, version := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		e.service("todo-search", version)
		e.setup(sdk.SetupService{Service: "todo-search", Version: version, Online: ran.script})
		id := e.deploy(appOf(version, protocol.Online))
		e.awaitStatus(id, rollout.Completed)
		e.putAside(e.failedRecords(), id, "todo-search/online", "one", 1)
		all = append(all, id)
	}
	e.until("two rollouts are dropped", func() bool {
		page, err := e.client.List(t.Context(), api.ListRequest{App: "todo-app"})
		return err == nil && len(page.Rollouts) == 1 && page.Rollouts[0].ID == all[2]
	})
	keys, err := e.failedRecords().Keys(t.Context())
	e.must(err)
	if len(keys) != 1 || !strings.HasPrefix(keys[0], all[2]) {
		t.Errorf("of the records that were put aside these are left: %v, want that of the last rollout", keys)
	}
	check := func() {
		t.Helper()
		entries, err := e.client.Ledger(t.Context(), api.LedgerRequest{App: "todo-app"})
		e.must(err)
		if len(entries) != 3 || entries[0].Rollout != all[0] || entries[0].Version != "1.0.0" {
			t.Errorf("the ledger holds %+v, want what the three have run", entries)
		}
	}
	check()
	stop()
	e.orchestrate() // which reads the ledger anew
	check()
	_, err = e.client.Show(t.Context(), api.RolloutRequest{Rollout: all[0]})
	e.refused(err, api.CodeNotFound, all[0])
	if story := e.show(all[2]); len(story.Events) != 3 {
		t.Errorf("the last rollout has %d events, want 3", len(story.Events))
	}
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", To: "1.0.0", SkipMissing: true})
	e.refused(err, api.CodeConflict, "retention")
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app", SkipMissing: true})
	if err != nil {
		t.Error(errors.New("the last rollout cannot be undone: "), err)
	}
	e.awaitStatus(all[2], rollout.Reverted)
	e.answeredBy("2.0.0")
}

// appOf is version version of the app, with todo-search in the same version.
func appOf(version string, phases ...protocol.Phase) rollout.Release {
	return rollout.Release{App: "todo-app", Version: version, Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "todo-search", Version: version, Migrations: phases, Instances: 1},
	}}
}
