package report

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func TestPlannedInWords(t *testing.T) {
	about, none := rollout.Duration(90*time.Second), rollout.Duration(0)
	p := api.PlanView{}
	for _, id := range []string{"a/before", "b/before", "c/before", "d/before", "e/before", "f/before"} {
		p.Steps = append(p.Steps, api.PlanStep{ID: id})
	}
	for want, got := range map[string]string{
		"none": TellPlannedDowntime(nil),
		"of a, b, about 1m30s, if the offline scripts take as long as last time": TellPlannedDowntime(&api.PlannedDowntime{
			Services: []string{"a", "b"}, Estimate: &about,
		}),
		"of a, while the traffic moves: there is no offline script to run": TellPlannedDowntime(&api.PlannedDowntime{
			Services: []string{"a"}, Estimate: &none,
		}),
		"of a, for how long is not known: a/offline has never run here": TellPlannedDowntime(&api.PlannedDowntime{
			Services: []string{"a"}, Unknown: []string{"a/offline"},
		}),
		"-":        TellWaits(p, api.PlanStep{}),
		"a/before": TellWaits(p, api.PlanStep{WaitsFor: []int{1}}),
		"a/before, b/before, c/before, d/before, e/before":  TellWaits(p, api.PlanStep{WaitsFor: []int{1, 2, 3, 4, 5}}),
		"a/before, b/before, c/before, d/before and 2 more": TellWaits(p, api.PlanStep{WaitsFor: []int{1, 2, 3, 4, 5, 6}}),
		"run the before script of 1.0.0":                    TellPlanned(api.PlanStep{Kind: rollout.Migration, Phase: protocol.Before, Version: "1.0.0"}),
		"put 1.0.0, 0.9.0 under maintenance":                TellPlanned(api.PlanStep{Kind: rollout.Maintenance, Version: "1.0.0", Online: []string{"1.0.0", "0.9.0"}}),
		"bring 1.0.1 online":                                TellPlanned(api.PlanStep{Kind: rollout.Traffic, Version: "1.0.1"}),
		"move traffic from 1.0.0 to 1.0.1":                  TellPlanned(api.PlanStep{Kind: rollout.Traffic, Version: "1.0.1", Online: []string{"1.0.0"}}),
		"1.0.1 is online already":                           TellPlanned(api.PlanStep{Kind: rollout.Traffic, Version: "1.0.1", Online: []string{"1.0.1"}, Unchanged: true}),
	} {
		if got != want {
			t.Errorf("it says %q, want %q", got, want)
		}
	}
}
