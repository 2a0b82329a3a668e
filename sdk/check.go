package sdk

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"sync"

	"github.com/golive-dev/golive/relay"
)

// Check is something that must hold before or after a [Backfill]. While it runs, the progress
// says so. One that fails with [relay.ErrStreamLost] is run again, as often as the backfill's
// Retries say; a pause does not hold it up unless it asks for that with [Run.AwaitResume].
type Check struct {
	Name string                                    // for people: "counts equal"
	Do   func(ctx context.Context, run *Run) error // required; an error says what does not hold; ends soon after ctx has
}

const (
	checkedAtOnce   = 500 // ids that EveryFound asks about at once
	questionsAtOnce = 8
	shownMissing    = 5 // ids that EveryFound names
)

// CountsEqual is the check that a and b, which are asked one after the other, count the same.
// The error tells both counts.
func CountsEqual(name string, a, b func(ctx context.Context, run *Run) (int64, error)) Check {
	return Check{Name: name, Do: func(ctx context.Context, run *Run) error {
		first, err := a(ctx, run)
		if err != nil {
			return err
		}
		if err := awaitResume(ctx); err != nil {
			return err
		}
		second, err := b(ctx, run)
		if err == nil && first != second {
			err = fmt.Errorf("%d and %d are not equal", first, second)
		}
		return err
	}}
}

// EveryFound is the check that none of the ids is missing. Missing is asked about up to 500
// of them at a time, up to eight times at once, and gives those that are not there. Ids is
// held up meanwhile, and while the script is paused. The error names the first five that are
// missing and tells how many there are.
func EveryFound(name string, ids func(ctx context.Context, run *Run) iter.Seq2[string, error], missing func(ctx context.Context, run *Run, ids []string) ([]string, error)) Check {
	return Check{Name: name, Do: func(ctx context.Context, run *Run) error {
		ctx, cancel := context.WithCancel(ctx)
		i := inquiry{ask: func(ids []string) ([]string, error) { return missing(ctx, run, ids) }, run: run}
		defer i.asking.Wait()
		defer cancel()
		if err := i.askAll(ctx, ids(ctx, run)); err != nil {
			return err
		}
		if i.lost == 0 {
			return nil
		}
		more := ""
		if i.lost > len(i.first) {
			more = ", …"
		}
		return fmt.Errorf("%d of %d are missing: %s%s", i.lost, i.of, strings.Join(i.first, ", "), more)
	}}
}

// inquiry is EveryFound at work.
type inquiry struct {
	ask    func(ids []string) ([]string, error)
	run    *Run
	asking sync.WaitGroup
	open   []*question // oldest first

	of, lost int // ids
	first    []string
}

// question is about some ids. What is missing and err hold once it is answered.
type question struct {
	ids      []string
	missing  []string
	err      error
	answered chan struct{}
}

func (i *inquiry) askAll(ctx context.Context, all iter.Seq2[string, error]) error {
	var ids []string
	for id, err := range all {
		if err != nil {
			return err
		}
		if ids = append(ids, id); len(ids) == checkedAtOnce {
			if err := i.begin(ctx, ids); err != nil {
				return err
			}
			ids = make([]string, 0, checkedAtOnce)
		}
	}
	if err := ctx.Err(); err != nil { // the ids may have ended for it
		return err
	}
	if len(ids) > 0 {
		if err := i.begin(ctx, ids); err != nil {
			return err
		}
	}
	for len(i.open) > 0 {
		if err := i.close(); err != nil {
			return err
		}
	}
	return ctx.Err()
}

// begin asks about some ids, once there is room for a question.
func (i *inquiry) begin(ctx context.Context, ids []string) error {
	if len(i.open) == questionsAtOnce {
		if err := i.close(); err != nil {
			return err
		}
	}
	if err := awaitResume(ctx); err != nil {
		return err
	}
	q := &question{ids: ids, answered: make(chan struct{})}
	i.open = append(i.open, q)
	i.asking.Go(func() {
		defer close(q.answered)
		defer recovered(i.run, &q.err)
		q.missing, q.err = i.ask(q.ids)
	})
	return nil
}

// close takes the answer to the oldest question.
func (i *inquiry) close() error {
	q := i.open[0]
	i.open = i.open[1:]
	<-q.answered
	i.of, i.lost = i.of+len(q.ids), i.lost+len(q.missing)
	i.first = append(i.first, q.missing[:min(len(q.missing), shownMissing-len(i.first))]...)
	return q.err
}

// check ends with the first check that fails. Its progress names the one that runs.
func (l *leader) check(ctx context.Context, all []Check) error {
	if len(all) == 0 {
		return nil
	}
	telling, stop := context.WithCancel(ctx)
	var teller sync.WaitGroup
	teller.Go(func() { l.reporter.keepTelling(telling) })
	defer func() {
		stop()
		teller.Wait()
		l.reporter.tellCheck(ctx, "")
	}()
	for _, check := range all {
		l.reporter.tellCheck(ctx, cmp.Or(check.Name, "without a name"))
		err := l.checkOne(ctx, check)
		l.run.checked(check.Name, err)
		if err != nil {
			return fmt.Errorf("check %q: %w", check.Name, err)
		}
		l.run.Log.Info("check " + check.Name + ": holds")
	}
	return nil
}

// checkOne runs a check, and runs it again when it has lost a stream.
func (l *leader) checkOne(ctx context.Context, check Check) error {
	if err := awaitResume(ctx); err != nil {
		return err
	}
	for tries := 1; ; tries++ {
		err := guard(ctx, check.Do, l.run)
		if err == nil {
			return ctx.Err() // it may have ended for it
		}
		if !errors.Is(err, relay.ErrStreamLost) || !l.config.retry.again(ctx, tries, err) {
			return err
		}
		l.run.Log.Warn("check " + check.Name + " is run again: " + err.Error())
	}
}
