package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// queries tell how things are. They change nothing.
type queries struct{ base }

func (c *queries) show(ctx context.Context, q api.RolloutRequest) (api.RolloutStory, error) {
	ref, err := c.find(ctx, q.Rollout)
	if err != nil {
		return api.RolloutStory{}, err
	}
	records, err := c.Journal.History(ctx, ref.App, ref.ID)
	if err != nil {
		return api.RolloutStory{}, err
	}
	story := api.RolloutStory{Events: []api.StoryEvent{}}
	if len(records) == 0 { // dropped meanwhile
		return story, fmt.Errorf("%w: %s", rollout.ErrNotFound, ref.ID)
	}
	story.RolloutView = c.viewOf(records[len(records)-1])
	frame, err := json.Marshal(story)
	if err != nil {
		return story, fmt.Errorf("write rollout %s: %w", ref.ID, err)
	}
	room := c.Conn.MaxPayload() - pageFrame - int64(len(frame))
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

func (c *queries) list(ctx context.Context, q api.ListRequest) (api.RolloutList, error) {
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 1 || q.Limit > maxPage {
		return api.RolloutList{}, refuse(api.CodeInvalid, "leave it out for pages of "+strconv.Itoa(defaultPage), "limit is %d, it must be from 1 to %d", q.Limit, maxPage)
	}
	if err := protocol.ValidateName(q.App); q.App != "" && err != nil {
		return api.RolloutList{}, refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
	}
	before, err := c.wholeID(ctx, q.Before)
	if err != nil {
		return api.RolloutList{}, err
	}
	refs, more, err := c.Journal.Page(ctx, q.App, before, q.Limit)
	if err != nil {
		return api.RolloutList{}, err
	}
	page := api.RolloutList{Rollouts: []api.RolloutView{}}
	room := c.Conn.MaxPayload() - pageFrame
	for _, ref := range refs {
		r, err := c.Journal.Load(ctx, ref.App, ref.ID)
		if errors.Is(err, rollout.ErrNotFound) {
			continue // dropped meanwhile
		}
		if err != nil {
			return api.RolloutList{}, err
		}
		v := c.viewOf(r)
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

// wholeID is the id that begins so. A whole one need not be there any more: the rollout may have
// been dropped since the page before was read.
func (c *queries) wholeID(ctx context.Context, prefix string) (string, error) {
	if id, err := uuid.Parse(prefix); prefix == "" || err == nil && id.String() == prefix {
		return prefix, nil
	}
	ref, err := c.find(ctx, prefix)
	return ref.ID, err
}

func (c *queries) routes(ctx context.Context, _ struct{}) ([]api.RouteStatus, error) {
	routes, err := c.Gate.Routes(ctx)
	if err != nil {
		return nil, err
	}
	all := []api.RouteStatus{}
	bus := c.busAlarms()
	for _, r := range routes {
		instances, err := c.Gate.Instances(ctx, r.Service)
		if err != nil {
			return nil, err
		}
		newest, err := c.newest(ctx, r.Service)
		if err != nil {
			return nil, err
		}
		beyond, err := c.beyond(ctx, r.Service, instances)
		if err != nil {
			return nil, err
		}
		all = append(all, api.RouteStatus{
			Route: r, Instances: append([]gate.Instance{}, instances...),
			Alarms: slices.Concat(bus, alarms(newest, r, instances), beyond),
		})
	}
	return all, nil
}

func (c *queries) ledger(ctx context.Context, q api.LedgerRequest) ([]ledger.Entry, error) {
	if q.Limit < 0 {
		return nil, refuse(api.CodeInvalid, "leave it out for all entries", "limit is %d, it must not be negative", q.Limit)
	}
	entries := []ledger.Entry{}
	for _, app := range c.Ledger.Apps() {
		if q.App != "" && q.App != app {
			continue
		}
		book, err := c.Ledger.Book(ctx, app)
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

func (c *queries) version(context.Context, struct{}) (api.VersionInfo, error) {
	return api.VersionInfo{Version: c.Version, Server: c.Conn.ConnectedServerVersion(), Skipped: c.Journal.Skipped(), Clocks: c.Clocks.Differ()}, nil
}

// agents lists the agents that are alive.
func (c *queries) agents(ctx context.Context, _ struct{}) ([]protocol.Agent, error) {
	all, err := c.Fleet.Agents(ctx)
	if all == nil {
		all = []protocol.Agent{}
	}
	return all, err
}

// hosts tells what agents have done for a step, with more of what they wrote than the
// rollout's state holds.
func (c *queries) hosts(ctx context.Context, q api.HostsRequest) ([]protocol.Host, error) {
	ref, err := c.find(ctx, q.Rollout)
	if err != nil {
		return nil, err
	}
	r, err := c.Journal.Load(ctx, ref.App, ref.ID)
	if err != nil {
		return nil, err
	}
	step, err := stepOf(r.State, q.Step)
	if err != nil {
		return nil, err
	}
	if step.Work == nil {
		return nil, refuse(api.CodeInvalid, "golive show "+ref.ID+" lists its steps", "step %s is not done by agents", step.ID)
	}
	return c.Fleet.Hosts(ctx, ref.ID, step)
}
