package gate

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/relay/protocol"
)

// Whatever route an order finds in the middle of whatever, it leads where it says, and on
// the way no two versions answer that are not both meant to, nobody leaves before another
// has come, and nobody comes online without having been told to.
func TestEveryTransitionIsSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		route := drawRoute(t)
		for range rapid.IntRange(1, 5).Draw(t, "orders") {
			c := drawTransition(t)
			steps := rapid.IntRange(0, 12).Draw(t, "steps") // then somebody else has another idea
			route = follow(t, c, route, steps)
		}
		c := drawTransition(t)
		end := follow(t, c, route, 12)
		if _, done := c.next(end, false); !done {
			t.Fatalf("%+v is not reached in 12 steps: %+v", c, end)
		}
		mustBeAt(t, c, end)
	})
}

// drawRoute is any route: also one that no order of this version of golive leads to.
func drawRoute(t *rapid.T) protocol.Route {
	states := []protocol.VersionState{
		protocol.StateOffline, protocol.StateStandby, protocol.StateOnline, protocol.StateFenced, protocol.StateDraining,
	}
	r := protocol.Route{Service: "todos"}
	for _, v := range []string{"1.0.0", "2.0.0", "3.0.0"} {
		if state := rapid.SampledFrom(states).Draw(t, v); state != protocol.StateOffline {
			r.Versions = append(r.Versions, protocol.RouteVersion{Version: v, State: state})
		}
	}
	return r
}

func drawTransition(t *rapid.T) transition {
	versions := []string{"1.0.0", "2.0.0", "3.0.0"}
	c := transition{target: rapid.SampledFrom(append(versions, "")).Draw(t, "target")}
	for _, v := range versions {
		if v != c.target && c.target != "" && rapid.IntRange(0, 3).Draw(t, "keep") == 0 {
			c.keep = append(c.keep, v)
		}
	}
	if c.target != "" && rapid.IntRange(0, 3).Draw(t, "maintenance") == 0 {
		c.maintenance = &protocol.Maintenance{Since: time.Unix(1, 0), RetryAfter: protocol.Duration(5 * time.Second)}
	}
	return c
}

// follow takes steps of a transition and looks at each.
func follow(t *rapid.T, c transition, route protocol.Route, steps int) protocol.Route {
	for range steps {
		alone := rapid.IntRange(0, 4).Draw(t, "alone") == 0
		next, done := c.next(route, alone)
		if done {
			return route
		}
		mustBeSafe(t, c, route, next, alone)
		route = next
	}
	return route
}

// answering lists the versions that answer.
func answering(r protocol.Route) []string {
	if r.Maintenance != nil {
		return nil
	}
	return r.Online()
}

func mustBeSafe(t *rapid.T, c transition, from, to protocol.Route, alone bool) {
	fatal := func(why string) { t.Fatalf("%+v, alone %t: %s:\n%+v\n%+v", c, alone, why, from, to) }
	before, after := answering(from), answering(to)
	for _, v := range after {
		for _, other := range before {
			meant := slices.Contains(c.keep, other) || other == c.target
			if v != other && !slices.Contains(before, v) && !meant {
				fatal(v + " begins to answer while " + other + " may not have heard that it shall not")
			}
		}
	}
	for _, v := range to.Online() { // also under maintenance: it answers once that is over
		was := from.State(v)
		if v != c.target && was != protocol.StateOnline && was != protocol.StateFenced {
			fatal(v + " comes online, and it was " + string(was) + " and is not the target")
		}
	}
	if len(before) > 0 && len(after) == 0 && to.Maintenance == nil && c.target != "" && to.State(c.target) != protocol.StateStandby {
		fatal("nobody answers any more, and nobody stands by")
	}
	for _, v := range from.Versions {
		listens := v.State == protocol.StateOnline || v.State == protocol.StateFenced || v.State == protocol.StateStandby
		next := to.State(v.Version)
		leaves := listens && (next == protocol.StateDraining || next == protocol.StateOffline)
		if leaves && c.target != "" && from.State(c.target) != protocol.StateOnline && to.Maintenance == nil {
			fatal(v.Version + " leaves before the other has come")
		}
	}
	if len(before) > 0 && len(after) > 0 && !alone {
		for _, v := range before {
			if !slices.Contains(after, v) && v != c.target && from.State(c.target) == protocol.StateOffline && !slices.Contains(c.keep, v) {
				fatal(v + " is stopped before its successor stands by")
			}
		}
	}
}

// mustBeAt checks the end of a transition.
func mustBeAt(t *rapid.T, c transition, r protocol.Route) {
	if (r.Maintenance != nil) != (c.maintenance != nil) {
		t.Fatalf("%+v ends at %+v", c, r)
	}
	if c.target == "" {
		if len(r.Versions) > 0 {
			t.Fatalf("%+v ends at %+v", c, r)
		}
		return
	}
	if r.State(c.target) != protocol.StateOnline {
		t.Fatalf("%+v ends at %+v", c, r)
	}
	for _, v := range r.Versions {
		if v.State != protocol.StateOnline || v.Version != c.target && !slices.Contains(c.keep, v.Version) {
			t.Fatalf("%+v ends at %+v", c, r)
		}
	}
}
