package rehearsed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
)

// Errors of a [Store].
var (
	ErrNone = errors.New("no rehearsal of it is known")
	ErrFull = fmt.Errorf("the environment keeps what came of the rehearsals of %d releases, and takes no more: what is %d days old is forgotten", MaxOutcomes, int(Kept.Hours())/24)
)

// Store keeps outcomes in the bucket of an environment.
type Store struct {
	Conn        *nats.Conn // required
	Environment string     // id of the environment
	Replicas    int        // of the bucket that it makes; 0: 1
}

// Tell keeps an outcome, told at a moment, in the place of the one that was told before of the
// same release; told twice, it is kept once. It gives what is kept then. It makes the bucket where
// it is missing, and blocks until the bus has stored it. The error is [ErrFull] where it would be
// one too many.
func (s Store) Tell(ctx context.Context, o Outcome, at time.Time) (Outcome, error) {
	if err := o.Validate(); err != nil {
		return o, err
	}
	kv, err := bus.Make(ctx, s.Conn, bus.Rehearsals, s.Environment, s.Replicas)
	if err != nil {
		return o, err
	}
	for {
		there, revision, err := read(ctx, kv, o.App, o.Digest)
		switch {
		case err == nil && there.ID == o.ID:
			return there, nil
		case err != nil && !errors.Is(err, ErrNone):
			return o, err
		}
		o.At = at
		err = write(ctx, kv, o, revision)
		if !errors.Is(err, jetstream.ErrKeyExists) && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			return o, err
		}
	}
}

// write stores an outcome if nobody has since the revision was read; 0: there is none.
func write(ctx context.Context, kv jetstream.KeyValue, o Outcome, revision uint64) error {
	data, err := json.Marshal(o)
	if err != nil {
		return err
	}
	if revision > 0 {
		_, err = kv.Update(ctx, key(o.App, o.Digest), data, revision)
		return err
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return err
	}
	if status.Values() >= MaxOutcomes {
		return ErrFull
	}
	_, err = kv.Create(ctx, key(o.App, o.Digest), data)
	return err
}

// Of is what came of the rehearsal of a release that was told last. The error is [ErrNone] where
// none was told, or what is kept cannot be read.
func (s Store) Of(ctx context.Context, app, digest string) (Outcome, error) {
	if validateDigest(digest) != nil {
		return Outcome{}, ErrNone // no release of golive has such a digest
	}
	js, err := bus.NewJetStream(s.Conn)
	if err != nil {
		return Outcome{}, err
	}
	kv, err := bus.Look(ctx, js, bus.Rehearsals)
	if errors.Is(err, bus.ErrNone) {
		return Outcome{}, ErrNone
	}
	if err != nil {
		return Outcome{}, err
	}
	o, _, err := read(ctx, kv, app, digest)
	return o, err
}

// read reads what is kept of a release, and its revision, which is 0 if there is nothing.
func read(ctx context.Context, kv jetstream.KeyValue, app, digest string) (Outcome, uint64, error) {
	entry, err := kv.Get(ctx, key(app, digest))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return Outcome{}, 0, ErrNone
	}
	if err != nil {
		return Outcome{}, 0, err
	}
	var o Outcome
	if err := json.Unmarshal(entry.Value(), &o); err != nil {
		return Outcome{}, entry.Revision(), fmt.Errorf("%w: what is kept cannot be read: %w", ErrNone, err)
	}
	if err := o.Validate(); err != nil {
		return Outcome{}, entry.Revision(), fmt.Errorf("%w: what is kept is not valid: %w", ErrNone, err)
	}
	if o.App != app || o.Digest != digest {
		return Outcome{}, entry.Revision(), fmt.Errorf("%w: what is kept is of another release", ErrNone)
	}
	return o, entry.Revision(), nil
}

func key(app, digest string) string { return app + "." + digest }
