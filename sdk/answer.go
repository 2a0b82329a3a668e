package sdk

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// message is the named message that carries an answer.
func (a *attempt) message(answer *protocol.Answer) *nats.Msg {
	verb := protocol.FailedVerb(a.job.revert)
	if answer.Done {
		verb = protocol.DoneVerb(a.job.revert)
	}
	m := nats.NewMsg(a.job.script.Subject(verb))
	m.Data = marshal(answer)
	a.address(m.Header, uuid.NewSHA1(uuid.NameSpaceOID, []byte(a.key+" "+strconv.Itoa(int(verb)))))
	return m
}

// address writes the headers that every message about a step carries.
func (a *attempt) address(h nats.Header, id uuid.UUID) {
	if a.start.Rollout == "" {
		return // started by hand: there is nothing to name
	}
	h.Set(protocol.HeaderRollout, a.start.Rollout)
	h.Set(protocol.HeaderStep, a.start.Step)
	h.Set(protocol.HeaderAttempt, strconv.Itoa(a.start.Attempt))
	h.Set(protocol.HeaderMessageID, id.String())
	if trace := a.header.Get(protocol.HeaderTraceparent); trace != "" {
		h.Set(protocol.HeaderTraceparent, trace)
	}
}

// answer sends the answer until an orchestrator has acknowledged it, or ctx ends; if it is
// remembered, the next instance finds it in the claim. It reports whether the answer was
// accepted, and calls missed as soon as it was not.
func (a *attempt) answer(ctx context.Context, answer *protocol.Answer, missed func()) (taken bool) {
	m := a.message(answer)
	m.Reply = a.worker.nc.NewInbox()
	replies := make(chan *nats.Msg, maxReplies)
	sub, err := a.worker.nc.ChanSubscribe(m.Reply, replies)
	if err != nil { // the connection is closed
		a.worker.log.Warn("answer not sent", zap.String("message", m.Subject), zap.Error(err))
		missed()
		return false
	}
	defer func() { _ = sub.Unsubscribe() }()
	for told := false; ; told = true {
		accepted, err := a.ask(ctx, m, replies)
		if err == nil && *accepted.Accepted {
			return true
		}
		missed()
		if err == nil {
			a.worker.log.Warn("answer refused", zap.String("message", m.Subject), zap.String("reason", accepted.Reason))
			return false
		}
		if !told {
			a.worker.log.Warn("answer not acknowledged, sending it until it is", zap.String("message", m.Subject), zap.Error(err))
		}
		if !pause(ctx, retryPause) {
			return false
		}
	}
}

// ask sends the answer once; only an orchestrator's reply counts as acknowledged (a
// stream that captures the subject replies too). A late one to an earlier time counts too.
func (a *attempt) ask(ctx context.Context, m *nats.Msg, replies <-chan *nats.Msg) (protocol.Accepted, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	if err := a.worker.nc.PublishMsg(m); err != nil {
		return protocol.Accepted{}, err
	}
	for {
		select {
		case reply := <-replies:
			var accepted protocol.Accepted
			if json.Unmarshal(reply.Data, &accepted) == nil && accepted.Accepted != nil {
				return accepted, nil
			}
			if len(reply.Data) == 0 && reply.Header.Get(protocol.HeaderStatus) == "503" {
				return protocol.Accepted{}, nats.ErrNoResponders
			}
		case <-ctx.Done():
			return protocol.Accepted{}, ctx.Err()
		}
	}
}

// marshal writes one of the protocol's payloads, which can all be written as JSON.
func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
