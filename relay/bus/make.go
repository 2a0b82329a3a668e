package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MakeRoutes makes the buckets of routes and of leases, as [Make] does. Instances of services
// look into both.
func MakeRoutes(ctx context.Context, nc *nats.Conn, environment string, replicas int) (routes, leases jetstream.KeyValue, err error) {
	if leases, err = Make(ctx, nc, Leases, environment, replicas); err != nil {
		return nil, nil, err
	}
	routes, err = Make(ctx, nc, Routes, environment, replicas)
	return routes, leases, err
}

// Make is [Open] for an orchestrator. It makes b with the given number of replicas (1 to 5; 0
// means 1) when it is missing, and where there is one that is not as this version of golive
// needs it, or has fewer replicas than are asked for, changes it. Environment is the id that
// the journal has; a bucket of another one is refused. Empty, it is not known, and whatever
// the bucket says remains.
func Make(ctx context.Context, nc *nats.Conn, b Bucket, environment string, replicas int) (jetstream.KeyValue, error) {
	js, err := NewJetStream(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	if err := b.make(ctx, js, environment, max(replicas, 1)); err != nil {
		return nil, fmt.Errorf("make bucket %s: %w", b.Name, err)
	}
	return Open(ctx, nc, b)
}

// make has the bucket be there as it is needed. Where nobody answers, as happens when several
// make it at once, and where somebody else has just made it, it looks again.
func (b Bucket) make(ctx context.Context, js JetStream, environment string, replicas int) error {
	for {
		var there jetstream.StreamConfig
		err := AskLeader(ctx, func(ctx context.Context) (err error) {
			there, err = b.find(ctx, js)
			return err
		})
		switch {
		case errors.Is(err, ErrNone):
			// Not CreateOrUpdate: called by several at once on a fresh cluster it times out.
			err = b.create(ctx, js, environment, replicas)
		case err == nil:
			var done bool
			if done, err = b.update(ctx, js, there, environment, replicas); done {
				return nil
			}
		default:
			return err
		}
		if err != nil && !Unanswered(err) && !errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return err
		}
	}
}

// Buckets are all those of an environment.
var Buckets = []Bucket{Routes, Leases, Ledger, Agents, Hosts, Claims, Checkpoints, FailedRecords}

// LeftOf finds a bucket that says of which environment it is; empty names: there is none. Where
// the journal of that is gone, another one must not take its buckets.
func LeftOf(ctx context.Context, js JetStream) (bucket, environment string, err error) {
	for _, b := range Buckets {
		there, err := b.find(ctx, js)
		if err != nil && !errors.Is(err, ErrNone) {
			return "", "", err
		}
		if id := there.Metadata[metaEnvironment]; id != "" {
			return b.Name, id, nil
		}
	}
	return "", "", nil
}

// maxWatchers of one bucket. A server's own default is 1,000, which is as many instances
// as could follow their routes.
const maxWatchers = 1_000_000

func (b Bucket) create(ctx context.Context, js JetStream, environment string, replicas int) error {
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	fresh := jetstream.StreamConfig{
		Name: b.stream(), Subjects: []string{"$KV." + b.Name + ".>"},
		MaxMsgsPerSubject: 1, DenyDelete: true, MaxConsumers: maxWatchers,
	}
	wanted, _ := b.wanted(fresh, environment, replicas)
	_, err := js.CreateStream(ctx, wanted)
	return err
}

// update changes what is there into what is needed, and reports whether it is so then.
func (b Bucket) update(ctx context.Context, js JetStream, there jetstream.StreamConfig, environment string, replicas int) (bool, error) {
	if err := b.readable(there); err != nil {
		return false, err
	}
	if id := there.Metadata[metaEnvironment]; id != "" && environment != "" && id != environment {
		return false, fmt.Errorf("it is of the environment %s, and the journal of %s: they do not belong together", id, environment)
	}
	wanted, differs := b.wanted(there, environment, replicas)
	if len(differs) == 0 {
		return true, nil
	}
	ctx, cancel := context.WithTimeout(ctx, leaderTimeout)
	defer cancel()
	if _, err := js.UpdateStream(ctx, wanted); err != nil {
		return false, fmt.Errorf("it has %s, and cannot be changed: %w", strings.Join(differs, ", "), err)
	}
	return true, nil
}

// wanted is what is there as it has to be, and says how it is not so. What golive does not
// care for stays: it may have been set by hand.
func (b Bucket) wanted(there jetstream.StreamConfig, environment string, replicas int) (jetstream.StreamConfig, []string) {
	wanted, differs := there, []string(nil)
	differs = have(differs, "replicas", &wanted.Replicas, max(replicas, there.Replicas))
	differs = have(differs, "a max age of", &wanted.MaxAge, b.MaxAge)
	differs = have(differs, "a max size in bytes of", &wanted.MaxBytes, -1)
	differs = have(differs, "a max number of keys of", &wanted.MaxMsgs, -1)
	differs = have(differs, "a max size of a value of", &wanted.MaxMsgSize, -1)
	differs = have(differs, "discard", &wanted.Discard, jetstream.DiscardNew)
	differs = have(differs, "rollup", &wanted.AllowRollup, true)
	differs = have(differs, "direct reads", &wanted.AllowDirect, false)
	differs = have(differs, "message TTLs", &wanted.AllowMsgTTL, b.TTL || there.AllowMsgTTL) // they cannot be taken away
	wanted.Metadata = maps.Clone(there.Metadata)
	if wanted.Metadata == nil {
		wanted.Metadata = make(map[string]string)
	}
	tell := func(key, value string) {
		if is := there.Metadata[key]; is != value {
			wanted.Metadata[key] = value
			differs = append(differs, fmt.Sprintf("%s %q instead of %q", key, is, value))
		}
	}
	tell(metaFormat, strconv.Itoa(b.Format))
	if environment != "" {
		tell(metaEnvironment, environment)
	}
	return wanted, differs
}

// have sets a value, and adds to differs when it was another one.
func have[T comparable](differs []string, what string, is *T, want T) []string {
	if *is != want {
		differs = append(differs, fmt.Sprintf("%s %v instead of %v", what, *is, want))
		*is = want
	}
	return differs
}
