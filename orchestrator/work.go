package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// handle does one item of the queue.
func (o *Orchestrator) handle(ctx context.Context, i journal.Item) error {
	err := o.handleItem(ctx, i)
	o.at(ItemDone)
	if err != nil && ctx.Err() == nil {
		o.log.Warn("work interrupted, it comes again", zap.String("subject", i.Subject), zap.Error(err))
	}
	return err
}

func (o *Orchestrator) handleItem(ctx context.Context, i journal.Item) error {
	if i.Event() {
		return o.workOn(ctx, i)
	}
	if app, id, ok := protocol.ParseDueSubject(i.Subject); ok {
		return o.due(ctx, app, id)
	}
	return o.reply(ctx, i)
}

// workOn does an event's item.
func (o *Orchestrator) workOn(ctx context.Context, i journal.Item) error {
	r, err := i.Record(ctx)
	if errors.Is(err, rollout.ErrNotFound) {
		o.log.Warn("the journal holds a message that is no event, left out", zap.Uint64("sequence", i.Sequence))
		return nil
	}
	if err == nil {
		err = r.State.Known()
	}
	if errors.Is(err, rollout.ErrUnknown) {
		return o.leave(ctx, r, err)
	}
	if err != nil {
		return err
	}
	return o.work(ctx, r, i.Again)
}

// leave leaves an event to an orchestrator of a newer version, as long as the rollout is not
// over: the item is given out again.
func (o *Orchestrator) leave(ctx context.Context, r journal.Record, why error) error {
	newest, err := o.journal.Load(ctx, r.State.Release.App, r.State.ID)
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
func (o *Orchestrator) work(ctx context.Context, r journal.Record, again bool) error {
	if err := o.announce(ctx, r); err != nil {
		return err
	}
	if r.State.Event.Type == rollout.PaceAsked {
		if err := o.settlePace(ctx, r); err != nil {
			return err
		}
	}
	o.at(Announced)
	o.view.meet(r)
	if again {
		newest, err := o.journal.Load(ctx, r.State.Release.App, r.State.ID)
		if err != nil {
			return err
		}
		o.view.meet(newest)
	}
	if newest, known := o.view.newest(r.State.ID); known && newest.Sequence == r.Sequence {
		if err := o.remind(ctx, r); err != nil {
			return err
		}
	}
	doing, acting := errgroup.WithContext(ctx)
	for _, act := range r.State.Acts() {
		doing.Go(func() error { return o.act(acting, r, act) })
	}
	if err := doing.Wait(); err != nil {
		return err
	}
	return o.follows(ctx, r)
}

// act does what an event's item has to do about a step.
func (o *Orchestrator) act(ctx context.Context, r journal.Record, act rollout.Act) error {
	switch act.Kind {
	case rollout.StopAgents:
		return o.stopAgents(ctx, r, act.Step)
	case rollout.AskAgents:
		return o.workOnHosts(ctx, r, act.Step)
	case rollout.LeadTraffic:
		return o.moveTraffic(ctx, r, act.Step)
	case rollout.AwaitCancelled:
		return o.awaitCancelled(ctx, r, act.Step)
	}
	return o.sendStart(ctx, r, act.Step)
}

// remind sets the rollout's timer, if anything can be late.
func (o *Orchestrator) remind(ctx context.Context, r journal.Record) error {
	due := r.State.Due()
	if due.IsZero() {
		return nil
	}
	err := o.journal.Remind(ctx, r.State, r.Sequence, due)
	if errors.Is(err, rollout.ErrConflict) {
		return nil // the newer event's item sets it
	}
	o.at(TimerSet)
	return err
}

// follows begins what was waiting for the rollout to get where it is.
func (o *Orchestrator) follows(ctx context.Context, r journal.Record) error {
	if r.State.TurnsBack() {
		return o.turnBack(ctx, r)
	}
	if s := r.State.Status; s.Final() || s == rollout.Failed || s == rollout.Queued {
		// What was queued before this event must be known: its own item saw the app busy.
		if err := o.reach(ctx, r.Sequence); err != nil {
			return err
		}
		if err := o.beginQueued(ctx, r.State.Release.App); err != nil {
			return err
		}
	}
	if r.State.Status == rollout.Reverted {
		return o.furtherBack(ctx, r.State)
	}
	return nil
}

// due ends what is past its deadline. The timer is only a hint: the state decides.
func (o *Orchestrator) due(ctx context.Context, app, id string) error {
	for {
		r, err := o.endLate(ctx, app, id)
		if errors.Is(err, rollout.ErrStale) || errors.Is(err, rollout.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if len(r.State.Late(time.Now().UTC())) > 0 {
			continue
		}
		if at := r.State.Due(); !at.IsZero() { // it went off early, or another step is due later
			err = o.journal.Remind(ctx, r.State, r.Sequence, at)
		}
		if errors.Is(err, rollout.ErrConflict) {
			return nil
		}
		return err
	}
}

// endLate ends the first of a rollout's steps that are past their deadline, if there is one.
func (o *Orchestrator) endLate(ctx context.Context, app, id string) (journal.Record, error) {
	r, known := o.view.newest(id)
	late := r.State.Late(time.Now().UTC())
	if !known || len(late) == 0 {
		var err error
		if r, err = o.journal.Load(ctx, app, id); err != nil {
			return r, err
		}
		if late = r.State.Late(time.Now().UTC()); len(late) == 0 {
			return r, nil
		}
	}
	e := late[0]
	if err := o.expire(ctx, r.State, &e); err != nil {
		return r, err
	}
	return o.apply(ctx, app, id, func(s rollout.State) (*rollout.Event, error) {
		// Agents that were told to stop have; anything else may have got more time meanwhile.
		step, _ := s.Step(e.Step)
		if step.Work == nil && !slices.ContainsFunc(s.Late(e.At), func(other rollout.Event) bool { return other.Step == e.Step && other.Attempt == e.Attempt }) {
			return nil, nil
		}
		return &e, nil
	})
}

// announce publishes the named messages that the event calls for. Whoever repeats it
// sends the same ids.
func (o *Orchestrator) announce(ctx context.Context, r journal.Record) error {
	all := r.State.Announcements()
	for _, a := range all {
		data, err := json.Marshal(a.Payload)
		if err != nil {
			return fmt.Errorf("announce %s: %w", a.Subject, err)
		}
		m := nats.NewMsg(a.Subject)
		m.Data = data
		address(m.Header, r.State, a.Step, a.Attempt, a.Key)
		if a.Fact {
			m.Header.Set(protocol.HeaderSequence, strconv.FormatUint(r.Sequence, 10))
		}
		if err := o.nc.PublishMsg(m); err != nil {
			return fmt.Errorf("announce %s: %w", a.Subject, err)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return o.flush(ctx)
}

// address writes the headers that every message about a step carries. The message id
// is made of what the message is about, so that repeating it repeats the id.
func address(h nats.Header, s rollout.State, step string, attempt int, key string) {
	space, id := messageID(s.ID, key)
	h.Set(protocol.HeaderRollout, s.ID)
	h.Set(protocol.HeaderMessageID, id.String())
	if step != "" {
		h.Set(protocol.HeaderStep, step)
		h.Set(protocol.HeaderAttempt, strconv.Itoa(attempt))
	}
	trace := strings.ReplaceAll(space.String(), "-", "")
	span := strings.ReplaceAll(id.String(), "-", "")[:16]
	h.Set(protocol.HeaderTraceparent, "00-"+trace+"-"+span+"-01")
}

// messageID is the id of a message of ours about a rollout, in the space of its ids.
func messageID(rollout, key string) (space, id uuid.UUID) {
	space, err := uuid.Parse(rollout)
	if err != nil {
		space = uuid.NewSHA1(uuid.NameSpaceOID, []byte(rollout))
	}
	return space, uuid.NewSHA1(space, []byte(key))
}

// sendStart sends the start of an attempt until somebody listens to it, or it is no longer
// wanted. One that is known to have arrived is not sent again.
func (o *Orchestrator) sendStart(ctx context.Context, r journal.Record, step rollout.Step) error {
	if err := o.subscriptions.hear(r); err != nil {
		return fmt.Errorf("listen to the answers of %s: %w", step.ID, err)
	}
	for {
		changed, wanted := o.view.wants(r.State.ID, step)
		if !wanted || o.view.of(r.State.ID, step.ID, step.Attempt).Sent {
			return nil
		}
		if heard, err := o.publishStart(ctx, r.State, step); err != nil || heard {
			return err
		}
		if err := o.awaitResend(ctx, r.State.ID, step, changed); err != nil {
			return err
		}
	}
}

// awaitResend blocks until it is time to look at a step again, or it is not wanted any more.
func (o *Orchestrator) awaitResend(ctx context.Context, id string, step rollout.Step, changed <-chan struct{}) error {
	timer := time.NewTimer(o.cfg.Resend)
	defer timer.Stop()
	for {
		select {
		case <-timer.C:
			return nil
		case <-changed:
			wanted := false
			if changed, wanted = o.view.wants(id, step); !wanted {
				return nil
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// publishStart sends the start of an attempt once, and tells what has become of it.
func (o *Orchestrator) publishStart(ctx context.Context, s rollout.State, step rollout.Step) (heard bool, err error) {
	step = o.withPace(s.ID, step)
	m, err := o.start(s, step)
	if err != nil {
		return false, err
	}
	heard, err = o.delivery.send(ctx, m)
	o.view.note(s.ID, step.ID, step.Attempt, func(seen *observed) { seen.started = time.Now() })
	o.at(StartSent)
	switch {
	case err != nil:
		return false, err
	case heard:
		o.tell(s, api.Notice{Step: step.ID, Attempt: step.Attempt, Sent: true})
	default:
		o.tell(s, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: "nobody listens to " + m.Subject})
	}
	if now := o.withPace(s.ID, step); heard && !samePace(now.Pace, step.Pace) { // who was told so had not begun
		err = o.sendPace(ctx, s, now)
	}
	return heard, err
}

func (o *Orchestrator) start(s rollout.State, step rollout.Step) (*nats.Msg, error) {
	m := nats.NewMsg(step.Script().Subject(protocol.StartVerb(step.Revert)))
	m.Reply = protocol.AnswerSubject(s.ID, step.Number, step.Attempt, step.Revert)
	data, err := json.Marshal(s.Start(step, int(o.cfg.Heartbeat/time.Second)))
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", m.Subject, err)
	}
	m.Data = data
	address(m.Header, s, step.ID, step.Attempt, m.Subject+" "+strconv.Itoa(step.Attempt))
	return m, nil
}

// awaitCancelled blocks until a script that was cancelled has answered, or can be taken
// for dead: one that has given a sign of life is watched like any other. Of one that never
// has, a setup service that claims attempts cannot begin it any more once it is claimed
// here, and of any other nobody is left when nobody listens to its start any more.
func (o *Orchestrator) awaitCancelled(ctx context.Context, r journal.Record, step rollout.Step) error {
	for {
		changed, wanted := o.view.wants(r.State.ID, step)
		if !wanted || !o.lastSign(ctx, r.State, step).IsZero() {
			return nil
		}
		if err := o.awaitResend(ctx, r.State.ID, step, changed); err != nil {
			return err
		}
		if _, err := o.about(ctx, step.Script()); err == nil {
			nobody, err := o.withhold(ctx, r.State, step)
			if err != nil {
				return err
			}
			if nobody {
				return o.record(ctx, r, o.lost(r.State, step, "it was cancelled before anybody had begun it"))
			}
			continue
		}
		listened, err := o.delivery.listened(ctx, step.Script().Subject(protocol.StartVerb(step.Revert)))
		if err != nil {
			return err
		}
		if !listened {
			return o.record(ctx, r, o.lost(r.State, step, "it was cancelled, and nobody listens to its start any more"))
		}
		o.tell(r.State, api.Notice{Step: step.ID, Attempt: step.Attempt, Waiting: "its script to answer that it has stopped"})
	}
}

// lost is the event of a worker that is taken for dead.
func (o *Orchestrator) lost(s rollout.State, step rollout.Step, why string) rollout.Event {
	done := o.view.of(s.ID, step.ID, step.Attempt).Done
	return rollout.Event{
		Type: rollout.StepBroke, Step: step.ID, Attempt: step.Attempt, Revert: step.Revert,
		Answer: &protocol.Answer{Items: done, Error: &protocol.ScriptError{Code: protocol.CodeLost, Message: why}},
	}
}

// record makes an event of our own durable; one that has become stale is dropped.
func (o *Orchestrator) record(ctx context.Context, r journal.Record, e rollout.Event) error {
	_, err := o.apply(ctx, r.State.Release.App, r.State.ID, func(rollout.State) (*rollout.Event, error) {
		e.At = time.Now().UTC()
		return &e, nil
	})
	if errors.Is(err, rollout.ErrStale) {
		return nil
	}
	return err
}

// watchWanted calls stop when a step is no longer wanted; false says that it is not even
// now.
func (o *Orchestrator) watchWanted(ctx context.Context, stop func(), watching *sync.WaitGroup, id string, step rollout.Step) bool {
	changed, wanted := o.view.wants(id, step)
	if !wanted {
		return false
	}
	watching.Go(func() {
		for wanted := true; wanted; {
			select {
			case <-changed:
				changed, wanted = o.view.wants(id, step)
			case <-ctx.Done():
				return
			}
		}
		stop()
	})
	return true
}
