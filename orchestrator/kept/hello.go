package kept

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// hello is what orchestrators tell each other. Servers that are joined by a leaf node pass
// messages to each other, but each may have a JetStream of its own, and then what golive keeps
// in it is another environment on the same subjects.
type hello struct {
	Environment  string `json:"environment"`
	Orchestrator string `json:"orchestrator"`
	Server       string `json:"server,omitempty"`
	Domain       string `json:"domain,omitempty"` // of JetStream, if one is named
	// Alarms is what the orchestrator has found to be gone or changed, by what that is: one that
	// had not read what is gone does not find it out itself.
	Alarms map[string]string `json:"alarms,omitempty"`
}

// told is what another orchestrator has said last.
type told struct {
	at     time.Time
	alarms map[string]string
}

// Limits of what others tell.
const (
	maxOthers = 64      // orchestrators
	maxAlarms = 4 << 10 // bytes of what one of them tells
)

// maxHellos is how many hellos wait to be looked at.
const maxHellos = 64

// farewell is how long an orchestrator that ends may take to tell others why.
const farewell = time.Second

// sayHello tells others of this one. A hello that is lost is said again with the next look.
func (w *Watch) sayHello() {
	w.mu.Lock()
	alarms := maps.Clone(w.alarms)
	w.mu.Unlock()
	data, err := json.Marshal(hello{w.Journal.Environment(), w.ID, w.Conn.ConnectedServerName(), bus.Domain(w.Conn), alarms})
	if err == nil {
		_ = w.Conn.Publish(protocol.EnvironmentSubject, data) // it comes again
	}
}

// Farewell tells others of this one, which is about to end because of [ErrJoined]: they end, too.
func (w *Watch) Farewell(ctx context.Context) {
	w.sayHello()
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	_ = w.Conn.FlushWithContext(ctx) // else they hear of it by their events
}

// meet is [ErrJoined] if a hello is that of an orchestrator of another environment.
func (w *Watch) meet(m *nats.Msg) error {
	var h hello
	if json.Unmarshal(m.Data, &h) != nil || h.Environment == "" {
		return nil
	}
	if h.Environment == w.Journal.Environment() {
		w.hear(h)
		return nil
	}
	return fmt.Errorf("%w; the other is orchestrator %s, at server %s, JetStream domain %s", Joined(h.Environment, w.Journal.Environment()),
		h.Orchestrator, cmp.Or(h.Server, "(not told)"), cmp.Or(h.Domain, "(none named)"))
}

// Joined is [ErrJoined] between two environments, by their ids.
func Joined(other, own string) error {
	return fmt.Errorf("%w: an orchestrator of environment %s is here, this one is of %s. Both hear the same messages, but each has a journal of its own: name the same JetStream domain to all (--js-domain), or keep the environments apart by accounts",
		ErrJoined, other, own)
}

// hear keeps what another orchestrator of this environment has found.
func (w *Watch) hear(h hello) {
	size := 0
	for about, text := range h.Alarms {
		size += len(about) + len(text)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.others, func(_ string, t told) bool { return time.Since(t.at) > w.believed() })
	_, known := w.others[h.Orchestrator]
	if h.Orchestrator == w.ID || size > maxAlarms || !known && len(w.others) == maxOthers {
		return
	}
	w.others[h.Orchestrator] = told{time.Now(), h.Alarms}
}

// believed is for how long what another orchestrator has told counts: it says it again with each
// of its comparisons.
func (w *Watch) believed() time.Duration { return 3*w.Every + answerFor }

// Alarms say, for people, what was found to be gone or changed since the process has begun, here
// or by another orchestrator that is there still, and what to do.
func (w *Watch) Alarms() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := maps.Clone(w.alarms)
	for _, id := range slices.Sorted(maps.Keys(w.others)) {
		if time.Since(w.others[id].at) > w.believed() {
			continue
		}
		for about, text := range w.others[id].alarms {
			if all[about] == "" {
				all[about] = text
			}
		}
	}
	return slices.Sorted(maps.Values(all))
}

// alarm says something once, in the log and to the other orchestrators, and from then on to all
// who ask.
func (w *Watch) alarm(about, text string) {
	w.mu.Lock()
	known := w.alarms[about] == text
	w.alarms[about] = text
	w.mu.Unlock()
	if !known {
		w.Log.Error(text)
		w.sayHello()
	}
}
