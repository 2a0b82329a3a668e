package orchestrator_test

import (
	"testing"

	"github.com/golive-dev/golive/orchestrator/api"
)

// BenchmarkPlan plans a release of 500 services with scripts of all phases, to whose starts
// nobody listens.
//
//	go test -run '^$' -bench 'Plan$' ./orchestrator
func BenchmarkPlan(b *testing.B) {
	s, r := newBenchStage(b, true), bigRelease(500)
	s.orchestrate()
	for b.Loop() {
		_, err := s.client.Plan(b.Context(), api.PlanRequest{Release: r})
		s.must(err)
	}
}
