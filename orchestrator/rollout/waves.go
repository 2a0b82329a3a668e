package rollout

import (
	"cmp"
	"iter"
	"slices"
)

// Waves gives the steps of a plan, as [Compile] has made it, in the order in which they can
// run: those of one wave at the same time, when those of the waves before have finished, and
// nobody is at work for a rollout before.
// What is skipped is in none.
func (s State) Waves() [][]Step {
	plan, d := s.Steps, draft{s}
	d.Steps, d.Until, d.Unanswered = slices.Clone(plan), "", nil
	d.advance(d.Created)
	var waves [][]Step
	for running := d.Running(); len(running) > 0; running = d.Running() {
		wave := make([]Step, len(running))
		for i, step := range running {
			wave[i] = *plan[step.Number-1]
			d.edit(step.Number - 1).Status = StepDone
		}
		waves = append(waves, wave)
		d.advance(d.Created)
	}
	return waves
}

// WaitsFor gives, by a step's index, the numbers of the steps that it waits for in a plan as
// [Compile] has made it: because of dependsOn, or because a phase is a barrier. Those that
// another one of them waits for are left out.
func (s State) WaitsFor() [][]int {
	n := len(s.Steps)
	wave, waits := make([]int, n), make([][]int, n)
	before := make([]set, n) // all that a step comes after
	for w, steps := range s.Waves() {
		for _, step := range steps {
			i := step.Number - 1
			wave[i], before[i] = w, make(set, n/64+1)
			direct := slices.SortedFunc(blocking(s.Steps, step), func(a, b int) int { return cmp.Or(wave[b]-wave[a], a-b) })
			for _, d := range direct {
				if before[i].has(d) {
					continue
				}
				waits[i] = append(waits[i], d+1)
				before[i].add(d)
				before[i].join(before[d])
			}
		}
	}
	return waits
}

// set is a set of small numbers, a bit for each.
type set []uint64

func (s set) has(n int) bool { return s[n/64]&(1<<(n%64)) != 0 }
func (s set) add(n int)      { s[n/64] |= 1 << (n % 64) }

func (s set) join(other set) {
	for i := range other {
		s[i] |= other[i]
	}
}

// blocking goes through the steps, by index, that have to finish before a step can begin:
// those that it needs, and those of earlier phases.
func blocking(steps []*Step, step Step) iter.Seq[int] {
	return func(yield func(int) bool) {
		for _, n := range step.Needs {
			if !steps[n-1].finished() && !yield(n-1) {
				return
			}
		}
		stage := step.stage()
		for i := range steps {
			if steps[i].stage() < stage && !steps[i].finished() && !yield(i) {
				return
			}
		}
	}
}
