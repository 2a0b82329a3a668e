package setup

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	traceTimeout = time.Second            // for the server to tell who has got a message
	routeTimeout = 250 * time.Millisecond // for another server, to which the message went on, to tell the rest
	maxTraces    = 8                      // of one message that wait to be read
)

// delivery sends starts and learns from the server who has got them (NATS's message tracing).
// The status 503 of NATS would not do: to NATS, a stream that stores the start and a
// watcher of everything are listeners, too. It is safe for concurrent use.
type delivery struct {
	nc    *nats.Conn
	sub   *nats.Subscription
	inbox string

	mu      sync.Mutex
	sent    uint64
	waiting map[string]chan trace // by the last token of the subject that servers tell it on
}

// Receiver is a connection to the bus that has got a start. The zero value says that it is not
// known which. It is comparable.
type Receiver struct {
	Server     string `json:"server"` // id of the server that it is a connection to
	Connection uint64 `json:"connection"`
}

// Known reports whether it is known who has got the start.
func (r Receiver) Known() bool { return r != Receiver{} }

// trace is what a server tells of the way of a message.
type trace struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Hops   int `json:"hops"` // to other servers, which tell of the rest
	Events []struct {
		Type         string `json:"type"` // "in", "eg" to a subscription, "js" to a stream, or else
		Kind         int    `json:"kind"` // of the connection; 0 is a client
		Connection   uint64 `json:"cid"`
		Subscription string `json:"sub"`
		Queue        string `json:"queue"`
	} `json:"events"`

	unread bool // it cannot be read
}

func newDelivery(nc *nats.Conn) (*delivery, error) {
	p := &delivery{nc: nc, inbox: nc.NewInbox(), waiting: make(map[string]chan trace)}
	sub, err := nc.Subscribe(p.inbox+".*", p.told)
	if err != nil {
		return nil, fmt.Errorf("listen to who gets a start: %w", err)
	}
	p.sub = sub
	return p, nil
}

func (p *delivery) close() { _ = p.sub.Unsubscribe() } // the connection may be gone

func (p *delivery) told(m *nats.Msg) {
	token := strings.TrimPrefix(m.Subject, p.inbox+".")
	p.mu.Lock()
	traces, waiting := p.waiting[token]
	p.mu.Unlock()
	if !waiting {
		return
	}
	var t trace
	t.unread = json.Unmarshal(m.Data, &t) != nil
	select {
	case traces <- t:
	default: // it has passed more servers than anybody looks at
	}
}

// heard reports whether anybody has got the message who may run a script. Where the server
// cannot tell, the answer is yes. A watcher is a plain subscription with a wildcard.
func (t trace) heard() bool {
	if t.Hops > 0 || t.unread {
		return true
	}
	for _, e := range t.Events {
		watcher := e.Type == "eg" && e.Kind == 0 && e.Queue == "" && strings.ContainsAny(e.Subscription, "*>")
		if e.Type != "in" && e.Type != "js" && !watcher {
			return true
		}
	}
	return false
}

// receiver is who has got the message from this server, if that is one connection alone.
func (t trace) receiver() (one Receiver) {
	for _, e := range t.Events {
		if e.Type != "eg" || e.Kind != 0 || strings.ContainsAny(e.Subscription, "*>") {
			continue
		}
		if one.Known() {
			return Receiver{}
		}
		one = Receiver{t.Server.ID, e.Connection}
	}
	return one
}

// send publishes a message and reports whether anybody has got it who may run a script, and who.
func (p *delivery) send(ctx context.Context, m *nats.Msg) (heard bool, to Receiver, err error) {
	traces := make(chan trace, maxTraces)
	p.mu.Lock()
	p.sent++
	token := strconv.FormatUint(p.sent, 10)
	p.waiting[token] = traces
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, token)
		p.mu.Unlock()
	}()
	m.Header.Set("Nats-Trace-Dest", p.inbox+"."+token)
	if err := p.nc.PublishMsg(m); err != nil {
		return false, to, fmt.Errorf("send %s: %w", m.Subject, err)
	}
	first, told, err := nextTrace(ctx, traces, traceTimeout)
	switch {
	case err != nil:
		return false, to, err
	case !told && !p.nc.IsConnected():
		return false, to, fmt.Errorf("send %s: %w", m.Subject, nats.ErrDisconnected)
	case !told:
		return true, to, nil
	}
	if to = first.receiver(); first.Hops == 0 || to.Known() {
		return first.heard(), to, nil
	}
	if next, told, _ := nextTrace(ctx, traces, routeTimeout); told { // it has been sent, whatever ctx says
		to = next.receiver()
	}
	return true, to, nil
}

// nextTrace waits for a trace; false when none comes in time.
func nextTrace(ctx context.Context, traces <-chan trace, patience time.Duration) (t trace, told bool, err error) {
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case t = <-traces:
		return t, true, nil
	case <-timeout.C:
		return t, false, nil
	case <-ctx.Done():
		return t, false, ctx.Err()
	}
}

// listened reports whether anybody who may run a script listens to its start, and who would
// get it this time, by a message that nobody gets.
func (p *delivery) listened(ctx context.Context, start string) (bool, Receiver, error) {
	probe := nats.NewMsg(start)
	probe.Header.Set("Nats-Trace-Only", "true")
	return p.send(ctx, probe)
}

const (
	probesEach = 14 // for each receiver that was seen, and one more: the chance to miss one is below a millionth
	maxProbes  = 200
)

// there reports whether a receiver of a start listens to it still. A server gives a start to one
// of a queue group at random, so it is asked until the receiver was seen, or would have been.
// Known is false where that cannot be told: the group has members on several servers.
func (p *delivery) there(ctx context.Context, start string, who Receiver) (there, known bool, err error) {
	if p.nc.ConnectedClusterName() == "" && p.nc.ConnectedServerId() != who.Server {
		return false, true, nil // the server that it was connected to is gone
	}
	seen := make(map[Receiver]bool)
	for n := 0; n < min(maxProbes, probesEach*(len(seen)+1)); n++ {
		heard, to, err := p.listened(ctx, start)
		switch {
		case err != nil:
			return false, false, err
		case !heard:
			return false, true, nil
		case to == who:
			return true, true, nil
		case to.Server != who.Server:
			return false, false, nil
		}
		seen[to] = true
	}
	return false, true, nil
}
