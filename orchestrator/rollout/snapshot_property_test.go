package rollout_test

import (
	"slices"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// drawState has services say where their data is, or the release that no snapshot is taken.
func drawState(t *rapid.T, r *rollout.Release) {
	for i := range r.Services {
		if rapid.IntRange(0, 3).Draw(t, "state") == 0 {
			r.Services[i].State = &rollout.Data{Streams: []string{"DATA"}}
		}
	}
	r.Snapshot = rapid.SampledFrom([]rollout.SnapshotWhen{"", "", rollout.BeforeOffline, rollout.NeverSnapshot}).Draw(t, "snapshot")
}

// withSnapshot adds to what a plan requires that nothing changes data, and no version comes online,
// before the snapshot is taken, and checks that there is one where there has to be, and none else.
func withSnapshot(t *rapid.T, s rollout.State, course []stretch, need requirements) {
	id, first, changes := s.Release.App+"/snapshot", -1, false
	var above []string
	state := slices.ContainsFunc(s.Release.Services, func(s rollout.Service) bool { return s.State != nil })
	for n, e := range course {
		for _, of := range e.ids {
			step, _ := s.Step(of)
			data := step.Kind == rollout.Migration || step.Kind == rollout.Command
			opens := step.Kind == rollout.Traffic && !step.Move.Drain
			if step.Status == rollout.StepSkipped || !data && !opens {
				continue
			}
			if changes = changes || data; first < 0 {
				first = n
			}
		}
		if first < 0 {
			above = append(above, e.ids...)
		}
	}
	wanted := state && s.Release.Snapshot != rollout.NeverSnapshot && changes
	if _, has := s.Step(id); has != wanted {
		t.Fatalf("a snapshot is planned: %t, of %+v: %+v", has, s.Release, s.Steps)
	}
	if !wanted {
		return
	}
	for _, e := range course[first:] {
		for _, of := range e.ids {
			need[of] = append(need[of], id)
		}
	}
	need[id] = above
	course[first].ids = append(course[first].ids, id)
}
