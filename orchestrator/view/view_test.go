package view

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
)

// record is an event of rollout one at a sequence, behind the event at previous.
func record(sequence, previous uint64, status rollout.Status) journal.Record {
	s := rollout.State{ID: "one", Status: status, Release: rollout.Release{App: "shop"}}
	return journal.Record{State: s, Sequence: sequence, Previous: previous}
}

func sequences(all []journal.Record) []uint64 {
	var found []uint64
	for _, r := range all {
		found = append(found, r.Sequence)
	}
	return found
}

func TestWhoFollowsGetsWhatIsRemembered(t *testing.T) {
	x := New()
	x.Track(record(3, 0, rollout.Running))
	x.Meet(record(5, 3, rollout.Running))
	x.Track(record(5, 3, rollout.Running)) // what was met comes by the journal, too
	x.Track(record(9, 5, rollout.Running))
	if got := sequences(x.AwaitChange(t.Context(), "one", 3, true)); len(got) != 3 || got[0] != 3 || got[2] != 9 {
		t.Errorf("behind 3 are %v", got)
	}
	if got := x.AwaitChange(t.Context(), "one", 4, true); got != nil {
		t.Errorf("behind an event that there is not are %v", sequences(got))
	}
	x.Meet(record(20, 12, rollout.Running)) // 12 is not known here
	if got := x.AwaitChange(t.Context(), "one", 9, true); got != nil {
		t.Errorf("over a gap are %v", sequences(got))
	}
	for n := uint64(21); n < 21+2*maxRecent; n++ {
		x.Track(record(n, n-1, rollout.Running))
	}
	if got := len(x.open["one"].recent); got > maxRecent || got < maxRecent/2 {
		t.Errorf("%d events are remembered", got)
	}
}

func TestWhoFollowsIsToldOfTheEnd(t *testing.T) {
	x := New()
	x.Track(record(3, 0, rollout.Running))
	told := make(chan []journal.Record, 1)
	go func() { told <- x.AwaitChange(t.Context(), "one", 3, true) }()
	x.Track(record(4, 3, rollout.Completed))
	select {
	case got := <-told:
		if len(got) > 0 && sequences(got)[len(got)-1] != 4 {
			t.Errorf("told of %v", sequences(got))
		}
	case <-time.After(10 * time.Second):
		t.Fatal("nobody is told of the end")
	}
	ended, end := context.WithCancel(t.Context())
	end()
	if got := x.AwaitChange(ended, "one", 4, false); got != nil || !errors.Is(ended.Err(), context.Canceled) {
		t.Errorf("of a rollout that has ended: %v", sequences(got))
	}
}
