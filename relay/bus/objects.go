package bus

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// MakeObjects gives the stream of an object store, as clients of NATS lay one out, that an
// orchestrator keeps things in; it makes it, with the given number of replicas, where there is
// none. One of another environment is refused, and one of a newer format. It waits for an
// election, 30 seconds at most, and is safe to call from many processes at once.
func MakeObjects(ctx context.Context, nc *nats.Conn, name, environment string, format, replicas int) (stream jetstream.Stream, err error) {
	js, err := NewJetStream(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, openFor)
	defer cancel()
	err = AskLeader(ctx, func(ctx context.Context) (err error) {
		stream, err = lookObjects(ctx, js, name, environment, format)
		if !errors.Is(err, ErrNone) {
			return err
		}
		_, err = js.CreateStream(ctx, objects(name, environment, format, max(replicas, 1)))
		if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			stream, err = lookObjects(ctx, js, name, environment, format)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("make object store %s: %w", name, err)
	}
	return stream, nil
}

// LookObjects is [MakeObjects] where nothing is to be made: the error is [ErrNone] where there is
// no such store. It asks once.
func LookObjects(ctx context.Context, js JetStream, name, environment string, format int) (jetstream.Stream, error) {
	stream, err := lookObjects(ctx, js, name, environment, format)
	if err != nil {
		return nil, fmt.Errorf("open object store %s: %w", name, err)
	}
	return stream, nil
}

func lookObjects(ctx context.Context, js JetStream, name, environment string, format int) (jetstream.Stream, error) {
	stream, err := js.Stream(ctx, "OBJ_"+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, err
	}
	c := stream.CachedInfo().Config
	if err := (Bucket{Name: name, Format: format}).readable(c); err != nil {
		return nil, err
	}
	if id := Environment(c); id != "" && environment != "" && id != environment {
		return nil, fmt.Errorf("it is of the environment %s, and the journal of %s: they do not belong together", id, environment)
	}
	return stream, nil
}

// objects is the stream of an object store. It is read from its leader alone, as buckets are.
func objects(name, environment string, format, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: "OBJ_" + name, Subjects: []string{"$O." + name + ".C.>", "$O." + name + ".M.>"},
		Discard: jetstream.DiscardNew, AllowRollup: true, Replicas: replicas, MaxBytes: -1,
		Metadata: map[string]string{metaFormat: strconv.Itoa(format), metaEnvironment: environment},
	}
}
