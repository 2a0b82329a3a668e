package api

import (
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Codes of problems of a plan that no command is refused with. They are stable.
const (
	CodeNotListening = "not_listening" // nobody listens to the start of a script
	CodeNotAlive     = "not_alive"     // too few instances of a service are alive
	CodeNoAgent      = "no_agent"      // no agent, or too few, can do a command or check
)

// PlanRequest asks what a deploy of the release would do.
type PlanRequest struct {
	Release    rollout.Release `json:"release"`
	AllowOlder bool            `json:"allowOlder,omitempty"` // as in [DeployRequest]
	Needs      []string        `json:"needs,omitempty"`      // as in [DeployRequest]
	Phase      protocol.Phase  `json:"phase,omitempty"`      // as in [DeployRequest]
}

// PlanView is what a deploy would do. What it depends on is part of it, so that a deploy
// can be held to it.
type PlanView struct {
	ID        string                   `json:"id"` // digest of what it depends on
	App       string                   `json:"app"`
	Version   string                   `json:"version"`
	Strategy  rollout.Strategy         `json:"strategy"`
	Pending   bool                     `json:"pending"`            // there is something to do
	Approval  bool                     `json:"approval,omitempty"` // a person has to approve, at some step
	Phase     protocol.Phase           `json:"phase,omitempty"`    // at whose end it stops; empty: it goes to its own
	GoesOn    string                   `json:"goesOn,omitempty"`   // the rollout that it goes on with, which has stopped at the end of a phase
	Steps     []PlanStep               `json:"steps"`
	Downtime  *PlannedDowntime         `json:"downtime,omitempty"` // nil: no service goes under maintenance
	Before    *LiveBefore              `json:"before,omitempty"`   // the version has been live here with another manifest; nil: it has not
	GivesWay  []string                 `json:"givesWay,omitempty"` // rollouts of the app that have failed, and end when this one begins
	Problems  []*protocol.ServiceError `json:"problems,omitempty"` // because of which it cannot run now
	NoData    []string                 `json:"noData,omitempty"`   // streams of services that are online, in which the release says that their data is, and which are not there
	DependsOn rollout.Basis            `json:"dependsOn"`
	Source    *rollout.Source          `json:"source,omitempty"` // as in the request

	Rehearsed *PlannedRehearsal `json:"rehearsed,omitempty"` // the last rehearsal of this very release; nil: none is known
}

// PlannedRehearsal is what is known of the last rehearsal of a release, as whoever has rehearsed it
// has told.
type PlannedRehearsal struct {
	Rehearsal string           `json:"rehearsal"` // its id
	At        time.Time        `json:"at"`        // when it was told
	By        string           `json:"by,omitempty"`
	Passed    bool             `json:"passed"`
	Drilled   bool             `json:"drilled,omitempty"` // it was gone back and forward again, too
	Snapshot  string           `json:"snapshot"`
	Partial   bool             `json:"partial,omitempty"` // on some of its data only
	Commit    string           `json:"commit,omitempty"`
	Downtime  rollout.Duration `json:"downtime"` // that it predicts: at its rates, for as much data as there is here now
}

// PlanStep is a step of a plan.
type PlanStep struct {
	Number    int            `json:"number"` // from 1
	ID        string         `json:"id"`
	Kind      rollout.Kind   `json:"kind"`
	Name      string         `json:"name"`    // of the service, or of the app in phase setup
	Version   string         `json:"version"` // that its script is of, or that gets traffic; of maintenance, that has it
	Phase     protocol.Phase `json:"phase,omitempty"`
	Wave      int            `json:"wave,omitempty"`      // steps of one wave can run at the same time; 0: it is skipped
	WaitsFor  []int          `json:"waitsFor,omitempty"`  // numbers of steps, without those that these wait for
	Online    []string       `json:"online,omitempty"`    // of traffic and maintenance: versions that serve now
	Unchanged bool           `json:"unchanged,omitempty"` // of traffic: the version serves already, and goes on
	Skipped   string         `json:"skipped,omitempty"`   // why it is skipped
	Later     bool           `json:"later,omitempty"`     // it is of a phase that is not asked for

	Approval *rollout.Approval `json:"approval,omitempty"` // of an approval: who is asked what
	Work     *rollout.Work     `json:"work,omitempty"`     // of a command or check
	Hosts    []string          `json:"hosts,omitempty"`    // of a command or check: agents that can do it now
	Lift     bool              `json:"lift,omitempty"`     // of maintenance: it ends it
	Drain    bool              `json:"drain,omitempty"`    // of traffic: no version is online afterwards

	Snapshot *PlannedSnapshot `json:"snapshot,omitempty"` // of a snapshot: what it would take

	Last *LastRun `json:"last,omitempty"` // nil: it is not known, or has never run
}

// PlannedSnapshot is what a snapshot would take of what is there now.
type PlannedSnapshot struct {
	Services []string          `json:"services"`           // whose data it holds; empty: there is none yet
	Bytes    uint64            `json:"bytes"`              // that their streams hold
	Estimate *rollout.Duration `json:"estimate,omitempty"` // at the speed of the newest snapshot of the app; nil: it has none
}

// LiveBefore is the last rollout that has brought a version live with another manifest than the
// one that is asked for.
type LiveBefore struct {
	Rollout string    `json:"rollout"`
	At      time.Time `json:"at"` // when it had completed
	Digest  string    `json:"digest"`
}

// LastRun says when a step was last done, and how long that took.
type LastRun struct {
	Environment string `json:"environment,omitempty"` // where that was; empty: in this one
	Rehearsal   bool   `json:"rehearsal,omitempty"`   // it was a rehearsal, which Rollout is the id of; the duration is what it predicts

	Duration rollout.Duration `json:"duration"`
	At       time.Time        `json:"at"` // when it had finished
	Rollout  string           `json:"rollout"`
}

// PlannedDowntime is how long services will be under maintenance.
type PlannedDowntime struct {
	Services []string          `json:"services"`
	Estimate *rollout.Duration `json:"estimate,omitempty"` // what the offline scripts that wait for each other, and the steps beside them, took last; nil: not known
	Unknown  []string          `json:"unknown,omitempty"`  // offline scripts, and steps beside them, that have never run here
}

// Todo reports whether there is something to do in a step.
func (s PlanStep) Todo() bool { return s.Skipped == "" && !s.Later && !s.Unchanged }
