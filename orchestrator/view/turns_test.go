package view

import (
	"context"
	"errors"
	"sync"
	"testing"
)

func TestTurnsAreTakenOneAfterTheOther(t *testing.T) {
	var all turns
	var changing sync.WaitGroup
	changes := 0 // of one rollout, guarded by nothing else
	for range 50 {
		changing.Go(func() {
			leave, err := all.await(t.Context(), "one")
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			changes++
		})
	}
	changing.Wait()
	if changes != 50 || len(all.waiting) != 0 {
		t.Errorf("%d changes, %d rollouts are remembered", changes, len(all.waiting))
	}
	leave, err := all.await(t.Context(), "one")
	if err != nil {
		t.Fatal(err)
	}
	if other, err := all.await(t.Context(), "another"); err != nil {
		t.Error("another rollout is kept waiting:", err)
	} else {
		other()
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if _, err := all.await(ended, "one"); !errors.Is(err, context.Canceled) {
		t.Errorf("whose context has ended gets %v", err)
	}
	leave()
	if len(all.waiting) != 0 {
		t.Errorf("%d rollouts are remembered", len(all.waiting))
	}
}
