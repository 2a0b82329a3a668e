package protocol

import (
	"regexp"
	"strconv"
	"strings"
	"time"
)

// AgentLease is how long an agent's entry in [AgentsBucket] lasts that is not renewed. It is
// longer than a cluster takes to elect a leader, so that an election alone stops nobody.
const AgentLease = 20 * time.Second

// Agent is the value under an agent's name in [AgentsBucket]: what runs on a host. The
// entry is a lease: it is gone when the agent does not renew it.
type Agent struct {
	Name     string            `json:"name"`     // of the host
	Instance string            `json:"instance"` // UUID, new whenever the agent starts
	Labels   map[string]string `json:"labels,omitempty"`
	Releases []AgentRelease    `json:"releases"` // whose commands it may run
	Version  string            `json:"version"`  // of golive
	Since    time.Time         `json:"since"`
}

// AgentRelease is a release that an agent has been given.
type AgentRelease struct {
	App     string `json:"app"`
	Version string `json:"version"`
	Digest  string `json:"digest"` // of the manifest
}

// Order tells an agent that a step of a rollout is to be done on its host. It holds no
// command: the agent has that from the release that it was given, and finds out from the
// journal whether the order is true.
type Order struct {
	Rollout string `json:"rollout"`
	App     string `json:"app"`
	Step    string `json:"step"`
	Attempt int    `json:"attempt"`
	Revert  bool   `json:"revert,omitempty"`
}

// Host is what an agent has done for a step, in one direction: the value under its
// [HostKey], and part of the rollout's state once the step's attempt has ended.
type Host struct {
	Name     string     `json:"host"`     // of the agent
	Instance string     `json:"instance"` // of the agent that has begun it
	Attempt  int        `json:"attempt"`  // of the step, in which it ran last
	Status   HostStatus `json:"status"`
	Started  time.Time  `json:"started,omitzero"`
	Ended    time.Time  `json:"ended,omitzero"`
	Exit     *int       `json:"exit,omitempty"`   // exit code, of a program that has ended by itself
	Output   string     `json:"output,omitempty"` // the end of what it wrote: at most MaxHostOutput bytes
	Cut      bool       `json:"cut,omitempty"`    // it wrote more than that
	Note     string     `json:"note,omitempty"`   // such as "had been done already"
	Error    string     `json:"error,omitempty"`  // why it has failed
	Code     string     `json:"code,omitempty"`   // the same as a code: [CodeFailed], [CodeTimeout], [CodeCancelled], [CodeLost], or that of a refusal
}

// MaxHostOutput is how many bytes of a host's output are kept in its entry.
const MaxHostOutput = 16 << 10

// HostStatus is where a host stands.
type HostStatus string

// The statuses of a host.
const (
	HostWaiting HostStatus = "waiting" // it is to be told
	HostRunning HostStatus = "running"
	HostDone    HostStatus = "done"
	HostFailed  HostStatus = "failed"
	HostLost    HostStatus = "lost" // its agent has died in the middle
)

// MaxAgentName is how long the name of an agent may be, in bytes.
const MaxAgentName = 63

var agentName = regexp.MustCompile(`^[A-Za-z0-9-][A-Za-z0-9_-]*$`)

// ValidateAgentName reports whether an agent may be called name. The error is an
// *[InvalidError].
func ValidateAgentName(name string) error {
	broken := func(rule string) error { return &InvalidError{Kind: "name", Value: name, Rule: rule} }
	switch {
	case name == "":
		return broken("must not be empty")
	case strings.HasPrefix(name, "_"):
		return broken("must not start with an underscore")
	case !agentName.MatchString(name):
		return broken("may hold only letters, digits, hyphens and underscores")
	case len(name) > MaxAgentName:
		return broken("is " + strconv.Itoa(len(name)) + " characters long, at most " + strconv.Itoa(MaxAgentName) + " are allowed")
	}
	return nil
}

// AgentAnswer is what an agent answers to a message.
type AgentAnswer struct {
	Instance string        `json:"instance,omitempty"` // to a ping: who it is
	Error    *ServiceError `json:"error,omitempty"`    // why it does not do what it was told
}

// Codes of an [AgentAnswer]'s error.
const (
	CodeRefused        = "refused"         // the order is not one that this agent may follow
	CodeUnknownRelease = "unknown_release" // the agent was not given the rollout's release
	CodeNotWanted      = "not_wanted"      // the journal does not say that the step runs, at that attempt and direction
)

// Assignment is the value under an [AssignmentKey]: which hosts a step's attempt is done on,
// whoever sees to it.
type Assignment struct {
	Attempt   int      `json:"attempt"`
	Hosts     []string `json:"hosts"`
	Cancelled bool     `json:"cancelled,omitempty"` // no host begins with it any more, and those that run it stop
	Late      bool     `json:"late,omitempty"`      // it is cancelled because its time is over
}

// AgentSubject is where an agent takes a message: "run", "cancel" (both an [Order]) or "ping".
// The answer is an [AgentAnswer]: {} or {"error": {...}}.
func AgentSubject(agent, message string) string { return "golive.agent." + agent + "." + message }

// HostKey is the key under which an agent keeps what it has done for a step, numbered as in
// the plan, in one direction.
func HostKey(rollout string, step int, revert bool, agent string) string {
	return rollout + "." + strconv.Itoa(step) + "." + direction(revert) + "." + agent
}

// AssignmentKey is the key of a step's [Assignment] in one direction. No agent's name begins
// with "_".
func AssignmentKey(rollout string, step int, revert bool) string {
	return HostKey(rollout, step, revert, "_assignment")
}

// HostKeys matches the keys of a rollout in [HostsBucket].
func HostKeys(rollout string) string { return rollout + ".>" }

// ParseHostKey takes a [HostKey] apart; ok is false for anything else, also for an
// [AssignmentKey].
func ParseHostKey(key string) (rollout string, step int, revert bool, agent string, ok bool) {
	tokens := strings.Split(key, ".")
	if len(tokens) != 4 || tokens[0] == "" || ValidateAgentName(tokens[3]) != nil {
		return "", 0, false, "", false
	}
	step, err := strconv.Atoi(tokens[1])
	revert = tokens[2] == direction(true)
	if err != nil || step < 1 || key != HostKey(tokens[0], step, revert, tokens[3]) {
		return "", 0, false, "", false
	}
	return tokens[0], step, revert, tokens[3], true
}
