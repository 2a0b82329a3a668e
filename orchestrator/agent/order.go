package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// task is an order that has turned out to be true.
type task struct {
	order    protocol.Order
	number   int // of the step in the plan
	deadline time.Time

	manifest    *release.Manifest
	step        release.Step
	environment string // its name
}

func (t task) key(host string) string {
	return protocol.HostKey(t.order.Rollout, t.number, t.order.Revert, host)
}

// lookTimeout bounds how long an order may be looked up. One that could not be is not
// answered: it comes again.
const lookTimeout = 5 * time.Second

// listen subscribes the agent's messages, each kind on its own: a run may take long when the
// bus does not answer, a ping must not. Programs are stopped when ctx ends, results stored
// until saving does.
func (a *Agent) listen(ctx, saving context.Context) (unsubscribe func(), err error) {
	handlers := map[string]func(protocol.Order) (protocol.AgentAnswer, error){
		"ping": func(protocol.Order) (protocol.AgentAnswer, error) {
			return protocol.AgentAnswer{Instance: a.identity.Instance}, nil
		},
		"run": func(o protocol.Order) (protocol.AgentAnswer, error) {
			return protocol.AgentAnswer{}, a.run(ctx, saving, o)
		},
		"cancel": func(o protocol.Order) (protocol.AgentAnswer, error) {
			return protocol.AgentAnswer{}, a.cancel(ctx, o)
		},
	}
	var all []*nats.Subscription
	unsubscribe = func() {
		for _, sub := range all {
			closed := make(chan struct{})
			sub.SetClosedHandler(func(string) { close(closed) })
			if sub.Unsubscribe() == nil {
				<-closed // no handler runs any more
			}
		}
	}
	for message, handler := range handlers {
		sub, err := a.c.Conn.Subscribe(protocol.AgentSubject(a.c.Name, message), func(m *nats.Msg) {
			if ctx.Err() == nil {
				a.answer(m, message, handler)
			}
		})
		if err != nil {
			unsubscribe()
			return nil, fmt.Errorf("listen: %w", err)
		}
		all = append(all, sub)
	}
	sub, err := a.listenState(ctx)
	if err != nil {
		unsubscribe()
		return nil, fmt.Errorf("listen: %w", err)
	}
	all = append(all, sub)
	flushing, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	if err := a.c.Conn.FlushWithContext(flushing); err != nil {
		unsubscribe()
		return nil, fmt.Errorf("listen: %w", err)
	}
	return unsubscribe, nil
}

func (a *Agent) answer(m *nats.Msg, message string, handler func(protocol.Order) (protocol.AgentAnswer, error)) {
	var order protocol.Order
	var answer protocol.AgentAnswer
	err := error(nil)
	if message != "ping" && json.Unmarshal(m.Data, &order) != nil {
		err = refuse(protocol.CodeRefused, "the order cannot be read")
	} else {
		answer, err = handler(order)
	}
	if refusal := new(protocol.ServiceError); errors.As(err, &refusal) {
		answer.Error = refusal
		a.log.Warn("order refused", zap.String("message", message), zap.String("rollout", clip(order.Rollout)),
			zap.String("step", clip(order.Step)), zap.String("code", refusal.Code), zap.String("reason", refusal.Message))
	} else if err != nil {
		a.log.Warn("order not looked up: it has to come again", zap.String("message", message), zap.Error(err))
		return
	}
	data, err := json.Marshal(answer)
	if err == nil && protocol.IsInbox(m.Reply) {
		err = m.Respond(data)
	}
	if err != nil {
		a.log.Debug("order not answered", zap.Error(err))
	}
}

// clip keeps what a stranger has sent from filling the log.
func clip(s string) string { return fmt.Sprintf("%.64q", s) }

func refuse(code, format string, args ...any) error {
	return &protocol.ServiceError{Code: code, Message: fmt.Sprintf(format, args...)}
}

var rolloutID = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`) // a wildcard would find another one

// verify finds out whether an order is true, and what it means here.
func (a *Agent) verify(ctx context.Context, o protocol.Order) (task, error) {
	if !rolloutID.MatchString(o.Rollout) {
		return task{}, refuse(protocol.CodeRefused, "the order names no rollout")
	}
	ofApp := func(m *release.Manifest) bool { return m.App == o.App }
	if !slices.ContainsFunc(a.c.Releases, ofApp) {
		return task{}, refuse(protocol.CodeUnknownRelease, "agent %s was given no release of that app", a.c.Name)
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	found, err := a.c.Journal.Load(ctx, o.App, o.Rollout)
	if errors.Is(err, rollout.ErrNotFound) {
		return task{}, refuse(protocol.CodeNotWanted, "the journal knows no such rollout")
	}
	if err != nil {
		return task{}, fmt.Errorf("look up rollout %s: %w", o.Rollout, err)
	}
	state := found.State
	if state.ID != o.Rollout || state.Release.App != o.App {
		return task{}, refuse(protocol.CodeNotWanted, "the journal knows no such rollout")
	}
	manifest, err := a.manifest(state.Release)
	if err != nil {
		return task{}, err
	}
	step, known := state.Step(o.Step)
	switch {
	case !known:
		return task{}, refuse(protocol.CodeNotWanted, "rollout %s has no such step", o.Rollout)
	case step.Kind != rollout.Command && step.Kind != rollout.Check:
		return task{}, refuse(protocol.CodeRefused, "step %s is a step of kind %s: no agent does it", step.ID, step.Kind)
	case step.Status != rollout.StepRunning || step.Attempt != o.Attempt || step.Revert != o.Revert || o.Attempt < 1 || step.Number < 1:
		return task{}, refuse(protocol.CodeNotWanted, "step %s does not run at that attempt, in that direction", step.ID)
	case step.Cancelled:
		return task{}, refuse(protocol.CodeNotWanted, "step %s was cancelled", step.ID)
	}
	deadline, err := a.deadlineOf(ctx, step)
	if err != nil {
		return task{}, err
	}
	t := task{order: o, number: step.Number, deadline: deadline, manifest: manifest, environment: state.Release.Environment}
	t.step, err = a.permitted(manifest, step)
	return t, err
}

// deadlineOf is the deadline of a step, by this host's clock, which may be another than the one
// that it was set by; zero: it has none.
func (a *Agent) deadlineOf(ctx context.Context, step rollout.Step) (time.Time, error) {
	if step.Deadline.IsZero() {
		return time.Time{}, nil
	}
	now, err := a.c.Journal.Now(ctx)
	if err != nil {
		return time.Time{}, err
	}
	left := step.Deadline.Sub(now)
	if left <= 0 {
		return time.Time{}, refuse(protocol.CodeTimeout, "the time of step %s is over", step.ID)
	}
	return time.Now().Add(left), nil
}

// manifest is the one that the agent was given for a release.
func (a *Agent) manifest(r rollout.Release) (*release.Manifest, error) {
	for i, own := range a.identity.Releases {
		m := a.c.Releases[i]
		if own.App != r.App || own.Version != r.Version || own.Digest != r.Digest {
			continue
		}
		if r.Environment != "" && r.Environment != m.Environment.Name && !slices.Contains(m.Environments, r.Environment) {
			return nil, refuse(protocol.CodeUnknownRelease, "the manifest on agent %s knows no environment of that name", a.c.Name)
		}
		return m, nil
	}
	return nil, refuse(protocol.CodeUnknownRelease, "agent %s was not given this release of %s %s", a.c.Name, r.App, r.Version)
}

// permitted is the manifest's own step, if this agent may do it.
func (a *Agent) permitted(m *release.Manifest, s rollout.Step) (release.Step, error) {
	i := slices.IndexFunc(m.Steps, func(own release.Step) bool { return own.Name == s.ID })
	if i < 0 || s.ID == "" {
		return release.Step{}, refuse(protocol.CodeRefused, "the manifest on agent %s has no step %s", a.c.Name, s.ID)
	}
	own := m.Steps[i]
	switch {
	case s.Kind == rollout.Command && own.Command == nil, s.Kind == rollout.Check && own.Check == nil:
		return own, refuse(protocol.CodeRefused, "step %s is no %s in the manifest on agent %s", s.ID, s.Kind, a.c.Name)
	case s.Revert && (own.Command == nil || !own.Command.Backward):
		return own, refuse(protocol.CodeRefused, "step %s cannot be undone, by the manifest on agent %s", s.ID, a.c.Name)
	}
	for key, value := range own.On {
		if has, ok := a.c.Labels[key]; !ok || has != value {
			return own, refuse(protocol.CodeRefused, "agent %s does not have the label %s=%s that step %s asks for", a.c.Name, key, value, s.ID)
		}
	}
	return own, nil
}
