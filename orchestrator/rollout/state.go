// Package rollout decides what a rollout does next.
//
// It performs no I/O, reads no clock and starts no goroutine. [Compile] makes a plan
// of a release and of what is known of the environment; [State.Apply] is the only way
// a state changes; [State.Todo] derives from a state what to do now, and
// [State.Announcements] what to tell the world of the event that led to it. Whoever
// repeats the same calls gets the same results, so a crash between saving a state and
// acting on it loses nothing.
//
// The promise it keeps: a traffic step does not run before every before and offline
// script of its plan has answered done.
package rollout

import (
	"errors"
	"fmt"
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
	Completed  Status = "completed"  // final, unless it is taken backward
	Aborting   Status = "aborting"   // the traffic is being put back, the data stays
	Aborted    Status = "aborted"    // final
	Reverting  Status = "reverting"  // on its way backward: data and traffic are being put back
	Reverted   Status = "reverted"   // final
	Superseded Status = "superseded" // final: it had failed, and a later deploy took its place
	Marked     Status = "marked"     // final: no rollout, but the record of a script marked as run
)

// Final reports whether a rollout has ended and waits for nobody. A completed one can
// still be taken backward, as long as no other rollout of its app has begun.
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

// Step is a unit of the plan.
type Step struct {
	Number  int            `json:"number"` // from 1
	ID      string         `json:"id"`     // "todo-search/offline", "todo-search/traffic", "todo-app/setup"
	Kind    Kind           `json:"kind"`
	Name    string         `json:"name"` // of the service, or of the app in phase setup
	Version string         `json:"version"`
	Phase   protocol.Phase `json:"phase,omitempty"` // of a migration
	Needs   []int          `json:"needs,omitempty"` // steps to wait for, beside the barriers of the phases

	Status   StepStatus            `json:"status"`
	Attempt  int                   `json:"attempt,omitempty"` // from 1; 0 before the first
	Started  time.Time             `json:"started,omitzero"`  // of the newest attempt
	Ended    time.Time             `json:"ended,omitzero"`
	Timeout  Duration              `json:"timeout,omitempty"`
	Deadline time.Time             `json:"deadline,omitzero"`
	Items    int64                 `json:"items,omitempty"`
	Note     string                `json:"note,omitempty"`
	Digest   string                `json:"digest,omitempty"`
	Error    *protocol.ScriptError `json:"error,omitempty"`
	Skipped  string                `json:"skipped,omitempty"` // why it was skipped

	// Of traffic and maintenance steps:
	Instances int       `json:"instances,omitempty"`  // that must confirm
	Keep      []string  `json:"keepOnline,omitempty"` // versions that stay online
	Replaces  *Replace  `json:"replaces,omitempty"`   // what it finds
	Revision  uint64    `json:"revision,omitempty"`   // of the route it wrote
	Effective time.Time `json:"effective,omitzero"`   // when callers first saw it: an answer of the new version, or 503
	Back      bool      `json:"back,omitempty"`       // it could not be finished, and the route is being led back
}

// Replace is what a traffic step replaces: it may write the route only on top of this
// revision.
type Replace struct {
	Revision uint64   `json:"revision"`         // 0: the service has no route
	Online   []string `json:"online,omitempty"` // versions that serve
}

// Script is the script of a migration step.
func (s Step) Script() protocol.Script {
	return protocol.Script{Name: s.Name, Version: s.Version, Phase: s.Phase}
}

func (s Step) finished() bool { return s.Status == StepDone || s.Status == StepSkipped }

// State is a rollout: its plan and how far it has come. It is a value; its slices are
// never changed in place.
type State struct {
	ID      string    `json:"id"` // UUID v7
	Release Release   `json:"release"`
	Status  Status    `json:"status"`
	Steps   []Step    `json:"steps"`
	By      string    `json:"by,omitempty"` // who asked for it
	Created time.Time `json:"created"`
	Ended   time.Time `json:"ended,omitzero"` // when it failed or became final
	Event   Event     `json:"event"`          // that led to this state

	Paused   *Pause    `json:"paused,omitempty"`   // the whole rollout is
	Backward *Backward `json:"backward,omitempty"` // it goes, or has gone, backward
	Mark     *Mark     `json:"mark,omitempty"`     // of status marked
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
	SkipMissing bool   `json:"skipMissing,omitempty"` // go on where a script has no revert script
}

// EventType is what happened to a rollout.
type EventType string

// The events.
const (
	Created      EventType = "created"     // the plan was made, its first steps run
	StepAnswered EventType = "step-done"   // a script has answered done
	StepBroke    EventType = "step-failed" // a script has failed, timed out or lost its worker
	Closed       EventType = "closed"      // a service is under maintenance, and its instances have confirmed it
	Opened       EventType = "opened"      // the new version serves, and its instances have confirmed it
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
)

// Event is one thing that happened to a rollout.
type Event struct {
	Type      EventType        `json:"type"`
	At        time.Time        `json:"at"`
	Step      string           `json:"step,omitempty"`
	Attempt   int              `json:"attempt,omitempty"`
	Answer    *protocol.Answer `json:"answer,omitempty"`   // of StepAnswered, StepBroke and TurnedBack
	Named     bool             `json:"named,omitempty"`    // the answer came as the named message, so observers have seen it
	Revision  uint64           `json:"revision,omitempty"` // of Opened and Closed
	Effective time.Time        `json:"effective,omitzero"` // of Opened and Closed: when callers first saw it
	By        string           `json:"by,omitempty"`       // of what a person wants: who
	Reason    string           `json:"reason,omitempty"`   // of what a person wants: why
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
// changed, else the event's own type.
func (s State) What() string {
	if s.Status == Completed || s.Status == Failed {
		return string(s.Status)
	}
	return string(s.Event.Type)
}

// Step gives the step called id.
func (s State) Step(id string) (Step, bool) {
	i := slices.IndexFunc(s.Steps, func(step Step) bool { return step.ID == id })
	if i < 0 {
		return Step{}, false
	}
	return s.Steps[i], true
}

// Running lists the steps that run now.
func (s State) Running() []Step {
	var running []Step
	for _, step := range s.Steps {
		if step.Status == StepRunning {
			running = append(running, step)
		}
	}
	return running
}

// FailedSteps lists the steps whose newest attempt has failed.
func (s State) FailedSteps() []Step {
	var failed []Step
	for _, step := range s.Steps {
		if step.Status == StepFailed {
			failed = append(failed, step)
		}
	}
	return failed
}

// Apply is the state after e. An event that is about something over gives
// [ErrStale]. With an error the state is s, unchanged.
func (s State) Apply(e Event) (State, error) {
	next := s
	next.Steps = slices.Clone(s.Steps)
	next.Event = e
	next, err := next.apply(e)
	if err != nil {
		return s, err
	}
	return next, nil
}

// apply may change the steps in place.
func (s State) apply(e Event) (State, error) {
	switch e.Type {
	case StepAnswered, StepBroke:
		return s.applyAnswer(e)
	case Opened:
		return s.applyMoved(e, Traffic)
	case Closed:
		return s.applyMoved(e, Maintenance)
	case TurnedBack:
		return s.applyTurnedBack(e)
	case Retried:
		return s.applyRetried(e)
	case Replaced:
		return s.applyReplaced(e)
	}
	return s, fmt.Errorf("rollout %s: unknown event %q", s.ID, e.Type)
}

// attempt finds the step that e is about, if that attempt of it runs.
func (s State) attempt(e Event, kinds ...Kind) (*Step, error) {
	for i := range s.Steps {
		step := &s.Steps[i]
		if step.ID != e.Step || !slices.Contains(kinds, step.Kind) {
			continue
		}
		if step.Status != StepRunning {
			return nil, fmt.Errorf("%w: step %s is %s, it waits for nothing", ErrStale, e.Step, step.Status)
		}
		if step.Attempt != e.Attempt {
			return nil, fmt.Errorf("%w: step %s runs at attempt %d, not at attempt %d", ErrStale, e.Step, step.Attempt, e.Attempt)
		}
		return step, nil
	}
	return nil, fmt.Errorf("%w: rollout %s has no step for %s called %q", ErrStale, s.ID, e.Type, e.Step)
}

func (s State) applyAnswer(e Event) (State, error) {
	kinds := []Kind{Migration}
	if e.Type == StepBroke {
		kinds = append(kinds, Traffic, Maintenance)
	}
	step, err := s.attempt(e, kinds...)
	if err != nil {
		return s, err
	}
	answer := protocol.Answer{}
	if e.Answer != nil {
		answer = *e.Answer
	}
	step.Ended, step.Items, step.Note, step.Digest = e.At, answer.Items, answer.Note, answer.Digest
	if e.Type == StepAnswered {
		step.Status, step.Error = StepDone, nil
		return s.advance(e.At), nil
	}
	step.Status = StepFailed
	if answer.Error != nil || !step.Back {
		step.Error = answer.Error
	}
	if step.Error == nil {
		step.Error = &protocol.ScriptError{Code: protocol.CodeFailed, Message: "it gave no reason"}
	}
	return s.advance(e.At), nil
}

func (s State) applyMoved(e Event, kind Kind) (State, error) {
	step, err := s.attempt(e, kind)
	if err != nil {
		return s, err
	}
	if step.Back {
		return s, fmt.Errorf("%w: step %s is being led back", ErrStale, e.Step)
	}
	step.Status, step.Ended, step.Revision, step.Effective = StepDone, e.At, e.Revision, e.Effective
	return s.advance(e.At), nil
}

func (s State) applyTurnedBack(e Event) (State, error) {
	step, err := s.attempt(e, Traffic, Maintenance)
	if err != nil {
		return s, err
	}
	if step.Back {
		return s, fmt.Errorf("%w: step %s is being led back already", ErrStale, e.Step)
	}
	step.Back, step.Error = true, &protocol.ScriptError{Code: protocol.CodeFailed, Message: "it could not be finished"}
	if e.Answer != nil && e.Answer.Error != nil {
		step.Error = e.Answer.Error
	}
	return s, nil
}

func (s State) applyRetried(e Event) (State, error) {
	if s.Status != Failed {
		return s, fmt.Errorf("%w: rollout %s is %s, only a failed one can be retried", ErrStale, s.ID, s.Status)
	}
	s.Status, s.Ended = Running, time.Time{}
	for i := range s.Steps {
		if s.Steps[i].Status == StepFailed {
			s.Steps[i].begin(e.At)
		}
	}
	return s.advance(e.At), nil
}

func (s State) applyReplaced(e Event) (State, error) {
	if s.Status.Final() {
		return s, fmt.Errorf("%w: rollout %s is %s, it cannot be superseded any more", ErrStale, s.ID, s.Status)
	}
	s.Status, s.Ended = Superseded, e.At
	for i := range s.Steps {
		if step := &s.Steps[i]; step.Status == StepRunning {
			step.Status, step.Ended = StepFailed, e.At
			step.Error = &protocol.ScriptError{Code: protocol.CodeCancelled, Message: "a later deploy took the rollout's place"}
		}
	}
	return s, nil
}

// begin starts the next attempt of a step.
func (s *Step) begin(at time.Time) {
	s.Attempt++
	s.Status, s.Started, s.Ended, s.Error = StepRunning, at, time.Time{}, nil
	s.Items, s.Note, s.Digest, s.Back = 0, "", "", false
	if s.Kind == Migration && s.Timeout > 0 {
		s.Deadline = at.Add(time.Duration(s.Timeout))
	}
}

// advance starts what may start, and ends the rollout when there is nothing left.
// After a failure nothing new starts, but what runs may finish.
func (s State) advance(at time.Time) State {
	if len(s.FailedSteps()) > 0 {
		if len(s.Running()) == 0 {
			s.Status, s.Ended = Failed, at
		}
		return s
	}
	unfinished := false
	for i := range s.Steps {
		if s.Steps[i].Status == StepPending && s.ready(s.Steps[i]) {
			s.Steps[i].begin(at)
		}
		unfinished = unfinished || !s.Steps[i].finished()
	}
	if !unfinished {
		s.Status, s.Ended = Completed, at
	}
	return s
}

// ready reports whether everything that step waits for has finished.
func (s State) ready(step Step) bool {
	for _, n := range step.Needs {
		if !s.Steps[n-1].finished() {
			return false
		}
	}
	for _, other := range s.Steps {
		if other.stage() < step.stage() && !other.finished() {
			return false
		}
	}
	return true
}

// The stages that phases are barriers between. Traffic and online share one: a
// service goes online when its own gate is open, not when all are.
const (
	stageBefore = iota
	stageMaintenance
	stageOffline
	stageServe
	stageSetup
)

func (s Step) stage() int {
	switch {
	case s.Kind == Maintenance:
		return stageMaintenance
	case s.Kind == Traffic, s.Phase == protocol.Online:
		return stageServe
	case s.Phase == protocol.Before:
		return stageBefore
	case s.Phase == protocol.Offline:
		return stageOffline
	}
	return stageSetup
}

// Late gives an event for each step whose deadline has passed at the time now.
func (s State) Late(now time.Time) []Event {
	var late []Event
	for _, step := range s.Running() {
		if !step.Deadline.IsZero() && !now.Before(step.Deadline) {
			late = append(late, Event{
				Type: StepBroke, At: now, Step: step.ID, Attempt: step.Attempt,
				Answer: &protocol.Answer{Rollout: s.ID, Attempt: step.Attempt, Error: &protocol.ScriptError{
					Code: protocol.CodeTimeout, Message: fmt.Sprintf("no answer within %s", time.Duration(step.Timeout)),
				}},
			})
		}
	}
	return late
}

// Due is the earliest deadline of the steps that run; zero when none has one.
func (s State) Due() time.Time {
	var due time.Time
	for _, step := range s.Running() {
		if !step.Deadline.IsZero() && (due.IsZero() || step.Deadline.Before(due)) {
			due = step.Deadline
		}
	}
	return due
}
