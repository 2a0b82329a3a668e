package release

import (
	"slices"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// traffic is what the steps have done to traffic so far, from the first one on.
type traffic struct {
	opening int // where the new versions get it: the number of a step; that of none if there is none
	offline int // where the offline phase stands; that of none if it does not

	opened  *placed
	on, off map[string]position // services under maintenance, and no longer so
	drained map[string]position
}

// checkTraffic reports moves of traffic that cannot be.
func checkTraffic(all []placed, m *Manifest) {
	t := &traffic{
		opening: len(all), offline: phasePlace(all, protocol.Offline),
		on: map[string]position{}, off: map[string]position{}, drained: map[string]position{},
	}
	for i, p := range slices.Backward(all) {
		if p.Traffic == rollout.Open || p.Phase == protocol.Online {
			t.opening = i
		}
	}
	for i, p := range all {
		switch p.Traffic {
		case rollout.Open:
			checkOpen(i, p, all, t, m)
		case rollout.Drain:
			checkDrain(p, t, m)
		case rollout.MaintenanceOn:
			checkMaintenanceOn(i, p, t, m)
		case rollout.MaintenanceOff:
			checkMaintenanceOff(i, p, t, m)
		}
	}
}

// phasePlace is where a phase stands among the steps; behind them if it does not.
func phasePlace(all []placed, phase protocol.Phase) int {
	if i := slices.IndexFunc(all, func(p placed) bool { return p.Phase == phase }); i >= 0 {
		return i
	}
	return len(all)
}

// checkOpen reports an opening that is not the only one, or not in its place.
func checkOpen(i int, p placed, all []placed, t *traffic, m *Manifest) {
	if t.opened != nil {
		p.does.report("keep one of the two", "the gates open in line %d already", t.opened.does.at.line)
		return
	}
	t.opened = &p
	if len(p.services) > 0 {
		p.services[0].reportKey("leave services out", "all services of the release open together")
	}
	if len(m.Services) == 0 {
		p.does.report("remove the step", "the release has no services that could get traffic")
	}
	for _, phase := range []protocol.Phase{protocol.Before, protocol.Offline} {
		if place := phasePlace(all, phase); place < len(all) && place > i {
			p.does.report("move it down", "the gates open after the phase %s, which stands in line %d", phase, all[place].does.at.line)
		}
	}
	if place := phasePlace(all, protocol.Online); place < i {
		p.does.report("move it up, or remove it: without it they open with the phase", "the gates open before the phase online, which stands in line %d", all[place].does.at.line)
	}
}

// checkDrain reports a drain of what the release holds, or of nothing.
func checkDrain(p placed, t *traffic, m *Manifest) {
	if p.Services == nil {
		p.does.reportKey("add services: [old-search]", "a drain must name the services that the release no longer holds")
	}
	for i, name := range p.Services {
		item := p.services[i]
		if slices.Contains(serviceNames(m), name) {
			item.report("remove it from the list", "%s is a service of the release, which gets traffic", quote(name))
		}
		once(item, name, "is drained", t.drained)
	}
}

// checkMaintenanceOn reports a maintenance that begins too late, twice, or of no service.
func checkMaintenanceOn(i int, p placed, t *traffic, m *Manifest) {
	switch {
	case i > t.opening:
		tooLate(p)
	case i > t.offline && m.Strategy == rollout.Downtime:
		p.does.report("move it up, or remove it: without it the maintenance begins right before that phase",
			"with the strategy downtime a maintenance begins before the phase offline")
	}
	for _, s := range p.named(serviceNames(m)) {
		if p.Services != nil {
			ofRelease(s.value, s.name, m)
		}
		once(s.value, s.name, "is put under maintenance", t.on)
	}
}

// checkMaintenanceOff reports an end of what is not under maintenance.
func checkMaintenanceOff(i int, p placed, t *traffic, m *Manifest) {
	if i > t.opening {
		tooLate(p)
	}
	var open []string
	for _, name := range serviceNames(m) {
		_, on := t.on[name]
		if _, off := t.off[name]; on && !off {
			open = append(open, name)
		}
	}
	if p.Services == nil && len(open) == 0 {
		p.does.report("put a maintenance-on above it, or remove it", "no service is under maintenance here by a step above")
	}
	for _, s := range p.named(open) {
		if _, on := t.on[s.name]; !on {
			s.value.report("put a maintenance-on for it above, or remove it here", "the service %s is not under maintenance here by a step above", quote(s.name))
			continue
		}
		once(s.value, s.name, "comes out of maintenance", t.off)
	}
}

// tooLate reports a move that has no sense once the new versions have the traffic.
func tooLate(p placed) {
	p.does.report("move it up", "%s must stand above the opening: traffic open, or else the phase online", p.Traffic)
}

// once reports a service that a move has had before.
func once(v value, name, does string, had map[string]position) {
	if before, twice := had[name]; twice {
		v.report("remove one of the two", "%s %s in line %d already", quote(name), does, before.line)
		return
	}
	had[name] = v.begin()
}

// namedService is a service that a step names, or means.
type namedService struct {
	name  string
	value value
}

// named are the services of a traffic step: those it names, or else all of these.
func (p placed) named(all []string) []namedService {
	var named []namedService
	for i, name := range p.Services {
		named = append(named, namedService{name, p.services[i]})
	}
	if p.Services == nil {
		for _, name := range all {
			named = append(named, namedService{name, p.does})
		}
	}
	return named
}
