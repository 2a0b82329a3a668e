package release

import (
	"slices"
	"strconv"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Limits of services, beside those of package rollout.
const (
	MaxServices   = 500  // services of one app
	MaxInstances  = 1000 // of one service
	MaxKeepOnline = 16   // versions that stay online beside a new one
)

// defaultInstances is how many instances a service has unless the manifest says otherwise.
const defaultInstances = 1

// Service is one service version of the app: what a rollout knows of it, and how it is
// started here.
type Service struct {
	rollout.Service          // its Migrations come in the order in which they run
	Run             []string // how it is started, without a shell; nil: it is already running
	Setup           []string // how its setup service is started; nil: it is already running, or there is none
	StateCommand    []string // how its state is taken and put on a host, with the word for that behind it; nil: no command does
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
	s.Name, s.Instances = e.name, defaultInstances
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
		{key: "retries", byDefault: "0", read: func(v value) { s.Retries = readRetries(v) }},
		{key: "backoff", byDefault: rollout.DefaultBackoff.String(), with: "retries", read: func(v value) { s.Backoff = readBackoff(v, &s.Retries) }},
		{key: "instances", byDefault: strconv.Itoa(defaultInstances), read: func(v value) { s.Instances, _ = readWhole(v, 0, MaxInstances) }},
		{key: "keepOnline", read: func(v value) { s.KeepOnline = readKeepOnline(v, s) }},
		{key: "pace", read: func(v value) { s.Pace = readPace(v) }},
		{key: "state", read: func(v value) { s.State = readState(v, s) }},
	}
}

// serviceDigest is what counts of a service for the digest. The digest of a manifest without a
// key that was added later stays what it was: such a key is left out where it has its default.
type serviceDigest struct {
	Name       string           `json:"name"`
	Version    string           `json:"version"`
	Migrations []protocol.Phase `json:"migrations"`
	DependsOn  []string         `json:"dependsOn"`
	Timeout    time.Duration    `json:"timeout"`
	Instances  int              `json:"instances"`
	Retries    int              `json:"retries,omitempty"`
	Backoff    time.Duration    `json:"backoff,omitempty"`
	KeepOnline []string         `json:"keepOnline,omitempty"`
	Pace       *protocol.Pace   `json:"pace,omitempty"`
	State      *stateDigest     `json:"state,omitempty"`
}

// digestService is what counts of a service.
func digestService(s Service) serviceDigest {
	return serviceDigest{
		Name: s.Name, Version: s.Version, Timeout: time.Duration(s.Timeout), Instances: s.Instances,
		Retries: s.Retries, Backoff: unless(time.Duration(s.Backoff), rollout.DefaultBackoff),
		Migrations: append([]protocol.Phase{}, s.Migrations...),
		DependsOn:  append([]string{}, slices.Sorted(slices.Values(s.DependsOn))...),
		KeepOnline: slices.Sorted(slices.Values(s.KeepOnline)),
		Pace:       s.Pace,
		State:      digestState(s),
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

// readPhases reads the phases a service has scripts for, and puts them in the order in
// which they run. They are nil only if there are none.
func readPhases(v value) []protocol.Phase {
	valid := texts(protocol.ServicePhases())
	given := readWords(v, "a list of phases like [before, online]", func(item value, phase string) {
		if slices.Contains(valid, phase) {
			return
		}
		hint := didYouMean(phase, valid)
		if phase == string(protocol.Setup) {
			hint = "the app's own setup service stands at the top of the manifest, in the key setup"
		}
		item.report(hint, "unknown phase %s: valid are %s", quote(phase), list(valid))
	})
	if given == nil {
		return nil
	}
	phases := []protocol.Phase{}
	for _, phase := range protocol.ServicePhases() {
		if slices.Contains(given, string(phase)) {
			phases = append(phases, phase)
		}
	}
	return phases
}

// readKeepOnline reads which other versions of the service s stay online beside its own.
func readKeepOnline(v value, s *Service) []string {
	return readVersions(v, MaxKeepOnline, func(item value, version string) {
		if version == s.Version {
			item.report("remove it from the list", "%s is the service's own version, which is online anyway", quote(version))
		}
	})
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

// readRate reads how many records a second a script may deal with; 0 sets no limit.
func readRate(v value) *float64 {
	const want = "a number of records a second, 0 (no limit) or more"
	plain, ok := v.plain()
	if !ok {
		return nil
	}
	rate, ok := numberOf(plain.node)
	switch {
	case ok && oddNumber.MatchString(plain.node.GetToken().Value):
		plain.wrongNumber(want)
		return nil
	case !ok || rate < 0:
		plain.wrong(want)
		return nil
	}
	if rate > 0 && rate < rollout.MinRate {
		plain.report("golive pause holds a script", "a rate is 0 (no limit) or at least %g records a second, found %s", rollout.MinRate, describe(plain.node))
	}
	return &rate
}

// numberOf is the number that a node holds. Infinity and what is no number at all are
// nodes of other kinds.
func numberOf(node ast.Node) (float64, bool) {
	switch n := node.(type) {
	case *ast.FloatNode:
		return n.Value + 0, true // not -0
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case uint64:
			return float64(i), true
		case int64:
			return float64(i), true
		}
	}
	return 0, false
}

// readInFlight reads how many batches of a script may be under way at the same time.
func readInFlight(v value) int {
	batches, ok := readWhole(v, 0, rollout.MaxInFlight)
	if ok && batches == 0 {
		v.report("leave the key out for what its author has chosen; golive pause holds a script",
			"at least one batch must be under way, found the number 0")
	}
	return batches
}
