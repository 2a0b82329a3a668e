package command

import (
	"context"
	"errors"
	"slices"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// checkOwners refuses a release that holds another app's service. That nobody has one yet
// must not be old news.
func (c *planner) checkOwners(ctx context.Context, r rollout.Release) error {
	if slices.ContainsFunc(r.Touches(), func(service string) bool { return c.Ledger.Owner(service) == "" }) {
		if err := c.Recorder.CatchUp(ctx); err != nil {
			return err
		}
	}
	for _, service := range r.Touches() {
		if owner := c.Ledger.Owner(service); owner != "" && owner != r.App {
			return refuse(api.CodeInvalid, "choose another name for the service", "service %s belongs to app %s in this environment", service, owner)
		}
	}
	return nil
}

// live finds the rollout by which this very release is live already: the last one that did
// something for it. A release without steps
// of its own does not need to know.
func (c *planner) live(ctx context.Context, r rollout.Release, book *ledger.Book) (*rollout.Ran, error) {
	if len(r.Workflow) == 0 && !r.Approvals.Required {
		return nil, nil
	}
	var first *rollout.Ran // of those in a row that brought this very release
	for _, v := range slices.Backward(book.Versions()) {
		if v.Void != "" {
			continue
		}
		if v.Version != r.Version {
			break
		}
		found, err := c.Journal.Load(ctx, r.App, v.Rollout)
		if errors.Is(err, rollout.ErrNotFound) || err == nil && found.State.Release.Digest != r.Digest {
			break // its journal may have been dropped
		}
		if err != nil {
			return nil, err
		}
		first = &rollout.Ran{Rollout: v.Rollout, At: v.At}
		if slices.ContainsFunc(found.State.Steps, func(step *rollout.Step) bool { return step.Attempt > 0 && step.Kind != rollout.Traffic }) {
			break // it has done more than to look
		}
	}
	return first, nil
}

// facts collects what a plan of r depends on.
func (c *planner) facts(ctx context.Context, r rollout.Release) (rollout.Facts, error) {
	book, err := c.Ledger.Book(ctx, r.App)
	if err != nil {
		return rollout.Facts{}, err
	}
	f := rollout.Facts{Ran: book.Ran, Routes: make(map[string]rollout.Replace)}
	for _, service := range r.Touches() {
		route, err := c.Gate.Route(ctx, service)
		if err != nil {
			return f, err
		}
		f.Routes[service] = rollout.Replace{Revision: route.Revision, Online: route.Online()}
	}
	if f.Live, err = c.live(ctx, r, book); err != nil {
		return f, err
	}
	f.Unanswered, err = c.unanswered(ctx, r.App)
	return f, err
}

// unanswered lists the attempts of an app's scripts that may be at work, although their rollout
// has ended.
func (c *planner) unanswered(ctx context.Context, app string) ([]rollout.AttemptID, error) {
	newest := c.Ledger.Newest(app)
	if newest == "" {
		return nil, nil
	}
	if r, open := c.View.Newest(newest); open {
		return r.State.LeftBehind(), nil
	}
	if left, known := c.View.LeftBehind(app, newest); known {
		return left, nil
	}
	r, err := c.Journal.Load(ctx, app, newest)
	if errors.Is(err, rollout.ErrNotFound) {
		return nil, nil // it was dropped, long after its end
	}
	return r.State.LeftBehind(), err
}
