package ledger_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// book plays rollouts into an index, as the journal would.
type book struct {
	*ledger.Index
	t        *testing.T
	sequence uint64
	states   map[string]rollout.State
}

func newBook(t *testing.T) *book {
	return &book{Index: ledger.NewIndex(ledger.Snapshot{}), t: t, states: make(map[string]rollout.State)}
}

func (b *book) take(s rollout.State) {
	b.sequence++
	b.states[s.ID] = s
	b.Apply(s, b.sequence)
}

// begin begins a rollout of one service with all scripts.
func (b *book) begin(id, app, service, version string) {
	b.t.Helper()
	s, err := rollout.Compile(id, "anna", noon, rollout.Release{
		App: app, Version: version, Strategy: rollout.Parallel, Setup: true,
		Services: []rollout.Service{{Name: service, Version: version, Migrations: protocol.ServicePhases()}},
	}, rollout.Facts{Ran: b.Ran})
	if err != nil {
		b.t.Fatal(err)
	}
	b.take(s)
}

// goOn plays events of the step that runs.
func (b *book) goOn(id string, events ...rollout.EventType) {
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
func (b *book) ran(service, version string) string {
	var phases []string
	for _, p := range protocol.ServicePhases() {
		if _, yes := b.Ran(protocol.Script{Name: service, Version: version, Phase: p}); yes {
			phases = append(phases, string(p))
		}
	}
	return strings.Join(phases, " ")
}

func (b *book) expect(version, want string) {
	b.t.Helper()
	if got := b.ran("todos", version); got != want {
		b.t.Errorf("of todos %s %q have run, want %q", version, got, want)
	}
}

func TestScriptHasRunOnceItIsDone(t *testing.T) {
	b := newBook(t)
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
	if got, yes := b.Ran(script); !yes || got.Rollout != "r1" || !got.At.Equal(b.states["r1"].Ended) {
		t.Errorf("the app's setup has run: %v, %+v", yes, got)
	}
	entries := b.Entries("")
	if len(entries) != 4 {
		t.Fatalf("there are %d entries, want 4: %+v", len(entries), entries)
	}
	want := ledger.Entry{
		App: "todo-app", Name: "todos", Version: "1.0.0", Phase: protocol.Before, Digest: "sha256:1",
		Rollout: "r1", By: "anna", At: noon.Add(time.Minute), Duration: time.Minute, Items: 12,
	}
	if entries[0] != want {
		t.Errorf("the first entry is %+v, want %+v", entries[0], want)
	}
}

func TestPreparationIsVoidWhenItsRolloutDidNotComplete(t *testing.T) {
	b := newBook(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, failed)
	b.expect("1.0.0", "before offline online") // as long as it is open
	b.goOn("r1", superseded)
	b.expect("1.0.0", "online")
	b.begin("r2", "todo-app", "todos", "1.0.0")
	b.goOn("r2", done, done, opened, done)
	b.expect("1.0.0", "before offline online")
	var void []string
	for _, e := range b.Entries("todo-app") {
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
	b := newBook(t)
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
	b := newBook(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done, opened, done, done)
	b.begin("r2", "todo-app", "todos", "2.0.0")
	b.goOn("r2", done, superseded)
	b.expect("1.0.0", "before offline online")
	b.begin("r3", "todo-app", "todos", "2.0.0")
	b.goOn("r3", done, done, superseded)
	b.expect("1.0.0", "online")
}

func TestOtherServicesAreLeftAlone(t *testing.T) {
	b := newBook(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done)
	b.begin("r2", "shop", "cart", "2.0.0")
	b.goOn("r2", done, done, opened, failed, superseded)
	b.expect("1.0.0", "before offline")
	if got := b.ran("cart", "2.0.0"); got != "" {
		t.Errorf("of cart %q have run, want nothing", got)
	}
	if n := len(b.Entries("shop")); n != 2 {
		t.Errorf("shop has %d entries, want 2", n)
	}
	if got := b.Apps(); !slices.Equal(got, []string{"shop", "todo-app"}) {
		t.Errorf("the apps are %v", got)
	}
}

func TestServiceBelongsToTheAppThatBroughtItFirst(t *testing.T) {
	b := newBook(t)
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
	b := newBook(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done)
	b.Apply(b.states["r1"], b.sequence)
	b.Apply(b.states["r1"], b.sequence-1)
	if n := len(b.Entries("")); n != 1 {
		t.Errorf("there are %d entries, want 1", n)
	}
}

func TestSnapshotBeginsWithTheOldestOpenRollout(t *testing.T) {
	b := newBook(t)
	first := func(want uint64) {
		t.Helper()
		if got := b.Snapshot().First(); got != want {
			t.Errorf("events have to be read after %d, want %d", got, want)
		}
	}
	first(0)
	b.begin("r1", "todo-app", "todos", "1.0.0") // 1
	first(0)
	b.goOn("r1", done, done, opened, done, done) // 2 to 6
	first(6)
	b.begin("r2", "shop", "cart", "1.0.0")      // 7
	b.begin("r3", "todo-app", "todos", "2.0.0") // 8
	b.goOn("r3", done, failed)                  // 9 and 10
	first(6)
	b.goOn("r2", done, done, opened, done, done) // 11 to 15
	first(7)
	b.goOn("r3", superseded) // 16
	first(16)
}

func TestIndexGoesOnFromASnapshot(t *testing.T) {
	store := newStore(t)
	b := newBook(t)
	b.begin("r1", "todo-app", "todos", "1.0.0")
	b.goOn("r1", done, done)
	if err := store.Save(t.Context(), b.Snapshot()); err != nil {
		t.Fatal(err)
	}
	loaded, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	other := &book{Index: ledger.NewIndex(loaded), t: t, sequence: loaded.Sequence, states: b.states}
	if got, want := other.Entries(""), b.Entries(""); !slices.Equal(got, want) {
		t.Errorf("the entries are %+v, want %+v", got, want)
	}
	if other.Owner("todos") != "todo-app" || other.Snapshot().First() != 0 || !slices.Equal(other.Apps(), b.Apps()) {
		t.Errorf("the snapshot is %+v", loaded)
	}
	other.goOn("r1", opened, done, done)
	other.expect("1.0.0", "before offline online")
	b.expect("1.0.0", "before offline") // the snapshot is a copy
	if got := other.Snapshot().First(); got != other.sequence {
		t.Errorf("events have to be read after %d, want %d", got, other.sequence)
	}
}

func newStore(t *testing.T) *ledger.Store {
	t.Helper()
	store, err := ledger.Open(t.Context(), relaytest.Start(t).Connect().Conn(), 1)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func TestStoreKeepsTheSnapshotThatReachesFurthest(t *testing.T) {
	store := newStore(t)
	empty, err := store.Load(t.Context())
	if err != nil || empty.Sequence != 0 {
		t.Fatalf("the empty store gives %+v, %v", empty, err)
	}
	var saving sync.WaitGroup
	for sequence := range uint64(10) {
		saving.Go(func() {
			if err := store.Save(t.Context(), ledger.Snapshot{Sequence: sequence}); err != nil {
				t.Error(err)
			}
		})
	}
	saving.Wait()
	for _, sequence := range []uint64{20, 3} {
		if err := store.Save(t.Context(), ledger.Snapshot{Sequence: sequence}); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := store.Load(t.Context()); err != nil || got.Sequence != 20 {
		t.Errorf("the snapshot reaches %d, %v, want 20", got.Sequence, err)
	}
}
