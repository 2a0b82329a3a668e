package protocol

import "time"

// Headers of golive's messages.
const (
	HeaderRollout     = "Golive-Rollout"     // UUID v7 of the rollout
	HeaderStep        = "Golive-Step"        // id of the step within the rollout
	HeaderAttempt     = "Golive-Attempt"     // decimal, from 1
	HeaderMessageID   = "Golive-Message-Id"  // a UUID, the same whenever the same message is sent again
	HeaderEnvironment = "Golive-Environment" // of an event in the journal: the id of the environment whose orchestrator has written it
	HeaderSequence    = "Golive-Sequence"    // only from the orchestrator: the sequence of a fact in the journal
	HeaderForwarded   = "Golive-Forwarded"   // on a production request that one version forwarded to another: the revision of the route it did so under

	HeaderStream    = "Golive-Stream"     // on a request: it is to be answered by a stream, within a window of so many bytes; on an answer: the sequence of its batch
	HeaderStreamEnd = "Golive-Stream-End" // on the last message of a stream: one of [StreamDone], [StreamFailed] and [StreamLost]
	HeaderCursor    = "Golive-Cursor"     // on a request for a stream that is taken up again: the cursor of the record to go on behind
	HeaderTotal     = "Golive-Total"      // on an answer: how many records the stream has in all, whatever the cursor

	HeaderRevision = "Golive-Revision" // of a hint that a route has changed: the revision
	HeaderProof    = "Golive-Proof"    // of such a hint: see [HintHolds]

	HeaderTraceparent = "traceparent" // W3C trace context

	HeaderParts      = "Golive-Parts"            // of a request to the API: its answer may come in parts; of such a part: which, of how many: "2/3"
	HeaderRetryAfter = "Golive-Retry-After"      // seconds until a service under maintenance is expected back
	HeaderReason     = "Golive-Reason"           // on an answer with code 503 that no handler gave: one of [ReasonMaintenance] and [ReasonNoVersion]
	HeaderErrorCode  = "Nats-Service-Error-Code" // NATS's own: the code of an answer that is an error
	HeaderError      = "Nats-Service-Error"      // NATS's own: the text of an answer that is an error
	HeaderStatus     = "Status"                  // NATS's own: a message with it is no answer
	HeaderTTL        = "Nats-TTL"                // NATS's own: after how long a stored message is forgotten
	HeaderMsgID      = "Nats-Msg-Id"             // NATS's own: the same whenever the same message is sent again
)

// Reasons in [HeaderReason]. A caller decides by them; the text beside them is for people
// and may be worded anew.
const (
	ReasonMaintenance = "maintenance" // the service is under maintenance
	ReasonNoVersion   = "no-version"  // no version of the service is online
)

// LeaseBeats is how many heartbeats the lease of an attempt lasts. So long a script may be at
// work that the bus does not answer, and after so many signs of life that did not come its
// worker is taken for dead. With the default heartbeat it is [LeaseFor], for the same reason.
const LeaseBeats = 4

// leaseGuard is the part of a lease that its holder leaves unused, a twentieth: for clocks that
// do not go alike, and for what is under way when it ends.
const leaseGuard = 20

// LeaseUsed is how long the holder of a lease may rely on it, from when it sent what made or
// renewed it.
func LeaseUsed(lease time.Duration) time.Duration { return lease - lease/leaseGuard }
