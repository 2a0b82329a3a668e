package rollout_test

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// planOf begins a rollout of a release of one service, whose scripts of some phases have run.
func planOf(t *testing.T, route rollout.Replace, ran bool, change func(*rollout.Release)) rollout.State {
	t.Helper()
	r := rollout.Release{App: "shop", Version: "2.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "search", Version: "2.0.0", Migrations: []protocol.Phase{protocol.Online}, Instances: 1},
	}}
	if change != nil {
		change(&r)
	}
	s, err := rollout.Compile("r2", "ann", time.Unix(0, 0).UTC(), r, rollout.Facts{
		Ran:    func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{Rollout: "r1"}, ran },
		Routes: map[string]rollout.Replace{"search": route},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Repeats = "r1"
	return s
}

func opened(t *testing.T, s rollout.State, revision uint64) rollout.State {
	t.Helper()
	next, err := s.Apply(rollout.Event{Type: rollout.Opened, At: time.Unix(1, 0).UTC(), Step: "search/traffic", Attempt: 1, Revision: revision})
	if err != nil {
		t.Fatal(err)
	}
	return next
}

func TestARolloutThatDoesNothingIsARepeat(t *testing.T) {
	same := rollout.Replace{Revision: 7, Online: []string{"2.0.0"}}
	keeps := func(r *rollout.Release) { r.Services[0].KeepOnline = []string{"1.0.0"} }
	asks := func(r *rollout.Release) {
		r.Workflow = []rollout.Item{{Name: "go", Approval: &rollout.Question{Text: "go?"}}, {Traffic: rollout.Open}, {Phase: protocol.Online}}
	}
	for name, c := range map[string]struct {
		route    rollout.Replace
		ran      bool
		change   func(*rollout.Release)
		revision uint64 // of the route behind the move; 0: it is not done
		idle     bool
		repeat   bool
	}{
		"all was there":                   {same, true, nil, 7, true, true},
		"beside one that stays":           {rollout.Replace{Revision: 7, Online: []string{"1.0.0", "2.0.0"}}, true, keeps, 7, true, true},
		"its move is under way":           {same, true, nil, 0, true, false},
		"its move is about another one":   {rollout.Replace{Revision: 7, Online: []string{"1.0.0"}}, true, nil, 0, false, false},
		"its move takes one away":         {rollout.Replace{Revision: 7, Online: []string{"1.0.0", "2.0.0"}}, true, nil, 0, false, false},
		"its move begins":                 {rollout.Replace{}, true, nil, 0, false, false},
		"it has written the route":        {same, true, nil, 8, false, false},
		"its script runs":                 {same, false, nil, 7, false, false},
		"it asks, and has not begun more": {same, true, asks, 0, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			s := planOf(t, c.route, c.ran, c.change)
			if c.revision > 0 {
				s = opened(t, s, c.revision)
			}
			if s.Idle() != c.idle || s.IsRepeat() != c.repeat {
				t.Errorf("idle is %t, want %t; a repeat is %t, want %t: %s", s.Idle(), c.idle, s.IsRepeat(), c.repeat, s.Status)
			}
			s.Repeats = ""
			if s.IsRepeat() {
				t.Error("it brings another version, and is a repeat")
			}
		})
	}
}

// Undone or aborted, a move that would have changed nothing has changed nothing.
func TestWhatIsPutBackThatNeverMoved(t *testing.T) {
	s := planOf(t, rollout.Replace{Revision: 7, Online: []string{"2.0.0"}}, true, nil)
	for _, e := range []rollout.Event{{Type: rollout.AbortAsked}, {Type: rollout.BackwardAsked, Routes: map[string]uint64{"search": 9}}} {
		e.At = time.Unix(1, 0).UTC()
		back, err := s.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		if !back.Idle() {
			t.Errorf("after %s it is not idle", e.Type)
		}
		ended, err := back.Apply(rollout.Event{Type: rollout.Restored, At: time.Unix(2, 0).UTC(), Step: "search/traffic", Attempt: 2, Revision: 10})
		if err != nil || !ended.Status.Final() || !ended.Idle() || ended.IsRepeat() {
			t.Errorf("after %s it ended %s, idle %t: %v", e.Type, ended.Status, ended.Idle(), err)
		}
	}
}

// Somebody was asked whether it may go on: the same release is not asked about again because of
// that one.
func TestARolloutThatHasAskedIsNoRepeat(t *testing.T) {
	s := planOf(t, rollout.Replace{Revision: 7, Online: []string{"2.0.0"}}, true, func(r *rollout.Release) {
		r.Workflow = []rollout.Item{{Name: "go", Approval: &rollout.Question{Text: "go?"}}, {Traffic: rollout.Open}, {Phase: protocol.Online}}
	})
	s, err := s.Apply(rollout.Event{Type: rollout.ApprovedBy, At: time.Unix(1, 0).UTC(), Step: "go", By: "ann"})
	if err != nil {
		t.Fatal(err)
	}
	if s = opened(t, s, 7); s.Status != rollout.Completed || !s.Idle() || s.IsRepeat() {
		t.Errorf("it is %s, idle %t, a repeat %t", s.Status, s.Idle(), s.IsRepeat())
	}
}
