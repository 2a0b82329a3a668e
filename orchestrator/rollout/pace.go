package rollout

import (
	"fmt"
	"math"

	"github.com/golive-dev/golive/relay/protocol"
)

// MaxInFlight is how many batches a script may be asked to have under way at the same time.
const MaxInFlight = 1024

// MinRate is the lowest rate that a script may be asked for, in records a second, beside 0: a
// batch still comes to its time. Who wants less pauses it.
const MinRate = 0.001

// ValidatePace reports what is wrong with a pace. One that names nothing is valid.
func ValidatePace(p protocol.Pace) error {
	if r := p.Rate; r != nil && (math.IsNaN(*r) || math.IsInf(*r, 0) || *r < 0) {
		return fmt.Errorf("rate is %g, it must be a number of records a second, or 0 for no limit", *r)
	}
	if r := p.Rate; r != nil && *r > 0 && *r < MinRate {
		return fmt.Errorf("rate is %g, it must be at least %g records a second, or 0 for no limit", *r, MinRate)
	}
	if p.InFlight < 0 || p.InFlight > MaxInFlight {
		return fmt.Errorf("inFlight is %d, it must be from 1 to %d, or 0 to leave it as it is", p.InFlight, MaxInFlight)
	}
	return nil
}

// applyPace lets a script work faster or slower: at once if it runs, else from its next
// attempt on.
func applyPace(d *draft, e Event) error {
	switch d.Status {
	case Running, Reverting, Amending, Failed:
	default:
		return fmt.Errorf("%w: rollout %s is %s, its scripts cannot be told a pace", ErrStale, d.ID, d.Status)
	}
	if e.Pace == nil || *e.Pace == (protocol.Pace{}) {
		return fmt.Errorf("%w: the pace of step %q names neither rate nor inFlight", ErrStale, e.Step)
	}
	if err := ValidatePace(*e.Pace); err != nil {
		return fmt.Errorf("%w: pace of step %q: %w", ErrStale, e.Step, err)
	}
	step, err := d.named(e.Step)
	if err != nil {
		return err
	}
	switch {
	case step.Kind != Migration:
		return fmt.Errorf("%w: step %s runs no script, it has no pace", ErrStale, e.Step)
	case !mayRun(d.State, *step):
		return fmt.Errorf("%w: step %s is %s, its script will not run any more", ErrStale, e.Step, step.Status)
	}
	step.Script.Pace = paced(step.Script.Pace, e.Pace)
	return nil
}

// mayRun reports whether a step runs, or may do so later: that of a failed rollout once it
// is retried.
func mayRun(s State, step Step) bool {
	switch step.Status {
	case StepRunning, StepRetrying:
		return true
	case StepPending, StepFailed:
		return step.Revert || !undoing(s)
	}
	return false
}

// paced is a pace with what another one names, in memory of its own; nil when neither
// names anything.
func paced(was, asked *protocol.Pace) *protocol.Pace {
	var p protocol.Pace
	for _, by := range []*protocol.Pace{was, asked} {
		if by == nil {
			continue
		}
		if by.Rate != nil {
			rate := *by.Rate
			p.Rate = &rate
		}
		if by.InFlight != 0 {
			p.InFlight = by.InFlight
		}
	}
	if p == (protocol.Pace{}) {
		return nil
	}
	return &p
}

// SamePace reports whether two paces ask for the same; nil asks for what the author has chosen.
func SamePace(a, b *protocol.Pace) bool {
	if a == nil || b == nil {
		return a == b
	}
	sameRate := a.Rate == b.Rate || a.Rate != nil && b.Rate != nil && *a.Rate == *b.Rate
	return sameRate && a.InFlight == b.InFlight
}
