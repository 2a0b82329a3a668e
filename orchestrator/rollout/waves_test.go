package rollout_test

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func compile(t *rapid.T, r rollout.Release, f rollout.Facts) rollout.State {
	s, err := rollout.Compile("r1", "ada", time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), r, f)
	if err != nil {
		t.Fatalf("compile %+v: %v", r, err)
	}
	return s
}

// wavesOf gives the wave, from 1, of each step that is not skipped.
func wavesOf(t *rapid.T, waves [][]rollout.Step) map[string]int {
	number := make(map[string]int)
	for n, wave := range waves {
		for _, step := range wave {
			if number[step.ID] != 0 {
				t.Fatalf("%s is in two waves", step.ID)
			}
			number[step.ID] = n + 1
		}
	}
	return number
}

// waitsOf gives the ids of the steps that a step waits for, by its own.
func waitsOf(s rollout.State) map[string][]string {
	waits := make(map[string][]string)
	for i, numbers := range s.WaitsFor() {
		for _, n := range numbers {
			waits[s.Steps[i].ID] = append(waits[s.Steps[i].ID], s.Steps[n-1].ID)
		}
	}
	return waits
}

// Whatever the release and what has run: every step has its place behind what it needs, so
// no plan goes in a circle, and no gate opens before the scripts that it needs.
func TestEveryPlanHasAnOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRelease(t)
		f := drawFacts(t, r)
		s, need := compile(t, r, f), newRequirements(r, f)
		withSnapshot(t, s, entries(r, f), need)
		number, waits := wavesOf(t, s.Waves()), waitsOf(s)
		for _, step := range s.All() {
			for _, n := range step.Needs {
				if n >= step.Number {
					t.Fatalf("step %d, %s, needs step %d", step.Number, step.ID, n)
				}
			}
			wave := number[step.ID]
			if (wave == 0) != (step.Status == rollout.StepSkipped) {
				t.Fatalf("%s is %s, and in wave %d", step.ID, step.Status, wave)
			}
			latest := 0
			for _, id := range need[step.ID] {
				if wave > 0 && number[id] >= wave {
					t.Fatalf("%s is in wave %d, and needs %s, in wave %d", step.ID, wave, id, number[id])
				}
				latest = max(latest, number[id])
			}
			if wave > 0 && wave != latest+1 {
				t.Fatalf("%s is in wave %d, and needs nothing later than wave %d", step.ID, wave, latest)
			}
			told := reached(waits, step.ID)
			for _, id := range need[step.ID] {
				if wave > 0 && number[id] > 0 && !told[id] {
					t.Fatalf("%s needs %s, and tells that it waits for %v", step.ID, id, waits[step.ID])
				}
			}
			for _, id := range waits[step.ID] {
				for _, other := range waits[step.ID] {
					if reached(waits, other)[id] {
						t.Fatalf("%s waits for %s, and needlessly tells %s", step.ID, other, id)
					}
				}
			}
		}
	})
}

// reached is what a step waits for, also by way of others.
func reached(waits map[string][]string, id string) map[string]bool {
	found := make(map[string]bool)
	for _, next := range waits[id] {
		found[next] = true
		maps.Copy(found, reached(waits, next))
	}
	return found
}

// Taken backward, a completed plan is undone in exactly the reverse order: each step as
// soon as all that waited for it is undone, and not before.
func TestEveryPlanReversesExactly(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRelease(t)
		f := drawFacts(t, r)
		f.Unanswered = nil
		s := compile(t, r, f)
		number, waits := wavesOf(t, s.Waves()), waitsOf(s)
		at := s.Created
		happen := func(e rollout.Event) {
			at = at.Add(time.Millisecond)
			e.At = at
			next, err := s.Apply(e)
			if err != nil {
				t.Fatalf("%+v: %v", e, err)
			}
			s = next
		}
		for s.Status == rollout.Running {
			step := s.Running()[0]
			e := rollout.Event{Type: rollout.StepAnswered, Step: step.ID, Attempt: step.Attempt}
			if step.Kind == rollout.Approving {
				for item := range step.Approval.Checklist {
					happen(rollout.Event{Type: rollout.ItemConfirmed, Step: step.ID, By: "bob", Item: item + 1})
				}
				for _, who := range []string{"bob", "eve", "carl"}[:max(r.Approvals.Count, 1)] {
					happen(rollout.Event{Type: rollout.ApprovedBy, Step: step.ID, By: who})
				}
				continue
			}
			switch step.Kind {
			case rollout.Traffic:
				e.Type = rollout.Opened
			case rollout.Maintenance:
				e.Type = rollout.Closed
			}
			happen(e)
		}
		after := make(map[string][]string) // by step: those that wait for it
		for id := range waits {
			for _, before := range waits[id] {
				after[before] = append(after[before], id)
			}
		}
		happen(rollout.Event{Type: rollout.BackwardAsked})
		undone := make(map[string]int) // the wave of its undoing
		for wave := 1; s.Status == rollout.Reverting; wave++ {
			for _, step := range s.Todo() {
				undone[step.ID] = wave
			}
			for _, step := range s.Todo() {
				e := rollout.Event{Type: rollout.Restored, Step: step.ID, Attempt: step.Attempt}
				if works(step) {
					e.Type, e.Revert = rollout.StepAnswered, true
				}
				happen(e)
			}
		}
		for _, step := range s.All() {
			if !undoable(step) {
				delete(number, step.ID)
			}
		}
		if s.Status != rollout.Reverted || !slices.Equal(slices.Sorted(maps.Keys(undone)), slices.Sorted(maps.Keys(number))) {
			t.Fatalf("%s, undone were %v of %v", s.Status, undone, number)
		}
		for id, wave := range undone {
			latest := 0
			for later := range reached(after, id) {
				latest = max(latest, undone[later])
			}
			if wave != latest+1 {
				t.Fatalf("%s was undone in wave %d, what waited for it in waves up to %d: %v", id, wave, latest, undone)
			}
		}
	})
}

// A plan can be made anew from its basis, also from a stored one, and its id changes with
// everything that the steps depend on, and with nothing else.
func TestPlanIsItsBasis(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRelease(t)
		f := drawFacts(t, r)
		f.Unanswered = nil // what its first steps wait for is none of the plan
		b := rollout.NewBasis(r, f)
		data, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		var stored rollout.Basis
		if err := json.Unmarshal(data, &stored); err != nil {
			t.Fatal(err)
		}
		if stored.Digest() != b.Digest() || !rollout.IsPlanID(b.Digest()) || len(b.Changes(stored)) > 0 {
			t.Fatalf("stored, plan %s is %s: %v", b.Digest(), stored.Digest(), b.Changes(stored))
		}
		if again := compile(t, stored.Release, stored.Facts()); !reflect.DeepEqual(again.Steps, compile(t, r, f).Steps) {
			t.Fatalf("on its basis, %+v is planned", again.Steps)
		}
		script := protocol.Script{Name: "unheard-of", Version: "1.0.0", Phase: protocol.Offline}
		more := rollout.Facts{Routes: maps.Clone(f.Routes), Live: f.Live, Ran: func(s protocol.Script) (rollout.Ran, bool) {
			if s == script {
				return rollout.Ran{Rollout: "r7"}, true
			}
			return f.Ran(s)
		}}
		more.Routes["nobodys"] = rollout.Replace{Revision: 3, Online: []string{"1.0.0"}}
		if other := rollout.NewBasis(r, more); other.Digest() != b.Digest() {
			t.Fatal("a script and a route of another app have changed, and it is another plan")
		}
		live := f
		if live.Live = nil; f.Live == nil {
			live.Live = &rollout.Ran{Rollout: "r7"}
		}
		other := rollout.NewBasis(r, live)
		same := reflect.DeepEqual(compile(t, r, live).Steps, compile(t, r, f).Steps)
		if other.Digest() == b.Digest() || same != (len(b.Changes(other)) == 0) {
			t.Fatalf("live or not, the steps are the same: %t, the changes are %v", same, b.Changes(other))
		}
		for _, route := range b.Routes {
			if !slices.Contains(r.Touches(), route.Service) || len(b.Routes) != len(r.Touches()) {
				t.Fatalf("routes %+v of a release that touches %v", b.Routes, r.Touches())
			}
		}
		if len(r.Services) == 0 {
			return
		}
		moved := rollout.NewBasis(r, f)
		moved.Routes[0].Revision++
		if moved.Digest() == b.Digest() || len(b.Changes(moved)) != 1 {
			t.Fatalf("a route was written, and the changes are %v", b.Changes(moved))
		}
	})
}

func TestChangesTellWhatIsDifferent(t *testing.T) {
	r := rollout.Release{App: "shop", Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "search", Version: "1.0.0", Migrations: []protocol.Phase{protocol.Offline, protocol.Online}},
	}}
	ran := func(rolloutID string, phases ...protocol.Phase) rollout.Facts {
		return rollout.Facts{Ran: func(s protocol.Script) (rollout.Ran, bool) {
			return rollout.Ran{Rollout: rolloutID, At: time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)}, slices.Contains(phases, s.Phase)
		}}
	}
	with := func(change func(*rollout.Release)) rollout.Basis {
		other := r
		other.Services = slices.Clone(r.Services)
		change(&other)
		return rollout.NewBasis(other, ran("r0"))
	}
	routed := func(revision uint64, by string, online ...string) rollout.Basis {
		b := rollout.NewBasis(r, ran("r0"))
		b.Routes[0] = rollout.FoundRoute{Service: "search", Revision: revision, Online: online, Rollout: by}
		return b
	}
	none := rollout.NewBasis(r, ran("r0"))
	for name, c := range map[string]struct {
		before, now rollout.Basis
		want        []string
	}{
		"nothing": {none, none, nil},
		"a script has run": {none, rollout.NewBasis(r, ran("r7", protocol.Offline)), []string{
			"search/offline is not needed any more: it ran 2026-11-20T10:00:00Z in rollout r7",
		}},
		"a script counts no more": {rollout.NewBasis(r, ran("r7", protocol.Offline)), none, []string{
			"search/offline is to be run again: what had run counts no more",
		}},
		"a script has run again": {rollout.NewBasis(r, ran("r7", protocol.Offline)), rollout.NewBasis(r, ran("r8", protocol.Offline)), []string{
			"search/offline has run once more: it ran 2026-11-20T10:00:00Z in rollout r8",
		}},
		"traffic was moved": {routed(3, "r1", "0.9.0"), routed(7, "r7", "0.9.1"), []string{
			"the route of search was written by rollout r7: it leads to 0.9.1, and led to 0.9.0",
		}},
		"traffic was moved there and back": {routed(3, "r1", "0.9.0"), routed(7, "r7", "0.9.0"), []string{
			"the route of search was written by rollout r7, and leads to 0.9.0 as before",
		}},
		"the first traffic": {none, routed(1, "", "0.9.0"), []string{
			"the route of search was written: it leads to 0.9.0, and led to no version",
		}},
		"another version": {none, with(func(r *rollout.Release) { r.Version = "1.0.1" }), []string{
			"it was a plan of shop 1.0.0, not of shop 1.0.1",
		}},
		"another manifest": {none, with(func(r *rollout.Release) { r.Digest = "d" }), []string{"golive.yaml has changed"}},
		"another version of a service": {none, with(func(r *rollout.Release) { r.Services[0].Version = "1.0.1" }), []string{
			"golive.yaml has changed",
			"search/offline is about version 1.0.1, was about 1.0.0",
			"search/traffic is about version 1.0.1, was about 1.0.0",
			"search/online is about version 1.0.1, was about 1.0.0",
		}},
		"other steps": {none, with(func(r *rollout.Release) {
			r.Setup, r.Services[0].Migrations = true, []protocol.Phase{protocol.Online}
		}), []string{"golive.yaml has changed", "shop/setup is new", "search/offline is gone"}},
	} {
		if got := c.before.Changes(c.now); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
		if same := c.before.Digest() == c.now.Digest(); same != (c.want == nil) {
			t.Errorf("%s: the same plan: %t", name, same)
		}
	}
}
