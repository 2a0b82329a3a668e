package sdk_test

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// numbers is a source of the numbers from 1 to n.
func numbers(n int) sdk.Source[int] {
	return sdk.Source[int]{
		Records: func(_ context.Context, _ *sdk.Run, _, after string) iter.Seq2[sdk.Record[int], error] {
			return func(yield func(sdk.Record[int], error) bool) {
				from, _ := strconv.Atoi(after) // empty: 0
				for i := from + 1; i <= n; i++ {
					if !yield(sdk.Record[int]{Value: i, Cursor: strconv.Itoa(i)}, nil) {
						return
					}
				}
			}
		},
		Count: func(context.Context, *sdk.Run) (int64, error) { return int64(n), nil },
	}
}

// target is where a backfill moves numbers to. It remembers every batch that came.
type target struct {
	mu      sync.Mutex
	batches []sdk.Batch[int]
	times   map[int]int // that a number came
}

func newTarget() *target { return &target{times: make(map[int]int)} }

func (t *target) take(_ context.Context, _ *sdk.Run, b sdk.Batch[int]) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.batches = append(t.batches, b)
	for _, r := range b.Records {
		t.times[r.Value]++
	}
	return nil
}

// mustHave fails the test unless all numbers from 1 to n came, and no others. It gives how
// often one came again.
func (t *target) mustHave(tt *testing.T, n int) (repeats int) {
	tt.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := 1; i <= n; i++ {
		if t.times[i] == 0 {
			tt.Fatalf("%d did not come", i)
		}
		repeats += t.times[i] - 1
	}
	if len(t.times) != n {
		tt.Fatalf("%d numbers came, want %d", len(t.times), n)
	}
	return repeats
}

// seen gives how many numbers have come.
func (t *target) seen() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.times)
}

// ids are those of all batches that came, by their first number.
func (t *target) ids(tt *testing.T) map[int]string {
	tt.Helper()
	t.mu.Lock()
	defer t.mu.Unlock()
	all := make(map[int]string)
	for _, b := range t.batches {
		first := b.Records[0].Value
		if id, there := all[first]; there && id != b.ID {
			tt.Errorf("the batch from %d came with the IDs %s and %s", first, id, b.ID)
		}
		all[first] = b.ID
	}
	return all
}

// attempt runs a script as an attempt of a step, and gives the answer.
func (s *stage) attempt(m protocol.StartMessage, do sdk.Script) heard {
	s.t.Helper()
	it := sdk.SetupService{Service: m.Service, Version: m.Version, Online: do}
	if m.Revert {
		it = sdk.SetupService{Service: m.Service, Version: m.Version, RevertOnline: do}
	}
	running := s.run(it)
	defer running.stop()
	answers := s.accept(m)
	defer answers.stop()
	s.send(m)
	return answers.next()
}

// A partition that the source no longer has is left alone, and one that it has again goes on
// where it was.
func TestAPartitionThatTheSourceNoLongerHas(t *testing.T) {
	const n, parts = 1000, 4
	s, to := newStage(t), newTarget()
	whole, has, down := parted(n, parts), parts, true
	var read sync.Map // the partitions that were read from
	b := sdk.Backfill[int]{BatchSize: 50, InFlight: 1, Retries: -1, Source: sdk.Source[int]{
		Partitions: func(ctx context.Context, run *sdk.Run) ([]string, error) {
			names, err := whole.Partitions(ctx, run)
			return names[parts-has:], err
		},
		Records: func(ctx context.Context, run *sdk.Run, partition, after string) iter.Seq2[sdk.Record[int], error] {
			read.Store(partition, true)
			return whole.Records(ctx, run, partition, after)
		},
	}}
	b.Batch = func(ctx context.Context, run *sdk.Run, batch sdk.Batch[int]) error {
		if down && to.seen() == 50 {
			return errors.New("the target is down")
		}
		return to.take(ctx, run, batch)
	}
	b.After = []sdk.Check{{Name: "all is there", Do: func(context.Context, *sdk.Run) error {
		if to.seen() < n {
			return errors.New("not all")
		}
		return nil
	}}}
	m := start(protocol.Online, 1)
	mustFail(t, s.attempt(m, b.Run), "the target is down") // in the first partition

	has, down = parts-1, false
	read.Clear()
	m.Attempt = 2
	mustFail(t, s.attempt(m, b.Run), "not all")
	if _, wrong := read.Load("0"); wrong || to.seen() != 50+n*(parts-1)/parts {
		t.Errorf("the partition was read from: %t, and %d numbers have come", wrong, to.seen())
	}

	has = parts
	m.Attempt = 3
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != n || to.mustHave(t, n) != 0 {
		t.Errorf("answered %s, and some came again", h.msg.Data)
	}
}

// estimated is a source that gives the numbers from 1 to n, and has counted others.
func estimated(n int, counted int64) sdk.Source[int] {
	source := numbers(n)
	source.Count = func(context.Context, *sdk.Run) (int64, error) { return counted, nil }
	return source
}

// A source that has given fewer records than it counted is told of, in the answer and in the
// log; one that has given none fails the script. What comes of the checks is as ever.
func TestASourceThatGivesFewerThanItCounted(t *testing.T) {
	s := newStage(t)
	lines := s.listen(protocol.LogSubject(rollout))
	attempt := 0
	run := func(b sdk.Backfill[int]) heard {
		attempt++
		m := start(protocol.Online, attempt)
		b.Batch, b.Name = newTarget().take, "n"+strconv.Itoa(attempt)
		return s.attempt(m, func(ctx context.Context, run *sdk.Run) error {
			run.Progress(0, 0, "by night")
			return b.Run(ctx, run)
		})
	}
	h := mustDone(t, run(sdk.Backfill[int]{Source: estimated(7, 10)}))
	said := "the source of n1 counted 10 records and gave 7"
	want := []protocol.CheckResult{{Name: "every record of n1 came", Error: said}}
	if h.Items != 7 || h.Note != "by night, "+said || !slices.Equal(h.Checks, want) {
		t.Errorf("answered %s", h.msg.Data)
	}
	for line := receive(t, lines, "a line of the log"); !strings.Contains(string(line.Data), said); {
		line = receive(t, lines, "what the log says of it")
	}
	mustFail(t, run(sdk.Backfill[int]{Source: estimated(0, 10)}), "backfill n2: the source of n2 counted 10 records and gave 0: leave its Count out")
	mustFail(t, run(sdk.Backfill[int]{Source: estimated(0, 10), After: []sdk.Check{{Name: "equal", Do: func(context.Context, *sdk.Run) error {
		return errors.New("2 and 0 are not equal")
	}}}}), `backfill n3: check "equal": 2 and 0 are not equal`)
	for counted, given := range map[int64]int{0: 0, 7: 7, 5: 7} { // it has grown meanwhile
		if h := mustDone(t, run(sdk.Backfill[int]{Source: estimated(given, counted)})); h.Note != "by night" || h.Checks != nil {
			t.Errorf("of %d, counted as %d: answered %s", given, counted, h.msg.Data)
		}
	}
	uncounted := estimated(0, 0)
	uncounted.Count = nil
	mustDone(t, run(sdk.Backfill[int]{Source: uncounted}))
}

// All attempts count together: one that goes on where another was cut off misses nothing.
func TestWhatEarlierAttemptsHaveDoneIsNotMissed(t *testing.T) {
	s, to, down := newStage(t), newTarget(), true
	b := sdk.Backfill[int]{Source: numbers(100), BatchSize: 60, InFlight: 1, Retries: -1}
	b.Batch = func(ctx context.Context, run *sdk.Run, batch sdk.Batch[int]) error {
		if down && to.seen() > 0 {
			return errors.New("the target is down")
		}
		return to.take(ctx, run, batch)
	}
	m := start(protocol.Online, 1)
	mustFail(t, s.attempt(m, b.Run), "the target is down")
	down, m.Attempt = false, 2
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 100 || h.Note != "" || h.Checks != nil {
		t.Errorf("answered %s", h.msg.Data)
	}
}

func mustDone(t *testing.T, h heard) heard {
	t.Helper()
	if !h.Done || h.Error != nil {
		t.Fatalf("answered %s, want done", h.msg.Data)
	}
	return h
}

func mustFail(t *testing.T, h heard, text string) heard {
	t.Helper()
	if h.Done || h.Error == nil || !strings.Contains(h.Error.Message, text) {
		t.Fatalf("answered %s, want failed with %q", h.msg.Data, text)
	}
	return h
}

func TestABackfillMovesEveryRecordOnce(t *testing.T) {
	for _, n := range []int{0, 1, 499, 500, 501, 20_250} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			s, to := newStage(t), newTarget()
			h := mustDone(t, s.attempt(start(protocol.Online, 1), sdk.Backfill[int]{Source: numbers(n), Batch: to.take}.Run))
			if h.Items != int64(n) || h.PutAside != 0 {
				t.Errorf("answered %s", h.msg.Data)
			}
			if repeats := to.mustHave(t, n); repeats != 0 {
				t.Errorf("%d records came again", repeats)
			}
			if got := len(to.ids(t)); got != (n+sdk.DefaultBatchSize-1)/sdk.DefaultBatchSize {
				t.Errorf("%d batches", got)
			}
		})
	}
}

func TestABackfillOfSingleRecords(t *testing.T) {
	s, to := newStage(t), newTarget()
	each := func(ctx context.Context, run *sdk.Run, r sdk.Record[int]) error {
		return to.take(ctx, run, sdk.Batch[int]{Records: []sdk.Record[int]{r}})
	}
	mustDone(t, s.attempt(start(protocol.Online, 1), sdk.Backfill[int]{Source: numbers(2100), Each: each, Name: "todos"}.Run))
	if repeats := to.mustHave(t, 2100); repeats != 0 {
		t.Errorf("%d records came again", repeats)
	}
	entry, err := s.checkpoints().Get(s.within(), key(start(protocol.Online, 1))+".backfill.todos")
	must(t, err)
	if !strings.Contains(string(entry.Value()), `{"cursor":"2100","done":2100,"ended":true}`) {
		t.Errorf("kept %s", entry.Value())
	}
}

// A backfill that is cut off is gone on with where it was, by another instance; what comes
// again are batches that came before, at most those in flight.
func TestABackfillGoesOnWhereAnAttemptWasCutOff(t *testing.T) {
	t.Parallel()
	const n, size, inFlight = 10_000, 100, 4
	s, to := newStage(t), newTarget()
	m := start(protocol.Online, 1)
	at := make(chan struct{}, 1000)
	first := s.run(setup(sdk.Backfill[int]{
		Source: numbers(n), BatchSize: size, InFlight: inFlight,
		Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[int]) error {
			if b.Records[0].Value > n/2 {
				at <- struct{}{}
				if b.Records[0].Value%3 == 0 { // some were done, but are not known to be
					_ = to.take(ctx, run, b)
				}
				<-ctx.Done()
				return ctx.Err()
			}
			return to.take(ctx, run, b)
		},
	}.Run))
	s.send(m)
	for range inFlight {
		receive(t, at, "a batch")
	}
	first.stop()
	before := to.seen()

	m.Attempt = 2
	h := mustDone(t, s.attempt(m, sdk.Backfill[int]{Source: numbers(n), BatchSize: 7, InFlight: 2, Rate: 1e9, Batch: to.take}.Run)) // the size is fixed
	if h.Items != n {
		t.Errorf("answered %s", h.msg.Data)
	}
	if repeats := to.mustHave(t, n); repeats != before-n/2 || repeats > inFlight*size {
		t.Errorf("%d records came again, and %d had come without being known to", repeats, before-n/2)
	}
	if got := len(to.ids(t)); got != n/size {
		t.Errorf("%d batches, want %d: they are cut in another way", got, n/size)
	}
}

func TestIDsOfBatchesAndRecords(t *testing.T) {
	s := newStage(t)
	attempt := 0
	ids := func(change func(*protocol.StartMessage, *sdk.Backfill[int])) (batch, record string) {
		t.Helper()
		attempt++
		m := start(protocol.Online, attempt)
		m.Rollout = "r" + strconv.Itoa(attempt) // a fresh checkpoint
		b := sdk.Backfill[int]{Source: numbers(5), Batch: func(_ context.Context, _ *sdk.Run, b sdk.Batch[int]) error {
			batch, record = b.ID, b.RecordID(len(b.Records)-1)
			return nil
		}}
		change(&m, &b)
		mustDone(t, s.attempt(m, b.Run))
		return batch, record
	}
	same := func(m *protocol.StartMessage, _ *sdk.Backfill[int]) { m.Rollout = rollout }
	batch, record := ids(same)
	must(t, s.checkpoints().Purge(s.within(), key(start(protocol.Online, 1))+".backfill"))
	if b, r := ids(same); b != batch || r != record || b == r || len(b) != 32 {
		t.Errorf("in another attempt, the batch is %s and the record %s, want %s and %s", b, r, batch, record)
	}
	each := ""
	m := start(protocol.Online, 1)
	m.Rollout, m.Attempt = rollout, attempt+1
	attempt++
	must(t, s.checkpoints().Purge(s.within(), key(start(protocol.Online, 1))+".backfill"))
	mustDone(t, s.attempt(m, sdk.Backfill[int]{Source: numbers(5), Each: func(_ context.Context, _ *sdk.Run, r sdk.Record[int]) error {
		each = r.ID()
		return nil
	}}.Run))
	if each != record || (sdk.Record[int]{Cursor: "5"}).ID() != "" {
		t.Errorf("alone, the record is %s, want %s", each, record)
	}
	for what, change := range map[string]func(*protocol.StartMessage, *sdk.Backfill[int]){
		"rollout":  func(*protocol.StartMessage, *sdk.Backfill[int]) {},
		"backfill": func(m *protocol.StartMessage, b *sdk.Backfill[int]) { m.Rollout, b.Name = rollout, "other" },
		"direction": func(m *protocol.StartMessage, _ *sdk.Backfill[int]) {
			m.Rollout, m.Revert = rollout, true
		},
		"partition": func(m *protocol.StartMessage, b *sdk.Backfill[int]) {
			must(t, s.checkpoints().Purge(s.within(), key(start(protocol.Online, 1))+".backfill"))
			m.Rollout = rollout
			b.Source.Partitions = func(context.Context, *sdk.Run) ([]string, error) { return []string{"p"}, nil }
		},
	} {
		if b, r := ids(change); b == batch || r == record {
			t.Errorf("the IDs of another %s are the same", what)
		}
	}
}

func TestABackfillThatIsSupersededEnds(t *testing.T) {
	s := newStage(t)
	begun, goOn := make(chan struct{}, 10), make(chan struct{})
	result := make(chan error, 1)
	m := start(protocol.Online, 1)
	s.run(setup(func(ctx context.Context, run *sdk.Run) error {
		if run.Start.Attempt > 1 {
			return sdk.Backfill[int]{Source: numbers(10_000), Batch: newTarget().take}.Run(ctx, run)
		}
		err := sdk.Backfill[int]{Source: numbers(10_000), InFlight: 1, Batch: func(ctx context.Context, _ *sdk.Run, b sdk.Batch[int]) error {
			begun <- struct{}{}
			select {
			case <-goOn:
			case <-ctx.Done():
			}
			return nil
		}}.Run(ctx, run)
		result <- err
		return err
	}))
	s.send(m)
	receive(t, begun, "a batch")
	later := m
	later.Attempt = 2
	answers := s.accept(m)
	s.send(later)
	answers.mustBeDone()
	goOn <- struct{}{}
	if err := receive(t, result, "the end"); !errors.Is(err, sdk.ErrSuperseded) {
		t.Errorf("it ended with %v", err)
	}
	if len(begun) > 1 {
		t.Errorf("%d more batches have begun", len(begun))
	}
}

func TestABackfillStartedByHand(t *testing.T) {
	s, to := newStage(t), newTarget()
	s.run(setup(sdk.Backfill[int]{Source: numbers(1000), Batch: to.take}.Run))
	for range 2 {
		var answer protocol.Answer
		must(t, s.r.Request(s.within(), "deployment-todo-search-0.0.1-online-start", nil, &answer))
		if !answer.Done || answer.Items != 1000 {
			t.Errorf("answered %+v", answer)
		}
	}
	if repeats := to.mustHave(t, 1000); repeats != 1000 {
		t.Errorf("%d records came again, want all", repeats)
	}
	ids := make(map[string]bool)
	for _, b := range to.batches {
		ids[b.ID] = true
	}
	if len(ids) != 4 {
		t.Errorf("%d IDs of 4 batches", len(ids))
	}
	keys, err := s.checkpoints().Keys(s.within())
	if !errors.Is(err, jetstream.ErrNoKeysFound) {
		t.Errorf("it keeps %v, %v", keys, err)
	}
}

func TestASourceThatBreaksIsTakenUpAgain(t *testing.T) {
	s, to := newStage(t), newTarget()
	source, broken := numbers(1000), 0
	whole := source.Records
	source.Records = func(ctx context.Context, run *sdk.Run, partition, after string) iter.Seq2[sdk.Record[int], error] {
		return func(yield func(sdk.Record[int], error) bool) {
			n := 0
			for r, err := range whole(ctx, run, partition, after) {
				if n++; n > 130 {
					broken++
					yield(sdk.Record[int]{}, errors.New("connection reset"))
					return
				}
				if !yield(r, err) {
					return
				}
			}
		}
	}
	b := sdk.Backfill[int]{Source: source, BatchSize: 100, Batch: to.take, Retries: 1, Backoff: time.Millisecond}
	mustDone(t, s.attempt(start(protocol.Online, 1), b.Run))
	if repeats := to.mustHave(t, 1000); repeats != 0 || broken < 7 || len(to.ids(t)) != 10 {
		t.Errorf("it broke %d times, %d records came again, %d batches", broken, repeats, len(to.ids(t)))
	}
}

func TestASourceThatStaysBrokenFailsTheScript(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		tries int
	}{
		"for now":  {errors.New("connection reset"), 4},
		"for good": {sdk.Permanent(errors.New("no such table")), 1},
	} {
		t.Run(name, func(t *testing.T) {
			s, tries := newStage(t), 0
			source := sdk.Source[int]{Records: func(context.Context, *sdk.Run, string, string) iter.Seq2[sdk.Record[int], error] {
				return func(yield func(sdk.Record[int], error) bool) {
					tries++
					yield(sdk.Record[int]{}, c.err)
				}
			}}
			b := sdk.Backfill[int]{Source: source, Batch: newTarget().take, Retries: 3, Backoff: time.Millisecond}
			h := mustFail(t, s.attempt(start(protocol.Online, 1), b.Run), "backfill: read the source: "+c.err.Error())
			if permanent := h.Error.Retry != nil; tries != c.tries || permanent != (c.tries == 1) {
				t.Errorf("%d tries, answered %s", tries, h.msg.Data)
			}
		})
	}
}

func TestABackfillThatIsNotComplete(t *testing.T) {
	s := newStage(t)
	take := newTarget().take
	each := func(context.Context, *sdk.Run, sdk.Record[int]) error { return nil }
	n := 0
	for want, b := range map[string]sdk.Backfill[int]{
		"give Source.Records":         {Batch: take},
		"give either Each or Batch":   {Source: numbers(1), Each: each, Batch: take},
		"BatchSize is -1":             {Source: numbers(1), Batch: take, BatchSize: -1},
		"InFlight is 1001":            {Source: numbers(1), Batch: take, InFlight: 1001},
		"Rate is -1":                  {Source: numbers(1), Batch: take, Rate: -1},
		"the Backoff and MaxPutAside": {Source: numbers(1), Batch: take, Backoff: -1},
		`Name is "a.b"`:               {Source: numbers(1), Batch: take, Name: "a.b"},
		`check "equal": give Do`:      {Source: numbers(1), Batch: take, After: []sdk.Check{{Name: "equal"}}},
	} {
		n++
		if h := mustFail(t, s.attempt(start(protocol.Online, n), b.Run), want); h.Error.Retry == nil {
			t.Errorf("%s: trying again is said to help", want)
		}
	}
}

func TestAPanicOfTheAuthorsFunctionFailsTheScript(t *testing.T) {
	s := newStage(t)
	b := sdk.Backfill[int]{Source: numbers(10), Retries: -1, Batch: func(context.Context, *sdk.Run, sdk.Batch[int]) error { panic("boom") }}
	if h := mustFail(t, s.attempt(start(protocol.Online, 1), b.Run), "panic: boom"); h.Error.Code != protocol.CodePanic {
		t.Errorf("answered %s", h.msg.Data)
	}
}
