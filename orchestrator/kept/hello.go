package kept

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
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
}

// maxHellos is how many hellos wait to be looked at.
const maxHellos = 64

// farewell is how long an orchestrator that ends may take to tell others why.
const farewell = time.Second

// sayHello tells others of this one. A hello that is lost is said again with the next look.
func (w *Watch) sayHello() {
	data, err := json.Marshal(hello{w.Journal.Environment(), w.ID, w.Conn.ConnectedServerName(), bus.Domain(w.Conn)})
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
	if json.Unmarshal(m.Data, &h) != nil || h.Environment == "" || h.Environment == w.Journal.Environment() {
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
