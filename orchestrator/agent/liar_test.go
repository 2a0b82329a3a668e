package agent_test

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/agent"
	"github.com/golive-dev/golive/orchestrator/journal"
)

// liar is a journal that gives every rollout another id.
type liar struct {
	agent.Journal
	id string
}

func (l liar) Load(ctx context.Context, app, id string) (journal.Record, error) {
	r, err := l.Journal.Load(ctx, app, id)
	r.State.ID = l.id
	return r, err
}
