package rollout

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
)

// Todo lists the steps to be acted on now: the start of each running script has to be
// sent, each running command and check be given to agents, and the route of each running
// traffic or maintenance step led where it says, until the event comes that answers it.
// Questions are left out, since people answer them, and so is the work that is held; work
// that was cancelled is only waited for. Acting on a step twice must be harmless.
func (s State) Todo() []Step {
	return slices.DeleteFunc(s.Running(), func(step Step) bool {
		return step.works() && holds(s, step) || step.Kind == Approving // that is acted on by a person
	})
}

// Waits says what the rollout waits for beside the steps that are to be acted on, in
// words for people; empty when it waits for nothing, or has ended for good.
func (s State) Waits() []string {
	var all []string
	switch {
	case s.Status.Final():
		return nil
	case s.Status == Queued:
		return []string{"the rollout before it to end"}
	case s.TurnsBack() && s.Restore != nil:
		return []string{"golive to put data and traffic back as they were when the restore began"}
	case s.TurnsBack():
		return []string{"golive to take it backward: a check has failed behind the gate"}
	case s.Status == Failed && s.Restore != nil:
		return []string{"somebody to retry it: until then the services stay under maintenance"}
	case s.Status == Failed:
		return []string{"somebody to retry or abort it"}
	case s.Paused != nil:
		all = append(all, "somebody to resume it"+s.Paused.because())
	case s.Held():
		all = append(all, fmt.Sprintf("somebody to deploy it further: phase %s was the last that it was to run", s.Until))
	}
	for _, left := range s.AllUnanswered() {
		waits := fmt.Sprintf("attempt %d of %s to stop", left.Number, left.Script())
		if left.Rollout != s.ID {
			waits += ", of rollout " + left.Rollout
		}
		all = append(all, waits)
	}
	for _, step := range s.All() {
		switch {
		case step.Status == StepRunning && step.Kind == Approving:
			all = append(all, step.waitsForPeople())
		case step.Status == StepRunning && step.Cancelled && step.Work != nil:
			all = append(all, step.ID+": the agents to tell that it has stopped")
		case step.Status == StepRunning && step.Cancelled && step.Kind == Snapshot:
			all = append(all, step.ID+": its take to stop")
		case step.Status == StepRunning && step.Cancelled && step.Kind == Put:
			all = append(all, step.ID+": putting its data back to stop")
		case step.Status == StepRunning && step.Cancelled:
			all = append(all, step.ID+": its script to answer that it has stopped")
		case step.Paused != nil && !step.finished():
			all = append(all, step.ID+": somebody to resume it"+step.Paused.because())
		case step.Status == StepRetrying && !step.Next.IsZero():
			all = append(all, fmt.Sprintf("%s: attempt %d at %s", step.ID, step.Attempt+1, step.Next.UTC().Format(time.RFC3339)))
		}
	}
	return all
}

func (p Pause) because() string {
	text := ""
	if p.By != "" {
		text = ", paused by " + p.By
	}
	if p.Reason != "" {
		text += ": " + p.Reason
	}
	return text
}

// Start is the message that starts an attempt of a step. Heartbeat is how often a script
// that tells its progress shall do so; its lease is a multiple of that.
func (s State) Start(step Step, heartbeat time.Duration) protocol.StartMessage {
	m := protocol.StartMessage{
		Rollout: s.ID, Step: step.ID, Attempt: step.Attempt,
		App: s.Release.App, AppVersion: s.Release.Version,
		Phase: step.Script.Phase, Revert: step.Revert, Deadline: step.Deadline, Heartbeat: Duration(heartbeat),
		Lease:    Duration(protocol.LeaseBeats * heartbeat),
		Services: s.Release.versions(), Pace: step.Script.Pace, FailedRecords: step.Script.Records,
	}
	if step.Script.Phase != protocol.Setup {
		m.Service, m.Version = step.Name, step.Version
	}
	return m
}

// Announcement is a named message that an event calls for.
type Announcement struct {
	Subject string
	Step    string // empty when it is about the whole rollout
	Attempt int    // 0 when it is about the whole rollout
	Key     string // tells it from the rollout's other announcements; the same when repeated
	Fact    bool   // it states a fact of the journal and carries its sequence
	Payload any
}

// Outcome is the payload of the messages about the end of a rollout: -set-up and
// -setup-failed.
type Outcome struct {
	Rollout string                `json:"rollout"`
	App     string                `json:"app"`
	Version string                `json:"version"`
	Step    string                `json:"step,omitempty"`  // that failed
	Error   *protocol.ScriptError `json:"error,omitempty"` // why
	Final   bool                  `json:"final"`           // after false, a retry may follow
}

// Announcements lists what the event that led to this state calls for.
func (s State) Announcements() []Announcement {
	all := append(answered(s), controls(s)...)
	if s.Event.Type == PaceAsked || s.Event.Type == Stopped {
		return all // it ends nothing, and that a rollout has failed was announced when it did
	}
	if s.Restore != nil {
		return all // it brings no version: nobody sets one up, and none has failed
	}
	outcome := Outcome{Rollout: s.ID, App: s.Release.App, Version: s.Release.Version, Final: s.Status.Final()}
	about := Announcement{Fact: true, Key: string(s.Status)}
	switch s.Status {
	case Completed:
		if s.Amended > 0 {
			return all // that it is complete was announced when it was so first
		}
		if !s.Release.Setup {
			all = append(all, settingUp(s))
		}
		about.Subject = protocol.CompletedSubject(outcome.App, outcome.Version)
	case Failed, Superseded, Aborted, Reverted:
		about.Subject = protocol.FailedSubject(outcome.App, outcome.Version)
		if failed := s.FailedSteps(); len(failed) > 0 {
			outcome.Step, outcome.Error = failed[0].ID, failed[0].Error
			about.Key += " " + failed[0].ID + " " + strconv.Itoa(failed[0].Attempt)
		}
		if s.Status != Failed && outcome.Error == nil {
			outcome.Error = &protocol.ScriptError{Code: string(s.Status), Message: "the rollout is " + string(s.Status)}
		}
	default:
		return all
	}
	about.Payload = outcome
	return append(all, about)
}

// settingUp tells that an app without a setup script of its own has come to where one would
// run: nobody has to answer.
func settingUp(s State) Announcement {
	script := protocol.Script{Name: s.Release.App, Version: s.Release.Version, Phase: protocol.Setup}
	return Announcement{
		Subject: script.Subject(protocol.Start), Fact: true, Key: "setting-up",
		Payload: protocol.StartMessage{
			Rollout: s.ID, App: s.Release.App, AppVersion: s.Release.Version, Phase: protocol.Setup, Services: s.Release.versions(),
		},
	}
}

// controls are the messages to the scripts that run, or ran until now.
func controls(s State) []Announcement {
	var all []Announcement
	for _, step := range s.All() {
		if verb, called := controlOf(s, step); called {
			subject := step.ScriptID().Subject(verb)
			attempt := step.Attempt
			if s.Event.Type == StepBroke {
				attempt = s.Event.Attempt
			}
			key := subject + " " + strconv.Itoa(attempt) + " " + string(s.Event.Type) + " " + s.Event.At.UTC().Format(time.RFC3339Nano)
			all = append(all, control(s, step, verb, attempt, key))
		}
	}
	return all
}

// control is a message to a script.
func control(s State, step Step, verb protocol.Verb, attempt int, key string) Announcement {
	m := protocol.ControlMessage{Rollout: s.ID, Attempt: attempt}
	switch verb {
	case protocol.Resume:
		m.Deadline = step.Deadline
	case protocol.PaceSet:
		m.Pace = step.Script.Pace
	}
	return Announcement{Subject: step.ScriptID().Subject(verb), Step: step.ID, Attempt: attempt, Payload: m, Key: key}
}

// Missed lists what the script of a step has missed of what it was told, by what it goes by: a
// pause, a resume, a pace. It is told once more; the time now tells one such message from another.
func Missed(s State, step Step, goesBy protocol.Told, now time.Time) []Announcement {
	if step.Kind != Migration || step.Status != StepRunning || step.Cancelled || blocked(s, step) {
		return nil
	}
	var verbs []protocol.Verb
	switch held := holds(s, step); {
	case held && !goesBy.Paused:
		verbs = append(verbs, protocol.Pause)
	case !held && goesBy.Paused:
		verbs = append(verbs, protocol.Resume)
	}
	if goesBy.Misses(step.Script.Pace) {
		verbs = append(verbs, protocol.PaceSet)
	}
	var all []Announcement
	for _, verb := range verbs {
		key := step.ScriptID().Subject(verb) + " " + strconv.Itoa(step.Attempt) + " again " + now.UTC().Format(time.RFC3339Nano)
		all = append(all, control(s, step, verb, step.Attempt, key))
	}
	return all
}

// controlOf is what the event has to tell the script of a step, if anything.
func controlOf(s State, step Step) (verb protocol.Verb, called bool) {
	e := s.Event
	running := step.Kind == Migration && step.Status == StepRunning
	named := e.Step == "" || e.Step == step.ID
	switch e.Type {
	case StepBroke: // who is taken for dead, or is too late, shall not go on beside the next attempt
		late := e.Answer != nil && e.Answer.Error != nil &&
			(e.Answer.Error.Code == protocol.CodeTimeout || e.Answer.Error.Code == protocol.CodeLost)
		return protocol.Cancel, e.Step == step.ID && step.Kind == Migration && late && !e.Named
	case AbortAsked:
		aborted := step.Kind == Migration && step.Error != nil && step.Error.Code == protocol.CodeCancelled && step.Ended.Equal(e.At)
		return protocol.Cancel, aborted || running && step.Cancelled
	case BackwardAsked:
		return protocol.Cancel, running && step.Cancelled
	case PauseAsked:
		return protocol.Pause, running && named
	case ResumeAsked: // one that has begun now knows of no pause
		return protocol.Resume, running && named && !holds(s, step) && step.Started.Before(e.At)
	case PaceAsked:
		return protocol.PaceSet, running && named
	}
	return 0, false
}

// answered is the named message of an answer that did not come as one.
func answered(s State) []Announcement {
	e := s.Event
	step, known := s.Step(e.Step)
	if e.Named || !known || step.Kind != Migration || (e.Type != StepAnswered && e.Type != StepBroke) {
		return nil
	}
	verb := protocol.DoneVerb(e.Revert)
	if e.Type == StepBroke {
		verb = protocol.FailedVerb(e.Revert)
	}
	subject := step.ScriptID().Subject(verb)
	payload := protocol.Answer{}
	if e.Answer != nil {
		payload = *e.Answer
	}
	payload.Rollout, payload.Attempt, payload.Done = s.ID, e.Attempt, e.Type == StepAnswered
	if step.Error != nil && step.Attempt == e.Attempt {
		payload.Error = step.Error
	}
	return []Announcement{{
		Subject: subject, Step: e.Step, Attempt: e.Attempt, Key: AnswerKey(subject, e.Attempt), Payload: payload,
	}}
}

// AnswerKey is the key of the announcement of an answer that did not come as a named
// message.
func AnswerKey(subject string, attempt int) string { return subject + " " + strconv.Itoa(attempt) }
