package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// Shareable is work that several instances of a setup service can do together: a [Backfill]
// that has a Name and a Source with Partitions.
type Shareable interface {
	shared() (p plan, err error)
}

// shared gives the plan of a backfill, or tells what it lacks to be shared.
func (b Backfill[T]) shared() (plan, error) {
	err := b.check()
	switch {
	case err != nil:
	case b.Name == "":
		err = errors.New("give it a Name, for the other instances to know it by")
	case b.Source.Partitions == nil:
		err = errors.New("give Source.Partitions, for there to be something to share")
	}
	if err != nil {
		return plan{}, fmt.Errorf("shared backfill%s: %w", suffix(b.Name), err)
	}
	return b.plan(), nil
}

// plans are those of all that is shared, by name.
func plans(all []Shareable) (map[string]plan, error) {
	byName := make(map[string]plan, len(all))
	for _, s := range all {
		if s == nil {
			return nil, errors.New("shared backfill: there is a nil among them")
		}
		p, err := s.shared()
		if err != nil {
			return nil, err
		}
		if _, twice := byName[p.name]; twice {
			return nil, fmt.Errorf("shared backfill %s: another one has the same Name", p.name)
		}
		byName[p.name] = p
	}
	return byName, nil
}

const (
	helperReports = 500 * time.Millisecond // at least, also when nothing is new
	silence       = 15 * time.Second       // of the instance that has invited, after which a helper stops
)

// errDismissed ends the work of a helper, and is nobody's failure.
var errDismissed = errors.New("the instance that runs the script has no use for this one any more, or is gone")

// invited helps with a backfill of a script, unless this instance has work of its own.
func (w *worker) invited(ctx context.Context, script protocol.Script, m *nats.Msg) {
	var i protocol.Invitation
	err := json.Unmarshal(m.Data, &i)
	if err == nil {
		err = checkInvitation(script, i)
	}
	if err != nil {
		w.log.Debug("invitation ignored", zap.Error(err))
		return
	}
	p, known := w.shared[i.Backfill]
	if !known || i.Instance == w.instance || !w.beginHelp(ctx) {
		return
	}
	go func() {
		defer w.busy.Done()
		defer w.endHelp()
		w.help(ctx, i, p)
	}()
}

// checkInvitation reports why an invitation is none that this build can follow.
func checkInvitation(script protocol.Script, i protocol.Invitation) error {
	a := attempt{job: job{script: script, revert: i.Start.Revert}, start: i.Start}
	switch err := a.check(); {
	case err != nil:
		return err
	case i.Start.Rollout == "":
		return errors.New("it names no rollout")
	case !rolloutID.MatchString(i.Instance):
		return fmt.Errorf("its instance %q is no id", i.Instance)
	case i.Digest == "" || i.Digest != buildDigest():
		return fmt.Errorf("it is of another build of the setup service (%s), whose batches may be others", i.Digest)
	}
	return nil
}

// beginHelp is begin for an instance that is idle.
func (w *worker) beginHelp(ctx context.Context) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ended || ctx.Err() != nil || w.helping || len(w.running) > 0 {
		return false
	}
	w.helping = true
	w.busy.Add(1)
	return true
}

func (w *worker) endHelp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.helping = false
}

// help works on one partition after the other, while there are any.
func (w *worker) help(ctx context.Context, i protocol.Invitation, p plan) {
	a := &attempt{worker: w, start: i.Start}
	ask := protocol.AskSubject(i.Start.Script(), i.Instance, i.Backfill)
	e := &employer{nc: w.nc, ask: ask, instance: w.instance, plan: p, valve: newValve(setting{held: "nothing is known yet"})}
	e.run = &Run{Start: i.Start, Log: a.logger(), relay: w.relay, routes: newRoutes(w.nc), js: w.claims.js, pulse: func(protocol.ProgressMessage) {}}
	for {
		worked, err := e.work(ctx)
		if err != nil && !errors.Is(err, errDismissed) && ctx.Err() == nil {
			w.log.Warn("help ended", zap.String("backfill", i.Backfill), zap.Error(err))
		}
		if err != nil || !worked {
			return
		}
	}
}

// employer is the instance that a helper works for.
type employer struct {
	nc       *nats.Conn
	ask      string // its subject
	instance string // of the helper
	plan     plan
	run      *Run
	valve    *valve
	known    []string // partitions of the source, as this instance sees it; nil: it was not asked
}

// work works on one partition; false when there is none.
func (e *employer) work(ctx context.Context) (worked bool, err error) {
	reply, err := e.say(ctx, protocol.ShareRequest{})
	if err != nil || reply.Over || reply.Grant == "" {
		return false, err
	}
	lasting, release := outlive(ctx, stopGrace)
	defer release()
	if err = e.verify(ctx, reply); err == nil {
		err = e.lane(ctx, reply)
	}
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil || errors.Is(err, errStrange):
		_, _ = e.say(lasting, protocol.ShareRequest{Grant: reply.Grant, Leave: true}) // else the silence tells
	case !errors.Is(err, errDismissed):
		_, _ = e.say(lasting, protocol.ShareRequest{Grant: reply.Grant, Error: describe(ctx, err)})
	}
	return true, err
}

// errStrange is a partition that was given and that this instance cannot work on.
var errStrange = errors.New("that is no work for this instance")

// verify reports what is wrong with a partition that was given.
func (e *employer) verify(ctx context.Context, given protocol.ShareReply) error {
	if given.BatchSize < 1 || given.BatchSize > MaxBatchSize {
		return fmt.Errorf("%w: batches of %d records", errStrange, given.BatchSize)
	}
	if e.known == nil {
		names, err := askSource(ctx, e.run, e.plan.retry, e.plan.partitions)
		if err != nil {
			return fmt.Errorf("%w: partitions of the source: %w", errStrange, err)
		}
		e.known = names
	}
	if !slices.Contains(e.known, given.Partition) {
		return fmt.Errorf("%w: its source has no partition %q", errStrange, given.Partition)
	}
	return nil
}

// lane works on the partition that was given; a report that is not taken ends all of it.
func (e *employer) lane(ctx context.Context, given protocol.ShareReply) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := terms{
		run: e.run, origin: e.run.Start.Rollout, valve: e.valve, every: helperReports,
		grant: grant{ID: given.Grant, Partition: given.Partition, Cursor: given.Cursor, Size: given.BatchSize},
		report: func(ctx context.Context, m mark) error {
			err := e.report(ctx, given.Grant, m)
			if err != nil {
				stop(err)
			}
			return err
		},
	}
	if e.plan.putAside {
		t.aside = newAside(e.run, e.plan.name, e.plan.most)
		if _, err := t.aside.list(ctx); err != nil {
			return err
		}
	}
	return e.plan.work(ctx, t)
}

// report tells how far the work has come, and blocks until that is durable.
func (e *employer) report(ctx context.Context, grant string, m mark) error {
	reply, err := e.say(ctx, protocol.ShareRequest{Grant: grant, Cursor: m.Cursor, Done: m.Done, PutAside: m.PutAside, Ended: m.Ended})
	if err == nil && reply.Over {
		err = errDismissed
	}
	return err
}

// say says something until it is answered, and keeps to what the answer says. What is no
// answer to it, such as the acknowledgement of a stream that keeps all messages, is
// none.
func (e *employer) say(ctx context.Context, q protocol.ShareRequest) (reply protocol.ShareReply, err error) {
	q.Instance = e.instance
	data := marshal(q)
	for since := time.Now(); ; {
		once, cancel := context.WithTimeout(ctx, answerTimeout)
		m, err := e.nc.RequestWithContext(once, e.ask, data)
		cancel()
		reply = protocol.ShareReply{}
		if err == nil && json.Unmarshal(m.Data, &reply) == nil && (reply.Over || reply.Grant != "" && (q.Grant == "" || q.Grant == reply.Grant)) {
			if !reply.Over {
				e.valve.set(setting{max(0, reply.Rate), min(max(1, reply.InFlight), MaxInFlight), reply.Held})
			}
			return reply, nil
		}
		if ctx.Err() != nil {
			return reply, context.Cause(ctx)
		}
		if errors.Is(err, nats.ErrNoResponders) || time.Since(since) > silence || !pause(ctx, checkpointPause) {
			return reply, errDismissed
		}
	}
}
