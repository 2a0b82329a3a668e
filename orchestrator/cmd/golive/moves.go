package main

import (
	"strings"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// changeTraffic shows a change of a step that moves traffic.
func (l *lines) changeTraffic(step rollout.Step) {
	duration := took(step.Ended.Sub(step.Started))
	closing := step.Kind == rollout.Maintenance
	switch {
	case step.Lift:
		l.changeLift(step)
	case step.Drain && step.Status == rollout.StepRunning && !step.Backwards():
		l.say(plain, "⇄", "%s: taking the traffic from %s%s", step.ID, found(step), attempt(step))
	case step.Drain && step.Status == rollout.StepDone:
		l.say(green, "✓", "%s gets no traffic any more (%s)", found(step), duration)
	case step.Drain && step.Status == rollout.StepFailed && !step.Back:
		l.say(red, "✗", "the traffic could not be taken from %s (%s): %s", found(step), duration, step.Error)
	case step.Status == rollout.StepRunning && step.Revert && closing:
		l.say(yellow, "⇄", "%s: ending the maintenance of %s", step.ID, found(step))
	case step.Status == rollout.StepRunning && step.Revert:
		l.say(yellow, "⇄", "%s: putting %s back", step.ID, found(step))
	case step.Status == rollout.StepReverted:
		l.say(green, "✓", "%s: %s is back (%s)", step.ID, found(step), duration)
	case step.Status == rollout.StepRunning && step.Back:
		l.say(yellow, "⇄", "%s: %s: putting %s back", step.ID, step.Error, found(step))
	case step.Status == rollout.StepRunning && closing:
		l.say(plain, "⇄", "%s: putting %s under maintenance%s", step.ID, found(step), attempt(step))
	case step.Status == rollout.StepRunning:
		l.say(plain, "⇄", "%s: bringing %s online%s", step.ID, step.Version, attempt(step))
	case step.Status == rollout.StepDone && closing:
		l.say(green, "✓", "%s is under maintenance (%s)", step.Name, duration)
	case step.Status == rollout.StepDone:
		l.say(green, "✓", "%s %s is online%s (%s)", step.Name, step.Version, confirmedBy(step), duration)
	case step.Status == rollout.StepFailed && step.Back:
		l.say(red, "✗", "%s: %s is back (%s)", step.ID, found(step), duration)
	case step.Status == rollout.StepFailed && closing:
		l.say(red, "✗", "%s could not be put under maintenance (%s): %s", step.Name, duration, step.Error)
	case step.Status == rollout.StepFailed:
		l.say(red, "✗", "%s could not be opened (%s): %s", step.ID, duration, step.Error)
	}
}

// changeLift shows a change of a step that ends a maintenance.
func (l *lines) changeLift(step rollout.Step) {
	duration := took(step.Ended.Sub(step.Started))
	switch {
	case step.Status == rollout.StepRunning && step.Backwards():
		l.say(yellow, "⇄", "%s: putting %s under maintenance again", step.ID, found(step))
	case step.Status == rollout.StepRunning:
		l.say(plain, "⇄", "%s: ending the maintenance of %s%s", step.ID, found(step), attempt(step))
	case step.Status == rollout.StepDone:
		l.say(green, "✓", "%s serves again (%s)", found(step), duration)
	case step.Status == rollout.StepReverted:
		l.say(green, "✓", "%s is under maintenance again (%s)", step.Name, duration)
	case step.Status == rollout.StepFailed:
		l.say(red, "✗", "the maintenance of %s could not be ended (%s): %s", step.Name, duration, step.Error)
	}
}

// found names what was online before a step that moves traffic.
func found(step rollout.Step) string {
	if step.Replaces == nil || len(step.Replaces.Online) == 0 {
		return "no version"
	}
	return step.Name + " " + strings.Join(step.Replaces.Online, ", ")
}

func confirmedBy(step rollout.Step) string {
	if step.Instances == 0 {
		return "" // it takes no traffic over the relay: the route is only recorded
	}
	return ", confirmed by " + plural(step.Instances, "instance")
}
