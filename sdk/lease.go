package sdk

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

const (
	leaseWatches = 40                     // looks at the clock in the time of a lease
	renewRetry   = 250 * time.Millisecond // after a renewal that was not stored
)

// errLeaseLost ends a script whose lease could not be renewed in time.
var errLeaseLost = errors.New("the bus has not answered in time: the next attempt may begin elsewhere")

// lease is the claim of an attempt that is under way here. It is renewed while that is so, and
// its script is ended before it has run out: the next attempt may begin then. It is safe for
// concurrent use.
type lease struct {
	claims *claims
	key    string
	lasts  time.Duration
	clock  bus.Instants
	until  atomic.Pointer[bus.Instant] // when the script has to be told to stop

	writing  sync.Mutex
	revision uint64 // of the claim
	answered bool   // the claim has the answer
}

// leaseOf is how long the lease of an attempt lasts, as its start says.
func leaseOf(start protocol.StartMessage) time.Duration {
	if start.Lease > 0 {
		return time.Duration(start.Lease)
	}
	return protocol.LeaseBeats * heartbeatOf(start)
}

// acquire claims the attempt; an attempt that has been answered gives that answer, and one that
// is not for this instance errTaken.
func (l *lease) acquire(ctx context.Context) (*protocol.Answer, error) {
	sent := l.clock()
	revision, answer, err := l.claims.claim(ctx, l.key)
	if err != nil || answer != nil {
		return answer, err
	}
	l.writing.Lock()
	defer l.writing.Unlock()
	l.renewed(sent, revision)
	return nil, nil
}

// renewed takes in that the claim was stored; the caller holds writing.
func (l *lease) renewed(sent bus.Instant, revision uint64) {
	until := sent.Add(protocol.LeaseUsed(l.lasts))
	l.until.Store(&until)
	l.revision = revision
}

// renew stores the claim once more; errTaken says that the attempt was taken away.
func (l *lease) renew(ctx context.Context) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.answered {
		return nil
	}
	sent := l.clock()
	revision, err := l.claims.renew(ctx, l.key, l.revision)
	if err == nil {
		l.renewed(sent, revision)
	}
	return err
}

// store remembers the answer of the attempt in its claim, which needs no renewal then.
func (l *lease) store(ctx context.Context, answer protocol.Answer) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	err := l.claims.storeAnswer(ctx, l.key, l.revision, answer)
	l.answered = l.answered || err == nil
	return err
}

// keep renews the lease until the caller calls stop, which waits for what was begun here. A
// script whose lease could not be renewed, or was taken away, is ended.
func (l *lease) keep(ctx context.Context, script *scriptContext, log *zap.Logger) (stop func()) {
	ctx, end := context.WithCancel(context.WithoutCancel(ctx))
	var keeping sync.WaitGroup
	keeping.Go(func() { l.keepRenewing(ctx, script, log) })
	keeping.Go(func() { l.watch(ctx, script) })
	return func() { end(); keeping.Wait() }
}

func (l *lease) keepRenewing(ctx context.Context, script *scriptContext, log *zap.Logger) {
	wait, told := l.lasts/protocol.LeaseBeats, false
	for pause(ctx, wait) {
		try, cancel := context.WithTimeout(ctx, answerTimeout)
		err := l.renew(try)
		cancel()
		switch {
		case errors.Is(err, errTaken):
			log.Warn("the attempt was taken away", zap.String("claim", l.key), zap.Error(err))
			script.end(errCancelled)
			return
		case err == nil:
			wait, told = l.lasts/protocol.LeaseBeats, false
			continue
		}
		if !told && ctx.Err() == nil {
			log.Warn("lease not renewed, without one the script is told to stop", zap.String("claim", l.key), zap.Error(err))
		}
		wait, told = renewRetry, true
	}
}

// watch ends the script when its lease is over.
func (l *lease) watch(ctx context.Context, script *scriptContext) {
	for pause(ctx, l.lasts/leaseWatches) {
		if !l.clock().Before(*l.until.Load()) {
			script.end(fmt.Errorf("%w: nothing was heard of it for %s", errLeaseLost, protocol.LeaseUsed(l.lasts)))
			return
		}
	}
}
