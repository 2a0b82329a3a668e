package journal_test

import (
	"context"
	"errors"
	"net/url"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/embedded"
	"github.com/golive-dev/golive/relay/protocol"
)

// following follows a journal until the test ends.
func (b *bench) following(follow func(ctx context.Context, each func(journal.Record) error) error) <-chan journal.Record {
	b.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	records, ended := make(chan journal.Record, 100), make(chan error, 1)
	go func() {
		ended <- follow(ctx, func(r journal.Record) error { records <- r; return nil })
	}()
	b.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.t.Errorf("follow: %v", err)
		}
	})
	return records
}

// next checks that the next records are those at these sequences.
func (b *bench) next(records <-chan journal.Record, sequences ...uint64) {
	b.t.Helper()
	ctx, cancel := b.within()
	defer cancel()
	for _, want := range sequences {
		select {
		case r := <-records:
			if r.Sequence != want {
				b.t.Fatalf("the next record is at %d, want %d", r.Sequence, want)
			}
		case <-ctx.Done():
			b.t.Fatalf("the record at %d does not come", want)
		}
	}
}

func TestFollowGivesEachEventOnceAndInOrder(t *testing.T) {
	b := newBench(t)
	s, first := b.begin("todo-app")
	_, second := b.begin("shop")
	all := b.following(func(ctx context.Context, each func(journal.Record) error) error {
		return b.Follow(ctx, 0, records(each))
	})
	later := b.following(func(ctx context.Context, each func(journal.Record) error) error {
		return b.Follow(ctx, first, records(each))
	})
	one := b.following(func(ctx context.Context, each func(journal.Record) error) error {
		return b.FollowSubject(ctx, protocol.RolloutSubject("todo-app", s.ID), 0, each)
	})
	third, err := b.Append(t.Context(), b.failed(s), first)
	b.must(err)
	b.next(all, first, second, third)
	b.next(later, second, third)
	b.next(one, first, third)
}

// What somebody has published by hand is no event, but has a sequence.
func TestFollowGoesOnAfterAMessageThatIsNoEvent(t *testing.T) {
	b := newBench(t)
	_, first := b.begin("todo-app")
	b.must(b.nc.Publish("golive.rollout.todo-app.by-hand", []byte("no event")))
	b.must(b.nc.Flush())
	_, third := b.begin("shop")
	b.next(b.following(func(ctx context.Context, each func(journal.Record) error) error {
		return b.Follow(ctx, 0, records(each))
	}),
		first, first+1, third)
	b.next(b.following(func(ctx context.Context, each func(journal.Record) error) error {
		return b.FollowSubject(ctx, protocol.AllRollouts, 0, each)
	}), first, third)
}

func TestFollowEndsWithTheErrorOfEach(t *testing.T) {
	b := newBench(t)
	b.begin("todo-app")
	ctx, cancel := b.within()
	defer cancel()
	enough := errors.New("enough")
	if err := b.Follow(ctx, 0, func(journal.Event) error { return enough }); !errors.Is(err, enough) {
		t.Errorf("follow ends with %v, want %v", err, enough)
	}
}

func TestFollowSurvivesARestartOfTheServer(t *testing.T) {
	t.Parallel()
	config := embedded.Config{Data: t.TempDir(), Unsynced: true}
	server, err := embedded.Start(config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() }) // stopping twice is no error
	at, err := url.Parse(server.URL())
	if err != nil {
		t.Fatal(err)
	}
	config.Listen = at.Host
	r, err := relay.Connect(t.Context(), relay.Config{URL: server.URL()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Close)
	j, err := journal.Make(t.Context(), r.Conn(), 1)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Journal: j, t: t, nc: r.Conn()}
	s, first := b.begin("todo-app")
	all := b.following(func(ctx context.Context, each func(journal.Record) error) error {
		return b.Follow(ctx, 0, records(each))
	})
	b.next(all, first)
	for range 2 {
		b.must(server.Stop())
		server, err = embedded.Start(config)
		b.must(err)
		t.Cleanup(func() { _ = server.Stop() })
		b.until("the connection is back", func() bool { return r.Conn().FlushTimeout(time.Second) == nil })
	}
	second, err := b.Append(t.Context(), b.failed(s), first)
	b.must(err)
	b.next(all, second)
}

// records reads the events for a function that wants to have them read.
func records(each func(journal.Record) error) func(journal.Event) error {
	return func(e journal.Event) error {
		r, err := e.Record(context.Background())
		if errors.Is(err, rollout.ErrNotFound) { // it has a sequence all the same
			r, err = journal.Record{Sequence: e.Sequence}, nil
		}
		if err != nil {
			return err
		}
		return each(r)
	}
}
