package command

import (
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// stepOf finds a step of a rollout, or says which there are.
func stepOf(s rollout.State, id string) (rollout.Step, error) {
	step, known := s.Step(id)
	switch {
	case known:
		return step, nil
	case len(s.Steps) == 0:
		return step, refuse(api.CodeNotFound, "golive show "+s.ID+" tells what it waits for", "rollout %s is %s: it has no steps yet", s.ID, s.Status)
	}
	return step, refuse(api.CodeNotFound, "its steps are "+named(steps(s)), "rollout %s has no step %q", s.ID, id)
}

// scriptOf is stepOf for a step that runs a script.
func scriptOf(s rollout.State, id string) (rollout.Step, error) {
	step, err := stepOf(s, id)
	if err != nil || step.Kind == rollout.Migration {
		return step, err
	}
	hint := "none of its steps runs one"
	if scripts := scriptsOf(s); len(scripts) > 0 {
		hint = "its scripts are " + named(scripts)
	}
	return step, refuse(api.CodeInvalid, hint, "step %s of rollout %s runs no script", id, s.ID)
}

func steps(s rollout.State) []rollout.Step {
	all := make([]rollout.Step, 0, len(s.Steps))
	for _, step := range s.All() {
		all = append(all, step)
	}
	return all
}

func scriptsOf(s rollout.State) []rollout.Step {
	var scripts []rollout.Step
	for _, step := range s.All() {
		if step.Kind == rollout.Migration {
			scripts = append(scripts, step)
		}
	}
	return scripts
}

// named lists the ids of steps.
func named(steps []rollout.Step) string {
	ids := make([]string, len(steps))
	for i, step := range steps {
		ids[i] = step.ID
	}
	return strings.Join(ids, ", ")
}
