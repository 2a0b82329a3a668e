package sdk

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

var errTaken = errors.New("another instance has claimed the attempt")

// claims are durable: an attempt is run by whoever creates its key.
type claims struct {
	js       jetstream.JetStream
	instance string

	mu sync.Mutex
	kv jetstream.KeyValue // the bucket; nil: it has to be opened
}

func newClaims(nc *nats.Conn, instance string) (*claims, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	return &claims{js: js, instance: instance}, nil
}

// bucket is the one of the claims. To open it costs a question to the bus, so it is kept
// until forget.
func (c *claims) bucket(ctx context.Context) (jetstream.KeyValue, error) {
	c.mu.Lock()
	kv := c.kv
	c.mu.Unlock()
	if kv != nil {
		return kv, nil
	}
	kv, err := bus.Look(ctx, c.js, bus.Claims)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kv = kv
	return kv, nil
}

// forget makes the next call open the bucket anew: it may be gone, and be made again with
// other settings.
func (c *claims) forget() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kv = nil
}

// claim claims an attempt. The revision is of the claim. An attempt that has been
// answered gives that answer, one that another instance has claimed errTaken.
func (c *claims) claim(ctx context.Context, key string) (uint64, *protocol.Answer, error) {
	kv, err := c.bucket(ctx)
	if err != nil {
		return 0, nil, err
	}
	value, err := json.Marshal(protocol.Claim{Instance: c.instance, At: time.Now().UTC()})
	if err != nil {
		return 0, nil, err
	}
	revision, err := kv.Create(ctx, key, value)
	if err == nil {
		return revision, nil, nil
	}
	entry, readErr := kv.Get(ctx, key)
	if readErr != nil {
		c.forget()
		return 0, nil, errors.Join(err, readErr)
	}
	var found protocol.Claim
	if err := json.Unmarshal(entry.Value(), &found); err != nil {
		return 0, nil, fmt.Errorf("claim %s: %w", key, err)
	}
	switch {
	case found.Answer != nil:
		return entry.Revision(), found.Answer, nil
	case found.Instance == c.instance: // ours: the acknowledgement of the create was lost
		return entry.Revision(), nil, nil
	}
	return 0, nil, errTaken
}

// storeAnswer remembers the answer of an attempt that this instance has claimed.
func (c *claims) storeAnswer(ctx context.Context, key string, revision uint64, a protocol.Answer) error {
	kv, err := c.bucket(ctx)
	if err != nil {
		return err
	}
	value, err := json.Marshal(protocol.Claim{Instance: c.instance, At: time.Now().UTC(), Answer: &a})
	if err != nil {
		return err
	}
	if _, err = kv.Update(ctx, key, value, revision); err == nil {
		return nil
	}
	entry, readErr := kv.Get(ctx, key)
	if readErr != nil {
		c.forget()
		return errors.Join(err, readErr)
	}
	var found protocol.Claim
	if json.Unmarshal(entry.Value(), &found) == nil && found.Instance == c.instance && found.Answer != nil {
		return nil // stored, only the acknowledgement was lost
	}
	return err
}

// buildDigest is the SHA-256 of this program's file, empty when it cannot be read. It
// tells one build of a setup service from another.
var buildDigest = sync.OnceValue(func() string {
	path, err := os.Executable()
	if err != nil {
		return ""
	}
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
})
