// Package command answers what people and systems ask of rollouts: deploy, plan, retry,
// abort, pause, approve, backward and so on. A command decides on facts and makes one event of
// a rollout, or none; what has to be done about the event is up to package engine, which
// stands on this one. orchestrator/api has the requests and answers.
package command

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/tasks"
	"github.com/golive-dev/golive/relay/protocol"
)

// Server answers the commands, and does what follows of its own accord on what has happened:
// it begins what was queued, and goes further back. Make it with [New]; it is safe for
// concurrent use.
type Server struct {
	base
	planner       *planner
	deployer      *deployer
	interventions *interventions
	returner      *returner
	amender       *amender
	restorer      *restorer
	queries       *queries
	astray        astray
}

// New makes a server. It starts nothing.
func New(c Config) *Server {
	b := base{c}
	p := &planner{b}
	return &Server{
		base: b, planner: p, deployer: &deployer{b, p}, interventions: &interventions{b},
		returner: &returner{b}, amender: &amender{b}, queries: &queries{b}, restorer: &restorer{b},
	}
}

// BeginQueued begins the rollout of an app that has waited longest, if nothing of the app is
// under way any more. Doing it twice is harmless.
func (c *Server) BeginQueued(ctx context.Context, app string) error {
	return c.deployer.beginQueued(ctx, app)
}

// TurnBack takes a rollout backward by itself, if its state says so, see
// [rollout.State.TurnsBack]. Doing it twice is harmless.
func (c *Server) TurnBack(ctx context.Context, r journal.Record) error {
	return c.returner.turnBack(ctx, r)
}

// GoFurtherBack goes on to the rollout before one that was undone, if somebody has asked for
// a version before that. Doing it twice is harmless.
func (c *Server) GoFurtherBack(ctx context.Context, undone rollout.State) error {
	return c.returner.furtherBack(ctx, undone)
}

// endpoints are the commands, by the last word of their subject.
func (c *Server) endpoints(ctx context.Context, group *tasks.Group) map[string]endpoint {
	taker := &taker{base: c.base, ctx: ctx, group: group}
	return map[string]endpoint{
		"deploy":   answer(ctx, c, group, c.deployer.deploy),
		"plan":     answer(ctx, c, group, c.planner.plan),
		"retry":    answer(ctx, c, group, c.retry),
		"abort":    answer(ctx, c, group, c.interventions.abort),
		"pause":    answer(ctx, c, group, c.interventions.pause),
		"resume":   answer(ctx, c, group, c.interventions.resume),
		"mark":     answer(ctx, c, group, c.interventions.mark),
		"pace":     answer(ctx, c, group, c.interventions.pace),
		"approve":  answer(ctx, c, group, c.interventions.approve),
		"reject":   answer(ctx, c, group, c.interventions.reject),
		"backward": answer(ctx, c, group, c.returner.backward),

		"restore":      answer(ctx, c, group, c.restorer.restore),
		"restore-plan": answer(ctx, c, group, c.restorer.plan),

		"snapshot-take":  answer(ctx, c, group, taker.take),
		"snapshot-check": answer(ctx, c, group, taker.check),
		"snapshot-list":  answer(ctx, c, group, taker.list),
		"snapshot-show":  answer(ctx, c, group, taker.show),
		"snapshot-drop":  answer(ctx, c, group, taker.drop),
		"snapshot-read":  answer(ctx, c, group, handing{taker}.read),
		"snapshot-copy":  answer(ctx, c, group, handing{taker}.copy),
		"snapshot-state": answer(ctx, c, group, handing{taker}.state),

		"rehearsal-tell": answer(ctx, c, group, c.tellRehearsal),

		"records": answer(ctx, c, group, c.amender.listRecords),
		"show":    answer(ctx, c, group, c.queries.show),
		"follow":  answer(ctx, c, group, c.queries.follow),
		"list":    answer(ctx, c, group, c.queries.list),
		"status":  answer(ctx, c, group, c.queries.status),
		"routes":  answer(ctx, c, group, c.queries.routes),
		"ledger":  answer(ctx, c, group, c.queries.ledger),
		"agents":  answer(ctx, c, group, c.queries.agents),
		"hosts":   answer(ctx, c, group, c.queries.hosts),
		"version": answer(ctx, c, group, c.queries.version),
	}
}

// retry has the failed steps of a rollout tried again or, if they are asked for, the records
// that were put aside.
func (c *Server) retry(ctx context.Context, q api.RetryRequest) (api.RolloutView, error) {
	if q.FailedRecords {
		return c.amender.amend(ctx, q)
	}
	return c.interventions.retry(ctx, q)
}

// serveTimeout is how long the bus may take to let the endpoints listen.
const serveTimeout = 5 * time.Second

// Serve answers the commands, as NATS micro service endpoints, until ctx ends, and then waits
// for those under way. It calls ready once it listens.
func (c *Server) Serve(ctx context.Context, ready func()) error {
	service, err := micro.AddService(c.Conn, micro.Config{
		Name: "golive", Version: c.Version, Description: "brings new versions of apps live", QueueGroup: "golive",
	})
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	var group tasks.Group
	defer group.Dismiss()
	defer func() { _ = service.Stop() }() // the connection may be gone
	for name, handler := range c.endpoints(ctx, &group) {
		if err := service.AddEndpoint(name, handler, micro.WithEndpointSubject(protocol.APISubject(name))); err != nil {
			return fmt.Errorf("serve the API: %w", err)
		}
		if !handler.personal {
			continue
		}
		as := micro.WithEndpointSubject(protocol.APISubject(name) + ".*")
		if err := service.AddEndpoint(name+"-as", handler, as); err != nil {
			return fmt.Errorf("serve the API: %w", err)
		}
	}
	if err := c.Conn.FlushTimeout(serveTimeout); err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	ready()
	<-ctx.Done()
	return nil
}

// answer makes an endpoint of a function from a request to its result. NATS calls an
// endpoint for one request after the other; no request waits for another.
func answer[In, Out any](ctx context.Context, c *Server, group *tasks.Group, f func(context.Context, In) (Out, error)) endpoint {
	_, personal := any(new(In)).(api.Personal)
	return endpoint{personal: personal, Handler: micro.HandlerFunc(func(q micro.Request) {
		if reply := q.Reply(); reply != "" && !protocol.IsInbox(reply) {
			c.astray.tell(c.Log, q.Subject(), reply)
			return
		}
		taken := group.Do(func() {
			out, err := result(ctx, c, q, f)
			if err != nil {
				out, err = json.Marshal(map[string]*protocol.ServiceError{"error": c.explained(err)})
			}
			if err == nil {
				err = c.respond(q, out)
			}
			if err != nil {
				c.Log.Warn("answer of the API not sent", zap.String("endpoint", q.Subject()), zap.Error(err))
			}
		})
		if !taken {
			ending := &protocol.ServiceError{Code: api.CodeUnavailable, Message: "this orchestrator is ending, or begins anew", Hint: "ask again"}
			if out, err := json.Marshal(map[string]*protocol.ServiceError{"error": ending}); err == nil {
				_ = q.Respond(out) // whoever asks asks again
			}
		}
	})}
}

// endpoint answers a command.
type endpoint struct {
	micro.Handler
	personal bool // it matters who asks
}

// result does a command on what is known when it is asked for.
func result[In, Out any](ctx context.Context, c *Server, q micro.Request, f func(context.Context, In) (Out, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, api.Timeout)
	defer cancel()
	if err := c.Kept.Sure(ctx); err != nil {
		return nil, err
	}
	var in In
	request, err := inflated(q)
	if err != nil {
		return nil, err
	}
	if len(request) > 0 {
		if err := decode(request, &in); err != nil {
			return nil, err
		}
	}
	if err := c.known(&in, q.Subject()); err != nil {
		return nil, err
	}
	if _, deploys := any(in).(api.DeployRequest); !deploys { // that finds out itself what is newest of its app
		if err := c.Recorder.CatchUp(ctx); err != nil {
			return nil, err
		}
	}
	out, err := f(ctx, in)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(out)
	if most := c.Conn.MaxPayload(); err == nil && int64(len(data)) > most && q.Headers().Get(protocol.HeaderParts) == "" {
		return nil, refuse(api.CodeInvalid, "ask for less at a time, such as one app or, with a limit, a page; or take the answer in parts: send the header "+protocol.HeaderParts,
			"the answer is %d bytes long, the bus takes at most %d in a message", len(data), most)
	}
	return data, err
}

// respond answers in as many messages as it takes, each of which says which part it is. Each
// tells the time of the bus, too, if there is room for that.
func (c *Server) respond(q micro.Request, answer []byte) error {
	most := int(c.Conn.MaxPayload())
	size := most - maxPartHeader
	now := c.Recorder.Now().Format(time.RFC3339Nano)
	switch {
	case len(answer) <= size:
		return c.send(q, answer, nats.Header{protocol.HeaderTime: {now}})
	case len(answer) <= most || size <= 0:
		return c.send(q, answer, nil)
	}
	parts := (len(answer) + size - 1) / size
	for n := range parts {
		part := answer[n*size : min((n+1)*size, len(answer))]
		if err := c.send(q, part, nats.Header{protocol.HeaderParts: {fmt.Sprintf("%d/%d", n+1, parts)}, protocol.HeaderTime: {now}}); err != nil {
			return err
		}
	}
	return nil
}

// send sends a message of an answer. The request's own Respond, called when its handler has
// returned, keeps an error where NATS reads it at the same time.
func (c *Server) send(q micro.Request, data []byte, header nats.Header) error {
	if q.Reply() == "" {
		return nats.ErrMsgNoReply
	}
	return c.Conn.PublishMsg(&nats.Msg{Subject: q.Reply(), Header: header, Data: data})
}

// maxPartHeader is the room in a message that is left to the header of a part.
const maxPartHeader = 256
