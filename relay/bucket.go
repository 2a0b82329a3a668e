package relay

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Bucket describes a key-value bucket that golive keeps its state in.
type Bucket struct {
	Name     string        // required
	Replicas int           // 0 means 1
	MaxAge   time.Duration // after which a key is forgotten; 0: never
}

// OpenBucket opens b and makes it when it is missing. Reads of the bucket come from
// its leader: the default of NATS, a read from any replica, can miss the reader's own
// write. It is safe to call from many processes at once.
func OpenBucket(ctx context.Context, nc *nats.Conn, b Bucket) (jetstream.KeyValue, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	kv, err := js.KeyValue(ctx, b.Name)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return kv, err
	}
	// Not CreateOrUpdate: called by several at once on a fresh cluster it times out.
	_, err = js.CreateStream(ctx, jetstream.StreamConfig{
		Name: "KV_" + b.Name, Subjects: []string{"$KV." + b.Name + ".>"},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true,
		AllowDirect: false, MaxAge: b.MaxAge, Replicas: max(b.Replicas, 1), MaxMsgSize: -1,
	})
	if err != nil && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil, fmt.Errorf("make bucket %s: %w", b.Name, err)
	}
	return js.KeyValue(ctx, b.Name)
}
