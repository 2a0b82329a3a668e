package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// bucket is a bucket, and the stream behind it.
type bucket struct {
	kv     jetstream.KeyValue
	stream jetstream.Stream
	prefix string // of the subjects of its keys
}

func makeBucket(ctx context.Context, nc *nats.Conn, b bus.Bucket, environment string, replicas int) (bucket, error) {
	kv, err := bus.Make(ctx, nc, b, environment, replicas)
	if err != nil {
		return bucket{}, err
	}
	js, err := bus.NewJetStream(nc)
	if err != nil {
		return bucket{}, err
	}
	stream, err := js.Stream(ctx, "KV_"+b.Name)
	if err != nil {
		return bucket{}, fmt.Errorf("open bucket %s: %w", b.Name, err)
	}
	return bucket{kv, stream, protocol.KeySubject(b.Name, "")}, nil
}

// keys lists the keys that match a filter, from the leader.
func (b bucket) keys(ctx context.Context, filter string) ([]string, error) {
	var info *jetstream.StreamInfo
	err := bus.AskLeader(ctx, func(ctx context.Context) (err error) {
		info, err = b.stream.Info(ctx, jetstream.WithSubjectFilter(b.prefix+filter))
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []string
	for subject := range info.State.Subjects {
		all = append(all, strings.TrimPrefix(subject, b.prefix))
	}
	slices.Sort(all)
	return all, nil
}

// get reads a key from the leader; nil when there is none.
func (b bucket) get(ctx context.Context, key string) (entry jetstream.KeyValueEntry, err error) {
	err = bus.AskLeader(ctx, func(ctx context.Context) error {
		entry, err = b.kv.Get(ctx, key)
		return err
	})
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	return entry, nil
}

// put stores a value on top of a revision, 0 for a key that is not there, until it is known
// what has become of that; [rollout.ErrConflict] when somebody else has written.
func (b bucket) put(ctx context.Context, key string, v any, on uint64) (revision uint64, err error) {
	value, err := json.Marshal(v)
	if err != nil {
		return 0, err
	}
	for {
		writing, cancel := context.WithTimeout(ctx, askTimeout)
		revision, err := store(writing, b.kv, key, value, on)
		cancel()
		if err == nil {
			return revision, nil
		}
		found, readErr := b.get(ctx, key)
		var is uint64
		if found != nil {
			is = found.Revision()
		}
		switch {
		case readErr != nil:
			return 0, fmt.Errorf("write %s: %w", key, errors.Join(err, readErr))
		case is > on && string(found.Value()) == string(value):
			return is, nil // only the acknowledgement was lost
		case is != on:
			return 0, fmt.Errorf("write %s: %w", key, rollout.ErrConflict)
		}
		if rest(ctx, askPause); ctx.Err() != nil {
			return 0, fmt.Errorf("write %s: %w", key, ctx.Err())
		}
	}
}

// store is one try: what a person has deleted counts as not there.
func store(ctx context.Context, kv jetstream.KeyValue, key string, value []byte, on uint64) (uint64, error) {
	if on == 0 {
		return kv.Create(ctx, key, value)
	}
	return kv.Update(ctx, key, value, on)
}

const (
	askTimeout = 2 * time.Second        // of one question to a leader
	askPause   = 200 * time.Millisecond // until it is asked again
)

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
