package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
)

// askingSelf bounds the question who one is: a server may refuse it without an answer.
const askingSelf = 2 * time.Second

// User asks the server which user the connection is; empty where it has no users, or does
// not let them ask.
func User(ctx context.Context, nc *nats.Conn) (string, error) {
	user, _, err := self(ctx, nc)
	return user, err
}

// HasUsers reports whether the bus knows who somebody is. Where it lets nobody in who is unknown,
// and does not answer, it is taken for one that does: nobody is then believed to be who he says.
func HasUsers(ctx context.Context, nc *nats.Conn) (bool, error) {
	user, told, err := self(ctx, nc)
	return user != "" || !told && nc.AuthRequired(), err
}

// self asks the server which user the connection is; false: it has not told.
func self(ctx context.Context, nc *nats.Conn) (user string, told bool, err error) {
	asking, cancel := context.WithTimeout(ctx, askingSelf)
	defer cancel()
	m, err := nc.RequestWithContext(asking, "$SYS.REQ.USER.INFO", nil)
	if errors.Is(err, nats.ErrNoResponders) || err != nil && ctx.Err() == nil && asking.Err() != nil {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("ask the server who this is: %w", err)
	}
	var info struct {
		Data struct {
			User string `json:"user"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return "", false, fmt.Errorf("ask the server who this is: %w", err)
	}
	return info.Data.User, true, nil
}

// Personal is a request that says who asks. Is takes down whom the bus has named; empty: nobody,
// and then what the request says of itself is forgotten.
type Personal interface{ Is(user string) }

// Is is of [Personal].
func (q *DeployRequest) Is(user string) { q.By, q.Known = user, user != "" }

// Is is of [Personal].
func (q *RolloutRequest) Is(user string) { q.By, q.Known = user, user != "" }

// Is is of [Personal].
func (q *PaceRequest) Is(user string) { q.By = user }

// Is is of [Personal].
func (q *RetryRequest) Is(user string) { q.By = user }

// Is is of [Personal].
func (q *BackwardRequest) Is(user string) { q.By = user }

// Is is of [Personal].
func (q *RestoreRequest) Is(user string) { q.By = user }

// Is is of [Personal].
func (q *TakeRequest) Is(user string) { q.By = user }

// Is is of [Personal].
func (q *SnapshotRequest) Is(user string) { q.By = user }

// Is is of [Personal].
func (q *MarkRequest) Is(user string) { q.By = user }
