package api

import (
	"context"

	"github.com/golive-dev/golive/orchestrator/rehearsed"
)

// RehearsalRequest tells what came of a rehearsal. The id of the outcome is the client's, so that
// one that is told twice is kept once. When it was, and on a bus with users by whom, is the
// environment's word.
type RehearsalRequest struct {
	Outcome rehearsed.Outcome `json:"outcome"`
	By      string            `json:"by,omitempty"`
}

// TellRehearsal has an environment keep what came of a rehearsal, in the place of what was told
// before of the same release, and gives what it keeps.
func (c *Client) TellRehearsal(ctx context.Context, q RehearsalRequest) (rehearsed.Outcome, error) {
	return call[rehearsed.Outcome](ctx, c, "rehearsal-tell", q)
}

// Is is of [Personal].
func (q *RehearsalRequest) Is(user string) { q.By = user }
