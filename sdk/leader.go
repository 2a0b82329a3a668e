package sdk

import (
	"context"
	"fmt"
	"sync"
	"unicode/utf8"
)

// leader runs an attempt of a backfill, in the instance that runs the script. It works on
// partitions itself, and takes the reports of those that help.
type leader struct {
	config backfillConfig
	run    *Run
	origin string         // see scopeOf
	failed *failedRecords // nil: the first record that fails ends the work
	again  bool           // it deals with the records that were put aside
	stop   context.CancelCauseFunc

	assignments *assignments
	pacer       *pacer
	reporter    *reporter
}

func newLeader(run *Run, config backfillConfig) *leader {
	l := &leader{
		config: config, run: run, origin: origin(run),
		again:       run.Start.FailedRecords && run.Start.Rollout != "",
		assignments: newAssignments(run.checkpoints.under("backfill" + dotted(config.name))),
	}
	if config.putAside || l.again {
		l.failed = newFailedRecords(run, config.name, config.most)
	}
	l.pacer = newPacer(run, config, l.assignments)
	l.reporter = &reporter{run: run, name: config.name, again: l.again, assignments: l.assignments, pacer: l.pacer}
	return l
}

func dotted(name string) string {
	if name == "" {
		return ""
	}
	return "." + name
}

// lead does the work of the attempt.
func (l *leader) lead(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l.stop = stop
	if err := l.prepare(ctx); err != nil {
		return err
	}
	if err := l.transfer(ctx); err != nil {
		return err
	}
	left, err := l.left(ctx)
	if err != nil {
		return err
	}
	if l.again && left > 0 {
		if !l.config.putAside {
			return fmt.Errorf("%d of the records that were put aside could still not be dealt with", left)
		}
		return nil
	}
	missing := l.missing()
	if err := l.check(ctx, l.config.after); err != nil {
		return err
	}
	return missing
}

// missing says, in the log and in the answer, that the source has given fewer records than it
// has counted, in all attempts together. It is an error if nothing came at all: that is seldom
// what was meant, such as where a query compares a cursor with another type.
func (l *leader) missing() error {
	counted := l.reporter.total
	if counted == 0 && l.config.total != nil {
		counted = l.config.total()
	}
	came, _ := l.assignments.counts()
	if l.again || came >= counted {
		return nil
	}
	of := ""
	if l.config.name != "" {
		of = " of " + l.config.name
	}
	err := fmt.Errorf("the source%s counted %d records and gave %d", of, counted, came)
	l.run.Log.Warn(err.Error())
	l.run.checked("every record"+of+" came", err)
	if came == 0 {
		return fmt.Errorf("%w: leave its Count out if that is no more than a guess", err)
	}
	l.run.remark(err.Error())
	return nil
}

// prepare finds out where to begin and what there is to do.
func (l *leader) prepare(ctx context.Context) error {
	if err := l.assignments.load(ctx); err != nil {
		return err
	}
	if l.assignments.checkpoint.Size <= 0 {
		l.assignments.checkpoint.Size = l.batchSize()
	}
	if l.failed != nil {
		all, err := l.failed.list(ctx)
		if err != nil {
			return err
		}
		l.assignments.setPutAside(int64(len(all)))
		if l.again {
			l.failed.most = 0
			again, putAside, after := l.config.again(l.failed, all), l.config.putAside, l.config.after
			l.config = again
			l.config.putAside, l.config.after = putAside, after
			l.assignments.startOver()
		}
	}
	if err := l.survey(ctx); err != nil {
		return err
	}
	if !l.assignments.checkpoint.Checked {
		if err := l.check(ctx, l.config.before); err != nil {
			return err
		}
		l.assignments.checkpoint.Checked = true
	}
	return l.assignments.save(ctx)
}

// batchSize is how many records a batch has from the first attempt on.
func (l *leader) batchSize() int {
	size := l.config.size
	if rate := l.pacer.limits().rate; rate > 0 {
		size = int(max(1, min(float64(size), rate/batchesASec)))
	}
	return size
}

// survey asks the source for its partitions and its size.
func (l *leader) survey(ctx context.Context) error {
	names, err := []string{""}, error(nil)
	if l.config.partitions != nil {
		if names, err = askSource(ctx, l.run, l.config.retry, l.config.partitions); err != nil {
			return fmt.Errorf("partitions of the source: %w", err)
		}
	}
	for _, name := range names {
		if !utf8.ValidString(name) {
			return Permanent(fmt.Errorf("partitions of the source: %q is not UTF-8", name))
		}
	}
	l.reporter.sourceTotal = l.config.total
	if l.config.count != nil {
		if l.reporter.total, err = askSource(ctx, l.run, l.config.retry, l.config.count); err != nil {
			return fmt.Errorf("count the source: %w", err)
		}
	}
	l.assignments.setPartitions(names)
	return nil
}

// askSource asks one of the author's functions, and again while it fails.
func askSource[T any](ctx context.Context, run *Run, r retry, ask func(context.Context, *Run) (T, error)) (answer T, err error) {
	_, err = r.do(ctx, func() error {
		return guard(ctx, func(ctx context.Context, run *Run) (err error) { answer, err = ask(ctx, run); return err }, run)
	})
	return answer, err
}

// transfer works until all partitions have ended, something fails or ctx ends.
func (l *leader) transfer(ctx context.Context) error {
	l.reporter.begin(ctx)
	l.reporter.tell(ctx)
	l.askThrottle(ctx)
	lasting, release := outlive(ctx, stopGrace)
	defer release()
	watching, stopWatching := context.WithCancel(ctx)
	var watchers, writer sync.WaitGroup
	watchers.Go(func() { l.pacer.followPace(watching) })
	watchers.Go(func() { l.followThrottle(watching) })
	watchers.Go(func() { l.reporter.keepTelling(watching) })
	watchers.Go(func() { l.inviteHelpers(watching, lasting) })
	var notSaved error
	writer.Go(func() {
		if notSaved = l.assignments.write(lasting); notSaved != nil {
			l.stop(notSaved)
		}
	})

	err := l.work(ctx)

	stopWatching()
	watchers.Wait()
	l.assignments.end()
	writer.Wait()
	l.reporter.tell(ctx)
	l.reporter.end()
	if err == nil {
		err = notSaved // the last watermarks were those of others
	}
	return err
}

// work is the part of this instance.
func (l *leader) work(ctx context.Context) error {
	for {
		a, err := l.next(ctx)
		if err != nil || a == nil {
			return err
		}
		if a.again && l.failed != nil {
			_, err = l.failed.list(ctx) // who had it before may have put something aside
		}
		if err == nil {
			err = l.config.work(ctx, partitionTask{
				run: l.run, origin: l.origin, grant: a.grant, limiter: l.pacer.limiter, failed: l.failed,
				report: func(ctx context.Context, w watermark) error { return l.report(ctx, a.ID, w) },
			})
		}
		if err != nil {
			l.stop(err)
			return context.Cause(ctx)
		}
	}
}

// next blocks until there is a partition for this instance; nil when all have ended.
func (l *leader) next(ctx context.Context) (*assignment, error) {
	for {
		a, ended, changed := l.assignments.next()
		if a != nil {
			l.pacer.adjust()
			return a, nil
		}
		if ended {
			return nil, nil
		}
		if err := await(ctx, 0, changed); err != nil {
			return nil, context.Cause(ctx)
		}
	}
}

// report takes a watermark, and blocks until it is durable.
func (l *leader) report(ctx context.Context, id string, w watermark) error {
	version, putAside, err := l.assignments.advance(id, w)
	if err != nil {
		return err
	}
	if l.failed != nil && !l.again && putAside > l.config.most {
		l.stop(fmt.Errorf("%w: at most %d are put aside", errTooManyFailed, l.config.most))
	}
	if w.Ended {
		l.pacer.adjust()
	}
	return l.assignments.durable(ctx, version)
}

// revoke takes a partition back; false when the grant did not hold.
func (l *leader) revoke(id string) bool {
	held := l.assignments.revoke(id)
	l.pacer.adjust()
	return held
}

// followThrottle asks about once a second whether the work must be held, until ctx ends.
func (l *leader) followThrottle(ctx context.Context) {
	if l.config.throttle == nil {
		return
	}
	for pause(ctx, throttleEvery) && awaitResume(ctx) == nil {
		l.askThrottle(ctx)
	}
}

// askThrottle asks it once. What the author's function cannot tell for good ends the work.
func (l *leader) askThrottle(ctx context.Context) {
	if err := l.pacer.askThrottle(ctx); err != nil {
		l.stop(err)
	}
}

// left is how many records are put aside, now that all is done.
func (l *leader) left(ctx context.Context) (int64, error) {
	if l.failed == nil {
		return 0, nil
	}
	if l.run.Start.Rollout != "" { // else they are kept nowhere
		all, err := l.failed.list(ctx)
		if err != nil {
			return 0, err
		}
		l.assignments.setPutAside(int64(len(all)))
	}
	l.reporter.tell(ctx)
	_, putAside := l.assignments.counts()
	return putAside, nil
}
