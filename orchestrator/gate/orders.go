package gate

import "github.com/golive-dev/golive/orchestrator/rollout"

// OrderFor is the order that a traffic or maintenance step is there for or, of one that goes
// back, the one that puts back what it has found. It names no rollout yet.
func OrderFor(s rollout.State, step rollout.Step) Order {
	if step.Backwards() || step.Kind == rollout.Maintenance {
		return OrderBack(s, step)
	}
	order := Order{Service: step.Name, Version: step.Version, Keep: step.Move.Keep, Instances: step.Move.Instances}
	if step.Move.Drain {
		order.Version = ""
	}
	if step.Move.Replaces != nil {
		order.Replaces = step.Move.Replaces.Revision
	}
	return order
}

// OrderBack is the order that puts the versions back that a traffic or maintenance step has
// found: under maintenance, if callers shall be told so then. It names no rollout yet.
func OrderBack(s rollout.State, step rollout.Step) Order {
	order := Order{Service: step.Name, RetryAfter: s.RetryAfter(step)}
	if step.Move.Replaces != nil {
		order.Replaces = step.Move.Replaces.Revision
		if online := step.Move.Replaces.Online; len(online) > 0 {
			order.Version, order.Keep = online[0], online[1:]
		}
	}
	return order
}
