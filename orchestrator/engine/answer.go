package engine

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
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
	told          map[rollout.AttemptID]time.Time // scripts to stop, see tellOver
}

// heardProgress takes in a sign of life.
func (g *answers) heardProgress(script protocol.Script, m *nats.Msg) {
	var p protocol.ProgressMessage
	if len(m.Data) > 0 && json.Unmarshal(m.Data, &p) != nil {
		return
	}
	p.Rollout, p.Attempt = about(m, p.Rollout, p.Attempt)
	g.View.Progress(script.Step(), p)
	g.tellOver(script, m.Subject, p)
}

// heardAnswer takes a named answer. Sent as a request, it is acknowledged once it is
// durable; one that changes nothing is acknowledged as not accepted.
func (g *answers) heardAnswer(script protocol.Script, verb protocol.Verb, m *nats.Msg) {
	if m.Header.Get(protocol.HeaderSequence) != "" {
		return // the completion event of the orchestrator itself has the same name
	}
	ctx, cancel := context.WithTimeout(context.Background(), answerTimeout)
	defer cancel()
	err := g.takeNamed(ctx, script, verb, m)
	switch {
	case err == nil:
		g.Recorder.At(view.AnswerSaved)
		g.acknowledge(m, true, "")
	case errors.Is(err, rollout.ErrStale), errors.Is(err, rollout.ErrNotFound):
		g.Log.Warn("answer changes nothing", zap.String("message", m.Subject), zap.Error(err))
		g.acknowledge(m, false, err.Error())
	default: // not acknowledged: it is sent again
		g.Log.Error("answer not taken", zap.String("message", m.Subject), zap.Error(err))
	}
}

func (g *answers) acknowledge(m *nats.Msg, accepted bool, reason string) {
	if m.Reply == "" {
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
	var answer protocol.Answer
	if len(bytes.TrimSpace(m.Data)) > 0 && json.Unmarshal(m.Data, &answer) != nil {
		answer = protocol.Answer{Error: &protocol.ScriptError{Code: protocol.CodeFailed, Message: string(m.Data)}}
	}
	answer.Rollout, answer.Attempt = about(m, answer.Rollout, answer.Attempt)
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
			if err := g.settle(ctx, app, answer.Rollout, script, e); !errors.Is(err, rollout.ErrNotFound) {
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
func (g *answers) settle(ctx context.Context, app, id string, script protocol.Script, e rollout.Event) error {
	e.Step = script.Step()
	var late *rollout.AttemptID // whose answer it is, when it has ended without one
	_, err := g.Recorder.Change(ctx, app, id, func(s rollout.State) (*rollout.Event, error) {
		step, known := s.Step(e.Step)
		if !known || step.ScriptID() != script {
			return nil, fmt.Errorf("%w: rollout %s has no step for %s", rollout.ErrStale, id, script)
		}
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
		e.At = time.Now().UTC()
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

// reply takes a plain reply to a start, which the journal's stream has kept.
func (g *answers) reply(ctx context.Context, i journal.Item) error {
	id, number, attempt, revert, ok := protocol.ParseAnswerSubject(i.Subject)
	if !ok || noAnswer(i) {
		return nil
	}
	if err := g.Recorder.CatchUp(ctx); err != nil {
		return err
	}
	found, open := g.View.Newest(id)
	if !open || number < 1 || number > len(found.State.Steps) || found.State.Steps[number-1].Kind != rollout.Migration {
		g.Log.Warn("reply changes nothing: no script of an open rollout waits for it", zap.String("subject", i.Subject))
		return nil
	}
	step := found.State.Steps[number-1]
	answer := readReply(i, step.ScriptID().Subject(protocol.DoneVerb(revert)))
	e := rollout.Event{Type: rollout.StepAnswered, Attempt: attempt, Answer: rollout.Clipped(answer), Revert: revert}
	if !answer.Done {
		e.Type = rollout.StepBroke
	}
	err := g.settle(ctx, found.State.Release.App, id, step.ScriptID(), e)
	if errors.Is(err, rollout.ErrStale) {
		g.Log.Warn("reply changes nothing", zap.String("subject", i.Subject), zap.Error(err))
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
