package journal_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// foreign publishes on a rollout's subject what is none of its events.
func (b *bench) foreign(s rollout.State) {
	b.t.Helper()
	subject := protocol.RolloutSubject(s.Release.App, s.ID)
	for _, text := range []string{
		"no event", "{}", `{"id": "` + s.ID + `", "status": "completed"}`,
		fmt.Sprintf(`{"format": 2, "app": "another", "rollout": %q, "previous": 1}`, s.ID),
		fmt.Sprintf(`{"format": 2, "app": %q, "rollout": "another"}`, s.Release.App),
		fmt.Sprintf(`{"format": 2, "app": %q, "rollout": %q, "previous": 4711, "state": {"status": "completed"}}`, s.Release.App, s.ID),
	} {
		m := nats.NewMsg(subject)
		m.Data = []byte(text)
		_, err := b.nc.RequestMsg(m, patience) // stored as it is, without our headers
		b.must(err)
		m.Header.Set("ce-id", "1")
		m.Header.Set("ce-type", "golive.rollout.completed.v1")
		if text == "no event" || text == "{}" {
			m.Header.Set("Content-Encoding", "gzip")
		}
		_, err = b.nc.RequestMsg(m, patience)
		b.must(err)
	}
}

// Whoever writes on a rollout's subject by hand changes nothing: all readers skip the same
// messages, and the next event follows on the one before them.
func TestWhatIsNoEventIsSkippedByEveryReader(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	s, first := b.begin("todo-app")
	b.foreign(s)
	elsewhere := &bench{t: t, bus: b.bus, nc: b.bus.Connect().Conn()}
	var err error
	elsewhere.Journal, err = journal.Open(ctx, elsewhere.nc)
	b.must(err)
	for _, j := range []*journal.Journal{b.Journal, elsewhere.Journal} {
		r, err := j.Load(ctx, "todo-app", s.ID)
		if b.must(err); r.Sequence != first || r.State.Status != rollout.Running {
			t.Errorf("it is %s at %d, want running at %d", r.State.Status, r.Sequence, first)
		}
	}
	second, err := elsewhere.Append(ctx, b.failed(s), first)
	b.must(err)
	b.foreign(s)
	history, err := b.History(ctx, "todo-app", s.ID)
	b.must(err)
	if len(history) != 2 || history[0].Sequence != first || history[1].Sequence != second || history[1].State.Status != rollout.Failed {
		t.Errorf("its history is %+v", history)
	}
	tailed := 0
	b.must(b.Tail(ctx, "todo-app", 0, func(rollout.State, uint64) { tailed++ }))
	if tailed != 2 {
		t.Errorf("%d events are read", tailed)
	}
	over, err := b.failed(s).Apply(rollout.Event{Type: rollout.Replaced, At: time.Now().UTC()})
	b.must(err)
	third, err := b.Append(ctx, over, second)
	b.must(err)
	b.foreign(s)
	old, err := b.Finished(ctx, time.Now().Add(time.Hour), 0, 10)
	b.must(err)
	if len(old) != 1 || old[0].Sequence != third {
		t.Fatalf("finished are %+v", old)
	}
	b.must(b.Drop(ctx, "todo-app", s.ID, third))
	if n := b.stored(protocol.RolloutSubject("todo-app", s.ID)); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}

// A message that is skipped is counted once by each journal, whoever reads it and how often. Our
// own last message of a rollout is not.
func TestWhatIsSkippedIsCounted(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	s, first := b.begin("todo-app")
	if n := b.Skipped(); n != 0 {
		t.Errorf("%d messages are skipped where there is none to skip", n)
	}
	b.foreign(s)
	b.must(b.nc.Publish("golive.rollout.by-hand", []byte("no event")))
	b.must(b.nc.Flush())
	over, err := b.failed(s).Apply(rollout.Event{Type: rollout.Replaced, At: time.Now().UTC()})
	b.must(err)
	second, err := b.Append(ctx, b.failed(s), first)
	b.must(err)
	third, err := b.Append(ctx, over, second)
	b.must(err)
	stored := b.stored(protocol.AllRollouts)
	last, err := b.Last(ctx)
	b.must(err)
	for range 2 {
		var readers sync.WaitGroup
		readers.Go(func() {
			if _, err := b.History(ctx, "todo-app", s.ID); err != nil {
				t.Error(err)
			}
		})
		readers.Go(func() { b.readAll(last) })
		readers.Wait()
	}
	want := uint64(stored) - 3 // the events
	if n := b.Skipped(); n != want {
		t.Errorf("%d messages are skipped, want %d of %d", n, want, stored)
	}
	elsewhere, err := journal.Open(ctx, b.nc)
	b.must(err)
	if n := elsewhere.Skipped(); n != 0 {
		t.Errorf("a journal that has read nothing has skipped %d messages", n)
	}

	b.must(b.Drop(ctx, "todo-app", s.ID, third))
	s, _ = b.begin("todo-app")
	end := nats.NewMsg(protocol.RolloutSubject("todo-app", s.ID))
	end.Header.Set("Golive-Dropped", "1")
	_, err = b.nc.RequestMsg(end, patience)
	b.must(err)
	last, err = b.Last(ctx)
	b.must(err)
	b.readAll(last)
	if n := b.Skipped(); n != want {
		t.Errorf("with the end of a rollout %d messages are skipped, want %d", n, want)
	}
}

// readAll follows all rollouts from the first event up to a sequence.
func (b *bench) readAll(last uint64) {
	b.t.Helper()
	done := errors.New("done")
	ctx, cancel := b.within()
	defer cancel()
	err := b.Follow(ctx, 0, func(e journal.Event) error {
		if _, err := e.Record(ctx); err != nil && !errors.Is(err, rollout.ErrNotFound) {
			return err
		}
		if e.Sequence >= last {
			return done
		}
		return nil
	})
	if !errors.Is(err, done) {
		b.t.Errorf("reading up to message %d gives %v", last, err)
	}
}

// While a rollout is being removed nothing is added to it, and whoever looks again after a
// death in the middle removes the rest.
func TestNothingIsAddedToARolloutThatIsBeingRemoved(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	s, first := b.begin("todo-app")
	over, err := b.failed(s).Apply(rollout.Event{Type: rollout.Replaced, At: time.Now().UTC()})
	b.must(err)
	second, err := b.Append(ctx, b.failed(s), first)
	b.must(err)
	third, err := b.Append(ctx, over, second)
	b.must(err)
	end := nats.NewMsg(protocol.RolloutSubject("todo-app", s.ID)) // as one who dies right after it
	end.Header.Set("Golive-Dropped", "1")
	_, err = b.nc.RequestMsg(end, patience)
	b.must(err)
	if _, err := b.Append(ctx, over, third); !errors.Is(err, rollout.ErrConflict) {
		t.Errorf("adding an event gives %v", err)
	}
	if _, err := b.Load(ctx, "todo-app", s.ID); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("loading it gives %v", err)
	}
	if old, err := b.Finished(ctx, time.Now().Add(time.Hour), 0, 10); err != nil || len(old) != 0 {
		t.Errorf("finished are %+v, %v", old, err)
	}
	if n := b.stored(protocol.RolloutSubject("todo-app", s.ID)); n != 0 {
		t.Errorf("%d messages are left", n)
	}
}
