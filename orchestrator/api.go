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

	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Codes of errors of the API. They are stable.
const (
	CodeInvalid     = "invalid"      // the request cannot be understood or is not allowed at all
	CodeNotFound    = "not_found"    // there is no such thing
	CodeAmbiguous   = "ambiguous"    // a short id fits several rollouts
	CodeRolloutOpen = "rollout_open" // another rollout of the app is under way
	CodeConflict    = "conflict"     // the state of the thing does not allow it
	CodeUnavailable = "unavailable"  // the bus or its storage does not answer

	CodeConfirm     = "confirm"       // it may do harm, and has to be asked for with force
	CodeNoRevert    = "no_revert"     // scripts that have run have no revert script, or nobody listens for it
	CodeOlder       = "older"         // the version is older than what has run
	CodeMustNotSkip = "must_not_skip" // a version in between has to be rolled out first
	CodePlanChanged = "plan_changed"  // what the plan depends on has changed since it was made
	CodeNotAllowed  = "not_allowed"   // somebody else may say so, or it is not known who does
	CodeRequires    = "requires"      // another version has to be completed first
	CodeTooLarge    = "too_large"     // it does not fit into a message of this bus
	CodePhase       = "phase"         // the release has no such phase, or another one has to run first
)

// DeployRequest asks for a rollout. The id is the client's, a UUID v7, so that a
// repeated request finds its own rollout.
type DeployRequest struct {
	Rollout string          `json:"rollout"`
	Release rollout.Release `json:"release"`
	By      string          `json:"by,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Queue   bool            `json:"queue,omitempty"`   // wait for a rollout of the app that is under way, instead of being refused
	Replace bool            `json:"replace,omitempty"` // abort a rollout of the app that is under way, and those in its queue, instead of being refused

	AllowOlder bool `json:"allowOlder,omitempty"` // bring a version older than what has run

	Needs []string `json:"needs,omitempty"` // what the request relies on, of [Features]: an orchestrator that does not know one refuses it

	// Phase is where the rollout stops, until the same release is deployed again; empty: it
	// goes to its end. A rollout that has stopped so is gone on with.
	Phase protocol.Phase `json:"phase,omitempty"`

	Plan      string         `json:"plan,omitempty"`      // id of a plan, or at least 12 digits of it: be refused if it is another one by now
	DependsOn *rollout.Basis `json:"dependsOn,omitempty"` // of that plan; the refusal says then what has changed

	known bool // the bus says who By is
}

// ApproveRequest answers the question of an approval step with yes, or confirms one item of
// its checklist.
type ApproveRequest struct {
	StepRequest
	Item int `json:"item,omitempty"` // from 1; 0: approve the whole
}

// AbortRequest asks for a rollout to be aborted: the version before serves again, data stays
// as it is.
type AbortRequest struct {
	RolloutRequest
	Force bool `json:"force,omitempty"` // also where offline scripts have begun to change data that the version before works on, or scripts that were told to stop do not say that they have
}

// StepRequest names a rollout or, with a step's id, one of its steps.
type StepRequest struct {
	RolloutRequest
	Step string `json:"step,omitempty"` // empty: the whole rollout
}

// PaceRequest asks for the script of a step to work faster, or slower. What it does not
// name stays as it is.
type PaceRequest struct {
	Rollout  string   `json:"rollout"` // id or any unique beginning of it
	Step     string   `json:"step"`
	Rate     *float64 `json:"rate,omitempty"`     // records a second; 0: as fast as it can
	InFlight int      `json:"inFlight,omitempty"` // batches under way at the same time; 0: not named
	By       string   `json:"by,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// RetryRequest asks for the failed steps of a rollout to be tried again or, of one that is
// completed, the records that its scripts have put aside.
type RetryRequest struct {
	Rollout       string `json:"rollout"` // id or any unique beginning of it
	By            string `json:"by,omitempty"`
	Reason        string `json:"reason,omitempty"`
	FailedRecords bool   `json:"failedRecords,omitempty"`
	Step          string `json:"step,omitempty"` // with FailedRecords: of this step alone; empty: of all
}

// RecordsRequest asks for a page of the records that a rollout's scripts have put aside, in
// the order in which they did so.
type RecordsRequest struct {
	Rollout string `json:"rollout"`         // id or any unique beginning of it
	Step    string `json:"step,omitempty"`  // empty: of all steps
	After   string `json:"after,omitempty"` // the Next of the page before
	Limit   int    `json:"limit,omitempty"` // 1 to 1000; 0: 100. A page may hold fewer
}

// RecordsPage is a page of records that were put aside.
type RecordsPage struct {
	Records []protocol.FailedRecord `json:"records"`
	Next    string                  `json:"next,omitempty"` // to ask for the next page with; empty: this is the last
}

// BackwardRequest asks for an app to go back to a version that was live before.
type BackwardRequest struct {
	App         string `json:"app"`
	Rollout     string `json:"rollout,omitempty"`     // that is to be undone first, by its id, which makes repeating the request safe; empty: the last one
	To          string `json:"to,omitempty"`          // version of the app; empty: the one before
	SkipMissing bool   `json:"skipMissing,omitempty"` // leave as it is what scripts without a revert script have done
	By          string `json:"by,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

// MarkRequest asks for a script to be recorded as run, without running it.
type MarkRequest struct {
	App     string         `json:"app,omitempty"` // empty: the one that the service belongs to
	Name    string         `json:"name"`          // of the service; of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
	By      string         `json:"by,omitempty"`
	Reason  string         `json:"reason"` // required
}

// RolloutRequest names a rollout by its id or any unique beginning of it.
type RolloutRequest struct {
	Rollout string `json:"rollout"`
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`

	known bool // the bus says who By is
}

// AppRequest names an app; empty means all.
type AppRequest struct {
	App string `json:"app,omitempty"`
}

// HostsRequest asks what agents have done for a rollout.
type HostsRequest struct {
	Rollout string `json:"rollout"` // id or any unique beginning of it
	Step    string `json:"step"`
}

// LedgerRequest asks for what has run, oldest first.
type LedgerRequest struct {
	App    string `json:"app,omitempty"`    // empty: of all apps
	Limit  int    `json:"limit,omitempty"`  // only so many, the newest ones; 0: all
	Before uint64 `json:"before,omitempty"` // only those of events before this sequence: the page before an entry; 0: all
}

// ListRequest asks for a page of rollouts, newest first. A page holds fewer than the
// limit where they would not fit into one message.
type ListRequest struct {
	App    string `json:"app,omitempty"`    // empty: of all apps
	Limit  int    `json:"limit,omitempty"`  // 1 to 100; 0: 20
	Before string `json:"before,omitempty"` // a rollout's id: the page of those older than it
}

// RolloutView is a rollout as it stands: what the journal says, and what has been
// observed of its running steps.
type RolloutView struct {
	rollout.State
	Sequence  uint64              `json:"sequence"`
	Sightings map[string]Sighting `json:"sightings,omitempty"` // by step
	Outages   []rollout.Outage    `json:"outages,omitempty"`   // services that were, or are, under maintenance
	Downtime  rollout.Duration    `json:"downtime,omitempty"`  // of the app, so far
	Waits     []string            `json:"waits,omitempty"`     // what it waits for, beside the steps that run
}

// RolloutStory is a rollout with everything that has happened to it, oldest first; where that
// would not fit into one message, with as much as does of what has happened last.
type RolloutStory struct {
	RolloutView
	Events  []StoryEvent `json:"events"`
	Earlier int          `json:"earlier,omitempty"` // events that came before those, and are left out
}

// StoryEvent is one event of a story.
type StoryEvent struct {
	rollout.Event
	Sequence uint64         `json:"sequence"`
	Status   rollout.Status `json:"status"` // of the rollout after it
}

// RolloutList is a page of rollouts.
type RolloutList struct {
	Rollouts []RolloutView `json:"rollouts"`
	Next     string        `json:"next,omitempty"` // Before of the next page; empty: this is the last
}

// AppStatus says what of an app is online and what it is doing.
type AppStatus struct {
	App      string          `json:"app"`
	Version  string          `json:"version"` // of the newest rollout
	Rollout  RolloutView     `json:"rollout"` // the newest
	Services []ServiceStatus `json:"services"`
	Changed  bool            `json:"changed,omitempty"` // the app's own setup script has changed since it ran
	Queued   []RolloutView   `json:"queued,omitempty"`  // rollouts that wait for this one
}

// ServiceStatus says what of a service is online.
type ServiceStatus struct {
	Service string   `json:"service"`
	Version string   `json:"version"`           // that the newest rollout brings
	Online  []string `json:"online"`            // versions that serve, or would if it were not for the maintenance
	Alive   int      `json:"alive"`             // instances of that version
	NotRun  []string `json:"notRun,omitempty"`  // phases whose scripts have not run
	Changed []string `json:"changed,omitempty"` // phases whose scripts have changed since they ran, as their setup service tells

	Maintenance *protocol.Maintenance `json:"maintenance,omitempty"`
}

// RouteStatus is a route with the instances that act on it.
type RouteStatus struct {
	gate.Route
	Instances []gate.Instance `json:"instances"`
}

// VersionInfo is what the orchestrator says of itself.
type VersionInfo struct {
	Version string `json:"version"`
	Server  string `json:"server"` // version of the NATS server
}

// apiTimeout bounds one command: longer than an election of the cluster.
const apiTimeout = 20 * time.Second

// serveAPI answers the commands, as NATS micro service endpoints.
func (o *Orchestrator) serveAPI(ctx context.Context) error {
	service, err := micro.AddService(o.nc, micro.Config{
		Name: "golive", Version: o.cfg.Version, Description: "brings new versions of apps live", QueueGroup: "golive",
	})
	if err != nil {
		return fmt.Errorf("serve the API: %w", err)
	}
	var crew crew
	defer crew.dismiss()
	defer func() { _ = service.Stop() }() // the connection may be gone
	endpoints := map[string]endpoint{
		"deploy": answer(ctx, o, &crew, o.deploy),
		"plan":   answer(ctx, o, &crew, o.foretell),
		"retry":  answer(ctx, o, &crew, o.retry),
		"abort":  answer(ctx, o, &crew, o.abort),
		"pause":  answer(ctx, o, &crew, o.pause),
		"resume": answer(ctx, o, &crew, o.resume),
		"mark":   answer(ctx, o, &crew, o.mark),
		"pace":   answer(ctx, o, &crew, o.pace),

		"approve": answer(ctx, o, &crew, o.approve),
		"reject":  answer(ctx, o, &crew, o.reject),
		"agents":  answer(ctx, o, &crew, o.agents),
		"hosts":   answer(ctx, o, &crew, o.hosts),

		"backward": answer(ctx, o, &crew, o.backward),
		"show":     answer(ctx, o, &crew, o.show),
		"list":     answer(ctx, o, &crew, o.list),
		"status":   answer(ctx, o, &crew, o.status),
		"routes":   answer(ctx, o, &crew, o.routes),
		"ledger":   answer(ctx, o, &crew, o.ledger),
		"records":  answer(ctx, o, &crew, o.listRecords),
		"version":  answer(ctx, o, &crew, o.version),
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
// endpoint for one request after the other; the crew lets none wait for another.
func answer[In, Out any](ctx context.Context, o *Orchestrator, c *crew, f func(context.Context, In) (Out, error)) endpoint {
	_, personal := any(new(In)).(person)
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
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
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
	if _, deploys := any(in).(DeployRequest); !deploys { // that finds out itself what is newest of its app
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
		return nil, refuse(CodeInvalid, "ask for less at a time, such as one app or, with a limit, a page; or take the answer in parts: send the header "+protocol.HeaderParts,
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
		return &protocol.ServiceError{Code: CodeNotFound, Message: err.Error(), Hint: "golive history lists the rollouts"}
	case errors.Is(err, rollout.ErrTooLarge):
		return &protocol.ServiceError{Code: CodeTooLarge, Message: err.Error(), Hint: "make the release smaller, or raise max_payload of the bus"}
	case errors.Is(err, rollout.ErrUnknown):
		return &protocol.ServiceError{Code: CodeUnavailable, Message: err.Error(), Hint: "a newer golive is at work here: bring all of them up to its version, and try again"}
	case errors.Is(err, rollout.ErrNotAllowed):
		return &protocol.ServiceError{Code: CodeNotAllowed, Message: strings.TrimPrefix(err.Error(), rollout.ErrNotAllowed.Error()+": "), Hint: "golive show ROLLOUT tells who may"}
	case errors.As(err, &phase):
		return &protocol.ServiceError{Code: CodePhase, Message: err.Error(), Hint: phaseHint(phase)}
	case errors.Is(err, rollout.ErrStale), errors.Is(err, rollout.ErrConflict):
		return &protocol.ServiceError{Code: CodeConflict, Message: err.Error(), Hint: "golive show ROLLOUT tells how it stands"}
	}
	return &protocol.ServiceError{Code: CodeUnavailable, Message: err.Error(), Hint: "is JetStream healthy? try again"}
}

func (o *Orchestrator) view(r journal.Record) RolloutView {
	v := RolloutView{State: r.State, Sequence: r.Sequence, Outages: r.State.Outages(), Waits: r.State.Waits()}
	v.Downtime = rollout.Duration(r.State.Downtime(time.Now().UTC()).Round(time.Millisecond))
	for _, step := range r.State.Running() {
		if v.Sightings == nil {
			v.Sightings = make(map[string]Sighting)
		}
		v.Sightings[step.ID] = o.sight.of(r.State.ID, step.ID, step.Attempt)
	}
	return v
}

// find resolves an id or the beginning of one.
func (o *Orchestrator) find(ctx context.Context, prefix string) (journal.Ref, error) {
	if prefix == "" {
		return journal.Ref{}, refuse(CodeInvalid, "golive history lists the rollouts", "no rollout is named")
	}
	found, err := o.journal.Find(ctx, prefix, 3)
	if err != nil {
		return journal.Ref{}, err
	}
	switch len(found) {
	case 0:
		return journal.Ref{}, refuse(CodeNotFound, "golive history lists the rollouts", "there is no rollout %s", prefix)
	case 1:
		return found[0], nil
	}
	return journal.Ref{}, refuse(CodeAmbiguous, "give more of its id", "%s is the beginning of several rollouts, such as %s and %s",
		prefix, found[0].ID, found[1].ID)
}

func (o *Orchestrator) show(ctx context.Context, q RolloutRequest) (RolloutStory, error) {
	ref, err := o.find(ctx, q.Rollout)
	if err != nil {
		return RolloutStory{}, err
	}
	records, err := o.journal.History(ctx, ref.App, ref.ID)
	if err != nil {
		return RolloutStory{}, err
	}
	story := RolloutStory{Events: []StoryEvent{}}
	if len(records) == 0 { // dropped meanwhile
		return story, fmt.Errorf("%w: %s", rollout.ErrNotFound, ref.ID)
	}
	story.RolloutView = o.view(records[len(records)-1])
	frame, err := json.Marshal(story)
	if err != nil {
		return story, fmt.Errorf("write rollout %s: %w", ref.ID, err)
	}
	room := o.nc.MaxPayload() - pageFrame - int64(len(frame))
	for i, r := range slices.Backward(records) {
		e := StoryEvent{Event: r.State.Event, Sequence: r.Sequence, Status: r.State.Status}
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

func (o *Orchestrator) list(ctx context.Context, q ListRequest) (RolloutList, error) {
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 1 || q.Limit > maxPage {
		return RolloutList{}, refuse(CodeInvalid, "leave it out for pages of "+strconv.Itoa(defaultPage), "limit is %d, it must be from 1 to %d", q.Limit, maxPage)
	}
	if err := protocol.ValidateName(q.App); q.App != "" && err != nil {
		return RolloutList{}, refuse(CodeInvalid, "golive status lists the apps", "app: %v", err)
	}
	refs, more, err := o.journal.Page(ctx, q.App, q.Before, q.Limit)
	if err != nil {
		return RolloutList{}, err
	}
	page := RolloutList{Rollouts: []RolloutView{}}
	room := o.nc.MaxPayload() - pageFrame
	for _, ref := range refs {
		r, err := o.journal.Load(ctx, ref.App, ref.ID)
		if errors.Is(err, rollout.ErrNotFound) {
			continue // dropped meanwhile
		}
		if err != nil {
			return RolloutList{}, err
		}
		v := o.view(r)
		data, err := json.Marshal(v)
		if err != nil {
			return RolloutList{}, fmt.Errorf("write rollout %s: %w", ref.ID, err)
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

func (o *Orchestrator) routes(ctx context.Context, _ struct{}) ([]RouteStatus, error) {
	routes, err := o.gate.Routes(ctx)
	if err != nil {
		return nil, err
	}
	all := []RouteStatus{}
	for _, r := range routes {
		instances, err := o.gate.Instances(ctx, r.Service)
		if err != nil {
			return nil, err
		}
		all = append(all, RouteStatus{Route: r, Instances: append([]gate.Instance{}, instances...)})
	}
	return all, nil
}

func (o *Orchestrator) ledger(ctx context.Context, q LedgerRequest) ([]ledger.Entry, error) {
	if q.Limit < 0 {
		return nil, refuse(CodeInvalid, "leave it out for all entries", "limit is %d, it must not be negative", q.Limit)
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

func (o *Orchestrator) version(context.Context, struct{}) (VersionInfo, error) {
	return VersionInfo{Version: o.cfg.Version, Server: o.nc.ConnectedServerVersion()}, nil
}
