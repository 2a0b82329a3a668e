package gate

import (
	"slices"

	"github.com/golive-dev/golive/relay/protocol"
)

// transition says where the traffic of a service shall go. From any route it leads to that
// in steps that are safe as long as each has been confirmed before the next is taken:
// at no time may two versions answer unless both are meant to stay, and whoever leaves
// does so after another has come.
type transition struct {
	target      string                // the version that shall be online; empty: none
	keep        []string              // that stay beside it, if online, or fenced and not relieved
	maintenance *protocol.Maintenance // that the service shall be under; nil: none
	recorded    bool                  // it takes no traffic over the relay: its route is only a record
}

// next is the route one step nearer to the end; there is none left when done. Alone says
// that no instance of a version that has to leave is alive.
//
//	others online            target standby      others forward nothing, the target forwards to them
//	others fenced            target standby      everybody holds
//	others fenced            target online       the target answers, the others still hold
//	others draining          target online       the others forward what they hold, and leave
//	                         target online
func (t transition) next(found protocol.Route, alone bool) (next protocol.Route, done bool) {
	next = found
	next.Versions = slices.Clone(found.Versions)
	switch {
	case t.target == "":
		next.Versions, next.Maintenance = []protocol.RouteVersion{}, nil
		return next, len(found.Versions) == 0 && found.Maintenance == nil
	case t.recorded && alone && t.maintenance == nil:
		next.Maintenance = nil
		t.open(&next)
		next.Versions = slices.DeleteFunc(next.Versions, func(v protocol.RouteVersion) bool { return v.Version != t.target && !t.keeps(v) })
		return next, found.Maintenance == nil && slices.Equal(next.Versions, found.Versions)
	case t.maintenance != nil && found.Maintenance == nil:
		next.Maintenance = t.maintenance // nobody answers from now on: the states are free to change
		return next, false
	case t.maintenance != nil && found.State(t.target) != protocol.StateOnline:
		t.open(&next)
		return next, false
	case t.maintenance == nil && (found.Maintenance != nil || found.State(t.target) != protocol.StateOnline):
		t.approach(&next, alone)
		return next, false
	}
	return next, t.clear(&next, alone)
}

// approach brings the target one step nearer to being online and the service out of
// maintenance.
func (t transition) approach(r *protocol.Route, alone bool) {
	listening := slices.Contains([]protocol.VersionState{protocol.StateStandby, protocol.StateFenced, protocol.StateOnline}, r.State(t.target))
	leaving := t.leaving(*r, "")
	switch {
	case len(leaving) == 0:
		t.open(r)
	case !listening && !alone:
		set(r, t.target, protocol.StateStandby)
	case r.Maintenance == nil && (!listening || len(t.leaving(*r, protocol.StateOnline)) > 0):
		set(r, t.target, protocol.StateStandby)
		for _, v := range leaving {
			set(r, v, protocol.StateFenced)
		}
	default:
		t.open(r)
		for _, v := range leaving {
			set(r, v, protocol.StateFenced)
		}
		r.Maintenance = nil
		return
	}
	if len(leaving) == 0 {
		r.Maintenance = nil
	}
}

// open puts the target and those that stay beside it online.
func (t transition) open(r *protocol.Route) {
	set(r, t.target, protocol.StateOnline)
	for _, v := range r.Versions {
		if t.keeps(v) {
			set(r, v.Version, protocol.StateOnline)
		}
	}
}

// keeps reports whether a version stays. One that only stood by, or was on its way out,
// does not: nobody has said that it may answer now.
func (t transition) keeps(v protocol.RouteVersion) bool {
	return slices.Contains(t.keep, v.Version) && (v.State == protocol.StateOnline || v.State == protocol.StateFenced)
}

// clear takes those off the route that have to leave; done when nobody has to.
func (t transition) clear(r *protocol.Route, alone bool) (done bool) {
	leaving := t.leaving(*r, "")
	draining := t.leaving(*r, protocol.StateDraining)
	if alone || len(draining) == len(leaving) {
		fenced := slices.ContainsFunc(r.Versions, func(v protocol.RouteVersion) bool { return t.keeps(v) && v.State == protocol.StateFenced })
		r.Versions = slices.DeleteFunc(r.Versions, func(v protocol.RouteVersion) bool { return slices.Contains(leaving, v.Version) })
		if len(leaving) == 0 {
			t.open(r)
		}
		return len(leaving) == 0 && !fenced
	}
	for _, v := range leaving {
		set(r, v, protocol.StateDraining)
	}
	return false
}

// leaving lists the versions that are on the route and have to leave it, in the given
// state or, if that is empty, in any.
func (t transition) leaving(r protocol.Route, state protocol.VersionState) []string {
	var leaving []string
	for _, v := range r.Versions {
		if v.Version != t.target && !t.keeps(v) && (state == "" || v.State == state) {
			leaving = append(leaving, v.Version)
		}
	}
	return leaving
}

// set puts a version into a state, and on the route if it is not there.
func set(r *protocol.Route, version string, state protocol.VersionState) {
	for n := range r.Versions {
		if r.Versions[n].Version == version {
			r.Versions[n].State = state
			return
		}
	}
	r.Versions = append(r.Versions, protocol.RouteVersion{Version: version, State: state})
}

// holding reports whether requests to a route wait for its next revision.
func holding(r protocol.Route) bool {
	return r.Maintenance == nil && len(r.Versions) > 0 && len(r.Online()) == 0
}
