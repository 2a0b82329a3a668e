// Package rollout decides what a rollout does next.
//
// It performs no I/O, reads no clock and starts no goroutine. [Compile] makes a plan
// of a release and of what is known of the environment; [State.Apply] is the only way
// a state changes; [State.Todo] derives from a state what to do now, and
// [State.Announcements] what to tell the world of the event that led to it. Whoever
// repeats the same calls gets the same results, so a crash between saving a state and
// acting on it loses nothing.
//
// The promise it keeps: no gate opens before every before and offline script of its plan
// has answered done, and before all has finished that stands above it in the release's
// workflow: people have said yes, commands and checks have succeeded. Where a snapshot of the data
// is to be taken, nothing that changes data begins before it is. A rollout goes forward
// until it is completed or has failed, or to the end of the phase that it was to run, where
// it waits to be asked further; aborted, it puts back the traffic that it has moved, and
// taken backward it undoes in reverse order all that it has done and that can be undone. It
// never turns forward again, and never turns round by itself: [State.TurnsBack] says when it
// should be asked to. A completed one can be amending for a while: its scripts try the
// records again that they have put aside, and no traffic moves. A restore is a rollout that brings no
// version: it puts data and traffic back, and no gate opens before all data is whole.
package rollout

import (
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Sentinels that callers decide on.
var (
	// ErrStale says that an event is about something that is over, or was never
	// asked for: it changes nothing.
	ErrStale = errors.New("stale")
	// ErrConflict says that somebody else has written in the meantime: load again.
	ErrConflict = errors.New("written by somebody else in the meantime")
	// ErrUnknown says that a state was made by a newer version of golive, and cannot be gone
	// on with by this one.
	ErrUnknown = errors.New("not known to this version of golive")
	// ErrTooLarge says that an event does not fit into one message of the bus.
	ErrTooLarge = errors.New("too large")
	// ErrNotFound says that there is no such rollout.
	ErrNotFound = errors.New("no such rollout")
)

// Status is where a rollout stands.
type Status string

// The statuses.
const (
	Queued     Status = "queued"     // it waits for the rollout before it to end; it has no plan yet
	Running    Status = "running"    // on its way forward
	Failed     Status = "failed"     // a step has failed; it can be retried, aborted or taken backward
	Completed  Status = "completed"  // final, unless it is taken backward or amended
	Aborting   Status = "aborting"   // the traffic is being put back, the data stays
	Aborted    Status = "aborted"    // final
	Reverting  Status = "reverting"  // on its way backward: data and traffic are being put back
	Reverted   Status = "reverted"   // final
	Superseded Status = "superseded" // final: it had failed, and a later deploy took its place
	Marked     Status = "marked"     // final: no rollout, but the record of a script marked as run
	Amending   Status = "amending"   // it was completed, and the records that its scripts have put aside are tried again
)

// Final reports whether a rollout has ended and waits for nobody. A completed one can
// still be taken backward, or be amending, as long as no other rollout of its app has begun that
// has done anything.
func (s Status) Final() bool {
	return s == Completed || s == Aborted || s == Reverted || s == Superseded || s == Marked
}

// Kind is what a step does.
type Kind string

// The kinds.
const (
	Migration   Kind = "migration"   // a script's phase
	Traffic     Kind = "traffic"     // a move of production traffic to the new version
	Maintenance Kind = "maintenance" // every request to the service is answered with 503 until its traffic step
	Approving   Kind = "approval"    // a person has to say yes
	Command     Kind = "command"     // agents run a program
	Check       Kind = "check"       // agents look whether something is well
	Snapshot    Kind = "snapshot"    // the data of the app is taken, before anything changes it; in a restore also: what is put back is read
	Put         Kind = "put"         // the data of a service is put back, as a snapshot has it
)

// StepStatus is where a step stands.
type StepStatus string

// The statuses of a step.
const (
	StepPending StepStatus = "pending"
	StepRunning StepStatus = "running"
	StepDone    StepStatus = "done"
	StepFailed  StepStatus = "failed"
	StepSkipped StepStatus = "skipped" // had run before this rollout

	StepRetrying StepStatus = "retrying" // its newest attempt has failed, the next one waits for its time
	StepReverted StepStatus = "reverted" // what it had done has been undone
)

// Step is a unit of the plan. What belongs to one kind stands in a part of its own, which is
// empty in a step of another kind.
type Step struct {
	Number  int    `json:"number"` // from 1
	ID      string `json:"id"`     // "todo-search/offline", "todo-search/traffic", "todo-app/setup"
	Kind    Kind   `json:"kind"`
	Name    string `json:"name"` // of the service, or of the app in phase setup
	Version string `json:"version"`
	Needs   []int  `json:"needs,omitempty"` // steps to wait for, beside the barriers of the phases
	Stage   int    `json:"stage,omitempty"` // its place in the release's workflow, from 1; 0: the release has none

	Status   StepStatus            `json:"status"`
	Attempt  int                   `json:"attempt,omitempty"` // from 1; 0 before the first
	Started  time.Time             `json:"started,omitzero"`  // of the newest attempt
	Ended    time.Time             `json:"ended,omitzero"`
	Timeout  Duration              `json:"timeout,omitempty"`
	Deadline time.Time             `json:"deadline,omitzero"` // of the newest attempt; zero while it is held
	Tries    Tries                 `json:"tries,omitzero"`
	Next     time.Time             `json:"next,omitzero"` // when a retrying step is tried again, or who is asked is reminded; zero while it is held
	Paused   *Pause                `json:"paused,omitempty"`
	Left     Duration              `json:"left,omitempty"` // until Deadline or Next, while it is held
	Error    *protocol.ScriptError `json:"error,omitempty"`
	Skipped  string                `json:"skipped,omitempty"` // why it was skipped

	Revert    bool `json:"revert,omitempty"`    // it is to be undone, or has been: the direction of its newest attempt, or of the next
	Cancelled bool `json:"cancelled,omitempty"` // its running attempt was told to stop, and is waited for
	NoRevert  bool `json:"noRevert,omitempty"`  // it has no revert script, and stays done

	Script   ScriptRun       `json:"script,omitzero"`    // of a migration
	Move     RouteMove       `json:"move,omitzero"`      // of traffic and maintenance
	Approval *Approval       `json:"approval,omitempty"` // of an approval
	Work     *Work           `json:"work,omitempty"`     // of a command or check
	Hosts    []protocol.Host `json:"hosts,omitempty"`    // of a command or check: what came of its newest attempt
	Snapshot *SnapshotRun    `json:"snapshot,omitempty"` // of a snapshot
	Put      *PutRun         `json:"put,omitempty"`      // of a put
}

// Tries is how often a step is tried again by itself, and how often that was needed.
type Tries struct {
	Retries  int      `json:"retries,omitempty"` // that are allowed
	Backoff  Duration `json:"backoff,omitempty"`
	Failures int      `json:"failures,omitempty"` // since a person last had it tried
	Lost     int      `json:"lost,omitempty"`     // workers, one after the other, that have come no further than those before
	Reached  int64    `json:"reached,omitempty"`  // how many items the one of the lost workers had done that had come furthest
}

// forget has all retries allowed again.
func (t *Tries) forget() { t.Failures, t.Lost, t.Reached = 0, 0, 0 }

// ScriptRun is what the script of a migration step is told, and what it has answered.
type ScriptRun struct {
	Phase    protocol.Phase         `json:"phase,omitempty"`
	Pace     *protocol.Pace         `json:"pace,omitempty"` // how fast it may work; nil: as its author has chosen
	Items    int64                  `json:"items,omitempty"`
	Note     string                 `json:"note,omitempty"`
	Digest   string                 `json:"digest,omitempty"`
	PutAside int64                  `json:"putAside,omitempty"`      // records that it could not deal with
	Checks   []protocol.CheckResult `json:"checks,omitempty"`        // that it has made in its newest attempt
	Records  bool                   `json:"failedRecords,omitempty"` // its newest attempt deals with those alone that were put aside

	Unanswered *Unanswered `json:"unanswered,omitempty"` // the last attempt that has ended without an answer; nil: there is none
}

// RouteMove is what a traffic or maintenance step does to the route of its service.
type RouteMove struct {
	Lift      bool      `json:"lift,omitempty"`       // a maintenance step that ends the maintenance
	Drain     bool      `json:"drain,omitempty"`      // a traffic step after which no version is online
	Instances int       `json:"instances,omitempty"`  // that must confirm
	Keep      []string  `json:"keepOnline,omitempty"` // versions that stay online
	Replaces  *Replace  `json:"replaces,omitempty"`   // what it finds
	Revision  uint64    `json:"revision,omitempty"`   // of the route it wrote
	Effective time.Time `json:"effective,omitzero"`   // when callers first saw it: an answer of the new version, or 503
	Undone    time.Time `json:"undone,omitzero"`      // when callers first saw that it was undone
	Awaits    bool      `json:"awaits,omitempty"`     // undone, it waits for an instance of what it puts back; what it has put online serves meanwhile
	Back      bool      `json:"back,omitempty"`       // it could not be finished, and the route is being led back
}

// Replace is what a traffic step replaces: it may write the route only on top of this
// revision.
type Replace struct {
	Revision uint64   `json:"revision"`         // 0: the service has no route
	Online   []string `json:"online,omitempty"` // versions that serve
	Closed   bool     `json:"closed,omitempty"` // it was under maintenance, and goes back to that (of a restore)
}

// ScriptID says which script a migration step runs.
func (s Step) ScriptID() protocol.Script {
	return protocol.Script{Name: s.Name, Version: s.Version, Phase: s.Script.Phase}
}

func (s *Step) finished() bool { return s.Status == StepDone || s.Status == StepSkipped }

// works reports whether somebody works on the step, and answers: a script, agents, or who takes
// a snapshot, or puts one back.
func (s *Step) works() bool {
	return s.Kind == Migration || s.Work != nil || s.Kind == Snapshot || s.Kind == Put
}

// Backwards reports whether a traffic or maintenance step puts back what it has found.
func (s Step) Backwards() bool { return s.Move.Back || s.Revert }

// State is a rollout: its plan and how far it has come. It is a value: nothing that it
// points to is ever changed, so states share the steps that are the same in them.
type State struct {
	ID      string    `json:"id,omitempty"` // UUID v7
	Release Release   `json:"release,omitzero"`
	Status  Status    `json:"status"`
	Steps   []*Step   `json:"steps,omitempty"`
	By      string    `json:"by,omitempty"` // who asked for it
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"` // when it failed or became final
	Event   Event     `json:"event,omitzero"` // that led to this state

	// Amended is how often somebody has had the records tried again that were put aside. Once
	// it is not 0 the rollout has been completed before: that is announced no more.
	Amended int `json:"amended,omitempty"`

	AllowOlder bool `json:"allowOlder,omitempty"` // it may bring a version older than what has run

	// Repeats is the rollout by which the version of the release was live already when this one
	// began; empty: another version was live, or none. See [State.IsRepeat].
	Repeats string `json:"repeats,omitempty"`

	Until protocol.Phase `json:"until,omitempty"` // it runs to the end of this phase, and waits then; empty: to its own
	Asked string         `json:"asked,omitempty"` // id of the request that has had it go further; empty: none

	// Unanswered are attempts of the app's rollouts before that have ended without an answer.
	// Their scripts may be at work still.
	Unanswered []AttemptID `json:"unanswered,omitempty"`

	Paused   *Pause    `json:"paused,omitempty"`   // the whole rollout is
	Backward *Backward `json:"backward,omitempty"` // it goes, or has gone, backward
	Mark     *Mark     `json:"mark,omitempty"`     // of status marked
	Restore  *Restore  `json:"restore,omitempty"`  // it brings no version, it puts a snapshot back; nil: it is none of these
}

// Pause says since when somebody keeps a rollout or a step from going on.
type Pause struct {
	Since  time.Time `json:"since"`
	By     string    `json:"by,omitempty"`
	Reason string    `json:"reason,omitempty"`
}

// Backward says how far back an app shall go.
type Backward struct {
	To          string `json:"to,omitempty"`          // the version of the app to go back to; empty: the one before
	Last        string `json:"last,omitempty"`        // the rollout that is undone after this one, which only repeats it; empty: as To says
	SkipMissing bool   `json:"skipMissing,omitempty"` // go on where a script has no revert script
	Force       bool   `json:"force,omitempty"`       // move traffic back also where nobody is there who answers it
	By          string `json:"by,omitempty"`          // who wants it
	Reason      string `json:"reason,omitempty"`      // why
}

// EventType is what happened to a rollout.
type EventType string

// The events.
const (
	Created      EventType = "created"     // the plan was made, its first steps run
	StepAnswered EventType = "step-done"   // a script, a command or a check has answered done, or a snapshot is taken
	StepBroke    EventType = "step-failed" // a step has failed, timed out or lost its worker
	Closed       EventType = "closed"      // a service is under maintenance or, by a step that lifts it, no longer, and its instances have confirmed it
	Opened       EventType = "opened"      // the new version serves or, by a drain, none does, and its instances have confirmed it
	TurnedBack   EventType = "turned-back" // a move of traffic could not be finished: the route is led back to the version before
	Retried      EventType = "retried"     // a person wants the failed steps tried again
	Replaced     EventType = "superseded"  // a later deploy took the failed rollout's place

	Enqueued      EventType = "queued"   // the rollout waits for the one before it
	StepDue       EventType = "step-due" // the time before a retry is over
	Restored      EventType = "restored" // what served before serves again, and its instances have confirmed it
	AbortAsked    EventType = "aborting" // a person wants the traffic put back and the rollout ended
	BackwardAsked EventType = "backward" // a person wants undone what was done
	PauseAsked    EventType = "paused"   // a person wants the rollout, or one step, to hold
	ResumeAsked   EventType = "resumed"  // a person wants it to go on
	MarkedRun     EventType = "marked"   // a person has recorded a script as run
	PaceAsked     EventType = "paced"    // a person wants a script to work faster, or slower

	ApprovedBy    EventType = "approved"  // a person has said yes
	RejectedBy    EventType = "rejected"  // a person has said no
	ItemConfirmed EventType = "confirmed" // a person has confirmed an item of a checklist
	Reminded      EventType = "reminded"  // nobody has answered within the deadline of an approval
	FurtherAsked  EventType = "further"   // a person wants a later phase run, or all that are left

	Stopped EventType = "stopped" // nobody is at work any more on an attempt that had ended without an answer

	RecordsAsked EventType = "amending" // a person wants the records that were put aside tried again
)

// Event is one thing that happened to a rollout.
type Event struct {
	Type      EventType        `json:"type"`
	At        time.Time        `json:"at"`
	Step      string           `json:"step,omitempty"`
	Attempt   int              `json:"attempt,omitempty"`
	Answer    *protocol.Answer `json:"answer,omitempty"`   // of StepAnswered, StepBroke and TurnedBack
	Named     bool             `json:"named,omitempty"`    // the answer came as the named message, so observers have seen it
	Revert    bool             `json:"revert,omitempty"`   // of StepAnswered and StepBroke: it is the answer of a revert script
	Revision  uint64           `json:"revision,omitempty"` // of Opened, Closed and Restored
	Effective time.Time        `json:"effective,omitzero"` // of Opened, Closed and Restored: when callers first saw it; never zero there
	By        string           `json:"by,omitempty"`       // of what a person wants: who
	Reason    string           `json:"reason,omitempty"`   // of what a person wants: why

	Item     int            `json:"item,omitempty"`     // of ItemConfirmed, from 1
	Until    protocol.Phase `json:"until,omitempty"`    // of FurtherAsked; empty: to its end
	Asked    string         `json:"asked,omitempty"`    // of FurtherAsked: id of the request, a repetition of which changes nothing
	Backward *Backward      `json:"backward,omitempty"` // of BackwardAsked
	Pace     *protocol.Pace `json:"pace,omitempty"`     // of PaceAsked
	Of       *AttemptID     `json:"of,omitempty"`       // of Stopped: which attempt
	Missing  []string       `json:"missing,omitempty"`  // of BackwardAsked: steps that have no revert script
	Awaits   []string       `json:"awaits,omitempty"`   // of BackwardAsked: steps whose traffic goes back only to an instance that is there

	Routes map[string]uint64 `json:"routes,omitempty"` // of BackwardAsked: revisions of the services' routes

	Snapshot *SnapshotRun `json:"snapshot,omitempty"` // of StepAnswered of a snapshot: what was taken
	Put      *PutRun      `json:"put,omitempty"`      // of StepAnswered of a put: what was put back
}

// Mark is the state of a script that a person has recorded as run, without running it.
type Mark struct {
	Name    string         `json:"name"` // of the service; of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase"`
}

// Script is the script that counts as run.
func (m Mark) Script() protocol.Script {
	return protocol.Script{Name: m.Name, Version: m.Version, Phase: m.Phase}
}

// What is the event as the journal names it: what became of the rollout where that
// changed, else the event's own type. A rollout is "completed" once; when it is so again
// after it was amending, it is "amended".
func (s State) What() string {
	switch {
	case s.Event.Type == PaceAsked, s.Event.Type == Stopped: // also of a rollout that has failed, and goes on failed
	case s.Status == Completed && s.Amended > 0:
		return "amended"
	case s.Status == Completed, s.Status == Failed, s.Status == Aborted, s.Status == Reverted:
		return string(s.Status)
	}
	return string(s.Event.Type)
}

// All gives the steps and their indexes, in the order of the plan.
func (s State) All() iter.Seq2[int, Step] {
	return func(yield func(int, Step) bool) {
		for i, step := range s.Steps {
			if !yield(i, *step) {
				return
			}
		}
	}
}

// Step gives the step called id.
func (s State) Step(id string) (Step, bool) {
	i := slices.IndexFunc(s.Steps, func(step *Step) bool { return step.ID == id })
	if i < 0 {
		return Step{}, false
	}
	return *s.Steps[i], true
}

// Running lists the steps that run now.
func (s State) Running() []Step {
	var running []Step
	for _, step := range s.Steps {
		if step.Status == StepRunning {
			running = append(running, *step)
		}
	}
	return running
}

// FailedSteps lists the steps whose newest attempt has failed; on the way back, those that
// could not be undone.
func (s State) FailedSteps() []Step {
	var failed []Step
	for _, step := range s.Steps {
		if step.Status == StepFailed && (step.Revert || !undoing(s)) {
			failed = append(failed, *step)
		}
	}
	return failed
}
