package orchestrator_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

const offlineCancel = "deployment-todo-search-0.0.1-offline-cancel"

// withAside brings a release with an offline script live, which has put two records aside.
// Its setup service leaves further answers to the test, until it is stopped.
func (e *environment) withAside(r rollout.Release) (id string, starts <-chan *nats.Msg, stop func()) {
	e.t.Helper()
	e.service("todo-search", "0.0.1")
	heard := make(chan *nats.Msg, 100)
	stop = e.bare(offlineStart, func(_ *nats.Conn, m *nats.Msg) { heard <- m })
	id = e.deploy(r)
	e.must(next(e, "the start", heard).Respond([]byte(`{"done": true, "items": 10, "putAside": 2}`)))
	story := e.awaitStatus(id, rollout.Completed)
	if step, _ := story.Step("todo-search/offline"); step.Script.PutAside != 2 || step.Script.Items != 10 {
		e.t.Errorf("the step says %d of %d are put aside", step.Script.PutAside, step.Script.Items)
	}
	return id, heard, stop
}

// retryRecords asks for the records of a rollout to be tried again.
func (e *environment) retryRecords(id, step string) error {
	_, err := e.client.Retry(e.t.Context(), api.RetryRequest{Rollout: id, By: "ada", Reason: "the index has room now", FailedRecords: true, Step: step})
	return err
}

func start(m *nats.Msg) protocol.StartMessage {
	var s protocol.StartMessage
	_ = json.Unmarshal(m.Data, &s) // the zero StartMessage is none that a test expects
	return s
}

func TestRecordsThatWerePutAsideAreTriedAgain(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	completed := e.observe(appSetUp)
	id, starts, stop := e.withAside(search(protocol.Offline))
	completed.await(appSetUp, fact)

	_, err := e.client.Retry(t.Context(), api.RetryRequest{Rollout: id})
	e.refused(err, api.CodeConflict, "only a failed one can be retried")
	var refusal *protocol.ServiceError
	if !errors.As(err, &refusal) || !strings.HasPrefix(refusal.Hint, "golive retry "+id+" --failed-records") {
		t.Errorf("the hint is %q", refusal.Hint)
	}
	_, err = e.client.Retry(t.Context(), api.RetryRequest{Rollout: id, Step: "todo-search/offline"})
	e.refused(err, api.CodeInvalid, "all failed steps")
	e.refused(e.retryRecords(id, "todo-search/online"), api.CodeNotFound, "no step")
	e.refused(e.retryRecords(id, "todo-search/traffic"), api.CodeInvalid, "runs no script")
	stop()
	e.refused(e.retryRecords(id, ""), api.CodeConflict, "nobody listens to "+offlineStart)
	if n := len(e.show(id).Events); n != 3 {
		t.Fatalf("what was refused has left %d events, want 3", n)
	}

	again := e.starts(offlineStart)
	e.must(e.retryRecords(id, ""))
	m := next(e, "the second start", again)
	if s := start(m); !s.FailedRecords || s.Attempt != 2 || s.Revert {
		t.Errorf("the second start is %s", m.Data)
	}
	e.must(e.retryRecords(id, ""))
	e.must(e.retryRecords(id, "todo-search/offline"))
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: search()})
	e.refused(err, api.CodeRolloutOpen, "amending")
	_, err = e.client.Backward(t.Context(), api.BackwardRequest{App: "todo-app"})
	e.refused(err, api.CodeConflict, "tries records again")
	status, err := e.client.Status(t.Context(), api.AppRequest{App: "todo-app"})
	e.must(err)
	if len(status) != 1 || status[0].Rollout.Status != rollout.Amending || !slices.Equal(status[0].Services[0].Online, []string{"0.0.1"}) || status[0].Services[0].NotRun != nil {
		t.Errorf("the status is %+v", status)
	}

	e.must(m.Respond([]byte(`{"done": true, "items": 2, "putAside": 0}`)))
	story := e.awaitStatus(id, rollout.Completed)
	if step, _ := story.Step("todo-search/offline"); step.Script.PutAside != 0 || step.Script.Items != 12 || step.Status != rollout.StepDone {
		t.Errorf("the step is %+v", step)
	}
	asked := story.Events[3]
	if len(story.Events) != 5 || asked.Type != rollout.RecordsAsked || asked.By != "ada" || asked.Reason != "the index has room now" || asked.Status != rollout.Amending {
		t.Errorf("the story is %+v", story.Events)
	}
	e.refused(e.retryRecords(id, ""), api.CodeConflict, "no records of rollout "+id+" are put aside")
	e.refused(e.retryRecords(id, "todo-search/offline"), api.CodeConflict, "no records of step todo-search/offline")
	e.awaitStatus(e.deploy(search()), rollout.Completed) // whose end is told after all that there is to tell
	completed.count(2)
	if all, _ := completed.find(appSetUp, func(m *nats.Msg) bool { return outcome(m).Rollout == id }); len(all) != 1 || len(starts) != 0 {
		t.Errorf("the completion event was heard %d times, want once", len(all))
	}
}

func TestRecordsOfAnOlderRolloutAreNotTriedAgain(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id, _, _ := e.withAside(search(protocol.Offline))
	newer := search()
	newer.Version = "0.0.3"
	e.awaitStatus(e.deploy(newer), rollout.Completed)
	e.refused(e.retryRecords(id, ""), api.CodeConflict, "has begun after rollout "+id)
	before := search(protocol.Before)
	before.Version = "0.0.4"
	running := e.deploy(before)
	e.refused(e.retryRecords(running, ""), api.CodeConflict, "only of a completed one")
}

func TestRolloutWaitsWhileRecordsAreTriedAgain(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	id, starts, _ := e.withAside(search(protocol.Offline))
	e.must(e.retryRecords(id, "todo-search/offline"))
	m := next(e, "the second start", starts)
	queued := newID(t)
	newer := search()
	newer.Version = "0.0.3"
	_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: queued, Release: newer, Queue: true})
	e.must(err)
	stop()
	e.orchestrate() // which has not seen the rollout when it was completed
	if s := e.show(queued); s.Status != rollout.Queued {
		t.Errorf("the next rollout is %s, want queued", s.Status)
	}
	e.must(m.Respond([]byte(`{"error": {"message": "still no room"}}`)))
	story := e.awaitStatus(id, rollout.Completed)
	if step, _ := story.Step("todo-search/offline"); step.Script.PutAside != 2 || step.Status != rollout.StepDone || step.Error == nil {
		t.Errorf("the step is %+v", step)
	}
	e.awaitStatus(queued, rollout.Completed)
}

func TestTryingRecordsAgainIsAborted(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	release := search(protocol.Offline)
	release.Strategy = rollout.Downtime
	id, starts, _ := e.withAside(release)
	cancelled := e.starts(offlineCancel)
	abort := api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id, By: "ada"}}
	e.must(e.retryRecords(id, ""))
	next(e, "the second start", starts)
	for _, want := range []rollout.Status{rollout.Amending, rollout.Amending, rollout.Completed, rollout.Completed} {
		if want == rollout.Completed {
			if a := e.answer(offlineFailed, id, 2, `{"error": {"code": "cancelled", "message": "stopped"}}`); !*a.Accepted {
				t.Errorf("the answer of the one that has stopped is refused: %s", a.Reason)
			}
		}
		v, err := e.client.Abort(t.Context(), abort)
		e.must(err)
		if step, _ := v.Step("todo-search/offline"); v.Status != want || step.Script.PutAside != 2 {
			t.Errorf("after the abort it is %s, want %s, with the step %+v", v.Status, want, step)
		}
	}
	next(e, "the cancel", cancelled)
	e.answeredBy("0.0.1")

	e.must(e.retryRecords(id, ""))
	next(e, "the third start", starts)
	_, err := e.client.Abort(t.Context(), abort)
	e.must(err)
	e.refused(e.retryRecords(id, ""), api.CodeConflict, "told to stop")
	abort.Force = true // it does not stop
	v, err := e.client.Abort(t.Context(), abort)
	e.must(err)
	if v.Status != rollout.Completed {
		t.Errorf("after the forced abort it is %s", v.Status)
	}

	e.must(e.retryRecords(id, ""))
	next(e, "the fourth start", starts)
	newer := search()
	newer.Version = "0.0.3"
	replacing := newID(t)
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: replacing, Release: newer, Replace: true, By: "ada"})
	e.must(err)
	e.answer(offlineFailed, id, 4, `{"error": {"code": "cancelled", "message": "stopped"}}`)
	e.awaitStatus(replacing, rollout.Completed)
	if s := e.show(id); s.Status != rollout.Completed {
		t.Errorf("the rollout that gave way is %s, want completed", s.Status)
	}
}

// putAside puts a record of a step aside, as a setup service does, and gives its key.
func (e *environment) putAside(bucket jetstream.KeyValue, id, step, cursor string, record any) string {
	e.t.Helper()
	key := protocol.FailedRecordKey(id, step, false, "", "", cursor)
	data, err := json.Marshal(record)
	e.must(err)
	value, err := json.Marshal(protocol.FailedRecord{Step: step, Cursor: cursor, Record: data, Error: "no room", Tries: 3, Attempt: 1, At: time.Now().UTC()})
	e.must(err)
	_, err = bucket.Put(e.t.Context(), key, value)
	e.must(err)
	return key
}

func (e *environment) failedRecords() jetstream.KeyValue {
	e.t.Helper()
	js, err := jetstream.New(e.nc)
	e.must(err)
	bucket, err := js.KeyValue(e.t.Context(), protocol.FailedRecordsBucket)
	e.must(err)
	return bucket
}

// turn gives the cursors of all records, page by page.
func (e *environment) turn(q api.RecordsRequest) (cursors []string, pages int) {
	e.t.Helper()
	for {
		page, err := e.client.Records(e.t.Context(), q)
		e.must(err)
		pages++
		for _, r := range page.Records {
			cursors = append(cursors, r.Cursor)
		}
		if q.After = page.Next; q.After == "" {
			return cursors, pages
		}
	}
}

func TestRecordsComeInPages(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(two())
	other := e.deploy(recorded("other"))
	bucket := e.failedRecords()
	const records = 1001
	type put struct{ key, cursor string }
	all := []put{{e.putAside(bucket, id, "todo-search/offline", "one more", "x"), "one more"}}
	for i := range records {
		cursor := fmt.Sprintf("record-%d", i)
		if i%100 == 0 {
			e.putAside(bucket, other, "todos/offline", "another rollout's "+cursor, 0)
		}
		all = append(all, put{e.putAside(bucket, id, "todos/offline", cursor, i), cursor})
	}
	var cursors []string
	for _, p := range all {
		cursors = append(cursors, p.cursor)
	}
	for name, c := range map[string]struct {
		q     api.RecordsRequest
		want  []string
		pages int
	}{
		"by default":     {api.RecordsRequest{}, cursors, 11},
		"as many as may": {api.RecordsRequest{Limit: 1000}, cursors, 2},
		"of a step":      {api.RecordsRequest{Limit: 1000, Step: "todos/offline"}, cursors[1:], 2},
		"of another":     {api.RecordsRequest{Limit: 1, Step: "todo-search/offline"}, cursors[:1], 1},
		"of none":        {api.RecordsRequest{Step: "todo-search/online"}, nil, 1},
	} {
		c.q.Rollout = id
		got, pages := e.turn(c.q)
		if !slices.Equal(got, c.want) || pages != c.pages {
			t.Errorf("%s: %d pages with %d records, want %d with %d", name, pages, len(got), c.pages, len(c.want))
		}
	}
	first, err := e.client.Records(t.Context(), api.RecordsRequest{Rollout: id, Limit: 1})
	e.must(err)
	if len(first.Records) != 1 || first.Next == "" {
		t.Fatalf("the page of one is %+v", first)
	}
	if r := first.Records[0]; r.Cursor != "one more" || string(r.Record) != `"x"` || r.Error != "no room" || r.Tries != 3 || r.At.IsZero() {
		t.Errorf("the record is %+v", r)
	}
	for i, p := range all[1:800] { // these are dealt with meanwhile
		forget := bucket.Delete
		if i%2 == 0 {
			forget = bucket.Purge
		}
		e.must(forget(t.Context(), p.key))
	}
	e.putAside(bucket, id, "todos/offline", all[900].cursor, "again") // and this one has failed once more
	want := append(slices.Delete(slices.Clone(cursors[800:]), 100, 101), cursors[900])
	rest, pages := e.turn(api.RecordsRequest{Rollout: id, Limit: 101, After: first.Next})
	if !slices.Equal(rest, want) || pages != 2 {
		t.Errorf("%d records are left on %d pages, want %d", len(rest), pages, len(want))
	}
	for _, q := range []api.RecordsRequest{{Limit: -1}, {Limit: 1001}, {Step: "todos/traffic"}, {After: "zzz"}, {After: "18446744073709551615"}} {
		q.Rollout = id
		_, err := e.client.Records(t.Context(), q)
		e.refused(err, api.CodeInvalid, "")
		var refusal *protocol.ServiceError
		if !errors.As(err, &refusal) || refusal.Hint == "" {
			t.Errorf("%+v is refused without a hint: %v", q, err)
		}
	}
	for _, q := range []api.RecordsRequest{{Rollout: id, Step: "todos/later"}, {Rollout: id, Step: ">"}, {Rollout: newID(t)}} {
		_, err := e.client.Records(t.Context(), q)
		e.refused(err, api.CodeNotFound, "")
	}
	if none, pages := e.turn(api.RecordsRequest{Rollout: e.deploy(recorded("third")), After: "9223372036854775807"}); none != nil || pages != 1 {
		t.Errorf("a rollout without any has %v", none)
	}
}

func TestRecordsFitIntoAMessage(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(recorded("app"))
	bucket := e.failedRecords()
	want := map[string]bool{}
	for i := range 7 {
		cursor := fmt.Sprint(i)
		e.putAside(bucket, id, "app-service/offline", cursor, strings.Repeat("x", 400<<10))
		want[cursor] = true
	}
	e.putAside(bucket, id, "app-service/offline", "long", strings.Repeat("é", 300<<10))
	js, err := jetstream.New(e.nc)
	e.must(err)
	raw := func(key, value string) {
		t.Helper()
		_, err := js.Publish(t.Context(), protocol.KeySubject(protocol.FailedRecordsBucket, key), []byte(value))
		e.must(err)
	}
	raw(protocol.FailedRecordKey(id, "app-service/offline", false, "", "", "broken"), `{"cursor": `)
	raw(protocol.FailedRecordKey(id, "app-service/offline", false, "", "", "grows"), `{"cursor": "grows", "record": "`+strings.Repeat("<", 900<<10)+`"}`)
	raw(id+".app-service.offline.do.$$", `{"cursor": "of a key that cannot be"}`)
	raw(id+".stray", `{"cursor": "of no step"}`)
	var broken int
	got := map[string]bool{}
	q := api.RecordsRequest{Rollout: id, Limit: 1000}
	for pages := 0; pages == 0 || q.After != ""; pages++ {
		page, err := e.client.Records(t.Context(), q)
		e.must(err)
		for _, r := range page.Records {
			switch {
			case r.Step != "app-service/offline":
				t.Errorf("a record is of step %q", r.Step)
			case strings.Contains(r.Error, "cannot be read"):
				broken++
			case r.Cursor == "grows" && string(r.Record) == `"921602 bytes, too long to be shown"`, r.Cursor == "long" && len(r.Record) == 600<<10+2:
				broken++
			case got[r.Cursor] || !want[r.Cursor] || len(r.Record) != 400<<10+2:
				t.Errorf("record %q with %d bytes is out of place", r.Cursor, len(r.Record))
			default:
				got[r.Cursor] = true
			}
		}
		q.After = page.Next
	}
	if len(got) != len(want) || broken != 3 {
		t.Errorf("%d records came, want %d, and %d odd ones, want 3", len(got), len(want), broken)
	}
}
