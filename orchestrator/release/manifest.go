package release

import (
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// manifest reads the whole manifest.
func (r *reader) manifest(v value) *Manifest {
	m := &Manifest{Strategy: rollout.Parallel, RetryAfter: rollout.Duration(rollout.DefaultRetryAfter), Data: DefaultData}
	r.fields(v, "a manifest, a map with app, version and services", r.manifestFields(m))
	for _, check := range r.checks {
		check()
	}
	return m
}

// manifestFields are the keys at the top of the manifest, in the order of its reference.
func (r *reader) manifestFields(m *Manifest) []field {
	fields := []field{
		{key: "app", required: "todo-app", fixed: true, read: func(v value) { m.App = r.name(v) }},
		{key: "version", required: "0.0.1", fixed: true, read: func(v value) { m.Version = r.version(v) }},
		{key: "strategy", read: func(v value) { m.Strategy = r.strategy(v) }},
		{key: "retryAfter", read: func(v value) { m.RetryAfter = r.retryAfter(v) }},
		{key: "mustNotSkip", fixed: true, read: func(v value) { m.MustNotSkip = r.mustNotSkip(v, m) }},
		{key: "requires", fixed: true, read: func(v value) { m.Requires = r.requires(v, m) }},
		{key: "services", read: func(v value) { m.Services = r.services(v) }},
		{key: "setup", read: func(v value) { m.Setup = r.appSetup(v) }},
		{key: "steps", read: func(v value) { m.Steps = r.steps(v, m) }},
		{key: "autoRevert", read: func(v value) { m.AutoRevert = r.truth(v) }},
		{key: "seed", read: func(v value) { m.Seed = r.command(v, seedWanted) }},
		{key: "data", read: func(v value) { m.Data = r.folder(v) }},
		{key: "approvals", read: func(v value) { m.Environment.Approvals = r.approvals(v) }},
		{key: "environments", fixed: true, read: r.blocksWithin},
	}
	if r.environment {
		fields = append(fields, r.busFields(&m.Environment)...)
	}
	return fields
}

// services reads the map of the services.
func (r *reader) services(v value) []Service {
	entries, ok := r.entries(v, "a map of services like {todos: {version: 0.0.1}}")
	if !ok {
		r.noServices = true
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.name
	}
	if len(entries) > MaxServices {
		e := entries[MaxServices].value
		r.report(e.at, e.key, "", "this is service %d: at most %d are allowed", MaxServices+1, MaxServices)
		entries = entries[:MaxServices]
	}
	services := make([]Service, len(entries))
	var wanted []dependency
	for i, e := range entries {
		r.service(e, &services[i], &wanted)
	}
	r.checks = append(r.checks, func() { r.checkDependencies(names, wanted) })
	return services
}

// service reads one service into s, and adds what it depends on to wanted.
func (r *reader) service(e entry, s *Service, wanted *[]dependency) {
	s.Name, s.Instances = e.name, 1
	r.breaks(e.value.at, e.value.key, protocol.ValidateName(e.name))
	r.fields(e.value, "a service, a map like {version: 0.0.1}", r.serviceFields(s, wanted))
}

// serviceFields are the keys of a service.
func (r *reader) serviceFields(s *Service, wanted *[]dependency) []field {
	return []field{
		{key: "version", required: "0.0.1", fixed: true, read: func(v value) { s.Version = r.version(v) }},
		{key: "run", read: func(v value) { s.Run = r.command(v, commandWanted) }},
		{key: "setup", read: func(v value) { s.Setup = r.serviceSetup(v, s) }},
		{key: "migrations", read: func(v value) { s.Migrations = r.phases(v) }},
		{key: "dependsOn", read: func(v value) { s.DependsOn = r.dependsOn(v, s.Name, wanted) }},
		{key: "timeout", read: func(v value) { s.Timeout = r.timeout(v) }},
		{key: "retries", read: func(v value) { s.Retries = r.retries(v) }},
		{key: "backoff", read: func(v value) { s.Backoff = r.backoff(v, &s.Retries) }},
		{key: "instances", read: func(v value) { s.Instances, _ = r.number(v, MaxInstances) }},
		{key: "keepOnline", read: func(v value) { s.KeepOnline = r.keepOnline(v, s) }},
		{key: "pace", read: func(v value) { s.Pace = r.pace(v) }},
	}
}

// serviceSetup reads the command of a setup service, which needs a phase to run in.
func (r *reader) serviceSetup(v value, s *Service) []string {
	r.checks = append(r.checks, func() {
		if s.Setup != nil && s.Migrations == nil {
			r.report(v.at, v.key, "", "this setup service has nothing to run: "+
				"name the phases it has scripts for, of migrations: [before, offline, online], or remove setup")
		}
	})
	return r.command(v, commandWanted)
}

// pace reads how fast the scripts of a service may work; nil if it says nothing.
func (r *reader) pace(v value) *protocol.Pace {
	var p protocol.Pace
	r.fields(v, "a pace, a map like {rate: 500, inFlight: 8}", r.paceFields(&p))
	if p == (protocol.Pace{}) {
		return nil
	}
	return &p
}

// paceFields are the keys of a pace.
func (r *reader) paceFields(p *protocol.Pace) []field {
	return []field{
		{key: "rate", read: func(v value) { p.Rate = r.rate(v) }},
		{key: "inFlight", read: func(v value) { p.InFlight = r.inFlight(v) }},
	}
}
