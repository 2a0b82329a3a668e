package orchestrator

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/micro"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// serveAPI answers the commands, as NATS micro service endpoints.
func (o *Orchestrator) serveAPI(ctx context.Context) error {
	service, err := micro.AddService(o.nc, micro.Config{
		Name: "golive", Version: o.cfg.Version, Description: "brings new versions of apps live", QueueGroup: "golive",
	})
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	var tasks tasks
	defer tasks.dismiss()
	defer func() { _ = service.Stop() }() // the connection may be gone
	endpoints := map[string]endpoint{
		"deploy": answer(ctx, o, &tasks, o.deploy),
		"plan":   answer(ctx, o, &tasks, o.planOf),
		"retry":  answer(ctx, o, &tasks, o.retry),
		"abort":  answer(ctx, o, &tasks, o.abort),
		"pause":  answer(ctx, o, &tasks, o.pause),
		"resume": answer(ctx, o, &tasks, o.resume),
		"mark":   answer(ctx, o, &tasks, o.mark),
		"pace":   answer(ctx, o, &tasks, o.pace),

		"approve": answer(ctx, o, &tasks, o.approve),
		"reject":  answer(ctx, o, &tasks, o.reject),
		"agents":  answer(ctx, o, &tasks, o.agents),
		"hosts":   answer(ctx, o, &tasks, o.hosts),

		"backward": answer(ctx, o, &tasks, o.backward),
		"show":     answer(ctx, o, &tasks, o.show),
		"list":     answer(ctx, o, &tasks, o.list),
		"status":   answer(ctx, o, &tasks, o.status),
		"routes":   answer(ctx, o, &tasks, o.routes),
		"ledger":   answer(ctx, o, &tasks, o.ledger),
		"records":  answer(ctx, o, &tasks, o.listRecords),
		"version":  answer(ctx, o, &tasks, o.version),
	}
	for name, handler := range endpoints {
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
	if err := o.nc.FlushTimeout(flushTimeout); err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	close(o.ready)
	<-ctx.Done()
	return nil
}

// answer makes an endpoint of a function from a request to its result. NATS calls an
// endpoint for one request after the other; no request waits for another.
func answer[In, Out any](ctx context.Context, o *Orchestrator, c *tasks, f func(context.Context, In) (Out, error)) endpoint {
	_, personal := any(new(In)).(api.Personal)
	return endpoint{personal: personal, Handler: micro.HandlerFunc(func(q micro.Request) {
		c.do(func() {
			out, err := result(ctx, o, q, f)
			if err != nil {
				out, err = json.Marshal(map[string]*protocol.ServiceError{"error": describe(err)})
			}
			if err == nil {
				err = respond(q, out, o.nc.MaxPayload())
			}
			if err != nil {
				o.log.Warn("answer of the API not sent", zap.String("endpoint", q.Subject()), zap.Error(err))
			}
		})
	})}
}

// endpoint answers a command.
type endpoint struct {
	micro.Handler
	personal bool // it matters who asks
}

// result does a command on what is known when it is asked for.
func result[In, Out any](ctx context.Context, o *Orchestrator, q micro.Request, f func(context.Context, In) (Out, error)) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, api.Timeout)
	defer cancel()
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
	if err := known(&in, q.Subject()); err != nil {
		return nil, err
	}
	if _, deploys := any(in).(api.DeployRequest); !deploys { // that finds out itself what is newest of its app
		if err := o.catchUp(ctx); err != nil {
			return nil, err
		}
	}
	out, err := f(ctx, in)
	if err != nil {
		return nil, err
	}
	data, err := json.Marshal(out)
	if most := o.nc.MaxPayload(); err == nil && int64(len(data)) > most && q.Headers().Get(protocol.HeaderParts) == "" {
		return nil, refuse(api.CodeInvalid, "ask for less at a time, such as one app or, with a limit, a page; or take the answer in parts: send the header "+protocol.HeaderParts,
			"the answer is %d bytes long, the bus takes at most %d in a message", len(data), most)
	}
	return data, err
}

// respond answers in as many messages as it takes, each of which says which part it is.
func respond(q micro.Request, answer []byte, most int64) error {
	size := int(most) - maxPartHeader
	if len(answer) <= int(most) || size <= 0 {
		return q.Respond(answer)
	}
	parts := (len(answer) + size - 1) / size
	for n := range parts {
		part := answer[n*size : min((n+1)*size, len(answer))]
		if err := q.Respond(part, micro.WithHeaders(micro.Headers{protocol.HeaderParts: {fmt.Sprintf("%d/%d", n+1, parts)}})); err != nil {
			return err
		}
	}
	return nil
}

// maxPartHeader is the room in a message that is left to the header of a part.
const maxPartHeader = 256

func refuse(code, hint, format string, args ...any) error {
	return &protocol.ServiceError{Code: code, Message: fmt.Sprintf(format, args...), Hint: hint}
}

func describe(err error) *protocol.ServiceError {
	var given *protocol.ServiceError
	var phase *rollout.PhaseError
	switch {
	case errors.As(err, &given):
		return given
	case errors.Is(err, rollout.ErrNotFound):
		return &protocol.ServiceError{Code: api.CodeNotFound, Message: err.Error(), Hint: "golive history lists the rollouts"}
	case errors.Is(err, rollout.ErrTooLarge):
		return &protocol.ServiceError{Code: api.CodeTooLarge, Message: err.Error(), Hint: "make the release smaller, or raise max_payload of the bus"}
	case errors.Is(err, rollout.ErrUnknown):
		return &protocol.ServiceError{Code: api.CodeUnavailable, Message: err.Error(), Hint: "a newer golive is at work here: bring all of them up to its version, and try again"}
	case errors.Is(err, rollout.ErrNotAllowed):
		return &protocol.ServiceError{Code: api.CodeNotAllowed, Message: strings.TrimPrefix(err.Error(), rollout.ErrNotAllowed.Error()+": "), Hint: "golive show ROLLOUT tells who may"}
	case errors.As(err, &phase):
		return &protocol.ServiceError{Code: api.CodePhase, Message: err.Error(), Hint: phaseHint(phase)}
	case errors.Is(err, rollout.ErrStale), errors.Is(err, rollout.ErrConflict):
		return &protocol.ServiceError{Code: api.CodeConflict, Message: err.Error(), Hint: "golive show ROLLOUT tells how it stands"}
	}
	return &protocol.ServiceError{Code: api.CodeUnavailable, Message: err.Error(), Hint: "is JetStream healthy? try again"}
}

func (o *Orchestrator) viewOf(r journal.Record) api.RolloutView {
	v := api.RolloutView{State: r.State, Sequence: r.Sequence, Outages: r.State.Outages(), Waits: r.State.Waits()}
	v.Downtime = rollout.Duration(r.State.Downtime(time.Now().UTC()).Round(time.Millisecond))
	for _, step := range r.State.Running() {
		if v.Observations == nil {
			v.Observations = make(map[string]api.Observation)
		}
		v.Observations[step.ID] = o.view.of(r.State.ID, step.ID, step.Attempt).Observation
	}
	return v
}

// find resolves an id or the beginning of one.
func (o *Orchestrator) find(ctx context.Context, prefix string) (journal.Ref, error) {
	if prefix == "" {
		return journal.Ref{}, refuse(api.CodeInvalid, "golive history lists the rollouts", "no rollout is named")
	}
	found, err := o.journal.Find(ctx, prefix, 3)
	if err != nil {
		return journal.Ref{}, err
	}
	switch len(found) {
	case 0:
		return journal.Ref{}, refuse(api.CodeNotFound, "golive history lists the rollouts", "there is no rollout %s", prefix)
	case 1:
		return found[0], nil
	}
	return journal.Ref{}, refuse(api.CodeAmbiguous, "give more of its id", "%s is the beginning of several rollouts, such as %s and %s",
		prefix, found[0].ID, found[1].ID)
}

func (o *Orchestrator) show(ctx context.Context, q api.RolloutRequest) (api.RolloutStory, error) {
	ref, err := o.find(ctx, q.Rollout)
	if err != nil {
		return api.RolloutStory{}, err
	}
	records, err := o.journal.History(ctx, ref.App, ref.ID)
	if err != nil {
		return api.RolloutStory{}, err
	}
	story := api.RolloutStory{Events: []api.StoryEvent{}}
	if len(records) == 0 { // dropped meanwhile
		return story, fmt.Errorf("%w: %s", rollout.ErrNotFound, ref.ID)
	}
	story.RolloutView = o.viewOf(records[len(records)-1])
	frame, err := json.Marshal(story)
	if err != nil {
		return story, fmt.Errorf("write rollout %s: %w", ref.ID, err)
	}
	room := o.nc.MaxPayload() - pageFrame - int64(len(frame))
	for i, r := range slices.Backward(records) {
		e := api.StoryEvent{Event: r.State.Event, Sequence: r.Sequence, Status: r.State.Status}
		data, err := json.Marshal(e)
		if err != nil {
			return story, fmt.Errorf("write rollout %s: %w", ref.ID, err)
		}
		if room -= int64(len(data)) + 1; room < 0 {
			story.Earlier = i + 1
			break
		}
		story.Events = append(story.Events, e)
	}
	slices.Reverse(story.Events)
	return story, nil
}

const (
	defaultPage = 20
	maxPage     = 100
	pageFrame   = 1 << 10 // bytes of a page beside its rollouts
)

func (o *Orchestrator) list(ctx context.Context, q api.ListRequest) (api.RolloutList, error) {
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 1 || q.Limit > maxPage {
		return api.RolloutList{}, refuse(api.CodeInvalid, "leave it out for pages of "+strconv.Itoa(defaultPage), "limit is %d, it must be from 1 to %d", q.Limit, maxPage)
	}
	if err := protocol.ValidateName(q.App); q.App != "" && err != nil {
		return api.RolloutList{}, refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
	}
	refs, more, err := o.journal.Page(ctx, q.App, q.Before, q.Limit)
	if err != nil {
		return api.RolloutList{}, err
	}
	page := api.RolloutList{Rollouts: []api.RolloutView{}}
	room := o.nc.MaxPayload() - pageFrame
	for _, ref := range refs {
		r, err := o.journal.Load(ctx, ref.App, ref.ID)
		if errors.Is(err, rollout.ErrNotFound) {
			continue // dropped meanwhile
		}
		if err != nil {
			return api.RolloutList{}, err
		}
		v := o.viewOf(r)
		data, err := json.Marshal(v)
		if err != nil {
			return api.RolloutList{}, fmt.Errorf("write rollout %s: %w", ref.ID, err)
		}
		room -= int64(len(data)) + 1
		if n := len(page.Rollouts); n > 0 && room < 0 {
			more = true
			break
		}
		page.Rollouts = append(page.Rollouts, v)
	}
	if n := len(page.Rollouts); more && n > 0 {
		page.Next = page.Rollouts[n-1].ID
	}
	return page, nil
}

func (o *Orchestrator) routes(ctx context.Context, _ struct{}) ([]api.RouteStatus, error) {
	routes, err := o.gate.Routes(ctx)
	if err != nil {
		return nil, err
	}
	all := []api.RouteStatus{}
	for _, r := range routes {
		instances, err := o.gate.Instances(ctx, r.Service)
		if err != nil {
			return nil, err
		}
		all = append(all, api.RouteStatus{Route: r, Instances: append([]gate.Instance{}, instances...)})
	}
	return all, nil
}

func (o *Orchestrator) ledger(ctx context.Context, q api.LedgerRequest) ([]ledger.Entry, error) {
	if q.Limit < 0 {
		return nil, refuse(api.CodeInvalid, "leave it out for all entries", "limit is %d, it must not be negative", q.Limit)
	}
	entries := []ledger.Entry{}
	for _, app := range o.index.Apps() {
		if q.App != "" && q.App != app {
			continue
		}
		book, err := o.index.Book(ctx, app)
		if err != nil {
			return nil, err
		}
		entries = append(entries, book.Entries()...)
	}
	slices.SortStableFunc(entries, func(a, b ledger.Entry) int { return cmp.Compare(a.Sequence, b.Sequence) })
	if q.Before > 0 {
		entries = slices.DeleteFunc(entries, func(e ledger.Entry) bool { return e.Sequence >= q.Before })
	}
	if q.Limit > 0 && len(entries) > q.Limit {
		entries = entries[len(entries)-q.Limit:]
	}
	return entries, nil
}

func (o *Orchestrator) version(context.Context, struct{}) (api.VersionInfo, error) {
	return api.VersionInfo{Version: o.cfg.Version, Server: o.nc.ConnectedServerVersion()}, nil
}
