// Package storage finds out whether the bus stores what it is told, and why not. A bus whose
// disk is full goes on passing messages and answering questions; but no instance can renew its
// lease, so that production stands still within 20 seconds.
//
// A [Probe] writes what instances write, to where they do: a lease, that of the orchestrator. It
// repairs nothing.
package storage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// service is what orchestrators are an instance of in their leases: no other may be called so.
const service = "golive"

// DefaultEvery is how often a probe that is not told another period writes.
const DefaultEvery = 5 * time.Second

// writeTimeout bounds one write, and one question about why it was not taken.
const writeTimeout = 2 * time.Second

// electionTakes is how long writes may stay without an answer until that is told: a cluster that
// elects a leader takes none.
const electionTakes = 15 * time.Second

// Config is how a probe works.
type Config struct {
	Conn    *nats.Conn    // required
	Version string        // of golive, as the lease tells it; required
	ID      string        // of the orchestrator, one token of a subject; required
	Every   time.Duration // how often it writes; 0: [DefaultEvery]
	Log     *zap.Logger   // told when the bus stops storing, and when it stores again; nil: silence
	Fails   func()        // called, if it is not nil, whenever a write was not taken, or the bucket is another one than before
}

// Probe writes now and then. Make it with [New]; it is safe for concurrent use.
type Probe struct {
	Config
	js      bus.JetStream
	key     string
	trouble atomic.Pointer[trouble]
	last    atomic.Uint64
	back    atomic.Uint64
}

// trouble is why the bus stores nothing, and since when.
type trouble struct {
	why   string
	since time.Time
}

// New makes a probe. It starts nothing.
func New(c Config) (*Probe, error) {
	js, err := bus.NewJetStream(c.Conn)
	if err != nil {
		return nil, err
	}
	c.Every = cmp.Or(c.Every, DefaultEvery)
	if c.Log == nil {
		c.Log = zap.NewNop()
	}
	return &Probe{Config: c, js: js, key: protocol.LeaseKey(service, c.Version, c.ID)}, nil
}

// Trouble says that the bus stores nothing, for how long, why, and what helps; empty while it
// stores what it is told, as far as is known. A nil probe knows of none.
func (p *Probe) Trouble() string {
	if p == nil {
		return ""
	}
	t := p.trouble.Load()
	if t == nil {
		return ""
	}
	return fmt.Sprintf("the bus has stored nothing for %s: %s", time.Since(t.since).Round(time.Second), t.why)
}

// Run writes until ctx ends, and then lets its lease run out.
func (p *Probe) Run(ctx context.Context) error {
	tick := time.NewTicker(p.Every)
	defer tick.Stop()
	var since time.Time // of the first write in a row that was not taken
	for {
		began := time.Now()
		err := p.write(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			since = time.Time{}
			p.stores()
		case p.Conn.IsConnected(): // else the bus is away: that is another story, and told by others
			if since.IsZero() {
				since = began
			}
			if p.Fails != nil {
				p.Fails()
			}
			p.fails(since, p.why(ctx, err, time.Since(since)))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// write stores the lease as an instance does.
func (p *Probe) write(ctx context.Context) error {
	host, _ := os.Hostname() // for people; it may be left out
	value, err := json.Marshal(protocol.Lease{Version: p.Version, Host: host, PID: os.Getpid()})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	stored, err := p.js.PublishMsg(ctx, &nats.Msg{Subject: protocol.KeySubject(protocol.LeasesBucket, p.key), Data: value},
		jetstream.WithMsgTTL(protocol.LeaseFor), jetstream.WithRetryAttempts(0))
	if err == nil {
		p.took(stored.Sequence)
	}
	return err
}

// took takes in which sequence the bus has given to a write.
func (p *Probe) took(sequence uint64) {
	last := p.last.Load()
	if sequence > last {
		p.last.Store(sequence)
	} else if p.back.Swap(last) != last && p.Fails != nil {
		p.Fails()
	}
}

// Last is the highest sequence, in the bucket of leases, that the bus has given to a write; 0 says
// that there was none. Back is what it was when the bus gave a lower one to a later write: the
// bucket was put back from a backup, or made anew; 0 says that it never did.
func (p *Probe) Last() (last, back uint64) { return p.last.Load(), p.back.Load() }

// stores says that the bus stores again.
func (p *Probe) stores() {
	if was := p.trouble.Swap(nil); was != nil {
		p.Log.Info("the bus stores again", zap.Duration("after", time.Since(was.since).Round(time.Second)))
	}
}

// fails says that the bus stores nothing, once for each reason; an empty one says that it is too
// early to tell.
func (p *Probe) fails(since time.Time, why string) {
	if why == "" {
		return
	}
	was := p.trouble.Swap(&trouble{why, since})
	if was == nil || was.why != why {
		p.Log.Error("the bus stores nothing: production holds its requests once leases have run out", zap.String("why", why))
	}
}

// why says why a write was not taken. Who refuses one says so; a disk that is full makes the
// server silent, and is asked about in another way.
func (p *Probe) why(ctx context.Context, failure error, lasts time.Duration) string {
	var refused *jetstream.APIError
	if errors.As(failure, &refused) {
		return refusal(refused)
	}
	if lasts < p.Every { // it may be slow
		return ""
	}
	err := p.update(ctx)
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		return "the bucket " + protocol.LeasesBucket + " is gone"
	case errors.As(err, &refused) && refused.ErrorCode == errUpdate:
		parts := strings.Split(refused.Description, ": ") // the last is the operating system's
		return parts[len(parts)-1] + ": free space on the disk of the server"
	case lasts < electionTakes:
		return ""
	case err == nil:
		return "the server takes no writes any more, as after a disk that was full, though there is space: restart it"
	}
	return "writes get no answer (" + failure.Error() + "): look at the server's log"
}

// update has the server write down once more what the bucket of leases is like, as it is: unlike
// a message that cannot be stored, that is answered with the reason.
func (p *Probe) update(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	stream, err := p.js.Stream(ctx, "KV_"+protocol.LeasesBucket)
	if err == nil {
		_, err = p.js.UpdateStream(ctx, stream.CachedInfo().Config)
	}
	return err
}

// Codes of JetStream: what is full, and a configuration that could not be written.
const (
	errResources        = 10023 // of the servers of a cluster
	errAccountResources = 10002 // of the account
	errStorageResources = 10047 // of the server
	errUpdate           = 10069
)

// refusal says why JetStream refuses a write.
func refusal(e *jetstream.APIError) string {
	switch e.ErrorCode {
	case errResources, errStorageResources:
		return "JetStream is full (" + e.Description + "): raise max_file_store of the server, or drop what is not needed"
	case errAccountResources:
		return "JetStream is full for this account (" + e.Description + "): raise its limits, or drop what is not needed"
	}
	return e.Description
}
