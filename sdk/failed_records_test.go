package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// picky is a target that does not take certain numbers, so many times.
type picky struct {
	*target
	mu    sync.Mutex
	bad   map[int]int // times that a number is refused; less than 0: always
	tries map[int]int // of these
}

func newPicky(bad map[int]int) *picky {
	return &picky{target: newTarget(), bad: maps.Clone(bad), tries: make(map[int]int)}
}

func (p *picky) refuses(n int) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	left, isBad := p.bad[n]
	if !isBad {
		return nil
	}
	p.tries[n]++
	if left == 0 {
		return nil
	}
	p.bad[n]--
	return fmt.Errorf("%d is refused", n)
}

func (p *picky) takeBatch(ctx context.Context, run *sdk.Run, b sdk.Batch[int]) error {
	for _, r := range b.Records {
		if err := p.refuses(r.Value); err != nil {
			return err
		}
	}
	return p.take(ctx, run, b)
}

func (p *picky) takeOne(ctx context.Context, run *sdk.Run, r sdk.Record[int]) error {
	if err := p.refuses(r.Value); err != nil {
		return err
	}
	return p.take(ctx, run, sdk.Batch[int]{Records: []sdk.Record[int]{r}})
}

// backfills are the same with a function for a batch and one for a record.
func (p *picky) backfills() map[string]func(sdk.Backfill[int]) sdk.Backfill[int] {
	return map[string]func(sdk.Backfill[int]) sdk.Backfill[int]{
		"batch": func(b sdk.Backfill[int]) sdk.Backfill[int] { b.Batch = p.takeBatch; return b },
		"each":  func(b sdk.Backfill[int]) sdk.Backfill[int] { b.Each = p.takeOne; return b },
	}
}

// failedRecords are all that are put aside, by cursor.
func (s *stage) failedRecords() map[string]protocol.FailedRecord {
	s.t.Helper()
	all := make(map[string]protocol.FailedRecord)
	keys, err := s.failedRecordsBucket().ListKeys(s.within())
	must(s.t, err)
	for k := range keys.Keys() {
		entry, err := s.failedRecordsBucket().Get(s.within(), k)
		must(s.t, err)
		var r protocol.FailedRecord
		must(s.t, json.Unmarshal(entry.Value(), &r))
		all[r.Cursor] = r
	}
	return all
}

func cursors(all map[string]protocol.FailedRecord) []string {
	return slices.Sorted(maps.Keys(all))
}

func eachWay(t *testing.T, test func(t *testing.T, kind string)) {
	for _, kind := range []string{"batch", "each"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			test(t, kind)
		})
	}
}

func TestWhatFailsForAWhileIsTriedAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, kind string) {
		s, to := newStage(t), newPicky(map[int]int{7: 2, 150: 1})
		b := to.backfills()[kind](sdk.Backfill[int]{Source: numbers(200), BatchSize: 50, Retries: 2, Backoff: time.Millisecond})
		mustDone(t, s.attempt(start(protocol.Online, 1), b.Run))
		to.mustHave(t, 200)
		if to.tries[7] != 3 || to.tries[150] != 2 {
			t.Errorf("tried %v times", to.tries)
		}
	})
}

func TestTheFirstRecordThatStillFailsStopsTheScript(t *testing.T) {
	eachWay(t, func(t *testing.T, kind string) {
		s, to := newStage(t), newPicky(map[int]int{120: -1})
		b := to.backfills()[kind](sdk.Backfill[int]{Source: numbers(1_000_000), BatchSize: 50, InFlight: 2, Retries: 2, Backoff: time.Millisecond})
		m := start(protocol.Online, 1)
		h := mustFail(t, s.attempt(m, b.Run), "120 is refused")
		want := map[string]string{"batch": `backfill: record "101" to "150"`, "each": `backfill: record "120"`}[kind]
		if to.tries[120] != 3 || !strings.HasPrefix(h.Error.Message, want) || h.Error.Retry != nil {
			t.Errorf("tried %v times, answered %s", to.tries, h.msg.Data)
		}
		if n := to.seen(); n > 100_000 {
			t.Errorf("%d records came", n)
		}

		to.bad[120] = 0
		m.Attempt = 2
		b.Source = numbers(1000)
		mustDone(t, s.attempt(m, b.Run))
	})
}

func TestWhatFailsForGoodIsNotTriedAgain(t *testing.T) {
	s, tries := newStage(t), 0
	b := sdk.Backfill[int]{Source: numbers(10), Backoff: time.Millisecond, Each: func(context.Context, *sdk.Run, sdk.Record[int]) error {
		tries++
		return sdk.Permanent(errors.New("no such table"))
	}}
	if h := mustFail(t, s.attempt(start(protocol.Online, 1), b.Run), "no such table"); h.Error.Retry == nil || *h.Error.Retry || tries != 1 {
		t.Errorf("%d tries, answered %s", tries, h.msg.Data)
	}
}

// A record that still fails is put aside, those around it get through. A start for the
// records that were put aside deals with these alone.
func TestRecordsArePutAsideAndTriedAgain(t *testing.T) {
	eachWay(t, func(t *testing.T, kind string) {
		s, to := newStage(t), newPicky(map[int]int{7: -1, 8: -1, 120: -1})
		m := start(protocol.Online, 1)
		b := to.backfills()[kind](sdk.Backfill[int]{Source: numbers(200), BatchSize: 50, Retries: 1, Backoff: time.Millisecond, PutAside: true})
		if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 197 || h.PutAside != 3 {
			t.Errorf("answered %s", h.msg.Data)
		}
		all := s.failedRecords()
		if got := cursors(all); !slices.Equal(got, []string{"120", "7", "8"}) || to.seen() != 197 {
			t.Errorf("put aside are %v, %d came", got, to.seen())
		}
		r := all["7"]
		if r.Step != m.Step || r.Attempt != 1 || r.Error != "7 is refused" || string(r.Record) != "7" || r.Tries != 2 || r.Partition != "" || time.Since(r.At) > time.Minute {
			t.Errorf("put aside %+v", r)
		}
		if _, err := s.failedRecordsBucket().Get(s.within(), protocol.FailedRecordKey(rollout, m.Step, false, "", "", "7")); err != nil {
			t.Error(err)
		}

		m.Attempt, m.FailedRecords = 2, true
		to.bad[7] = 0
		if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 1 || h.PutAside != 2 {
			t.Errorf("the second time answered %s", h.msg.Data)
		}
		all = s.failedRecords()
		if got := cursors(all); !slices.Equal(got, []string{"120", "8"}) || all["8"].Attempt != 2 {
			t.Errorf("put aside are %v", all)
		}

		m.Attempt = 3
		b.PutAside = false // it tries them all, and then fails
		to.bad[8] = 0
		mustFail(t, s.attempt(m, b.Run), "1 of the records that were put aside could still not be dealt with")
		to.bad[120] = 0
		m.Attempt = 4
		if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 1 || h.PutAside != 0 || len(s.failedRecords()) != 0 {
			t.Errorf("at last answered %s", h.msg.Data)
		}
		if to.mustHave(t, 200) != 0 {
			t.Error("some came again")
		}
	})
}

// With one more than the maximum the script fails; what is put aside by then stays, and is
// counted once however often it fails.
func TestNoMoreThanSoManyArePutAside(t *testing.T) {
	bad := make(map[int]int)
	for n := 20; n < 30; n++ {
		bad[n] = -1
	}
	s, to := newStage(t), newPicky(bad)
	m := start(protocol.Online, 1)
	b := to.backfills()["each"](sdk.Backfill[int]{Source: numbers(100), BatchSize: 10, InFlight: 1, Retries: -1, PutAside: true, MaxPutAside: 4})
	mustFail(t, s.attempt(m, b.Run), `too many records could not be dealt with: at most 4 are put aside; the last one is record "24": 24 is refused`)
	m.Attempt = 2
	mustFail(t, s.attempt(m, b.Run), `record "24"`) // 20 to 23 are there already
	if got := cursors(s.failedRecords()); !slices.Equal(got, []string{"20", "21", "22", "23"}) {
		t.Errorf("put aside are %v", got)
	}
	m.Attempt, b.MaxPutAside = 3, 10
	to.bad[21] = 0 // comes again, and is dealt with
	if h := mustDone(t, s.attempt(m, b.Run)); h.PutAside != 9 || len(s.failedRecords()) != 9 {
		t.Errorf("answered %s", h.msg.Data)
	}
}

func TestARecordThatIsTooLargeIsPutAsideWithoutItself(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	refuse := true
	b := sdk.Backfill[string]{Source: sdk.Source[string]{Records: oneRecord(strings.Repeat("x", 2_000_000))}, Retries: -1, PutAside: true}
	b.Each = func(context.Context, *sdk.Run, sdk.Record[string]) error {
		if refuse {
			return errors.New(strings.Repeat("refused", 10))
		}
		return nil
	}
	mustDone(t, s.attempt(m, b.Run))
	r := s.failedRecords()["1"]
	if string(r.Record) != "null" || !strings.Contains(r.Error, "kept without the record, which is 2000002 bytes long") {
		t.Errorf("put aside %+v", r)
	}
	refuse = false
	m.Attempt, m.FailedRecords = 2, true
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 0 || h.PutAside != 1 {
		t.Errorf("answered %s", h.msg.Data)
	}

	unwritable := sdk.Backfill[func()]{Source: sdk.Source[func()]{Records: oneRecord(func() {})}, Retries: -1, PutAside: true}
	unwritable.Each = func(context.Context, *sdk.Run, sdk.Record[func()]) error { return errors.New("refused") }
	m = start(protocol.Online, 1)
	m.Rollout = "other"
	mustDone(t, s.attempt(m, unwritable.Run))
	if r := s.failedRecords()["1"]; string(r.Record) != "null" || r.Error == "" {
		t.Errorf("put aside %+v", r)
	}
}

// Backfills of one script keep what they put aside apart, and what they tell together.
func TestSeveralBackfillsOfAScript(t *testing.T) {
	s := newStage(t)
	first, second := newPicky(map[int]int{3: -1}), newPicky(map[int]int{3: -1, 4: -1})
	script := func(ctx context.Context, run *sdk.Run) error {
		a := sdk.Backfill[int]{Name: "first", Source: numbers(10), Each: first.takeOne, Retries: -1, PutAside: true}
		b := sdk.Backfill[int]{Name: "second", Source: numbers(20), Each: second.takeOne, Retries: -1, PutAside: true}
		if err := a.Run(ctx, run); err != nil {
			return err
		}
		return b.Run(ctx, run)
	}
	m := start(protocol.Online, 1)
	if h := mustDone(t, s.attempt(m, script)); h.Items != 27 || h.PutAside != 3 {
		t.Errorf("answered %s", h.msg.Data)
	}
	m.Attempt, m.FailedRecords = 2, true
	first.bad[3], second.bad[4] = 0, 0
	if h := mustDone(t, s.attempt(m, script)); h.Items != 2 || h.PutAside != 1 {
		t.Errorf("answered %s", h.msg.Data)
	}
	m.Attempt, m.FailedRecords = 3, false
	if h := mustDone(t, s.attempt(m, script)); h.Items != 29 || h.PutAside != 1 { // nothing to do
		t.Errorf("answered %s", h.msg.Data)
	}
}

// lone is a source of one record in each of some partitions, by the partition's name.
func lone(cursors map[string]string) sdk.Source[string] {
	return sdk.Source[string]{
		Partitions: func(context.Context, *sdk.Run) ([]string, error) { return slices.Sorted(maps.Keys(cursors)), nil },
		Records: func(_ context.Context, _ *sdk.Run, partition, after string) iter.Seq2[sdk.Record[string], error] {
			return func(yield func(sdk.Record[string], error) bool) {
				if after == "" {
					yield(sdk.Record[string]{Value: partition, Cursor: cursors[partition]}, nil)
				}
			}
		},
	}
}

// Records are apart however alike the texts are by which they are known: none takes the place of
// another one, and each is dealt with in the end.
func TestRecordsThatLookAlikeAreKeptApart(t *testing.T) {
	s := newStage(t)
	var refuse atomic.Bool
	var mu sync.Mutex
	var came []string
	each := func(_ context.Context, run *sdk.Run, r sdk.Record[string]) error {
		if refuse.Load() {
			return errors.New("refused")
		}
		mu.Lock()
		defer mu.Unlock()
		came = append(came, r.Value+"|"+r.Cursor)
		return nil
	}
	script := func(ctx context.Context, run *sdk.Run) error {
		all := []sdk.Backfill[string]{
			{Source: lone(map[string]string{"a": "b\x00c", "a\x00b": "c", "todos\x00a": "d"})},
			{Name: "todos", Source: lone(map[string]string{"a": "d"})},
		}
		for _, b := range all {
			b.Each, b.PutAside, b.Retries = each, true, -1
			if err := b.Run(ctx, run); err != nil {
				return err
			}
		}
		return nil
	}
	m := start(protocol.Online, 1)
	refuse.Store(true)
	if h := mustDone(t, s.attempt(m, script)); h.Items != 0 || h.PutAside != 4 {
		t.Errorf("answered %s", h.msg.Data)
	}
	refuse.Store(false)
	m.Attempt, m.FailedRecords = 2, true
	if h := mustDone(t, s.attempt(m, script)); h.Items != 4 || h.PutAside != 0 {
		t.Errorf("the second time answered %s", h.msg.Data)
	}
	slices.Sort(came)
	if want := []string{"a\x00b|c", "a|b\x00c", "a|d", "todos\x00a|d"}; !slices.Equal(came, want) {
		t.Errorf("%q came, want %q", came, want)
	}
}

// What another build has put aside under a key of its own is dealt with all the same.
func TestARecordUnderAnotherKeyIsDealtWith(t *testing.T) {
	s, to := newStage(t), newPicky(map[int]int{7: -1})
	m := start(protocol.Online, 1)
	b := to.backfills()["each"](sdk.Backfill[int]{Source: numbers(10), Retries: -1, PutAside: true})
	mustDone(t, s.attempt(m, b.Run))
	bucket, now := s.failedRecordsBucket(), protocol.FailedRecordKey(rollout, m.Step, false, "", "", "7")
	entry, err := bucket.Get(s.within(), now)
	must(t, err)
	_, err = bucket.Put(s.within(), key(m)+".0123456789abcdef", entry.Value())
	must(t, err)
	must(t, bucket.Purge(s.within(), now))
	m.Attempt, m.FailedRecords = 2, true
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 0 || h.PutAside != 1 || len(s.failedRecords()) != 1 {
		t.Errorf("answered %s", h.msg.Data)
	}
	to.bad[7], m.Attempt = 0, 3
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 1 || h.PutAside != 0 || len(s.failedRecords()) != 0 {
		t.Errorf("at last answered %s, put aside %v", h.msg.Data, s.failedRecords())
	}
	to.mustHave(t, 10)
}

func TestByHandWhatFailsIsOnlyCounted(t *testing.T) {
	s, to := newStage(t), newPicky(map[int]int{3: -1, 4: -1})
	s.run(setup(sdk.Backfill[int]{Source: numbers(10), Each: to.takeOne, Retries: -1, PutAside: true}.Run))
	var answer protocol.Answer
	must(t, s.r.Request(s.within(), "deployment-todo-search-0.0.1-online-start", nil, &answer))
	if !answer.Done || answer.PutAside != 2 || len(s.failedRecords()) != 0 {
		t.Errorf("answered %+v, put aside %v", answer, s.failedRecords())
	}
}

func itoa(n int) string { return strconv.Itoa(n) }

// behind is a bucket that is listed by a replica which does not know yet of what was put into
// it last; the second time it does.
type behind struct {
	jetstream.KeyValue
	lists int
}

type cutWatch struct {
	jetstream.KeyWatcher
	updates chan jetstream.KeyValueEntry
}

func (w *cutWatch) Updates() <-chan jetstream.KeyValueEntry { return w.updates }

func (b *behind) Watch(ctx context.Context, keys string, opts ...jetstream.WatchOpt) (jetstream.KeyWatcher, error) {
	w, err := b.KeyValue.Watch(ctx, keys, opts...)
	if b.lists++; b.lists > 1 || err != nil {
		return w, err
	}
	var all []jetstream.KeyValueEntry
	for entry := range w.Updates() {
		if entry == nil {
			break
		}
		all = append(all, entry)
	}
	cut := &cutWatch{w, make(chan jetstream.KeyValueEntry, len(all)+1)}
	for _, entry := range all[:max(len(all)-1, 0)] {
		cut.updates <- entry
	}
	cut.updates <- nil
	return cut, nil
}

// In a cluster a list may be made by a replica that is behind: what it lacks is found all the
// same, also when it is only known there that a record is not put aside any more.
func TestRecordsAreCountedAsTheLeaderKnowsThem(t *testing.T) {
	s, to := newStage(t), newPicky(map[int]int{7: -1, 8: -1, 120: -1})
	m := start(protocol.Online, 1)
	b := to.backfills()["each"](sdk.Backfill[int]{Source: numbers(200), BatchSize: 50, Retries: 1, Backoff: time.Millisecond, PutAside: true})
	for attempt, want := range []int{3, 2} {
		m.Attempt, m.FailedRecords = attempt+1, attempt > 0
		mustDone(t, s.attempt(m, func(ctx context.Context, run *sdk.Run) error {
			if err := b.Run(ctx, run); err != nil {
				return err
			}
			n, err := sdk.CountPutAside(ctx, run, func(kv jetstream.KeyValue) jetstream.KeyValue { return &behind{KeyValue: kv} })
			if n != want {
				t.Errorf("attempt %d: %d are put aside, want %d", m.Attempt, n, want)
			}
			return err
		}))
		to.bad[120] = 0 // the last one
	}
}
