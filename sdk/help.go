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

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Shareable is work that several instances of a setup service can do together: a [Backfill]
// that has a Name and a Source with Partitions.
type Shareable interface {
	shared() (backfillConfig, error)
}

// shared gives a backfill, or tells what it lacks to be shared.
func (b Backfill[T]) shared() (backfillConfig, error) {
	err := b.check()
	switch {
	case err != nil:
	case b.Name == "":
		err = errors.New("give it a Name, for the other instances to know it by")
	case b.Source.Partitions == nil:
		err = errors.New("give Source.Partitions, for there to be something to share")
	}
	if err != nil {
		return backfillConfig{}, fmt.Errorf("shared backfill%s: %w", suffix(b.Name), err)
	}
	return b.config(), nil
}

// sharedBackfills are those of all that is shared, by name.
func sharedBackfills(all []Shareable) (map[string]backfillConfig, error) {
	byName := make(map[string]backfillConfig, len(all))
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
	silence       = 15 * time.Second       // of the instance that has invited, after which it is not asked for work any more

	// helperStops is how long a helper works on a partition without an answer: so much less than
	// helperSilent, that it has stopped before another instance gets the partition.
	helperStops  = 3500 * time.Millisecond
	helperAnswer = time.Second // for the answer to a report
)

// errNoMoreWork ends the work of a helper, and is nobody's failure.
var errNoMoreWork = errors.New("the instance that runs the script has no use for this one any more, or is gone")

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
	c, known := w.shared[i.Backfill]
	if !known || i.Instance == w.instance || !w.attempts.beginHelp(ctx) {
		return
	}
	go func() {
		defer w.attempts.busy.Done()
		defer w.attempts.endHelp()
		w.help(ctx, i, c)
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

// help works on one partition after the other, while there are any.
func (w *worker) help(ctx context.Context, i protocol.Invitation, c backfillConfig) {
	a := &attempt{worker: w, start: i.Start}
	h := &helper{
		nc: w.nc, instance: w.instance, subject: protocol.AskSubject(i.Start.Script(), i.Instance, i.Backfill),
		config: c, limiter: newLimiter(limits{held: "nothing is known yet"}), clock: bus.NewInstants(),
		run: &Run{
			Start: i.Start, Log: a.logger(), relay: w.relay, routes: newRoutes(w.nc), js: w.claims.js,
			publish: func(protocol.ProgressMessage) {},
		},
	}
	for {
		worked, err := h.work(ctx)
		if err != nil && !errors.Is(err, errNoMoreWork) && ctx.Err() == nil {
			w.log.Warn("help ended", zap.String("backfill", i.Backfill), zap.Error(err))
		}
		if err != nil || !worked {
			return
		}
	}
}

// helper works on partitions that the leader gives it.
type helper struct {
	nc       *nats.Conn
	subject  string // of the leader
	instance string // this one
	config   backfillConfig
	run      *Run
	limiter  *limiter
	known    []string // partitions of the source, as this instance sees it; nil: it was not asked
	clock    bus.Instants
	heard    bus.Instant // when the last request that was answered was sent
}

// work works on one partition; false when there is none.
func (h *helper) work(ctx context.Context) (worked bool, err error) {
	reply, err := h.ask(ctx, protocol.ShareRequest{})
	if err != nil || reply.Over || reply.Grant == "" {
		return false, err
	}
	lasting, release := outlive(ctx, stopGrace)
	defer release()
	if err = h.verify(ctx, reply); err == nil {
		err = h.workOn(ctx, reply)
	}
	switch {
	case err == nil:
		return true, nil
	case ctx.Err() != nil || errors.Is(err, errUnsuitable):
		_, _ = h.ask(lasting, protocol.ShareRequest{Grant: reply.Grant, Leave: true}) // else the silence tells
	case !errors.Is(err, errNoMoreWork):
		_, _ = h.ask(lasting, protocol.ShareRequest{Grant: reply.Grant, Error: describe(ctx, err)})
	}
	return true, err
}

// errUnsuitable is a partition that was given and that this instance cannot work on.
var errUnsuitable = errors.New("that is no work for this instance")

// verify reports what is wrong with a partition that was given.
func (h *helper) verify(ctx context.Context, given protocol.ShareReply) error {
	if given.BatchSize < 1 || given.BatchSize > MaxBatchSize {
		return fmt.Errorf("%w: batches of %d records", errUnsuitable, given.BatchSize)
	}
	if h.known == nil {
		names, err := askSource(ctx, h.run, h.config.retry, h.config.partitions)
		if err != nil {
			return fmt.Errorf("%w: partitions of the source: %w", errUnsuitable, err)
		}
		h.known = names
	}
	if !slices.Contains(h.known, given.Partition) {
		return fmt.Errorf("%w: its source has no partition %q", errUnsuitable, given.Partition)
	}
	return nil
}

// workOn works on the partition that was given; a report that is not taken ends all of it.
func (h *helper) workOn(ctx context.Context, given protocol.ShareReply) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t := partitionTask{
		run: h.run, origin: h.run.Start.Rollout, limiter: h.limiter, every: helperReports,
		grant: grant{ID: given.Grant, Partition: given.Partition, Cursor: given.Cursor, Size: given.BatchSize},
		report: func(ctx context.Context, w watermark) error {
			err := h.report(ctx, given.Grant, w)
			if err != nil {
				stop(err)
			}
			return err
		},
	}
	if h.config.putAside {
		t.failed = newFailedRecords(h.run, h.config.name, h.config.most)
		if _, err := t.failed.list(ctx); err != nil {
			return err
		}
	}
	return h.config.work(ctx, t)
}

// report tells how far the work has come, and blocks until that is durable.
func (h *helper) report(ctx context.Context, grant string, w watermark) error {
	reply, err := h.ask(ctx, protocol.ShareRequest{Grant: grant, Cursor: w.Cursor, Done: w.Done, PutAside: w.PutAside, Ended: w.Ended})
	if err == nil && reply.Over {
		err = errNoMoreWork
	}
	return err
}

// ask sends q to the leader until it is answered, and keeps to the limits in the answer.
// Other replies, such as the acknowledgement of a stream that keeps all messages, are
// skipped.
func (h *helper) ask(ctx context.Context, q protocol.ShareRequest) (reply protocol.ShareReply, err error) {
	q.Instance = h.instance
	data := marshal(q)
	until, timeout := h.clock().Add(silence), answerTimeout
	if q.Grant != "" {
		until, timeout = h.heard.Add(helperStops), helperAnswer
	}
	for {
		sent := h.clock()
		once, cancel := context.WithTimeout(ctx, timeout)
		m, err := h.nc.RequestWithContext(once, h.subject, data)
		cancel()
		reply = protocol.ShareReply{}
		if err == nil && json.Unmarshal(m.Data, &reply) == nil && (reply.Over || reply.Grant != "" && (q.Grant == "" || q.Grant == reply.Grant)) {
			h.heard = sent
			if !reply.Over {
				h.limiter.set(limits{max(0, reply.Rate), min(max(1, reply.InFlight), MaxInFlight), reply.Held})
			}
			return reply, nil
		}
		if ctx.Err() != nil {
			return reply, context.Cause(ctx)
		}
		if errors.Is(err, nats.ErrNoResponders) || !h.clock().Before(until) || !pause(ctx, checkpointPause) {
			return reply, errNoMoreWork
		}
	}
}
