package journal_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

const patience = 20 * time.Second // of everything a test waits for

// bench is a journal on a bus of its own.
type bench struct {
	*journal.Journal
	t   *testing.T
	bus *relaytest.Bus
	nc  *nats.Conn
}

func newBench(t *testing.T) *bench {
	t.Helper()
	bus := relaytest.Start(t)
	nc := bus.Connect().Conn()
	j, err := journal.Make(t.Context(), nc, 1)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{Journal: j, t: t, bus: bus, nc: nc}
}

func (b *bench) must(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

// begun is the first state of a rollout of app.
func (b *bench) begun(app string) rollout.State {
	b.t.Helper()
	id, err := uuid.NewV7()
	b.must(err)
	s, err := rollout.Compile(id.String(), "test", time.Now().UTC(), rollout.Release{
		App: app, Version: "1.0.0", Strategy: rollout.Parallel, Setup: true,
	}, rollout.Facts{Ran: func(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false }})
	b.must(err)
	return s
}

// failed is the state after the setup script of s has failed.
func (b *bench) failed(s rollout.State) rollout.State {
	b.t.Helper()
	next, err := s.Apply(rollout.Event{Type: rollout.StepBroke, At: time.Now().UTC(), Step: s.Steps[0].ID, Attempt: 1})
	b.must(err)
	return next
}

func (b *bench) begin(app string) (rollout.State, uint64) {
	b.t.Helper()
	newest, err := b.NewestOf(b.t.Context(), app)
	b.must(err)
	s := b.begun(app)
	sequence, err := b.Begin(b.t.Context(), s, newest)
	b.must(err)
	return s, sequence
}

// within runs f with the patience of a test.
func (b *bench) within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(b.t.Context(), patience)
}

// until blocks until ok holds.
func (b *bench) until(what string, ok func() bool) {
	b.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-tick.C:
		case <-deadline:
			b.t.Fatalf("not within %s: %s", patience, what)
		}
	}
}

func TestOfTwoAppendsOneWins(t *testing.T) {
	b := newBench(t)
	s, sequence := b.begin("todo-app")
	next := b.failed(s)
	const writers = 8
	results := make(chan error, writers)
	var writing sync.WaitGroup
	for range writers {
		writing.Go(func() {
			_, err := b.Append(t.Context(), next, sequence)
			results <- err
		})
	}
	writing.Wait()
	won := 0
	for range writers {
		if err := <-results; err == nil {
			won++
		} else if !errors.Is(err, rollout.ErrConflict) {
			t.Errorf("the error is %v, want ErrConflict", err)
		}
	}
	if won != 1 {
		t.Errorf("%d appends after the same event won, want 1", won)
	}
	records, err := b.History(t.Context(), "todo-app", s.ID)
	b.must(err)
	if len(records) != 2 {
		t.Errorf("the history holds %d events, want 2", len(records))
	}
}

// A rollout that was begun, and has ended, is not begun once more by a request that comes late:
// what it follows on is the newest of the app, so that only its id tells.
func TestARolloutBeginsOnce(t *testing.T) {
	b := newBench(t)
	first := b.begun("todo-app")
	sequence, err := b.Begin(t.Context(), first, 0)
	b.must(err)
	ended, err := b.Append(t.Context(), b.failed(first), sequence)
	b.must(err)
	if _, err := b.Begin(t.Context(), first, ended); !errors.Is(err, rollout.ErrConflict) {
		t.Errorf("begin of a rollout that has ended gives %v, want ErrConflict", err)
	}
	r, err := b.Load(t.Context(), "todo-app", first.ID)
	b.must(err)
	if r.Sequence != ended {
		t.Errorf("the newest event is %d, want %d", r.Sequence, ended)
	}
}

func TestBeginIsConditionalOnTheWholeApp(t *testing.T) {
	b := newBench(t)
	s, sequence := b.begin("todo-app")
	b.begin("shop") // which is nobody's business
	for name, after := range map[string]uint64{"nothing": 0, "something later": sequence + 5} {
		if _, err := b.Begin(t.Context(), b.begun("todo-app"), after); !errors.Is(err, rollout.ErrConflict) {
			t.Errorf("begin after %s gives %v, want ErrConflict", name, err)
		}
	}
	ended, err := b.Append(t.Context(), b.failed(s), sequence)
	b.must(err)
	if _, err := b.Begin(t.Context(), b.begun("todo-app"), sequence); !errors.Is(err, rollout.ErrConflict) {
		t.Errorf("begin after what is not the newest gives %v, want ErrConflict", err)
	}
	if _, err := b.Begin(t.Context(), b.begun("todo-app"), ended); err != nil {
		t.Errorf("begin after the newest: %v", err)
	}
	// An app whose name begins alike is another app.
	if _, err := b.Begin(t.Context(), b.begun("todo"), 0); err != nil {
		t.Errorf("begin of another app: %v", err)
	}
}

// The stream takes the event, but tells nobody: the journal finds it by its id.
func TestEventWhoseAcknowledgementIsLostIsStored(t *testing.T) {
	relaytest.Long(t)
	t.Parallel() // it has to wait for what does not come
	b := newBench(t)
	js, err := jetstream.New(b.nc)
	b.must(err)
	stream, err := js.Stream(t.Context(), protocol.Stream)
	b.must(err)
	config := stream.CachedInfo().Config
	s, sequence := b.begin("todo-app")
	config.NoAck = true
	_, err = js.UpdateStream(t.Context(), config)
	b.must(err)
	ctx, cancel := b.within()
	defer cancel()
	stored, err := b.Append(ctx, b.failed(s), sequence)
	b.must(err)
	newest, err := b.Load(ctx, "todo-app", s.ID)
	b.must(err)
	if newest.State.Status != rollout.Failed || newest.Sequence != stored {
		t.Errorf("the newest state is %s at %d, the append gave %d", newest.State.Status, newest.Sequence, stored)
	}
}

func TestEventIsACloudEvent(t *testing.T) {
	b := newBench(t)
	s := b.begun("todo-app")
	sub, err := b.nc.SubscribeSync(protocol.RolloutSubject("todo-app", s.ID))
	b.must(err)
	_, err = b.Begin(t.Context(), s, 0)
	b.must(err)
	m, err := sub.NextMsg(patience)
	b.must(err)
	for header, want := range map[string]string{
		"ce-specversion": "1.0", "ce-type": "golive.rollout.created.v1", "ce-source": "/golive/apps/todo-app",
		"ce-subject": s.ID, "ce-time": s.Created.Format(time.RFC3339Nano), "content-type": "application/json", "ce-datacontenttype": "application/json",
	} {
		if got := m.Header.Get(header); got != want {
			t.Errorf("header %s is %q, want %q", header, got, want)
		}
	}
	if _, err := uuid.Parse(m.Header.Get("ce-id")); err != nil {
		t.Errorf("ce-id: %v", err)
	}
}

func TestReadsFindWhatWasAppended(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	if last, err := b.Last(ctx); err != nil || last != 0 {
		t.Errorf("the end of an empty journal is %d, %v", last, err)
	}
	if _, err := b.Load(ctx, "todo-app", "none"); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("loading what is not there gives %v, want ErrNotFound", err)
	}
	if refs, more, err := b.Page(ctx, "", "", 10); err != nil || len(refs) != 0 || more {
		t.Errorf("the list of an empty journal is %v, %v", refs, err)
	}
	if records, err := b.History(ctx, "todo-app", "none"); err != nil || len(records) != 0 {
		t.Errorf("the history of no rollout is %v, %v", records, err)
	}
	first, sequence := b.begin("todo-app")
	second, _ := b.begin("shop")
	ended, err := b.Append(ctx, b.failed(first), sequence)
	b.must(err)
	third, last := b.begin("todo-app")

	if got, err := b.Last(ctx); err != nil || got != last {
		t.Errorf("the end is %d, %v, want %d", got, err, last)
	}
	if got, err := b.NewestOf(ctx, "todo-app"); err != nil || got != last {
		t.Errorf("the newest event of the app is at %d, %v, want %d", got, err, last)
	}
	found, err := b.LoadAny(ctx, third.ID)
	b.must(err)
	if found.State.ID != third.ID || found.Sequence != last {
		t.Errorf("the rollout is %s at %d, want %s at %d", found.State.ID, found.Sequence, third.ID, last)
	}
	loaded, err := b.Load(ctx, "todo-app", first.ID)
	b.must(err)
	if loaded.Sequence != ended || loaded.State.Status != rollout.Failed {
		t.Errorf("the rollout is %s at %d, want failed at %d", loaded.State.Status, loaded.Sequence, ended)
	}
	records, err := b.History(ctx, "todo-app", first.ID)
	b.must(err)
	if len(records) != 2 || records[0].Sequence != sequence || records[1].Sequence != ended {
		t.Errorf("the history is %+v", records)
	}
	b.must(b.nc.Publish("golive.rollout.by-hand", []byte("no event")))
	b.must(b.nc.Flush())
	all, _, err := b.Page(ctx, "", "", 10)
	b.must(err)
	if want := []journal.Ref{{App: "todo-app", ID: third.ID}, {App: "shop", ID: second.ID}, {App: "todo-app", ID: first.ID}}; !slices.Equal(all, want) {
		t.Errorf("the list is %v, want %v", all, want)
	}
	one, _, err := b.Page(ctx, "shop", "", 10)
	b.must(err)
	if want := []journal.Ref{{App: "shop", ID: second.ID}}; !slices.Equal(one, want) {
		t.Errorf("the list of shop is %v, want %v", one, want)
	}
}

func TestJournalIsOpenedByManyAtOnce(t *testing.T) {
	bus := relaytest.Start(t)
	var opening sync.WaitGroup
	for range 8 {
		nc := bus.Connect().Conn()
		opening.Go(func() {
			if _, err := journal.Make(t.Context(), nc, 1); err != nil {
				t.Error(err)
			}
		})
	}
	opening.Wait()
}
