package rollout

import (
	"fmt"
	"slices"

	"github.com/golive-dev/golive/relay/protocol"
)

// SnapshotWhen says when a rollout takes a snapshot of the data of its app.
type SnapshotWhen string

// When a rollout takes one. The zero value is BeforeOffline.
const (
	BeforeOffline SnapshotWhen = "before-offline" // right before its first script or command that changes data, or its first gate
	NeverSnapshot SnapshotWhen = "never"
)

// SnapshotWhens lists when a snapshot may be taken, the default first.
func SnapshotWhens() []SnapshotWhen { return []SnapshotWhen{BeforeOffline, NeverSnapshot} }

// SnapshotRun is what the step of a snapshot comes before, and what it has taken.
type SnapshotRun struct {
	Before protocol.Phase `json:"before,omitempty"` // that it comes before, or in which a gate opens that it comes before; empty: a command

	Checks string `json:"checks,omitempty"` // the snapshot that the step reads back, and takes none; empty: it takes one

	ID     string   `json:"id,omitempty"`     // of the snapshot; empty: it is not taken yet, or there was no data
	Bytes  uint64   `json:"bytes,omitempty"`  // that its streams held
	Size   int64    `json:"size,omitempty"`   // bytes as stored
	One    bool     `json:"one,omitempty"`    // it is of one moment
	Digest string   `json:"digest,omitempty"` // of all its data
	Absent []string `json:"absent,omitempty"` // streams that only the new release names, and that were not there yet; and, in words, state that the version which is live does not give
}

// TakesSnapshot reports whether a rollout of the release takes a snapshot before it changes data.
func (r Release) TakesSnapshot() bool { return r.Snapshot != NeverSnapshot && r.HasData() }

// SnapshotID is the id of the step that takes the snapshot of an app. No other step has it: a
// step of a service ends in a phase or in what its traffic does.
func SnapshotID(app string) string { return app + "/snapshot" }

// SnapshotTaken is the snapshot of the state right before the rollout; false: none was taken.
func (s State) SnapshotTaken() (SnapshotRun, bool) {
	step, known := s.Step(SnapshotID(s.Release.App))
	if !known || step.Snapshot == nil || step.Snapshot.ID == "" {
		return SnapshotRun{}, false
	}
	return *step.Snapshot, true
}

// changesData reports whether a step is yet to run what may change data.
func (s Step) changesData() bool {
	return s.Status == StepPending && (s.Kind == Migration || s.Kind == Command)
}

// snapshot adds the step that takes a snapshot, right before the first step that changes data or
// brings a version online, which may change data, too. It shares the stage of that one, and all of
// that stage that has not run waits for it. A plan that runs nothing that changes data has no such
// step.
func (p *planner) snapshot() {
	if !p.release.TakesSnapshot() || !slices.ContainsFunc(p.steps, Step.changesData) {
		return
	}
	first := slices.IndexFunc(p.steps, func(s Step) bool {
		return s.changesData() || s.Kind == Traffic && !s.Move.Drain && s.Status == StepPending
	})
	before := p.steps[first]
	if before.Kind == Traffic {
		before.Script.Phase = protocol.Online
	}
	step := Step{
		ID: SnapshotID(p.release.App), Kind: Snapshot, Name: p.release.App, Version: p.release.Version, Status: StepPending,
		Stage: before.Stage, Snapshot: &SnapshotRun{Before: before.Script.Phase}, Tries: Tries{Retries: snapshotRetries},
	}
	p.steps = slices.Insert(p.steps, first, step)
	for i := range p.steps {
		s := &p.steps[i]
		s.Number = i + 1
		waits := i > first && s.Status == StepPending && s.stage() == step.stage()
		var needs []int
		for _, n := range s.Needs {
			if n > first { // which comes before s, and waits for the snapshot itself
				n++
				waits = waits && p.steps[n-1].Status != StepPending
			}
			needs = append(needs, n)
		}
		if waits {
			needs = append(needs, first+1)
		}
		s.Needs = needs
	}
}

// snapshotRetries is how often a take that has failed is tried again by itself: the bus may have
// been away.
const snapshotRetries = 2

// validate refuses what is none.
func (w SnapshotWhen) validate() error {
	if w != "" && !slices.Contains(SnapshotWhens(), w) {
		return fmt.Errorf("snapshot %q is neither %s nor %s", Clip(string(w)), BeforeOffline, NeverSnapshot)
	}
	return nil
}

// took takes down what the step of a snapshot has taken.
func (s *Step) took(taken *SnapshotRun) {
	if s.Snapshot == nil || taken == nil {
		return
	}
	run := *taken
	run.Before, run.Checks = s.Snapshot.Before, s.Snapshot.Checks
	s.Snapshot = &run
}
