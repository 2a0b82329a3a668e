// Package ledger knows which scripts have run in an environment, and which versions of
// an app have been completed.
//
// It is an index over the journal in two parts. The [Environment] is what has to be
// known at all times; it is small and always in memory. The [Book] of an app holds all
// that has run for it, and is loaded only when somebody asks for it, so that what has
// finished long ago costs nothing. An [Index] takes in one event after the other; a
// [Store] keeps both parts now and then, with the sequence that each reaches. The ledger
// decides nothing and is never the truth: what is stored is a function of the journal up
// to that sequence, whoever has made it. Once the journal of an old rollout has been
// dropped, it is all that is left of it.
package ledger

import (
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// Entry says that a script has run.
type Entry struct {
	App      string           `json:"app"`
	Name     string           `json:"name"` // of the service; of the app in phase setup
	Version  string           `json:"version"`
	Phase    protocol.Phase   `json:"phase"`
	Digest   string           `json:"digest,omitempty"` // of the setup service's build
	Rollout  string           `json:"rollout"`
	Sequence uint64           `json:"sequence"` // of the event in the journal that says so
	By       string           `json:"by,omitempty"`
	Reason   string           `json:"reason,omitempty"` // of an entry recorded by hand: its first 400 bytes
	Marked   bool             `json:"marked,omitempty"` // it was recorded by hand: the script has not run here
	At       time.Time        `json:"at"`               // when it had finished
	Duration rollout.Duration `json:"duration"`
	Items    int64            `json:"items,omitempty"`
	PutAside int64            `json:"putAside,omitempty"` // records that it could not deal with
	Void     string           `json:"void,omitempty"`     // why it no longer counts; empty: it does
}

// Script is the script that has run.
func (e Entry) Script() protocol.Script {
	return protocol.Script{Name: e.Name, Version: e.Version, Phase: e.Phase}
}

// AppVersion says that a rollout of an app was completed.
type AppVersion struct {
	Version  string    `json:"version"`
	Digest   string    `json:"digest,omitempty"` // of its manifest; empty: not known
	Rollout  string    `json:"rollout"`
	At       time.Time `json:"at"`             // when it was completed
	Sequence uint64    `json:"sequence"`       // of the event in the journal that says so
	Void     string    `json:"void,omitempty"` // why it does not count: it was taken backward, or has only repeated another; empty: it does
}

// Environment is what of the ledger is known at all times.
type Environment struct {
	Sequence uint64            `json:"sequence"` // of the newest event it has taken in
	Owners   map[string]string `json:"owners"`   // app by service
	Newest   map[string]string `json:"newest"`   // by app: the rollout begun last that has not only repeated another; empty: none has begun
	Open     map[string]uint64 `json:"open"`     // by rollout that is not final: the sequence that made it so
	Last     rollout.Position  `json:"last"`     // the newest event of a rollout that it has taken in; zero where an older version has stored it
}

// apply takes in the event at sequence, which is the next one of the journal. It changes
// the maps in place.
func (e *Environment) apply(s rollout.State, sequence uint64) {
	e.Sequence = sequence
	app := s.Release.App
	if s.ID == "" {
		return // somebody has published it by hand
	}
	e.Last = rollout.PositionOf(s, sequence)
	if _, known := e.Newest[app]; !known {
		e.Newest[app] = ""
	}
	if s.Event.Type == rollout.Created {
		e.Newest[app] = s.ID
	}
	if s.IsRepeat() && e.Newest[app] == s.ID {
		e.Newest[app] = s.Repeats
	}
	if s.Event.Type == rollout.Created || s.Event.Type == rollout.Enqueued {
		for _, service := range s.Release.Services {
			if e.Owners[service.Name] == "" { // of two that asked at once, the first has it
				e.Owners[service.Name] = app
			}
		}
	}
	_, open := e.Open[s.ID]
	switch {
	case s.Status.Final():
		delete(e.Open, s.ID)
	case !open:
		e.Open[s.ID] = sequence
	}
}
