package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// workApp is an app whose releases have steps of their own, and the people who see to it.
type workApp struct {
	*app
	n int
}

func (d *driver) workApp(n int, seed uint64) *workApp {
	return &workApp{n: n, app: &app{driver: d, name: workName(n), rnd: rand.New(rand.NewPCG(seed, uint64(2000+n)))}}
}

// jot writes down what a person, or whoever kills, is about to do.
func (c *cast) jot(d action) error {
	d.At = time.Now()
	line, err := json.Marshal(d)
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.record, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(append(line, '\n'))
	return errors.Join(err, f.Close())
}

// bringNext deploys the next version, to the end of a phase or to its own.
func (a *workApp) bringNext(ctx context.Context) (id string, r rollout.Release, err error) {
	a.version++
	m, err := workManifest(filepath.Dir(a.record), a.n, a.version)
	if err != nil {
		return "", r, err
	}
	r = m.Release()
	if err := a.bring(r); err != nil {
		return "", r, err
	}
	q := api.DeployRequest{Release: r}
	if a.n%kindsOfWork == phaseByPhase && a.rnd.IntN(3) > 0 {
		q.Phase = protocol.Before // the others only behind it
	}
	id, err = a.order(ctx, "deploy", q)
	return id, r, err
}

// order asks for a deploy under an id of its own; empty: it was refused.
func (a *workApp) order(ctx context.Context, name string, q api.DeployRequest) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	q.Rollout, q.By = id.String(), "test"
	var told api.RolloutView
	err = a.command(ctx, name, func(ctx context.Context) (err error) {
		told, err = a.client.Deploy(ctx, q)
		return err
	})
	var refusal *protocol.ServiceError
	switch {
	case errors.As(err, &refusal):
		return "", nil
	case err != nil:
		return "", err
	}
	if told.ID == q.Rollout {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.accepted = append(a.accepted, q.Rollout)
	}
	return told.ID, nil
}

// further has a rollout that has come to the end of a phase run the next one, or all.
func (a *workApp) further(ctx context.Context, s rollout.State) error {
	q := api.DeployRequest{Release: s.Release}
	phases := s.Release.Phases()
	if next := slices.Index(phases, s.Until) + 1; next < len(phases) && a.rnd.IntN(4) > 0 {
		q.Phase = phases[next]
	}
	_, err := a.order(ctx, "deploy further", q)
	return err
}

// waitsForYes finds the question that a rollout waits for.
func waitsForYes(s rollout.State) (rollout.Step, bool) {
	for _, step := range s.Running() {
		if step.Kind == rollout.Approving && s.Status == rollout.Running {
			return step, true
		}
	}
	return rollout.Step{}, false
}

// say answers a question: mostly with yes, now and then twice, and now and then with no.
func (a *workApp) say(ctx context.Context, id string, step rollout.Step) error {
	q := api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}, Step: step.ID}
	rest(ctx, time.Duration(a.rnd.Int64N(int64(100*time.Millisecond))))
	draw := a.rnd.IntN(100)
	d := action{What: approves, Rollout: id, Step: step.ID, Attempt: step.Attempt, By: "test"}
	if draw < 12 {
		d.What = rejects
	}
	if err := a.jot(d); err != nil {
		return err
	}
	if draw < 12 {
		_ = a.command(ctx, "reject", func(ctx context.Context) error { _, err := a.client.Reject(ctx, q); return err })
		return nil
	}
	times := 1
	if draw < 30 {
		times = 2
	}
	for range times {
		_ = a.command(ctx, "approve", func(ctx context.Context) error {
			_, err := a.client.Approve(ctx, api.ApproveRequest{StepRequest: q})
			return err
		})
	}
	return nil
}

// undo takes a rollout backward; it names it, so that it may be repeated.
func (a *workApp) undo(ctx context.Context, id string) {
	err := a.command(ctx, "backward", func(ctx context.Context) error {
		_, err := a.client.Backward(ctx, api.BackwardRequest{App: a.name, Rollout: id, By: "test"})
		return err
	})
	if err == nil { // what was seen may be behind
		ctx, cancel := context.WithTimeout(ctx, patience)
		defer cancel()
		a.await(ctx, id, func(s rollout.State) bool { return s.Backward != nil })
	}
}

// once brings one version, and sees to it until it has ended.
func (a *workApp) once(ctx context.Context) error {
	id, _, err := a.bringNext(ctx)
	if err != nil {
		return err
	}
	if id == "" { // another one is under way
		for _, s := range a.open() {
			if err == nil && s.Release.App == a.name {
				_, err = a.see(ctx, s.ID, false)
			}
		}
		rest(ctx, 100*time.Millisecond)
		return err
	}
	soon := func(max time.Duration) { rest(ctx, time.Duration(a.rnd.Int64N(int64(max)))) }
	switch draw := a.rnd.IntN(100); {
	case draw < 8:
		soon(2 * time.Second)
		a.abort(ctx, id)
	case draw < 16:
		soon(2 * time.Second)
		a.undo(ctx, id)
	}
	late := a.rnd.IntN(10)
	s, err := a.see(ctx, id, late < 2)
	if err == nil && s.Status == rollout.Completed && late < 4 {
		a.undo(ctx, id)
		_, err = a.see(ctx, id, false)
	}
	return err
}

// hostsTime is settleTime where hosts come and go, too: each of them is waited for until its
// lease has run out.
const hostsTime = 4 * time.Minute

// see does about a rollout what people do, until it has ended or is left to the next one.
// When somebody intervenes, they do so in the middle.
func (a *workApp) see(ctx context.Context, id string, intervene bool) (rollout.State, error) {
	for ctx.Err() == nil {
		waiting, cancel := context.WithTimeout(ctx, hostsTime)
		s, ok := a.await(waiting, id, a.needed)
		cancel()
		if !ok && ctx.Err() == nil {
			return s, hangs(s, hostsTime)
		}
		if ctx.Err() != nil || s.Status.Final() {
			return s, nil
		}
		step, asked := waitsForYes(s)
		draw := a.rnd.IntN(100)
		var err error
		switch {
		case asked:
			err = a.say(ctx, id, step)
		case s.Held():
			err = a.further(ctx, s)
		case s.TurnsBack() && draw < 90: // it does so by itself
		case draw < 60:
			a.retry(ctx, id)
		case draw < 75:
			a.abort(ctx, id)
		case draw < 90:
			a.undo(ctx, id)
		default:
			return s, nil // the next one takes its place
		}
		if err != nil {
			return s, err
		}
		if intervene {
			intervene = false
			rest(ctx, time.Duration(a.rnd.Int64N(int64(2*time.Second))))
			if draw%2 == 0 {
				a.abort(ctx, id)
			} else {
				a.undo(ctx, id)
			}
		}
		changing, cancel := context.WithTimeout(ctx, 2*time.Second) // what was refused changes nothing
		a.await(changing, id, func(now rollout.State) bool { return !a.needed(now) || !now.Event.At.Equal(s.Event.At) })
		cancel()
	}
	return a.state(id), nil
}

// needed reports whether a rollout waits for people, or has ended.
func (a *workApp) needed(s rollout.State) bool {
	_, asked := waitsForYes(s)
	return s.Status.Final() || s.Status == rollout.Failed || asked || s.Held()
}

// drive brings one version after the other until faults ends.
func (a *workApp) drive(ctx, faults context.Context, versions int) error {
	for faults.Err() == nil && a.version < versions {
		if err := a.once(ctx); err != nil {
			return err
		}
	}
	return nil
}

// settleWork has all rollouts come to an end: every question is answered with yes, and what
// has failed is tried again, and aborted when that does not help.
func (m *ensemble) settleWork(ctx context.Context, seed uint64) error {
	tries := make(map[string]int)
	for ctx.Err() == nil {
		open := m.open()
		if len(open) == 0 {
			return nil
		}
		for _, s := range open {
			a := m.workApp(0, seed)
			a.name = s.Release.App
			step, asked := waitsForYes(s)
			switch {
			case asked:
				if err := a.say(ctx, s.ID, step); err != nil {
					return err
				}
			case s.Held():
				if err := a.further(ctx, s); err != nil {
					return err
				}
			case s.Status == rollout.Failed && tries[s.ID] < 3:
				tries[s.ID]++
				m.retry(ctx, s.ID)
			case s.Status == rollout.Failed:
				a.abort(ctx, s.ID)
			}
		}
		rest(ctx, 100*time.Millisecond)
	}
	return nil
}
