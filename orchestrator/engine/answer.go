package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/setup"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// answerTimeout is how long it may take to make an answer durable: longer than an election.
const answerTimeout = 20 * time.Second

// answers takes what scripts answer, and their signs of life.
type answers struct {
	Config
	subscriptions *subscriptions
	told          map[rollout.AttemptID]time.Time // scripts that were told again, see tellOver and tellMissed
	refused       *tally
}

// heardProgress takes in a sign of life.
func (g *answers) heardProgress(script protocol.Script, m *nats.Msg) {
	var p protocol.ProgressMessage
	id, attempt, err := protocol.About(m.Header, m.Data)
	if err == nil && len(m.Data) > 0 {
		err = json.Unmarshal(m.Data, &p)
	}
	if err != nil {
		g.refused.note("sign of life counts for nothing", m.Subject, err)
		return
	}
	p.Rollout, p.Attempt = id, attempt
	g.View.Progress(script.Step(), p)
	g.tellOver(script, m.Subject, p)
	g.tellMissed(script, p)
}

// heardAnswer takes a named answer. Sent as a request, it is acknowledged once it is
// durable; one that changes nothing is acknowledged as not accepted.
func (g *answers) heardAnswer(script protocol.Script, verb protocol.Verb, m *nats.Msg) {
	if _, told := protocol.ParseNumber(m.Header.Get(protocol.HeaderSequence)); told {
		return // the completion event of the orchestrator itself has the same name
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	err := g.Sure(ctx)
	if err == nil {
		err = g.takeNamed(ctx, script, verb, m)
	}
	switch {
	case err == nil:
		g.Recorder.At(view.AnswerSaved)
		g.acknowledge(m, true, "")
	case refused(err):
		g.refused.note("answer changes nothing", m.Subject, err)
		g.acknowledge(m, false, err.Error())
	default: // not acknowledged: it is sent again
		g.refused.note("answer not taken", m.Subject, err)
	}
}

func (g *answers) acknowledge(m *nats.Msg, accepted bool, reason string) {
	if !protocol.IsInbox(m.Reply) {
		return
	}
	data, err := json.Marshal(protocol.Accepted{Accepted: &accepted, Reason: reason})
	if err == nil {
		err = m.Respond(data)
	}
	if err != nil {
		g.Log.Debug("acknowledge", zap.Error(err)) // it is sent again
	}
}

func (g *answers) takeNamed(ctx context.Context, script protocol.Script, verb protocol.Verb, m *nats.Msg) error {
	id, attempt, err := protocol.About(m.Header, m.Data)
	if err != nil {
		return err
	}
	if sequence, there := m.Header[protocol.HeaderSequence]; there {
		return &protocol.InvalidError{Kind: protocol.HeaderSequence, Value: strings.Join(sequence, ", "), Rule: "is no number from 1, and no answer has one"}
	}
	var answer protocol.Answer
	if len(bytes.TrimSpace(m.Data)) > 0 && json.Unmarshal(m.Data, &answer) != nil {
		answer = protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeFailed, Message: string(m.Data)}}
	}
	answer.Rollout, answer.Attempt = id, attempt
	if m.Header.Get(protocol.HeaderMessageID) == setup.MessageID(answer.Rollout, rollout.AnswerKey(m.Subject, answer.Attempt)) {
		return nil // an orchestrator has told observers of it
	}
	typ := rollout.StepAnswered
	if verb == protocol.Failed || verb == protocol.RevertFailed {
		typ = rollout.StepBroke
	}
	e := rollout.Event{
		Type: typ, Attempt: answer.Attempt, Answer: rollout.Clipped(answer), Named: true,
		Revert: verb == protocol.Reverted || verb == protocol.RevertFailed,
	}
	if id, err := uuid.Parse(answer.Rollout); err == nil && id.String() == answer.Rollout {
		for _, app := range g.subscriptions.apps(m.Subject) {
			if err := g.settle(ctx, app, answer.Rollout, script, 0, e); !errors.Is(err, rollout.ErrNotFound) {
				return err
			}
		}
	}
	return fmt.Errorf("%w waits for it: %q", rollout.ErrNotFound, answer.Rollout)
}

// settle makes an answer of a script durable, whose step has the number if that is not 0: a new
// plan may number steps anew. Without an attempt it is about the first one.
func (g *answers) settle(ctx context.Context, app, id string, script protocol.Script, number int, e rollout.Event) error {
	e.Step = script.Step()
	var late *rollout.AttemptID // whose answer it is, when it has ended without one
	err := g.Recorder.Take(ctx, app, id, func(s rollout.State) (*rollout.Event, error) {
		step, known := s.Step(e.Step)
		if !known || step.ScriptID() != script || number != 0 && step.Number != number {
			return nil, fmt.Errorf("%w: rollout %s has no step for %s", rollout.ErrStale, id, script)
		}
		e := e
		if e.Attempt == 0 && step.Attempt == 1 {
			e.Attempt = 1
		}
		if left := step.Script.Unanswered; left != nil && left.Attempt == e.Attempt && left.Revert == e.Revert {
			a := s.Attempt(step)
			a.Number, a.Revert = left.Attempt, left.Revert
			late = &a
		}
		if repeated(step, e) {
			return nil, nil
		}
		e.At = g.Recorder.Now()
		return &e, nil
	})
	if late == nil || err != nil && !errors.Is(err, rollout.ErrStale) {
		return err
	}
	return errors.Join(g.Setup.Stopped(ctx, *late, e.Answer), err)
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

// reply takes a plain reply to a start, which the journal's stream has kept. It may come before
// what it is about is known here, so that nothing is refused before that is.
func (g *answers) reply(ctx context.Context, i journal.Item) error {
	id, number, attempt, revert, ok := protocol.ParseAnswerSubject(i.Subject)
	if !ok || noAnswer(i) {
		return nil
	}
	e := rollout.Event{Type: rollout.StepAnswered, Attempt: attempt, Revert: revert}
	err := g.takeReply(ctx, i, id, number, e)
	if refused(err) {
		if err := g.Recorder.CatchUpTogether(ctx); err != nil {
			return err
		}
		err = g.takeReply(ctx, i, id, number, e)
	}
	if refused(err) {
		g.refused.note("reply changes nothing", i.Subject, err)
		return nil
	}
	return err
}

func (g *answers) takeReply(ctx context.Context, i journal.Item, id string, number int, e rollout.Event) error {
	found, open := g.View.Newest(id)
	script, there := scriptOf(found.State, number)
	if !open || !there {
		return fmt.Errorf("%w: no script of an open rollout waits for it", rollout.ErrNotFound)
	}
	answer := readReply(i, script.Subject(protocol.DoneVerb(e.Revert)))
	e.Answer = rollout.Clipped(answer)
	if !answer.Done {
		e.Type = rollout.StepBroke
	}
	return g.settle(ctx, found.State.Release.App, id, script, number, e)
}

// scriptOf is the script that the step with a number runs, if it runs one.
func scriptOf(s rollout.State, number int) (protocol.Script, bool) {
	if number < 1 || number > len(s.Steps) || s.Steps[number-1].Kind != rollout.Migration {
		return protocol.Script{}, false
	}
	return s.Steps[number-1].ScriptID(), true
}

// refused reports whether an error says that an answer is not waited for.
func refused(err error) bool {
	return errors.Is(err, rollout.ErrStale) || errors.Is(err, rollout.ErrNotFound) || errors.As(err, new(*protocol.InvalidError))
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
	if _, _, err := protocol.About(i.Header, i.Data); err != nil {
		return protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeReply, Message: "a reply that cannot be read: its " + err.Error()}}
	}
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
