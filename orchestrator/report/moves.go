package report

import (
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/terminal"
)

// changeTraffic shows a change of a step that moves traffic.
func (l *lines) changeTraffic(step rollout.Step) {
	duration := terminal.Took(step.Ended.Sub(step.Started))
	closing := step.Kind == rollout.Maintenance
	switch {
	case step.Move.Lift:
		l.changeLift(step)
	case step.Move.Drain && step.Status == rollout.StepRunning && !step.Backwards():
		l.say(terminal.Plain, "⇄", "%s: taking the traffic from %s%s", step.ID, found(step), attempt(step))
	case step.Move.Drain && step.Status == rollout.StepDone:
		l.say(terminal.Green, "✓", "%s gets no traffic any more (%s)", found(step), duration)
	case step.Move.Drain && step.Status == rollout.StepFailed && !step.Move.Back:
		l.say(terminal.Red, "✗", "the traffic could not be taken from %s (%s): %s", found(step), duration, step.Error)
	case step.Status == rollout.StepRunning && step.Revert && closing:
		l.say(terminal.Yellow, "⇄", "%s: ending the maintenance of %s", step.ID, found(step))
	case step.Status == rollout.StepRunning && step.Revert:
		l.say(terminal.Yellow, "⇄", "%s: putting %s back", step.ID, found(step))
	case step.Status == rollout.StepReverted:
		l.say(terminal.Green, "✓", "%s: %s is back (%s)", step.ID, found(step), duration)
	case step.Status == rollout.StepRunning && step.Move.Back:
		l.say(terminal.Yellow, "⇄", "%s: %s: putting %s back", step.ID, step.Error, found(step))
	case step.Status == rollout.StepRunning && closing:
		l.say(terminal.Plain, "⇄", "%s: putting %s under maintenance%s", step.ID, found(step), attempt(step))
	case step.Status == rollout.StepRunning:
		l.say(terminal.Plain, "⇄", "%s: bringing %s online%s", step.ID, step.Version, attempt(step))
	case step.Status == rollout.StepDone && closing:
		l.say(terminal.Green, "✓", "%s is under maintenance (%s)", step.Name, duration)
	case step.Status == rollout.StepDone:
		l.say(terminal.Green, "✓", "%s %s is online%s (%s)", step.Name, step.Version, confirmedBy(step), duration)
	case step.Status == rollout.StepFailed && step.Move.Back:
		l.say(terminal.Red, "✗", "%s: %s is back (%s)", step.ID, found(step), duration)
	case step.Status == rollout.StepFailed && closing:
		l.say(terminal.Red, "✗", "%s could not be put under maintenance (%s): %s", step.Name, duration, step.Error)
	case step.Status == rollout.StepFailed:
		l.say(terminal.Red, "✗", "%s could not be opened (%s): %s", step.ID, duration, step.Error)
	}
}

// changeLift shows a change of a step that ends a maintenance.
func (l *lines) changeLift(step rollout.Step) {
	duration := terminal.Took(step.Ended.Sub(step.Started))
	switch {
	case step.Status == rollout.StepRunning && step.Backwards():
		l.say(terminal.Yellow, "⇄", "%s: putting %s under maintenance again", step.ID, found(step))
	case step.Status == rollout.StepRunning:
		l.say(terminal.Plain, "⇄", "%s: ending the maintenance of %s%s", step.ID, found(step), attempt(step))
	case step.Status == rollout.StepDone:
		l.say(terminal.Green, "✓", "%s serves again (%s)", found(step), duration)
	case step.Status == rollout.StepReverted:
		l.say(terminal.Green, "✓", "%s is under maintenance again (%s)", step.Name, duration)
	case step.Status == rollout.StepFailed:
		l.say(terminal.Red, "✗", "the maintenance of %s could not be ended (%s): %s", step.Name, duration, step.Error)
	}
}

// found names what was online before a step that moves traffic.
func found(step rollout.Step) string {
	if step.Move.Replaces == nil || len(step.Move.Replaces.Online) == 0 {
		return "no version"
	}
	return step.Name + " " + strings.Join(step.Move.Replaces.Online, ", ")
}

func confirmedBy(step rollout.Step) string {
	if step.Move.Instances == 0 {
		return "" // it takes no traffic over the relay: the route is only recorded
	}
	return ", confirmed by " + terminal.Plural(step.Move.Instances, "instance")
}
