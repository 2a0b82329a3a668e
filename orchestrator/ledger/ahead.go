package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// A bus that was put back from a backup may hold a ledger that is ahead of its journal, or has
// taken in events that the journal no longer has: orchestrators that were still running have
// stored it. What such a ledger says must not be believed; it is made anew from the journal.

// Events tell what the journal has of what the ledger remembers. Both ask the leader.
type Events struct {
	// Holds reports whether an event is, or was, in the journal: one that was removed, because
	// its rollout has long ended, counts.
	Holds func(context.Context, rollout.Position) (bool, error)
	// Dropped reports whether an event was in the journal and was removed. It is not told of the
	// time of the event.
	Dropped func(context.Context, rollout.Position) (bool, error)
}

// LoadFrom is [Store.Load] for a journal with these events. An environment that is ahead of it
// is replaced, in the store too, by one that only knows the names of the apps, and reports so:
// all of the journal has to be taken in anew then.
func (s *Store) LoadFrom(ctx context.Context, events Events) (e Environment, ahead bool, err error) {
	for {
		e = Environment{}
		revision, err := s.get(ctx, environmentKey, &e)
		if err != nil {
			return e, ahead, fmt.Errorf("load ledger: %w", err)
		}
		held, err := events.Holds(ctx, e.last())
		if err != nil || held {
			return e, ahead, err
		}
		ahead = true
		fresh := Environment{}.clone()
		for app := range e.Newest {
			fresh.Newest[app] = ""
		}
		err = s.update(ctx, environmentKey, fresh, revision)
		if err == nil {
			return fresh, true, nil
		}
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) { // else somebody else has replaced it
			return e, true, fmt.Errorf("replace the ledger, which is ahead of the journal: %w", err)
		}
	}
}

// last is the newest event that the environment has taken in, or what is known of it.
func (e Environment) last() rollout.Position {
	if e.Last.Sequence == 0 {
		return rollout.Position{Sequence: e.Sequence}
	}
	return e.Last
}

// loadFrom is load for a journal with these events. A book that is ahead of it is replaced by
// one of what rollouts have run that were dropped from the journal: nobody else knows that.
func (s *Store) loadFrom(ctx context.Context, app string, events Events) (*Book, uint64, error) {
	for {
		b, revision, err := s.load(ctx, app)
		if err != nil || revision == 0 || events.Holds == nil {
			return b, revision, err
		}
		last := b.last
		if last.Sequence == 0 {
			last.Sequence = b.sequence
		}
		held, err := events.Holds(ctx, last)
		if err != nil || held {
			return b, revision, err
		}
		if b, err = b.dropped(ctx, events); err == nil {
			err = s.replaceBook(ctx, b, revision)
		}
		if err != nil && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) { // else somebody else has replaced it
			return nil, 0, fmt.Errorf("replace the ledger of app %s, which is ahead of the journal: %w", app, err)
		}
	}
}

// replaceBook stores a book in the place of the one at a revision. Whoever dies before the head
// is stored leaves a book from which the same one is made again.
func (s *Store) replaceBook(ctx context.Context, b *Book, revision uint64) error {
	next := head{Skips: b.skips}
	var err error
	if next.Entries, err = saveList(ctx, s, b.app, "entries", b.entries, nil); err != nil {
		return err
	}
	if next.Versions, err = saveList(ctx, s, b.app, "versions", b.versions, nil); err != nil {
		return err
	}
	return s.update(ctx, headKey(b.app), next, revision)
}

// dropped is the book of what rollouts have run that were dropped from the journal. It has taken
// in no event: those that the journal has follow on it.
func (b *Book) dropped(ctx context.Context, events Events) (*Book, error) {
	next := &Book{app: b.app}
	for _, e := range b.entries.all() {
		gone, err := events.Dropped(ctx, rollout.Position{Sequence: e.Sequence, Rollout: e.Rollout})
		if err != nil {
			return nil, err
		}
		if gone {
			next.entries = next.entries.add(e, e.Sequence)
		}
	}
	for _, v := range b.versions.all() {
		gone, err := events.Dropped(ctx, rollout.Position{Sequence: v.Sequence, Rollout: v.Rollout})
		if err != nil {
			return nil, err
		}
		if gone {
			next.versions = next.versions.add(v, v.Sequence)
		}
	}
	if len(next.versions) > 0 { // a book without one knows of no skips of old
		next.skips = slices.Clone(b.skips)
	}
	next.findHighest()
	return next, nil
}
