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

var (
	errTaken    = errors.New("another instance has claimed the attempt")
	errWithheld = fmt.Errorf("%w: an orchestrator has, and the attempt is over", errTaken)
	errGone     = fmt.Errorf("%w, or the bus was put back from a backup: the claim is gone", errTaken)
)

// claims are durable: an attempt is run by whoever creates its key.
type claims struct {
	js       bus.JetStream
	instance string

	mu sync.Mutex
	kv jetstream.KeyValue // the bucket; nil: it has to be opened
}

func newClaims(nc *nats.Conn, instance string) (*claims, error) {
	js, err := bus.NewJetStream(nc)
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
	revision, err := kv.Create(ctx, key, c.value(nil))
	if err == nil {
		return revision, nil, nil
	}
	found, revision, readErr := c.read(ctx, kv, key)
	switch {
	case readErr != nil:
		return 0, nil, errors.Join(err, readErr)
	case found.Answer != nil:
		return revision, found.Answer, nil
	case found.Instance == c.instance: // ours: the acknowledgement of the create was lost
		revision, err = c.renew(ctx, key, revision)
		return revision, nil, err
	}
	return 0, nil, taken(found)
}

// taken is the error of a claim that somebody else has.
func taken(found protocol.Claim) error {
	if found.Instance == protocol.Withheld {
		return errWithheld
	}
	return errTaken
}

// value is what this instance writes into a claim; without an answer it is at work.
func (c *claims) value(answer *protocol.Answer) []byte {
	return marshal(protocol.Claim{Instance: c.instance, At: time.Now().UTC(), Answer: answer})
}

// read reads the claim of an attempt.
func (c *claims) read(ctx context.Context, kv jetstream.KeyValue, key string) (found protocol.Claim, revision uint64, err error) {
	entry, err := kv.Get(ctx, key)
	if err != nil {
		c.forget()
		return found, 0, err
	}
	if err := json.Unmarshal(entry.Value(), &found); err != nil {
		return found, 0, fmt.Errorf("claim %s: %w", key, err)
	}
	return found, entry.Revision(), nil
}

// renew stores the claim that this instance has once more, and gives its new revision. The
// one before may be behind: that of a renewal whose acknowledgement was lost is found. It is
// errTaken when somebody else has the claim now.
func (c *claims) renew(ctx context.Context, key string, revision uint64) (uint64, error) {
	kv, err := c.bucket(ctx)
	if err != nil {
		return 0, err
	}
	for again := false; ; again = true {
		renewed, err := kv.Update(ctx, key, c.value(nil), revision)
		if err == nil {
			return renewed, nil
		}
		found, now, readErr := c.read(ctx, kv, key)
		switch {
		case errors.Is(readErr, jetstream.ErrKeyNotFound):
			return 0, errGone
		case readErr != nil:
			return 0, errors.Join(err, readErr)
		case found.Instance != c.instance:
			return 0, taken(found)
		case found.Answer != nil || again || now == revision:
			return 0, err
		}
		revision = now
	}
}

// storeAnswer remembers the answer of an attempt that this instance has claimed.
func (c *claims) storeAnswer(ctx context.Context, key string, revision uint64, a protocol.Answer) error {
	kv, err := c.bucket(ctx)
	if err != nil {
		return err
	}
	for again := false; ; again = true {
		if _, err = kv.Update(ctx, key, c.value(&a), revision); err == nil {
			return nil
		}
		found, now, readErr := c.read(ctx, kv, key)
		switch {
		case readErr != nil:
			return errors.Join(err, readErr)
		case found.Instance != c.instance:
			return taken(found)
		case found.Answer != nil:
			return nil // stored, only the acknowledgement was lost
		case again || now == revision:
			return err
		}
		revision = now
	}
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
