package release

import (
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Limits of the steps of a manifest.
const (
	MaxSteps      = 200                 // entries of steps
	MaxChecklist  = 100                 // items of one approval
	MaxText       = 2000                // bytes of a text for people
	MaxLabels     = 16                  // of one step's on
	MaxTries      = 1000                // of one check
	MinPause      = time.Second / 10    // between two tries
	MaxPause      = time.Hour           // between two tries
	MaxHealthyFor = 24 * time.Hour      // of one check
	MinDeadline   = time.Second         // of an approval
	MaxDeadline   = 90 * 24 * time.Hour // of an approval
	MaxApprovers  = 100                 // that may approve
)

// Step is an entry of the manifest's steps. The list tells what happens one after the
// other: exactly one of Phase, Traffic, Approval, Command and Check is set.
type Step struct {
	Phase    protocol.Phase // the scripts of this phase stand here; of online, the gates open here too, unless a Traffic open stands above
	Traffic  Move           // a move of traffic
	Services []string       // of Traffic: which services; nil: all of the release. A drain names others

	Name     string    // of an approval, a command or a check; like a service's name, unique in the list
	Approval *Approval // a person has to say yes
	Command  *Command  // a program runs on agents
	Check    *Check    // something is looked at from agents

	On      map[string]string // of a command or check: labels of the agents that it runs on; nil: any one agent
	Need    Need              // of a command or check with On: how many hosts must succeed; zero: all
	AtOnce  int               // of a command or check with On: on how many hosts at the same time; 0: on all
	Timeout time.Duration     // of a command or check, of each attempt on all hosts; 0: none
	Retries int               // of a command or check, by itself, on the hosts that have failed
	Backoff time.Duration     // before the first retry, as of a service
}

// Move is what a traffic step does.
type Move string

// The moves.
const (
	Open           Move = "open"            // the new versions get traffic
	Drain          Move = "drain"           // a service that the release no longer holds gets no traffic any more
	MaintenanceOn  Move = "maintenance-on"  // requests are answered with 503
	MaintenanceOff Move = "maintenance-off" // the version that served before serves again
)

// Moves lists the moves.
func Moves() []Move { return []Move{Open, Drain, MaintenanceOn, MaintenanceOff} }

// Approval asks a person.
type Approval struct {
	Text      string
	Checklist []string      // confirmed one by one
	Deadline  time.Duration // after which, and each further such time, a reminder goes out; 0: the environment's, else none
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

// Need is how many hosts must succeed: a number or a share. The zero value is all.
type Need struct {
	Hosts   int // at least so many
	Percent int // of the hosts, 1 to 100, rounded up
}

// Requirement is what must have happened in the environment before the release.
type Requirement struct {
	Version   string // of the app, older than this one
	Completed bool   // its rollout has completed; always true in a valid manifest
}

// Approvals is an environment's policy: who may say yes to its rollouts.
type Approvals struct {
	Required   bool          // each rollout begins with an approval
	By         []string      // users who may approve; nil: anyone
	Count      int           // how many different people have to; 0: 1
	NotStarter bool          // none of them may be the one who started the rollout
	Deadline   time.Duration // of approvals that name none; 0: none
}
