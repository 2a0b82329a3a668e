package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/orchestrator/setup"
	"github.com/golive-dev/golive/orchestrator/view"
	"github.com/golive-dev/golive/relay/protocol"
)

// handle does one item of the queue.
func (g *Engine) handle(ctx context.Context, i journal.Item) error {
	err := g.handleItem(ctx, i)
	if err == nil { // what is acknowledged is a place in the journal: another event may stand there by now
		err = g.sureSoon(ctx)
	}
	g.Recorder.At(view.ItemDone)
	if err != nil && ctx.Err() == nil {
		g.Log.Warn("work interrupted, it comes again", zap.String("subject", i.Subject), zap.Error(err))
	}
	return err
}

func (g *Engine) handleItem(ctx context.Context, i journal.Item) error {
	if err := g.sureSoon(ctx); err != nil {
		return err
	}
	if i.Event() {
		return g.workOn(ctx, i)
	}
	if app, id, ok := protocol.ParseDueSubject(i.Subject); ok {
		return g.due(ctx, app, id)
	}
	return g.answers.reply(ctx, i)
}

// sureFor is how long an item is held until the journal was compared: another orchestrator may
// be further.
const sureFor = 2 * time.Second

func (g *Engine) sureSoon(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sureFor)
	defer cancel()
	return g.Sure(ctx)
}

// workOn does an event's item.
func (g *Engine) workOn(ctx context.Context, i journal.Item) error {
	r, err := i.Record(ctx)
	if errors.Is(err, rollout.ErrNotFound) {
		g.Log.Warn("the journal holds a message that is no event, left out", zap.Uint64("sequence", i.Sequence))
		return nil
	}
	if err == nil {
		err = r.State.Known()
	}
	if errors.Is(err, rollout.ErrUnknown) {
		return g.leave(ctx, r, err)
	}
	if err != nil {
		return err
	}
	return g.work(ctx, r, i.Again)
}

// leave leaves an event to an orchestrator of a newer version, as long as the rollout is not
// over: the item is given out again.
func (g *Engine) leave(ctx context.Context, r journal.Record, why error) error {
	newest, err := g.Journal.Load(ctx, r.State.Release.App, r.State.ID)
	switch {
	case errors.Is(err, rollout.ErrNotFound):
		return nil
	case err != nil:
		return err
	case newest.State.Known() == nil && newest.State.Status.Final():
		return nil
	}
	return why
}

// work tells the world of an event, and then acts on the steps that the event has begun or
// turned, as long as the newest state still wants that: each is in the care of one item,
// which comes again until it is done. Everything else is left to the items of other events.
// What is newest is as known here, which may be a little behind: whatever is done then is
// harmless. An item that was given out before may be old, so the leader is asked.
func (g *Engine) work(ctx context.Context, r journal.Record, again bool) error {
	told, err := g.announce(r)
	if err != nil {
		return err
	}
	if r.State.Event.Type == rollout.PaceAsked {
		if err := g.scripts.settlePace(ctx, r); err != nil {
			return err
		}
	}
	g.Recorder.At(view.Announced)
	g.View.Meet(r)
	if again {
		newest, err := g.Journal.Load(ctx, r.State.Release.App, r.State.ID)
		if err != nil {
			return err
		}
		g.View.Meet(newest)
	}
	if newest, known := g.View.Newest(r.State.ID); known && newest.Sequence == r.Sequence {
		if err := g.remind(ctx, r); err != nil {
			return err
		}
	}
	doing, acting := errgroup.WithContext(ctx)
	if told {
		doing.Go(func() error { return g.Setup.Flush(acting) })
	}
	for _, act := range r.State.Acts() {
		doing.Go(func() error { return g.act(acting, r, act) })
	}
	if err := doing.Wait(); err != nil {
		return err
	}
	if err := g.follows(ctx, r); err != nil {
		return err
	}
	stopping, waiting := errgroup.WithContext(ctx)
	for _, a := range r.State.Stops() { // last: it may take long
		stopping.Go(func() error { return g.scripts.awaitStopped(waiting, r, a) })
	}
	return stopping.Wait()
}

// act does what an event's item has to do about a step.
func (g *Engine) act(ctx context.Context, r journal.Record, act rollout.Act) error {
	switch act.Kind {
	case rollout.StopAgents:
		return g.hosts.stopAgents(ctx, r, act.Step)
	case rollout.AskAgents:
		return g.hosts.workOnHosts(ctx, r, act.Step)
	case rollout.LeadTraffic:
		return g.traffic.moveTraffic(ctx, r, act.Step)
	case rollout.TakeSnapshot:
		return g.snapshots.takeSnapshot(ctx, r, act.Step)
	case rollout.PutData:
		return g.snapshots.putData(ctx, r, act.Step)
	case rollout.AwaitCancelled:
		return g.scripts.awaitCancelled(ctx, r, act.Step)
	}
	return g.scripts.sendStart(ctx, r, act.Step)
}

// remind sets the rollout's timer, if anything can be late.
func (g *Engine) remind(ctx context.Context, r journal.Record) error {
	due := r.State.Due()
	if due.IsZero() {
		return nil
	}
	err := g.Journal.Remind(ctx, r.State, r.Sequence, due)
	if errors.Is(err, rollout.ErrConflict) {
		return nil // the newer event's item sets it
	}
	g.Recorder.At(view.TimerSet)
	return err
}

// follows begins what was waiting for the rollout to get where it is.
func (g *Engine) follows(ctx context.Context, r journal.Record) error {
	if r.State.TurnsBack() {
		return g.Commands.TurnBack(ctx, r)
	}
	if s := r.State.Status; s.Final() || s == rollout.Failed || s == rollout.Queued {
		// What was queued before this event must be known: its own item saw the app busy.
		if err := g.View.Reach(ctx, r.Sequence); err != nil {
			return err
		}
		if err := g.Commands.BeginQueued(ctx, r.State.Release.App); err != nil {
			return err
		}
	}
	if r.State.Status == rollout.Reverted {
		return g.Commands.GoFurtherBack(ctx, r.State)
	}
	return nil
}

// due ends what is past its deadline. The timer is only a hint: the state decides, and the
// leader's if what is known here is behind: the timer may be that of an event which has not
// come here yet, and no other one goes off for that.
func (g *Engine) due(ctx context.Context, app, id string) error {
	for known := true; ; {
		r, err := g.endLate(ctx, app, id, known)
		if errors.Is(err, rollout.ErrStale) {
			known = false
			continue
		}
		if errors.Is(err, rollout.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.State.Late(g.Recorder.Now())) > 0 {
			continue
		}
		if at := r.State.Due(); !at.IsZero() { // it went off early, or another step is due later
			err = g.Journal.Remind(ctx, r.State, r.Sequence, at)
		}
		if errors.Is(err, rollout.ErrConflict) {
			return nil
		}
		return err
	}
}

// endLate ends the first of a rollout's steps that are past their deadline, if there is one, by
// the newest state that is known here or else by the leader's.
func (g *Engine) endLate(ctx context.Context, app, id string, known bool) (r journal.Record, err error) {
	if known {
		r, known = g.View.Newest(id)
	}
	late := r.State.Late(g.Recorder.Now())
	if !known || len(late) == 0 {
		if r, err = g.Journal.Load(ctx, app, id); err != nil {
			return r, err
		}
		if late = r.State.Late(g.Recorder.Now()); len(late) == 0 {
			return r, nil
		}
	}
	e := late[0]
	if err := g.hosts.expire(ctx, r.State, &e); err != nil {
		return r, err
	}
	return g.Recorder.Change(ctx, app, id, func(s rollout.State) (*rollout.Event, error) {
		// Agents that were told to stop have; anything else may have got more time meanwhile.
		step, _ := s.Step(e.Step)
		if step.Work == nil && !slices.ContainsFunc(s.Late(e.At), func(other rollout.Event) bool { return other.Step == e.Step && other.Attempt == e.Attempt }) {
			return nil, nil
		}
		return &e, nil
	})
}

// announce publishes the named messages that the event calls for, and reports whether there
// are any. Whoever repeats it sends the same ids. What is published on the same connection
// after it arrives after it; that it has arrived is for the caller to wait for.
func (g *Engine) announce(r journal.Record) (told bool, err error) {
	all := r.State.Announcements()
	for _, a := range all {
		if err := g.publish(r.State, a, r.Sequence); err != nil {
			return false, err
		}
	}
	return len(all) > 0, nil
}

// publish publishes an announcement of a rollout; the sequence is of the event that calls for it.
func (c Config) publish(s rollout.State, a rollout.Announcement, sequence uint64) error {
	if control, ok := a.Payload.(protocol.ControlMessage); ok {
		control.Left = protocol.Until(control.Deadline, c.Recorder.Now())
		a.Payload = control
	}
	data, err := json.Marshal(a.Payload)
	if err != nil {
		return fmt.Errorf("announce %s: %w", a.Subject, err)
	}
	m := nats.NewMsg(a.Subject)
	m.Data = data
	setup.Address(m.Header, s, a.Step, a.Attempt, a.Key)
	if a.Fact {
		m.Header.Set(protocol.HeaderSequence, strconv.FormatUint(sequence, 10))
	}
	if err := c.Conn.PublishMsg(m); err != nil {
		return fmt.Errorf("announce %s: %w", a.Subject, err)
	}
	return nil
}
