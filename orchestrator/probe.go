package orchestrator

import (
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go"
)

// probeTimeout is how long the server may take to tell who would get a message.
const probeTimeout = time.Second

// trace is what a server tells of the way of a message (NATS's message tracing).
type trace struct {
	Hops   int `json:"hops"` // to other servers, which tell of the rest
	Events []struct {
		Type         string `json:"type"` // "in", "eg" to a subscription, "js" to a stream, or else
		Kind         int    `json:"kind"` // of the connection; 0 is a client
		Subscription string `json:"sub"`
		Queue        string `json:"queue"`
	} `json:"events"`
}

// listened reports whether anybody who may run a script listens to its start. To NATS,
// a stream that stores the start and a watcher of everything are listeners, too. Where
// the server cannot tell them apart, the answer is yes.
func (o *Orchestrator) listened(start string) bool {
	told, err := o.nc.SubscribeSync(o.nc.NewInbox())
	if err != nil {
		return true
	}
	defer func() { _ = told.Unsubscribe() }() // the connection may be gone
	probe := nats.NewMsg(start)
	probe.Header.Set("Nats-Trace-Dest", told.Subject)
	probe.Header.Set("Nats-Trace-Only", "true") // nobody gets it
	if err := o.nc.PublishMsg(probe); err != nil {
		return true
	}
	var t trace
	m, err := told.NextMsg(probeTimeout)
	if err != nil || json.Unmarshal(m.Data, &t) != nil || t.Hops > 0 {
		return true
	}
	for _, e := range t.Events {
		watcher := e.Type == "eg" && e.Kind == 0 && e.Queue == "" && e.Subscription != start
		if e.Type != "in" && e.Type != "js" && !watcher {
			return true
		}
	}
	return false
}
