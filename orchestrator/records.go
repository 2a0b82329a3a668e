package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// amend has the scripts of a completed rollout try the records again that they have put
// aside.
func (o *Orchestrator) amend(ctx context.Context, q RetryRequest) (RolloutView, error) {
	ref, err := o.find(ctx, q.Rollout)
	if err != nil {
		return RolloutView{}, err
	}
	for {
		r, err := o.askRecords(ctx, ref, q)
		if !errors.Is(err, rollout.ErrConflict) {
			return o.view(r), err
		}
	}
}

// askRecords records that the records are wanted, if nothing happens to the app meanwhile;
// else [rollout.ErrConflict]. Asking for what is under way is no error.
func (o *Orchestrator) askRecords(ctx context.Context, ref journal.Ref, q RetryRequest) (journal.Record, error) {
	var none journal.Record
	after, err := o.appNow(ctx, ref.App)
	if err != nil {
		return none, err
	}
	r, err := o.journal.Load(ctx, ref.App, ref.ID)
	if err != nil {
		return none, err
	}
	s := r.State
	if q.Step != "" {
		if _, err := scriptOf(s, q.Step); err != nil {
			return none, err
		}
	}
	if s.Status == rollout.Amending && amends(s, q.Step) {
		return r, nil
	}
	if err := o.mayAmend(s); err != nil {
		return none, err
	}
	if err := o.checkHeard(ctx, s, q.Step); err != nil {
		return none, err
	}
	next, err := s.Apply(rollout.Event{Type: rollout.RecordsAsked, At: time.Now().UTC(), Step: q.Step, By: q.By, Reason: q.Reason})
	if err != nil {
		return none, err
	}
	return o.keep(ctx, next, after, o.journal.AppendNext)
}

// amends reports whether a script deals with what it has put aside, that of a step or, if
// none is named, any.
func amends(s rollout.State, id string) bool {
	return slices.ContainsFunc(s.Steps, func(step rollout.Step) bool {
		return step.Records && (id == "" || id == step.ID) && (step.Status == rollout.StepRunning || step.Status == rollout.StepRetrying)
	})
}

// mayAmend refuses a rollout whose records cannot be tried again because of where it stands,
// or because a newer one may have changed the data since.
func (o *Orchestrator) mayAmend(s rollout.State) error {
	switch newest := o.index.Newest(s.Release.App); {
	case s.Status == rollout.Failed:
		return refuse(CodeConflict, "golive retry "+s.ID+" tries its failed steps again",
			"rollout %s has failed: records that were put aside are tried again once it is completed", s.ID)
	case s.Status == rollout.Amending:
		return refuse(CodeConflict, "golive watch "+s.ID+" tells when it has ended; ask again then",
			"rollout %s tries the records of other steps again", s.ID)
	case s.Status != rollout.Completed:
		return refuse(CodeConflict, "golive show "+s.ID+" tells how it stands",
			"rollout %s is %s: only of a completed one can records be tried again", s.ID, s.Status)
	case newest != s.ID:
		return refuse(CodeConflict, "golive history "+s.Release.App+" lists what has been rolled out",
			"rollout %s has begun after rollout %s: its scripts do not run any more", newest, s.ID)
	}
	return nil
}

// checkHeard refuses to try records again if no script, that of a step or, if none is named,
// any, has put some aside, or nobody listens to the start of one that has.
func (o *Orchestrator) checkHeard(ctx context.Context, s rollout.State, id string) error {
	var aside, unheard []rollout.Step
	for _, step := range s.Steps {
		if step.PutAside <= 0 || step.Status != rollout.StepDone || id != "" && id != step.ID {
			continue
		}
		aside = append(aside, step)
		listened, err := o.post.listened(ctx, step.Script().Subject(protocol.Start))
		if err != nil {
			return err
		}
		if !listened {
			unheard = append(unheard, step)
		}
	}
	if len(aside) == 0 {
		whose := "rollout " + s.ID
		if id != "" {
			whose = "step " + id + " of " + whose
		}
		return refuse(CodeConflict, "golive show "+s.ID+" tells what its scripts have dealt with", "no records of %s are put aside", whose)
	}
	if len(unheard) > 0 {
		starts := make([]string, len(unheard))
		for i, step := range unheard {
			starts[i] = step.Script().Subject(protocol.Start)
		}
		return refuse(CodeConflict, "start the setup service of "+unheard[0].Name+" "+unheard[0].Version+", and ask again",
			"nobody listens to %s: nothing was changed", strings.Join(starts, ", "))
	}
	return nil
}

const (
	defaultRecords = 100
	maxRecords     = 1000
	recordsAtOnce  = 16 // that are read at the same time, and that a page may be read too far
)

// listRecords gives a page of the records that a rollout's scripts have put aside. Whoever
// turns the pages meets each record once that is there all the time.
func (o *Orchestrator) listRecords(ctx context.Context, q RecordsRequest) (RecordsPage, error) {
	none := RecordsPage{}
	if q.Limit == 0 {
		q.Limit = defaultRecords
	}
	if q.Limit < 1 || q.Limit > maxRecords {
		return none, refuse(CodeInvalid, "", "limit is %d, it must be from 1 to %d", q.Limit, maxRecords)
	}
	ref, err := o.find(ctx, q.Rollout)
	if err != nil {
		return none, err
	}
	if q.Step != "" {
		r, err := o.journal.Load(ctx, ref.App, ref.ID)
		if err != nil {
			return none, err
		}
		if _, err := scriptOf(r.State, q.Step); err != nil {
			return none, err
		}
	}
	keys, err := o.aside.find(ctx, ref.ID, q.Step, q.After == "")
	if err != nil {
		return none, err
	}
	begin, found := slices.BinarySearch(keys, ref.ID+"."+q.After)
	if found {
		begin++
	}
	return o.recordsPage(ctx, ref.ID, keys[begin:], q.Limit)
}

// recordsPage reads a page of the records under keys. Those that are gone are left out.
func (o *Orchestrator) recordsPage(ctx context.Context, id string, keys []string, limit int) (RecordsPage, error) {
	page := RecordsPage{Records: []protocol.FailedRecord{}}
	all := o.nc.MaxPayload() - pageFrame
	room, more, last := all, len(keys) > limit, ""
	for some := range slices.Chunk(keys[:min(len(keys), limit)], recordsAtOnce) {
		records, err := o.aside.read(ctx, some)
		if err != nil {
			return RecordsPage{}, err
		}
		for i, record := range records {
			if record != nil {
				size, err := sizeWithin(record, all)
				if err != nil {
					return RecordsPage{}, fmt.Errorf("write record %s: %w", some[i], err)
				}
				if room -= size; room < 0 && last != "" {
					page.Next = strings.TrimPrefix(last, id+".")
					return page, nil
				}
				page.Records = append(page.Records, *record)
			}
			last = some[i]
		}
	}
	if more {
		page.Next = strings.TrimPrefix(last, id+".")
	}
	return page, nil
}

// sizeWithin is how many bytes of a page a record takes; what is too long for any is cut out
// of it.
func sizeWithin(record *protocol.FailedRecord, most int64) (int64, error) {
	data, err := json.Marshal(record)
	if err == nil && int64(len(data)) >= most {
		note, _ := json.Marshal(fmt.Sprintf("%d bytes, too long to be shown", len(record.Record))) // text always has a JSON form
		record.Record, record.Error, record.Cursor, record.Partition = note, clip(record.Error), clip(record.Cursor), clip(record.Partition)
		record.Step = clip(record.Step)
		data, err = json.Marshal(record)
	}
	return int64(len(data)) + 1, err // with the comma
}

// aside reads what scripts have put aside. It is safe for concurrent use.
type aside struct {
	nc     *nats.Conn
	bucket jetstream.KeyValue

	mu      sync.Mutex
	lists   []keyList     // the one used last at the end
	finding chan struct{} // holds one for each search that is under way
}

// keyList holds the keys of records in their order, for as long as somebody turns pages: to
// find 100,000 takes about a second.
type keyList struct {
	rollout, step string
	keys          []string
	used          time.Time
}

const (
	maxLists    = 4           // that are kept
	keepList    = time.Minute // after it was used
	maxFindings = 2           // at the same time
)

func newAside(nc *nats.Conn, bucket jetstream.KeyValue) *aside {
	return &aside{nc: nc, bucket: bucket, finding: make(chan struct{}, maxFindings)}
}

// find gives the keys of the records of a rollout, or of one of its steps, in their order: of
// those that are there now, if they are wanted afresh.
func (a *aside) find(ctx context.Context, id, step string, afresh bool) ([]string, error) {
	if keys, known := a.known(id, step); known && !afresh {
		return keys, nil
	}
	select {
	case a.finding <- struct{}{}:
		defer func() { <-a.finding }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	filters := []string{protocol.FailedRecordKeys(id)}
	if step != "" {
		filters = []string{protocol.CheckpointKey(id, step, false) + ".*", protocol.CheckpointKey(id, step, true) + ".*"}
	}
	keys, err := a.list(ctx, filters)
	if err != nil {
		return nil, fmt.Errorf("find the records that were put aside: %w", err)
	}
	a.keep(keyList{rollout: id, step: step, keys: keys})
	return keys, nil
}

// list gives the keys that match filters.
func (a *aside) list(ctx context.Context, filters []string) ([]string, error) {
	watcher, err := a.bucket.WatchFiltered(ctx, filters, jetstream.IgnoreDeletes(), jetstream.MetaOnly())
	if err != nil {
		return nil, err
	}
	defer func() { _ = watcher.Stop() }() // the connection may be gone
	keys := []string{}
	for {
		select {
		case entry, going := <-watcher.Updates():
			switch {
			case !going:
				return nil, errors.New("the listing was interrupted")
			case entry == nil: // that is all
				slices.Sort(keys)
				return slices.Compact(keys), nil
			case strings.Count(entry.Key(), ".") == keyDots:
				keys = append(keys, entry.Key())
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// keyDots is how many dots a [protocol.FailedRecordKey] has: there is one before the name of
// the step's service or app, its phase, the direction and the record.
const keyDots = 4

func (a *aside) known(id, step string) ([]string, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.forget()
	for i, l := range a.lists {
		if l.rollout == id && l.step == step {
			l.used = time.Now()
			a.lists = append(slices.Delete(a.lists, i, i+1), l)
			return l.keys, true
		}
	}
	return nil, false
}

func (a *aside) keep(l keyList) {
	a.mu.Lock()
	defer a.mu.Unlock()
	l.used = time.Now()
	a.lists = slices.DeleteFunc(a.lists, func(other keyList) bool { return other.rollout == l.rollout && other.step == l.step })
	a.lists = append(a.lists, l)
	a.forget()
}

// forget lets go of lists that nobody has used for a while, and of those that are too many.
func (a *aside) forget() {
	a.lists = slices.DeleteFunc(a.lists, func(l keyList) bool { return time.Since(l.used) > keepList })
	if n := len(a.lists) - maxLists; n > 0 {
		a.lists = slices.Delete(a.lists, 0, n)
	}
}

// read reads the records under keys; nil for those that are gone.
func (a *aside) read(ctx context.Context, keys []string) ([]*protocol.FailedRecord, error) {
	records := make([]*protocol.FailedRecord, len(keys))
	reading, ctx := errgroup.WithContext(ctx)
	for i, key := range keys {
		reading.Go(func() error {
			entry, err := a.bucket.Get(ctx, key)
			if errors.Is(err, jetstream.ErrKeyNotFound) || errors.Is(err, jetstream.ErrInvalidKey) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read record %s: %w", key, err)
			}
			records[i] = readRecord(key, entry)
			return nil
		})
	}
	return records, reading.Wait()
}

// readRecord is what an entry says of a record; of one that cannot be read, what is known.
func readRecord(key string, entry jetstream.KeyValueEntry) *protocol.FailedRecord {
	var r protocol.FailedRecord
	if err := json.Unmarshal(entry.Value(), &r); err != nil {
		r = protocol.FailedRecord{At: entry.Created().UTC(), Error: "what was put aside cannot be read: " + clip(err.Error())}
	}
	if tokens := strings.Split(key, "."); r.Step == "" {
		r.Step = tokens[1] + "/" + tokens[2]
	}
	return &r
}

// drop forgets the records of a rollout.
func (a *aside) drop(ctx context.Context, id string) error {
	js, err := jetstream.New(a.nc)
	if err != nil {
		return err
	}
	stream, err := js.Stream(ctx, "KV_"+a.bucket.Bucket())
	if err == nil {
		err = stream.Purge(ctx, jetstream.WithPurgeSubject(protocol.KeySubject(a.bucket.Bucket(), protocol.FailedRecordKeys(id))))
	}
	if err != nil {
		return fmt.Errorf("drop the records that rollout %s has put aside: %w", id, err)
	}
	return nil
}
