package sdk

import (
	"context"
	"fmt"
	"iter"
	"strings"
)

// Check is something that must hold before or after a [Backfill].
type Check struct {
	Name string                                    // for people: "counts equal"
	Do   func(ctx context.Context, run *Run) error // required; an error says what does not hold
}

const (
	checkedAtOnce = 500 // ids that EveryFound asks about at once
	shownMissing  = 5   // ids that EveryFound names
)

// CountsEqual is the check that a and b count the same.
func CountsEqual(name string, a, b func(ctx context.Context, run *Run) (int64, error)) Check {
	return Check{Name: name, Do: func(ctx context.Context, run *Run) error {
		first, err := a(ctx, run)
		if err != nil {
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
// of them at a time and gives those that are not there; the slice is valid only until it
// returns. The error names the first five that are missing and tells how many there are.
func EveryFound(name string, ids func(ctx context.Context, run *Run) iter.Seq2[string, error], missing func(ctx context.Context, run *Run, ids []string) ([]string, error)) Check {
	return Check{Name: name, Do: func(ctx context.Context, run *Run) error {
		var of, lost int
		var first []string
		asked := make([]string, 0, checkedAtOnce)
		ask := func() error {
			gone, err := missing(ctx, run, asked)
			first = append(first, gone[:min(len(gone), shownMissing-len(first))]...)
			of, lost, asked = of+len(asked), lost+len(gone), asked[:0]
			return err
		}
		for id, err := range ids(ctx, run) {
			if err != nil {
				return err
			}
			if asked = append(asked, id); len(asked) == checkedAtOnce {
				if err := ask(); err != nil {
					return err
				}
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if len(asked) > 0 {
			if err := ask(); err != nil {
				return err
			}
		}
		if lost == 0 {
			return nil
		}
		more := ""
		if lost > len(first) {
			more = ", …"
		}
		return fmt.Errorf("%d of %d are missing: %s%s", lost, of, strings.Join(first, ", "), more)
	}}
}

// runChecks ends with the first check that fails. While one runs, the progress says so.
func runChecks(ctx context.Context, run *Run, all []Check) error {
	for _, c := range all {
		note := run.note(fmt.Sprintf("check %q", c.Name))
		err := guard(ctx, c.Do, run)
		run.note(note)
		if err != nil {
			return fmt.Errorf("check %q: %w", c.Name, err)
		}
		run.Log.Info("check " + c.Name + ": holds")
	}
	return nil
}
