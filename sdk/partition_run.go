package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/golive-dev/golive/relay/protocol"
)

// grant is a partition that an instance may work on.
type grant struct {
	ID        string
	Partition string
	Cursor    string // of the last record that is dealt with; empty: none is
	Size      int    // records of a batch
}

// watermark is how far the work on a grant has come: all records up to the cursor are dealt
// with. Counts are those since the grant was given.
type watermark struct {
	Cursor   string
	Done     int64
	PutAside int64 // of them, or of some behind the cursor; less than 0: more were dealt with that had been put aside
	Ended    bool  // there are no more records
}

// partitionTask is what an instance is to do, and what it keeps to meanwhile.
type partitionTask struct {
	run     *Run
	origin  string // see scopeOf
	grant   grant
	limiter *limiter
	failed  *failedRecords                         // nil: the first record that fails ends the work
	report  func(context.Context, watermark) error // returns once the watermark is durable
	every   time.Duration                          // report so often though nothing is new; 0: never
}

// partitionRun is the work of one instance on one partition.
type partitionRun[T any] struct {
	partitionTask
	work  *Backfill[T]
	scope string
	stop  context.CancelCauseFunc // begin nothing more

	batches sync.WaitGroup
	news    chan struct{} // there is something to report

	mu        sync.Mutex
	inFlight  []*batchInFlight // batches that have begun and that the watermark has not passed, oldest first
	watermark watermark
	covered   int  // batches that the watermark has passed and that still hold their place
	read      bool // there are no more records
}

// batchInFlight is a batch under way.
type batchInFlight struct {
	cursor string // of its last record
	n      int
	done   bool
}

func newPartitionRun[T any](work *Backfill[T], t partitionTask) *partitionRun[T] {
	return &partitionRun[T]{
		partitionTask: t, work: work, scope: scopeOf(t.run, t.origin, work.Name, t.grant.Partition),
		news: make(chan struct{}, 1), watermark: watermark{Cursor: t.grant.Cursor},
	}
}

// do works until the partition has no more records, something fails or ctx ends. What is
// done by then is reported, also when ctx has ended.
func (p *partitionRun[T]) do(ctx context.Context) error {
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	p.stop = stop
	lasting, release := outlive(ctx, stopGrace)
	defer release()
	over := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { p.keepReporting(lasting, over) })
	if err := p.readAll(ctx, going); err != nil {
		stop(err)
	}
	p.batches.Wait()
	close(over)
	reporter.Wait()
	return context.Cause(going)
}

// keepReporting reports the newest watermark, whenever there is one, until over.
func (p *partitionRun[T]) keepReporting(ctx context.Context, over <-chan struct{}) {
	var due <-chan time.Time
	if p.every > 0 {
		ticker := time.NewTicker(p.every)
		defer ticker.Stop()
		due = ticker.C
	}
	sent := watermark{Cursor: p.grant.Cursor}
	for last := false; !last; {
		again := false
		select {
		case <-p.news:
		case <-due:
			again = true
		case <-over:
			last = true
		}
		w, covered := p.current()
		if w == sent && !again {
			continue
		}
		if err := p.report(ctx, w); err != nil {
			p.stop(err)
			<-over
			return
		}
		sent = w
		p.limiter.free(covered)
	}
}

// current gives the watermark, and how many places become free once it is durable.
func (p *partitionRun[T]) current() (watermark, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	covered := p.covered
	p.covered = 0
	p.watermark.Ended = p.read && len(p.inFlight) == 0
	return p.watermark, covered
}

func (p *partitionRun[T]) wake() {
	select {
	case p.news <- struct{}{}:
	default: // the reporter has yet to look
	}
}

// readAll begins a batch whenever there are records for one. A source that breaks is taken
// up again behind the last record that it gave.
func (p *partitionRun[T]) readAll(ctx, going context.Context) error {
	r := batchReader[T]{to: p, after: p.grant.Cursor}
	for tries := 0; ; {
		got, err := r.read(ctx, going)
		if err == nil {
			break
		}
		if got {
			tries = 0
		}
		if tries++; !p.work.retry().again(going, tries, err) {
			return fmt.Errorf("read the source: %w", err)
		}
		p.run.Log.Warn("the source has broken, it is taken up again: " + err.Error())
	}
	if err := r.flush(ctx, going); err != nil {
		return err
	}
	p.mu.Lock()
	p.read = true
	p.mu.Unlock()
	p.wake()
	return nil
}

// batchReader gathers records to batches.
type batchReader[T any] struct {
	to      *partitionRun[T]
	after   string // the cursor of the last record
	records []Record[T]
}

// read reads on until the source has ended or broken, and tells whether it gave anything.
func (r *batchReader[T]) read(ctx, going context.Context) (got bool, err error) {
	p := r.to
	defer recovered(p.run, &err)
	size := p.grant.Size
	for record, err := range p.work.Source.Records(going, p.run, p.grant.Partition, r.after) {
		if err != nil {
			return got, err
		}
		switch {
		case record.Cursor == "":
			return got, Permanent(fmt.Errorf("behind the cursor %q it gives a record without a cursor", r.after))
		case record.Cursor == r.after:
			return got, Permanent(fmt.Errorf("behind the cursor %q it gives a record with the same cursor", r.after))
		case !utf8.ValidString(record.Cursor): // the checkpoint could not give it back
			return got, Permanent(fmt.Errorf("it gives the cursor %q, which is not UTF-8", record.Cursor))
		}
		if r.records == nil {
			r.records = make([]Record[T], 0, size)
		}
		r.records, r.after, got = append(r.records, record), record.Cursor, true
		if len(r.records) == size {
			if err := r.flush(ctx, going); err != nil {
				return got, err
			}
		}
	}
	return got, going.Err() // a source may end without a word when it is told to
}

// flush begins a batch of what was read.
func (r *batchReader[T]) flush(ctx, going context.Context) error {
	if len(r.records) == 0 {
		return nil
	}
	p, records := r.to, r.records
	r.records = nil
	if err := p.limiter.admit(going, len(records)); err != nil {
		return err
	}
	batch := &batchInFlight{cursor: records[len(records)-1].Cursor, n: len(records)}
	p.mu.Lock()
	p.inFlight = append(p.inFlight, batch)
	p.mu.Unlock()
	p.batches.Go(func() {
		if err := p.handle(ctx, going, records); err != nil {
			p.stop(err)
			return
		}
		p.finish(batch)
	})
	return nil
}

// finish moves the watermark past all batches that are done and have none before them that is
// not.
func (p *partitionRun[T]) finish(batch *batchInFlight) {
	p.mu.Lock()
	defer p.mu.Unlock()
	batch.done = true
	for len(p.inFlight) > 0 && p.inFlight[0].done {
		p.watermark.Cursor, p.watermark.Done = p.inFlight[0].cursor, p.watermark.Done+int64(p.inFlight[0].n)
		p.inFlight[0], p.inFlight = nil, p.inFlight[1:]
		p.covered++
	}
	p.wake()
}

// handle deals with all records of a batch, tries again what fails, and puts aside what it
// may. The author's function has ctx; nothing is begun any more once going has ended.
func (p *partitionRun[T]) handle(ctx, going context.Context, records []Record[T]) (err error) {
	defer recovered(p.run, &err) // to write a record as JSON can panic too
	if p.work.Each != nil {
		return p.handleEach(ctx, going, records, func(i int) error { return p.each(ctx, records[i]) })
	}
	b := newBatch(p.scope, p.grant.Partition, records)
	tries, err := p.work.retry().do(going, func() error { return p.batch(ctx, b) })
	switch {
	case err == nil:
		return p.dropHandled(ctx, records, nil)
	case !p.mayPutAside(going, err):
		return fmt.Errorf("%s to %q: %w", recordName(p.grant.Partition, records[0].Cursor), records[len(records)-1].Cursor, err)
	case len(records) == 1:
		return p.putAside(ctx, records[0], err, tries)
	}
	return p.handleEach(ctx, going, records, func(i int) error {
		return p.batch(ctx, newBatch(p.scope, p.grant.Partition, records[i:i+1]))
	})
}

// handleEach deals with the records one by one.
func (p *partitionRun[T]) handleEach(ctx, going context.Context, records []Record[T], try func(i int) error) error {
	var failed map[int]bool
	for i := range records {
		if going.Err() != nil {
			return context.Cause(going)
		}
		err, tries := try(i), 1
		for ; err != nil && p.work.retry().again(going, tries, err); tries++ {
			err = try(i)
		}
		switch {
		case err == nil:
			continue
		case !p.mayPutAside(going, err):
			return fmt.Errorf("%s: %w", recordName(p.grant.Partition, records[i].Cursor), err)
		}
		if err := p.putAside(ctx, records[i], err, tries); err != nil {
			return err
		}
		if failed == nil {
			failed = make(map[int]bool)
		}
		failed[i] = true
	}
	return p.dropHandled(ctx, records, failed)
}

// each calls the author's function; a panic of it is an error.
func (p *partitionRun[T]) each(ctx context.Context, r Record[T]) (err error) {
	defer recovered(p.run, &err)
	r.scope = &p.scope
	return p.work.Each(ctx, p.run, r)
}

// batch calls the author's function; a panic of it is an error.
func (p *partitionRun[T]) batch(ctx context.Context, b Batch[T]) (err error) {
	defer recovered(p.run, &err)
	b.Records = slices.Clone(b.Records) // the author may change it, and it is needed again
	return p.work.Batch(ctx, p.run, b)
}

func (p *partitionRun[T]) mayPutAside(going context.Context, err error) bool {
	return p.failed != nil && going.Err() == nil && !errors.Is(err, ErrSuperseded)
}

func (p *partitionRun[T]) putAside(ctx context.Context, r Record[T], why error, tries int) error {
	failed := protocol.FailedRecord{Partition: p.grant.Partition, Cursor: r.Cursor, Error: why.Error(), Tries: tries}
	data, err := json.Marshal(r.Value)
	if err != nil {
		failed.Error += " (kept without the record, which is not to be written as JSON: " + err.Error() + ")"
	} else {
		failed.Record = data
	}
	fresh, err := p.failed.put(ctx, failed)
	if err != nil {
		return fmt.Errorf("%w; the last one is %s: %w", err, recordName(failed.Partition, r.Cursor), why)
	}
	p.run.Log.Warn(recordName(failed.Partition, r.Cursor) + " is put aside: " + why.Error())
	if fresh {
		p.count(1)
	}
	return nil
}

// dropHandled takes back what was put aside and is dealt with now: all but those that have
// failed again.
func (p *partitionRun[T]) dropHandled(ctx context.Context, records []Record[T], failed map[int]bool) error {
	if p.failed == nil || p.failed.empty() {
		return nil
	}
	for i, r := range records {
		if failed[i] {
			continue
		}
		was, err := p.failed.drop(ctx, p.grant.Partition, r.Cursor)
		if err != nil {
			return err
		}
		if was {
			p.count(-1)
		}
	}
	return nil
}

func (p *partitionRun[T]) count(putAside int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watermark.PutAside += putAside
}
