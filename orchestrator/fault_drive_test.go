package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

// tryFor is how long one try of a command may take before it is repeated.
const tryFor = 3 * time.Second

// settleTime is how long a rollout may take, when parts of everything die all the time.
const settleTime = 90 * time.Second

// lateBy is how long an orchestrator may be at a command after the one who has given it.
const lateBy = 20 * time.Second

// driver has people begin rollouts of many apps, and change their minds.
type driver struct {
	*watch
	client *api.Client

	mu       sync.Mutex
	accepted []string       // rollouts that an orchestrator said it has begun
	did      map[string]int // commands, by name and what came of them
	late     time.Time      // until then a command may be done that nobody waits for any more
}

// app is an app with its versions.
type app struct {
	*driver
	name    string
	kind    int
	rnd     *rand.Rand
	version int               // the newest
	serving []rollout.Release // whose instances run
}

// kinds of apps.
const (
	twoServices  = iota // one depends on the other; each has all scripts
	withTraffic         // real instances, and callers
	withoutSDK          // its setup service is bare
	withSetup           // the app has a script of its own
	withDowntime        // real instances, and maintenance
	mixed               // one setup service is bare, the other is not
	kindsOfApps
)

func (d *driver) app(n int, seed uint64) *app {
	return &app{driver: d, name: fmt.Sprintf("app-%d", n), kind: n % kindsOfApps, rnd: rand.New(rand.NewPCG(seed, uint64(1000+n)))}
}

// release is the next version of the app.
func (a *app) release() rollout.Release {
	a.version++
	v := fmt.Sprintf("1.0.%d", a.version)
	r := rollout.Release{App: a.name, Version: v, Strategy: rollout.Parallel}
	service := func(suffix string, phases ...protocol.Phase) rollout.Service {
		return rollout.Service{
			Name: a.name + "-" + suffix, Version: v, Migrations: phases,
			Retries: a.rnd.IntN(2), Backoff: rollout.Duration(100 * time.Millisecond),
		}
	}
	bare := func(s rollout.Service) rollout.Service { // nobody can say whether its worker lives
		s.Timeout, s.Retries = rollout.Duration(4*time.Second), 3
		return s
	}
	switch one := service("one", protocol.Offline, protocol.Online); a.kind {
	case twoServices:
		one.Migrations = protocol.ServicePhases()
		two := service("two", protocol.ServicePhases()...)
		two.DependsOn = []string{one.Name}
		r.Services = []rollout.Service{two, one}
	case withTraffic:
		one.Instances = 1
		r.Services = []rollout.Service{one}
	case withoutSDK:
		r.Services = []rollout.Service{bare(one)}
	case withSetup:
		one.Migrations = []protocol.Phase{protocol.Before, protocol.Online}
		r.Services, r.Setup = []rollout.Service{one}, true
	case withDowntime:
		one.Instances, r.Strategy = 1, rollout.Downtime
		r.Services = []rollout.Service{one}
	case mixed:
		two := service("two", protocol.Offline, protocol.Online)
		one.DependsOn = []string{two.Name}
		r.Services = []rollout.Service{one, bare(two)}
	}
	return r
}

// bring starts what a release needs, and stops instances that nobody can come back to.
// (Setup services stay: whatever they have done may have to be undone.)
func (a *app) bring(r rollout.Release) error {
	for _, s := range r.Services {
		kind := aSetup
		if s.Timeout > 0 {
			kind = aBare
		}
		a.tell(kind, order{Name: s.Name, Version: s.Version})
		if s.Instances > 0 {
			a.tell(anInstance, order{Name: s.Name, Version: s.Version})
			a.ask(s.Name)
		}
	}
	if r.Setup {
		a.tell(aSetup, order{Name: r.App, Version: r.Version, App: true})
	}
	a.serving = append(a.serving, r)
	if n := len(a.serving) - 6; n > 0 {
		older := slices.DeleteFunc(a.serving[:n:n], func(r rollout.Release) bool {
			s := r.Services[0]
			unneeded := s.Instances == 0 || !a.onRoute(s.Name, s.Version) && !slices.ContainsFunc(a.open(), func(open rollout.State) bool {
				return slices.Contains(awaited(open), order{Name: s.Name, Version: s.Version})
			})
			if unneeded {
				a.tell(anInstance, order{Name: s.Name, Version: s.Version, Down: true})
			}
			return unneeded
		})
		a.serving = append(slices.Clone(older), a.serving[n:]...)
	}
	return a.expect(r.App, r.Version)
}

// onRoute reports whether a version is on the newest route of its service.
func (w *watch) onRoute(service, version string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, r := range slices.Backward(w.routes) {
		if r.Service == service {
			return r.State(version) != protocol.StateOffline
		}
	}
	return false
}

// request sends one production request.
func (w *watch) request(ctx context.Context, r *relay.Relay, service string) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var t told
	err := r.Request(ctx, service+".tell", nil, &t)
	switch {
	case err == nil:
		w.count("answered")
		w.mu.Lock()
		w.answers = append(w.answers, answer{service, t})
		w.mu.Unlock()
	case errors.Is(err, relay.ErrMaintenance):
		w.count("under maintenance")
	case errors.Is(err, relay.ErrNobodyListens):
		w.count("nobody listens")
	default:
		w.count("lost")
	}
}

// command repeats what a person wants until an orchestrator has answered. The error is an
// orchestrator's refusal, or that there is no more time.
func (d *driver) command(ctx context.Context, name string, do func(context.Context) error) error {
	for try := 0; ; try++ {
		trying, cancel := context.WithTimeout(ctx, tryFor)
		err := do(trying)
		cancel()
		var refusal *protocol.ServiceError
		switch {
		case err == nil:
			d.note(name + " done")
			return nil
		case errors.As(err, &refusal) && refusal.Code != api.CodeUnavailable:
			d.note(name + " refused: " + refusal.Code)
			return err
		case ctx.Err() != nil:
			return err
		}
		d.note(name + " repeated")
		rest(ctx, 50*time.Millisecond)
	}
}

func (d *driver) note(what string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.did[what]++
}

// deploy begins a rollout, and gives its id, unless it was refused.
func (a *app) deploy(ctx context.Context, q api.DeployRequest) (string, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return "", err
	}
	q.Rollout, q.Release, q.By = id.String(), a.release(), "test"
	if err := a.bring(q.Release); err != nil {
		return "", err
	}
	name := "deploy"
	if q.Queue {
		name = "deploy --queue"
	} else if q.Replace {
		name = "deploy --replace"
	}
	err = a.command(ctx, name, func(ctx context.Context) error {
		_, err := a.client.Deploy(ctx, q)
		return err
	})
	if err != nil {
		var refusal *protocol.ServiceError
		if errors.As(err, &refusal) {
			return "", nil
		}
		return "", err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accepted = append(a.accepted, q.Rollout)
	return q.Rollout, nil
}

// Commands of people, which may be refused.
func (a *app) abort(ctx context.Context, id string) {
	_ = a.command(ctx, "abort", func(ctx context.Context) error {
		_, err := a.client.Abort(ctx, api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}, Force: true})
		return err
	})
}

// backward is tried once: it names no rollout, so one that was done, and whose answer was
// lost, would go back once more.
func (a *app) backward(ctx context.Context) {
	q := api.BackwardRequest{App: a.name, By: "test"}
	if live := a.completed(); len(live) > 2 && a.rnd.IntN(3) == 0 {
		q.To = live[len(live)-3]
	}
	trying, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	_, err := a.client.Backward(trying, q)
	var refusal *protocol.ServiceError
	switch {
	case err == nil && q.To != "":
		a.note("backward --to done")
	case err == nil:
		a.note("backward done")
	case errors.As(err, &refusal):
		a.note("backward refused: " + refusal.Code)
	default:
		a.note("backward without an answer")
		a.mu.Lock()
		a.late = time.Now().Add(lateBy)
		a.mu.Unlock()
	}
}

// completed lists the versions of the app that are complete, oldest first.
func (a *app) completed() []string {
	a.watch.mu.Lock()
	defer a.watch.mu.Unlock()
	var all []rollout.State
	for _, r := range a.newest {
		if r.State.Release.App == a.name && r.State.Status == rollout.Completed {
			all = append(all, r.State)
		}
	}
	slices.SortFunc(all, func(a, b rollout.State) int { return a.Created.Compare(b.Created) })
	var versions []string
	for _, s := range all {
		versions = append(versions, s.Release.Version)
	}
	return versions
}

func (d *driver) retry(ctx context.Context, id string) {
	_ = d.command(ctx, "retry", func(ctx context.Context) error {
		_, err := d.client.Retry(ctx, api.RetryRequest{Rollout: id, By: "test"})
		return err
	})
}

// amend has the records tried again that the scripts of a rollout, or one of them, have put
// aside. It tells whether that was done.
func (a *app) amend(ctx context.Context, id string) bool {
	q := api.RetryRequest{Rollout: id, By: "test", FailedRecords: true}
	var aside []string
	for _, step := range a.state(id).All() {
		if step.Script.PutAside > 0 {
			aside = append(aside, step.ID)
		}
	}
	if len(aside) > 0 && a.rnd.IntN(3) == 0 {
		q.Step = aside[a.rnd.IntN(len(aside))]
	}
	return a.command(ctx, "retry --failed-records", func(ctx context.Context) error {
		_, err := a.client.Retry(ctx, q)
		return err
	}) == nil
}

// amendings has records tried again, as often as there are any and somebody wants it, and
// people who change their minds meanwhile.
func (a *app) amendings(ctx context.Context, id string) (more []string, err error) {
	soon := func() { rest(ctx, time.Duration(a.rnd.Int64N(int64(200*time.Millisecond)))) }
	for range 1 + a.rnd.IntN(3) {
		if !a.amend(ctx, id) {
			return more, nil
		}
		switch draw := a.rnd.IntN(100); {
		case draw < 25:
			soon()
			a.stop(ctx, id)
		case draw < 45:
			step := ""
			if s := a.state(id); a.rnd.IntN(2) == 0 {
				step = s.Steps[a.rnd.IntN(len(s.Steps))].ID
			}
			soon()
			a.hold(ctx, id, step)
			soon()
			if a.rnd.IntN(2) == 0 {
				a.stop(ctx, id)
			}
			a.goOn(ctx, id, step)
		case draw < 55:
			a.pace(ctx, id)
		case draw < 70:
			soon()
			next, err := a.deploy(ctx, api.DeployRequest{Queue: draw < 62, Replace: draw >= 62})
			if err != nil || next != "" {
				return append(more, next), err
			}
		case draw < 80:
			soon()
			a.stop(ctx, id)
			if draw < 77 { // else it comes too early
				if err := a.finish(ctx, id); err != nil {
					return more, err
				}
			}
			a.backward(ctx)
			return more, nil
		}
		if err := a.finish(ctx, id); err != nil {
			return more, err
		}
	}
	if a.rnd.IntN(4) == 0 {
		a.backward(ctx)
	}
	return more, nil
}

// stop aborts what is under way without more ado, as long as the scripts do as they are told.
func (a *app) stop(ctx context.Context, id string) {
	_ = a.command(ctx, "abort of records", func(ctx context.Context) error {
		_, err := a.client.Abort(ctx, api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "test"}})
		return err
	})
}

func (d *driver) hold(ctx context.Context, id, step string) {
	_ = d.command(ctx, "pause", func(ctx context.Context) error {
		_, err := d.client.Pause(ctx, api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id}, Step: step})
		return err
	})
}

func (d *driver) goOn(ctx context.Context, id, step string) {
	_ = d.command(ctx, "resume", func(ctx context.Context) error {
		_, err := d.client.Resume(ctx, api.StepRequest{RolloutRequest: api.RolloutRequest{Rollout: id}, Step: step})
		return err
	})
}

// pace has a script of a rollout, or of what is none, work at some pace.
func (a *app) pace(ctx context.Context, id string) {
	q := api.PaceRequest{Rollout: id, Step: a.name + "-one/online", InFlight: 1 + a.rnd.IntN(8), By: "test"}
	if s := a.state(id); len(s.Steps) > 0 {
		q.Step = s.Steps[a.rnd.IntN(len(s.Steps))].ID
	}
	if a.rnd.IntN(2) == 0 {
		q.Rate = new(float64(a.rnd.IntN(1000)))
	}
	_ = a.command(ctx, "pace", func(ctx context.Context) error {
		_, err := a.client.Pace(ctx, q)
		return err
	})
}

// drive begins one rollout after the other until faults ends; what is begun then it brings
// to its end, at the latest when ctx ends.
func (a *app) drive(ctx, faults context.Context) error {
	for faults.Err() == nil {
		if err := a.once(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) once(ctx context.Context) error {
	id, err := a.deploy(ctx, api.DeployRequest{})
	if err != nil || id == "" {
		rest(ctx, 100*time.Millisecond)
		return err
	}
	ids := []string{id}
	soon := func(max time.Duration) { rest(ctx, time.Duration(a.rnd.Int64N(int64(max)))) }
	switch draw := a.rnd.IntN(100); {
	case draw < 12:
		soon(time.Second)
		a.abort(ctx, id)
	case draw < 24:
		soon(500 * time.Millisecond)
		step := ""
		if s := a.state(id); len(s.Steps) > 0 && a.rnd.IntN(2) == 0 {
			step = s.Steps[a.rnd.IntN(len(s.Steps))].ID
		}
		a.hold(ctx, id, step)
		soon(500 * time.Millisecond)
		a.goOn(ctx, id, step)
	case draw < 36:
		soon(time.Second)
		a.backward(ctx)
	case draw < 46:
		if _, err := a.settled(ctx, id); err != nil {
			return err
		}
		a.backward(ctx)
	case draw < 58:
		for range 1 + a.rnd.IntN(2) {
			if id, err = a.deploy(ctx, api.DeployRequest{Queue: true}); err != nil {
				return err
			} else if id != "" {
				ids = append(ids, id)
			}
		}
	case draw < 68:
		soon(500 * time.Millisecond)
		if id, err = a.deploy(ctx, api.DeployRequest{Replace: true}); err != nil {
			return err
		} else if id != "" {
			ids = append(ids, id)
		}
	case draw < 76:
		for range 1 + a.rnd.IntN(3) {
			soon(300 * time.Millisecond)
			a.pace(ctx, id)
		}
	default:
		s, err := a.settled(ctx, id)
		if err != nil {
			return err
		}
		if s.Status == rollout.Completed {
			more, err := a.amendings(ctx, id)
			if err != nil {
				return err
			}
			ids = append(ids, more...)
		}
	}
	for _, id := range ids {
		if err := a.finish(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// paused reports whether a rollout is held, or a step of it that it has to come to.
func paused(s rollout.State) bool {
	return (s.Status == rollout.Running || s.Status == rollout.Reverting || s.Status == rollout.Amending) && (s.Paused != nil || slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		return step.Paused != nil
	}))
}

// unpause has everything of a rollout go on. (A step that was paused before the rollout
// failed can be resumed only when that is tried again.)
func (d *driver) unpause(ctx context.Context, s rollout.State) {
	if s.Paused != nil {
		d.goOn(ctx, s.ID, "")
	}
	for _, step := range s.All() {
		if step.Paused != nil {
			d.goOn(ctx, s.ID, step.ID)
		}
	}
}

// settled blocks until a rollout has ended, has failed, or is paused.
func (a *app) settled(ctx context.Context, id string) (rollout.State, error) {
	waiting, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	s, ok := a.await(waiting, id, func(s rollout.State) bool {
		return s.Status.Final() || s.Status == rollout.Failed || paused(s)
	})
	if ok || ctx.Err() != nil {
		return s, nil
	}
	return s, hangs(s, settleTime)
}

// hangs says of a rollout that does not end what it waits for.
func hangs(s rollout.State, within time.Duration) error {
	text, _ := json.MarshalIndent(s, "", " ")
	return fmt.Errorf("rollout %s does not end within %s, it waits for %q: %s", s.ID, within, s.Waits(), text)
}

// finish does about a rollout that has failed what a person does.
func (a *app) finish(ctx context.Context, id string) error {
	for {
		s, err := a.settled(ctx, id)
		if err != nil || ctx.Err() != nil || s.Status.Final() {
			return err
		}
		switch draw := a.rnd.IntN(100); {
		case s.Status != rollout.Failed:
			a.unpause(ctx, s)
		case draw < 60:
			a.retry(ctx, id)
		case draw < 75:
			a.abort(ctx, id)
		case draw < 90:
			a.backward(ctx)
		default:
			return nil // the next one takes its place
		}
		if ctx.Err() != nil {
			return nil
		}
		changing, cancel := context.WithTimeout(ctx, 2*time.Second) // what was refused changes nothing
		a.await(changing, id, func(now rollout.State) bool {
			return now.Status != s.Status || !now.Ended.Equal(s.Ended) || paused(now) != paused(s)
		})
		cancel()
	}
}

// awaitLate blocks until no command is done any more that nobody waits for.
func (d *driver) awaitLate(ctx context.Context) {
	d.mu.Lock()
	late := d.late
	d.mu.Unlock()
	rest(ctx, time.Until(late))
}

// bringToRest has everything that is open end: what is paused goes on, what has failed is
// tried again, and aborted when that does not help.
func (d *driver) bringToRest(ctx context.Context) {
	tries := make(map[string]int)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for ctx.Err() == nil {
		open := d.open()
		if len(open) == 0 {
			return
		}
		for _, s := range open {
			if paused(s) {
				d.unpause(ctx, s)
			}
			if s.Status != rollout.Failed {
				continue
			}
			if tries[s.ID]++; tries[s.ID] > 3 {
				a := &app{driver: d}
				a.abort(ctx, s.ID)
			} else {
				d.retry(ctx, s.ID)
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}
