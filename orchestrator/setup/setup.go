// Package setup speaks with setup services on behalf of the engine: it sends them starts and
// paces, learns from the server who has got them, asks them about their scripts and workers,
// and reads and makes the claims by which an attempt is run once.
package setup

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	flushTimeout = 5 * time.Second
	askTimeout   = 500 * time.Millisecond // for a setup service to tell about a script
)

// Client speaks with setup services. Make it with [Open]; it is safe for concurrent use.
type Client struct {
	nc       *nats.Conn
	delivery *delivery
	*Claims
}

// Open makes a client that has its claims in a bucket. Close it when it is used no more.
func Open(nc *nats.Conn, claims *Claims) (*Client, error) {
	d, err := newDelivery(nc)
	if err != nil {
		return nil, err
	}
	return &Client{nc, d, claims}, nil
}

// Close ends what the client listens to. It does not close the connection.
func (c *Client) Close() { c.delivery.close() }

// Send publishes a start and reports whether anybody has got it who may run a script, and who
// that is, if the server can tell. It blocks until the server tells, for a second at most: then
// the answer is yes.
func (c *Client) Send(ctx context.Context, start *nats.Msg) (heard bool, to Receiver, err error) {
	return c.delivery.send(ctx, start)
}

// Listened reports whether anybody who may run a script listens to its start, or to that of
// its revert, by a message that nobody gets. It blocks as [Client.Send] does.
func (c *Client) Listened(ctx context.Context, start string) (bool, error) {
	heard, _, err := c.delivery.listened(ctx, start)
	return heard, err
}

// There reports whether a receiver of a start listens to it still, by messages that nobody gets.
// Known is false where that cannot be told. It blocks for a second at most for each that listens.
func (c *Client) There(ctx context.Context, start string, who Receiver) (there, known bool, err error) {
	return c.delivery.there(ctx, start, who)
}

// About asks the setup service of a script about it; an error says that none has told within
// half a second.
func (c *Client) About(ctx context.Context, script protocol.Script) (protocol.ScriptInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	var info protocol.ScriptInfo
	m, err := c.nc.RequestWithContext(ctx, protocol.AboutScriptSubject(script), nil)
	if err != nil {
		return info, err
	}
	return info, json.Unmarshal(m.Data, &info)
}

// wantTimeout is how long whoever can start setup services may take to say so.
const wantTimeout = 2 * time.Second

// Want asks whoever can start setup services of an app to start those that listen to these
// starts, and gives the starts of which he says that they will be listened to; none where nobody
// can, or answers within two seconds.
func (c *Client) Want(ctx context.Context, app string, starts []string) ([]string, error) {
	data, err := json.Marshal(protocol.Wanted{Starts: starts})
	if err != nil {
		return nil, fmt.Errorf("ask for setup services of %s: %w", app, err)
	}
	asking, cancel := context.WithTimeout(ctx, wantTimeout)
	defer cancel()
	var answer protocol.Starting
	m, err := c.nc.RequestWithContext(asking, protocol.WantedSubject(app), data)
	if err != nil || json.Unmarshal(m.Data, &answer) != nil {
		return nil, ctx.Err()
	}
	return answer.Starts, nil
}

// SendPace tells the script of a running step how fast it may work, and blocks until the
// server has taken that.
func (c *Client) SendPace(ctx context.Context, s rollout.State, step rollout.Step) error {
	if err := c.PublishPace(s, step); err != nil {
		return err
	}
	return c.Flush(ctx)
}

// PublishPace is [Client.SendPace] without waiting for the server.
func (c *Client) PublishPace(s rollout.State, step rollout.Step) error {
	m := nats.NewMsg(step.ScriptID().Subject(protocol.PaceSet))
	data, err := json.Marshal(protocol.ControlMessage{Rollout: s.ID, Attempt: step.Attempt, Pace: step.Script.Pace})
	if err != nil {
		return fmt.Errorf("write %s: %w", m.Subject, err)
	}
	m.Data = data
	key := m.Subject + " " + strconv.Itoa(step.Attempt) + " again " + time.Now().UTC().Format(time.RFC3339Nano)
	Address(m.Header, s, step.ID, step.Attempt, key)
	if err := c.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("send %s: %w", m.Subject, err)
	}
	return nil
}

// PublishCancel tells every instance of a setup service that an attempt is over. It does not
// wait for the server.
func (c *Client) PublishCancel(a rollout.AttemptID) error {
	m := nats.NewMsg(a.Script().Subject(protocol.Cancel))
	data, err := json.Marshal(protocol.ControlMessage{Rollout: a.Rollout, Attempt: a.Number})
	if err != nil {
		return fmt.Errorf("write %s: %w", m.Subject, err)
	}
	m.Data = data
	key := m.Subject + " " + strconv.Itoa(a.Number) + " again " + time.Now().UTC().Format(time.RFC3339Nano)
	address(m.Header, a.Rollout, a.Script().Step(), a.Number, key)
	if err := c.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("send %s: %w", m.Subject, err)
	}
	return nil
}

// Flush blocks until the server has taken what was published, for five seconds at most.
func (c *Client) Flush(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, flushTimeout)
	defer cancel()
	return c.nc.FlushWithContext(ctx)
}

// Address writes the headers that every message about a step carries. The message id
// is made of the key, which is what the message is about, so that repeating it repeats the id.
func Address(h nats.Header, s rollout.State, step string, attempt int, key string) {
	address(h, s.ID, step, attempt, key)
}

func address(h nats.Header, rollout, step string, attempt int, key string) {
	space, id := messageID(rollout, key)
	h.Set(protocol.HeaderRollout, rollout)
	h.Set(protocol.HeaderMessageID, id.String())
	if step != "" {
		h.Set(protocol.HeaderStep, step)
		h.Set(protocol.HeaderAttempt, strconv.Itoa(attempt))
	}
	trace := strings.ReplaceAll(space.String(), "-", "")
	span := strings.ReplaceAll(id.String(), "-", "")[:16]
	h.Set(protocol.HeaderTraceparent, "00-"+trace+"-"+span+"-01")
}

// MessageID is the id that a message of golive about a rollout has under a key, see [Address].
func MessageID(rollout, key string) string {
	_, id := messageID(rollout, key)
	return id.String()
}

// messageID is the id of a message of ours about a rollout, in the space of its ids.
func messageID(rollout, key string) (space, id uuid.UUID) {
	space, err := uuid.Parse(rollout)
	if err != nil {
		space = uuid.NewSHA1(uuid.NameSpaceOID, []byte(rollout))
	}
	return space, uuid.NewSHA1(space, []byte(key))
}
