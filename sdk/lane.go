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

// mark is how far the work on a grant has come: all records up to the cursor are dealt
// with. Counts are those since the grant was given.
type mark struct {
	Cursor   string
	Done     int64
	PutAside int64 // of them, or of some behind the cursor; less than 0: more were dealt with that had been put aside
	Ended    bool  // there are no more records
}

// terms are what a lane works under.
type terms struct {
	run    *Run
	origin string // see scopeOf
	grant  grant
	valve  *valve
	aside  *aside                            // nil: the first record that fails ends the work
	report func(context.Context, mark) error // returns once the mark is durable
	every  time.Duration                     // report so often though nothing is new; 0: never
}

// lane is the work of one instance on one partition.
type lane[T any] struct {
	terms
	work  *Backfill[T]
	scope string
	stop  context.CancelCauseFunc // begin nothing more

	batches sync.WaitGroup
	news    chan struct{} // there is something to report

	mu      sync.Mutex
	pieces  []*piece // batches that have begun and that mark has not passed, oldest first
	mark    mark
	covered int  // batches that mark has passed and that still hold their place
	read    bool // there are no more records
}

// piece is a batch under way.
type piece struct {
	cursor string // of its last record
	n      int
	done   bool
}

func newLane[T any](work *Backfill[T], t terms) *lane[T] {
	return &lane[T]{
		terms: t, work: work, scope: scopeOf(t.run, t.origin, work.Name, t.grant.Partition),
		news: make(chan struct{}, 1), mark: mark{Cursor: t.grant.Cursor},
	}
}

// do works until the partition has no more records, something fails or ctx ends. What is
// done by then is reported, also when ctx has ended.
func (l *lane[T]) do(ctx context.Context) error {
	going, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	l.stop = stop
	lasting, release := outlive(ctx, stopGrace)
	defer release()
	over := make(chan struct{})
	var reporter sync.WaitGroup
	reporter.Go(func() { l.reports(lasting, over) })
	if err := l.readAll(ctx, going); err != nil {
		stop(err)
	}
	l.batches.Wait()
	close(over)
	reporter.Wait()
	return context.Cause(going)
}

// reports reports the newest mark, whenever there is one, until over.
func (l *lane[T]) reports(ctx context.Context, over <-chan struct{}) {
	var beat <-chan time.Time
	if l.every > 0 {
		ticker := time.NewTicker(l.every)
		defer ticker.Stop()
		beat = ticker.C
	}
	sent := mark{Cursor: l.grant.Cursor}
	for last := false; !last; {
		due := false
		select {
		case <-l.news:
		case <-beat:
			due = true
		case <-over:
			last = true
		}
		m, covered := l.newest()
		if m == sent && !due {
			continue
		}
		if err := l.report(ctx, m); err != nil {
			l.stop(err)
			<-over
			return
		}
		sent = m
		l.valve.free(covered)
	}
}

// newest gives the mark, and how many places become free once it is durable.
func (l *lane[T]) newest() (mark, int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	covered := l.covered
	l.covered = 0
	l.mark.Ended = l.read && len(l.pieces) == 0
	return l.mark, covered
}

func (l *lane[T]) tell() {
	select {
	case l.news <- struct{}{}:
	default: // the reporter has yet to look
	}
}

// readAll begins a batch whenever there are records for one. A source that breaks is taken
// up again behind the last record that it gave.
func (l *lane[T]) readAll(ctx, going context.Context) error {
	r := reading[T]{lane: l, after: l.grant.Cursor}
	for tries := 0; ; {
		got, err := r.on(ctx, going)
		if err == nil {
			break
		}
		if got {
			tries = 0
		}
		if tries++; !l.work.retry().again(going, tries, err) {
			return fmt.Errorf("read the source: %w", err)
		}
		l.run.Log.Warn("the source has broken, it is taken up again: " + err.Error())
	}
	if err := r.flush(ctx, going); err != nil {
		return err
	}
	l.mu.Lock()
	l.read = true
	l.mu.Unlock()
	l.tell()
	return nil
}

// reading gathers records to batches.
type reading[T any] struct {
	lane    *lane[T]
	after   string // the cursor of the last record
	records []Record[T]
}

// on reads on until the source has ended or broken, and tells whether it gave anything.
func (r *reading[T]) on(ctx, going context.Context) (got bool, err error) {
	l := r.lane
	defer recovered(l.run, &err)
	size := l.grant.Size
	for record, err := range l.work.Source.Records(going, l.run, l.grant.Partition, r.after) {
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
func (r *reading[T]) flush(ctx, going context.Context) error {
	if len(r.records) == 0 {
		return nil
	}
	l, records := r.lane, r.records
	r.records = nil
	if err := l.valve.admit(going, len(records)); err != nil {
		return err
	}
	p := &piece{cursor: records[len(records)-1].Cursor, n: len(records)}
	l.mu.Lock()
	l.pieces = append(l.pieces, p)
	l.mu.Unlock()
	l.batches.Go(func() {
		if err := l.deal(ctx, going, records); err != nil {
			l.stop(err)
			return
		}
		l.finish(p)
	})
	return nil
}

// finish moves the mark past all batches that are done and have none before them that is
// not.
func (l *lane[T]) finish(p *piece) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p.done = true
	for len(l.pieces) > 0 && l.pieces[0].done {
		l.mark.Cursor, l.mark.Done = l.pieces[0].cursor, l.mark.Done+int64(l.pieces[0].n)
		l.pieces[0], l.pieces = nil, l.pieces[1:]
		l.covered++
	}
	l.tell()
}

// deal deals with all records of a batch, tries again what fails, and puts aside what it
// may. The author's function has ctx; nothing is begun any more once going has ended.
func (l *lane[T]) deal(ctx, going context.Context, records []Record[T]) (err error) {
	defer recovered(l.run, &err) // to write a record as JSON can panic too
	if l.work.Each != nil {
		return l.one(ctx, going, records, func(i int) error { return l.each(ctx, records[i]) })
	}
	b := newBatch(l.scope, l.grant.Partition, records)
	tries, err := l.work.retry().do(going, func() error { return l.batch(ctx, b) })
	switch {
	case err == nil:
		return l.settle(ctx, records, nil)
	case !l.mayPutAside(going, err):
		return fmt.Errorf("%s to %q: %w", recordName(l.grant.Partition, records[0].Cursor), records[len(records)-1].Cursor, err)
	case len(records) == 1:
		return l.putAside(ctx, records[0], err, tries)
	}
	return l.one(ctx, going, records, func(i int) error {
		return l.batch(ctx, newBatch(l.scope, l.grant.Partition, records[i:i+1]))
	})
}

// one deals with the records one by one.
func (l *lane[T]) one(ctx, going context.Context, records []Record[T], try func(i int) error) error {
	var failed map[int]bool
	for i := range records {
		if going.Err() != nil {
			return context.Cause(going)
		}
		err, tries := try(i), 1
		for ; err != nil && l.work.retry().again(going, tries, err); tries++ {
			err = try(i)
		}
		switch {
		case err == nil:
			continue
		case !l.mayPutAside(going, err):
			return fmt.Errorf("%s: %w", recordName(l.grant.Partition, records[i].Cursor), err)
		}
		if err := l.putAside(ctx, records[i], err, tries); err != nil {
			return err
		}
		if failed == nil {
			failed = make(map[int]bool)
		}
		failed[i] = true
	}
	return l.settle(ctx, records, failed)
}

// each calls the author's function; a panic of it is an error.
func (l *lane[T]) each(ctx context.Context, r Record[T]) (err error) {
	defer recovered(l.run, &err)
	r.scope = &l.scope
	return l.work.Each(ctx, l.run, r)
}

// batch calls the author's function; a panic of it is an error.
func (l *lane[T]) batch(ctx context.Context, b Batch[T]) (err error) {
	defer recovered(l.run, &err)
	b.Records = slices.Clone(b.Records) // the author may change it, and it is needed again
	return l.work.Batch(ctx, l.run, b)
}

func (l *lane[T]) mayPutAside(going context.Context, err error) bool {
	return l.aside != nil && going.Err() == nil && !errors.Is(err, ErrSuperseded)
}

func (l *lane[T]) putAside(ctx context.Context, r Record[T], why error, tries int) error {
	failed := protocol.FailedRecord{Partition: l.grant.Partition, Cursor: r.Cursor, Error: why.Error(), Tries: tries}
	data, err := json.Marshal(r.Value)
	if err != nil {
		failed.Error += " (kept without the record, which is not to be written as JSON: " + err.Error() + ")"
	} else {
		failed.Record = data
	}
	fresh, err := l.aside.put(ctx, failed)
	if err != nil {
		return fmt.Errorf("%w; the last one is %s: %w", err, recordName(failed.Partition, r.Cursor), why)
	}
	l.run.Log.Warn(recordName(failed.Partition, r.Cursor) + " is put aside: " + why.Error())
	if fresh {
		l.count(1)
	}
	return nil
}

// settle takes back what was put aside and is dealt with now: all but those that have
// failed again.
func (l *lane[T]) settle(ctx context.Context, records []Record[T], failed map[int]bool) error {
	if l.aside == nil || l.aside.none() {
		return nil
	}
	for i, r := range records {
		if failed[i] {
			continue
		}
		was, err := l.aside.settle(ctx, l.grant.Partition, r.Cursor)
		if err != nil {
			return err
		}
		if was {
			l.count(-1)
		}
	}
	return nil
}

func (l *lane[T]) count(putAside int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mark.PutAside += putAside
}
