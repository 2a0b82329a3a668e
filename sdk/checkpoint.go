package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// ErrSuperseded means that the script was taken for dead and its step started anew. It must
// stop: the later attempt is at the same work, and the answer of this one is refused.
var ErrSuperseded = errors.New("a later attempt of this step has begun; stop")

const (
	checkpointPatience = 20 * time.Second      // longer than a cluster takes to elect a leader
	checkpointPause    = 50 * time.Millisecond // at most so much longer before each further try
	checkpointFrame    = 512                   // bytes that a message needs besides the value
)

// SaveCheckpoint keeps value, as JSON, for the attempts of this step that come after this
// one. It takes the place of the checkpoint before. It is durable once nil is returned.
// Calls at the same time are safe, and are done one after the other.
//
// Once a later attempt of the step has used its checkpoints, the error is [ErrSuperseded]
// and nothing is changed. After any other error, which comes when the bus could not be
// asked for 20 s or ctx has ended, value may be kept or not. A value that is bigger than a
// message of the bus is refused. Started by hand, a script keeps no checkpoints: value is
// dropped.
func (r *Run) SaveCheckpoint(ctx context.Context, value any) error {
	if raw, is := value.(json.RawMessage); is && len(raw) == 0 {
		value = nil // it is not JSON
	}
	data, err := json.Marshal(value)
	if err == nil && r.checkpoints != nil {
		err = r.checkpoints.save(ctx, data)
	}
	if err != nil {
		return fmt.Errorf("save checkpoint: %w", err)
	}
	return nil
}

// LoadCheckpoint reads the last checkpoint of this step, in this direction of it, into
// value, a pointer, whichever attempt has saved it; found is false when there is none, as
// always with a script that was started by hand.
//
// From then on earlier attempts can save and load nothing more. Once a later one has used
// its checkpoints, the error is [ErrSuperseded]. Any other error comes when the bus could
// not be asked for 20 s, when ctx has ended, or when the checkpoint does not fit into value.
func (r *Run) LoadCheckpoint(ctx context.Context, value any) (found bool, err error) {
	if r.checkpoints == nil {
		return false, nil
	}
	data, err := r.checkpoints.load(ctx)
	if err == nil && data != nil {
		err = json.Unmarshal(data, value)
	}
	if err != nil {
		return false, fmt.Errorf("load checkpoint: %w", err)
	}
	return data != nil, nil
}

// checkpoint is what stands in the bucket for one direction of a step.
type checkpoint struct {
	Attempt  int             `json:"attempt"`
	Instance string          `json:"instance"`
	Data     json.RawMessage `json:"data,omitempty"` // absent: nothing was saved yet
}

// checkpoints are those of one attempt. Whoever has written its attempt into the key holds
// it, and each write is on the condition of the revision that was read or written before:
// it fails once a later attempt holds the key.
type checkpoints struct {
	nc       *nats.Conn
	js       bus.JetStream
	key      string
	attempt  int
	instance string

	mu       sync.Mutex // held for a whole call
	kv       jetstream.KeyValue
	revision uint64 // of the key; 0: there is none
	known    bool   // the revision was read or written, and no write has failed since
}

// newCheckpoints gives nil for an attempt that was started by hand.
func newCheckpoints(a *attempt) *checkpoints {
	s := a.start
	if s.Rollout == "" {
		return nil
	}
	return &checkpoints{
		nc: a.worker.nc, js: a.worker.claims.js, key: protocol.CheckpointKey(s.Rollout, s.Step, s.Revert),
		attempt: s.Attempt, instance: a.worker.instance,
	}
}

// under gives the checkpoints of the same attempt under a key of their own; nil of nil.
func (c *checkpoints) under(suffix string) *checkpoints {
	if c == nil {
		return nil
	}
	return &checkpoints{nc: c.nc, js: c.js, key: c.key + "." + suffix, attempt: c.attempt, instance: c.instance}
}

func (c *checkpoints) save(ctx context.Context, data json.RawMessage) error {
	if most := c.nc.MaxPayload() - checkpointFrame; int64(len(data)) > most {
		return fmt.Errorf("it is %d bytes long, the bus takes at most %d: %w", len(data), most, nats.ErrMaxPayload)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return keepTrying(ctx, func(ctx context.Context) error {
		if !c.known {
			if _, err := c.read(ctx); err != nil {
				return err
			}
		}
		return c.write(ctx, data)
	})
}

// load gives nil when nothing was saved.
func (c *checkpoints) load(ctx context.Context) (data json.RawMessage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	err = keepTrying(ctx, func(ctx context.Context) error {
		found, err := c.read(ctx)
		if err != nil {
			return err
		}
		data = found.Data
		if found.Attempt == c.attempt {
			return nil
		}
		return c.write(ctx, data) // takes the key from the earlier attempt
	})
	return data, err
}

// read finds out who holds the key; the zero checkpoint is nobody.
func (c *checkpoints) read(ctx context.Context) (found checkpoint, err error) {
	if c.kv == nil {
		if c.kv, err = bus.Look(ctx, c.js, bus.Checkpoints); err != nil {
			return found, err
		}
	}
	entry, err := c.kv.Get(ctx, c.key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		c.revision, c.known = 0, true
		return found, nil
	}
	if err != nil {
		return found, err
	}
	if err := json.Unmarshal(entry.Value(), &found); err != nil {
		return found, Permanent(fmt.Errorf("what is kept is no checkpoint: %w", err))
	}
	if found.Attempt > c.attempt || found.Attempt == c.attempt && found.Instance != c.instance {
		return found, ErrSuperseded
	}
	c.revision, c.known = entry.Revision(), true
	return found, nil
}

// write is on the condition that the key is as it was read or written last. After an error
// nothing is known: it may have been stored, and a cluster can refuse it without a
// conflict.
func (c *checkpoints) write(ctx context.Context, data json.RawMessage) (err error) {
	value := marshal(checkpoint{Attempt: c.attempt, Instance: c.instance, Data: data})
	revision := c.revision
	if revision == 0 {
		revision, err = c.kv.Create(ctx, c.key, value)
	} else {
		revision, err = c.kv.Update(ctx, c.key, value, revision)
	}
	c.revision, c.known = revision, err == nil
	return err
}

// keepTrying tries until it works or trying again is of no use, for checkpointPatience at most.
func keepTrying(ctx context.Context, try func(context.Context) error) error {
	patience, cancel := context.WithTimeout(ctx, checkpointPatience)
	defer cancel()
	for n := time.Duration(0); ; n++ { // the first try after a conflict is at once
		once, stop := context.WithTimeout(patience, answerTimeout)
		err := try(once)
		stop()
		if err == nil || errors.Is(err, ErrSuperseded) || errors.As(err, new(*permanentError)) {
			return err
		}
		if !pause(patience, n*rand.N(checkpointPause)) {
			return errors.Join(err, ctx.Err())
		}
	}
}
