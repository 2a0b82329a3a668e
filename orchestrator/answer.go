package orchestrator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	flushTimeout = 5 * time.Second
	applyTimeout = 20 * time.Second // to make an answer durable: longer than an election
	maxTextBytes = 4 << 10          // of each text that is kept, of an answer or of what a person wants
	maxChecks    = 20               // of an answer that are kept
	maxCheckText = 512              // bytes of the name, and of the error, of each
)

// apply makes an event durable: it takes the newest state that is known here, applies what
// event makes of it, and appends, again and again while somebody else is faster. What is
// known here may be behind, so only the leader's word is good for anything but an append,
// which fails then. A nil event means that there is nothing to do. [rollout.ErrStale] says
// that the event came too late. Changes of one rollout are made one after the other; event is
// not to block.
func (o *Orchestrator) apply(ctx context.Context, app, id string, event func(rollout.State) (*rollout.Event, error)) (journal.Record, error) {
	leave, err := o.turns.await(ctx, id)
	if err != nil {
		return journal.Record{}, err
	}
	defer leave()
	for r, known := o.view.newest(id); ; {
		if !known {
			if r, err = o.journal.Load(ctx, app, id); err != nil {
				return r, err
			}
		}
		e, err := event(r.State)
		next := r.State
		if err == nil && e != nil {
			next, err = r.State.Apply(*e)
		}
		if err != nil || e == nil {
			if known {
				known = false
				continue
			}
			return r, err
		}
		sequence, err := o.journal.Append(ctx, next, r.Sequence)
		if errors.Is(err, rollout.ErrTooLarge) && e.Answer != nil { // which no repetition makes smaller
			if next, err = r.State.Apply(withoutAnswer(*e, err)); err != nil {
				return r, err
			}
			sequence, err = o.journal.Append(ctx, next, r.Sequence)
		}
		if errors.Is(err, rollout.ErrConflict) { // the event of somebody else is on its way here
			r, known = o.view.awaitNewer(ctx, id, r.Sequence)
			continue
		}
		if err != nil {
			return r, err
		}
		o.at(EventSaved)
		o.logEvent(next, sequence)
		r = journal.Record{State: next, Sequence: sequence}
		o.view.meet(r)
		return r, nil
	}
}

// withoutAnswer is the failure of a step whose answer is too large to be kept.
func withoutAnswer(e rollout.Event, why error) rollout.Event {
	e.Type = rollout.StepBroke
	e.Answer = &protocol.Answer{Error: &protocol.ScriptError{Code: api.CodeTooLarge, Message: clip("its answer cannot be kept: " + why.Error())}}
	return e
}

func (o *Orchestrator) logEvent(s rollout.State, sequence uint64) {
	fields := []zap.Field{
		zap.String("rollout", s.ID), zap.String("app", s.Release.App), zap.String("version", s.Release.Version),
		zap.Uint64("sequence", sequence),
	}
	if s.Event.Step != "" {
		fields = append(fields, zap.String("step", s.Event.Step), zap.Int("attempt", s.Event.Attempt))
	}
	o.log.Info(s.What(), fields...)
}

// heardAnswer takes a named answer. Sent as a request, it is acknowledged once it is
// durable; one that changes nothing is acknowledged as not accepted.
func (o *Orchestrator) heardAnswer(script protocol.Script, verb protocol.Verb, m *nats.Msg) {
	if m.Header.Get(protocol.HeaderSequence) != "" {
		return // the completion event of the orchestrator itself has the same name
	}
	ctx, cancel := context.WithTimeout(context.Background(), applyTimeout)
	defer cancel()
	err := o.takeNamed(ctx, script, verb, m)
	switch {
	case err == nil:
		o.at(AnswerSaved)
		o.acknowledge(m, true, "")
	case errors.Is(err, rollout.ErrStale), errors.Is(err, rollout.ErrNotFound):
		o.log.Warn("answer changes nothing", zap.String("message", m.Subject), zap.Error(err))
		o.acknowledge(m, false, err.Error())
	default: // not acknowledged: it is sent again
		o.log.Error("answer not taken", zap.String("message", m.Subject), zap.Error(err))
	}
}

func (o *Orchestrator) acknowledge(m *nats.Msg, accepted bool, reason string) {
	if m.Reply == "" {
		return
	}
	data, err := json.Marshal(protocol.Accepted{Accepted: &accepted, Reason: reason})
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		o.log.Debug("acknowledge", zap.Error(err)) // it is sent again
	}
}

func (o *Orchestrator) takeNamed(ctx context.Context, script protocol.Script, verb protocol.Verb, m *nats.Msg) error {
	var answer protocol.Answer
	if len(bytes.TrimSpace(m.Data)) > 0 && json.Unmarshal(m.Data, &answer) != nil {
		answer = protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeFailed, Message: string(m.Data)}}
	}
	answer.Rollout, answer.Attempt = about(m, answer.Rollout, answer.Attempt)
	if _, ours := messageID(answer.Rollout, rollout.AnswerKey(m.Subject, answer.Attempt)); m.Header.Get(protocol.HeaderMessageID) == ours.String() {
		return nil // an orchestrator has told observers of it
	}
	typ := rollout.StepAnswered
	if verb == protocol.Failed || verb == protocol.RevertFailed {
		typ = rollout.StepBroke
	}
	e := rollout.Event{
		Type: typ, Attempt: answer.Attempt, Answer: clipped(answer), Named: true,
		Revert: verb == protocol.Reverted || verb == protocol.RevertFailed,
	}
	if id, err := uuid.Parse(answer.Rollout); err == nil && id.String() == answer.Rollout {
		for _, app := range o.subscriptions.apps(m.Subject) {
			if err := o.settle(ctx, app, answer.Rollout, script, e); !errors.Is(err, rollout.ErrNotFound) {
				return err
			}
		}
	}
	return fmt.Errorf("%w waits for it: %q", rollout.ErrNotFound, answer.Rollout)
}

// about gives the rollout and the attempt that a message is about: its headers say so,
// or else its payload.
func about(m *nats.Msg, rollout string, attempt int) (string, int) {
	if id := m.Header.Get(protocol.HeaderRollout); id != "" {
		rollout = id
	}
	if n, err := strconv.Atoi(m.Header.Get(protocol.HeaderAttempt)); err == nil {
		attempt = n
	}
	return rollout, attempt
}

// settle makes an answer of a script durable. Without an attempt it is about the
// first one.
func (o *Orchestrator) settle(ctx context.Context, app, id string, script protocol.Script, e rollout.Event) error {
	e.Step = script.Step()
	_, err := o.apply(ctx, app, id, func(s rollout.State) (*rollout.Event, error) {
		step, known := s.Step(e.Step)
		if !known || step.Script() != script {
			return nil, fmt.Errorf("%w: rollout %s has no step for %s", rollout.ErrStale, id, script)
		}
		if e.Attempt == 0 && step.Attempt == 1 {
			e.Attempt = 1
		}
		if repeated(step, e) {
			return nil, nil
		}
		e.At = time.Now().UTC()
		return &e, nil
	})
	return err
}

// repeated reports whether e is the answer that the step has got already: the one who
// sends it again has not heard that it was durable.
func repeated(step rollout.Step, e rollout.Event) bool {
	if e.Attempt != step.Attempt {
		return false
	}
	if step.Status == rollout.StepPending { // it was told to stop before what it did is undone
		return step.Revert && !e.Revert
	}
	if step.Revert != e.Revert {
		return false
	}
	switch step.Status {
	case rollout.StepDone: // also after an attempt at records that has failed
		return (e.Type == rollout.StepAnswered) == (step.Error == nil)
	case rollout.StepReverted:
		return e.Type == rollout.StepAnswered
	case rollout.StepFailed, rollout.StepRetrying:
		return e.Type == rollout.StepBroke
	}
	return false
}

// reply takes a plain reply to a start, which the journal's stream has kept.
func (o *Orchestrator) reply(ctx context.Context, i journal.Item) error {
	id, number, attempt, revert, ok := protocol.ParseAnswerSubject(i.Subject)
	if !ok || noAnswer(i) {
		return nil
	}
	if err := o.catchUp(ctx); err != nil {
		return err
	}
	found, open := o.view.newest(id)
	if !open || number < 1 || number > len(found.State.Steps) || found.State.Steps[number-1].Kind != rollout.Migration {
		o.log.Warn("reply changes nothing: no script of an open rollout waits for it", zap.String("subject", i.Subject))
		return nil
	}
	step := found.State.Steps[number-1]
	answer := readReply(i, step.Script().Subject(protocol.DoneVerb(revert)))
	e := rollout.Event{Type: rollout.StepAnswered, Attempt: attempt, Answer: clipped(answer), Revert: revert}
	if !answer.Done {
		e.Type = rollout.StepBroke
	}
	err := o.settle(ctx, found.State.Release.App, id, step.Script(), e)
	if errors.Is(err, rollout.ErrStale) {
		o.log.Warn("reply changes nothing", zap.String("subject", i.Subject), zap.Error(err))
		return nil
	}
	return err
}

// noAnswer reports whether a message on a reply subject is none of the script's: NATS
// itself answers there, with a status or as a stream that has stored the start.
func noAnswer(i journal.Item) bool {
	if i.Header.Get(protocol.HeaderStatus) != "" {
		return true
	}
	var ack struct {
		Done     bool   `json:"done"` // which no acknowledgement says
		Stream   string `json:"stream"`
		Sequence uint64 `json:"seq"`
		Error    *struct {
			ErrorCode int `json:"err_code"`
		} `json:"error"`
	}
	if json.Unmarshal(i.Data, &ack) != nil || ack.Done {
		return false
	}
	return (ack.Stream != "" && ack.Sequence > 0) || (ack.Error != nil && ack.Error.ErrorCode != 0)
}

// readReply is what a plain reply says. Done must be said in so many words.
func readReply(i journal.Item, doneName string) protocol.Answer {
	text := strings.TrimSpace(string(i.Data))
	var answer protocol.Answer
	isJSON := strings.HasPrefix(text, "{") && json.Unmarshal([]byte(text), &answer) == nil
	failure := i.Header.Get(protocol.HeaderError)
	if failure == "" && i.Header.Get(protocol.HeaderErrorCode) == "" {
		if isJSON && answer.Done {
			answer.Error = nil
			return answer
		}
		if !isJSON && text != "" && text[strings.LastIndexByte(text, '\n')+1:] == doneName {
			return protocol.Answer{Done: true}
		}
	}
	answer.Done = false
	if answer.Error != nil && failure == "" {
		return answer
	}
	if failure == "" {
		failure = text
	}
	if failure == "" {
		failure = "an empty reply, which does not say done"
	}
	answer.Error = &protocol.ScriptError{Code: protocol.CodeReply, Message: failure}
	return answer
}

// clipped is an answer that the state of a rollout has room for, however long its
// texts are, and without what cannot be.
func clipped(a protocol.Answer) *protocol.Answer {
	a.Note, a.Digest, a.Items, a.PutAside = clip(a.Note), clip(a.Digest), max(a.Items, 0), max(a.PutAside, 0)
	a.Checks = slices.Clone(a.Checks[:min(len(a.Checks), maxChecks)])
	for i := range a.Checks {
		a.Checks[i].Name, a.Checks[i].Error = cut(a.Checks[i].Name, maxCheckText), cut(a.Checks[i].Error, maxCheckText)
	}
	if a.Error != nil {
		e := *a.Error
		e.Code, e.Message = clip(e.Code), clip(e.Message)
		a.Error = &e
	}
	return &a
}

func clip(text string) string { return cut(text, maxTextBytes) }

func cut(text string, most int) string {
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + " …"
}
