package protocol

import (
	"encoding/json"
	"math"
	"time"
)

// StartMessage is the payload of a start.
type StartMessage struct {
	Rollout       string            `json:"rollout"`           // UUID v7; empty when a person published the start by hand
	Step          string            `json:"step"`              // "todo-search/offline"
	Attempt       int               `json:"attempt"`           // from 1
	App           string            `json:"app"`               //
	AppVersion    string            `json:"appVersion"`        //
	Service       string            `json:"service,omitempty"` // absent in the app's own phase
	Version       string            `json:"version,omitempty"` // absent in the app's own phase
	Phase         Phase             `json:"phase"`
	Revert        bool              `json:"revert"`
	Deadline      time.Time         `json:"deadline,omitzero"`       // after it the answer is no longer waited for, by the bus's clock; zero: none
	Left          Duration          `json:"left,omitempty"`          // until the deadline, when this was sent; 0: there is none, or it is not told
	Heartbeat     Duration          `json:"heartbeat,omitempty"`     // how often a script that tells its progress has to; 0: not named
	Lease         Duration          `json:"lease,omitempty"`         // for so long the script may go on without an answer of the bus, and then has to have stopped; 0: not named
	Services      map[string]string `json:"services,omitempty"`      // the versions of the release's services, by name
	Pace          *Pace             `json:"pace,omitempty"`          // how fast the script may work; absent: as its author has chosen
	FailedRecords bool              `json:"failedRecords,omitempty"` // the script shall deal with the records that its step has put aside, and with no others
}

// Pace is how fast a script may work. What it does not name stays as it is.
type Pace struct {
	Rate     *float64 `json:"rate,omitempty"`     // records a second, of all instances together; 0: as fast as it can
	InFlight int      `json:"inFlight,omitempty"` // batches under way at the same time, in each instance; 0: not named
}

// Script is the script that the message starts.
func (m StartMessage) Script() Script {
	if m.Phase == Setup {
		return Script{Name: m.App, Version: m.AppVersion, Phase: Setup}
	}
	return Script{Name: m.Service, Version: m.Version, Phase: m.Phase}
}

// Answer is the payload of a done, failed, reverted or revert-failed message. All
// fields are optional.
type Answer struct {
	Rollout string `json:"rollout,omitempty"`
	Attempt int    `json:"attempt,omitempty"`
	Done    bool   `json:"done,omitempty"`
	Items   int64  `json:"items,omitempty"` // how many records the script has dealt with, those that it has put aside not counted
	Note    string `json:"note,omitempty"`
	Digest  string `json:"digest,omitempty"` // of the setup service's build

	// PutAside is how many records the script could not deal with, and has put aside: they
	// are in [FailedRecordsBucket].
	PutAside int64 `json:"putAside,omitempty"`

	Checks []CheckResult `json:"checks,omitempty"` // that the script has made, in their order

	Hosts []Host `json:"hosts,omitempty"` // what agents have done; orchestrators alone say so

	Error *ScriptError `json:"error,omitempty"`
}

// CheckResult is what a script has found when it checked something before or after its work.
type CheckResult struct {
	Name  string `json:"name"` // "every todo is found"
	Holds bool   `json:"holds"`
	Error string `json:"error,omitempty"` // what was found instead
}

// ControlMessage is the payload of a cancel, pause, resume or pace message. It is about one
// attempt, in whichever direction that runs: attempts of a step are counted through
// both.
type ControlMessage struct {
	Rollout  string    `json:"rollout"`
	Attempt  int       `json:"attempt"`
	Deadline time.Time `json:"deadline,omitzero"` // of resume: the new one, by the bus's clock; zero: none
	Left     Duration  `json:"left,omitempty"`    // until the deadline, when this was sent; 0: there is none, or it is not told
	Pace     *Pace     `json:"pace,omitempty"`    // of pace
}

// Hello is what an instance of a setup service publishes once it listens. Orchestrators then
// look whether those who had claimed attempts of its scripts before are still there.
type Hello struct {
	Instance string `json:"instance"`
	Name     string `json:"name"` // of the service, or of the app
	Version  string `json:"version"`
}

// Withheld is the instance in a claim by which nobody may be at work on the attempt any more.
const Withheld = "golive"

// Claim is the value under a [ClaimKey]: who runs an attempt and, where no orchestrator has
// accepted it soon, its answer. Whoever has made it renews it while the script is at work.
type Claim struct {
	Instance string    `json:"instance"`
	At       time.Time `json:"at"`
	Answer   *Answer   `json:"answer,omitempty"`
}

// ScriptInfo is the answer to an empty request on [AboutScriptSubject]. Who answers it
// promises to claim each attempt before it runs it, and to give a sign of life as soon
// as a start has arrived: a start without one has been lost and is sent again.
type ScriptInfo struct {
	Instance string `json:"instance"`
	Digest   string `json:"digest,omitempty"` // of the setup service's build
	Revert   bool   `json:"revert,omitempty"` // whether it has a revert script for it
}

// ScriptError is why a script has failed. A nil Retry means that trying again may
// help; a false one that it will not.
type ScriptError struct {
	Code    string `json:"code,omitempty"`
	Message string `json:"message"`
	Retry   *bool  `json:"retry,omitempty"`
}

// Error is the message, behind its code where there is one.
func (e *ScriptError) Error() string {
	if e.Code == "" {
		return e.Message
	}
	return e.Code + ": " + e.Message
}

// Codes of failure that the orchestrator and the SDK give themselves.
const (
	CodeCancelled = "cancelled" // the script was told to stop
	CodePanic     = "panic"     // the script panicked
	CodeTimeout   = "timeout"   // no answer before the deadline
	CodeLost      = "lost"      // the signs of life stopped coming
	CodeReply     = "reply"     // a plain reply that was not done
	CodeFailed    = "failed"    // the script returned an error
)

// ProgressMessage is the payload of a progress message. Total is 0 where it is not
// known, and may be overrun. A nil Done is a bare sign of life.
type ProgressMessage struct {
	Rollout string `json:"rollout"`
	Attempt int    `json:"attempt"`
	Done    *int64 `json:"done,omitempty"`
	Total   int64  `json:"total,omitempty"`
	Note    string `json:"note,omitempty"`

	Rate     float64 `json:"rate,omitempty"`     // records a second now
	Average  float64 `json:"average,omitempty"`  // records a second since this attempt has begun, times of pause left out
	Limit    float64 `json:"limit,omitempty"`    // records a second that it keeps to; 0: none
	Held     string  `json:"held,omitempty"`     // why it does not go on, or not as fast as it could: "paused", "throttled: replica lag 12 s"
	PutAside int64   `json:"putAside,omitempty"` // records so far that could not be dealt with

	Told *Told `json:"told,omitempty"` // nil: the script does not say it
}

// Told is what a script goes by of what orchestrators have told it. They tell once more what it
// has missed, as one does that was cut off.
type Told struct {
	Paused bool  `json:"paused,omitempty"`
	Pace   *Pace `json:"pace,omitempty"` // nil: it knows of none
}

// Misses reports whether the script goes by another pace than the one that it shall.
func (t Told) Misses(pace *Pace) bool {
	if pace == nil {
		return false
	}
	var goesBy Pace
	if t.Pace != nil {
		goesBy = *t.Pace
	}
	return pace.Rate != nil && (goesBy.Rate == nil || *goesBy.Rate != *pace.Rate) || pace.InFlight > 0 && goesBy.InFlight != pace.InFlight
}

// Checked is the message without what cannot be, such as less than no records: whoever reads
// what a script tells of itself reads this.
func (p ProgressMessage) Checked() ProgressMessage {
	if p.Done != nil && *p.Done < 0 {
		p.Done = nil
	}
	p.Total, p.PutAside = max(p.Total, 0), max(p.PutAside, 0)
	p.Rate, p.Average, p.Limit = possible(p.Rate), possible(p.Average), possible(p.Limit)
	return p
}

// possible is a rate, or 0 in the place of one that cannot be.
func possible(rate float64) float64 {
	if math.IsNaN(rate) || math.IsInf(rate, 0) || rate < 0 {
		return 0
	}
	return rate
}

// Wanted is the payload of a request on a [WantedSubject]: a person wants something done by
// scripts to whose starts nobody listens.
type Wanted struct {
	Starts []string `json:"starts"` // their subjects
}

// Starting is the answer of somebody who can start setup services of an app: to which of the
// starts those will listen that run already or are being started now.
type Starting struct {
	Starts []string `json:"starts"`
}

// FailedRecord is the value under a [FailedRecordKey]: a record that a script could not
// deal with and has put aside, to go on with the others.
type FailedRecord struct {
	Step      string          `json:"step"`
	Backfill  string          `json:"backfill,omitempty"`  // of the script's; empty: it has one, without a name
	Partition string          `json:"partition,omitempty"` // of the source; empty: it has none
	Cursor    string          `json:"cursor"`              // of the record in the source
	Record    json.RawMessage `json:"record"`
	Error     string          `json:"error"`
	Tries     int             `json:"tries"`
	Attempt   int             `json:"attempt"` // of the step that has put it aside
	At        time.Time       `json:"at"`
}

// LogLine is the payload of a line that a script logs, published on [LogSubject].
type LogLine struct {
	Step    string    `json:"step"`
	Attempt int       `json:"attempt"`
	Time    time.Time `json:"time"`
	Level   string    `json:"level"` // debug | info | warn | error
	Text    string    `json:"text"`
}

// Accepted is the orchestrator's reply to an answer that was sent as a request. An
// answer that came too late or for another attempt is not accepted; sending it
// again is of no use.
type Accepted struct {
	Accepted *bool  `json:"accepted"` // nil: not a reply of an orchestrator
	Reason   string `json:"reason,omitempty"`
}

// ServiceError is the error in an answer of golive.api.
type ServiceError struct {
	Code    string   `json:"code"`
	Message string   `json:"message"`
	Hint    string   `json:"hint,omitempty"`
	Unheard []string `json:"unheard,omitempty"` // starts that nobody listens to, which is why
}

// Error is the message.
func (e *ServiceError) Error() string { return e.Message }

// Route is the gate's entry for one service: which versions get its production
// traffic.
type Route struct {
	Service     string         `json:"service"`
	Rollout     string         `json:"rollout"`            // that wrote this revision
	Sequence    uint64         `json:"sequence,omitempty"` // of the fact in the journal that called for it
	Versions    []RouteVersion `json:"versions"`
	Maintenance *Maintenance   `json:"maintenance,omitempty"`
	Next        string         `json:"next,omitempty"` // what the hint of the next revision proves itself by, see [HintHolds]
}

// RouteVersion is a version that a route lists.
type RouteVersion struct {
	Version string       `json:"version"`
	State   VersionState `json:"state"`
}

// VersionState is what a version does with production requests.
type VersionState string

// The states of a version in a route, and the last one of an instance.
const (
	StateStandby  VersionState = "standby"  // forwards to a version that is online; holds while none is
	StateOnline   VersionState = "online"   // answers
	StateFenced   VersionState = "fenced"   // holds what it gets, and finishes what it has
	StateDraining VersionState = "draining" // leaves, forwarding late arrivals
	StateOffline  VersionState = "offline"  // not listed: gets none

	StateLeft VersionState = "left" // only of an instance: it has stopped and answers nothing any more
)

// Maintenance says that a service answers every request with 503 for now.
type Maintenance struct {
	Since      time.Time `json:"since"`
	RetryAfter Duration  `json:"retryAfter,omitempty"` // when callers are to try again; 0: they are not told
}

// State is what the route lists version as; [StateOffline] when it does not list
// it. The zero Route lists nothing.
func (r Route) State(version string) VersionState {
	for _, v := range r.Versions {
		if v.Version == version {
			return v.State
		}
	}
	return StateOffline
}

// Online lists the versions that answer, in the route's order.
func (r Route) Online() []string {
	var online []string
	for _, v := range r.Versions {
		if v.State == StateOnline {
			online = append(online, v.Version)
		}
	}
	return online
}

// Lease is the value under an instance's key of [LeasesBucket]: who it is, for people.
type Lease struct {
	Version string `json:"version"`
	Host    string `json:"host,omitempty"`
	PID     int    `json:"pid,omitempty"`
}

// LeaseFor is how long a lease lasts. An instance answers production requests for a little
// less than that after it has sent the lease that was stored last, by its own clock. It is
// longer than a cluster takes to elect a leader, so that an election alone stops nobody.
const LeaseFor = 20 * time.Second

// Confirmation is what an instance publishes once it acts on a revision of its
// service's route, and again every [ConfirmEvery] while it lives.
type Confirmation struct {
	Revision uint64       `json:"revision"` // 0: the service has no route yet
	State    VersionState `json:"state"`    // of this instance's version
	Version  string       `json:"version"`

	// Unleased is for how long the instance has had no lease: it holds production requests, and
	// its confirmation counts for nothing but to show that. 0: it has one.
	Unleased Duration `json:"unleased,omitempty"`

	// Address says that the instance answers at its [InstanceSubject], from its start to its end.
	Address bool `json:"address,omitempty"`
}

// ConfirmEvery is how often an instance repeats its confirmation.
const ConfirmEvery = 2 * time.Second
