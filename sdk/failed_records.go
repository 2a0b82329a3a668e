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

	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// recordPlace is where a record stands in the source of a backfill.
type recordPlace struct{ partition, cursor string }

// failedRecords is where one instance puts aside the records that a backfill cannot deal
// with. Started by hand, they are only counted.
type failedRecords struct {
	run    *Run
	name   string // of the backfill
	most   int64  // records; 0: no limit
	prefix string // of the keys; empty: started by hand

	mu    sync.Mutex
	kv    jetstream.KeyValue
	count int64                  // records that are put aside, as far as this instance knows
	known map[recordPlace]string // their keys: what may be dealt with yet, when it comes again
}

// errTooManyFailed ends a backfill.
var errTooManyFailed = errors.New("too many records could not be dealt with")

func newFailedRecords(run *Run, name string, most int64) *failedRecords {
	f := &failedRecords{run: run, name: name, most: most, known: make(map[recordPlace]string)}
	if s := run.Start; s.Rollout != "" {
		f.prefix = protocol.CheckpointKey(s.Rollout, s.Step, s.Revert)
	}
	return f
}

// list gives all that is put aside, without the records themselves, and remembers it under the
// keys that it has: those of another build may be others.
func (f *failedRecords) list(ctx context.Context) ([]protocol.FailedRecord, error) {
	if f.prefix == "" {
		return nil, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []protocol.FailedRecord
	var keys []string
	err := keepTrying(ctx, func(once context.Context) (err error) {
		all, keys, err = f.read(ctx, once)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("read the records that are put aside: %w", err)
	}
	clear(f.known)
	for i, r := range all {
		f.known[recordPlace{r.Partition, r.Cursor}] = keys[i]
	}
	f.count = int64(len(all))
	return all, nil
}

// errBehind says that a list has been made by a replica that does not know yet what its
// leader knows.
var errBehind = errors.New("the replica that lists them is behind")

// read may take as long as something comes: to begin, it has until once ends. What the list
// lacks is missing only if the leader says so.
func (f *failedRecords) read(ctx, once context.Context) (all []protocol.FailedRecord, keys []string, err error) {
	if err := f.open(once); err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	begun := context.AfterFunc(once, cancel)
	watch, err := f.kv.Watch(ctx, f.prefix+".*")
	if err != nil {
		return nil, nil, err
	}
	begun()
	defer func() { _ = watch.Stop() }()
	silent := time.NewTimer(answerTimeout)
	defer silent.Stop()
	for newest := uint64(0); ; {
		silent.Reset(answerTimeout)
		select {
		case entry, more := <-watch.Updates():
			if !more {
				return nil, nil, errors.New("the bus has stopped listing them")
			}
			if entry == nil { // these were all
				return all, keys, f.upTo(ctx, newest)
			}
			if newest = max(newest, entry.Revision()); entry.Operation() != jetstream.KeyValuePut {
				continue
			}
			var r protocol.FailedRecord
			if err := json.Unmarshal(entry.Value(), &r); err != nil {
				return nil, nil, Permanent(fmt.Errorf("key %s: %w", entry.Key(), err))
			}
			if r.Backfill == f.name {
				r.Record = nil
				all, keys = append(all, r), append(keys, entry.Key())
			}
		case <-silent.C:
			return nil, nil, errors.New("the bus does not go on with the list")
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// upTo asks the leader whether a list ends with the newest revision of those it is about;
// [errBehind] if it does not.
func (f *failedRecords) upTo(ctx context.Context, newest uint64) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	stream, err := f.run.js.Stream(ctx, "KV_"+protocol.FailedRecordsBucket)
	if err != nil {
		return err
	}
	last, err := stream.GetLastMsgForSubject(ctx, protocol.KeySubject(protocol.FailedRecordsBucket, f.prefix+".*"))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Sequence <= newest {
		return nil
	}
	return errors.Join(err, errBehind)
}

// record gives one of those that are put aside; nil: it is kept without the record, or is
// not put aside any more.
func (f *failedRecords) record(ctx context.Context, of protocol.FailedRecord) (json.RawMessage, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	key, there := f.known[recordPlace{of.Partition, of.Cursor}]
	if !there {
		return nil, nil
	}
	var kept protocol.FailedRecord
	err := keepTrying(ctx, func(ctx context.Context) error {
		if err := f.open(ctx); err != nil {
			return err
		}
		entry, err := f.kv.Get(ctx, key)
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
func (f *failedRecords) put(ctx context.Context, r protocol.FailedRecord) (fresh bool, err error) {
	r.Step, r.Backfill, r.Attempt, r.At = f.run.Start.Step, f.name, f.run.Start.Attempt, time.Now().UTC()
	f.mu.Lock()
	defer f.mu.Unlock()
	at := recordPlace{r.Partition, r.Cursor}
	key, known := f.known[at]
	if !known {
		key = f.key(at)
	}
	if fresh = !known; fresh && f.most > 0 && f.count >= f.most {
		return false, fmt.Errorf("%w: at most %d are put aside", errTooManyFailed, f.most)
	}
	if f.prefix != "" {
		if err := keepTrying(ctx, func(ctx context.Context) error { return f.write(ctx, key, r, &fresh) }); err != nil {
			return false, fmt.Errorf("put %s aside: %w", recordName(r.Partition, r.Cursor), err)
		}
	}
	f.known[at] = key
	if fresh {
		f.count++
	}
	return fresh, nil
}

// write creates the key or, when the record failed before, replaces what it says.
func (f *failedRecords) write(ctx context.Context, key string, r protocol.FailedRecord, fresh *bool) error {
	if err := f.open(ctx); err != nil {
		return err
	}
	most := int(f.run.relay.Conn().MaxPayload()) - checkpointFrame
	r.Error = clip(r.Error)
	value := marshal(r)
	if len(value) > most {
		r.Error = fmt.Sprintf("%s (kept without the record, which is %d bytes long: the bus takes at most %d)", r.Error, len(r.Record), most)
		r.Record = nil
		value = marshal(r)
	}
	_, err := f.kv.Create(ctx, key, value)
	if errors.Is(err, jetstream.ErrKeyExists) {
		*fresh = false
		_, err = f.kv.Put(ctx, key, value)
	}
	if errors.Is(err, nats.ErrMaxPayload) {
		return Permanent(err)
	}
	return err
}

// drop drops a record that is dealt with, if it was put aside, and tells whether it was.
func (f *failedRecords) drop(ctx context.Context, partition, cursor string) (was bool, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := recordPlace{partition, cursor}
	key, was := f.known[at]
	if !was {
		return false, nil
	}
	if f.prefix != "" {
		err = keepTrying(ctx, func(ctx context.Context) error {
			if err := f.open(ctx); err != nil {
				return err
			}
			return f.kv.Purge(ctx, key)
		})
		if err != nil {
			return false, fmt.Errorf("drop %s of those put aside: %w", recordName(partition, cursor), err)
		}
	}
	delete(f.known, at)
	f.count--
	return true, nil
}

// empty reports whether there is nothing to drop.
func (f *failedRecords) empty() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.known) == 0
}

// open opens the bucket. The caller holds mu.
func (f *failedRecords) open(ctx context.Context) (err error) {
	if f.kv != nil {
		return nil
	}
	f.kv, err = bus.Look(ctx, f.run.js, bus.FailedRecords)
	return err
}

// key is the same for the same record of the same backfill of a step.
func (f *failedRecords) key(at recordPlace) string {
	s := f.run.Start
	return protocol.FailedRecordKey(s.Rollout, s.Step, s.Revert, f.name, at.partition, at.cursor)
}
