package sdk

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/protocol"
)

// ten is a source of ten records.
func ten(_ context.Context, _ *Run, _, after string) iter.Seq2[Record[int], error] {
	return func(yield func(Record[int], error) bool) {
		from, _ := strconv.Atoi(after) // none: 0
		for i := from + 1; i <= 10; i++ {
			if !yield(Record[int]{Value: i, Cursor: strconv.Itoa(i)}, nil) {
				return
			}
		}
	}
}

// staged is a run of a partition with batches of one record and three in flight, whose batches and
// reports wait for the test.
type staged struct {
	t       *testing.T
	begun   chan int
	finish  map[int]chan error
	reports chan watermark
	durable chan error
	ended   chan error
	end     context.CancelFunc
}

func newStaged(t *testing.T) *staged {
	s := &staged{
		t: t, begun: make(chan int, 10), finish: make(map[int]chan error),
		reports: make(chan watermark), durable: make(chan error), ended: make(chan error, 1),
	}
	for i := range 10 {
		s.finish[i+1] = make(chan error, 1)
	}
	over := make(chan struct{}) // a test that has failed lets go of everything
	t.Cleanup(func() { close(over) })
	waitFor := func(c <-chan error) error {
		select {
		case err := <-c:
			return err
		case <-over:
			return errors.New("the test is over")
		}
	}
	work := &Backfill[int]{Source: Source[int]{Records: ten}, Retries: -1, Each: func(_ context.Context, _ *Run, r Record[int]) error {
		s.begun <- r.Value
		return waitFor(s.finish[r.Value])
	}}
	ctx, end := context.WithCancel(t.Context())
	s.end = end
	go func() {
		s.ended <- newPartitionRun(work, partitionTask{
			run: &Run{Log: zap.NewNop(), Start: protocol.StartMessage{Rollout: "r"}}, grant: grant{Size: 1},
			limiter: newLimiter(limits{inFlight: 3}),
			report: func(_ context.Context, w watermark) error {
				select {
				case s.reports <- w:
				case <-over:
				}
				return waitFor(s.durable)
			},
		}).do(ctx)
	}()
	return s
}

// within waits for what must come soon.
func within[T any](t *testing.T, from <-chan T, what string) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(20 * time.Second):
		t.Fatalf("%s: nothing", what)
		panic("not reached")
	}
}

func (s *staged) mustBegin(n int) {
	s.t.Helper()
	for range n {
		within(s.t, s.begun, "a batch")
	}
}

func (s *staged) mustReport(want watermark) {
	s.t.Helper()
	if got := within(s.t, s.reports, "a report"); got != want {
		s.t.Fatalf("reported %+v, want %+v", got, want)
	}
}

// A batch holds its place in flight until a checkpoint that covers it is durable: one that
// is done before an earlier one is not covered, and one whose checkpoint is on its way is
// not durable.
func TestABatchHoldsItsPlaceUntilItIsDurable(t *testing.T) {
	s := newStaged(t)
	s.mustBegin(3)
	s.finish[2] <- nil
	s.finish[3] <- nil
	s.finish[1] <- nil
	for done := int64(0); done < 3; { // one report of all three, or several when it was quick
		m := within(t, s.reports, "a report")
		if m.Done <= done || int64(len(s.begun)) > done {
			t.Errorf("reported %+v when %d are durable and %d have begun", m, done, 3+len(s.begun))
		}
		done = m.Done
		s.durable <- nil
	}
	s.mustBegin(3)
	s.finish[5] <- nil // is done before 4, so nothing is reported and nothing begins
	s.finish[6] <- nil
	if len(s.begun) > 0 {
		t.Error("another batch has begun")
	}
	s.finish[4] <- errors.New("disk full")
	if err := within(t, s.ended, "the end"); err == nil || err.Error() != `record "4": disk full` {
		t.Errorf("ended with %v", err)
	}
	if len(s.begun) > 0 {
		t.Error("another batch has begun")
	}
}

// When ctx ends, batches under way are waited for, and what they have done is reported.
func TestAPartitionRunThatIsEndedReportsWhatWasDone(t *testing.T) {
	s := newStaged(t)
	s.mustBegin(3)
	s.end()
	s.finish[1] <- nil
	s.finish[2] <- nil
	s.finish[3] <- context.Canceled
	m := within(t, s.reports, "a report")
	s.durable <- nil
	if m.Done < 2 {
		s.mustReport(watermark{Cursor: "2", Done: 2})
		s.durable <- nil
	}
	if err := within(t, s.ended, "the end"); !errors.Is(err, context.Canceled) {
		t.Errorf("ended with %v", err)
	}
}

func TestAPartitionRunWhoseReportIsNotTakenEnds(t *testing.T) {
	s := newStaged(t)
	s.mustBegin(3)
	s.finish[1] <- nil
	s.mustReport(watermark{Cursor: "1", Done: 1})
	s.durable <- ErrSuperseded
	s.finish[2] <- nil
	s.finish[3] <- nil
	if err := within(t, s.ended, "the end"); !errors.Is(err, ErrSuperseded) || len(s.begun) > 0 {
		t.Errorf("ended with %v, %d more have begun", err, len(s.begun))
	}
}

func TestACursorThatCannotBeGoneOnBehindIsRefused(t *testing.T) {
	for _, cursor := range []string{"", "7", "\xff"} {
		work := &Backfill[int]{Each: func(context.Context, *Run, Record[int]) error { return nil }}
		work.Source.Records = func(_ context.Context, _ *Run, _, after string) iter.Seq2[Record[int], error] {
			return func(yield func(Record[int], error) bool) { yield(Record[int]{Cursor: cursor}, nil) }
		}
		err := newPartitionRun(work, partitionTask{
			run: &Run{Log: zap.NewNop()}, grant: grant{Size: 1, Cursor: "7"}, limiter: newLimiter(limits{inFlight: 1}),
			report: func(context.Context, watermark) error { return nil },
		}).do(t.Context())
		if !errors.As(err, new(*permanentError)) {
			t.Errorf("error %v", err)
		}
	}
}

func TestPausesBetweenTriesDouble(t *testing.T) {
	r := retry{times: 100, backoff: 100 * time.Millisecond}
	for tries, want := range map[int]time.Duration{1: r.backoff, 2: 2 * r.backoff, 5: 16 * r.backoff, 10: longestBackoff, 1000: longestBackoff} {
		if got := r.after(tries); got != want {
			t.Errorf("after %d tries %s, want %s", tries, got, want)
		}
	}
}

func TestIDsTellTextsApart(t *testing.T) {
	long := string(make([]byte, 10_000))
	seen := make(map[string]string)
	for _, texts := range [][]string{{}, {""}, {"", ""}, {"ab"}, {"a", "b"}, {"b", "a"}, {long}, {long, ""}, {"", long}, {long[:9_999]}, {long, long}} {
		id := identify(texts...)
		if before, there := seen[id]; there || id != identify(texts...) || len(id) != 32 {
			t.Errorf("%d texts have the ID %s, as %s", len(texts), id, before)
		}
		seen[id] = id
	}
}
