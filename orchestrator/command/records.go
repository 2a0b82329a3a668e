package command

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/records"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// amender deals with the records that scripts have put aside.
type amender struct{ base }

// amend has the scripts of a completed rollout try the records again that they have put
// aside.
func (c *amender) amend(ctx context.Context, q api.RetryRequest) (api.RolloutView, error) {
	ref, err := c.find(ctx, q.Rollout)
	if err != nil {
		return api.RolloutView{}, err
	}
	for {
		r, err := c.askRecords(ctx, ref, q)
		if !errors.Is(err, rollout.ErrConflict) {
			return c.viewOf(r), err
		}
	}
}

// askRecords records that the records are wanted, if nothing happens to the app meanwhile;
// else [rollout.ErrConflict]. Asking for what is under way is no error.
func (c *amender) askRecords(ctx context.Context, ref journal.Ref, q api.RetryRequest) (journal.Record, error) {
	var none journal.Record
	after, err := c.Recorder.AppNow(ctx, ref.App)
	if err != nil {
		return none, err
	}
	r, err := c.Journal.Load(ctx, ref.App, ref.ID)
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
	if err := c.mayAmend(ctx, s, q.By); err != nil {
		return none, err
	}
	if err := c.checkHeard(ctx, s, q.Step); err != nil {
		return none, err
	}
	next, err := s.Apply(rollout.Event{Type: rollout.RecordsAsked, At: c.Recorder.Now(), Step: q.Step, By: rollout.Clip(q.By), Reason: rollout.Clip(q.Reason)})
	if err != nil {
		return none, err
	}
	return c.Recorder.Keep(ctx, next, after, c.Journal.AppendNext)
}

// amends reports whether a script deals with what it has put aside, that of a step or, if
// none is named, any.
func amends(s rollout.State, id string) bool {
	return slices.ContainsFunc(s.Steps, func(step *rollout.Step) bool {
		return step.Script.Records && !step.Cancelled && (id == "" || id == step.ID) && (step.Status == rollout.StepRunning || step.Status == rollout.StepRetrying)
	})
}

// mayAmend refuses a rollout whose records cannot be tried again because of where it stands,
// or because a newer one may have changed the data since. A failed one that has done nothing
// gives way, which is [rollout.ErrConflict]: the app has a newer event then.
func (c *amender) mayAmend(ctx context.Context, s rollout.State, by string) error {
	switch {
	case s.IsRepeat():
		return refuse(api.CodeConflict, "golive retry "+s.Repeats+" --failed-records",
			"rollout %s has run no script, it only repeated rollout %s", s.ID, s.Repeats)
	case s.Status == rollout.Failed:
		return refuse(api.CodeConflict, "golive retry "+s.ID+" tries its failed steps again",
			"rollout %s has failed: records that were put aside are tried again once it is completed", s.ID)
	case s.Status == rollout.Amending && s.Stopping():
		return refuse(api.CodeConflict, "golive watch "+s.ID+" tells when they have; ask again then",
			"rollout %s waits for its scripts, which were told to stop", s.ID)
	case s.Status == rollout.Amending:
		return refuse(api.CodeConflict, "golive watch "+s.ID+" tells when it has ended; ask again then",
			"rollout %s tries the records of other steps again", s.ID)
	case s.Status != rollout.Completed:
		return refuse(api.CodeConflict, "golive show "+s.ID+" tells how it stands",
			"rollout %s is %s: only of a completed one can records be tried again", s.ID, s.Status)
	}
	return c.checkLast(ctx, s, by)
}

// checkLast refuses a completed rollout that another one has come after: one that has run or
// moved something, has brought another version, or is under way.
func (c *amender) checkLast(ctx context.Context, s rollout.State, by string) error {
	if s.Idle() {
		return nil // which has put nothing aside
	}
	app := s.Release.App
	book, err := c.Ledger.Book(ctx, app)
	if err != nil {
		return err
	}
	newer := cmp.Or(book.LastChange(), c.Ledger.Newest(app))
	if live := book.Live(); newer == s.ID && len(live) > 0 {
		newer = live[len(live)-1].Rollout
	}
	if newer != s.ID {
		return refuse(api.CodeConflict, "golive history "+app+" lists what has been rolled out",
			"rollout %s has begun after rollout %s: its scripts do not run any more", newer, s.ID)
	}
	for _, r := range c.View.OfApp(app) {
		switch {
		case isQueued(r):
		case givesWay(r):
			err := c.supersede(ctx, r.State, s.ID, rollout.Clip(by), "it has done nothing, and the records of rollout "+s.ID+" are tried again")
			return cmp.Or(err, rollout.ErrConflict)
		default:
			return refuse(api.CodeConflict, "golive watch "+r.State.ID+" tells when it has ended; ask again then",
				"rollout %s of %s is %s: one app has one rollout at a time", r.State.ID, r.State.Release.Version, r.State.Status)
		}
	}
	return nil
}

// checkHeard refuses to try records again if no script, that of a step or, if none is named,
// any, has put some aside, or nobody listens to the start of one that has.
func (c *amender) checkHeard(ctx context.Context, s rollout.State, id string) error {
	var aside []wanted
	for _, step := range s.All() {
		if step.Script.PutAside > 0 && step.Status == rollout.StepDone && (id == "" || id == step.ID) {
			aside = append(aside, wanted{script: step.ScriptID()})
		}
	}
	if len(aside) == 0 {
		whose := "rollout " + s.ID
		if id != "" {
			whose = "step " + id + " of " + whose
		}
		return refuse(api.CodeConflict, "golive show "+s.ID+" tells what its scripts have dealt with", "no records of %s are put aside", whose)
	}
	missing, late, err := c.unheard(ctx, s.Release.App, aside)
	if err != nil || len(missing) == 0 {
		return err
	}
	return refuseUnheard(api.CodeConflict, fmt.Sprintf("nobody listens to %s: nothing was changed", strings.Join(starts(missing), ", ")),
		"start the setup service of "+services(missing)+", and ask again", missing, late)
}

const (
	defaultRecords = 100
	maxRecords     = 1000
)

// listRecords gives a page of the records that a rollout's scripts have put aside. Whoever
// turns the pages meets each record that is there all the time, and once more one that is put
// aside again meanwhile.
func (c *amender) listRecords(ctx context.Context, q api.RecordsRequest) (api.RecordsPage, error) {
	none := api.RecordsPage{}
	if q.Limit == 0 {
		q.Limit = defaultRecords
	}
	if q.Limit < 1 || q.Limit > maxRecords {
		return none, refuse(api.CodeInvalid, "leave it out for pages of "+strconv.Itoa(defaultRecords), "limit is %d, it must be from 1 to %d", q.Limit, maxRecords)
	}
	after := uint64(0)
	if q.After != "" {
		var err error
		if after, err = strconv.ParseUint(q.After, 10, 63); err != nil {
			return none, refuse(api.CodeInvalid, "leave it out for the first page", "after is %q, it must be the next of a page", rollout.Clip(q.After))
		}
	}
	ref, err := c.find(ctx, q.Rollout)
	if err != nil {
		return none, err
	}
	if q.Step != "" {
		r, err := c.Journal.Load(ctx, ref.App, ref.ID)
		if err != nil {
			return none, err
		}
		if _, err := scriptOf(r.State, q.Step); err != nil {
			return none, err
		}
	}
	return c.recordsPage(ctx, records.Keys(ref.ID, q.Step), after, q.Limit)
}

// errEnough ends the reading of records.
var errEnough = errors.New("enough")

// recordsPage reads a page of the records under keys, from the place after on.
func (c *amender) recordsPage(ctx context.Context, keys []string, after uint64, limit int) (api.RecordsPage, error) {
	page := api.RecordsPage{Records: []protocol.FailedRecord{}}
	all := c.Conn.MaxPayload() - pageFrame
	room, last := all, uint64(0)
	err := c.Records.Read(ctx, keys, after, func(place uint64, record protocol.FailedRecord) error {
		size, err := sizeWithin(&record, all)
		if err != nil {
			return fmt.Errorf("write record %d: %w", place, err)
		}
		if room -= size; len(page.Records) == limit || room < 0 && last > 0 {
			page.Next = strconv.FormatUint(last, 10)
			return errEnough
		}
		page.Records, last = append(page.Records, record), place
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		return api.RecordsPage{}, err
	}
	return page, nil
}

// sizeWithin is how many bytes of a page a record takes; what is too long for any is cut out
// of it.
func sizeWithin(record *protocol.FailedRecord, most int64) (int64, error) {
	data, err := json.Marshal(record)
	if err == nil && int64(len(data)) >= most {
		note, _ := json.Marshal(fmt.Sprintf("%d bytes, too long to be shown", len(record.Record))) // text always has a JSON form
		record.Record, record.Error, record.Cursor, record.Partition = note, rollout.Clip(record.Error), rollout.Clip(record.Cursor), rollout.Clip(record.Partition)
		record.Step = rollout.Clip(record.Step)
		data, err = json.Marshal(record)
	}
	return int64(len(data)) + 1, err // with the comma
}
