package command

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// planInputs are the facts that a plan is made on.
type planInputs struct {
	basis  rollout.Basis
	book   *ledger.Book          // as it will be when failed rollouts have given way
	routes map[string]gate.Route // of the release's services, as they are
	keep   map[string][]string   // by service: versions that stay online
}

// planInputs finds out what a plan of r depends on once the failed rollouts have given way to
// the rollout id, as they do before it begins: what has prepared their versions counts no
// more, and the routes that they may still write are written anew, on its behalf.
func (c *planner) planInputs(ctx context.Context, r rollout.Release, until protocol.Phase, id string, failed []journal.Record) (planInputs, error) {
	g := planInputs{routes: make(map[string]gate.Route), keep: make(map[string][]string)}
	var err error
	if g.book, err = c.Ledger.Book(ctx, r.App); err != nil {
		return g, err
	}
	taken := make(map[string]rollout.Step)
	for _, f := range failed {
		ended, err := f.State.Apply(rollout.Event{Type: rollout.Replaced, At: f.State.Ended})
		if err != nil {
			return g, err
		}
		g.book = g.book.After(ended)
		for _, step := range toTake(f.State) {
			taken[step.Name] = step
		}
	}
	facts := rollout.Facts{Ran: g.book.Ran, Routes: make(map[string]rollout.Replace)}
	for _, service := range r.Touches() {
		route, err := c.Gate.Route(ctx, service)
		if err != nil {
			return g, err
		}
		found := rollout.Replace{Revision: route.Revision, Online: route.Online()}
		if step, yes := taken[service]; yes && !route.Settled() {
			found.Online = step.Move.Replaces.Online
		}
		g.routes[service], facts.Routes[service] = route, found
	}
	for _, s := range r.Services {
		g.keep[s.Name] = s.KeepOnline
	}
	if facts.Live, err = c.live(ctx, r, g.book); err != nil {
		return g, err
	}
	g.basis = rollout.NewBasis(r, facts)
	g.basis.Until = until
	for i := range g.basis.Routes {
		found := &g.basis.Routes[i]
		found.Rollout = g.routes[found.Service].Rollout
		if _, yes := taken[found.Service]; yes || id != "" && found.Rollout == id {
			found.Revision, found.Rollout = 0, ""
		}
	}
	return g, nil
}

// toTake lists the steps of a failed rollout whose routes it may still write.
func toTake(s rollout.State) []rollout.Step {
	var all []rollout.Step
	for _, step := range s.All() {
		if step.Kind == rollout.Traffic && step.Status != rollout.StepDone {
			all = append(all, step)
		}
	}
	return all
}

// live is the version of the app that was completed last, and not taken backward since.
func (g planInputs) live() string {
	for _, v := range slices.Backward(g.book.Versions()) {
		if v.Void == "" {
			return v.Version
		}
	}
	return ""
}

// unchanged reports whether a step finds the traffic as it would leave it.
func (g planInputs) unchanged(step rollout.Step) bool {
	route := g.routes[step.Name]
	if step.Kind != rollout.Traffic || step.Move.Drain || !route.Settled() || route.Maintenance != nil {
		return false
	}
	online := route.Online()
	return slices.Contains(online, step.Version) && !slices.ContainsFunc(online, func(v string) bool {
		return v != step.Version && !slices.Contains(g.keep[step.Name], v)
	})
}

// checkPlanned checks what a deploy says of the plan that it is held to.
func checkPlanned(q api.DeployRequest) error {
	switch {
	case q.Plan == "":
		return nil
	case !rollout.IsPlanID(q.Plan):
		return refuse(api.CodeInvalid, "golive plan tells it", "%q is no id of a plan, nor 12 digits or more of one", q.Plan)
	case q.Queue || q.Replace:
		return refuse(api.CodeInvalid, "deploy it without a plan, or when nothing is under way", "a rollout that waits for another one, or replaces it, cannot be held to a plan made before")
	}
	return nil
}

// checkPlan refuses a deploy whose plan is not the one that it is held to: the one that is
// made on these facts, when the failed rollouts have given way.
func (c *planner) checkPlan(ctx context.Context, q api.DeployRequest, facts rollout.Facts, failed []journal.Record) error {
	if q.Plan == "" {
		return nil
	}
	g, err := c.planInputs(ctx, q.Release, q.Phase, q.Rollout, failed)
	if err != nil {
		return err
	}
	for service, route := range g.routes {
		if facts.Routes[service].Revision != route.Revision {
			return rollout.ErrConflict // it is being written: look again
		}
	}
	now := g.basis.Digest()
	if strings.HasPrefix(now, q.Plan) {
		return nil
	}
	message := fmt.Sprintf("plan %s does not hold any more: for %s %s it is plan %s now",
		q.Plan[:rollout.ShortPlan], q.Release.App, q.Release.Version, now[:rollout.ShortPlan])
	hint := "see it with golive plan, or go on with it: golive deploy --plan " + now[:rollout.ShortPlan]
	if q.DependsOn == nil {
		return refuse(api.CodePlanChanged, hint+"\nkept in a file, a plan tells what has changed: golive plan --out FILE, golive deploy --plan FILE", "%s", message)
	}
	changes := q.DependsOn.Changes(g.basis)
	if len(changes) == 0 {
		changes = []string{"no step is another: the plan was made by another version of golive, or changed in its file"}
	}
	return refuse(api.CodePlanChanged, hint, "%s\n%s", message, strings.Join(changes, "\n"))
}
