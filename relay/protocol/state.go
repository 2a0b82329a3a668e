package protocol

import (
	"strings"
	"time"
)

// What is asked of whoever keeps the state of a service outside of JetStream: the service itself,
// at [StateSubject], or an agent, at "state" of [AgentSubject].
const (
	StateTake  = "take"  // give the state as it is at one moment
	StateCheck = "check" // read one that was taken, and say whether a put of it would succeed
	StatePut   = "put"   // make the state what was taken
	StateDrop  = "drop"  // remove what is kept of a snapshot beside it; agents alone are asked
)

// Sizes and times of what is carried then; README.md, "State of a service", has the whole of it.
const (
	StatePiece   = 256 << 10              // bytes of a piece at most
	StateBeat    = time.Second            // a question is answered after so long at the latest
	StateAsk     = 5 * time.Second        // without an answer, after which it is asked again
	StateSilence = 20 * time.Second       // without a word, after which the other side is taken for dead: longer than an election
	StateGone    = 3 * time.Second        // in which nobody listens, after which the keeper is taken for dead
	StateAgain   = 250 * time.Millisecond // until somebody who does not listen is asked again
)

// Headers of what is carried.
const (
	HeaderState       = "Golive-State"        // the number of a piece, from 1
	HeaderStateEnd    = "Golive-State-End"    // on the last message: [StateDone] or [StateFailed]
	HeaderStateDigest = "Golive-State-Digest" // on the last one of who sends the pieces: SHA-256 in hex over all of them
)

// How it has ended.
const (
	StateDone   = "done"
	StateFailed = "failed" // from who asks: it is broken off
)

// StateOrder asks for the state of a service to be taken, checked, put or dropped.
type StateOrder struct {
	Snapshot string   `json:"snapshot"` // its id; a put of the same one changes nothing
	App      string   `json:"app"`
	Service  string   `json:"service"`
	Version  string   `json:"version"`          // of the app, whose manifest says how; or of the service that is asked
	Digest   string   `json:"digest,omitempty"` // to an agent: of that manifest
	Do       string   `json:"do"`               // [StateTake], [StateCheck], [StatePut] or [StateDrop]
	Timeout  Duration `json:"timeout"`          // after which it has failed
	Most     int64    `json:"most"`             // bytes that it may have
}

// StateAnswer is the answer to a [StateOrder]. Pieces are then asked for, or sent, at Session.
type StateAnswer struct {
	Session string        `json:"session,omitempty"` // an inbox of whoever answers
	From    string        `json:"from,omitempty"`    // who it is: an instance, or an agent
	Host    string        `json:"host,omitempty"`
	Error   *ServiceError `json:"error,omitempty"` // why it does not do it
}

// CodeBusy says of a [StateOrder] that the state is being taken or put already.
const CodeBusy = "busy"

// SnapshotClaim is what stands in [TakesBucket] under "now": which snapshot is being taken,
// checked or put. Agents follow a [StateOrder] only if it says so, and answer it only at an inbox
// beneath its own.
type SnapshotClaim struct {
	App      string `json:"app"`
	Snapshot string `json:"snapshot"`
	Doing    string `json:"doing"` // [StateTake], [StateCheck], [StatePut] or [StateDrop]
	Inbox    string `json:"inbox"` // that whoever does it listens at; empty: no state is asked for
	Ended    bool   `json:"ended,omitempty"`
}

// SnapshotClaimKey is the key of a [SnapshotClaim].
const SnapshotClaimKey = "now"

// Allows reports whether an order may be followed that is to be answered at reply.
func (c SnapshotClaim) Allows(o StateOrder, reply string) bool {
	if c.Ended || c.Inbox == "" || c.App != o.App || !IsInbox(reply) || !strings.HasPrefix(reply, c.Inbox+".") {
		return false
	}
	switch o.Do {
	case StateTake, StatePut:
		return c.Doing == o.Do && c.Snapshot == o.Snapshot
	case StateCheck:
		return (c.Doing == StateTake || c.Doing == StateCheck || c.Doing == StatePut) && c.Snapshot == o.Snapshot
	case StateDrop: // also of an old one, where another one is taken
		return c.Doing == StateTake || c.Doing == StatePut || c.Doing == StateDrop
	}
	return false
}

// StateSubject is where a version of a service is asked for its state, in the queue group of the
// service: take, check or put.
func StateSubject(service, version, do string) string {
	return "golive.state." + service + "." + EncodeVersion(version) + "." + do
}
