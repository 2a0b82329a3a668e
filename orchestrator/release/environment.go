package release

import "github.com/golive-dev/golive/orchestrator/rollout"

// MaxEnvironments is how many environments a manifest may name.
const MaxEnvironments = 50

// Environment is where a release goes to, and what is different there. The zero value is
// that of no name: nothing is different.
type Environment struct {
	Name      string
	NATS      string         // URLs of the bus; empty: not said
	Creds     string         // file of NATS credentials, relative to the manifest's folder unless absolute; empty: none
	Context   string         // name of a NATS CLI context that says both; empty: none
	Approvals rollout.Policy // who may approve
}

// Setting is one effective value of a manifest, and where it comes from.
type Setting struct {
	Key    string // "services.todos.instances"
	Value  string // as it would be written in YAML, on one line; secrets in URLs masked
	File   string // as it was given to Load; empty: it is the default
	Line   int    // 0: it is the default
	Within string // the environment that says so; empty: the manifest itself, or the default
}

// Bus is an environment that the manifest knows, whichever it was loaded for: where its
// bus is, and who may approve there.
func (m *Manifest) Bus(environment string) (Environment, bool) {
	bus, known := m.buses[environment]
	return bus, known
}
