package protocol

import (
	"strconv"
	"time"
)

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

// AgentSubject is where an agent takes a message: "run", "cancel" (both an [Order]) or "ping".
// An answer is {} or {"error": {...}}.
func AgentSubject(agent, message string) string { return "golive.agent." + agent + "." + message }

// HostKey is the key under which an agent keeps what it has done for a step, numbered as in
// the plan, in one direction.
func HostKey(rollout string, step int, revert bool, agent string) string {
	return rollout + "." + strconv.Itoa(step) + "." + direction(revert) + "." + agent
}
