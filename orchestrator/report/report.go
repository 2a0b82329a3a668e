package report

import (
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// FormatReport is the number of the form of a [Report] in JSON. A field may be added without
// another number; what a field means does not change.
const FormatReport = 1

// Report is what a rollout was to do and what came of it, until an event of its journal. It is
// made of the journal alone, and holds nothing that depends on when, where or by which orchestrator
// it is made: the same journal gives the same report, by the same version of golive. Times are in UTC, by the clock of the bus.
// Neither records nor what programs have written are in it.
type Report struct {
	Format      int              `json:"format"` // [FormatReport]
	Rollout     string           `json:"rollout"`
	App         string           `json:"app"`
	Version     string           `json:"version"`
	Environment string           `json:"environment,omitempty"` // its name; empty: it was not told
	Strategy    rollout.Strategy `json:"strategy"`

	Status   rollout.Status `json:"status"`
	Outcome  string         `json:"outcome"`  // in a sentence
	Sequence uint64         `json:"sequence"` // of the last event that it knows
	At       time.Time      `json:"at"`       // when that happened

	By      string           `json:"by,omitempty"`     // who asked for the rollout
	Reason  string           `json:"reason,omitempty"` // why
	Begun   time.Time        `json:"begun"`
	Ended   time.Time        `json:"ended,omitzero"` // zero: it has not
	Took    rollout.Duration `json:"took"`           // until it ended, or until At
	Repeats string           `json:"repeats,omitempty"`

	Source   *rollout.Source `json:"source,omitempty"`   // the commit; absent: not known
	Restore  *Restored       `json:"restore,omitempty"`  // what it was to put back; absent: it is no restore
	Snapshot *Snapshot       `json:"snapshot,omitempty"` // of the state right before; absent: none was taken
	Digests  []Digest        `json:"digests"`            // of the manifest, and of each script that has told one

	Steps      []Step         `json:"steps"` // of the plan, in its order
	Deviations []Deviation    `json:"deviations"`
	Asked      []Intervention `json:"asked"`     // what people, and golive itself, have asked for since it began
	Approvals  []Question     `json:"approvals"` // that were asked for
	Checks     []Check        `json:"checks"`    // of scripts, and those that agents have done
	Hosts      []Host         `json:"hosts"`     // on which commands and checks were done

	Records  int64            `json:"records"`  // that scripts have dealt with, in the newest attempts of all steps
	PutAside int64            `json:"putAside"` // records that are put aside, of all steps
	Downtime rollout.Duration `json:"downtime"` // as callers saw it: any service of the app was under maintenance
	Outages  []rollout.Outage `json:"outages"`  // of single services

	Events []Event `json:"events"` // all of them, oldest first
}

// Snapshot is the state of an app's services that was taken before a rollout changed it.
type Snapshot struct {
	ID     string `json:"id"`
	Digest string `json:"digest,omitempty"`
}

// Digest is that of one part of a release.
type Digest struct {
	Part    string `json:"part"` // "manifest", or the id of a step
	Version string `json:"version"`
	Digest  string `json:"digest"`
}

// Step is a step as it was planned, and what came of it.
type Step struct {
	Number   int     `json:"number"` // from 1
	ID       string  `json:"id"`
	Does     string  `json:"does"`
	Wave     int     `json:"wave,omitempty"`     // in the plan: steps of one wave can run side by side; 0: it was skipped
	WaitsFor []int   `json:"waitsFor,omitempty"` // numbers of steps that it had to wait for
	Skipped  string  `json:"skipped,omitempty"`  // why it was not to be run
	Expected *Timing `json:"expected,omitempty"` // how long its script had taken before; absent: not known

	Status  rollout.StepStatus `json:"status"`
	Order   int                `json:"order,omitempty"` // as the how manyth step it began, from 1; 0: it has not
	Attempt int                `json:"attempts,omitempty"`
	Begun   time.Time          `json:"begun,omitzero"` // its first attempt
	Ended   time.Time          `json:"ended,omitzero"` // its newest attempt
	Took    rollout.Duration   `json:"took,omitempty"` // its newest attempt

	Records  int64  `json:"records,omitempty"`  // that its script has dealt with
	PutAside int64  `json:"putAside,omitempty"` // that it could not deal with
	Note     string `json:"note,omitempty"`     // that its script has given
	Error    string `json:"error,omitempty"`
}

// Timing is how long something took, and in which rollout.
type Timing struct {
	Took    rollout.Duration `json:"took"`
	Rollout string           `json:"rollout"`
}

// Deviation is what went otherwise than planned.
type Deviation struct {
	Step   string `json:"step,omitempty"` // empty: the rollout
	What   string `json:"what"`
	Detail string `json:"detail,omitempty"` // such as the error of an attempt
}

// Intervention is what somebody has asked for.
type Intervention struct {
	At     time.Time `json:"at"`
	By     string    `json:"by,omitempty"`
	What   string    `json:"what"`
	Step   string    `json:"step,omitempty"` // empty: the rollout
	Reason string    `json:"reason,omitempty"`
}

// Question is what people were asked, who had to approve.
type Question struct {
	Step     string         `json:"step"`
	Question string         `json:"question"`
	Items    []Item         `json:"items,omitempty"`    // of its checklist
	Approved []rollout.Vote `json:"approved,omitempty"` // by name
	Rejected *rollout.Vote  `json:"rejected,omitempty"`
}

// Item is an item of a checklist, and who has confirmed it.
type Item struct {
	Text      string        `json:"text"`
	Confirmed *rollout.Vote `json:"confirmed,omitempty"` // absent: nobody has
}

// Check is something that had to hold.
type Check struct {
	Step  string `json:"step"`
	Name  string `json:"name,omitempty"` // of the check of a script
	Holds bool   `json:"holds"`
	Error string `json:"error,omitempty"`
}

// Host is what came of a command or a check on a host, in the newest attempt there.
type Host struct {
	Step    string           `json:"step"`
	Host    string           `json:"host"`
	Status  string           `json:"status"`
	Attempt int              `json:"attempt"`
	Took    rollout.Duration `json:"took,omitempty"`
	Exit    *int             `json:"exit,omitempty"` // exit code, of a program that has ended by itself
	Note    string           `json:"note,omitempty"`
	Error   string           `json:"error,omitempty"`
}

// Event is one thing that happened.
type Event struct {
	Sequence uint64         `json:"sequence"`
	At       time.Time      `json:"at"`
	Type     string         `json:"type"`
	What     string         `json:"what"` // in a few words
	Status   rollout.Status `json:"status"`
}
