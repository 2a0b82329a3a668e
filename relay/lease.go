package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// leaseTimeout bounds one renewal, where the bus is near: its acknowledgement may be lost with
// the server.
const leaseTimeout = 2 * time.Second

// leaseGuard is the part of a lease that an instance leaves unused, a twentieth: for clocks
// that do not go alike, and for the moment between a look at the clock and the answer.
const leaseGuard = 20

// leaseRetry is how soon a renewal that failed is tried again.
const leaseRetry = 500 * time.Millisecond

// lease says until when the instance may answer production requests: counted from before
// the lease was sent, so it runs out here before it does on the server. Leases that
// follow each other without a gap belong to one term: only within it can the instance be
// sure that no other version has taken over.
type lease struct {
	until bus.Instant
	term  uint64 // from 1
}

// covers reports whether the lease has not run out; a nil one has.
func (l *lease) covers(at bus.Instant) bool { return l != nil && at.Before(l.until) }

// since is for how long a lease has run out, in tenths of a second and at least one; 0: it has
// not. One that there never was has done so since a moment that is given.
func (l *lease) since(began, now bus.Instant) time.Duration {
	if l.covers(now) {
		return 0
	}
	if l != nil {
		began = l.until
	}
	const tenth = 100 * time.Millisecond
	return max(tenth, max(now.Ticks-began.Ticks, now.Wall-began.Wall).Truncate(tenth))
}

// number is that of the lease's term; a nil one has 0.
func (l *lease) number() uint64 {
	if l == nil {
		return 0
	}
	return l.term
}

// leaseKeeper stores the lease of an instance, again and again.
type leaseKeeper struct {
	*identity
	traffic *traffic
	stored  chan *lease // the newest that the follower has not taken; capacity 1
}

// keepLease stores the instance's lease until ctx ends. One that comes well before the
// last runs out is taken at once; a later one is handed to followRoute, which reads the
// route first.
func (k *leaseKeeper) keepLease(ctx context.Context) {
	value := k.leaseValue()
	for told := false; ctx.Err() == nil; {
		sent := k.relay.clock()
		err := k.patience.ask(ctx, leaseTimeout, 1, func(ctx context.Context) error { return k.storeLease(ctx, value, k.service.Lease) })
		if err != nil && !told && ctx.Err() == nil && !k.relay.nc.IsClosed() {
			k.log.Warn("lease not stored, without one no production request is answered", zap.Error(err))
		}
		told = err != nil
		if err != nil {
			rest(ctx, leaseRetry, nil)
			continue
		}
		next := &lease{until: sent.Add(k.service.Lease - k.service.Lease/leaseGuard)}
		if last := k.traffic.leased.Load(); last.covers(k.relay.clock().Add(k.service.Lease / 4)) {
			next.term = last.term
			k.traffic.leased.Store(next)
		} else {
			select {
			case <-k.stored: // the follower is slow where the bus is far away: that one may be over
			default:
			}
			k.stored <- next
		}
		rest(ctx, k.service.Lease/4-(k.relay.clock().Ticks-sent.Ticks), k.traffic.lapsed)
	}
}

// rest waits, at most until ctx ends or a word is left.
func rest(ctx context.Context, d time.Duration, word <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-word:
	case <-ctx.Done():
	}
}

func (k *leaseKeeper) leaseValue() []byte {
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	value, err := json.Marshal(protocol.Lease{Version: k.service.Version, Host: host, PID: os.Getpid()})
	if err != nil {
		return nil // a Lease can always be written
	}
	return value
}

// storeLease publishes the lease to its key's subject: the KV client cannot renew one.
func (k *leaseKeeper) storeLease(ctx context.Context, value []byte, last time.Duration) error {
	js, err := bus.NewJetStream(k.relay.nc)
	if err != nil {
		return err
	}
	key := protocol.LeaseKey(k.service.Name, k.service.Version, k.id)
	_, err = js.PublishMsg(ctx, &nats.Msg{Subject: protocol.KeySubject(protocol.LeasesBucket, key), Data: value},
		jetstream.WithMsgTTL(last), jetstream.WithRetryAttempts(0))
	if errors.Is(err, jetstream.ErrNoStreamResponse) {
		return fmt.Errorf("%w: is there a bucket %s? It is made by golive serve, or golive up", err, protocol.LeasesBucket)
	}
	return err
}

// leave tells the gates that the instance is gone: they need not wait for it. It is no
// loss when that does not arrive, the lease runs out by itself.
func (k *leaseKeeper) leave() {
	if k.traffic.leased.Load() == nil || k.relay.nc.IsClosed() {
		return
	}
	k.confirm(protocol.Confirmation{Revision: k.traffic.role.Load().revision, State: protocol.StateLeft})
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := k.storeLease(ctx, nil, time.Second); err != nil {
		k.log.Debug("lease not given back, it runs out", zap.Error(err))
	}
}
