package protocol

// ShareSubject is where an instance of a setup service that runs a script invites the
// others to help with it; see [Invitation].
func ShareSubject(s Script) string {
	return "golive.share." + s.Name + "." + EncodeVersion(s.Version) + "." + string(s.Phase)
}

// AskSubject is where an instance that was invited asks for work, and reports it; see
// [ShareRequest].
// Each backfill of an attempt has its own.
func AskSubject(s Script, instance, backfill string) string {
	return ShareSubject(s) + "." + instance + "." + backfill
}

// Invitation is published about once a second for as long as there is work to share. Helpers
// ask for it on the [AskSubject] of its script, instance and backfill.
type Invitation struct {
	Instance string       `json:"instance"` // that runs the attempt
	Digest   string       `json:"digest"`   // of its build: an instance of another build does not help
	Start    StartMessage `json:"start"`    // of the attempt
	Backfill string       `json:"backfill"`
}

// ShareRequest is what a helper says. Without a grant it asks for a partition. With a grant
// it reports how far it has come, at least once a second. Counts are those since the grant
// was given, so a report that comes twice changes nothing. Only the instance that the grant
// was given to can report on it.
type ShareRequest struct {
	Instance string       `json:"instance"` // that helps
	Grant    string       `json:"grant,omitempty"`
	Cursor   string       `json:"cursor,omitempty"`   // all records up to it are dealt with
	Done     int64        `json:"done,omitempty"`     // records
	PutAside int64        `json:"putAside,omitempty"` // records
	Ended    bool         `json:"ended,omitempty"`    // there are no more
	Leave    bool         `json:"leave,omitempty"`    // it gives the partition back
	Error    *ScriptError `json:"error,omitempty"`    // why it cannot go on, and nobody can
}

// ShareReply is the answer to a [ShareRequest]. It comes once the report is durable, and
// names the grant, unless it says Over.
type ShareReply struct {
	Over      bool   `json:"over,omitempty"` // there is no work, or the grant does not hold any more: stop
	Grant     string `json:"grant,omitempty"`
	Partition string `json:"partition,omitempty"`
	Cursor    string `json:"cursor,omitempty"`    // begin behind it
	BatchSize int    `json:"batchSize,omitempty"` // records

	Rate     float64 `json:"rate,omitempty"`     // records a second of this helper; 0: as fast as it can
	InFlight int     `json:"inFlight,omitempty"` // batches of this helper at the same time
	Held     string  `json:"held,omitempty"`     // why no batch may begin; empty: they may
}
