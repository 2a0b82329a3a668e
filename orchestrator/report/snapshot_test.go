package report

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

func TestTheSnapshotOfARolloutInWords(t *testing.T) {
	about := rollout.Duration(8 * time.Second)
	step := rollout.Step{ID: "shop/snapshot", Kind: rollout.Snapshot, Attempt: 1, Status: rollout.StepRunning, Snapshot: &rollout.SnapshotRun{}}
	pulse := func(seen api.Observation) string {
		p := NewPulse(step)
		p.Take(seen)
		return p.Tell(time.Time{})
	}
	for want, got := range map[string]string{
		"take a snapshot: there is no data yet": TellPlanned(api.PlanStep{Kind: rollout.Snapshot, Snapshot: &api.PlannedSnapshot{}}),
		"take a snapshot of todos, web, 1.2 GB, about 8s": TellPlanned(api.PlanStep{Kind: rollout.Snapshot, Snapshot: &api.PlannedSnapshot{
			Services: []string{"todos", "web"}, Bytes: 1_200_000_000, Estimate: &about,
		}}),
		"take a snapshot of the data":                           stepDoes(step),
		"0199, 5.0 kB, of one moment":                           TellTaken(rollout.SnapshotRun{ID: "0199", Bytes: 5000, One: true}),
		"0199, 5.0 kB, not of one moment":                       TellTaken(rollout.SnapshotRun{ID: "0199", Bytes: 5000}),
		"there was no data yet: streams A, B are not there yet": TellTaken(rollout.SnapshotRun{Absent: []string{"A", "B"}}),
		"stream ORDERS, 3 of about 26 MB":                       pulse(api.Observation{Sent: true, Waiting: "stream ORDERS, 3 of about 26 MB"}),
		"waiting: snapshot 0199 of web to end: one at a time …": pulse(api.Observation{Waiting: "snapshot 0199 of web to end: one at a time …"}),
	} {
		if got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
