package rollout

import (
	"math"

	"github.com/golive-dev/golive/relay/protocol"
)

// The stages that phases are barriers between, in a release without a workflow. Traffic
// and online share one: a service goes online when its own gate is open, not when all are.
const (
	stageBefore = iota
	stageMaintenance
	stageOffline
	stageServe
	stageSetup
)

func (s *Step) stage() int {
	switch {
	case s.Stage > 0:
		return s.Stage
	case s.Snapshot != nil:
		return (&Step{Kind: Migration, Script: ScriptRun{Phase: s.Snapshot.Before}}).stage()
	case s.Kind == Maintenance:
		return stageMaintenance
	case s.Kind == Traffic, s.Script.Phase == protocol.Online:
		return stageServe
	case s.Script.Phase == protocol.Before:
		return stageBefore
	case s.Script.Phase == protocol.Offline:
		return stageOffline
	}
	return stageSetup
}

// barrier is the stage that the steps of a rollout have come to: nothing of a later one
// begins before all of this one has finished.
func barrier(steps []*Step) int {
	stage := math.MaxInt
	for _, step := range steps {
		if !step.finished() {
			stage = min(stage, step.stage())
		}
	}
	return stage
}
