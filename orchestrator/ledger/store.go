package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
)

const snapshotKey = "snapshot"

// Store keeps the snapshot in JetStream. It is safe for concurrent use.
type Store struct{ kv jetstream.KeyValue }

// Open opens the store of the environment that nc is connected to, and makes it with
// the given number of replicas when it is missing.
func Open(ctx context.Context, nc *nats.Conn, replicas int) (*Store, error) {
	kv, err := relay.OpenBucket(ctx, nc, relay.Bucket{Name: protocol.LedgerBucket, Replicas: replicas})
	if err != nil {
		return nil, err
	}
	return &Store{kv: kv}, nil
}

// Load gives the newest snapshot; the zero Snapshot when there is none.
func (s *Store) Load(ctx context.Context) (Snapshot, error) {
	found, _, err := s.load(ctx)
	return found, err
}

func (s *Store) load(ctx context.Context) (Snapshot, uint64, error) {
	entry, err := s.kv.Get(ctx, snapshotKey)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Snapshot{}, 0, nil
	}
	if err != nil {
		return Snapshot{}, 0, fmt.Errorf("load ledger: %w", err)
	}
	var found Snapshot
	if err := json.Unmarshal(entry.Value(), &found); err != nil {
		return Snapshot{}, 0, fmt.Errorf("load ledger at revision %d: %w", entry.Revision(), err)
	}
	return found, entry.Revision(), nil
}

// Save stores a snapshot unless one that reaches as far is there already. Losing a
// race against another orchestrator is no error: its snapshot is as good.
func (s *Store) Save(ctx context.Context, next Snapshot) error {
	found, revision, err := s.load(ctx)
	if err != nil {
		return err
	}
	if found.Sequence >= next.Sequence {
		return nil
	}
	value, err := json.Marshal(next)
	if err != nil {
		return fmt.Errorf("save ledger: %w", err)
	}
	if _, err := s.kv.Update(ctx, snapshotKey, value, revision); err != nil && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return fmt.Errorf("save ledger: %w", err)
	}
	return nil
}
