package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/protocol"
)

// A bus with users tells who somebody is by what they may publish: a command that comes on
// golive.api.<command>.<user> was sent by that user, if the server lets nobody else publish
// there. What a request says of itself, in its field by, is a claim.

// askingSelf bounds the question who one is: a server may refuse it without an answer.
const askingSelf = 2 * time.Second

// User asks the server which user the connection is; empty where it has no users, or does
// not let them ask.
func User(ctx context.Context, nc *nats.Conn) (string, error) {
	asking, cancel := context.WithTimeout(ctx, askingSelf)
	defer cancel()
	m, err := nc.RequestWithContext(asking, "$SYS.REQ.USER.INFO", nil)
	if errors.Is(err, nats.ErrNoResponders) || err != nil && ctx.Err() == nil && asking.Err() != nil {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("ask the server who this is: %w", err)
	}
	var info struct {
		Data struct {
			User string `json:"user"`
		} `json:"data"`
	}
	if err := json.Unmarshal(m.Data, &info); err != nil {
		return "", fmt.Errorf("ask the server who this is: %w", err)
	}
	return info.Data.User, nil
}

// person is the part of a request that says who asks.
type person interface{ is(user string) }

func (q *DeployRequest) is(user string)   { q.By, q.known = user, true }
func (q *RolloutRequest) is(user string)  { q.By, q.known = user, true }
func (q *PaceRequest) is(user string)     { q.By = user }
func (q *RetryRequest) is(user string)    { q.By = user }
func (q *BackwardRequest) is(user string) { q.By = user }
func (q *MarkRequest) is(user string)     { q.By = user }

// known takes down who asks, if the subject tells.
func known(request any, subject string) error {
	user, ok := protocol.ParseUserAPISubject(subject)
	if !ok {
		return refuse(CodeInvalid, "leave the user out, or write it as the protocol says", "%s names no user", subject)
	}
	if asks, personal := request.(person); personal && user != "" {
		asks.is(user)
	}
	return nil
}

// identified refuses a request of which nobody knows who sent it, on a bus that could know.
func (o *Orchestrator) identified(known bool, command string) error {
	if known || !o.users {
		return nil
	}
	return refuse(CodeNotAllowed, "ask on "+protocol.UserAPISubject(command, "USER")+" with the own user's name, as the command line does",
		"it has to be known who asks, and the bus does not tell")
}
