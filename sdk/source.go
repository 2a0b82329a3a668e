package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strconv"
)

// Source is where a [Backfill] takes its records from.
type Source[T any] struct {
	// Records gives the records of a partition that are behind the cursor after, empty being
	// the beginning, in an order that is the same each time. Required. It may be called again
	// at any time, from where an attempt before or a broken iteration has come to. It runs in
	// one goroutine and is held up while no more batches may begin, for as long as a pause
	// lasts. An error ends it; it is taken up again behind the last record that it gave.
	Records func(ctx context.Context, run *Run, partition, after string) iter.Seq2[Record[T], error]

	// Count gives how many records there are in all partitions, from the beginning. When fewer
	// have come in the end, of all attempts together, the answer says so, and the script fails
	// if none has: leave Count out where it is no more than a guess. nil: the total is not known.
	Count func(ctx context.Context, run *Run) (int64, error)

	// Partitions gives the names of the parts of the source that can be worked on apart, in
	// UTF-8; a few thousand at most, as all of them stand in one checkpoint. nil: it has one,
	// called "". Those that an attempt before had and that are not among them any more are
	// left as they are.
	Partitions func(ctx context.Context, run *Run) ([]string, error)

	total func() int64 // what the source has told of its total meanwhile; nil: nothing
}

// Record is a record of a [Source].
type Record[T any] struct {
	Value  T
	Cursor string // where it stands in its partition: UTF-8, not empty, and no other record has it

	scope *string // of its ID; nil: it has none
}

// ID is that of the record, as [Batch.RecordID]. Only what [Backfill]'s Each is given has
// one; it is empty elsewhere.
func (r Record[T]) ID() string {
	if r.scope == nil {
		return ""
	}
	return recordID(*r.scope, r.Cursor)
}

func recordID(scope, cursor string) string { return identify("record", scope, cursor) }

// Batch is what a [Backfill] deals with at a time: records that follow each other in one
// partition.
type Batch[T any] struct {
	// ID is the same whenever the same records come again in the same rollout, step and
	// direction, whatever the attempt, and of no other batch. A receiver can tell by it that
	// it has them already. Started by hand, each run has IDs of its own.
	ID string

	Partition string
	Records   []Record[T] // at least one

	scope string
}

// RecordID is the ID of one of the records, by its place in Records: what [Batch.ID] is to
// the batch, and the same whichever batch the record is in.
func (b Batch[T]) RecordID(i int) string {
	return recordID(b.scope, b.Records[i].Cursor)
}

func newBatch[T any](scope, partition string, records []Record[T]) Batch[T] {
	h := newHash("batch", scope)
	for i := range records {
		h.write(records[i].Cursor)
	}
	return Batch[T]{ID: h.sum(), Partition: partition, Records: records, scope: scope}
}

// scopeOf is what the IDs of a partition's batches are made in. Origin is the rollout, or
// what stands for it when there is none.
func scopeOf(run *Run, origin, name, partition string) string {
	return identify("scope", origin, run.Start.Step, strconv.FormatBool(run.Start.Revert), name, partition)
}

// recordName is a record for people.
func recordName(partition, cursor string) string {
	if partition == "" {
		return fmt.Sprintf("record %q", cursor)
	}
	return fmt.Sprintf("record %q of partition %q", cursor, partition)
}

// recordOf gives back a record that was put aside.
func recordOf[T any](cursor string, data json.RawMessage) (Record[T], error) {
	r := Record[T]{Cursor: cursor}
	if len(data) == 0 || string(data) == "null" {
		return r, errors.New("it was kept without the record")
	}
	return r, json.Unmarshal(data, &r.Value)
}
