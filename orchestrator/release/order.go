package release

import (
	"slices"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// checkSteps reports what can be seen only of all steps together.
func checkSteps(v value, all []placed, m *Manifest) {
	checkNames(all)
	if v.r.noServices {
		return // nothing can be said about the rest
	}
	checkPhases(v, all, m)
	checkTraffic(all, m)
}

// checkNames reports names that two steps have.
func checkNames(all []placed) {
	first := map[string]value{}
	for _, p := range all {
		if p.Name == "" {
			continue
		}
		if before, twice := first[p.Name]; twice {
			p.name.report("give each step a name of its own", "%s is the name of another step, in line %d", quote(p.Name), before.at.line)
			continue
		}
		first[p.Name] = p.name
	}
}

// checkPhases reports phases that are missing, superfluous, twice or in the wrong order.
func checkPhases(v value, all []placed, m *Manifest) {
	place := map[protocol.Phase]placed{}
	unknown := false
	var last placed
	for _, p := range all {
		if p.kind != phaseKind {
			continue
		}
		rank := slices.Index(allPhases(), p.Phase)
		before, twice := place[p.Phase]
		switch at := p.does; {
		case rank < 0:
			unknown = true
			continue
		case twice:
			at.report("keep one of the two", "the phase %s is there twice, first in line %d", p.Phase, before.does.at.line)
			continue
		case last.Step != nil && rank < slices.Index(allPhases(), last.Phase):
			at.report("move it up", "the phase %s comes before the phase %s, which stands in line %d", p.Phase, last.Phase, last.does.at.line)
		default:
			last = p
		}
		place[p.Phase] = p
		if reason := idle(p.Phase, m); reason != "" {
			p.does.report("remove the step", "the phase %s has nothing to run: %s", p.Phase, reason)
		}
	}
	for _, phase := range allPhases() {
		if _, known := place[phase]; !known && !unknown {
			checkMissing(v, phase, m)
		}
	}
}

// idle is why a phase has nothing to run; "" if it has.
func idle(phase protocol.Phase, m *Manifest) string {
	switch {
	case phase == protocol.Setup && !m.Setup.Exists():
		return "the app has no setup service"
	case phase == protocol.Setup, phase == protocol.Offline && m.Strategy == rollout.Downtime:
		return ""
	case len(m.Services) == 0:
		return "the release has no services"
	case phase != protocol.Online && len(withScripts(phase, m)) == 0:
		return "no service has it among its migrations"
	}
	return ""
}

// checkMissing reports a phase that must stand in the steps and does not.
func checkMissing(v value, phase protocol.Phase, m *Manifest) {
	hint := "add - phase: " + string(phase)
	with := withScripts(phase, m)
	switch {
	case phase == protocol.Setup && m.Setup.Exists():
		v.reportKey(hint, "the phase setup is missing, in which the app's own setup service runs")
	case phase == protocol.Online && len(m.Services) > 0:
		v.reportKey(hint+" where the gates shall open", "the phase online is missing, in which the new versions get traffic")
	case len(with) > 0:
		v.reportKey(hint, "the phase %s is missing, in which scripts run of %s", phase, list(with))
	}
}

// withScripts are the services that have scripts for a phase.
func withScripts(phase protocol.Phase, m *Manifest) []string {
	var names []string
	for _, s := range m.Services {
		if slices.Contains(s.Migrations, phase) {
			names = append(names, s.Name)
		}
	}
	return names
}

// ofRelease reports a service that is not one of the release.
func ofRelease(v value, name string, m *Manifest) {
	if v.r.noServices || slices.ContainsFunc(m.Services, func(s Service) bool { return s.Name == name }) {
		return
	}
	names := serviceNames(m)
	valid := "the release has none"
	if len(names) > 0 {
		valid = "valid are " + list(names)
	}
	v.report(didYouMean(name, names), "unknown service %s: %s", quote(name), valid)
}

// serviceNames are the names of the services of the release.
func serviceNames(m *Manifest) []string {
	names := make([]string, len(m.Services))
	for i, s := range m.Services {
		names[i] = s.Name
	}
	return names
}
