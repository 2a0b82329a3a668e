package ledger_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/ledger"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// tape is a journal in memory.
type tape struct {
	mu     sync.Mutex
	last   uint64
	events []event
	tails  int // how often one was read
	whole  *ledger.Index
	before func(tail int) // is called before the tail of this number, from 1, is read
	after  func()         // is called once a tail has been read

	following sync.Mutex // held from an event's append until the index has it: they come in order
}

type event struct {
	state    rollout.State
	sequence uint64
}

// add appends an event.
func (p *tape) add(s rollout.State) event {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last++
	e := event{s, p.last}
	p.events = append(p.events, e)
	return e
}

// follow appends an event, and gives it to an index that follows.
func (p *tape) follow(x *ledger.Index, s rollout.State) {
	p.following.Lock()
	defer p.following.Unlock()
	e := p.add(s)
	x.Apply(e.state, e.sequence)
}

// drop removes the events up to a sequence.
func (p *tape) drop(upTo uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.events = slices.DeleteFunc(slices.Clone(p.events), func(e event) bool { return e.sequence <= upTo })
}

func (p *tape) all() []event {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.events)
}

func (p *tape) Tail(ctx context.Context, app string, after uint64, each func(rollout.State, uint64)) error {
	p.mu.Lock()
	p.tails++
	tail, before := p.tails, p.before
	p.mu.Unlock()
	if before != nil {
		before(tail)
	}
	for _, e := range p.all() {
		if e.sequence > after && e.state.Release.App == app {
			each(e.state, e.sequence)
		}
	}
	if p.after != nil {
		p.after()
	}
	return ctx.Err()
}

// into plays the whole tape into an index.
func (p *tape) into(x *ledger.Index) *ledger.Index {
	for _, e := range p.all() {
		x.Apply(e.state, e.sequence)
	}
	return x
}

// index is the ledger made of the tape from the beginning.
func (p *tape) index() *ledger.Index {
	p.mu.Lock()
	if p.whole == nil {
		p.whole = ledger.NewIndex(ledger.Environment{}, nil, nil)
	}
	x := p.whole
	p.mu.Unlock()
	return p.into(x)
}

// ran is the event of a script that has run.
func ran(app, id string, n int) rollout.State {
	version := fmt.Sprintf("1.%d.0", n)
	return rollout.State{
		ID: id, Status: rollout.Running, By: "anna",
		Release: rollout.Release{App: app, Version: version},
		Steps: []*rollout.Step{{
			Number: 1, ID: "todos/before", Kind: rollout.Migration, Name: "todos", Version: version, Script: rollout.ScriptRun{Phase: protocol.Before, Digest: "sha256:1"},
			Status: rollout.StepDone, Started: noon, Ended: noon.Add(time.Duration(n) * time.Second), Attempt: 1,
		}},
		Event: rollout.Event{Type: rollout.StepAnswered, Step: "todos/before", At: noon},
	}
}

// completed is the event that completes a rollout.
func completed(app, id string, n int) rollout.State {
	s := ran(app, id, n)
	s.Status, s.Ended, s.Event.Type = rollout.Completed, s.Steps[0].Ended, rollout.Opened
	s.Event.Step = ""
	return s
}

// ended is the event that ends a rollout, and voids what it ran before.
func ended(app, id string, n int) rollout.State {
	s := ran(app, id, n)
	s.Status, s.Event = rollout.Superseded, rollout.Event{Type: rollout.Replaced, At: noon}
	return s
}

func newStore(t testing.TB) (*ledger.Store, *nats.Conn) {
	t.Helper()
	nc := relaytest.Start(t).Connect().Conn()
	return openStore(t, nc), nc
}

func openStore(t testing.TB, nc *nats.Conn) *ledger.Store {
	t.Helper()
	store, err := ledger.Make(t.Context(), nc, "", 1)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// loaded is a new index as an orchestrator makes it that starts.
func loaded(t testing.TB, store *ledger.Store, p *tape) *ledger.Index {
	t.Helper()
	env, err := store.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return p.into(ledger.NewIndex(env, store, p.Tail))
}

type failer interface {
	Helper()
	Errorf(string, ...any)
	Fatal(...any)
}

// same checks that the book of app is the one that is made of the whole tape.
func same(ctx context.Context, t failer, what string, got *ledger.Index, app string, whole *tape) {
	t.Helper()
	want := whole.index()
	wantBook, err := want.Book(ctx, app)
	if err != nil {
		t.Fatal(err)
	}
	book, err := got.Book(ctx, app)
	if err != nil {
		t.Fatal(what, err)
	}
	if book.Sequence() != wantBook.Sequence() {
		t.Errorf("%s: the book reaches %d, want %d", what, book.Sequence(), wantBook.Sequence())
	}
	if g, w := book.Entries(), wantBook.Entries(); !slices.Equal(g, w) {
		t.Errorf("%s: the entries are\n%+v, want\n%+v", what, g, w)
	}
	if g, w := book.Versions(), wantBook.Versions(); !slices.Equal(g, w) {
		t.Errorf("%s: the versions are\n%+v, want\n%+v", what, g, w)
	}
	if g, w := book.Skips(), wantBook.Skips(); !slices.Equal(g, w) {
		t.Errorf("%s: not to be skipped are %v, want %v", what, g, w)
	}
	if !maps.Equal(got.Open(), want.Open()) || !slices.Equal(got.Apps(), want.Apps()) || got.Sequence() != want.Sequence() {
		t.Errorf("%s: the environment differs: at %d, want %d", what, got.Sequence(), want.Sequence())
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// keys counts the chunks of an app that are stored, markers of deleted ones too.
func keys(t testing.TB, nc *nats.Conn, app string) int {
	t.Helper()
	js, err := jetstream.New(nc)
	must(t, err)
	stream, err := js.Stream(t.Context(), "KV_"+protocol.LedgerBucket)
	must(t, err)
	info, err := stream.Info(t.Context(), jetstream.WithSubjectFilter(protocol.KeySubject(protocol.LedgerBucket, "app."+app+".>")))
	must(t, err)
	return len(info.State.Subjects)
}

// long is a tape of so many rollouts, each of which adds an entry and a version. A chunk
// holds 100.
func long(app string, rollouts int) *tape {
	p := &tape{}
	for n := range rollouts {
		id := fmt.Sprintf("r%d", n)
		p.add(ran(app, id, n))
		p.add(completed(app, id, n))
	}
	return p
}

func TestBookIsStoredInChunks(t *testing.T) {
	store, nc := newStore(t)
	p := long("todo-app", 1250)
	x := loaded(t, store, p)
	must(t, x.Save(t.Context()))
	if n := keys(t, nc, "todo-app"); n != 26 {
		t.Errorf("%d chunks are stored, want 13 of entries and 13 of versions", n)
	}
	if n := x.Changes(); n != 0 {
		t.Errorf("%d events have not been saved", n)
	}
	other := loaded(t, store, p)
	same(t.Context(), t, "after the first save", other, "todo-app", p)

	// What voids an old entry, of the first chunk, changes that chunk and the last one.
	for _, s := range []rollout.State{ended("todo-app", "r7", 7), ran("todo-app", "r1200", 8)} {
		e := p.add(s)
		x.Apply(e.state, e.sequence)
	}
	must(t, x.Save(t.Context()))
	if n := keys(t, nc, "todo-app"); n != 26 {
		t.Errorf("%d chunks are stored after a change, want 26", n)
	}
	same(t.Context(), t, "after the second save", loaded(t, store, p), "todo-app", p)
}

// Whatever is dropped from the journal after SaveApp is in the store.
func TestSavedEventsMayBeDropped(t *testing.T) {
	store, _ := newStore(t)
	p, whole := &tape{}, &tape{}
	add := func(s rollout.State) {
		p.add(s)
		whole.add(s)
	}
	for n := range 10 {
		add(ran("todo-app", "r1", n))
		add(ran("shop", "r2", n))
	}
	must(t, loaded(t, store, p).SaveApp(t.Context(), "todo-app"))
	add(ended("todo-app", "r1", 3))
	x := loaded(t, store, p)
	must(t, x.SaveApp(t.Context(), "todo-app")) // loads it
	must(t, x.SaveApp(t.Context(), "shop"))
	p.drop(21)
	add(ran("todo-app", "r3", 11))
	same(t.Context(), t, "of the index that saved", whole.into(x), "todo-app", whole)
	same(t.Context(), t, "of a new index", loaded(t, store, p), "shop", whole)
	same(t.Context(), t, "of a new index", loaded(t, store, p), "todo-app", whole)
}

// While one loads a book, another saves a later one and drops the events that it holds.
func TestBookHasNoGapWhereEventsAreDroppedMeanwhile(t *testing.T) {
	store, _ := newStore(t)
	p, whole := &tape{}, &tape{}
	for n := range 10 {
		whole.add(ran("todo-app", "r1", n))
		p.add(ran("todo-app", "r1", n))
		if n == 4 {
			must(t, loaded(t, store, p).Save(t.Context()))
		}
	}
	saver, x := loaded(t, store, p), loaded(t, store, p)
	p.tails, p.before = 0, func(tail int) {
		if tail == 1 {
			must(t, saver.SaveApp(t.Context(), "todo-app")) // whose tail is the second
			p.drop(10)
		}
	}
	same(t.Context(), t, "with a gap", x, "todo-app", whole)
	if p.tails != 3 {
		t.Errorf("%d tails were read, want 3", p.tails)
	}
}

// fuse is a context that ends after it has been used so many times, as an orchestrator
// ends that is killed.
type fuse struct {
	context.Context
	left  atomic.Int64
	burnt chan struct{}
	once  sync.Once
}

func (f *fuse) Done() <-chan struct{} {
	if f.left.Add(-1) < 0 {
		f.once.Do(func() { close(f.burnt) })
	}
	return f.burnt
}

func (f *fuse) Err() error {
	select {
	case <-f.burnt:
		return context.Canceled
	default:
		return nil
	}
}

func TestSaveMayEndAnywhere(t *testing.T) {
	store, nc := newStore(t)
	p := long("todo-app", 510)
	must(t, loaded(t, store, p).Save(t.Context()))
	ends := 0
	for saved := false; !saved; ends++ {
		p.add(ended("todo-app", fmt.Sprintf("r%d", ends), ends)) // voids an old entry and its version
		p.add(ran("todo-app", fmt.Sprintf("more-%d", ends), 2000+ends))
		x := loaded(t, store, p)
		if _, err := x.Book(t.Context(), "todo-app"); err != nil {
			t.Fatal(err)
		}
		f := &fuse{Context: t.Context(), burnt: make(chan struct{})}
		f.left.Store(int64(ends))
		saved = x.Save(f) == nil
		same(t.Context(), t, fmt.Sprintf("after %d uses", ends), loaded(t, store, p), "todo-app", p)
		if t.Failed() {
			return
		}
	}
	if ends < 10 {
		t.Errorf("the save ended at %d points only", ends)
	}
	if n := keys(t, nc, "todo-app"); n != 12 {
		t.Errorf("%d chunks are stored in the end, want 12", n)
	}
}

func TestManySaveAtOnce(t *testing.T) {
	store, nc := newStore(t)
	p := &tape{}
	p.add(ran("todo-app", "r0", 0))
	var indexes []*ledger.Index
	for range 4 {
		indexes = append(indexes, loaded(t, openStore(t, nc), p))
	}
	for n := 1; n < 700; n++ {
		p.add(ran("todo-app", fmt.Sprintf("r%d", n), n))
		if n%10 == 0 {
			p.add(ended("todo-app", fmt.Sprintf("r%d", n/2), n/2))
		}
	}
	var saving sync.WaitGroup
	for i, x := range indexes {
		saving.Go(func() {
			for _, e := range p.all() {
				x.Apply(e.state, e.sequence)
				if e.sequence%uint64(40+i) == 0 {
					if err := x.Save(t.Context()); err != nil {
						t.Error(err)
					}
				}
			}
			if err := x.SaveApp(t.Context(), "todo-app"); err != nil {
				t.Error(err)
			}
		})
	}
	saving.Wait()
	empty := &tape{} // all is stored
	env, err := store.Load(t.Context())
	must(t, err)
	same(t.Context(), t, "stored", ledger.NewIndex(env, store, empty.Tail), "todo-app", p)
	p.add(ended("todo-app", "r699", 699))
	must(t, loaded(t, store, p).SaveApp(t.Context(), "todo-app"))
	if n := keys(t, nc, "todo-app"); n > 8 { // a chunk that lost its race may be left for the next time
		t.Errorf("%d chunks are stored in the end, want 7", n)
	}
}

func TestBookIsLoadedWhileEventsCome(t *testing.T) {
	store, _ := newStore(t)
	p := &tape{}
	for n := range 50 {
		p.add(ran("todo-app", fmt.Sprintf("r%d", n), n))
	}
	must(t, loaded(t, store, p).Save(t.Context()))
	for n := range 50 {
		p.add(ran("todo-app", fmt.Sprintf("r%d", n), n))
	}
	for range 20 {
		x := loaded(t, store, p)
		p.before = func(int) { // an event that the tail holds and Apply brings
			p.follow(x, ended("todo-app", "r7", 7))
		}
		var asking sync.WaitGroup
		asking.Go(func() {
			for n := range 20 {
				p.follow(x, ran("todo-app", fmt.Sprintf("r%d", n), n))
			}
		})
		for range 4 {
			asking.Go(func() {
				known := x.Sequence()
				book, err := x.Book(t.Context(), "todo-app")
				if err != nil || book.Sequence() < known {
					t.Errorf("the book does not reach %d: %v", known, err)
				}
				if err := x.Save(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		asking.Wait()
		p.before = nil
		same(t.Context(), t, "loaded", p.into(x), "todo-app", p)
	}
}

func TestEventThatComesAfterTheTailIsInTheBook(t *testing.T) {
	store, _ := newStore(t)
	p := &tape{}
	p.add(ran("todo-app", "r1", 1))
	must(t, loaded(t, store, p).Save(t.Context()))
	x := loaded(t, store, p)
	p.after = func() {
		e := p.add(ran("todo-app", "r2", 2))
		x.Apply(e.state, e.sequence)
	}
	_, err := x.Book(t.Context(), "todo-app")
	must(t, err)
	same(t.Context(), t, "loaded", x, "todo-app", p)
}

func TestBookNeverChanges(t *testing.T) {
	p := &tape{}
	p.add(ran("todo-app", "r1", 1))
	p.add(completed("todo-app", "r1", 1))
	x := p.index()
	book, err := x.Book(t.Context(), "todo-app")
	must(t, err)
	entries, versions := book.Entries(), book.Versions()
	p.add(ended("todo-app", "r1", 1)) // voids both
	p.into(x)
	if !slices.Equal(book.Entries(), entries) || !slices.Equal(book.Versions(), versions) {
		t.Errorf("the book has become %+v, %+v", book.Entries(), book.Versions())
	}
}

func TestBookThatCannotBeLoadedIsLoadedNextTime(t *testing.T) {
	store, _ := newStore(t)
	p := &tape{}
	p.add(ran("todo-app", "r1", 1))
	must(t, loaded(t, store, p).Save(t.Context()))
	x := loaded(t, store, p)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := x.Book(ended, "todo-app"); err == nil || !strings.Contains(err.Error(), "todo-app") {
		t.Errorf("the error is %v, want one about todo-app", err)
	}
	same(t.Context(), t, "the second time", x, "todo-app", p)
}

func TestBookThatNobodyAsksForIsForgotten(t *testing.T) {
	store, _ := newStore(t)
	p := &tape{}
	x := ledger.NewIndex(ledger.Environment{}, store, p.Tail)
	e := p.add(ran("todo-app", "r1", 1))
	x.Apply(e.state, e.sequence)
	for _, saves := range []int{1, 2} { // it is kept over a Save, and over the next one because of the question
		same(t.Context(), t, "asked for", x, "todo-app", p)
		if p.tails != 0 {
			t.Errorf("the book was loaded, although it was in memory")
		}
		for range saves {
			must(t, x.Save(t.Context()))
		}
	}
	same(t.Context(), t, "asked for again", x, "todo-app", p)
	if p.tails != 1 {
		t.Errorf("%d tails were read, want 1", p.tails)
	}
}

// An environment with 10,000 apps of three services each stays far below 1 MiB, the
// largest value that there can be.
func TestEnvironmentStaysSmall(t *testing.T) {
	store, nc := newStore(t)
	x := ledger.NewIndex(ledger.Environment{}, store, nil)
	const apps = 10_000
	for n := range apps {
		app := fmt.Sprintf("customer-%d-app", n*7919%apps)
		id := newID(t)
		s := rollout.State{ID: id, Status: rollout.Running, Event: rollout.Event{Type: rollout.Created}, Release: rollout.Release{App: app}}
		for _, service := range []string{"web", "search", "billing"} {
			s.Release.Services = append(s.Release.Services, rollout.Service{Name: fmt.Sprintf("%s-%s", app, service)})
		}
		x.Apply(s, uint64(2*n+1))
		s.Event.Type, s.Status = rollout.Opened, rollout.Superseded
		if n%100 == 0 {
			s.Status = rollout.Running
		}
		x.Apply(s, uint64(2*n+2))
	}
	must(t, x.SaveApp(t.Context(), "customer-1-app"))
	js, err := jetstream.New(nc)
	must(t, err)
	kv, err := js.KeyValue(t.Context(), protocol.LedgerBucket)
	must(t, err)
	entry, err := kv.Get(t.Context(), "environment")
	must(t, err)
	t.Logf("the environment takes %d bytes", len(entry.Value()))
	if len(entry.Value()) > 512<<10 {
		t.Errorf("the environment takes %d bytes, want at most half of 1 MiB", len(entry.Value()))
	}
	if got := loaded(t, store, &tape{}); got.Owner("customer-7-app-web") != "customer-7-app" || len(got.Open()) != apps/100 {
		t.Errorf("the environment is not what was saved")
	}
}
