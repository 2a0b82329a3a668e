package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// pace has the script of a step work faster, or slower. Who asks for what is so already has
// the script told again: it may not have heard.
func (o *Orchestrator) pace(ctx context.Context, q api.PaceRequest) (api.RolloutView, error) {
	asked := protocol.Pace{Rate: q.Rate, InFlight: q.InFlight}
	if asked == (protocol.Pace{}) {
		return api.RolloutView{}, refuse(api.CodeInvalid, "name rate, in records a second, or inFlight, in batches at the same time, or both",
			"nothing is asked for: how fast shall the script work?")
	}
	if err := rollout.ValidatePace(asked); err != nil {
		return api.RolloutView{}, refuse(api.CodeInvalid, "a rate of 0 sets no limit; golive pause holds a script", "%v", err)
	}
	var again *rollout.Step
	v, err := o.intervene(ctx, q.Rollout, func(s rollout.State) (*rollout.Event, error) {
		again = nil
		step, err := scriptOf(s, q.Step)
		if err != nil {
			return nil, err
		}
		e := rollout.Event{Type: rollout.PaceAsked, Step: q.Step, Pace: &asked, By: q.By, Reason: q.Reason}
		next, err := s.Apply(e)
		if err != nil {
			return nil, refuse(api.CodeConflict, "golive show "+s.ID+" tells how it stands",
				"step %s of rollout %s is %s: its script does not run any more", step.ID, s.ID, step.Status)
		}
		if then, _ := next.Step(step.ID); samePace(then.Pace, step.Pace) {
			again = &step
			return nil, nil
		}
		return &e, nil
	})
	if err == nil && again != nil && again.Status == rollout.StepRunning {
		err = o.sendPace(ctx, v.State, *again)
	}
	return v, err
}

// stepOf finds a step of a rollout, or says which there are.
func stepOf(s rollout.State, id string) (rollout.Step, error) {
	step, known := s.Step(id)
	switch {
	case known:
		return step, nil
	case len(s.Steps) == 0:
		return step, refuse(api.CodeNotFound, "golive show "+s.ID+" tells what it waits for", "rollout %s is %s: it has no steps yet", s.ID, s.Status)
	}
	return step, refuse(api.CodeNotFound, "its steps are "+named(steps(s)), "rollout %s has no step %q", s.ID, id)
}

func steps(s rollout.State) []rollout.Step {
	all := make([]rollout.Step, 0, len(s.Steps))
	for _, step := range s.All() {
		all = append(all, step)
	}
	return all
}

// scriptOf is stepOf for a step that runs a script.
func scriptOf(s rollout.State, id string) (rollout.Step, error) {
	step, err := stepOf(s, id)
	if err != nil || step.Kind == rollout.Migration {
		return step, err
	}
	hint := "none of its steps runs one"
	if scripts := scriptsOf(s); len(scripts) > 0 {
		hint = "its scripts are " + named(scripts)
	}
	return step, refuse(api.CodeInvalid, hint, "step %s of rollout %s runs no script", id, s.ID)
}

func scriptsOf(s rollout.State) []rollout.Step {
	var scripts []rollout.Step
	for _, step := range s.All() {
		if step.Kind == rollout.Migration {
			scripts = append(scripts, step)
		}
	}
	return scripts
}

// named lists the ids of steps.
func named(steps []rollout.Step) string {
	ids := make([]string, len(steps))
	for i, step := range steps {
		ids[i] = step.ID
	}
	return strings.Join(ids, ", ")
}

func samePace(a, b *protocol.Pace) bool {
	if a == nil || b == nil {
		return a == b
	}
	sameRate := a.Rate == b.Rate || a.Rate != nil && b.Rate != nil && *a.Rate == *b.Rate
	return sameRate && a.InFlight == b.InFlight
}

// sendPace tells the script of a running step how fast it may work.
func (o *Orchestrator) sendPace(ctx context.Context, s rollout.State, step rollout.Step) error {
	if err := o.publishPace(s, step); err != nil {
		return err
	}
	return o.flush(ctx)
}

func (o *Orchestrator) publishPace(s rollout.State, step rollout.Step) error {
	m := nats.NewMsg(step.Script().Subject(protocol.PaceSet))
	data, err := json.Marshal(protocol.ControlMessage{Rollout: s.ID, Attempt: step.Attempt, Pace: step.Pace})
	if err != nil {
		return fmt.Errorf("write %s: %w", m.Subject, err)
	}
	m.Data = data
	key := m.Subject + " " + strconv.Itoa(step.Attempt) + " again " + time.Now().UTC().Format(time.RFC3339Nano)
	address(m.Header, s, step.ID, step.Attempt, key)
	if err := o.nc.PublishMsg(m); err != nil {
		return fmt.Errorf("send %s: %w", m.Subject, err)
	}
	return nil
}

// overtaken tells a script its pace once more when it turns out that somebody had asked for
// that before its start was sent from here: who told it so then has spoken before the start,
// which said what had been so until then.
func (o *Orchestrator) overtaken(r journal.Record) {
	e := r.State.Event
	step, _ := r.State.Step(e.Step)
	if e.Type != rollout.PaceAsked || step.Status != rollout.StepRunning {
		return
	}
	if started := o.view.of(r.State.ID, step.ID, step.Attempt).started; started.IsZero() || e.At.After(started) {
		return
	}
	if err := o.publishPace(r.State, o.withPace(r.State.ID, step)); err != nil {
		o.log.Warn("pace not told again", zap.String("rollout", r.State.ID), zap.String("step", step.ID), zap.Error(err))
	}
}

// settlePace sees to it that a script that was told of a pace by the item of an event ends up
// with its newest one: the item may come late, when that of a newer event is done.
func (o *Orchestrator) settlePace(ctx context.Context, r journal.Record) error {
	told, _ := r.State.Step(r.State.Event.Step)
	for told.Status == rollout.StepRunning {
		newest, err := o.journal.Load(ctx, r.State.Release.App, r.State.ID)
		if errors.Is(err, rollout.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		now, _ := newest.State.Step(told.ID)
		if now.Status != rollout.StepRunning || now.Attempt != told.Attempt || samePace(now.Pace, told.Pace) {
			return nil
		}
		if err := o.sendPace(ctx, newest.State, now); err != nil {
			return err
		}
		told = now
	}
	return nil
}

// withPace is an attempt of a step with the newest pace that is known here: whoever acts on it
// may have begun before somebody has changed it.
func (o *Orchestrator) withPace(id string, step rollout.Step) rollout.Step {
	newest, known := o.view.newest(id)
	if !known {
		return step
	}
	if now, _ := newest.State.Step(step.ID); now.Attempt == step.Attempt {
		step.Pace = now.Pace
	}
	return step
}
