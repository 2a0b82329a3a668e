package ledger

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Keys of the bucket. The environment has one. A book has a head, which says what belongs
// to it, and chunks, which are never changed: what a chunk holds after an event is a
// function of the journal, so whoever writes a chunk of that name writes the same.
const environmentKey = "environment"

func headKey(app string) string { return "app." + app }

// chunkKey names the chunk number n of a list ("entries" or "versions") of app as it was
// after the event at sequence changed.
func chunkKey(app, list string, n int, changed uint64) string {
	return headKey(app) + "." + list + "." + strconv.Itoa(n) + "." + strconv.FormatUint(changed, 10)
}

// head says what belongs to a stored book.
type head struct {
	Sequence uint64   `json:"sequence"` // of the newest event in the book
	Entries  []uint64 `json:"entries"`  // of each chunk: the event that changed it last
	Versions []uint64 `json:"versions"`
	Skips    []string `json:"skips,omitempty"`
	Changed  string   `json:"changed,omitempty"` // the rollout that has run or moved something last

	Last rollout.Position `json:"last"` // the event at sequence; zero where an older version has stored it
}

// Store keeps the ledger in JetStream, each value as compressed JSON. It is safe for
// concurrent use, also by several orchestrators: of two that save, the one that reaches
// further stays. Reads come from the leader: a replica could miss what was just written.
type Store struct {
	kv     jetstream.KeyValue
	stream jetstream.Stream // of the bucket
}

// Make opens the store of the environment that nc is connected to, for an orchestrator: it
// makes or changes the bucket as [bus.Make] does, for the environment with that id.
func Make(ctx context.Context, nc *nats.Conn, environment string, replicas int) (*Store, error) {
	kv, err := bus.Make(ctx, nc, bus.Ledger, environment, replicas)
	if err != nil {
		return nil, err
	}
	js, err := bus.NewJetStream(nc)
	if err != nil {
		return nil, err
	}
	stream, err := js.Stream(ctx, "KV_"+protocol.LedgerBucket)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", protocol.LedgerBucket, err)
	}
	return &Store{kv: kv, stream: stream}, nil
}

// Load gives the environment as it was saved last; the zero Environment when it never was.
func (s *Store) Load(ctx context.Context) (Environment, error) {
	var e Environment
	if _, err := s.get(ctx, environmentKey, &e); err != nil {
		return Environment{}, fmt.Errorf("load ledger: %w", err)
	}
	return e, nil
}

// save stores an environment unless one that reaches as far is there.
func (s *Store) save(ctx context.Context, e Environment) error {
	return again(ctx, func() error {
		var found Environment
		revision, err := s.get(ctx, environmentKey, &found)
		if err != nil || found.Sequence >= e.Sequence {
			return err
		}
		return s.update(ctx, environmentKey, e, revision)
	})
}

// load gives the book of app as it was saved last, with its revision; an empty one and 0
// when it never was.
func (s *Store) load(ctx context.Context, app string) (*Book, uint64, error) {
	for {
		b, revision, err := s.loadBook(ctx, app)
		if !errors.Is(err, jetstream.ErrKeyNotFound) {
			return b, revision, err
		}
		// A chunk is gone because the head has changed meanwhile. If it has not, the
		// chunk is missing.
		if _, now, getErr := s.head(ctx, app); getErr != nil || now == revision {
			return nil, 0, errors.Join(err, getErr)
		}
	}
}

func (s *Store) head(ctx context.Context, app string) (head, uint64, error) {
	var h head
	revision, err := s.get(ctx, headKey(app), &h)
	return h, revision, err
}

func (s *Store) loadBook(ctx context.Context, app string) (*Book, uint64, error) {
	h, revision, err := s.head(ctx, app)
	if err != nil {
		return nil, 0, err
	}
	b := &Book{app: app, sequence: h.Sequence, skips: h.Skips, changed: h.Changed, last: h.Last}
	if b.entries, err = loadList[Entry](ctx, s, app, "entries", h.Entries); err != nil {
		return nil, revision, err
	}
	if b.versions, err = loadList[AppVersion](ctx, s, app, "versions", h.Versions); err != nil {
		return nil, revision, err
	}
	b.findHighest()
	return b, revision, nil
}

func loadList[T any](ctx context.Context, s *Store, app, name string, changed []uint64) (list[T], error) {
	var l list[T]
	for n, sequence := range changed {
		c, key := chunk[T]{changed: sequence}, chunkKey(app, name, n, sequence)
		revision, err := s.get(ctx, key, &c.items)
		if err == nil && revision == 0 {
			err = jetstream.ErrKeyNotFound
		}
		if err != nil {
			return nil, fmt.Errorf("chunk %s: %w", key, err)
		}
		l = append(l, c)
	}
	return l, nil
}

// saveBook stores a book unless one that reaches as far is there: first the chunks that
// are new, then the head, then it removes the chunks that no head will name again. At
// whatever point it ends, the head names chunks that are there.
func (s *Store) saveBook(ctx context.Context, b *Book) error {
	return again(ctx, func() error {
		stored, revision, err := s.head(ctx, b.app)
		if err != nil || stored.Sequence >= b.sequence {
			return err
		}
		next := head{Sequence: b.sequence, Skips: b.skips, Changed: b.changed, Last: b.last}
		if next.Entries, err = saveList(ctx, s, b.app, "entries", b.entries, stored.Entries); err != nil {
			return err
		}
		if next.Versions, err = saveList(ctx, s, b.app, "versions", b.versions, stored.Versions); err != nil {
			return err
		}
		// On condition that it is still the head whose chunks were left as they are.
		if err := s.update(ctx, headKey(b.app), next, revision); err != nil {
			return err
		}
		return s.tidy(ctx, b.app, next)
	})
}

func saveList[T any](ctx context.Context, s *Store, app, name string, l list[T], stored []uint64) ([]uint64, error) {
	var changed []uint64
	for n, c := range l {
		changed = append(changed, c.changed)
		if n < len(stored) && stored[n] == c.changed {
			continue
		}
		value, err := pack(c.items)
		if err != nil {
			return nil, err
		}
		// Not Create: a cluster refuses that, too, where there is no such key, and then
		// the head would name a chunk that is not there.
		if _, err := s.kv.Put(ctx, chunkKey(app, name, n, c.changed), value); err != nil {
			return nil, err
		}
	}
	return changed, nil
}

// tidy removes the chunks of app that are older than those that its head names. Heads
// only go forward, so none will name them again. A chunk that is newer may be named soon,
// by whoever has just written it.
func (s *Store) tidy(ctx context.Context, app string, h head) error {
	info, err := s.stream.Info(ctx, jetstream.WithSubjectFilter(protocol.KeySubject(protocol.LedgerBucket, headKey(app)+".>")))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, protocol.KeySubject(protocol.LedgerBucket, ""))
		if !h.past(key) {
			continue
		}
		// Not Delete, which would leave a marker for ever: the key is never used again.
		if err := s.stream.Purge(ctx, jetstream.WithPurgeSubject(subject)); err != nil {
			return err
		}
	}
	return nil
}

// past reports whether a chunk is older than the one of its place that the head names.
func (h head) past(key string) bool {
	parts := strings.Split(key, ".") // as chunkKey makes it
	if len(parts) != 5 {
		return false
	}
	chunks := h.Entries
	if parts[2] == "versions" {
		chunks = h.Versions
	}
	n, errN := strconv.Atoi(parts[3])
	changed, errChanged := strconv.ParseUint(parts[4], 10, 64)
	return errN == nil && errChanged == nil && n < len(chunks) && changed < chunks[n]
}

// maxTries is how often a value is written while others write it too. A cluster also
// refuses a write, as if it had been too late, where there is no conflict.
const maxTries = 10

// again calls f until it does not lose a race.
func again(ctx context.Context, f func() error) error {
	for try := 1; ; try++ {
		err := f()
		if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) || try == maxTries {
			return err
		}
		if err := pause(ctx, time.Duration(try)*5*time.Millisecond); err != nil {
			return err
		}
	}
}

// update writes value on condition that what is there has this revision; 0: nothing is.
func (s *Store) update(ctx context.Context, key string, value any, revision uint64) error {
	data, err := pack(value)
	if err != nil {
		return err
	}
	_, err = s.kv.Update(ctx, key, data, revision)
	return err
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// get reads the value under key; revision 0 says that there is none.
func (s *Store) get(ctx context.Context, key string, value any) (revision uint64, err error) {
	entry, err := s.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if err := unpack(entry.Value(), value); err != nil {
		return 0, fmt.Errorf("key %s at revision %d: %w", key, entry.Revision(), err)
	}
	return entry.Revision(), nil
}

// packers are used again: each takes most of a megabyte.
var packers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

func pack(value any) ([]byte, error) {
	var b bytes.Buffer
	w := packers.Get().(*gzip.Writer)
	defer packers.Put(w)
	w.Reset(&b)
	if err := json.NewEncoder(w).Encode(value); err != nil {
		return nil, err
	}
	err := w.Close()
	return b.Bytes(), err
}

func unpack(data []byte, value any) error {
	r, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return err
	}
	text, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, value)
}
