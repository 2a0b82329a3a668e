package journal

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// Open opens the journal of the environment that nc is connected to. It neither makes nor
// changes it: [ErrNone] says that no orchestrator has made it yet, and [rollout.ErrUnknown]
// that a newer version of golive has written it.
func Open(ctx context.Context, nc *nats.Conn) (*Journal, error) {
	return open(ctx, nc, func(ctx context.Context, js bus.JetStream) (jetstream.Stream, error) {
		stream, err := js.Stream(ctx, protocol.Stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return nil, ErrNone
		}
		if err != nil {
			return nil, err
		}
		return stream, readable(stream.CachedInfo().Config)
	})
}

// ErrNone says that the environment has no journal yet.
var ErrNone = errors.New("the environment has no journal yet: it is made by golive serve, or golive up")

// ErrNoJetStream says that nobody on the bus keeps streams for whoever asks.
var ErrNoJetStream = errors.New("this bus has no JetStream, in which golive keeps everything: switch it on in the server (jetstream {}) and for the account, or name its domain with --js-domain")

// Make is Open for an orchestrator. It makes the journal with the given number of replicas (1
// to 5) when it is missing, and where there is one that is not as this version of golive needs
// it, or has fewer replicas than are asked for, changes it.
func Make(ctx context.Context, nc *nats.Conn, replicas int) (*Journal, error) {
	return open(ctx, nc, func(ctx context.Context, js bus.JetStream) (jetstream.Stream, error) {
		stream, err := js.Stream(ctx, protocol.Stream)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			if err := mayBegin(ctx, js); err != nil {
				return nil, err
			}
			// Not CreateOrUpdate: called by several at once on a fresh cluster it times out.
			stream, err = js.CreateStream(ctx, config(replicas))
			if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
				stream, err = js.Stream(ctx, protocol.Stream)
			}
		}
		if err != nil {
			return nil, err
		}
		there := stream.CachedInfo().Config
		if err := readable(there); err != nil {
			return nil, err
		}
		wanted := config(max(replicas, there.Replicas))
		if id := there.Metadata[metaEnvironment]; id != "" {
			wanted.Metadata[metaEnvironment] = id
		}
		differs := differences(there, wanted)
		if len(differs) == 0 {
			return stream, nil
		}
		if stream, err = js.UpdateStream(ctx, wanted); err != nil {
			return nil, fmt.Errorf("it has %s, and cannot be changed: %w", strings.Join(differs, ", "), err)
		}
		return stream, nil
	})
}

// mayBegin refuses to make a journal where one is gone: its buckets are of another environment
// than a new one would be.
func mayBegin(ctx context.Context, js bus.JetStream) error {
	bucket, environment, err := bus.LeftOf(ctx, js)
	if err != nil || bucket == "" {
		return err
	}
	return fmt.Errorf("there is none, though the bucket %s is that of environment %s: restore the stream from a backup (README of cmd/golive, Restoring a backup), or remove the buckets golive-… too, and begin with an empty environment", bucket, environment)
}

// differences says how a stream is not as it is wanted.
func differences(there, wanted jetstream.StreamConfig) []string {
	var all []string
	differ := func(what string, is, want any) {
		if !reflect.DeepEqual(is, want) {
			all = append(all, fmt.Sprintf("%s %v instead of %v", what, is, want))
		}
	}
	subjects := slices.Sorted(slices.Values(there.Subjects))
	differ("subjects", subjects, slices.Sorted(slices.Values(wanted.Subjects)))
	differ("replicas", there.Replicas, wanted.Replicas)
	differ("message schedules", there.AllowMsgSchedules, wanted.AllowMsgSchedules)
	differ("message TTLs", there.AllowMsgTTL, wanted.AllowMsgTTL)
	differ("direct reads", there.AllowDirect, wanted.AllowDirect)
	differ("a window for duplicates of", there.Duplicates, wanted.Duplicates)
	differ("format", there.Metadata[metaFormat], wanted.Metadata[metaFormat])
	differ("environment", there.Metadata[metaEnvironment], wanted.Metadata[metaEnvironment])
	return all
}

// readable refuses a journal of a format that this version of golive does not know.
func readable(there jetstream.StreamConfig) error {
	text, told := there.Metadata[metaFormat]
	if !told {
		return nil
	}
	format, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("its format %q is no number: %w", text, rollout.ErrUnknown)
	}
	if err := rollout.KnownFormat(format); err != nil {
		return fmt.Errorf("its %w: bring golive up to date, or use the one that has made it", err)
	}
	return nil
}

// Environment is the id that the environment got when its journal was made: a UUID.
func (j *Journal) Environment() string {
	return j.states.environment
}

// What the stream's metadata says.
const (
	metaFormat      = "golive-format"
	metaEnvironment = "golive-environment"
)

func open(ctx context.Context, nc *nats.Conn, find func(context.Context, bus.JetStream) (jetstream.Stream, error)) (*Journal, error) {
	js, err := bus.NewJetStream(nc)
	if err != nil {
		return nil, err
	}
	nobody := 0 // how often in a row nobody was there to answer
	for began := time.Now(); ; {
		asking, cancel := context.WithTimeout(ctx, openTimeout)
		stream, err := find(asking, js)
		cancel()
		if err == nil {
			return newJournal(nc, js, stream), nil
		}
		if nobody++; !bus.NoJetStream(err) {
			nobody = 0
		}
		if nobody == nobodyThere {
			return nil, fmt.Errorf("%w (%w)", ErrNoJetStream, err)
		}
		if ctx.Err() != nil || !bus.Unanswered(err) || time.Since(began) > openFor {
			return nil, fmt.Errorf("open stream %s: %w", protocol.Stream, err)
		}
		if err := pause(ctx, openTimeout/10); err != nil {
			return nil, err
		}
	}
}

// A cluster that elects a leader answers nothing meanwhile, also not later: it has to be
// asked again.
const (
	openTimeout = 2 * time.Second
	openFor     = 30 * time.Second

	nobodyThere = 6 // times, a pause apart: a server that has just started, or a link, may need a moment
)

func config(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        protocol.Stream,
		Description: "golive: what has happened to every rollout, and what is due",
		Subjects:    []string{protocol.AllRollouts, protocol.AllAnswers, protocol.AllTimers, protocol.AllDue},
		Retention:   jetstream.LimitsPolicy,
		Storage:     jetstream.FileStorage,
		Replicas:    max(replicas, 1),
		// A replica may be behind: a decision made on an old state would be refused,
		// but a reader would be told what is no longer true.
		AllowDirect:       false,
		AllowMsgTTL:       true,
		AllowMsgSchedules: true,
		Duplicates:        duplicates,
		Metadata:          map[string]string{metaFormat: strconv.Itoa(rollout.Format), metaEnvironment: uuid.NewString()},
	}
}
