package ledger_test

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// bench plays rollouts into an index, as the journal would.
type bench struct {
	*ledger.Index
	t        *testing.T
	sequence uint64
	states   map[string]rollout.State
}

// newBench has no store: what it learns of is in memory.
func newBench(t *testing.T) *bench {
	return &bench{Index: ledger.NewIndex(ledger.Environment{}, nil, nil), t: t, states: make(map[string]rollout.State)}
}

func (b *bench) take(s rollout.State) {
	b.sequence++
	b.states[s.ID] = s
	b.Apply(s, b.sequence)
}

func (b *bench) book(app string) *ledger.Book {
	b.t.Helper()
	book, err := b.Book(b.t.Context(), app)
	if err != nil {
		b.t.Fatal(err)
	}
	return book
}

// begin begins a rollout of one service with all scripts.
func (b *bench) begin(id, app, service, version string) {
	b.t.Helper()
	s, err := rollout.Compile(id, "anna", noon, rollout.Release{
		App: app, Version: version, Strategy: rollout.Parallel, Setup: true,
		Services: []rollout.Service{{Name: service, Version: version, Migrations: protocol.ServicePhases()}},
	}, rollout.Facts{Ran: b.book(app).Ran})
	if err != nil {
		b.t.Fatal(err)
	}
	b.take(s)
}

// become plays an event that leaves the rollout in a status, and its steps in another.
func (b *bench) become(id string, e rollout.Event, status rollout.Status, steps ...rollout.StepStatus) {
	b.t.Helper()
	s := b.states[id]
	s.Event, s.Status, s.Ended = e, status, time.Time{}
	s.Event.At = b.states[id].Event.At.Add(time.Minute)
	s.Steps = slices.Clone(s.Steps)
	for i, status := range steps {
		s.Steps[i].Status = status
	}
	if status.Final() {
		s.Ended = s.Event.At
	}
	b.take(s)
}

// goOn plays events of the step that runs.
func (b *bench) goOn(id string, events ...rollout.EventType) {
	b.t.Helper()
	for _, typ := range events {
		s := b.states[id]
		e := rollout.Event{Type: typ, At: s.Event.At.Add(time.Minute), Attempt: 1}
		if running := s.Running(); len(running) > 0 {
			e.Step, e.Attempt = running[0].ID, running[0].Attempt
		}
		if typ == rollout.StepAnswered {
			e.Answer = &protocol.Answer{Items: 12, Digest: "sha256:1"}
		}
		next, err := s.Apply(e)
		if err != nil {
			b.t.Fatal(err)
		}
		b.take(next)
	}
}

const (
	done, opened, failed = rollout.StepAnswered, rollout.Opened, rollout.StepBroke
	retried, superseded  = rollout.Retried, rollout.Replaced
)

// ran lists the phases of a version that count as run.
func (b *bench) ran(app, service, version string) string {
	b.t.Helper()
	var phases []string
	for _, p := range protocol.ServicePhases() {
		if _, yes := b.book(app).Ran(protocol.Script{Name: service, Version: version, Phase: p}); yes {
			phases = append(phases, string(p))
		}
	}
	return strings.Join(phases, " ")
}

func (b *bench) expect(version, want string) {
	b.t.Helper()
	if got := b.ran("todo-app", "todos", version); got != want {
		b.t.Errorf("of todos %s %q have run, want %q", version, got, want)
	}
}

func TestScriptHasRunOnceItIsDone(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.expect("1.0.0", "")
	b.goOn("r1", done, done)
	b.expect("1.0.0", "before offline")
	b.goOn("r1", opened, failed)
	b.expect("1.0.0", "before offline")
	b.goOn("r1", retried, done)
	b.expect("1.0.0", "before offline online")
	b.goOn("r1", done)
	script := protocol.Script{Name: "todo-app", Version: "1.0.0", Phase: protocol.Setup}
	if got, yes := b.book("todo-app").Ran(script); !yes || got.Rollout != "r1" || !got.At.Equal(b.states["r1"].Ended) {
		t.Errorf("the app's setup has run: %v, %+v", yes, got)
	}
	entries := b.book("todo-app").Entries()
	if len(entries) != 4 {
		t.Fatalf("there are %d entries, want 4: %+v", len(entries), entries)
	}
	want := ledger.Entry{
		App: "todo-app", Name: "todos", Version: "1.0.0", Phase: protocol.Before, Digest: "sha256:1",
		Rollout: "r1", Sequence: 2, By: "anna", At: noon.Add(time.Minute), Duration: rollout.Duration(time.Minute), Items: 12,
	}
	if entries[0] != want {
		t.Errorf("the first entry is %+v, want %+v", entries[0], want)
	}
}

func TestPreparationIsVoidWhenItsRolloutDidNotComplete(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, failed)
	b.expect("1.0.0", "before offline online") // as long as it is open
	b.goOn("r1", superseded)
	b.expect("1.0.0", "online")
	b.begin("r2", "todo-app", "todos", "1.0.0")
	b.goOn("r2", done, done, opened, done)
	b.expect("1.0.0", "before offline online")
	var void []string
	for _, e := range b.book("todo-app").Entries() {
		if e.Void != "" {
			void = append(void, e.Rollout+" "+string(e.Phase)+": "+e.Void)
		}
	}
	if want := []string{"r1 before: rollout r1 did not complete", "r1 offline: rollout r1 did not complete"}; !slices.Equal(void, want) {
		t.Errorf("void are %q, want %q", void, want)
	}
}

// The version that took over has written data that the other has not seen.
func TestPreparationIsVoidOnceTheVersionIsOffline(t *testing.T) {
	b := newBench(t)
	for _, version := range []string{"1.0.0", "2.0.0"} {
		b.begin("r-"+version, "todo-app", "todos", version)
		b.goOn("r-"+version, done, done)
	}
	b.expect("1.0.0", "before offline")
	b.goOn("r-2.0.0", opened)
	b.expect("1.0.0", "")
	b.expect("2.0.0", "before offline")
	b.goOn("r-2.0.0", done, done)
	b.begin("again", "todo-app", "todos", "1.0.0")
	b.goOn("again", done, done, opened)
	b.expect("1.0.0", "before offline")
	b.expect("2.0.0", "online")
}

// Nobody knows whether a gate was open that was being opened.
func TestPreparationIsVoidWhenAnotherVersionMayHaveServed(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done)
	b.begin("r2", "todo-app", "todos", "2.0.0")
	b.goOn("r2", done, failed, superseded)
	b.expect("1.0.0", "before offline online")
	b.begin("r3", "todo-app", "todos", "2.0.0")
	b.goOn("r3", done, done, failed, superseded)
	b.expect("1.0.0", "online")
}

// drain begins a rollout of a release without todos, that takes the traffic from it.
func (b *bench) drain(id, version string) {
	b.t.Helper()
	s, err := rollout.Compile(id, "anna", noon, rollout.Release{
		App: "todo-app", Version: "2.0.0", Strategy: rollout.Parallel,
		Services: []rollout.Service{{Name: "lists", Version: version, Migrations: []protocol.Phase{protocol.Before}}},
		Workflow: []rollout.Item{
			{Phase: protocol.Before}, {Phase: protocol.Online}, {Traffic: rollout.Drain, Services: []string{"todos"}},
		},
	}, rollout.Facts{
		Ran:    b.book("todo-app").Ran,
		Routes: map[string]rollout.Replace{"todos": {Revision: 3, Online: []string{"1.0.0"}}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	b.take(s)
}

// No version of the service is online any more: whichever comes back has to be prepared
// again, also the one that was online last.
func TestPreparationIsVoidOnceTheServiceIsDrained(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done)
	b.drain("r2", "2.0.0")
	b.goOn("r2", done, opened)
	b.expect("1.0.0", "before offline online")
	b.goOn("r2", opened)
	b.expect("1.0.0", "online")
	if got := b.ran("todo-app", "lists", "2.0.0"); got != "before" {
		t.Errorf("of lists %q have run, want before", got)
	}
	for _, e := range b.book("todo-app").Entries() {
		if e.Name == "todos" && e.Void != "" && e.Void != "taken offline by rollout r2" {
			t.Errorf("%s of todos is void: %s", e.Phase, e.Void)
		}
	}
	if s := b.states["r2"]; s.Status != rollout.Completed {
		t.Errorf("the rollout is %s", s.Status)
	}
}

// Nobody knows whether the traffic was gone of a service that was being drained.
func TestPreparationIsVoidWhenTheServiceMayBeDrained(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done)
	b.drain("r2", "2.0.0")
	b.goOn("r2", failed, superseded)
	b.expect("1.0.0", "before offline online")
	b.drain("r3", "2.0.0")
	b.goOn("r3", done, opened)
	b.become("r3", rollout.Event{Type: rollout.AbortAsked}, rollout.Aborting)
	b.expect("1.0.0", "before offline online")
	b.become("r3", rollout.Event{Type: rollout.Restored, Step: "lists/traffic"}, rollout.Aborted)
	b.expect("1.0.0", "online")
}

func TestOtherServicesAreLeftAlone(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done)
	b.begin("r2", "shop", "cart", "2.0.0")
	b.goOn("r2", done, done, opened, failed, superseded)
	b.expect("1.0.0", "before offline")
	if got := b.ran("shop", "cart", "2.0.0"); got != "" {
		t.Errorf("of cart %q have run, want nothing", got)
	}
	if n := len(b.book("shop").Entries()); n != 2 {
		t.Errorf("shop has %d entries, want 2", n)
	}
	if got := b.Apps(); !slices.Equal(got, []string{"shop", "todo-app"}) {
		t.Errorf("the apps are %v", got)
	}
}

func TestServiceBelongsToTheAppThatBroughtItFirst(t *testing.T) {
	b := newBench(t)
	if got := b.Owner("todos"); got != "" {
		t.Errorf("todos belongs to %q before anybody brought it", got)
	}
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.begin("r2", "shop", "todos", "2.0.0")
	if got := b.Owner("todos"); got != "todo-app" {
		t.Errorf("todos belongs to %q, want todo-app", got)
	}
}

func TestEventsThatAreKnownChangeNothing(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done)
	b.Apply(b.states["r1"], b.sequence)
	b.Apply(b.states["r1"], b.sequence-1)
	if n := len(b.book("todo-app").Entries()); n != 1 {
		t.Errorf("there are %d entries, want 1", n)
	}
}

func TestEnvironmentKnowsTheOpenRollouts(t *testing.T) {
	b := newBench(t)
	open := func(want map[string]uint64) {
		t.Helper()
		if got := b.Open(); !maps.Equal(got, want) {
			t.Errorf("open are %v, want %v", got, want)
		}
	}
	open(nil)
	b.begin("r1", "todo-app", "todos", "1.0.0") // 1
	open(map[string]uint64{"r1": 1})
	b.goOn("r1", done, done, opened, done, done) // 2 to 6
	open(nil)
	b.begin("r2", "shop", "cart", "1.0.0")      // 7
	b.begin("r3", "todo-app", "todos", "2.0.0") // 8
	b.goOn("r3", done, failed)                  // 9 and 10
	open(map[string]uint64{"r2": 7, "r3": 8})
	b.goOn("r2", done, done, opened, done, done) // 11 to 15
	open(map[string]uint64{"r3": 8})
	b.goOn("r3", superseded) // 16
	open(nil)
	if n := b.Changes(); n != 16 {
		t.Errorf("%d events have not been saved, want 16", n)
	}
}

func TestQueuedRolloutIsOpenFromItsFirstEventOn(t *testing.T) {
	b := newBench(t)
	b.states["r1"] = rollout.State{ID: "r1", Release: rollout.Release{
		App: "todo-app", Version: "1.0.0", MustNotSkip: []string{"0.5.0"}, Services: []rollout.Service{{Name: "todos", Version: "1.0.0"}},
	}}
	b.become("r1", rollout.Event{Type: rollout.Enqueued}, rollout.Queued)
	if got := b.Apps(); !slices.Equal(got, []string{"todo-app"}) || b.Newest("todo-app") != "" {
		t.Errorf("the apps are %v before a rollout has begun", got)
	}
	if got := b.Owner("todos"); got != "todo-app" {
		t.Errorf("todos belongs to %q, want todo-app", got)
	}
	b.become("r1", rollout.Event{Type: rollout.Created}, rollout.Running)
	if got := b.Open(); !maps.Equal(got, map[string]uint64{"r1": 1}) {
		t.Errorf("open are %v, want r1 from 1 on", got)
	}
	if got := b.Newest("todo-app"); got != "r1" {
		t.Errorf("the newest rollout is %q, want r1", got)
	}
	if got := b.book("todo-app").Skips(); !slices.Equal(got, []string{"0.5.0"}) {
		t.Errorf("not to be skipped are %v", got)
	}
}

func TestCompletedRolloutIsOpenAgainOnceItIsTakenBackward(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done) // to 6
	version := ledger.AppVersion{Version: "1.0.0", Rollout: "r1", At: b.states["r1"].Ended, Sequence: 6}
	if got := b.book("todo-app").Versions(); !slices.Equal(got, []ledger.AppVersion{version}) {
		t.Errorf("the versions are %+v, want %+v", got, version)
	}
	b.become("r1", rollout.Event{Type: rollout.BackwardAsked}, rollout.Reverting)
	if got := b.Open(); !maps.Equal(got, map[string]uint64{"r1": 7}) {
		t.Errorf("open are %v, want r1 from 7 on", got)
	}
	const undone = rollout.StepReverted
	b.become("r1", rollout.Event{Type: done, Step: "todos/online"}, rollout.Reverting, rollout.StepDone, rollout.StepDone, rollout.StepDone, undone)
	b.expect("1.0.0", "before offline")
	b.become("r1", rollout.Event{Type: done, Step: "todos/before"}, rollout.Reverted, undone, undone, undone, undone)
	b.expect("1.0.0", "")
	version.Void = "rollout r1 was reverted"
	if got := b.book("todo-app").Versions(); !slices.Equal(got, []ledger.AppVersion{version}) {
		t.Errorf("the versions are %+v, want %+v", got, version)
	}
	var void []string
	for _, e := range b.book("todo-app").Entries() {
		void = append(void, string(e.Phase)+": "+e.Void)
	}
	want := []string{
		"before: reverted by rollout r1", "offline: rollout r1 was reverted",
		"online: reverted by rollout r1", "setup: rollout r1 was reverted",
	}
	if !slices.Equal(void, want) {
		t.Errorf("void are %q, want %q", void, want)
	}
	if got := b.Open(); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
}

func TestPreparationIsVoidAfterAnAbort(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done)
	b.begin("r2", "todo-app", "todos", "2.0.0")
	b.goOn("r2", done, done, opened)
	b.become("r2", rollout.Event{Type: rollout.AbortAsked}, rollout.Aborting)
	b.expect("2.0.0", "before offline")
	b.become("r2", rollout.Event{Type: rollout.Restored, Step: "todos/traffic"}, rollout.Aborted)
	b.expect("2.0.0", "")
	b.expect("1.0.0", "online")
	if got := len(b.book("todo-app").Versions()); got != 1 {
		t.Errorf("there are %d versions, want 1", got)
	}
}

func TestScriptRecordedByHandCountsAsRun(t *testing.T) {
	b := newBench(t)
	reason := strings.Repeat("ä", 300)
	for _, id := range []string{"m1", "m2"} {
		b.states[id] = rollout.State{
			ID: id, Release: rollout.Release{App: "todo-app"},
			Mark: &rollout.Mark{Name: "todos", Version: "1.0.0", Phase: protocol.Before},
		}
		b.become(id, rollout.Event{Type: rollout.MarkedRun, By: "anna", Reason: reason}, rollout.Marked)
	}
	b.expect("1.0.0", "before")
	entries := b.book("todo-app").Entries()
	if len(entries) != 2 || entries[0].Void != "recorded by hand as run, in m2" {
		t.Fatalf("the entries are %+v", entries)
	}
	e := entries[1]
	if !e.Marked || e.By != "anna" || e.Rollout != "m2" || e.Sequence != 2 || e.Void != "" || e.Reason != reason[:400] {
		t.Errorf("the entry is %+v", e)
	}
	if got := b.Open(); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
}

// It is completed once, and its scripts have run once, however often their records are
// tried again.
func TestAmendedRolloutHasCompletedOnce(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	answer := func(typ rollout.EventType, step string, attempt int, answer protocol.Answer) {
		t.Helper()
		s := b.states["r1"]
		next, err := s.Apply(rollout.Event{Type: typ, At: s.Event.At.Add(time.Minute), Step: step, Attempt: attempt, Answer: &answer})
		if err != nil {
			t.Fatal(err)
		}
		b.take(next)
	}
	answer(done, "todos/before", 1, protocol.Answer{Items: 12, PutAside: 3, Digest: "sha256:1"})
	b.goOn("r1", done, opened)
	answer(done, "todos/online", 1, protocol.Answer{Items: 5, PutAside: 1})
	b.goOn("r1", done) // 6
	before, versions := b.book("todo-app").Entries(), b.book("todo-app").Versions()
	if before[0].Items != 12 || before[0].PutAside != 3 || before[2].PutAside != 1 {
		t.Errorf("the entries are %+v", before)
	}

	answer(rollout.RecordsAsked, "", 0, protocol.Answer{}) // 7
	if got := b.Open(); !maps.Equal(got, map[string]uint64{"r1": 7}) {
		t.Errorf("open are %v, want r1 from 7 on", got)
	}
	b.expect("1.0.0", "before offline online")
	if book := b.book("todo-app"); !book.Completed("1.0.0") || book.Highest() != "1.0.0" || b.Newest("todo-app") != "r1" {
		t.Error("an amending rollout is not complete any more")
	}
	answer(done, "todos/before", 2, protocol.Answer{Items: 2, PutAside: 1, Digest: "sha256:2"})
	answer(failed, "todos/online", 2, protocol.Answer{Items: 4})
	if s := b.states["r1"]; s.What() != "amended" {
		t.Errorf("it is %s", s.What())
	}
	if got := b.Open(); len(got) != 0 {
		t.Errorf("open are %v", got)
	}
	before[0].Items, before[0].PutAside = 14, 1
	book := b.book("todo-app")
	if got := book.Entries(); !slices.Equal(got, before) {
		t.Errorf("the entries are %+v, want %+v", got, before)
	}
	if got := book.Versions(); !slices.Equal(got, versions) || !book.Completed("1.0.0") || book.Highest() != "1.0.0" {
		t.Errorf("the versions are %+v, want %+v", got, versions)
	}

	b.become("r1", rollout.Event{Type: rollout.BackwardAsked}, rollout.Reverting)
	b.become("r1", rollout.Event{Type: rollout.Restored, Step: "todos/traffic"}, rollout.Reverted)
	b.expect("1.0.0", "")
	if book := b.book("todo-app"); book.Completed("1.0.0") || book.Highest() != "" {
		t.Error("it counts although it was taken backward")
	}
}

// What was recorded by hand meanwhile counts, and what has run before does so no more.
func TestAmendingCountsNothingAgainThatIsVoid(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	s := b.states["r1"]
	s, err := s.Apply(rollout.Event{Type: done, Step: "todos/before", Attempt: 1, At: noon, Answer: &protocol.Answer{PutAside: 3}})
	if err != nil {
		t.Fatal(err)
	}
	b.take(s)
	b.states["m1"] = rollout.State{
		ID: "m1", Release: rollout.Release{App: "todo-app"},
		Mark: &rollout.Mark{Name: "todos", Version: "1.0.0", Phase: protocol.Before},
	}
	b.become("m1", rollout.Event{Type: rollout.MarkedRun, By: "anna"}, rollout.Marked)
	b.goOn("r1", done, opened, done, done, rollout.RecordsAsked, done)
	entries := b.book("todo-app").Entries()
	if e := entries[0]; e.Void != "recorded by hand as run, in m1" || e.Items != 12 || e.PutAside != 0 {
		t.Errorf("the entry of the script is %+v", e)
	}
	if e := entries[1]; e.Void != "" || !e.Marked || e.Items != 0 {
		t.Errorf("the entry recorded by hand is %+v", e)
	}
	if len(entries) != 5 {
		t.Errorf("there are %d entries, want 5: %+v", len(entries), entries)
	}
}

// again begins a rollout of a version whose scripts have all run and whose traffic is there, and
// completes it.
func (b *bench) again(id, version, repeats, digest string) {
	b.t.Helper()
	s, err := rollout.Compile(id, "anna", noon, rollout.Release{
		App: "todo-app", Version: version, Digest: digest, Strategy: rollout.Parallel,
		Services: []rollout.Service{{Name: "todos", Version: "1.0.0"}},
	}, rollout.Facts{Ran: b.book("todo-app").Ran, Routes: map[string]rollout.Replace{"todos": {Revision: 3, Online: []string{"1.0.0"}}}})
	if err != nil {
		b.t.Fatal(err)
	}
	s.Repeats = repeats
	b.take(s)
	s, err = s.Apply(rollout.Event{Type: opened, At: noon.Add(time.Minute), Step: "todos/traffic", Attempt: 1, Revision: 3})
	if err != nil {
		b.t.Fatal(err)
	}
	b.take(s)
}

func TestARolloutThatOnlyRepeatsIsNone(t *testing.T) {
	b := newBench(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done)
	live := func() (all []string) {
		for _, v := range b.book("todo-app").Live() {
			all = append(all, v.Rollout)
		}
		return all
	}
	b.again("r2", "1.0.0", "r1", "")
	b.again("r3", "1.0.0", "r1", "")
	b.again("r3a", "1.0.0", "r1", "another manifest")
	b.again("r3b", "1.0.0", "r1", "another manifest")
	if got := live(); !slices.Equal(got, []string{"r1"}) || b.Newest("todo-app") != "r1" || b.book("todo-app").LastChange() != "r1" {
		t.Errorf("live are %v, the newest is %s, %s has changed something last", got, b.Newest("todo-app"), b.book("todo-app").LastChange())
	}
	if last, known := b.book("todo-app").Brought("1.0.0", ""); !known || last.Rollout != "r3a" || last.Void == "" {
		t.Errorf("of the other manifest the book says %+v", last)
	}
	b.again("r4", "1.1.0", "", "") // another version, of which nothing is left to do
	if got := live(); !slices.Equal(got, []string{"r1", "r4"}) || b.Newest("todo-app") != "r4" || b.book("todo-app").LastChange() != "r1" {
		t.Errorf("live are %v, the newest is %s, %s has changed something last", got, b.Newest("todo-app"), b.book("todo-app").LastChange())
	}
	b.begin("r5", "todo-app", "todos", "2.0.0")
	if got := b.book("todo-app").LastChange(); got != "r5" || b.Newest("todo-app") != "r5" {
		t.Errorf("%s has changed something last", got)
	}
}
