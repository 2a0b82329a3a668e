package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"

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
				for i := range c.n {
					if !yield(itoa(i+1), nil) {
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
	if h := mustFail(t, s.attempt(m, b.Run), `backfill: check "target empty": it has 3 records`); h.Items != 0 || to.seen() != 0 {
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
	mustDone(t, s.attempt(m, b.Run))
	if to.mustHave(t, 1000) != 0 || ran["before"] != 2 || ran["after"] != 3 {
		t.Errorf("the checks ran %v times", ran)
	}
}

// A check may take long: until it has ended, the progress tells which one runs.
func TestACheckThatRunsIsTold(t *testing.T) {
	s, to := newStage(t), newTarget()
	m := start(protocol.Online, 1)
	beats := s.listen(m.Script().Subject(protocol.Progress))
	b := sdk.Backfill[int]{Source: numbers(10), Batch: to.take}
	b.After = []sdk.Check{{Name: "counts equal", Do: func(ctx context.Context, _ *sdk.Run) error {
		for {
			select {
			case beat := <-beats:
				var p protocol.ProgressMessage
				if json.Unmarshal(beat.Data, &p) == nil && p.Note == `check "counts equal"` && p.Rate == 0 {
					return nil
				}
			case <-ctx.Done():
				return errors.New("nobody was told of the check")
			}
		}
	}}}
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 10 || h.Note != "" {
		t.Errorf("answered %s", h.msg.Data)
	}
}
