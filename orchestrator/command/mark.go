package command

import (
	"context"
	"errors"
	"strings"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// mark records a script as run, without running it.
func (c *interventions) mark(ctx context.Context, q api.MarkRequest) (api.RolloutView, error) {
	script := protocol.Script{Name: q.Name, Version: q.Version, Phase: q.Phase}
	if err := script.Validate(); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "name it like todo-search 0.0.1 offline", "%v", err)
	}
	if strings.TrimSpace(q.Reason) == "" {
		return api.RolloutView{}, refuse(api.CodeInvalid, "say why, with --reason", "a script is marked as run for a reason, and none is given")
	}
	app, err := c.ownerOf(q.App, script)
	if err != nil {
		return api.RolloutView{}, err
	}
	id, err := uuid.NewV7()
	if err != nil {
		return api.RolloutView{}, err
	}
	for {
		after, err := c.Recorder.AppNow(ctx, app)
		if err != nil {
			return api.RolloutView{}, err
		}
		for _, r := range c.View.OfApp(app) {
			if step, known := r.State.Step(script.Step()); known && step.ScriptID() == script && step.Status == rollout.StepRunning {
				return api.RolloutView{}, refuse(api.CodeConflict, "golive abort "+r.State.ID+" stops it", "the script %s is running, in rollout %s", script, r.State.ID)
			}
		}
		state, err := rollout.MarkRun(id.String(), rollout.Clip(q.By), rollout.Clip(q.Reason), c.Recorder.Now(), app, script)
		if err != nil {
			return api.RolloutView{}, err
		}
		r, err := c.Recorder.Keep(ctx, state, after, c.Journal.Begin)
		if errors.Is(err, rollout.ErrConflict) {
			continue
		}
		if err != nil {
			return api.RolloutView{}, err
		}
		return c.viewOf(r), nil
	}
}

// ownerOf is the app that a script belongs to.
func (c *interventions) ownerOf(app string, script protocol.Script) (string, error) {
	owner := c.Ledger.Owner(script.Name)
	if script.Phase == protocol.Setup {
		owner = script.Name
	}
	switch {
	case owner == "" && app == "":
		return "", refuse(api.CodeInvalid, "name its app with --app", "service %s has not been rolled out here: it is not known to which app it belongs", script.Name)
	case owner == "" || owner == app || app == "":
		if owner == "" {
			owner = app
		}
		if err := protocol.ValidateName(owner); err != nil {
			return "", refuse(api.CodeInvalid, "golive status lists the apps", "app: %v", err)
		}
		return owner, nil
	}
	return "", refuse(api.CodeInvalid, "leave --app out", "%s belongs to app %s, not to %s", script.Name, owner, app)
}
