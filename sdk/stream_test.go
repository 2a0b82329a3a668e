package sdk_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/sdk"
)

// lists is a service whose stream "list" gives the numbers from 1 to n, and breaks after so
// many of them; 0: never.
func (s *stage) lists(name, version string, n, breaks int) *atomic.Int64 {
	s.t.Helper()
	var asked atomic.Int64
	s.Serve(relay.Service{Name: name, Version: version, Streams: map[string]relay.StreamHandler{
		"list": relay.JSONStream(func(_ context.Context, _ struct{}, after string, out *relay.Sender) error {
			asked.Add(1)
			out.Total(int64(n))
			from, _ := strconv.Atoi(after) // none: 0
			for i := from + 1; i <= n; i++ {
				if breaks > 0 && i > from+breaks {
					return errors.New("the disk hung")
				}
				if err := out.Send(i, strconv.Itoa(i)); err != nil {
					return err
				}
			}
			return nil
		}),
	}})
	return &asked
}

func TestABackfillFromAStream(t *testing.T) {
	s, to := newStage(t), newTarget()
	asked := s.lists("todos", "0.0.3", 5000, 1800)
	m := start(protocol.Online, 1)
	beats := s.listen(m.Script().Subject(protocol.Progress))
	b := sdk.Backfill[int]{Source: sdk.FromStream[int]("todos.list", nil), Batch: to.take, Backoff: time.Millisecond, Retries: 1}
	if h := mustDone(t, s.attempt(m, b.Run)); h.Items != 5000 {
		t.Errorf("answered %s", h.msg.Data)
	}
	if to.mustHave(t, 5000) != 0 || asked.Load() != 3 || len(to.ids(t)) != 10 {
		t.Errorf("asked %d times, %d batches", asked.Load(), len(to.ids(t)))
	}
	awaitProgress(t, beats, "the total", func(p protocol.ProgressMessage) bool { return p.Total == 5000 })

	m.Attempt, b.Source = 2, sdk.FromStream[int]("todos.list", nil) // goes on behind the last
	mustDone(t, s.attempt(m, b.Run))
	if to.mustHave(t, 5000) != 0 {
		t.Error("some came again")
	}
}

func TestRecordsOfAStreamAsTheyAre(t *testing.T) {
	s := newStage(t)
	s.lists("todos", "0.0.3", 3, 0)
	var text string
	raw := sdk.Backfill[json.RawMessage]{Name: "raw", Source: sdk.FromStream[json.RawMessage]("todos.list", nil)}
	raw.Each = func(_ context.Context, _ *sdk.Run, r sdk.Record[json.RawMessage]) error {
		text += string(r.Value)
		return nil
	}
	bytes := sdk.Backfill[[]byte]{Name: "bytes", Source: sdk.FromStream[[]byte]("todos.list", nil)}
	bytes.Each = func(_ context.Context, _ *sdk.Run, r sdk.Record[[]byte]) error { text += string(r.Value); return nil }
	mustDone(t, s.attempt(start(protocol.Online, 1), func(ctx context.Context, run *sdk.Run) error {
		return errors.Join(raw.Run(ctx, run), bytes.Run(ctx, run))
	}))
	if text != "123123" {
		t.Errorf("got %s", text)
	}
	texts := sdk.Backfill[string]{Name: "texts", Source: sdk.FromStream[string]("todos.list", nil)}
	texts.Each = func(context.Context, *sdk.Run, sdk.Record[string]) error { return nil }
	if h := mustFail(t, s.attempt(start(protocol.Online, 2), texts.Run), `record "1"`); h.Error.Retry == nil {
		t.Errorf("answered %s", h.msg.Data)
	}
}

// A stream comes from where a request would go.
func TestWhereAScriptsStreamsComeFrom(t *testing.T) {
	s := newStage(t)
	counts := make(map[string]*atomic.Int64)
	for _, version := range []string{"0.0.2", "0.0.3"} {
		counts["todos "+version] = s.lists("todos", version, 3, 0)
	}
	counts["todo-search 0.0.1"] = s.lists("todo-search", "0.0.1", 0, 0)
	attempt := 0
	mustCome := func(name, from string, opts ...relay.StreamOption) {
		t.Helper()
		for _, c := range counts {
			c.Store(0)
		}
		attempt++
		mustDone(t, s.attempt(start(protocol.Online, attempt), func(ctx context.Context, run *sdk.Run) error {
			for _, err := range run.Stream(ctx, name, nil, opts...) {
				if err != nil {
					return err
				}
			}
			return nil
		}))
		for who, c := range counts {
			if want := map[bool]int64{true: 1}[who == from]; c.Load() != want {
				t.Errorf("%s was asked %d times, want %d", who, c.Load(), want)
			}
		}
	}
	mustCome("todo-search.list", "todo-search 0.0.1")
	mustCome("todos.list", "todos 0.0.3")
	mustCome("todos.list", "todos 0.0.2", relay.ToVersion("0.0.2"))
	s.online("todos", "0.0.2")
	mustCome("todos.list", "todos 0.0.2")
	s.maintain("todos", "0.0.2", true)
	mustCome("todos.list", "todos 0.0.3")

	attempt++
	mustFail(t, s.attempt(start(protocol.Online, attempt), func(ctx context.Context, run *sdk.Run) error {
		for _, err := range run.Stream(ctx, "nonsense", nil) {
			return fmt.Errorf("it gives %w", err)
		}
		return nil
	}), "it gives")
}

// A service that has gone under maintenance since its route was read is left for the version
// that the rollout brings.
func TestAStreamFollowsARouteThatHasChanged(t *testing.T) {
	s := newStage(t)
	production, ours := s.lists("todos", "0.0.2", 3, 0), s.lists("todos", "0.0.3", 3, 0)
	s.online("todos", "0.0.2")
	mustDone(t, s.attempt(start(protocol.Online, 1), func(ctx context.Context, run *sdk.Run) error {
		for ask := range 2 {
			if ask > 0 {
				s.maintain("todos", "0.0.2", true)
			}
			n := 0
			for _, err := range run.Stream(ctx, "todos.list", nil) {
				if err != nil {
					return err
				}
				n++
			}
			if n != 3 {
				return fmt.Errorf("%d records", n)
			}
		}
		return nil
	}))
	if production.Load() != 1 || ours.Load() != 1 {
		t.Errorf("production was asked %d times, ours %d", production.Load(), ours.Load())
	}
}
