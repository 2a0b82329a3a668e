package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/relay/protocol"
)

// setAside is what stands in the bucket of failed records. It names the backfill where a
// script has several.
type setAside struct {
	protocol.FailedRecord
	Backfill string `json:"backfill,omitempty"`
}

// aside is where one instance puts the records that a backfill cannot deal with. Started by
// hand, they are only counted.
type aside struct {
	run    *Run
	name   string // of the backfill
	most   int64  // records; 0: no limit
	prefix string // of the keys; empty: started by hand

	mu    sync.Mutex
	kv    jetstream.KeyValue
	count int64             // records that are put aside, as far as this instance knows
	known map[string]string // key by place: what may be dealt with yet, when it comes again
}

// errTooManyAside ends a backfill.
var errTooManyAside = errors.New("too many records could not be dealt with")

func newAside(run *Run, name string, most int64) *aside {
	a := &aside{run: run, name: name, most: most, known: make(map[string]string)}
	if s := run.Start; s.Rollout != "" {
		a.prefix = protocol.CheckpointKey(s.Rollout, s.Step, s.Revert)
	}
	return a
}

// list gives all that is put aside, without the records themselves, and remembers it.
func (a *aside) list(ctx context.Context) (all []setAside, err error) {
	if a.prefix == "" {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	err = insist(ctx, func(once context.Context) error {
		all, err = a.read(ctx, once)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the records that are put aside: %w", err)
	}
	clear(a.known)
	for _, r := range all {
		a.known[place(r.Partition, r.Cursor)] = a.key(r.Partition, r.Cursor)
	}
	a.count = int64(len(all))
	return all, nil
}

// read may take as long as something comes: to begin, it has until once ends.
func (a *aside) read(ctx, once context.Context) (all []setAside, err error) {
	if err := a.open(once); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := context.AfterFunc(once, cancel)
	watch, err := a.kv.Watch(ctx, a.prefix+".*", jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	begun()
	defer func() { _ = watch.Stop() }()
	silent := time.NewTimer(answerTimeout)
	defer silent.Stop()
	for {
		silent.Reset(answerTimeout)
		select {
		case entry, more := <-watch.Updates():
			if !more {
				return nil, errors.New("the bus has stopped listing them")
			}
			if entry == nil { // these were all
				return all, nil
			}
			var r setAside
			if err := json.Unmarshal(entry.Value(), &r); err != nil {
				return nil, Permanent(fmt.Errorf("key %s: %w", entry.Key(), err))
			}
			if r.Backfill == a.name {
				r.Record = nil
				all = append(all, r)
			}
		case <-silent.C:
			return nil, errors.New("the bus does not go on with the list")
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// record gives one of those that are put aside; nil: it is kept without the record, or is
// not put aside any more.
func (a *aside) record(ctx context.Context, of setAside) (json.RawMessage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	var kept setAside
	err := insist(ctx, func(ctx context.Context) error {
		if err := a.open(ctx); err != nil {
			return err
		}
		entry, err := a.kv.Get(ctx, a.key(of.Partition, of.Cursor))
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := json.Unmarshal(entry.Value(), &kept); err != nil {
			return Permanent(err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read %s, which is put aside: %w", recordName(of.Partition, of.Cursor), err)
	}
	return kept.Record, nil
}

// put keeps a record until it is dealt with, and tells whether it was not there before.
func (a *aside) put(ctx context.Context, r protocol.FailedRecord) (fresh bool, err error) {
	r.Step, r.Attempt, r.At = a.run.Start.Step, a.run.Start.Attempt, time.Now().UTC()
	a.mu.Lock()
	defer a.mu.Unlock()
	key, at := a.key(r.Partition, r.Cursor), place(r.Partition, r.Cursor)
	if fresh = a.known[at] == ""; fresh && a.most > 0 && a.count >= a.most {
		return false, fmt.Errorf("%w: at most %d are put aside", errTooManyAside, a.most)
	}
	if a.prefix != "" {
		if err := insist(ctx, func(ctx context.Context) error { return a.write(ctx, key, r, &fresh) }); err != nil {
			return false, fmt.Errorf("put %s aside: %w", recordName(r.Partition, r.Cursor), err)
		}
	}
	a.known[at] = key
	if fresh {
		a.count++
	}
	return fresh, nil
}

// write creates the key or, when the record failed before, replaces what it says.
func (a *aside) write(ctx context.Context, key string, r protocol.FailedRecord, fresh *bool) error {
	if err := a.open(ctx); err != nil {
		return err
	}
	most := int(a.run.relay.Conn().MaxPayload()) - checkpointFrame
	r.Error = clip(r.Error)
	value := marshal(setAside{r, a.name})
	if len(value) > most {
		r.Error = fmt.Sprintf("%s (kept without the record, which is %d bytes long: the bus takes at most %d)", r.Error, len(r.Record), most)
		r.Record = nil
		value = marshal(setAside{r, a.name})
	}
	_, err := a.kv.Create(ctx, key, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		*fresh = false
		_, err = a.kv.Put(ctx, key, value)
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return Permanent(err)
	}
	return err
}

// settle drops a record that is dealt with, if it was put aside, and tells whether it was.
func (a *aside) settle(ctx context.Context, partition, cursor string) (was bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	at := place(partition, cursor)
	key, was := a.known[at]
	if !was {
		return false, nil
	}
	if a.prefix != "" {
		err = insist(ctx, func(ctx context.Context) error {
			if err := a.open(ctx); err != nil {
				return err
			}
			return a.kv.Purge(ctx, key)
		})
		if err != nil {
			return false, fmt.Errorf("drop %s of those put aside: %w", recordName(partition, cursor), err)
		}
	}
	delete(a.known, at)
	a.count--
	return true, nil
}

// none reports whether there is nothing to settle.
func (a *aside) none() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.known) == 0
}

// open opens the bucket. The caller holds mu.
func (a *aside) open(ctx context.Context) (err error) {
	if a.kv != nil {
		return nil
	}
	if a.kv, err = a.run.js.KeyValue(ctx, protocol.FailedRecordsBucket); err != nil {
		return fmt.Errorf("open bucket %s: %w", protocol.FailedRecordsBucket, err)
	}
	return nil
}

// key is the same for the same record of the same backfill of a step.
func (a *aside) key(partition, cursor string) string {
	s := a.run.Start
	if a.name != "" {
		partition = a.name + "\x00" + partition
	}
	return protocol.FailedRecordKey(s.Rollout, s.Step, s.Revert, partition, cursor)
}

func place(partition, cursor string) string { return partition + "\x00" + cursor }
