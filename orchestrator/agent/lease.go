package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// ErrNameTaken says that another agent that is alive has the name.
var ErrNameTaken = errors.New("another agent has this name: choose another one with --name")

// Why a program was stopped.
var (
	errStopped = errors.New("cancelled: the agent was stopped")
	errLapsed  = errors.New("cancelled: the agent could not renew its lease, and counts as dead")
)

const (
	renewals     = 4                      // of a lease, before it runs out
	renewRetry   = 500 * time.Millisecond // how soon a renewal that failed is tried again
	leaseTimeout = 2 * time.Second        // of one: its acknowledgement may be lost with the server
	leaseGuard   = 20                     // the part of it left unused: clocks do not go alike
	pingTimeout  = 2 * time.Second        // for another agent of the name to answer
)

// lease is what an agent holds while it may begin and run programs. The time in which it
// does is counted from before the lease was sent, so it is over here before it is on the
// server.
type lease struct {
	nc      *nats.Conn
	log     *zap.Logger
	lasts   time.Duration
	lapsed  func(cause error) // called when it is not held any more
	js      bus.JetStream
	entries jetstream.Stream // of all leases

	// Of the one goroutine that renews.
	identity protocol.Agent // what the entry says
	revision uint64         // of the entry

	mu    sync.Mutex
	until time.Time // zero: not held
	timer *time.Timer
}

// covers reports whether the lease is held. The monotonic clock stands still while the
// machine is suspended, and the one on the wall may be set: both have to agree.
func (l *lease) covers(at time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return at.Before(l.until) && at.UnixNano() < l.until.UnixNano()
}

// extend is to be called when the lease was stored; lapsed is called when that time is over.
// It reports whether the lease was not held before.
func (l *lease) extend(until time.Time, lapsed func()) (fresh bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.timer != nil {
		l.timer.Stop()
	}
	fresh = l.until.IsZero()
	l.until = until
	l.timer = time.AfterFunc(time.Until(until), func() {
		if l.end(until) {
			lapsed()
		}
	})
	return fresh
}

// end ends the lease that lasts until then, or any if that is zero, and reports whether
// there was one.
func (l *lease) end(until time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.IsZero() || !until.IsZero() && !until.Equal(l.until) {
		return false
	}
	l.timer.Stop()
	l.until = time.Time{}
	return true
}

// lapse ends the lease on this side, and stops what runs.
func (l *lease) lapse(cause error) {
	l.end(time.Time{})
	l.lapsed(cause)
}

// take takes the name and has its messages listened to. That is before it writes, so that of
// two that want a name at the same time the one that comes second finds the first.
func (l *lease) take(ctx context.Context, listen func() (unsubscribe func(), err error)) (unsubscribe func(), err error) {
	for told := false; ; {
		found, revision, err := l.holder(ctx)
		if err == nil && found != "" && found != l.identity.Instance {
			err = l.ping(ctx)
		}
		if err == nil {
			l.revision = revision
			if unsubscribe, err = listen(); err != nil {
				return nil, err
			}
			if err = l.store(ctx); err == nil {
				return unsubscribe, nil
			}
			unsubscribe()
		}
		if errors.Is(err, ErrNameTaken) || ctx.Err() != nil || l.nc.IsClosed() {
			return nil, err
		}
		if !told && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			l.log.Warn("lease not stored, without one nothing is run: trying again", zap.Error(err))
			told = true
		}
		rest(ctx, renewRetry)
	}
}

// ping gives [ErrNameTaken] if an agent of this name answers; the caller does not listen yet.
func (l *lease) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := l.nc.RequestWithContext(ctx, protocol.AgentSubject(l.identity.Name, "ping"), nil)
	switch {
	case err == nil:
		return ErrNameTaken
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, context.DeadlineExceeded):
		return nil
	}
	return err
}

// holder reads from the leader which instance holds the name, and at which revision; empty
// when nobody does.
func (l *lease) holder(ctx context.Context) (instance string, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	m, err := l.entries.GetLastMsgForSubject(ctx, l.subject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return "", 0, nil
	}
	if err != nil {
		return "", 0, fmt.Errorf("read the lease: %w", err)
	}
	var found protocol.Agent
	if len(m.Data) > 0 && json.Unmarshal(m.Data, &found) != nil {
		found.Instance = "unknown" // not written by an agent that we know
	}
	return found.Instance, m.Sequence, nil
}

func (l *lease) subject() string {
	return protocol.KeySubject(protocol.AgentsBucket, l.identity.Name)
}

// store publishes the lease to its key's subject, on top of its revision: the KV client
// cannot renew one.
func (l *lease) store(ctx context.Context) error {
	if l.identity.Since.IsZero() {
		l.identity.Since = time.Now().UTC()
	}
	value, err := json.Marshal(l.identity)
	if err != nil {
		return err
	}
	sent := time.Now()
	ack, err := l.publish(ctx, &nats.Msg{Subject: l.subject(), Data: value}, l.lasts)
	if err != nil {
		return err
	}
	l.revision = ack.Sequence
	fresh := l.extend(sent.Add(l.lasts-l.lasts/leaseGuard), func() {
		l.log.Warn("lease has run out: what runs is stopped")
		l.lapsed(errLapsed)
	})
	if fresh {
		l.log.Info("lease is held")
	}
	return nil
}

func (l *lease) publish(ctx context.Context, m *nats.Msg, lasts time.Duration) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	ack, err := l.js.PublishMsg(ctx, m, jetstream.WithMsgTTL(lasts), jetstream.WithRetryAttempts(0),
		jetstream.WithExpectLastSequencePerSubject(l.revision))
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == wrongLastInCluster) {
		return nil, jetstream.ErrKeyRevisionMismatch
	}
	return ack, err
}

// wrongLastInCluster is how a cluster refuses a publish whose expected sequence is not the
// last one; now and then also where it is.
const wrongLastInCluster = 10164

// keep renews the lease until ctx ends. The error is [ErrNameTaken] when another agent has
// taken the name.
func (l *lease) keep(ctx context.Context) error {
	for told := false; ; {
		pause := l.lasts / renewals
		if told {
			pause = renewRetry
		}
		if rest(ctx, pause); ctx.Err() != nil {
			return nil
		}
		err := l.renew(ctx)
		switch {
		case errors.Is(err, ErrNameTaken):
			l.lapse(errLapsed)
			return err
		case err != nil && !told && ctx.Err() == nil:
			l.log.Warn("lease not renewed", zap.Error(err))
		}
		if l.nc.IsClosed() {
			return nats.ErrConnectionClosed
		}
		told = err != nil
	}
}

// renew stores the lease once more. Where that is refused it looks why.
func (l *lease) renew(ctx context.Context) error {
	err := l.store(ctx)
	if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return err
	}
	found, revision, err := l.holder(ctx)
	switch {
	case err != nil:
		return err
	case found == "":
		l.lapse(errLapsed) // it has run out, or was taken away
	case found != l.identity.Instance:
		return ErrNameTaken
	}
	l.revision = revision // ours: the acknowledgement of an earlier one was lost
	return l.store(ctx)
}

// leave deletes the lease. It is no loss when that does not arrive, it runs out by itself.
func (l *lease) leave(ctx context.Context) {
	m := nats.NewMsg(l.subject())
	m.Header.Set("KV-Operation", "DEL")
	_, err := l.publish(ctx, m, time.Second)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		// A renewal that was broken off may have been stored all the same.
		var found string
		if found, l.revision, err = l.holder(ctx); err == nil && found == l.identity.Instance {
			_, err = l.publish(ctx, m, time.Second)
		}
	}
	if err != nil {
		l.log.Debug("lease not given back, it runs out", zap.Error(err))
	}
}

// rest waits, at most until ctx ends.
func rest(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
