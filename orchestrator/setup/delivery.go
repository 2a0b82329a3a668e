package setup

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
)

// traceTimeout is how long the server may take to tell who has got a message.
const traceTimeout = time.Second

// delivery sends starts and learns from the server who has got them (NATS's message tracing).
// The status 503 of NATS would not do: to NATS, a stream that stores the start and a
// watcher of everything are listeners, too. It is safe for concurrent use.
type delivery struct {
	nc    *nats.Conn
	sub   *nats.Subscription
	inbox string

	mu      sync.Mutex
	sent    uint64
	waiting map[string]chan bool // by the last token of the subject that the server tells it on
}

// trace is what a server tells of the way of a message.
type trace struct {
	Hops   int `json:"hops"` // to other servers, which tell of the rest
	Events []struct {
		Type         string `json:"type"` // "in", "eg" to a subscription, "js" to a stream, or else
		Kind         int    `json:"kind"` // of the connection; 0 is a client
		Subscription string `json:"sub"`
		Queue        string `json:"queue"`
	} `json:"events"`
}

func newDelivery(nc *nats.Conn) (*delivery, error) {
	p := &delivery{nc: nc, inbox: nc.NewInbox(), waiting: make(map[string]chan bool)}
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
	result, waiting := p.waiting[token]
	delete(p.waiting, token) // an answer for each server that the message has passed: the first one counts
	p.mu.Unlock()
	if !waiting {
		return
	}
	result <- heard(m.Data)
}

// heard reports whether somebody has got a message who may run a script, as its trace tells.
func heard(data []byte) bool {
	// The common case needs no reading: only who gets it for a queue group has one.
	if bytes.Contains(data, []byte(`"queue":"`)) {
		return true
	}
	var t trace
	return json.Unmarshal(data, &t) != nil || t.heard()
}

// heard reports whether anybody has got the message who may run a script. Where the server
// cannot tell, the answer is yes. A watcher is a plain subscription with a wildcard.
func (t trace) heard() bool {
	if t.Hops > 0 {
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

// send publishes a message and reports whether anybody has got it who may run a script.
func (p *delivery) send(ctx context.Context, m *nats.Msg) (heard bool, err error) {
	result := make(chan bool, 1)
	p.mu.Lock()
	p.sent++
	token := strconv.FormatUint(p.sent, 10)
	p.waiting[token] = result
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.waiting, token)
		p.mu.Unlock()
	}()
	m.Header.Set("Nats-Trace-Dest", p.inbox+"."+token)
	if err := p.nc.PublishMsg(m); err != nil {
		return false, fmt.Errorf("send %s: %w", m.Subject, err)
	}
	timeout := time.NewTimer(traceTimeout)
	defer timeout.Stop()
	select {
	case heard := <-result:
		return heard, nil
	case <-timeout.C:
		if !p.nc.IsConnected() {
			return false, fmt.Errorf("send %s: %w", m.Subject, nats.ErrDisconnected)
		}
		return true, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

// listened reports whether anybody who may run a script listens to its start, by a message
// that nobody gets.
func (p *delivery) listened(ctx context.Context, start string) (bool, error) {
	probe := nats.NewMsg(start)
	probe.Header.Set("Nats-Trace-Only", "true")
	return p.send(ctx, probe)
}
