package sdk_test

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// brokenJSON is a record whose author has made a mistake.
type brokenJSON struct{}

func (brokenJSON) MarshalJSON() ([]byte, error) { panic("boom") }

// Whichever of the author's functions panics, the answer says so.
func TestAPanicOfAnyFunctionFailsTheScript(t *testing.T) {
	panics := func() error { panic("boom") }
	whole := sdk.Backfill[int]{Source: numbers(10), Batch: newTarget().take, Retries: -1}
	records, count, partitions, throttle, each, check, ids := whole, whole, whole, whole, whole, whole, whole
	records.Source.Records = func(context.Context, *sdk.Run, string, string) iter.Seq2[sdk.Record[int], error] {
		return func(func(sdk.Record[int], error) bool) { _ = panics() }
	}
	count.Source.Count = func(context.Context, *sdk.Run) (int64, error) { return 0, panics() }
	partitions.Source.Partitions = func(context.Context, *sdk.Run) ([]string, error) { return nil, panics() }
	throttle.Throttle = func(context.Context, *sdk.Run) (string, error) { return "", panics() }
	each.Batch, each.Each = nil, func(context.Context, *sdk.Run, sdk.Record[int]) error { return panics() }
	check.Before = []sdk.Check{{Name: "empty", Do: func(context.Context, *sdk.Run) error { return panics() }}}
	ids.After = []sdk.Check{sdk.EveryFound("found", listOf(1), func(context.Context, *sdk.Run, []string) ([]string, error) { return nil, panics() })}
	unwritable := sdk.Backfill[brokenJSON]{Source: sdk.Source[brokenJSON]{Records: oneRecord(brokenJSON{})}, Retries: -1, PutAside: true}
	unwritable.Each = func(context.Context, *sdk.Run, sdk.Record[brokenJSON]) error { return errors.New("refused") }
	for want, do := range map[string]sdk.Script{
		"read the source: panic: boom":          records.Run,
		"count the source: panic: boom":         count.Run,
		"partitions of the source: panic: boom": partitions.Run,
		"throttle: panic: boom":                 throttle.Run,
		`record "1": panic: boom`:               each.Run,
		`check "empty": panic: boom`:            check.Run,
		`check "found": panic: boom`:            ids.Run,
		"backfill: panic: boom":                 unwritable.Run,
	} {
		if h := mustFail(t, newStage(t).attempt(start(protocol.Online, 1), do), want); h.Error.Code != protocol.CodePanic {
			t.Errorf("answered %s", h.msg.Data)
		}
	}
}

// A second backfill that has forgotten its name does not pass for the first, which is done.
func TestTwoBackfillsOfOneName(t *testing.T) {
	s, to, other := newStage(t), newTarget(), newTarget()
	m := start(protocol.Online, 1)
	b := sdk.Backfill[int]{Source: numbers(10), Batch: to.take}
	again := sdk.Backfill[int]{Source: numbers(20), Batch: other.take}
	h := mustFail(t, s.attempt(m, func(ctx context.Context, run *sdk.Run) error {
		if err := b.Run(ctx, run); err != nil {
			return err
		}
		return again.Run(ctx, run)
	}), "the script has another one with this Name")
	if h.Error.Retry == nil || other.seen() != 0 {
		t.Errorf("answered %s", h.msg.Data)
	}

	m.Attempt = 2 // one that has failed may be run once more
	failing := b
	failing.Before = []sdk.Check{{Name: "space", Do: func(context.Context, *sdk.Run) error { return errors.New("disk full") }}}
	m.Rollout = "other"
	mustDone(t, s.attempt(m, func(ctx context.Context, run *sdk.Run) error {
		if err := failing.Run(ctx, run); err == nil {
			t.Error("it did not fail")
		}
		return b.Run(ctx, run)
	}))
}

// However long the texts of an author are, the answer, the progress and what is put aside
// get through.
func TestLongTextsAreClipped(t *testing.T) {
	s, long := newStage(t), strings.Repeat("ä", 2_000_000)
	m := start(protocol.Online, 1)
	b := sdk.Backfill[int]{Source: numbers(3), Retries: -1, Each: func(context.Context, *sdk.Run, sdk.Record[int]) error { return errors.New(long) }}
	h := mustFail(t, s.attempt(m, b.Run), "ä …")
	if n := len(h.Error.Message); n > 5000 {
		t.Errorf("an error of %d bytes", n)
	}
	m.Attempt, b.PutAside = 2, true
	mustDone(t, s.attempt(m, b.Run))
	for cursor, r := range s.failedRecords() {
		if string(r.Record) != cursor || len(r.Error) > 5000 {
			t.Errorf("put aside %s with an error of %d bytes", r.Record, len(r.Error))
		}
	}
	m.Attempt = 3
	if h := mustDone(t, s.attempt(m, func(_ context.Context, run *sdk.Run) error { run.Progress(1, 1, long); return nil })); len(h.Note) > 5000 || h.Note == "" {
		t.Errorf("a note of %d bytes", len(h.Note))
	}
}

func TestAFunctionThatChangesItsBatch(t *testing.T) {
	s, to, tries := newStage(t), newTarget(), 0
	b := sdk.Backfill[int]{Source: numbers(10), Backoff: time.Millisecond, Batch: func(ctx context.Context, run *sdk.Run, b sdk.Batch[int]) error {
		if tries++; tries == 1 {
			clear(b.Records)
			return errors.New("disk full")
		}
		return to.take(ctx, run, b)
	}}
	mustDone(t, s.attempt(start(protocol.Online, 1), b.Run))
	to.mustHave(t, 10)
}

func TestAHugeRateLeavesTheBatchesLarge(t *testing.T) {
	s, to := newStage(t), newTarget()
	mustDone(t, s.attempt(start(protocol.Online, 1), sdk.Backfill[int]{Source: numbers(1000), Rate: 1e300, Batch: to.take}.Run))
	if n := len(to.ids(t)); n != 2 {
		t.Errorf("%d batches", n)
	}
}

// An attempt at what was put aside that is cut off is gone on with, and its answer counts
// what is left.
func TestAnAttemptAtWhatWasPutAsideIsCutOff(t *testing.T) {
	t.Parallel()
	const bad = 30
	s, to := newStage(t), newTarget()
	m := start(protocol.Online, 1)
	refuse := true
	b := sdk.Backfill[int]{Source: numbers(bad), BatchSize: 10, InFlight: 1, Retries: -1, PutAside: true}
	b.Batch = func(ctx context.Context, run *sdk.Run, batch sdk.Batch[int]) error {
		if refuse {
			return errors.New("refused")
		}
		return to.take(ctx, run, batch)
	}
	mustDone(t, s.attempt(m, b.Run))
	refuse = false

	m.Attempt, m.FailedRecords = 2, true
	half := make(chan struct{}, bad)
	cut := b
	cut.Batch = func(ctx context.Context, run *sdk.Run, batch sdk.Batch[int]) error {
		if to.seen() == 0 {
			return to.take(ctx, run, batch)
		}
		half <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	it := s.run(setup(cut.Run))
	s.send(m)
	receive(t, half, "the second batch")
	it.stop()
	if n := len(s.failedRecords()); n != bad-10 {
		t.Errorf("%d are left", n)
	}

	m.Attempt = 3
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != bad-10 || h.PutAside != 0 || len(s.failedRecords()) != 0 {
		t.Errorf("answered %s", h.msg.Data)
	}
	if to.mustHave(t, bad) != 0 {
		t.Error("some came again")
	}
}

// Wherever a backfill is, a cancel ends it, also one that comes while it is paused.
func TestACancelEndsABackfillWhereverItIs(t *testing.T) {
	t.Parallel()
	at := make(chan struct{}, 100)
	hang := func(ctx context.Context) error {
		at <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	check := []sdk.Check{{Name: "hangs", Do: func(ctx context.Context, _ *sdk.Run) error { return hang(ctx) }}}
	for where, change := range map[string]func(*sdk.Backfill[int]){
		"count": func(b *sdk.Backfill[int]) {
			b.Source.Count = func(ctx context.Context, _ *sdk.Run) (int64, error) { return 0, hang(ctx) }
		},
		"partitions": func(b *sdk.Backfill[int]) {
			b.Source.Partitions = func(ctx context.Context, _ *sdk.Run) ([]string, error) { return nil, hang(ctx) }
		},
		"records": func(b *sdk.Backfill[int]) {
			b.Source.Records = func(ctx context.Context, _ *sdk.Run, _, _ string) iter.Seq2[sdk.Record[int], error] {
				return func(func(sdk.Record[int], error) bool) { _ = hang(ctx) } // it just ends
			}
		},
		"throttle": func(b *sdk.Backfill[int]) {
			b.Throttle = func(ctx context.Context, _ *sdk.Run) (string, error) { return "", hang(ctx) }
		},
		"check before": func(b *sdk.Backfill[int]) { b.Before = check },
		"check after":  func(b *sdk.Backfill[int]) { b.After = check },
		"batch": func(b *sdk.Backfill[int]) {
			b.Batch = func(ctx context.Context, _ *sdk.Run, _ sdk.Batch[int]) error { return hang(ctx) }
		},
		"next try": func(b *sdk.Backfill[int]) {
			b.Backoff = time.Hour
			b.Batch = func(context.Context, *sdk.Run, sdk.Batch[int]) error { at <- struct{}{}; return errors.New("down") }
		},
	} {
		for _, paused := range []bool{false, true} {
			s, to := newStage(t), newTarget()
			m := start(protocol.Online, 1)
			b := sdk.Backfill[int]{Source: numbers(10), Batch: to.take}
			change(&b)
			answers := s.accept(m)
			it := s.run(setup(b.Run))
			s.send(m)
			receive(t, at, where)
			if paused {
				s.tell(protocol.Pause, m, "")
				it.awaitLine("told")
			}
			s.cancel(m, "")
			if h := answers.mustBeFailed(protocol.CodeCancelled); where != "check after" && h.Items != 0 {
				t.Errorf("%s: answered %s", where, h.msg.Data)
			}
			it.stop()
		}
	}
}
