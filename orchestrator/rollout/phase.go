package rollout

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/golive-dev/golive/relay/protocol"
)

// PhaseError says that a rollout cannot run to the end of a phase.
type PhaseError struct {
	Phase  protocol.Phase
	Phases []protocol.Phase // that the release has
	Before protocol.Phase   // that has to run first; empty: the release has no such phase
}

// Error names the phases that there are.
func (e *PhaseError) Error() string {
	if e.Before != "" {
		return fmt.Sprintf("phase %s cannot run yet: phase %s has not run", e.Phase, e.Before)
	}
	names := make([]string, len(e.Phases))
	for i, p := range e.Phases {
		names[i] = string(p)
	}
	return fmt.Sprintf("there is no phase %q in this release: it has %s", e.Phase, strings.Join(names, ", "))
}

// lastStage is the last stage that may run.
func lastStage(s State) int {
	phases := s.Release.Phases()
	if s.Until == "" || len(phases) == 0 || s.Until == phases[len(phases)-1] {
		return math.MaxInt
	}
	return s.Release.stageOf(s.Until)
}

// Held reports whether the rollout has come to the end of the phase that it was to run, and
// waits for somebody to have it go on.
func (s State) Held() bool {
	if s.Status != Running || s.Until == "" {
		return false
	}
	bound := lastStage(s)
	return !slices.ContainsFunc(s.Steps, func(step *Step) bool { return step.stage() <= bound && !step.finished() })
}

// runUntil has the rollout run to the end of a phase; the last one, and empty, is its own end.
// Every phase before it has run, or may run because it was asked for: up to the stage reached.
func (d *draft) runUntil(phase protocol.Phase, reached int) error {
	phases := d.Release.Phases()
	if phase != "" && !slices.Contains(phases, phase) {
		return &PhaseError{Phase: phase, Phases: phases}
	}
	for _, before := range phases[:max(slices.Index(phases, phase), 0)] {
		stage := d.Release.stageOf(before)
		if stage > reached && slices.ContainsFunc(d.Steps, func(step *Step) bool { return step.stage() <= stage && !step.finished() }) {
			return &PhaseError{Phase: phase, Phases: phases, Before: before}
		}
	}
	if d.Until = phase; phase != "" && phase == phases[len(phases)-1] {
		d.Until = "" // which is the end
	}
	return nil
}

// applyFurther has a rollout that was to run some phases go on with a later one, or to its
// end.
func applyFurther(d *draft, e Event) error {
	switch {
	case d.Status != Running:
		return fmt.Errorf("%w: rollout %s is %s, only a running one can go on to a later phase", ErrStale, d.ID, d.Status)
	case d.Until == "":
		return fmt.Errorf("%w: rollout %s goes to its end", ErrStale, d.ID)
	}
	was, until := lastStage(d.State), d.Until
	if err := d.runUntil(e.Until, was); err != nil {
		return err
	}
	if lastStage(d.State) <= was {
		return fmt.Errorf("%w: rollout %s runs to the end of phase %s as it is", ErrStale, d.ID, until)
	}
	d.Asked = e.Asked
	d.advance(e.At)
	return nil
}

// TurnsBack reports whether the rollout has to be taken backward by itself: a check has
// failed behind the gate, and the release wants that.
func (s State) TurnsBack() bool {
	if s.Restore != nil {
		return s.Status == Failed && s.Backward == nil
	}
	if !s.Release.AutoRevert || s.Status != Failed || s.Backward != nil {
		return false
	}
	gate := math.MaxInt
	for _, step := range s.All() {
		if step.Kind == Traffic && !step.Move.Drain && step.Attempt > 0 {
			gate = min(gate, step.stage())
		}
	}
	return slices.ContainsFunc(s.FailedSteps(), func(step Step) bool { return step.Kind == Check && step.stage() > gate })
}

// Beyond reports whether a step is of a later phase than the last that the rollout is to run.
func (s State) Beyond(step Step) bool { return step.stage() > lastStage(s) }
