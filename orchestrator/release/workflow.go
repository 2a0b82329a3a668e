package release

import (
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Limits of the steps of a manifest, beside those of package rollout.
const (
	MaxTries      = 1000                // of one check
	MinPause      = time.Second / 10    // between two tries
	MaxPause      = time.Hour           // between two tries
	MaxHealthyFor = 24 * time.Hour      // of one check
	MinDeadline   = time.Second         // of an approval
	MaxDeadline   = 90 * 24 * time.Hour // of an approval
)

// Step is an entry of the manifest's steps. The list tells what happens one after the
// other: exactly one of Phase, Traffic, Approval, Command and Check is set.
type Step struct {
	Phase    protocol.Phase // the scripts of this phase stand here; of online, the gates open here too, unless a Traffic open stands above
	Traffic  rollout.Move   // a move of traffic
	Services []string       // of Traffic: which services; nil: all of the release. A drain names others

	Name     string            // of an approval, a command or a check; like a service's name, unique in the list
	Approval *rollout.Question // a person has to say yes
	Command  *Command          // a program runs on agents
	Check    *Check            // something is looked at from agents

	On      map[string]string // of a command or check: labels of the agents that it runs on; nil: any one agent
	Need    rollout.Need      // of a command or check with On: how many hosts must succeed; zero: all
	AtOnce  int               // of a command or check with On: on how many hosts at the same time; 0: on all
	Timeout rollout.Duration  // of a command or check, of each attempt on all hosts; 0: none
	Retries int               // of a command or check, by itself, on the hosts that have failed
	Backoff rollout.Duration  // before the first retry, as of a service
}

// Command is a program that agents run from the manifest's folder, with forward as its
// first argument: done is exit code 0.
type Command struct {
	Args     []string // without a shell
	Shell    string   // or a line for sh -c, that finds forward in $1
	Backward bool     // it takes backward, too, and undoes then what forward did
	Status   bool     // it takes status, too, and exits with 0 if forward has been done already
}

// Check looks at something until that is well. Exactly one of Args, Shell, HTTP and Message
// is set.
type Check struct {
	Args  []string // a program; it is well if it exits with 0
	Shell string   // a line for sh -c

	HTTP   string // the URL of a GET request
	Expect int    // of HTTP: the status code; 0: any from 200 to 299

	Message string // the name of a message to a service of the release, like todos.count, at the private address of the version that the release brings
	Payload string // of Message: JSON; empty: no payload

	Contains string // of HTTP and Message: text that the answer must hold; empty: any

	Tries      int           // how often it is looked at until it has failed; 0: 1
	Pause      time.Duration // between two tries; 0: one second
	HealthyFor time.Duration // how long it must be well without a break; 0: once is enough
	Within     time.Duration // that one try may take; 0: ten seconds
}

// Requirement is what must have happened in the environment before the release.
type Requirement struct {
	Version   string // of the app, older than this one
	Completed bool   // its rollout has completed; always true in a valid manifest
}
