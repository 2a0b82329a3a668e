package command

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/zap"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/snapshot"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// work is a snapshot that is being taken or checked, as it stands in the bucket of takes. There is
// one at a time in an environment: whoever takes one removes what is left of those that have died.
// It is a lease, which is renewed while the work goes on; when that has ended it says so for as
// long as a lease lasts, for whoever asks again.
type work struct {
	ID       string                 `json:"id"` // that whoever asks has given it
	App      string                 `json:"app"`
	Snapshot string                 `json:"snapshot"`
	Doing    string                 `json:"doing"`
	Inbox    string                 `json:"inbox,omitempty"` // at which agents answer, see [protocol.SnapshotClaim]; empty: none is asked
	Progress snapshot.Progress      `json:"progress"`
	Ended    bool                   `json:"ended,omitempty"`
	Error    *protocol.ServiceError `json:"error,omitempty"`
}

const (
	workKey   = protocol.SnapshotClaimKey
	renewWork = time.Second // how often the lease is renewed, with how far the work is
)

// work begins w, unless it is under way or done, and tells how far it is.
func (c *taker) work(ctx context.Context, w work, do func(context.Context, func(snapshot.Progress)) error) (api.SnapshotWork, error) {
	l, is, err := c.claim(ctx, w, false)
	switch {
	case err != nil:
		return api.SnapshotWork{}, err
	case l == nil && is.ID == w.ID:
		return c.tell(ctx, is)
	case l == nil:
		return api.SnapshotWork{}, refuse(api.CodeConflict, "wait until it has ended, and ask again",
			"snapshot %s of %s is under way (%s): one at a time is taken or checked", is.Snapshot, is.App, is.Doing)
	}
	if !c.group.Do(func() { _ = c.run(l, do) }) { // the lease tells what has come of it
		return api.SnapshotWork{}, refuse(api.CodeUnavailable, "ask again", "this orchestrator is ending")
	}
	return api.SnapshotWork{Progress: snapshot.Progress{Doing: w.Doing}}, nil
}

// claim takes the lease for w, unless another work has it; then there is no lease, and under is what
// is under way. One of the same id that has ended is such a work, too, unless it is to be done
// again.
func (c *taker) claim(ctx context.Context, w work, again bool) (l *workLease, under work, err error) {
	kv, err := bus.Make(ctx, c.Conn, bus.Takes, c.Journal.Environment(), c.Replicas)
	if err != nil {
		return nil, under, err
	}
	revision := uint64(0)
	entry, err := kv.Get(ctx, workKey)
	switch {
	case errors.Is(err, jetstream.ErrKeyNotFound):
	case err != nil:
		return nil, under, err
	default:
		if err := json.Unmarshal(entry.Value(), &under); err != nil {
			return nil, under, fmt.Errorf("what is known of the snapshot under way cannot be read: %w", err)
		}
		if !under.Ended || under.ID == w.ID && !again {
			return nil, under, nil
		}
		revision = entry.Revision()
	}
	l = &workLease{kv: kv, work: w, revision: revision}
	err = l.write(ctx, revision == 0)
	if errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch) {
		if again { // it is waited for
			return nil, work{App: w.App, Snapshot: "another one"}, nil
		}
		return nil, under, refuse(api.CodeConflict, "ask again", "another snapshot has begun at the same moment")
	}
	return l, under, err
}

// tell is how far a work is, or what has come of it.
func (c *taker) tell(ctx context.Context, w work) (api.SnapshotWork, error) {
	switch {
	case w.Error != nil:
		return api.SnapshotWork{}, w.Error
	case !w.Ended:
		return api.SnapshotWork{Progress: w.Progress}, nil
	}
	_, s, err := c.find(ctx, w.Snapshot)
	return api.SnapshotWork{Snapshot: &s}, err
}

// run does a work to its end, and says what has come of it. One that ends with the server, or is
// not wanted any more, says nothing: it is begun anew by whoever asks again.
func (c *taker) run(l *workLease, do func(context.Context, func(snapshot.Progress)) error) error {
	ctx, stop := context.WithCancelCause(c.ctx)
	defer stop(nil)
	var renewing sync.WaitGroup
	done := make(chan struct{})
	renewing.Go(func() { l.renew(ctx, done, stop) })
	err := do(ctx, l.progress)
	close(done)
	renewing.Wait()
	if cause := context.Cause(ctx); err != nil && cause != nil && c.ctx.Err() == nil {
		err = cause
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWork)
	defer cancel()
	if c.ctx.Err() != nil && err != nil {
		_ = l.kv.Purge(ending, workKey, jetstream.LastRevision(l.revision)) // else it ends by itself
		return err
	}
	l.work.Ended = true
	if err != nil {
		l.work.Error = c.explained(describeSnapshot(err))
		c.Log.Warn("snapshot failed", zap.String("snapshot", l.work.Snapshot), zap.String("app", l.work.App), zap.String("doing", l.work.Doing), zap.Error(err))
	}
	if err := l.write(ending, false); err != nil {
		c.Log.Warn("it was not told how a snapshot has ended", zap.Error(err)) // the manifest tells it
	}
	return err
}

// endWork is how long the bus may take to hear how a work has ended.
const endWork = 5 * time.Second

// workLease is what says that a work is under way.
type workLease struct {
	kv jetstream.KeyValue

	mu   sync.Mutex // of work
	work work

	writing  sync.Mutex // one write at a time
	revision uint64
}

// progress takes down how far the work is.
func (l *workLease) progress(p snapshot.Progress) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.work.Progress = p
}

// write writes the lease, on condition that nobody else has since.
func (l *workLease) write(ctx context.Context, first bool) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	l.mu.Lock()
	data, err := json.Marshal(l.work)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	var revision uint64
	if first {
		revision, err = l.kv.Create(ctx, workKey, data)
	} else {
		revision, err = l.kv.Update(ctx, workKey, data, l.revision)
	}
	if err == nil {
		l.revision = revision
	}
	return err
}

// renew renews the lease until done, and stops the work where that has not come through for most
// of a lease.
func (l *workLease) renew(ctx context.Context, done <-chan struct{}, stop context.CancelCauseFunc) {
	instants := bus.NewInstants()
	until := instants().Add(bus.TakeLease * 2 / 3)
	again := time.NewTicker(renewWork)
	defer again.Stop()
	for {
		select {
		case <-again.C:
		case <-done:
			return
		case <-ctx.Done():
			return
		}
		at := instants()
		err := l.write(ctx, false)
		switch {
		case err == nil:
			until = at.Add(bus.TakeLease * 2 / 3)
		case errors.Is(err, jetstream.ErrKeyRevisionMismatch), !instants().Before(until):
			stop(errLost)
			return
		}
	}
}
