package api

import (
	"github.com/golive-dev/golive/orchestrator/gate"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Codes of errors of the API. They are stable.
const (
	CodeInvalid     = "invalid"      // the request cannot be understood or is not allowed at all
	CodeNotFound    = "not_found"    // there is no such thing
	CodeAmbiguous   = "ambiguous"    // a short id fits several rollouts
	CodeRolloutOpen = "rollout_open" // another rollout of the app is under way
	CodeConflict    = "conflict"     // the state of the thing does not allow it
	CodeUnavailable = "unavailable"  // the bus or its storage does not answer

	CodeConfirm      = "confirm"       // it may do harm, and has to be asked for with force
	CodeNoRevert     = "no_revert"     // scripts that have run have no revert script, or nobody listens for it
	CodeOlder        = "older"         // the version is older than what has run
	CodeMustNotSkip  = "must_not_skip" // a version in between has to be rolled out first
	CodePlanChanged  = "plan_changed"  // what the plan depends on has changed since it was made
	CodeNotAllowed   = "not_allowed"   // somebody else may say so, or it is not known who does
	CodeRequires     = "requires"      // another version has to be completed first
	CodeTooLarge     = "too_large"     // it does not fit into a message of this bus
	CodeNotRehearsed = "not_rehearsed" // the release has not passed a rehearsal within the time that the environment wants
	CodePhase        = "phase"         // the release has no such phase, or another one has to run first
)

// DeployRequest asks for a rollout. The id is the client's, a UUID v7, so that a
// repeated request finds its own rollout.
type DeployRequest struct {
	Rollout string          `json:"rollout"`
	Release rollout.Release `json:"release"`
	By      string          `json:"by,omitempty"`
	Reason  string          `json:"reason,omitempty"`
	Queue   bool            `json:"queue,omitempty"`   // wait for a rollout of the app that is under way, instead of being refused
	Replace bool            `json:"replace,omitempty"` // abort a rollout of the app that is under way, and those in its queue, instead of being refused

	AllowOlder bool `json:"allowOlder,omitempty"` // bring a version older than what has run

	Needs []string `json:"needs,omitempty"` // what the request relies on, of [Features]: an orchestrator that does not know one refuses it

	// Phase is where the rollout stops, until the same release is deployed again; empty: it
	// goes to its end. A rollout that has stopped so is gone on with.
	Phase protocol.Phase `json:"phase,omitempty"`

	Plan      string         `json:"plan,omitempty"`      // id of a plan, or at least 12 digits of it: be refused if it is another one by now
	DependsOn *rollout.Basis `json:"dependsOn,omitempty"` // of that plan; the refusal says then what has changed

	Known bool `json:"-"` // the bus says who By is
}

// ApproveRequest answers the question of an approval step with yes, or confirms one item of
// its checklist.
type ApproveRequest struct {
	StepRequest
	Item int `json:"item,omitempty"` // from 1; 0: approve the whole
}

// AbortRequest asks for a rollout to be aborted: the version before serves again, data stays
// as it is.
type AbortRequest struct {
	RolloutRequest
	Force bool `json:"force,omitempty"` // also where offline scripts have begun to change data that the version before works on, or scripts that were told to stop do not say that they have
}

// StepRequest names a rollout or, with a step's id, one of its steps.
type StepRequest struct {
	RolloutRequest
	Step string `json:"step,omitempty"` // empty: the whole rollout
}

// PaceRequest asks for the script of a step to work faster, or slower. What it does not
// name stays as it is.
type PaceRequest struct {
	Rollout  string   `json:"rollout"` // id or any unique beginning of it
	Step     string   `json:"step"`
	Rate     *float64 `json:"rate,omitempty"`     // records a second; 0: as fast as it can
	InFlight int      `json:"inFlight,omitempty"` // batches under way at the same time; 0: not named
	By       string   `json:"by,omitempty"`
	Reason   string   `json:"reason,omitempty"`
}

// RetryRequest asks for the failed steps of a rollout to be tried again or, of one that is
// completed, the records that its scripts have put aside.
type RetryRequest struct {
	Rollout       string `json:"rollout"` // id or any unique beginning of it
	By            string `json:"by,omitempty"`
	Reason        string `json:"reason,omitempty"`
	FailedRecords bool   `json:"failedRecords,omitempty"`
	Step          string `json:"step,omitempty"` // with FailedRecords: of this step alone; empty: of all
}

// RecordsRequest asks for a page of the records that a rollout's scripts have put aside, in
// the order in which they did so.
type RecordsRequest struct {
	Rollout string `json:"rollout"`         // id or any unique beginning of it
	Step    string `json:"step,omitempty"`  // empty: of all steps
	After   string `json:"after,omitempty"` // the Next of the page before
	Limit   int    `json:"limit,omitempty"` // 1 to 1000; 0: 100. A page may hold fewer
}

// RecordsPage is a page of records that were put aside.
type RecordsPage struct {
	Records []protocol.FailedRecord `json:"records"`
	Next    string                  `json:"next,omitempty"` // to ask for the next page with; empty: this is the last
}

// BackwardRequest asks for an app to go back to a version that was live before.
type BackwardRequest struct {
	App         string `json:"app"`
	Rollout     string `json:"rollout,omitempty"`     // that is to be undone first, by its id, which makes repeating the request safe; empty: the last one
	To          string `json:"to,omitempty"`          // version of the app; empty: the one before
	SkipMissing bool   `json:"skipMissing,omitempty"` // leave as it is what scripts without a revert script have done
	Force       bool   `json:"force,omitempty"`       // also where too few instances are alive of what gets production traffic again; else [CodeNotAlive]
	By          string `json:"by,omitempty"`
	Reason      string `json:"reason,omitempty"`
}

// MarkRequest asks for a script to be recorded as run, without running it.
type MarkRequest struct {
	App     string         `json:"app,omitempty"` // empty: the one that the service belongs to
	Name    string         `json:"name"`          // of the service; of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
	By      string         `json:"by,omitempty"`
	Reason  string         `json:"reason"` // required
}

// RolloutRequest names a rollout by its id or any unique beginning of it.
type RolloutRequest struct {
	Rollout string `json:"rollout"`
	By      string `json:"by,omitempty"`
	Reason  string `json:"reason,omitempty"`

	Known bool `json:"-"` // the bus says who By is
}

// AppRequest names an app; empty means all.
type AppRequest struct {
	App string `json:"app,omitempty"`
}

// HostsRequest asks what agents have done for a rollout.
type HostsRequest struct {
	Rollout string `json:"rollout"` // id or any unique beginning of it
	Step    string `json:"step"`
}

// LedgerRequest asks for what has run, oldest first.
type LedgerRequest struct {
	App    string `json:"app,omitempty"`    // empty: of all apps
	Limit  int    `json:"limit,omitempty"`  // only so many, the newest ones; 0: all
	Before uint64 `json:"before,omitempty"` // only those of events before this sequence: the page before an entry; 0: all
}

// ListRequest asks for a page of rollouts, newest first. A page holds fewer than the
// limit where they would not fit into one message.
type ListRequest struct {
	App    string `json:"app,omitempty"`    // empty: of all apps
	Limit  int    `json:"limit,omitempty"`  // 1 to 100; 0: 20
	Before string `json:"before,omitempty"` // a rollout's id or any unique beginning of it: the page of those older than it
}

// RolloutView is a rollout as it stands: what the journal says, and what has been
// observed of its running steps.
type RolloutView struct {
	rollout.State
	Sequence     uint64                 `json:"sequence"`
	Observations map[string]Observation `json:"observations,omitempty"` // by step
	Outages      []rollout.Outage       `json:"outages,omitempty"`      // services that were, or are, under maintenance
	Downtime     rollout.Duration       `json:"downtime,omitempty"`     // of the app, so far
	Waits        []string               `json:"waits,omitempty"`        // what it waits for, beside the steps that run
	Before       *LiveBefore            `json:"before,omitempty"`       // in the answer to a [DeployRequest] alone: as in [PlanView]
}

// RolloutStory is a rollout with everything that has happened to it, oldest first; where that
// would not fit into one message, with as much as does of what has happened last.
type RolloutStory struct {
	RolloutView
	Events  []StoryEvent `json:"events"`
	Earlier int          `json:"earlier,omitempty"` // events that came before those, and are left out
}

// StoryEvent is one event of a story.
type StoryEvent struct {
	rollout.Event
	Sequence uint64         `json:"sequence"`
	Status   rollout.Status `json:"status"` // of the rollout after it
}

// RolloutList is a page of rollouts.
type RolloutList struct {
	Rollouts []RolloutView `json:"rollouts"`
	Next     string        `json:"next,omitempty"` // Before of the next page; empty: this is the last
}

// AppStatus says what of an app is online and what it is doing.
type AppStatus struct {
	App      string          `json:"app"`
	Version  string          `json:"version"` // of the newest rollout
	Rollout  RolloutView     `json:"rollout"` // the newest that has not only repeated another
	Services []ServiceStatus `json:"services"`
	Changed  bool            `json:"changed,omitempty"` // the app's own setup script has changed since it ran
	Queued   []RolloutView   `json:"queued,omitempty"`  // rollouts that wait for this one

	// Alarms say, for people, what keeps production requests to the app from being answered, or
	// is about to: nobody is alive of what is online, instances have no lease, the bus stores
	// nothing.
	Alarms []string `json:"alarms,omitempty"`
}

// ServiceStatus says what of a service is online.
type ServiceStatus struct {
	Service string   `json:"service"`
	Version string   `json:"version"`           // that the newest rollout brings
	Online  []string `json:"online"`            // versions that serve, or would if it were not for the maintenance
	Alive   int      `json:"alive"`             // instances of what is online or, while nothing is, of that version
	Holding int      `json:"holding,omitempty"` // further ones, which have no lease and hold requests
	NotRun  []string `json:"notRun,omitempty"`  // phases whose scripts have not run
	Changed []string `json:"changed,omitempty"` // phases whose scripts have changed since they ran, as their setup service tells

	Maintenance *protocol.Maintenance `json:"maintenance,omitempty"`
}

// RouteStatus is a route with the instances that act on it.
type RouteStatus struct {
	gate.Route
	Instances []gate.Instance `json:"instances"`
	Alarms    []string        `json:"alarms,omitempty"` // see [AppStatus]
}

// VersionInfo is what the orchestrator says of itself.
type VersionInfo struct {
	Version string `json:"version"`
	Server  string `json:"server"` // version of the NATS server

	// Skipped is how many messages the orchestrator that answers has met among the events of
	// rollouts that are none.
	Skipped uint64 `json:"skipped,omitempty"`

	Clocks []ClockStatus `json:"clocks,omitempty"` // orchestrators whose clocks differ from the bus's
}
