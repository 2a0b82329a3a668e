package journal_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// working takes work until stop is called or the test ends.
func (b *bench) working(handle func(context.Context, journal.Item) error) (stop func()) {
	b.t.Helper()
	j, err := journal.Make(b.t.Context(), b.bus.Connect().Conn(), 1)
	b.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- j.Work(ctx, handle) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("work: %v", err)
		}
	}
	b.t.Cleanup(stop)
	return stop
}

func (b *bench) item(items <-chan journal.Item) journal.Item {
	b.t.Helper()
	select {
	case i := <-items:
		return i
	case <-time.After(patience):
		b.t.Fatal("no work comes")
		return journal.Item{}
	}
}

func TestWorkComesAgainAfterAnError(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	items, results := make(chan journal.Item, 10), make(chan error)
	b.working(func(ctx context.Context, i journal.Item) error {
		items <- i
		select {
		case err := <-results:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	s, sequence := b.begin("todo-app")
	for _, result := range []error{errors.New("not yet"), errors.New("not yet"), nil} {
		i := b.item(items)
		if r, err := i.Record(t.Context()); err != nil || !i.Event() || r.State.ID != s.ID || i.Sequence != sequence || r.Sequence != sequence {
			t.Errorf("the item is %+v", i)
		}
		results <- result
	}
	_, sequence = b.begin("shop")
	if i := b.item(items); i.Sequence != sequence {
		t.Errorf("the item at %d comes again, although it is done", i.Sequence)
	}
	results <- nil
}

func TestWorkOfOneThatStopsGoesToAnother(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	begun := make(chan journal.Item, 10)
	stop := b.working(func(ctx context.Context, i journal.Item) error {
		begun <- i
		<-ctx.Done()
		return ctx.Err()
	})
	_, sequence := b.begin("todo-app")
	b.item(begun)
	done := make(chan journal.Item, 10)
	b.working(func(_ context.Context, i journal.Item) error { done <- i; return nil })
	stop()
	if i := b.item(done); i.Sequence != sequence {
		t.Errorf("the other gets the item at %d, want %d", i.Sequence, sequence)
	}
}

// Work that takes longer than the queue waits for an acknowledgement, 3 s, is not
// given to somebody else meanwhile.
func TestLongWorkIsDoneOnce(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	b := newBench(t)
	items := make(chan journal.Item, 10)
	goOn := make(chan struct{})
	for range 2 {
		b.working(func(ctx context.Context, i journal.Item) error {
			items <- i
			select {
			case <-goOn:
			case <-ctx.Done():
			}
			return ctx.Err()
		})
	}
	s, sequence := b.begin("todo-app")
	b.must(b.Remind(t.Context(), s, sequence, time.Now().Add(4*time.Second)))
	b.item(items)
	if i := b.item(items); i.Subject != protocol.DueSubject("todo-app", s.ID) {
		t.Errorf("long work was given out again: %+v", i)
	}
	close(goOn)
}

func TestWorkGoesOnWithANewQueue(t *testing.T) {
	b := newBench(t)
	js, err := jetstream.New(b.nc)
	b.must(err)
	ctx, cancel := b.within()
	defer cancel()
	begun, ended := make(chan journal.Item, 10), make(chan error, 1)
	go func() {
		ended <- b.Work(ctx, func(ctx context.Context, i journal.Item) error { // one that nobody ends
			begun <- i
			<-ctx.Done()
			return ctx.Err()
		})
	}()
	b.begin("todo-app")
	b.item(begun)
	b.must(js.DeleteConsumer(ctx, protocol.Stream, "golive-orchestrators"))
	if err := <-ended; err == nil || ctx.Err() != nil {
		t.Errorf("work whose queue is gone ends with %v, want an error", err)
	}
	items := make(chan journal.Item, 10)
	b.working(func(_ context.Context, i journal.Item) error { items <- i; return nil })
	b.item(items)
}

func TestRepliesAndUnreadableMessagesAreItems(t *testing.T) {
	b := newBench(t)
	items := make(chan journal.Item, 10)
	b.working(func(_ context.Context, i journal.Item) error { items <- i; return nil })
	b.must(b.nc.Publish("golive.answer.some.1.1.do", []byte("hello")))
	if i := b.item(items); i.Event() || i.Subject != "golive.answer.some.1.1.do" || string(i.Data) != "hello" {
		t.Errorf("the reply is %+v", i)
	}
	b.must(b.nc.Publish("golive.rollout.todo-app.by-hand", []byte("no event")))
	if i := b.item(items); i.Event() {
		t.Errorf("what is no event comes as %+v", i)
	}
}

func TestTimerGoesOff(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	items := make(chan journal.Item, 10)
	b.working(func(_ context.Context, i journal.Item) error { items <- i; return nil })
	s, sequence := b.begin("todo-app")
	b.item(items)
	at := time.Now().Add(700 * time.Millisecond)
	b.must(b.Remind(t.Context(), s, sequence, at.Add(time.Hour)))
	b.must(b.Remind(t.Context(), s, sequence, at)) // takes the place of the one before
	i := b.item(items)
	if app, id, ok := protocol.ParseDueSubject(i.Subject); !ok || app != "todo-app" || id != s.ID || i.Event() {
		t.Errorf("what is due comes as %+v", i)
	}
	if time.Now().Before(at) {
		t.Error("the timer went off too early")
	}
}

func TestTimerOfAnOldStateIsRefused(t *testing.T) {
	b := newBench(t)
	s, sequence := b.begin("todo-app")
	_, err := b.Append(t.Context(), b.failed(s), sequence)
	b.must(err)
	if err := b.Remind(t.Context(), s, sequence, time.Now()); !errors.Is(err, rollout.ErrConflict) {
		t.Errorf("the timer of an old state gives %v, want ErrConflict", err)
	}
}
