package rollout

import (
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Item is an entry of a release's workflow: a phase, a move of traffic, or a step of its
// own. Entries happen one after the other.
type Item struct {
	Phase    protocol.Phase `json:"phase,omitempty"`    // the scripts of this phase stand here; of online, the gates open here too, unless an Open stands above
	Traffic  Move           `json:"traffic,omitempty"`  // a move of traffic
	Services []string       `json:"services,omitempty"` // of Traffic: which; empty: all of the release. A drain names others

	Name     string    `json:"name,omitempty"` // of an approval, command or check: the id of its step
	Approval *Question `json:"approval,omitempty"`
	Work     *Work     `json:"work,omitempty"` // of a command or check
}

// Move is what a traffic entry does.
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

// Question is what a person is asked.
type Question struct {
	Text      string   `json:"text"`
	Checklist []string `json:"checklist,omitempty"` // confirmed one by one
	Deadline  Duration `json:"deadline,omitempty"`  // after which, and each further such time, somebody is reminded; 0: the policy's
}

// Work is what agents do on hosts. The program itself is not part of it: an agent has that
// from the release that it was given.
type Work struct {
	Check    bool              `json:"check,omitempty"`    // it looks at something, and changes nothing
	Backward bool              `json:"backward,omitempty"` // it can be undone
	On       map[string]string `json:"on,omitempty"`       // labels of the agents that do it; empty: any one agent
	Need     Need              `json:"need,omitzero"`      // how many hosts must succeed; zero: all
	AtOnce   int               `json:"atOnce,omitempty"`   // on how many hosts at the same time; 0: on all
	Timeout  Duration          `json:"timeout,omitempty"`  // of each attempt; 0: none
	Retries  int               `json:"retries,omitempty"`
	Backoff  Duration          `json:"backoff,omitempty"`
}

// Need is how many hosts must succeed: a number or a share of them. The zero value is all.
type Need struct {
	Hosts   int `json:"hosts,omitempty"`
	Percent int `json:"percent,omitempty"` // 1 to 100; of the hosts, rounded up
}

// Of is how many of so many hosts must succeed: at least one, and not more than there are
// unless a larger number was asked for.
func (n Need) Of(hosts int) int {
	switch {
	case n.Hosts > 0:
		return n.Hosts
	case n.Percent > 0:
		return max((hosts*n.Percent+99)/100, 1)
	}
	return max(hosts, 1)
}

// Requirement is what must have happened before a release.
type Requirement struct {
	Version string `json:"version"` // of the app; its rollout has completed, and was not undone since
}

// Policy is who may approve.
type Policy struct {
	Required   bool     `json:"required,omitempty"`   // each rollout begins with an approval
	By         []string `json:"by,omitempty"`         // who may; empty: anyone
	Count      int      `json:"count,omitempty"`      // how many different people have to; 0: 1
	NotStarter bool     `json:"notStarter,omitempty"` // none of them may be the one who started the rollout
	Deadline   Duration `json:"deadline,omitempty"`   // of questions that name none; 0: none
	Rehearsed  Duration `json:"rehearsed,omitempty"`  // within which the release has to have passed a rehearsal before it is deployed; 0: it need not
}

// Approval is where an approval step stands.
type Approval struct {
	Question
	Policy    Policy `json:"policy,omitzero"`
	Confirmed []Vote `json:"confirmed,omitempty"` // items of the checklist, by their number
	Approved  []Vote `json:"approved,omitempty"`
	Rejected  *Vote  `json:"rejected,omitempty"`
	Reminded  int    `json:"reminded,omitempty"` // how often somebody was reminded
}

// Vote is what a person has said.
type Vote struct {
	By     string    `json:"by"`
	At     time.Time `json:"at"`
	Reason string    `json:"reason,omitempty"`
	Item   int       `json:"item,omitempty"` // of the checklist, from 1; 0: the whole
}
