package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Client speaks to the orchestrators of an environment over its bus. It is safe for
// concurrent use.
type Client struct {
	nc    *nats.Conn
	clock bus.Clock

	once sync.Once
	user string // of the bus; empty: it has none, or does not tell
}

// NewClient uses nc, which stays the caller's.
func NewClient(nc *nats.Conn) *Client { return &Client{nc: nc} }

// ErrNoOrchestrator says that no orchestrator listens on the bus.
var ErrNoOrchestrator = errors.New("no orchestrator answers on this bus")

// call sends one command and waits for its result. An error of the API is a
// *protocol.ServiceError.
func call[Out, In any](ctx context.Context, c *Client, command string, in In) (Out, error) {
	var out Out
	data, err := json.Marshal(in)
	if err != nil {
		return out, fmt.Errorf("%s: %w", command, err)
	}
	ctx, cancel := context.WithTimeout(ctx, Timeout+transferTime)
	defer cancel()
	subject := protocol.APISubject(command)
	if _, personal := any(&in).(Personal); personal {
		c.once.Do(func() { c.user, _ = User(ctx, c.nc) }) // who is not known asks as such
		if c.user != "" {
			subject = protocol.UserAPISubject(command, c.user)
		}
	}
	answer, err := c.ask(ctx, subject, data)
	if errors.Is(err, nats.ErrNoResponders) {
		return out, ErrNoOrchestrator
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", command, err)
	}
	var failure struct {
		Error *protocol.ServiceError `json:"error"`
	}
	if json.Unmarshal(answer, &failure) == nil && failure.Error != nil && failure.Error.Code != "" {
		return out, failure.Error
	}
	if err := json.Unmarshal(answer, &out); err != nil {
		return out, fmt.Errorf("answer to %s: %w", command, err)
	}
	return out, nil
}

// maxParts is in how many parts an answer may come. More than that would be dropped by the
// connection where the caller is slow.
const maxParts = 1024

// ask sends a request and waits for all parts of its answer.
func (c *Client) ask(ctx context.Context, subject string, data []byte) ([]byte, error) {
	inbox, parts := c.nc.NewInbox(), make(chan *nats.Msg, maxParts)
	sub, err := c.nc.ChanSubscribe(inbox, parts)
	if err != nil {
		return nil, err
	}
	defer func() { _ = sub.Unsubscribe() }() // the connection may be gone
	q := nats.NewMsg(subject)
	q.Reply, q.Data = inbox, data
	q.Header.Set(protocol.HeaderParts, "1")
	if most := c.nc.MaxPayload(); int64(q.Size()) > most { // a large release
		if q.Data, err = compress(data); err != nil {
			return nil, err
		}
		q.Header.Set(HeaderEncoding, Gzipped)
		if size := q.Size(); int64(size) > most {
			return nil, refused(CodeTooLarge, "make the release smaller, or raise max_payload of the bus",
				"the request has %d bytes, compressed, and a message may have %d here", size, most)
		}
	}
	asked := c.clock.Own()
	if err := c.nc.PublishMsg(q); err != nil {
		return nil, err
	}
	var answer []byte
	for next := uint64(1); ; next++ {
		var m *nats.Msg
		select {
		case m = <-parts:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		if len(m.Data) == 0 && m.Header.Get(protocol.HeaderStatus) == "503" {
			return nil, nats.ErrNoResponders
		}
		c.heard(asked, m)
		part := m.Header.Get(protocol.HeaderParts)
		if part == "" {
			return m.Data, nil
		}
		is, of, _ := strings.Cut(part, "/")
		number, counted := protocol.ParseNumber(is)
		last, limited := protocol.ParseNumber(of)
		if !counted || !limited || number != next || last < number {
			return nil, fmt.Errorf("part %q of the answer came as number %d", part, next)
		}
		if answer = append(answer, m.Data...); number == last {
			return answer, nil
		}
	}
}

// Deploy asks for a rollout and returns once it is recorded. Repeating the request
// finds the same rollout; it is sent again while no answer comes, since whoever had taken it may
// have died.
func (c *Client) Deploy(ctx context.Context, q DeployRequest) (RolloutView, error) {
	q.Needs = needsOf(q.Release)
	ctx, cancel := context.WithTimeout(ctx, Timeout+transferTime)
	defer cancel()
	for again := false; ; again = true {
		try, end := context.WithTimeout(ctx, deployAgain)
		begun, err := call[RolloutView](try, c, "deploy", q)
		end()
		lost := errors.Is(err, context.DeadlineExceeded) || again && errors.Is(err, ErrNoOrchestrator)
		if !lost || ctx.Err() != nil {
			return begun, err
		}
		select {
		case <-time.After(deployPause):
		case <-ctx.Done():
		}
	}
}

const (
	deployAgain = 8 * time.Second        // without an answer, after which a deploy is sent again
	deployPause = 250 * time.Millisecond // before it is, while nobody is there who could answer
)

// Plan tells what a deploy would do. It changes nothing.
func (c *Client) Plan(ctx context.Context, q PlanRequest) (PlanView, error) {
	q.Needs = needsOf(q.Release)
	return call[PlanView](ctx, c, "plan", q)
}

// Retry has the failed steps of a failed rollout tried again or, if that is asked for, the
// records that the scripts of a completed one have put aside.
func (c *Client) Retry(ctx context.Context, q RetryRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "retry", q)
}

// Abort ends a rollout and puts the version before back.
func (c *Client) Abort(ctx context.Context, q AbortRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "abort", q)
}

// Pause holds a rollout or one of its steps.
func (c *Client) Pause(ctx context.Context, q StepRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "pause", q)
}

// Resume lets a rollout or one of its steps go on.
func (c *Client) Resume(ctx context.Context, q StepRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "resume", q)
}

// Pace has a script work faster, or slower.
func (c *Client) Pace(ctx context.Context, q PaceRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "pace", q)
}

// Records gives a page of the records that a rollout's scripts have put aside.
func (c *Client) Records(ctx context.Context, q RecordsRequest) (RecordsPage, error) {
	return call[RecordsPage](ctx, c, "records", q)
}

// Backward undoes the last rollout of an app, or several. It gives the one that is undone
// first.
func (c *Client) Backward(ctx context.Context, q BackwardRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "backward", q)
}

// Mark records a script as run, without running it.
func (c *Client) Mark(ctx context.Context, q MarkRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "mark", q)
}

// Show gives a rollout with its whole story.
func (c *Client) Show(ctx context.Context, q RolloutRequest) (RolloutStory, error) {
	return call[RolloutStory](ctx, c, "show", q)
}

// List gives a page of rollouts, newest first.
func (c *Client) List(ctx context.Context, q ListRequest) (RolloutList, error) {
	return call[RolloutList](ctx, c, "list", q)
}

// Status says what is online and what is under way, by app.
func (c *Client) Status(ctx context.Context, q AppRequest) ([]AppStatus, error) {
	return call[[]AppStatus](ctx, c, "status", q)
}

// Routes gives the gate's routes, by service.
func (c *Client) Routes(ctx context.Context) ([]RouteStatus, error) {
	return call[[]RouteStatus](ctx, c, "routes", struct{}{})
}

// Ledger gives the scripts that have run, oldest first.
func (c *Client) Ledger(ctx context.Context, q LedgerRequest) ([]ledger.Entry, error) {
	return call[[]ledger.Entry](ctx, c, "ledger", q)
}

// Version asks an orchestrator who it is.
func (c *Client) Version(ctx context.Context) (VersionInfo, error) {
	return call[VersionInfo](ctx, c, "version", struct{}{})
}

// Approve answers the question of an approval step, or confirms an item of its checklist.
func (c *Client) Approve(ctx context.Context, q ApproveRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "approve", q)
}

// Reject answers the question of an approval step with no.
func (c *Client) Reject(ctx context.Context, q StepRequest) (RolloutView, error) {
	return call[RolloutView](ctx, c, "reject", q)
}

// Agents lists the agents that are alive, by name.
func (c *Client) Agents(ctx context.Context) ([]protocol.Agent, error) {
	return call[[]protocol.Agent](ctx, c, "agents", struct{}{})
}

// Hosts tells what agents have done for a step of a rollout.
func (c *Client) Hosts(ctx context.Context, q HostsRequest) ([]protocol.Host, error) {
	return call[[]protocol.Host](ctx, c, "hosts", q)
}
