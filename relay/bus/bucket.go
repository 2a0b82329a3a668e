package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// Bucket describes a key-value bucket that golive keeps its state in.
type Bucket struct {
	Name     string        // required
	Replicas int           // 0 means 1
	MaxAge   time.Duration // after which a key is forgotten; 0: never
	TTL      bool          // a key may say itself when it is forgotten, in the header Nats-TTL
}

// maxWatchers of one bucket. A server's own default is 1,000, which is as many instances
// as could follow their routes.
const maxWatchers = 1_000_000

// OpenRoutes opens the buckets of routes and of leases and makes what is missing.
// Instances of services look into both.
//
// Leases are kept on disk as routes are: a bucket in memory is gone with a restart of
// its server, and then a gate would see nobody alive while everybody still serves.
func OpenRoutes(ctx context.Context, nc *nats.Conn, replicas int) (routes, leases jetstream.KeyValue, err error) {
	leases, err = OpenBucket(ctx, nc, Bucket{Name: protocol.LeasesBucket, Replicas: replicas, TTL: true})
	if err != nil {
		return nil, nil, err
	}
	routes, err = OpenBucket(ctx, nc, Bucket{Name: protocol.RoutesBucket, Replicas: replicas})
	return routes, leases, err
}

// OpenBucket opens b and makes it when it is missing. Reads of the bucket come from
// its leader: the default of NATS, a read from any replica, can miss the reader's own
// write. It is safe to call from many processes at once.
func OpenBucket(ctx context.Context, nc *nats.Conn, b Bucket) (jetstream.KeyValue, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	for {
		var kv jetstream.KeyValue
		err := AskLeader(ctx, func(ctx context.Context) (err error) {
			kv, err = js.KeyValue(ctx, b.Name)
			return err
		})
		if !errors.Is(err, jetstream.ErrBucketNotFound) {
			return kv, err
		}
		if err := makeBucket(ctx, js, b); err != nil {
			return nil, fmt.Errorf("make bucket %s: %w", b.Name, err)
		}
	}
}

// openFor is how long a bucket that nobody answers about is waited for: longer than an
// election.
const openFor = 30 * time.Second

// makeBucket makes a bucket, unless somebody else has just done so. Where nobody answers, as
// happens when several make it at once, the caller looks again.
func makeBucket(ctx context.Context, js jetstream.JetStream, b Bucket) error {
	asking, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	// Not CreateOrUpdate: called by several at once on a fresh cluster it times out.
	_, err := js.CreateStream(asking, jetstream.StreamConfig{
		Name: "KV_" + b.Name, Subjects: []string{"$KV." + b.Name + ".>"},
		MaxMsgsPerSubject: 1, Discard: jetstream.DiscardNew, DenyDelete: true, AllowRollup: true,
		MaxConsumers: maxWatchers, AllowDirect: false, AllowMsgTTL: b.TTL, MaxAge: b.MaxAge, Replicas: max(b.Replicas, 1), MaxMsgSize: -1,
	})
	if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) || err != nil && Unanswered(err) && ctx.Err() == nil {
		return nil
	}
	return err
}
