package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// Bucket describes a key-value bucket that golive keeps its state in.
type Bucket struct {
	Name   string        // required
	MaxAge time.Duration // after which a key is forgotten; 0: never
	TTL    bool          // a key may say itself when it is forgotten, in the header Nats-TTL
	Format int           // of what is kept, the newest that this version of golive knows; a higher one is refused
}

// The buckets of an environment.
//
// Leases are kept on disk as routes are: a bucket in memory is gone with a restart of
// its server, and then a gate would see nobody alive while everybody still serves.
var (
	Routes = Bucket{Name: protocol.RoutesBucket, Format: 1}
	Leases = Bucket{Name: protocol.LeasesBucket, Format: 1, TTL: true}
	Ledger = Bucket{Name: protocol.LedgerBucket, Format: 1}
	Agents = Bucket{Name: protocol.AgentsBucket, Format: 1, TTL: true}
	Hosts  = Bucket{Name: protocol.HostsBucket, Format: 1}

	Claims        = Bucket{Name: protocol.ClaimsBucket, Format: 1, MaxAge: claimsMaxAge}
	Checkpoints   = Bucket{Name: protocol.CheckpointsBucket, Format: 1, MaxAge: claimsMaxAge}
	FailedRecords = Bucket{Name: protocol.FailedRecordsBucket, Format: 1} // what is in it goes with the rollout

	// Takes is made with the first snapshot. What is in it is a lease: whoever takes one renews it.
	Takes = Bucket{Name: protocol.TakesBucket, Format: 1, MaxAge: TakeLease}

	// Rehearsals is made when the first one is told.
	Rehearsals = Bucket{Name: protocol.RehearsalsBucket, Format: 1, MaxAge: RehearsalsKept}
)

// TakeLease is how long a snapshot counts as being taken that nobody has said so of again: longer
// than an election.
const TakeLease = 30 * time.Second

// RehearsalsKept is how long it is known what came of a rehearsal.
const RehearsalsKept = 30 * 24 * time.Hour

// claimsMaxAge is how long it is known which attempts setup services have begun: longer
// than any rollout stays open.
const claimsMaxAge = 90 * 24 * time.Hour

// ErrNone says that no orchestrator has made the bucket yet.
var ErrNone = errors.New("there is none yet: it is made by golive serve, or golive up")

// Open opens b, which somebody else has made; the error is [ErrNone] when nobody has. It asks
// again while no leader answers, for 30 seconds at most. Reads of the bucket come from its
// leader: the default of NATS, a read from any replica, can miss the reader's own write. It is
// safe to call from many processes at once.
func Open(ctx context.Context, nc *nats.Conn, b Bucket) (kv jetstream.KeyValue, err error) {
	js, err := NewJetStream(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	err = AskLeader(ctx, func(ctx context.Context) (err error) {
		kv, err = Look(ctx, js, b)
		return err
	})
	return kv, err
}

// Look is [Open] for those who ask again by themselves: it asks once.
func Look(ctx context.Context, js JetStream, b Bucket) (jetstream.KeyValue, error) {
	there, err := b.find(ctx, js)
	if err == nil {
		err = b.readable(there)
	}
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name, err)
	}
	kv, err := js.KeyValue(ctx, b.Name)
	if err != nil {
		return nil, fmt.Errorf("open bucket %s: %w", b.Name, err)
	}
	return kv, nil
}

// openFor is how long a bucket that nobody answers about is waited for: longer than an
// election.
const openFor = 30 * time.Second

// find gives the configuration of the stream that keeps the bucket.
func (b Bucket) find(ctx context.Context, js JetStream) (jetstream.StreamConfig, error) {
	stream, err := js.Stream(ctx, b.stream())
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return jetstream.StreamConfig{}, ErrNone
	}
	if err != nil {
		return jetstream.StreamConfig{}, err
	}
	return stream.CachedInfo().Config, nil
}

// readable refuses a bucket of a format that this version of golive does not know.
func (b Bucket) readable(there jetstream.StreamConfig) error {
	text, told := there.Metadata[metaFormat]
	format, err := strconv.Atoi(text)
	if told && err != nil {
		return fmt.Errorf("its format %q is no number: bring golive up to date", text)
	}
	if format > b.Format {
		return fmt.Errorf("its format %d is of a newer version of golive, this one reads up to %d: bring golive up to date", format, b.Format)
	}
	return nil
}

// stream is the name of the stream that keeps the bucket.
func (b Bucket) stream() string { return "KV_" + b.Name }

// What the metadata of a bucket's stream says, as that of the journal does.
const (
	metaFormat      = "golive-format"
	metaEnvironment = "golive-environment"
)

// Environment is the id of the environment that a stream or a bucket's stream belongs to; empty:
// it does not say.
func Environment(c jetstream.StreamConfig) string { return c.Metadata[metaEnvironment] }
