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
	leaseGuard   = 20                     // the part of it that is left unused: for clocks that do not go alike
	pingTimeout  = 2 * time.Second        // for another agent of the name to answer
)

// lease is what an agent holds while it may begin and run programs. The time in which it
// does is counted from before the lease was sent, so it is over here before it is on the
// server.
type lease struct {
	js   jetstream.JetStream
	held jetstream.Stream

	revision uint64 // of the entry; of the one goroutine that renews

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
func (a *Agent) lapse(cause error) {
	a.lease.end(time.Time{})
	a.stopAll(cause)
}

// take takes the name and listens to its messages. It listens before it writes, so that of
// two that want a name at the same time the one that comes second finds the first.
func (a *Agent) take(ctx, saving context.Context) (unsubscribe func(), err error) {
	for told := false; ; {
		found, revision, err := a.holder(ctx)
		if err == nil && found != "" && found != a.identity.Instance {
			err = a.ping(ctx)
		}
		if err == nil {
			a.lease.revision = revision
			if unsubscribe, err = a.listen(ctx, saving); err != nil {
				return nil, err
			}
			if err = a.storeLease(ctx); err == nil {
				return unsubscribe, nil
			}
			unsubscribe()
		}
		if errors.Is(err, ErrNameTaken) || ctx.Err() != nil || a.c.Conn.IsClosed() {
			return nil, err
		}
		if !told && !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
			a.log.Warn("lease not stored, without one nothing is run: trying again", zap.Error(err))
			told = true
		}
		rest(ctx, renewRetry)
	}
}

// ping gives [ErrNameTaken] if an agent of this name answers; the caller does not listen yet.
func (a *Agent) ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pingTimeout)
	defer cancel()
	_, err := a.c.Conn.RequestWithContext(ctx, protocol.AgentSubject(a.c.Name, "ping"), nil)
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
func (a *Agent) holder(ctx context.Context) (instance string, revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	m, err := a.lease.held.GetLastMsgForSubject(ctx, a.leaseSubject())
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

func (a *Agent) leaseSubject() string {
	return protocol.KeySubject(protocol.AgentsBucket, a.c.Name)
}

// storeLease publishes the lease to its key's subject, on top of its revision: the KV client
// cannot renew one.
func (a *Agent) storeLease(ctx context.Context) error {
	if a.identity.Since.IsZero() {
		a.identity.Since = time.Now().UTC()
	}
	value, err := json.Marshal(a.identity)
	if err != nil {
		return err
	}
	sent := time.Now()
	ack, err := a.publishLease(ctx, &nats.Msg{Subject: a.leaseSubject(), Data: value}, a.lasts)
	if err != nil {
		return err
	}
	a.lease.revision = ack.Sequence
	fresh := a.lease.extend(sent.Add(a.lasts-a.lasts/leaseGuard), func() {
		a.log.Warn("lease has run out: what runs is stopped")
		a.stopAll(errLapsed)
	})
	if fresh {
		a.log.Info("lease is held")
	}
	return nil
}

func (a *Agent) publishLease(ctx context.Context, m *nats.Msg, lasts time.Duration) (*jetstream.PubAck, error) {
	ctx, cancel := context.WithTimeout(ctx, leaseTimeout)
	defer cancel()
	ack, err := a.lease.js.PublishMsg(ctx, m, jetstream.WithMsgTTL(lasts), jetstream.WithRetryAttempts(0),
		jetstream.WithExpectLastSequencePerSubject(a.lease.revision))
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
func (a *Agent) keep(ctx context.Context) error {
	for told := false; ; {
		pause := a.lasts / renewals
		if told {
			pause = renewRetry
		}
		if rest(ctx, pause); ctx.Err() != nil {
			return nil
		}
		err := a.renew(ctx)
		switch {
		case errors.Is(err, ErrNameTaken):
			a.lapse(errLapsed)
			return err
		case err != nil && !told && ctx.Err() == nil:
			a.log.Warn("lease not renewed", zap.Error(err))
		}
		if a.c.Conn.IsClosed() {
			return nats.ErrConnectionClosed
		}
		told = err != nil
	}
}

// renew stores the lease once more. Where that is refused it looks why.
func (a *Agent) renew(ctx context.Context) error {
	err := a.storeLease(ctx)
	if !errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		return err
	}
	found, revision, err := a.holder(ctx)
	switch {
	case err != nil:
		return err
	case found == "":
		a.lapse(errLapsed) // it has run out, or was taken away
	case found != a.identity.Instance:
		return ErrNameTaken
	}
	a.lease.revision = revision // ours: the acknowledgement of an earlier one was lost
	return a.storeLease(ctx)
}

// leave deletes the lease. It is no loss when that does not arrive, it runs out by itself.
func (a *Agent) leave(ctx context.Context) {
	m := nats.NewMsg(a.leaseSubject())
	m.Header.Set("KV-Operation", "DEL")
	_, err := a.publishLease(ctx, m, time.Second)
	if errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		// A renewal that was broken off may have been stored all the same.
		var found string
		if found, a.lease.revision, err = a.holder(ctx); err == nil && found == a.identity.Instance {
			_, err = a.publishLease(ctx, m, time.Second)
		}
	}
	if err != nil {
		a.log.Debug("lease not given back, it runs out", zap.Error(err))
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
