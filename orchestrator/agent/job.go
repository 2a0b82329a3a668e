package agent

import (
	"context"
	"errors"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// job is an attempt that this agent has accepted, until its result is stored.
type job struct {
	task
	host     protocol.Host
	revision uint64 // of its entry
	stop     context.CancelCauseFunc
	ended    chan struct{}
}

// Why a job was stopped.
var (
	errCancelled = errors.New("cancelled: the rollout does not want it any more")
	errReplaced  = errors.New("cancelled: another attempt was begun")
	errTime      = errors.New("timeout: it has not ended in its time")
)

// run accepts an order and begins it. Accepting is a write of the host's entry: once it
// stands there the attempt counts as begun, and nobody but this instance may end it well.
func (a *Agent) run(ctx, saving context.Context, o protocol.Order) error {
	t, err := a.verify(ctx, o)
	if err != nil {
		return err
	}
	if !a.lease.covers(time.Now()) {
		return errLapsed
	}
	key := t.key(a.c.Name)
	if j := a.jobs.get(key); j != nil {
		if j.order.Attempt == o.Attempt {
			return nil
		}
		if err := j.end(ctx, errReplaced); err != nil {
			return err
		}
	}
	for {
		looking, cancel := context.WithTimeout(ctx, lookTimeout)
		found, err := a.results.read(looking, key)
		cancel()
		if err != nil {
			return err
		}
		if begin, err := a.mayBegin(found, o); err != nil || !begin {
			return err
		}
		h := protocol.Host{Name: a.c.Name, Instance: a.identity.Instance, Attempt: o.Attempt, Status: protocol.HostRunning, Started: time.Now().UTC()}
		// Not given up while the outcome is open: an entry that says running must be that of a
		// program that runs.
		revision, err := a.results.write(saving, key, h, found.revision)
		if errors.Is(err, rollout.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		a.begin(saving, &job{task: t, host: h, revision: revision, ended: make(chan struct{})})
		return nil
	}
}

// mayBegin reports whether an attempt may begin on top of an entry; false without an error
// says that there is nothing to do.
func (a *Agent) mayBegin(found entry, o protocol.Order) (bool, error) {
	switch {
	case found.revision == 0:
		return true, nil
	case found.Status == protocol.HostDone:
		return false, nil
	case found.Attempt > o.Attempt:
		return false, refuse(protocol.CodeNotWanted, "a later attempt was begun on %s", a.c.Name)
	case found.Status == protocol.HostRunning && found.Instance == a.identity.Instance:
		return true, nil // nothing of it runs, or it would be among the jobs
	case found.Status == protocol.HostRunning:
		return false, refuse(protocol.CodeRefused, "an earlier agent called %s has begun it, and was not declared dead", a.c.Name)
	case found.Attempt == o.Attempt:
		return false, refuse(protocol.CodeNotWanted, "this attempt is over on %s", a.c.Name)
	}
	return true, nil
}

// end stops the job and waits until its result is stored, for a while.
func (j *job) end(ctx context.Context, why error) error {
	j.stop(why)
	ctx, cancel := context.WithTimeout(ctx, 2*lookTimeout)
	defer cancel()
	select {
	case <-j.ended:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// begin starts a job; without a lease it is over at once.
func (a *Agent) begin(saving context.Context, j *job) {
	ctx, stop := context.WithCancelCause(saving)
	j.stop = stop
	ended := a.jobs.add(j.key(a.c.Name), j)
	if !a.lease.covers(time.Now()) { // and if it is lost from now on, the job is found
		stop(errLapsed)
	}
	a.jobs.work.Go(func() {
		defer func() {
			stop(nil)
			ended()
		}()
		a.do(ctx, saving, j)
	})
}

// do runs the job's program or check to its end, and stores what has come of it.
func (a *Agent) do(ctx, saving context.Context, j *job) {
	log := a.log.With(zap.String("rollout", j.order.Rollout), zap.String("step", j.order.Step),
		zap.Int("attempt", j.order.Attempt), zap.Bool("revert", j.order.Revert))
	log.Info("step begins on this host")
	if !j.deadline.IsZero() {
		timed, cancel := context.WithDeadlineCause(ctx, j.deadline, errTime)
		defer cancel()
		ctx = timed
	}
	d := execution{agent: a, job: j}
	h := d.do(ctx)
	h.Ended = time.Now().UTC()
	_, err := a.results.write(saving, j.key(a.c.Name), h, j.revision)
	switch {
	case errors.Is(err, rollout.ErrConflict):
		log.Warn("result dropped: this host was declared dead meanwhile", zap.String("status", string(h.Status)))
	case err != nil:
		log.Error("result not stored", zap.String("status", string(h.Status)), zap.Error(err))
	default:
		log.Info("step has ended on this host", zap.String("status", string(h.Status)), zap.Duration("took", h.Ended.Sub(h.Started)))
	}
}

// cancel stops an attempt, if its assignment says that it is cancelled or was replaced: the
// order alone is nobody's word.
func (a *Agent) cancel(ctx context.Context, o protocol.Order) error {
	j := a.jobs.of(o)
	if j == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, lookTimeout)
	defer cancel()
	given, err := a.results.assignment(ctx, protocol.AssignmentKey(o.Rollout, j.number, o.Revert))
	if err != nil {
		return err
	}
	if given.Attempt < o.Attempt || given.Attempt == o.Attempt && !given.Cancelled {
		return refuse(protocol.CodeNotWanted, "step %s was not cancelled", j.order.Step)
	}
	if given.Attempt == o.Attempt && given.Late {
		j.stop(errTime)
	} else {
		j.stop(errCancelled)
	}
	return nil
}
