package release

import (
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// manifest reads the whole manifest.
func (r *reader) manifest(v value) *Manifest {
	m := &Manifest{Strategy: rollout.Parallel, RetryAfter: rollout.Duration(rollout.DefaultRetryAfter), Data: DefaultData}
	v.fields("a manifest, a map with app, version and services", manifestFields(m, r.environment))
	for _, check := range r.checks {
		check()
	}
	return m
}

// manifestFields are the keys at the top of the manifest, in the order of its reference.
func manifestFields(m *Manifest, environment bool) []field {
	fields := []field{
		{key: "app", required: "todo-app", fixed: true, read: func(v value) { m.App = readName(v) }},
		{key: "version", required: "0.0.1", fixed: true, read: func(v value) { m.Version = readVersion(v) }},
		{key: "strategy", read: func(v value) { m.Strategy = readStrategy(v) }},
		{key: "retryAfter", read: func(v value) { m.RetryAfter = readRetryAfter(v) }},
		{key: "mustNotSkip", fixed: true, read: func(v value) { m.MustNotSkip = readMustNotSkip(v, m) }},
		{key: "requires", fixed: true, read: func(v value) { m.Requires = readRequires(v, m) }},
		{key: "services", read: func(v value) { m.Services = readServices(v) }},
		{key: "setup", read: func(v value) { m.Setup = readAppSetup(v) }},
		{key: "steps", read: func(v value) { m.Steps = readSteps(v, m) }},
		{key: "autoRevert", read: func(v value) { m.AutoRevert = readTruth(v) }},
		{key: "seed", read: func(v value) { m.Seed = readCommand(v, seedWanted) }},
		{key: "data", read: func(v value) { m.Data = readFolder(v) }},
		{key: "approvals", read: func(v value) { m.Environment.Approvals = readApprovals(v) }},
		{key: "environments", fixed: true, read: readEnvironments},
	}
	if environment {
		fields = append(fields, busFields(&m.Environment)...)
	}
	return fields
}

// readServices reads the map of the services.
func readServices(v value) []Service {
	entries, ok := v.entries("a map of services like {todos: {version: 0.0.1}}")
	if !ok {
		v.r.noServices = true
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.name
	}
	if len(entries) > MaxServices {
		e := entries[MaxServices].value
		e.reportKey("", "this is service %d: at most %d are allowed", MaxServices+1, MaxServices)
		entries = entries[:MaxServices]
	}
	services := make([]Service, len(entries))
	var wanted []dependency
	for i, e := range entries {
		readService(e, &services[i], &wanted)
	}
	v.later(func() { checkDependencies(names, wanted) })
	return services
}

// readService reads one service into s, and adds what it depends on to wanted.
func readService(e entry, s *Service, wanted *[]dependency) {
	s.Name, s.Instances = e.name, 1
	e.value.breaks(e.value.at, protocol.ValidateName(e.name))
	e.value.fields("a service, a map like {version: 0.0.1}", serviceFields(s, wanted))
}

// serviceFields are the keys of a service.
func serviceFields(s *Service, wanted *[]dependency) []field {
	return []field{
		{key: "version", required: "0.0.1", fixed: true, read: func(v value) { s.Version = readVersion(v) }},
		{key: "run", read: func(v value) { s.Run = readCommand(v, commandWanted) }},
		{key: "setup", read: func(v value) { s.Setup = readServiceSetup(v, s) }},
		{key: "migrations", read: func(v value) { s.Migrations = readPhases(v) }},
		{key: "dependsOn", read: func(v value) { s.DependsOn = readDependsOn(v, s.Name, wanted) }},
		{key: "timeout", read: func(v value) { s.Timeout = readTimeout(v) }},
		{key: "retries", read: func(v value) { s.Retries = readRetries(v) }},
		{key: "backoff", read: func(v value) { s.Backoff = readBackoff(v, &s.Retries) }},
		{key: "instances", read: func(v value) { s.Instances, _ = readWhole(v, 0, MaxInstances) }},
		{key: "keepOnline", read: func(v value) { s.KeepOnline = readKeepOnline(v, s) }},
		{key: "pace", read: func(v value) { s.Pace = readPace(v) }},
	}
}

// readServiceSetup reads the command of a setup service, which needs a phase to run in.
func readServiceSetup(v value, s *Service) []string {
	v.later(func() {
		if s.Setup != nil && s.Migrations == nil {
			v.reportKey("", "this setup service has nothing to run: "+
				"name the phases it has scripts for, of migrations: [before, offline, online], or remove setup")
		}
	})
	return readCommand(v, commandWanted)
}

// readPace reads how fast the scripts of a service may work; nil if it says nothing.
func readPace(v value) *protocol.Pace {
	var p protocol.Pace
	v.fields("a pace, a map like {rate: 500, inFlight: 8}", paceFields(&p))
	if p == (protocol.Pace{}) {
		return nil
	}
	return &p
}

// paceFields are the keys of a pace.
func paceFields(p *protocol.Pace) []field {
	return []field{
		{key: "rate", read: func(v value) { p.Rate = readRate(v) }},
		{key: "inFlight", read: func(v value) { p.InFlight = readInFlight(v) }},
	}
}
