package spec

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	defaultHeartbeat = 5 * time.Second // of a start that names none
	resendEvery      = 2 * time.Second // while nobody listens
)

// Start runs one script as the orchestrator does: it sends m, again every 2 s while
// nobody listens, and blocks until the script has answered in either of the two ways,
// until signs of life that it has promised stop coming, or until ctx ends.
//
// Of m, App and AppVersion, Phase, and, but for the app's own setup, Service and
// Version are required. An empty Rollout and Step are made; Attempt is 1 and
// Heartbeat 5 s where they are 0, and Lease four times the heartbeat.
//
// When the script has answered that it failed, the error wraps a
// *[protocol.ScriptError]. Any other error means that there was no answer and says
// what was waited for; it wraps [relay.ErrNobodyListens] when nobody has heard the
// start.
func Start(ctx context.Context, r *relay.Relay, m protocol.StartMessage) (protocol.Answer, error) {
	return start(ctx, r.Conn(), m, nil)
}

func start(ctx context.Context, nc *nats.Conn, m protocol.StartMessage, to *Recording) (protocol.Answer, error) {
	complete(&m)
	if err := check(m); err != nil {
		return protocol.Answer{}, err
	}
	if !m.Deadline.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, m.Deadline)
		defer cancel()
	}
	c := &conversation{
		nc: nc, start: m, script: m.Script(), began: time.Now(), recording: to,
		trace: "00-" + randomHex(16) + "-" + randomHex(8) + "-01",
		heard: make(chan *nats.Msg, 4096),
	}
	answer, err := c.hold(ctx)
	if err == nil && answer.Error != nil {
		err = fmt.Errorf("%s: %w", c.step(), answer.Error)
	}
	return answer, err
}

// check says what a start lacks.
func check(m protocol.StartMessage) error {
	if err := (protocol.Script{Name: m.App, Version: m.AppVersion, Phase: protocol.Setup}).Validate(); err != nil {
		return fmt.Errorf("app of the start: %w", err)
	}
	if err := m.Script().Validate(); err != nil {
		return fmt.Errorf("script of the start: %w", err)
	}
	return nil
}

// complete fills in what the sender may leave out.
func complete(m *protocol.StartMessage) {
	if m.Rollout == "" {
		m.Rollout = newRolloutID()
	}
	if m.Step == "" {
		m.Step = m.Script().Step()
	}
	if m.Attempt == 0 {
		m.Attempt = 1
	}
	if m.Heartbeat == 0 {
		m.Heartbeat = protocol.Duration(defaultHeartbeat)
	}
	if m.Lease == 0 {
		m.Lease = protocol.LeaseBeats * m.Heartbeat
	}
}

// conversation is a start on its way to its answer.
type conversation struct {
	nc        *nats.Conn
	start     protocol.StartMessage
	script    protocol.Script
	trace     string
	recording *Recording
	heard     chan *nats.Msg // all that may concern the start, in the order in which it came

	began    time.Time
	sent     int
	unheard  bool                      // nobody has got the last one that was sent
	progress *protocol.ProgressMessage // the last sign of life
	alive    time.Time                 // when it came
	ignored  string                    // why the last message that looks like an answer is none
}

// hold sends the start and listens until there is an answer.
func (c *conversation) hold(ctx context.Context) (protocol.Answer, error) {
	stop, err := c.listen()
	if err != nil {
		return protocol.Answer{}, err
	}
	defer stop()
	message, err := c.message(protocol.StartVerb(c.start.Revert), c.start)
	if err != nil {
		return protocol.Answer{}, err
	}
	message.Reply = c.replySubject()
	c.recording.add(recorded(c.script, message))

	again, lost := time.NewTimer(0), time.NewTimer(0)
	lost.Stop()
	defer again.Stop()
	defer lost.Stop()
	for {
		select {
		case <-again.C:
			if err := c.nc.PublishMsg(message); err != nil {
				return protocol.Answer{}, fmt.Errorf("send %s: %w", message.Subject, err)
			}
			c.sent, c.unheard = c.sent+1, false
		case m := <-c.heard:
			heard := !c.unheard
			if answer := c.hear(m); answer != nil {
				return *answer, c.flush(ctx)
			}
			if heard && c.unheard {
				again.Reset(resendEvery)
			}
			if c.progress != nil {
				lost.Reset(time.Until(c.alive.Add(c.patience())))
			}
		case <-lost.C:
			return protocol.Answer{}, c.lost()
		case <-ctx.Done():
			return protocol.Answer{}, c.gaveUp(ctx)
		}
	}
}

// listen subscribes to all that may answer, before the start is sent.
func (c *conversation) listen() (stop func(), err error) {
	var subs []*nats.Subscription
	stop = func() {
		for _, s := range subs {
			_ = s.Unsubscribe() // the connection may be gone
		}
	}
	for _, subject := range []string{
		c.script.Subject(protocol.DoneVerb(c.start.Revert)), c.script.Subject(protocol.FailedVerb(c.start.Revert)),
		c.script.Subject(protocol.Progress), c.replySubject(),
	} {
		s, err := c.nc.ChanSubscribe(subject, c.heard)
		if err != nil {
			stop()
			return nil, fmt.Errorf("listen to %s: %w", subject, err)
		}
		subs = append(subs, s)
	}
	return stop, nil
}

// hear deals with one message; nil when it is no answer.
func (c *conversation) hear(m *nats.Msg) *protocol.Answer {
	if m.Subject == c.replySubject() {
		return c.hearReply(m)
	}
	answer, reason := c.claimed(m)
	if m.Subject == c.script.Subject(protocol.Progress) {
		if reason == "" {
			c.hearProgress(m)
		}
		return nil
	}
	if m.Header.Get(protocol.HeaderSequence) != "" {
		return nil // a completion event, which has the name of the app's answer
	}
	c.acknowledge(m, reason)
	if reason != "" {
		c.ignored = m.Subject + " was heard, and ignored: " + reason
		return nil
	}
	c.recording.add(recorded(c.script, m))
	return judge(answer, m, m.Subject == c.script.Subject(protocol.DoneVerb(c.start.Revert)))
}

func (c *conversation) hearProgress(m *nats.Msg) {
	var p protocol.ProgressMessage
	_ = json.Unmarshal(m.Data, &p) // a sign of life even if it cannot be read
	c.progress, c.alive = &p, time.Now()
	c.recording.add(recorded(c.script, m))
}

// hearReply deals with what came on the reply subject of the start.
func (c *conversation) hearReply(m *nats.Msg) *protocol.Answer {
	if isNoResponders(m) {
		c.unheard = true
		return nil
	}
	if isNoAnswer(m) {
		return nil
	}
	c.recording.add(recorded(c.script, m))
	answer := c.judgeReply(m)
	c.announce(answer)
	return answer
}

// announce publishes the named message of an answer that was a plain reply, so that
// observers see it.
func (c *conversation) announce(a *protocol.Answer) {
	verb := protocol.FailedVerb(c.start.Revert)
	if a.Done {
		verb = protocol.DoneVerb(c.start.Revert)
	}
	if m, err := c.message(verb, a); err == nil && c.nc.PublishMsg(m) == nil {
		c.recording.add(recorded(c.script, m))
	}
}

// message is a named message about the script, with the headers that each of them has.
func (c *conversation) message(v protocol.Verb, payload any) (*nats.Msg, error) {
	m := nats.NewMsg(c.script.Subject(v))
	m.Header.Set(protocol.HeaderRollout, c.start.Rollout)
	m.Header.Set(protocol.HeaderStep, c.start.Step)
	m.Header.Set(protocol.HeaderAttempt, strconv.Itoa(c.start.Attempt))
	m.Header.Set(protocol.HeaderMessageID, uuid.NewString())
	m.Header.Set(protocol.HeaderTraceparent, c.trace)
	data, err := json.Marshal(payload)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", m.Subject, err)
	}
	m.Data = data
	return m, nil
}

func (c *conversation) acknowledge(m *nats.Msg, reason string) {
	if m.Reply == "" {
		return
	}
	accepted := reason == ""
	data, err := json.Marshal(protocol.Accepted{Accepted: &accepted, Reason: reason})
	if err == nil {
		_ = m.Respond(data) // the sender repeats what is not acknowledged
	}
}

// flush makes sure that the acknowledgement is on its way before the caller goes on.
func (c *conversation) flush(ctx context.Context) error {
	if err := flush(ctx, c.nc); err != nil {
		return fmt.Errorf("acknowledge the answer of %s: %w", c.script, err)
	}
	return nil
}

func (c *conversation) replySubject() string {
	return protocol.AnswerSubject(c.start.Rollout, slices.Index(phases(), c.start.Phase)+1, c.start.Attempt, c.start.Revert)
}

func (c *conversation) patience() time.Duration {
	return protocol.LeaseBeats * time.Duration(c.start.Heartbeat)
}

// step is what runs, as a person reads it.
func (c *conversation) step() string {
	if c.start.Revert {
		return "the revert of " + c.script.String()
	}
	return c.script.String()
}

// lost is the error of a script that has stopped to send the signs of life it promised.
func (c *conversation) lost() error {
	return fmt.Errorf("%s has sent no sign of life for %s, %s: after its first progress message it must send one at least every %s until it answers",
		c.step(), c.patience(), c.lastWord(), time.Duration(c.start.Heartbeat))
}

// gaveUp says what was waited for.
func (c *conversation) gaveUp(ctx context.Context) error {
	until, limited := ctx.Deadline()
	if cause := context.Cause(ctx); !limited || !errors.Is(cause, context.DeadlineExceeded) {
		return fmt.Errorf("%s has not answered: %w", c.step(), cause)
	}
	waited := until.Sub(c.began).Round(100 * time.Millisecond)
	if c.unheard {
		return fmt.Errorf("%w to %s, sent %d times in %s: start the setup service, or leave the phase out of those that it has scripts for",
			relay.ErrNobodyListens, c.script.Subject(protocol.StartVerb(c.start.Revert)), c.sent, waited)
	}
	hint := c.lastWord()
	if c.ignored != "" {
		hint = c.ignored
	}
	return fmt.Errorf("%s has not answered within %s, %s: it has to send %s or %s, or to reply to the start",
		c.step(), waited, hint, c.script.Subject(protocol.DoneVerb(c.start.Revert)), c.script.Subject(protocol.FailedVerb(c.start.Revert)))
}

// lastWord is the last sign of life.
func (c *conversation) lastWord() string {
	switch p := c.progress; {
	case p == nil:
		return "and sent no sign of life"
	case p.Done == nil:
		return "though it is alive"
	case p.Total > 0:
		return fmt.Sprintf("though it has done %d of %d", *p.Done, p.Total)
	default:
		return fmt.Sprintf("though it has done %d", *p.Done)
	}
}

func randomHex(bytes int) string {
	b := make([]byte, bytes)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}
