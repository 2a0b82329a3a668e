package rollout

import "slices"

// Idle reports whether the rollout has run nothing and moved nothing: no script, command or
// check has begun, and no move of traffic has changed a route. One that is under way may yet do
// something. That people were asked changes nothing, and a snapshot does not.
func (s State) Idle() bool {
	return !slices.ContainsFunc(s.Steps, func(step *Step) bool {
		return step.Attempt > 0 && step.Kind != Snapshot && (step.works() || step.ChangesRoute())
	})
}

// IsRepeat reports whether the rollout has completed and is none for those who want to go back:
// it has brought the version that was live already, see [State.Repeats], and has run nothing,
// moved nothing and asked nobody.
func (s State) IsRepeat() bool {
	asked := slices.ContainsFunc(s.Steps, func(step *Step) bool { return step.Kind == Approving && step.Attempt > 0 })
	return s.Status == Completed && s.Repeats != "" && !asked && s.Idle()
}

// ChangesRoute reports whether a move of traffic that has begun leaves the route otherwise than
// it has found it. Of one that is done, the revision tells; of any other, what it was to do. What is
// no move of traffic changes no route.
func (s Step) ChangesRoute() bool {
	if s.Move.Replaces == nil {
		return false
	}
	if s.Status == StepDone {
		return s.Move.Revision != s.Move.Replaces.Revision
	}
	online := s.Move.Replaces.Online
	return s.Kind == Maintenance || s.Move.Drain || !slices.Contains(online, s.Version) ||
		slices.ContainsFunc(online, func(v string) bool { return v != s.Version && !slices.Contains(s.Move.Keep, v) })
}
