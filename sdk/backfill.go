package sdk

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"regexp"
	"time"

	"github.com/google/uuid"

	"github.com/golive-dev/golive/relay/protocol"
)

// Defaults and limits of a [Backfill].
const (
	DefaultBatchSize   = 500
	MaxBatchSize       = 100_000
	DefaultInFlight    = 8
	MaxInFlight        = 1000
	DefaultRetries     = 4
	DefaultBackoff     = 250 * time.Millisecond
	DefaultMaxPutAside = 1000
)

// Backfill moves the records of a source; its Run is a [Script].
//
// It gathers records to batches and deals with several at a time. After each it keeps, under
// the fence of the attempt, up to which record of the source all is dealt with, so that the
// next attempt goes on from there, in another process too. A batch holds its place in flight
// until that is durable: after a crash at most InFlight batches of each instance come again,
// with the same IDs. Batches are cut the same way in every attempt, as long as the source
// gives the same records.
//
// It keeps to the pace that the orchestrator names, from the moment it does; while the script
// is paused no batch begins, those under way are finished, and what has failed waits for the
// resume before it is tried again.
//
// All functions that it is given must return soon after their ctx has ended: it waits for
// them. A panic of theirs is an error.
type Backfill[T any] struct {
	Source Source[T] // required

	// Each deals with one record. The records of a batch are given to it one after the other,
	// several batches at the same time. Give Each or Batch.
	Each func(ctx context.Context, run *Run, r Record[T]) error

	// Batch deals with all records of a batch, or with none. Several run at the same time.
	Batch func(ctx context.Context, run *Run, b Batch[T]) error

	// Name tells several backfills of one script apart. It consists of letters, digits, _
	// and -, and stays the same from one attempt to the next. Empty: the script has only one.
	// A second one with the Name of one that is at work or done fails.
	Name string

	// BatchSize is in records, at most MaxBatchSize. 0: DefaultBatchSize. It is fixed when the
	// first attempt begins: where a rate is set by then, to no more than a fifth of a second's
	// records, but at least one.
	BatchSize int

	InFlight int // batches at the same time, in each instance, at most MaxInFlight; 0: DefaultInFlight

	// Rate is in records a second, of all instances together. 0: no limit. A batch begins once
	// the time for all of its records has come.
	Rate float64

	// Retries is how often a record or batch that fails, a source that breaks or cannot count,
	// and a check that loses a stream is tried again. 0: DefaultRetries; less than 0: never. Not
	// tried again is what fails with a [Permanent] error.
	Retries int
	Backoff time.Duration // before the first retry; it doubles each time, up to 30 s. 0: DefaultBackoff

	// PutAside makes the backfill go on when a record still fails after its retries: the
	// record is kept for people to look at and to have tried again. Of a batch that fails, each
	// record is then tried alone. T must be such that JSON gives it back. Without PutAside the
	// first record that fails ends the script.
	//
	// The record is kept as it is, with all that is secret in it, next to the first 4 KiB of
	// the error: whoever may read the bucket of failed records, or have it shown, sees both.
	// Of one that is too large for a message of the bus, only its cursor and the error are kept.
	PutAside    bool
	MaxPutAside int // records of this backfill; with one more the script fails. 0: DefaultMaxPutAside

	// Throttle is asked before the first batch and about once a second from then on, by the
	// instance that runs the script. A reason, such as "replica lag 12 s", holds the work
	// until it is empty, and is shown; so does an error, such as that there is no answer when
	// ctx ends, 10 s later. One that is [Permanent], and a panic, ends the script.
	Throttle func(ctx context.Context, run *Run) (reason string, err error)

	// Before is run until it has held once, in the first attempt or a later one; After, when
	// all is dealt with. The first check that does not hold fails the script.
	Before, After []Check
}

var backfillName = regexp.MustCompile(`^[A-Za-z0-9_-]*$`)

// Run does the work, and blocks until it is done, has failed or ctx has ended. It then
// waits for the batches under way and keeps, if that still works, what they have done.
//
// A start that asks for the records that were put aside deals with these alone, each of
// them, and tells how many it could deal with. They come in other batches than before, but
// each with its [Batch.RecordID]. When some fail again it fails, unless PutAside is set;
// After is then run once none is left. Another attempt that has begun ends
// Run with [ErrSuperseded]. A script started by hand keeps nothing, begins at the beginning,
// and only counts what it would put aside.
func (b Backfill[T]) Run(ctx context.Context, run *Run) error {
	if err := b.check(); err != nil {
		return Permanent(fmt.Errorf("backfill%s: %w", suffix(b.Name), err))
	}
	if !run.beginBackfill(b.Name) {
		return Permanent(fmt.Errorf("backfill%s: the script has another one with this Name: give each a Name of its own", suffix(b.Name)))
	}
	if err := newLeader(run, b.config()).lead(ctx); err != nil {
		run.failBackfill(b.Name)
		return fmt.Errorf("backfill%s: %w", suffix(b.Name), err)
	}
	return nil
}

func suffix(name string) string {
	if name == "" {
		return ""
	}
	return " " + name
}

func (b *Backfill[T]) check() error {
	switch {
	case b.Source.Records == nil:
		return errors.New("give Source.Records")
	case (b.Each == nil) == (b.Batch == nil):
		return errors.New("give either Each or Batch")
	case b.BatchSize < 0 || b.BatchSize > MaxBatchSize:
		return fmt.Errorf("the BatchSize is %d, it can be from 1 to %d", b.BatchSize, MaxBatchSize)
	case b.InFlight < 0 || b.InFlight > MaxInFlight:
		return fmt.Errorf("the InFlight is %d, it can be from 1 to %d", b.InFlight, MaxInFlight)
	case !(b.Rate >= 0) || math.IsInf(b.Rate, 0): // also what is no number
		return fmt.Errorf("the Rate is %v, it can be 0 or more", b.Rate)
	case b.Backoff < 0 || b.MaxPutAside < 0:
		return errors.New("the Backoff and MaxPutAside can be 0 or more")
	case !backfillName.MatchString(b.Name):
		return fmt.Errorf("the Name is %q, it can have letters, digits, _ and -", b.Name)
	}
	for _, c := range append(b.Before[:len(b.Before):len(b.Before)], b.After...) {
		if c.Do == nil {
			return fmt.Errorf("check %q: give Do", c.Name)
		}
	}
	return nil
}

func (b *Backfill[T]) retry() retry {
	r := retry{b.Retries, b.Backoff}
	if r.times == 0 {
		r.times = DefaultRetries
	}
	if r.backoff == 0 {
		r.backoff = DefaultBackoff
	}
	return r
}

// backfillConfig is a backfill without its type of record.
type backfillConfig struct {
	name       string
	size       int
	author     limits // what the author has chosen
	retry      retry
	putAside   bool
	most       int64 // records put aside
	throttle   func(context.Context, *Run) (string, error)
	before     []Check
	after      []Check
	partitions func(context.Context, *Run) ([]string, error)
	count      func(context.Context, *Run) (int64, error)
	total      func() int64
	work       func(ctx context.Context, t partitionTask) error
	again      func(failed *failedRecords, all []protocol.FailedRecord) backfillConfig // deals with these records instead of the source's
}

func (b Backfill[T]) config() backfillConfig {
	return backfillConfig{
		name: b.Name, size: orElse(b.BatchSize, DefaultBatchSize), retry: b.retry(),
		author:   limits{rate: b.Rate, inFlight: orElse(b.InFlight, DefaultInFlight)},
		putAside: b.PutAside, most: int64(orElse(b.MaxPutAside, DefaultMaxPutAside)),
		throttle: b.Throttle, before: b.Before, after: b.After,
		partitions: b.Source.Partitions, count: b.Source.Count, total: b.Source.total,
		work: func(ctx context.Context, t partitionTask) error { return newPartitionRun(&b, t).do(ctx) },
		again: func(failed *failedRecords, all []protocol.FailedRecord) backfillConfig {
			b.Source = listed[T](failed, all)
			return b.config()
		},
	}
}

func orElse(n, other int) int {
	if n == 0 {
		return other
	}
	return n
}

// origin is what the IDs of a run are made in.
func origin(run *Run) string {
	if run.Start.Rollout == "" {
		return uuid.NewString()
	}
	return run.Start.Rollout
}

// listed is the source of records that were put aside. One that was kept without its record,
// or as another type, stays where it is.
func listed[T any](failed *failedRecords, all []protocol.FailedRecord) Source[T] {
	parts := make(map[string][]protocol.FailedRecord)
	var names []string
	for _, r := range all {
		if parts[r.Partition] == nil {
			names = append(names, r.Partition)
		}
		parts[r.Partition] = append(parts[r.Partition], r)
	}
	return Source[T]{
		Partitions: func(context.Context, *Run) ([]string, error) { return names, nil },
		Records: func(ctx context.Context, run *Run, partition, after string) iter.Seq2[Record[T], error] {
			return func(yield func(Record[T], error) bool) {
				found := after == ""
				for _, r := range parts[partition] {
					if !found {
						found = r.Cursor == after
						continue
					}
					data, err := failed.record(ctx, r)
					if err != nil {
						yield(Record[T]{}, err)
						return
					}
					record, err := recordOf[T](r.Cursor, data)
					if err != nil {
						run.Log.Warn(recordName(partition, r.Cursor) + " stays aside: " + err.Error())
					} else if !yield(record, nil) {
						return
					}
				}
			}
		},
		Count: func(context.Context, *Run) (int64, error) { return int64(len(all)), nil },
	}
}
