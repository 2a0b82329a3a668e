package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	askTimeout = 2 * time.Second        // of one question to the bucket's leader
	askPause   = 200 * time.Millisecond // until it is asked again
)

// results keeps what has come of orders, in the hosts' bucket. It is safe for concurrent use.
type results struct{ bucket jetstream.KeyValue }

// entry is what the bucket has under a key; revision 0: nothing.
type entry struct {
	protocol.Host
	value    []byte
	revision uint64
}

// read asks the bucket's leader, again and again while it does not answer.
func (r results) read(ctx context.Context, key string) (entry, error) {
	var found jetstream.KeyValueEntry
	err := bus.AskLeader(ctx, func(ctx context.Context) (err error) {
		found, err = r.bucket.Get(ctx, key)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return entry{}, nil
	}
	if err != nil {
		return entry{}, fmt.Errorf("read %s: %w", key, err)
	}
	e := entry{value: found.Value(), revision: found.Revision()}
	if err := json.Unmarshal(e.value, &e.Host); err != nil {
		return e, fmt.Errorf("read %s at revision %d: %w", key, e.revision, err)
	}
	return e, nil
}

// write stores an entry on top of a revision, again and again until it is known what has
// become of that; [rollout.ErrConflict] when somebody else has written.
func (r results) write(ctx context.Context, key string, h protocol.Host, on uint64) (uint64, error) {
	value, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	for {
		writing, cancel := context.WithTimeout(ctx, askTimeout)
		revision, err := r.store(writing, key, value, on)
		cancel()
		if err == nil {
			return revision, nil
		}
		found, readErr := r.read(ctx, key)
		switch {
		case readErr != nil:
			return 0, fmt.Errorf("write %s: %w", key, errors.Join(err, readErr))
		case found.revision > on && bytes.Equal(found.value, value):
			return found.revision, nil // only the acknowledgement was lost
		case found.revision != on:
			return 0, fmt.Errorf("write %s: %w", key, rollout.ErrConflict)
		}
		if rest(ctx, askPause); ctx.Err() != nil {
			return 0, fmt.Errorf("write %s: %w", key, ctx.Err())
		}
	}
}

// store is one try: what a person has deleted counts as not there.
func (r results) store(ctx context.Context, key string, value []byte, on uint64) (uint64, error) {
	if on == 0 {
		return r.bucket.Create(ctx, key, value)
	}
	return r.bucket.Update(ctx, key, value, on)
}

// assignment reads which hosts an attempt was given to, from the bucket's leader.
func (r results) assignment(ctx context.Context, key string) (protocol.Assignment, error) {
	var found jetstream.KeyValueEntry
	err := bus.AskLeader(ctx, func(ctx context.Context) (err error) {
		found, err = r.bucket.Get(ctx, key)
		return err
	})
	var given protocol.Assignment
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return given, nil
	}
	if err == nil {
		err = json.Unmarshal(found.Value(), &given)
	}
	if err != nil {
		return given, fmt.Errorf("read %s: %w", key, err)
	}
	return given, nil
}
