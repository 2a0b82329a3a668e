package ledger

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// Tail calls each with every event of an app that the journal holds after sequence after,
// in order, up to the newest one at the time of the call, and returns.
type Tail func(ctx context.Context, app string, after uint64, each func(rollout.State, uint64)) error

// Index is the ledger in memory: the environment, and the books that have been asked for.
// Make it with [NewIndex]. It is safe for concurrent use.
type Index struct {
	store  *Store
	tail   Tail
	events Events // zero: what is stored is believed

	mu    sync.Mutex
	env   Environment
	count int              // of events taken in
	saved int              // of them: those that the stored environment holds
	shelf map[string]*slot // by app
}

// slot is where the book of one app stands, or will stand.
type slot struct {
	book   *Book         // nil while it is being loaded
	loaded chan struct{} // closed when that has ended
	missed []missed      // what has happened meanwhile
	saved  uint64        // sequence of the book as it was saved or loaded last
	wanted bool          // somebody has asked for it since the last [Index.Save]
}

type missed struct {
	state    rollout.State
	sequence uint64
}

// NewIndex goes on from an environment; the zero Environment is an empty ledger. Books
// come from the store, and what has happened since they were saved from tail.
func NewIndex(env Environment, store *Store, tail Tail) *Index {
	return &Index{store: store, tail: tail, env: env.clone(), shelf: make(map[string]*slot)}
}

// Against has the index believe no stored book that is ahead of a journal with these events. It
// is called before the index is used.
func (x *Index) Against(events Events) *Index {
	x.events = events
	return x
}

func (e Environment) clone() Environment {
	e.Owners, e.Newest, e.Open = cloned(e.Owners), cloned(e.Newest), cloned(e.Open)
	return e
}

func cloned[V any](m map[string]V) map[string]V {
	if m == nil {
		return make(map[string]V)
	}
	return maps.Clone(m)
}

// Apply takes in the event at sequence; events come in the order of the journal. Those
// that are known already change nothing. It never waits for the store.
func (x *Index) Apply(s rollout.State, sequence uint64) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if sequence <= x.env.Sequence {
		return
	}
	app := s.Release.App
	_, known := x.env.Newest[app]
	x.env.apply(s, sequence)
	x.count++
	if s.ID == "" {
		return
	}
	if !known {
		// Nothing has happened to the app before: its book is empty, and there is none
		// in the store that could say more.
		if _, there := x.shelf[app]; !there {
			x.shelf[app] = &slot{book: &Book{app: app}, wanted: true}
		}
	}
	switch slot := x.shelf[app]; {
	case slot == nil:
	case slot.book == nil:
		slot.missed = append(slot.missed, missed{s, sequence})
	default:
		slot.book = slot.book.apply(s, sequence)
	}
}

// Book gives the book of app, which holds all that Apply had taken in when Book was
// called. It blocks while the book is loaded, unless it is in memory already: that of an
// app that began while this index has been at work is.
func (x *Index) Book(ctx context.Context, app string) (*Book, error) {
	for {
		x.mu.Lock()
		if _, known := x.env.Newest[app]; !known {
			x.mu.Unlock()
			return &Book{app: app}, nil
		}
		place := x.shelf[app]
		if place == nil {
			place = &slot{loaded: make(chan struct{}), wanted: true}
			x.shelf[app] = place
			x.mu.Unlock()
			return x.load(ctx, app, place)
		}
		if place.book != nil {
			defer x.mu.Unlock()
			place.wanted = true
			return place.book, nil
		}
		x.mu.Unlock()
		select { // somebody else is loading it, or fails to
		case <-place.loaded:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// load fills the place of a book. What has happened before Book was called comes from the
// store and the journal; what happens from then on, Apply notes down.
func (x *Index) load(ctx context.Context, app string, place *slot) (*Book, error) {
	book, saved, err := x.read(ctx, app)
	x.mu.Lock()
	defer x.mu.Unlock()
	defer close(place.loaded)
	if err != nil {
		delete(x.shelf, app)
		return nil, fmt.Errorf("load the ledger of app %s: %w", app, err)
	}
	for _, m := range place.missed {
		book = book.apply(m.state, m.sequence) // the journal may have given it, too
	}
	place.book, place.missed, place.saved = book, nil, saved
	return book, nil
}

// read makes a book of what is stored and what has happened since. An event may be
// dropped from the journal as soon as a stored book holds it: with a newer book in the
// store, what was read after the older one may have a gap.
func (x *Index) read(ctx context.Context, app string) (book *Book, saved uint64, err error) {
	for {
		book, revision, err := x.store.loadFrom(ctx, app, x.events)
		if err != nil {
			return nil, 0, err
		}
		saved := book.sequence
		err = x.tail(ctx, app, saved, func(s rollout.State, sequence uint64) { book = book.apply(s, sequence) })
		if err != nil {
			return nil, 0, err
		}
		_, now, err := x.store.head(ctx, app)
		if err != nil {
			return nil, 0, err
		}
		if now == revision {
			return book, saved, nil
		}
	}
}

// Owner is the app that a service belongs to; empty when none has brought it yet.
func (x *Index) Owner(service string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.env.Owners[service]
}

// Apps lists the apps that anything has happened to, in order.
func (x *Index) Apps() []string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Sorted(maps.Keys(x.env.Newest))
}

// Newest is the rollout of app that began last; empty when none has. One that has only repeated
// another counts until it has completed.
func (x *Index) Newest(app string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.env.Newest[app]
}

// Open gives the rollouts that are not final, each with the sequence of the event that
// made it so: its first one, or the one that took it back from completed.
func (x *Index) Open() map[string]uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return maps.Clone(x.env.Open)
}

// Sequence is that of the newest event that Apply has taken in.
func (x *Index) Sequence() uint64 {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.env.Sequence
}

// Last is the newest event of a rollout that Apply has taken in, as far as it is known.
func (x *Index) Last() rollout.Position {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.env.last()
}

// StoreAgain has the next [Index.Save] store all that is in memory: what was stored is gone.
func (x *Index) StoreAgain() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saved = -1
	for _, place := range x.shelf {
		place.saved = 0
	}
}

// Changes is how many events the environment has taken in since it was saved last.
func (x *Index) Changes() int {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.count - x.saved
}

// Save stores the environment and then each book in memory, where they have changed since
// they were saved last (an app of which a book is stored is always known), and forgets the
// books that nobody has asked for since the last Save. Losing a race against another orchestrator is no error: what that one saves is
// as good. What could not be saved stays in memory and is saved next time.
func (x *Index) Save(ctx context.Context) error {
	if err := x.SaveEnvironment(ctx); err != nil {
		return fmt.Errorf("save ledger: %w", err)
	}
	x.mu.Lock()
	apps := slices.Sorted(maps.Keys(x.shelf))
	x.mu.Unlock()
	var errs []error
	for _, app := range apps {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		if err := x.saveApp(ctx, app); err != nil {
			errs = append(errs, err)
			continue
		}
		x.forget(app)
	}
	return errors.Join(errs...)
}

// SaveApp stores the environment and the book of app, which it loads if it has to. When
// it returns nil, what is stored holds every event of the app that Apply had taken in:
// the journal may drop those that are older than any other index can be behind. One that
// has yet to take them in would not notice that they are gone.
func (x *Index) SaveApp(ctx context.Context, app string) error {
	if err := x.SaveEnvironment(ctx); err != nil {
		return fmt.Errorf("save ledger: %w", err)
	}
	if _, err := x.Book(ctx, app); err != nil {
		return err
	}
	return x.saveApp(ctx, app)
}

// SaveEnvironment stores the environment, if it has changed since it was saved last: what
// an orchestrator reads when it starts.
func (x *Index) SaveEnvironment(ctx context.Context) error {
	x.mu.Lock()
	if x.count == x.saved {
		x.mu.Unlock()
		return nil
	}
	env, count := x.env.clone(), x.count
	x.mu.Unlock()
	if err := x.store.save(ctx, env); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	x.saved = max(x.saved, count)
	return nil
}

func (x *Index) saveApp(ctx context.Context, app string) error {
	x.mu.Lock()
	place := x.shelf[app]
	if place == nil || place.book == nil || place.book.sequence <= place.saved {
		x.mu.Unlock()
		return nil
	}
	book := place.book
	x.mu.Unlock()
	if err := x.store.saveBook(ctx, book); err != nil {
		return fmt.Errorf("save the ledger of app %s: %w", app, err)
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	place.saved = max(place.saved, book.sequence)
	return nil
}

// forget takes a book out of memory that is stored and that nobody has asked for lately.
func (x *Index) forget(app string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	place := x.shelf[app]
	if place == nil || place.book == nil {
		return
	}
	if !place.wanted && place.book.sequence <= place.saved {
		delete(x.shelf, app)
	}
	place.wanted = false
}
