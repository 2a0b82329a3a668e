package journal_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// superseded is the state after a later deploy took the place of s.
func (b *bench) superseded(s rollout.State) rollout.State {
	b.t.Helper()
	next, err := s.Apply(rollout.Event{Type: rollout.AbortAsked, At: time.Now().UTC()})
	b.must(err)
	return next
}

// end ends a rollout that failed.
func (b *bench) end(s rollout.State, after uint64) uint64 {
	b.t.Helper()
	sequence, err := b.Append(b.t.Context(), b.superseded(s), after)
	b.must(err)
	return sequence
}

// stored counts the messages that match a subject.
func (b *bench) stored(subject string) int {
	b.t.Helper()
	stream := b.stream()
	info, err := stream.Info(b.t.Context(), jetstream.WithSubjectFilter(subject))
	b.must(err)
	n := 0
	for _, messages := range info.State.Subjects {
		n += int(messages)
	}
	return n
}

func (b *bench) stream() jetstream.Stream {
	b.t.Helper()
	js, err := jetstream.New(b.nc)
	b.must(err)
	stream, err := js.Stream(b.t.Context(), protocol.Stream)
	b.must(err)
	return stream
}

func TestFinishedRolloutsComeOldestFirst(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	open, _ := b.begin("still-open")
	var ends []uint64 // of the finished ones
	for range 3 {
		s, first := b.begin("todo-app")
		_, _ = b.begin("shop-" + s.ID[len(s.ID)-4:]) // open, too
		ends = append(ends, b.end(s, first))
	}
	later, first := b.begin("todo-app")
	b.must(b.nc.Publish("golive.rollout.todo-app.by-hand", []byte("no event")))
	b.must(b.nc.Flush())
	sequences := func(since time.Time, after uint64, limit int) []uint64 {
		t.Helper()
		records, err := b.Finished(ctx, since, after, limit)
		b.must(err)
		var found []uint64
		for _, r := range records {
			if !r.State.Status.Final() {
				t.Errorf("rollout %s is %s", r.State.ID, r.State.Status)
			}
			found = append(found, r.Sequence)
		}
		return found
	}
	future := time.Now().Add(time.Hour)
	if got := sequences(future, 0, 10); !slices.Equal(got, ends) {
		t.Errorf("finished are those that end at %v, want %v", got, ends)
	}
	if got := sequences(future, 0, 2); !slices.Equal(got, ends[:2]) {
		t.Errorf("the first two end at %v, want %v", got, ends[:2])
	}
	if got := sequences(future, ends[1], 2); !slices.Equal(got, ends[2:]) {
		t.Errorf("after them come those that end at %v, want %v", got, ends[2:])
	}
	m, err := b.stream().GetMsg(ctx, ends[1])
	b.must(err)
	if got := sequences(m.Time, 0, 10); !slices.Equal(got, ends[:1]) {
		t.Errorf("before the second ended, those that end at %v had, want %v", got, ends[:1])
	}
	last := b.end(later, first)
	if got := sequences(future, ends[2], 10); !slices.Equal(got, []uint64{last}) {
		t.Errorf("after them comes %v, want %d", got, last)
	}
	if r, err := b.Load(ctx, "still-open", open.ID); err != nil || r.State.Status != rollout.Running {
		t.Errorf("the open one is %s, %v", r.State.Status, err)
	}
}

func TestDroppedRolloutLeavesNothing(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	s, first := b.begin("todo-app")
	other, _ := b.begin("shop")
	b.must(b.Remind(ctx, s, first, time.Now().Add(time.Hour)))
	for _, id := range []string{s.ID, other.ID} {
		b.must(b.nc.Publish(protocol.AnswerSubject(id, 1, 1, false), []byte("hello")))
	}
	b.must(b.nc.Publish(protocol.DueSubject("todo-app", s.ID), nil))
	b.must(b.nc.Flush())
	if err := b.Drop(ctx, "todo-app", s.ID, first-1); err == nil {
		t.Error("a rollout is dropped to which something has happened since")
	}
	end := b.end(s, first)
	if err := b.Drop(ctx, "todo-app", s.ID, first); !errors.Is(err, rollout.ErrConflict) {
		t.Errorf("dropping an old state gives %v, want ErrConflict", err)
	}
	if n := b.stored(protocol.RolloutSubject("todo-app", s.ID)); n != 2 {
		t.Errorf("%d events are left, want both", n)
	}
	for range 2 { // dropping it again is no error
		b.must(b.Drop(ctx, "todo-app", s.ID, end))
	}
	for _, subject := range []string{
		protocol.RolloutSubject("todo-app", s.ID), protocol.TimerSubject("todo-app", s.ID),
		protocol.DueSubject("todo-app", s.ID), protocol.AnswerSubject(s.ID, 1, 1, false),
	} {
		if n := b.stored(subject); n != 0 {
			t.Errorf("%d messages are left on %s", n, subject)
		}
	}
	if n := b.stored(protocol.AnswerSubject(other.ID, 1, 1, false)); n != 1 {
		t.Errorf("of the other rollout %d replies are left, want 1", n)
	}
	if _, err := b.Load(ctx, "todo-app", s.ID); !errors.Is(err, rollout.ErrNotFound) {
		t.Errorf("loading it gives %v, want ErrNotFound", err)
	}
	b.begin("todo-app") // after nothing
	if refs, _, err := b.Page(ctx, "", "", 10); err != nil || len(refs) != 2 || refs[1].ID != other.ID {
		t.Errorf("the list is %v, %v", refs, err)
	}
}

func TestRepliesOfWhatIsOverAreDropped(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	over, first := b.begin("todo-app")
	b.end(over, first)
	open, _ := b.begin("shop")
	reply := func(id string, step int) {
		b.must(b.nc.Publish(protocol.AnswerSubject(id, step, 1, false), []byte("hello")))
		b.must(b.nc.Flush())
	}
	for _, id := range []string{over.ID, open.ID, "nobody"} {
		reply(id, 1)
		reply(id, 2)
	}
	count := func(want int) {
		t.Helper()
		if got := b.stored(protocol.AllAnswers); got != want {
			t.Errorf("%d replies are left, want %d", got, want)
		}
	}
	b.must(b.DropReplies(ctx, time.Now().Add(-time.Hour)))
	count(6)
	b.must(b.DropReplies(ctx, time.Now().Add(time.Hour)))
	count(2)
	if got := b.stored(protocol.AnswerSubject(open.ID, 1, 1, false)); got != 1 {
		t.Errorf("of the open rollout %d are left, want its own", got)
	}
	late, first := b.begin("todo-app")
	reply(late.ID, 1)
	m, err := b.stream().GetMsg(ctx, b.end(late, first))
	b.must(err)
	b.must(b.DropReplies(ctx, m.Time)) // it has ended only then
	count(3)
	b.must(b.DropReplies(ctx, time.Now().Add(time.Hour)))
	count(2)
	if last, err := b.Last(ctx); err != nil || last != m.Sequence {
		t.Errorf("the newest event is at %d, %v, want %d", last, err, m.Sequence)
	}
}
