package rollout

import (
	"strconv"

	"github.com/golive-dev/golive/relay/protocol"
)

// Todo lists the steps to be acted on now: the start of each running script has to be
// sent and the route of each running traffic step opened, until the event comes that
// answers it. Acting on one twice must be harmless.
func (s State) Todo() []Step { return s.Running() }

// Start is the message that starts an attempt of a step. Heartbeat is how often, in
// seconds, a script that tells its progress shall do so.
func (s State) Start(step Step, heartbeat int) protocol.StartMessage {
	m := protocol.StartMessage{
		Rollout: s.ID, Step: step.ID, Attempt: step.Attempt,
		App: s.Release.App, AppVersion: s.Release.Version,
		Phase: step.Phase, Deadline: step.Deadline, HeartbeatSeconds: heartbeat,
		Services: s.Release.versions(),
	}
	if step.Phase != protocol.Setup {
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
	var all []Announcement
	if a, yes := s.answer(); yes {
		all = append(all, a)
	}
	outcome := Outcome{Rollout: s.ID, App: s.Release.App, Version: s.Release.Version, Final: s.Status.Final()}
	about := Announcement{Fact: true, Key: string(s.Status)}
	switch s.Status {
	case Running:
		return all
	case Completed:
		about.Subject = protocol.CompletedSubject(outcome.App, outcome.Version)
	case Failed, Superseded:
		about.Subject = protocol.FailedSubject(outcome.App, outcome.Version)
		if failed := s.FailedSteps(); len(failed) > 0 {
			outcome.Step, outcome.Error = failed[0].ID, failed[0].Error
			about.Key += " " + failed[0].ID + " " + strconv.Itoa(failed[0].Attempt)
		}
	}
	about.Payload = outcome
	return append(append(all, s.cancels()...), about)
}

// cancels are the messages to the scripts that were running when the rollout was
// superseded.
func (s State) cancels() []Announcement {
	var all []Announcement
	for _, step := range s.Steps {
		cancelled := step.Error != nil && step.Error.Code == protocol.CodeCancelled && step.Ended.Equal(s.Event.At)
		if s.Event.Type != Replaced || step.Kind != Migration || !cancelled {
			continue
		}
		subject := step.Script().Subject(protocol.Cancel)
		all = append(all, Announcement{
			Subject: subject, Step: step.ID, Attempt: step.Attempt, Key: subject + " " + strconv.Itoa(step.Attempt),
			Payload: protocol.Answer{Rollout: s.ID, Attempt: step.Attempt},
		})
	}
	return all
}

// answer is the named message of an answer that did not come as one.
func (s State) answer() (Announcement, bool) {
	e := s.Event
	step, known := s.Step(e.Step)
	if e.Named || !known || step.Kind != Migration || (e.Type != StepAnswered && e.Type != StepBroke) {
		return Announcement{}, false
	}
	verb := protocol.Done
	if e.Type == StepBroke {
		verb = protocol.Failed
	}
	subject := step.Script().Subject(verb)
	payload := protocol.Answer{}
	if e.Answer != nil {
		payload = *e.Answer
	}
	payload.Rollout, payload.Attempt, payload.Done, payload.Error = s.ID, e.Attempt, verb == protocol.Done, step.Error
	return Announcement{
		Subject: subject, Step: e.Step, Attempt: e.Attempt, Key: subject + " " + strconv.Itoa(e.Attempt), Payload: payload,
	}, true
}
