package sdk_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// oneRecord is a source of one record.
func oneRecord[T any](value T) func(context.Context, *sdk.Run, string, string) iter.Seq2[sdk.Record[T], error] {
	return func(_ context.Context, _ *sdk.Run, _, after string) iter.Seq2[sdk.Record[T], error] {
		return func(yield func(sdk.Record[T], error) bool) {
			if after == "" {
				yield(sdk.Record[T]{Value: value, Cursor: "1"}, nil)
			}
		}
	}
}

// listOf gives the ids from 1 to n.
func listOf(n int) func(context.Context, *sdk.Run) iter.Seq2[string, error] {
	return func(context.Context, *sdk.Run) iter.Seq2[string, error] {
		return func(yield func(string, error) bool) {
			for i := range n {
				if !yield(itoa(i+1), nil) {
					return
				}
			}
		}
	}
}

func counts(n int64, err error) func(context.Context, *sdk.Run) (int64, error) {
	return func(context.Context, *sdk.Run) (int64, error) { return n, err }
}

func TestCountsEqual(t *testing.T) {
	down := errors.New("down")
	for want, c := range map[string]sdk.Check{
		"<nil>":                 sdk.CountsEqual("", counts(3, nil), counts(3, nil)),
		"3 and 4 are not equal": sdk.CountsEqual("", counts(3, nil), counts(4, nil)),
		"down":                  sdk.CountsEqual("", counts(3, nil), counts(0, down)),
	} {
		if err := c.Do(t.Context(), nil); fmt.Sprint(err) != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
	if err := sdk.CountsEqual("", counts(0, down), counts(3, nil)).Do(t.Context(), nil); !errors.Is(err, down) {
		t.Errorf("error %v", err)
	}
}

func TestEveryFound(t *testing.T) {
	for _, c := range []struct {
		n     int // ids
		lost  []string
		ends  error // of the ids
		fails error // of looking
		want  string
	}{
		{0, nil, nil, nil, "<nil>"},
		{1234, nil, nil, nil, "<nil>"},
		{1000, []string{"7"}, nil, nil, "1 of 1000 are missing: 7"},
		{1234, []string{"1", "2", "3", "501", "1001", "1002", "1003"}, nil, nil, "7 of 1234 are missing: 1, 2, 3, 501, 1001, …"},
		{10, nil, errors.New("broken"), nil, "broken"},
		{10, nil, nil, errors.New("down"), "down"},
		{1000, nil, nil, errors.New("down"), "down"},
	} {
		ids := func(context.Context, *sdk.Run) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for id, err := range listOf(c.n)(nil, nil) {
					if !yield(id, err) {
						return
					}
				}
				if c.ends != nil {
					yield("", c.ends)
				}
			}
		}
		check := sdk.EveryFound("", ids, func(_ context.Context, _ *sdk.Run, ids []string) (missing []string, err error) {
			if len(ids) == 0 || len(ids) > 500 {
				t.Errorf("asked about %d ids", len(ids))
			}
			for _, id := range ids {
				if slices.Contains(c.lost, id) {
					missing = append(missing, id)
				}
			}
			return missing, c.fails
		})
		if err := check.Do(t.Context(), nil); fmt.Sprint(err) != c.want {
			t.Errorf("%+v: error %v", c, err)
		}
	}
}

// The checks before it run until they have held once, those after it when all is dealt
// with; one that fails fails the step.
func TestChecksOfABackfill(t *testing.T) {
	s, to := newStage(t), newTarget()
	var before, after error
	ran := make(map[string]int)
	b := sdk.Backfill[int]{Source: numbers(1000), Batch: to.take}
	b.Before = []sdk.Check{{Name: "target empty", Do: func(context.Context, *sdk.Run) error { ran["before"]++; return before }}}
	b.After = []sdk.Check{
		{Name: "counts equal", Do: func(context.Context, *sdk.Run) error { ran["after"]++; return after }},
		{Name: "panics", Do: func(context.Context, *sdk.Run) error {
			if ran["after"] == 1 {
				panic("boom")
			}
			return nil
		}},
	}
	m := start(protocol.Online, 1)
	before = errors.New("it has 3 records")
	h := mustFail(t, s.attempt(m, b.Run), `backfill: check "target empty": it has 3 records`)
	if want := []protocol.CheckResult{{Name: "target empty", Error: "it has 3 records"}}; h.Items != 0 || to.seen() != 0 || !slices.Equal(h.Checks, want) {
		t.Errorf("answered %s, %d came", h.msg.Data, to.seen())
	}
	before = nil
	m.Attempt = 2
	mustFail(t, s.attempt(m, b.Run), `backfill: check "panics": panic: boom`)
	before, after = errors.New("now it is full"), errors.New("3 and 4 are not equal")
	m.Attempt = 3
	if h := mustFail(t, s.attempt(m, b.Run), `backfill: check "counts equal": 3 and 4 are not equal`); h.Items != 1000 {
		t.Errorf("answered %s", h.msg.Data)
	}
	after = nil
	m.Attempt = 4
	h = mustDone(t, s.attempt(m, b.Run))
	if want := []protocol.CheckResult{{Name: "counts equal", Holds: true}, {Name: "panics", Holds: true}}; !slices.Equal(h.Checks, want) {
		t.Errorf("answered %s", h.msg.Data)
	}
	if to.mustHave(t, 1000) != 0 || ran["before"] != 2 || ran["after"] != 3 {
		t.Errorf("the checks ran %v times", ran)
	}
}

// EveryFound has several questions open at a time, no more than that, and ends with ctx.
func TestEveryFoundAsksSeveralAtATime(t *testing.T) {
	ctx, end := context.WithCancel(t.Context())
	asked, ended := make(chan struct{}, 100), make(chan error, 1)
	check := sdk.EveryFound("", listOf(100_000), func(ctx context.Context, _ *sdk.Run, ids []string) ([]string, error) {
		asked <- struct{}{}
		<-ctx.Done()
		return nil, nil // as if all were there
	})
	go func() { ended <- check.Do(ctx, nil) }()
	for range 8 {
		receive(t, asked, "a question")
	}
	if len(asked) > 0 {
		t.Error("there is one more")
	}
	end()
	if err := receive(t, ended, "the end"); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

// The progress says which check runs. One whose stream is lost is run again.
func TestACheckIsSeenAndBearsALostStream(t *testing.T) {
	s := newStage(t)
	m := start(protocol.Online, 1)
	lost, goOn := fmt.Errorf("list: %w", relay.ErrStreamLost), make(chan struct{})
	times := 0
	b := sdk.Backfill[int]{Source: numbers(1000), Batch: newTarget().take, Retries: 2, Backoff: time.Millisecond}
	b.After = []sdk.Check{{Name: "all there", Do: func(ctx context.Context, _ *sdk.Run) error {
		if times++; times < 3 {
			return lost
		}
		select {
		case <-goOn:
			return nil
		case <-ctx.Done():
			return nil // as an iterator that just ends
		}
	}}}
	beats, answers := s.listen(m.Script().Subject(protocol.Progress)), s.accept(m)
	it := s.run(setup(func(ctx context.Context, run *sdk.Run) error {
		run.Progress(0, 0, "todos")
		return b.Run(ctx, run)
	}))
	s.send(m)
	p := awaitProgress(t, beats, "the check", func(p protocol.ProgressMessage) bool { return p.Note == "check: all there" && *p.Done == 1000 })
	if p.Rate != 0 || p.Average == 0 {
		t.Errorf("it tells %+v", p)
	}
	s.tell(protocol.Pause, m, "")
	awaitProgress(t, beats, "the pause", func(p protocol.ProgressMessage) bool { return p.Held == "paused" })
	s.tell(protocol.Resume, m, "")
	awaitProgress(t, beats, "the resume", func(p protocol.ProgressMessage) bool { return p.Held == "" })
	close(goOn)
	if h := answers.mustBeDone(); h.Note != "todos" || times != 3 {
		t.Errorf("answered %s after %d times", h.msg.Data, times)
	}
	it.stop()
	answers.stop()

	m.Attempt, times = 2, -10
	mustFail(t, s.attempt(m, b.Run), `check "all there": list: the stream was lost`)
	if times != -7 {
		t.Errorf("it was run %d times", times+10)
	}
}
