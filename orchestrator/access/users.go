package access

import (
	"fmt"
	"slices"

	"github.com/Masterminds/semver/v3"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Role is what a user does.
type Role string

// The roles.
const (
	Orchestrator Role = "orchestrator"
	Instance     Role = "service"
	Setup        Role = "setup service"
	Agent        Role = "agent"
	Person       Role = "person"
	Deployer     Role = "deployment system"
	Rehearser    Role = "rehearser"
	Observer     Role = "observer"
)

// User is a user of the bus.
type User struct {
	Name   string
	Role   Role
	Of     string          // the service, the app or the agent; empty: the role says all
	Rights protocol.Rights // empty for [Orchestrator], which may everything
}

// Team are the users that a release does not name.
type Team struct {
	People    []string // who operate the environment; those whom its approvals name belong to them
	Deployers []string
	Observers []string
	Agents    []string // by the names that golive agent is given

	Rehearsers []string
}

// orchestrators is the user that all orchestrators of an environment connect as.
const orchestrators = "orchestrator"

// Users are those of a release and a team, in a fixed order: the orchestrators, each service, each
// setup service, agents, people, deployment systems, rehearsers and observers. The error names two that would
// have the same name.
//
// The rights of setup services are for the versions with the major number that the release has,
// and with the next one: they stay as they are from release to release.
func Users(r rollout.Release, team Team) ([]User, error) {
	var services []string
	for _, s := range r.Services {
		services = append(services, s.Name)
	}
	all := []User{{Name: orchestrators, Role: Orchestrator}}
	for _, s := range r.Services {
		rights := protocol.InstanceRights(s.Name, s.Name, services...)
		if s.State != nil {
			rights = rights.With(data(*s.State))
			if s.State.Messages {
				rights = rights.With(protocol.StateRights(s.Name))
			}
		}
		all = append(all, User{s.Name, Instance, s.Name, rights})
	}
	var progress protocol.Rights
	setup := func(name, version string, app bool) {
		majors := majorsOf(version)
		user := name + "-setup"
		all = append(all, User{user, Setup, name, protocol.SetupRights(user, name, app, majors, services...)})
		for _, major := range majors {
			progress = progress.With(protocol.ProgressRights(name, app, major))
		}
	}
	for _, s := range r.Services {
		if len(s.Migrations) > 0 {
			setup(s.Name, s.Version, false)
		}
	}
	if r.Setup {
		setup(r.App, r.Version, true)
	}
	for _, agent := range team.Agents {
		user := "agent-" + agent
		all = append(all, User{user, Agent, agent, protocol.AgentRights(user, agent, services...)})
	}
	for _, name := range people(r, team) {
		all = append(all, User{name, Person, "", protocol.PersonRights(name).With(progress)})
	}
	for _, name := range team.Deployers {
		all = append(all, User{name, Deployer, "", protocol.DeployerRights(name).With(progress)})
	}
	for _, name := range team.Rehearsers {
		all = append(all, User{name, Rehearser, "", protocol.RehearserRights(name).With(progress)})
	}
	for _, name := range team.Observers {
		all = append(all, User{name, Observer, "", protocol.ObserverRights(name).With(progress)})
	}
	return all, distinct(all)
}

// people are those of the team and those who may approve.
func people(r rollout.Release, team Team) []string {
	var once []string
	for _, name := range slices.Concat(team.People, r.Approvals.By) {
		if !slices.Contains(once, name) {
			once = append(once, name)
		}
	}
	return once
}

func data(d rollout.Data) protocol.Rights {
	var r protocol.Rights
	for _, name := range d.KV {
		r = r.With(protocol.BucketRights(name))
	}
	for _, name := range d.Objects {
		r = r.With(protocol.ObjectRights(name))
	}
	for _, name := range d.Streams {
		r = r.With(protocol.StreamRights(name))
	}
	return r
}

func majorsOf(version string) []uint64 {
	v, err := semver.NewVersion(version)
	if err != nil {
		return nil // a release has no such version
	}
	return []uint64{v.Major(), v.Major() + 1}
}

func distinct(all []User) error {
	seen := make(map[string]User)
	for _, u := range all {
		if other, known := seen[u.Name]; known {
			return fmt.Errorf("the user %s would be both %s and %s: give one another name", u.Name, other.what(), u.what())
		}
		if !plain(u.Name) {
			return fmt.Errorf("%q is no name of a user: use letters, digits, -, _, . and @", u.Name)
		}
		seen[u.Name] = u
	}
	return nil
}

// what is a user in a sentence.
func (u User) what() string {
	if u.Of == "" {
		return string(u.Role)
	}
	return string(u.Role) + " " + u.Of
}

// plain reports whether a name can be a user, the name of a file and text of a configuration.
func plain(name string) bool {
	for i, c := range []byte(name) {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '@', i > 0 && (c == '-' || c == '.'):
		default:
			return false
		}
	}
	return name != "" && len(name) <= 100
}
