package protocol

import "fmt"

// Phase is a part of a rollout in which scripts run.
type Phase string

// The phases, in their order.
const (
	Before  Phase = "before"  // before anything changes; the previous version serves
	Offline Phase = "offline" // the new version runs but gets no production traffic
	Online  Phase = "online"  // the new version serves production traffic
	Setup   Phase = "setup"   // the app's own, after the online phases of all services
)

// ServicePhases lists the phases a service can have scripts for, in their order.
func ServicePhases() []Phase { return []Phase{Before, Offline, Online} }

// Validate reports whether p is one of the four phases. The error is an
// *[InvalidError].
func (p Phase) Validate() error {
	switch p {
	case Before, Offline, Online, Setup:
		return nil
	}
	return &InvalidError{Kind: "phase", Value: string(p), Rule: "is none of before, offline, online, setup"}
}

// Verb is what a message of a script says.
type Verb int

// The verbs. Who sends each stands in README.md, "Messages".
const (
	Start Verb = iota // run the script
	Done
	Failed
	Progress
	Cancel
	Pause
	Resume
	PaceSet     // how fast the script may work from now on
	RevertStart // undo what the script did
	Reverted
	RevertFailed
)

// Verbs lists all verbs.
func Verbs() []Verb {
	return []Verb{Start, Done, Failed, Progress, Cancel, Pause, Resume, PaceSet, RevertStart, Reverted, RevertFailed}
}

var serviceVerbs = map[Verb]string{
	Start: "-start", Done: "-done", Failed: "-failed", Progress: "-progress",
	Cancel: "-cancel", Pause: "-pause", Resume: "-resume", PaceSet: "-pace",
	RevertStart: "-revert-start", Reverted: "-reverted", RevertFailed: "-revert-failed",
}

var appVerbs = map[Verb]string{
	Start: "-setting-up", Done: "-set-up", Failed: "-setup-script-failed", Progress: "-setup-progress",
	Cancel: "-setup-cancel", Pause: "-setup-pause", Resume: "-setup-resume", PaceSet: "-setup-pace",
	RevertStart: "-setup-revert-start", Reverted: "-setup-reverted", RevertFailed: "-setup-revert-failed",
}

// Script names what a setup service runs for one phase. It is comparable.
type Script struct {
	Name    string // of the service; of the app when Phase is Setup
	Version string // of the service; of the app when Phase is Setup
	Phase   Phase
}

// Validate reports the first of the parts that is not valid. The error is an
// *[InvalidError].
func (s Script) Validate() error {
	if err := ValidateName(s.Name); err != nil {
		return err
	}
	if err := ValidateVersion(s.Version); err != nil {
		return err
	}
	return s.Phase.Validate()
}

// Subject is the name of the message that says v of this script, such as
// "deployment-todo-search-0.0.1-offline-start" or "todo-app-0.0.2-setting-up". It
// is at the same time the NATS subject.
func (s Script) Subject(v Verb) string {
	if s.Phase == Setup {
		return s.Name + "-" + s.Version + appVerbs[v]
	}
	return "deployment-" + s.Name + "-" + s.Version + "-" + string(s.Phase) + serviceVerbs[v]
}

// StartVerb is the verb that starts the script in this direction.
func StartVerb(revert bool) Verb {
	if revert {
		return RevertStart
	}
	return Start
}

// DoneVerb is the verb that answers a start in this direction with success.
func DoneVerb(revert bool) Verb {
	if revert {
		return Reverted
	}
	return Done
}

// FailedVerb is the verb that answers a start in this direction with failure.
func FailedVerb(revert bool) Verb {
	if revert {
		return RevertFailed
	}
	return Failed
}

// Step is the id of this script's step, unique within a rollout:
// "todo-search/offline".
func (s Script) Step() string { return s.Name + "/" + string(s.Phase) }

// String is the script as a person reads it: "todo-search 0.0.1 offline".
func (s Script) String() string { return fmt.Sprintf("%s %s %s", s.Name, s.Version, s.Phase) }

// CompletedSubject is the name of the completion event of an app's version. The
// app's setup script answers on the same name; the event is the one with the
// header [HeaderSequence].
func CompletedSubject(app, version string) string { return app + "-" + version + "-set-up" }

// FailedSubject is the name of the event that a rollout of an app's version has
// failed or was aborted.
func FailedSubject(app, version string) string { return app + "-" + version + "-setup-failed" }
