package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

func TestPagesGoThroughAllRolloutsNewestFirst(t *testing.T) {
	t.Parallel()
	const n, apps = 3_000, 30
	j, nc, ids := many(t, n, apps)
	b := &bench{Journal: j, t: t, nc: nc}
	// Old rollouts to which something has happened lately are still old.
	for i := range 40 {
		r, err := j.Load(t.Context(), fmt.Sprintf("app-%d", i%apps), ids[i])
		b.must(err)
		_, err = j.Append(t.Context(), r.State, r.Sequence)
		b.must(err)
	}
	newest := slices.Clone(ids)
	slices.Reverse(newest)
	pages := func(app string, want []string, limit int) {
		t.Helper()
		var got []string
		for before, more := "", true; more; {
			var page []journal.Ref
			var err error
			page, more, err = j.Page(t.Context(), app, before, limit)
			b.must(err)
			if len(page) == 0 || len(page) > limit {
				t.Fatalf("a page holds %d rollouts", len(page))
			}
			for _, ref := range page {
				got = append(got, ref.ID)
			}
			before = page[len(page)-1].ID
		}
		if !slices.Equal(got, want) {
			t.Errorf("the pages of %q hold %d rollouts, want %d, or another order", app, len(got), len(want))
		}
	}
	pages("", newest, 700)
	pages("", newest, 999)
	var own []string
	for i := 7; i < n; i += apps {
		own = append([]string{ids[i]}, own...)
	}
	pages("app-7", own, 9)
	pages("app-7", own, len(own))
	if _, _, err := j.Page(t.Context(), "", "none", 10); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("the page after no rollout gives %v, want ErrNotFound", err)
	}
	if page, more, err := j.Page(t.Context(), "none", "", 10); len(page) > 0 || more || err != nil {
		t.Errorf("the page of no app is %v, %v, %v", page, more, err)
	}
}

func TestRolloutIsFoundByTheBeginningOfItsID(t *testing.T) {
	b := newBench(t)
	first, _ := b.begin("todo-app")
	second, _ := b.begin("shop")
	find := func(prefix string, limit int, want ...journal.Ref) {
		t.Helper()
		got, err := b.Find(t.Context(), prefix, limit)
		b.must(err)
		if !slices.Equal(got, want) {
			t.Errorf("%q finds %v, want %v", prefix, got, want)
		}
	}
	one, two := journal.Ref{App: "todo-app", ID: first.ID}, journal.Ref{App: "shop", ID: second.ID}
	find(first.ID, 2, one)
	find(second.ID[:len(second.ID)-1], 2, two)
	find(first.ID[:6], 2, two, one)
	find(first.ID[:6], 1, two)
	find(first.ID+"0", 2)
	find("none", 2)
	find("*", 2)
	find(first.ID+".>", 2)
}

// tail reads a tail and gives its sequences.
func (b *bench) tail(app string, after uint64) []uint64 {
	b.t.Helper()
	var sequences []uint64
	b.must(b.Tail(b.t.Context(), app, after, func(s rollout.State, sequence uint64) {
		if s.Release.App != app {
			b.t.Errorf("the tail of %s holds an event of %s", app, s.Release.App)
		}
		sequences = append(sequences, sequence)
	}))
	return sequences
}

func TestTailHoldsWhatComesAfter(t *testing.T) {
	b := newBench(t)
	if got := b.tail("todo-app", 0); len(got) != 0 {
		t.Errorf("the tail of nothing is %v", got)
	}
	var want []uint64
	states := make(map[uint64]rollout.State)
	for range 5 { // of which each ends after the next one has begun
		s, sequence := b.begin("todo-app")
		want = append(want, sequence)
		states[sequence] = s
		b.begin(fmt.Sprintf("shop-%d", sequence))
		if len(want) > 1 {
			before := want[len(want)-2]
			if s, open := states[before]; open {
				want = append(want, b.end(s, before))
			}
		}
	}
	b.must(b.nc.Publish("golive.rollout.todo-app.by-hand", []byte("no event")))
	b.must(b.nc.Publish("golive.rollout.todo-app.by-hand", []byte("{}")))
	b.must(b.nc.Flush())
	for i, after := range append([]uint64{0}, want...) {
		if got := b.tail("todo-app", after); !slices.Equal(got, want[i:]) {
			t.Errorf("after %d come %v, want %v", after, got, want[i:])
		}
	}
	if got := b.tail("todo-app", 1_000); len(got) != 0 {
		t.Errorf("after the end come %v", got)
	}
}

func TestReadsEndWithTheirContext(t *testing.T) {
	b := newBench(t)
	s, _ := b.begin("todo-app")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := b.History(ended, "todo-app", s.ID); !errors.Is(err, context.Canceled) {
		t.Errorf("the history ends with %v, want %v", err, context.Canceled)
	}
	if err := b.Tail(ended, "todo-app", 0, func(rollout.State, uint64) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("the tail ends with %v, want %v", err, context.Canceled)
	}
}

func TestLongHistoryIsReadInBatches(t *testing.T) {
	b := newBench(t)
	s, sequence := b.begin("todo-app")
	want := []uint64{sequence}
	s.Event.Type = rollout.StepBroke // the first plan of a rollout is stored once
	for range 600 {
		var err error
		sequence, err = b.Append(t.Context(), s, sequence)
		b.must(err)
		want = append(want, sequence)
		b.must(b.nc.Publish(protocol.AnswerSubject(s.ID, 1, 1, false), nil)) // between the events
	}
	records, err := b.History(t.Context(), "todo-app", s.ID)
	b.must(err)
	var got []uint64
	for _, r := range records {
		got = append(got, r.Sequence)
	}
	if !slices.Equal(got, want) {
		t.Errorf("the history holds %d events, want %d", len(got), len(want))
	}
	if got := b.tail("todo-app", want[300]); !slices.Equal(got, want[301:]) {
		t.Errorf("the tail holds %d events, want 300", len(got))
	}
	for range 40 { // more than are looked at one by one
		b.must(b.nc.Publish(protocol.AnswerSubject(s.ID, 1, 2, false), nil))
	}
	b.must(b.nc.Flush())
	if last, err := b.Last(t.Context()); err != nil || last != sequence {
		t.Errorf("the newest event is at %d, %v, want %d", last, err, sequence)
	}
}

// A stream takes 1,000 consumers by default, and forgets those that nobody uses after
// seconds only.
func TestReadsLeaveNoConsumersBehind(t *testing.T) {
	b := newBench(t)
	s, _ := b.begin("todo-app")
	for range 10 {
		_, err := b.History(t.Context(), "todo-app", s.ID)
		b.must(err)
		_, _, err = b.Page(t.Context(), "", "", 10)
		b.must(err)
		b.tail("todo-app", 0)
	}
	info, err := b.stream().Info(t.Context())
	b.must(err)
	if info.State.Consumers != 0 {
		t.Errorf("%d consumers are left", info.State.Consumers)
	}
}

// In a cluster a consumer, or a read that any replica answers, may be behind: what was
// appended is read all the same, on whatever server.
func TestReadsInAClusterSeeWhatWasAppended(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	cluster := relaytest.StartCluster(t, 3)
	nc := cluster.Connect().Conn()
	j, err := journal.Make(t.Context(), nc, 3)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Journal: j, t: t, nc: nc}
	other, err := journal.Make(t.Context(), cluster.Connect().Conn(), 3)
	b.must(err)
	begin := time.Now()
	for i := range 100 {
		s, sequence := b.begin("todo-app")
		end := b.end(s, sequence)
		records, err := other.History(t.Context(), "todo-app", s.ID)
		b.must(err)
		if len(records) != 2 || records[1].Sequence != end {
			t.Fatalf("try %d: the history is %+v", i, records)
		}
		if got := (&bench{Journal: other, t: t}).tail("todo-app", sequence); !slices.Equal(got, []uint64{end}) {
			t.Fatalf("try %d: the tail is %v, want %d", i, got, end)
		}
		page, _, err := other.Page(t.Context(), "", "", 1)
		b.must(err)
		if len(page) != 1 || page[0].ID != s.ID {
			t.Fatalf("try %d: the page is %v, want %s", i, page, s.ID)
		}
		if last, err := other.Last(t.Context()); err != nil || last != end {
			t.Fatalf("try %d: the newest event is at %d, %v, want %d", i, last, err, end)
		}
	}
	t.Logf("100 rollouts took %s", time.Since(begin))
}

// A read that any replica may answer can miss what was just stored.
func TestReadsComeFromTheLeader(t *testing.T) {
	b := newBench(t)
	if config := b.stream().CachedInfo().Config; config.AllowDirect {
		t.Error("the stream lets any replica answer reads")
	}
}
