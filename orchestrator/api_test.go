package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// recorded is a release that takes no traffic over the relay: it completes at once.
func recorded(app string) rollout.Release {
	return rollout.Release{App: app, Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: app + "-service", Version: "1.0.0"},
	}}
}

func TestListComesInPages(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	var newestFirst []string
	for i := range 23 {
		newestFirst = append(newestFirst, e.deploy(recorded(fmt.Sprintf("app-%d", i))))
	}
	slices.Reverse(newestFirst)
	for name, c := range map[string]struct {
		q    api.ListRequest
		want []string
		next bool
	}{
		"by default":       {api.ListRequest{}, newestFirst[:20], true},
		"of one":           {api.ListRequest{Limit: 1}, newestFirst[:1], true},
		"as long as it is": {api.ListRequest{Limit: 23}, newestFirst, false},
		"longer":           {api.ListRequest{Limit: 100}, newestFirst, false},
		"the second":       {api.ListRequest{Limit: 20, Before: newestFirst[19]}, newestFirst[20:], false},
		"behind the last":  {api.ListRequest{Before: newestFirst[22]}, nil, false},
		"of an app":        {api.ListRequest{App: "app-0"}, newestFirst[22:], false},
		"of no app":        {api.ListRequest{App: "app-99"}, nil, false},
	} {
		page, err := e.client.List(t.Context(), c.q)
		e.must(err)
		var got []string
		for _, r := range page.Rollouts {
			got = append(got, r.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("a page %s holds %v, want %v", name, got, c.want)
		}
		if (page.Next != "") != c.next || (c.next && page.Next != got[len(got)-1]) {
			t.Errorf("a page %s is followed by that before %q", name, page.Next)
		}
	}
	for _, q := range []api.ListRequest{{Limit: -1}, {Limit: 101}, {App: "*"}, {App: "no app"}} {
		_, err := e.client.List(t.Context(), q)
		e.refused(err, api.CodeInvalid, "")
	}
}

func TestPageFitsIntoAMessage(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	const rollouts = 2
	var want []string
	for i := range rollouts {
		release := recorded(fmt.Sprintf("app-%d", i))
		release.Digest = strings.Repeat("d", 600<<10)
		want = append(want, e.deploy(release))
	}
	slices.Reverse(want)
	var got []string
	pages := 0
	for q := (api.ListRequest{Limit: rollouts}); ; pages++ {
		page, err := e.client.List(t.Context(), q)
		e.must(err)
		for _, r := range page.Rollouts {
			got = append(got, r.ID)
		}
		if q.Before = page.Next; q.Before == "" {
			break
		}
	}
	if !slices.Equal(got, want) || pages == 0 {
		t.Errorf("%d pages hold %v, want %v", pages+1, got, want)
	}
	all, err := e.client.Status(t.Context(), api.AppRequest{}) // which comes in parts
	if e.must(err); len(all) != rollouts {
		t.Errorf("the status has %d apps", len(all))
	}
	whole, err := e.nc.Request(protocol.APISubject("status"), []byte("{}"), patience)
	if e.must(err); !strings.Contains(string(whole.Data), "bytes long") {
		t.Errorf("who takes no parts gets %d bytes", len(whole.Data))
	}
}

func TestRolloutIsNamedByAnyUniqueBeginning(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	one, other := e.deploy(recorded("one")), e.deploy(recorded("other"))
	same := 0
	for one[same] == other[same] {
		same++
	}
	for _, name := range []string{one, one[:same+1]} {
		if got := e.show(name).ID; got != one {
			t.Errorf("%s gives rollout %s, want %s", name, got, one)
		}
	}
	for name, code := range map[string]string{
		one[:same]: api.CodeAmbiguous, one[:1]: api.CodeAmbiguous,
		one + "0": api.CodeNotFound, "x": api.CodeNotFound, ">": api.CodeNotFound,
		"": api.CodeInvalid,
	} {
		_, err := e.client.Show(t.Context(), api.RolloutRequest{Rollout: name})
		e.refused(err, code, "")
		_, err = e.client.Retry(t.Context(), api.RetryRequest{Rollout: name})
		e.refused(err, code, "")
	}
}

func TestAPageIsThatBeforeARolloutThatThereIs(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	one, other := e.deploy(recorded("one")), e.deploy(recorded("other"))
	same := 0
	for one[same] == other[same] {
		same++
	}
	page, err := e.client.List(t.Context(), api.ListRequest{Before: other[:same+1]})
	if e.must(err); len(page.Rollouts) != 1 || page.Rollouts[0].ID != one {
		t.Errorf("before %s there are %v, want %s", other[:same+1], page.Rollouts, one)
	}
	for before, code := range map[string]string{"nonsense": api.CodeNotFound, one[:same]: api.CodeAmbiguous} {
		for _, app := range []string{"", "one"} {
			_, err := e.client.List(t.Context(), api.ListRequest{App: app, Before: before})
			e.refused(err, code, before)
		}
	}
}

func TestNobodyAnswersWithoutAnOrchestrator(t *testing.T) {
	e := newEnvironment(t)
	if _, err := e.client.Version(t.Context()); !errors.Is(err, api.ErrNoOrchestrator) {
		t.Errorf("the error is %v, want ErrNoOrchestrator", err)
	}
}

func TestRequestThatIsNoJSONIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	m, err := e.nc.Request(protocol.APISubject("deploy"), []byte("{"), patience)
	e.must(err)
	var answer struct {
		Error protocol.ServiceError `json:"error"`
	}
	e.must(json.Unmarshal(m.Data, &answer))
	if answer.Error.Code != api.CodeInvalid || answer.Error.Hint == "" {
		t.Errorf("the answer is %s", m.Data)
	}
}

func TestStatusTellsWhatIsOnline(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	all, err := e.client.Status(t.Context(), api.AppRequest{})
	e.must(err)
	if len(all) != 0 {
		t.Errorf("the status of an empty environment is %+v", all)
	}
	id := e.deploy(search(protocol.Online))
	e.running(id, "todo-search/online", 1)
	all, err = e.client.Status(t.Context(), api.AppRequest{App: "todo-app"})
	e.must(err)
	s := all[0].Services[0]
	if all[0].Rollout.ID != id || !slices.Equal(s.Online, []string{"0.0.1"}) || s.Alive != 1 || !slices.Equal(s.NotRun, []string{"online"}) {
		t.Errorf("the status is %+v", all)
	}
	routes, err := e.client.Routes(t.Context())
	e.must(err)
	if len(routes) != 1 || routes[0].State("0.0.1") != protocol.StateOnline || len(routes[0].Instances) != 1 || routes[0].Rollout != id {
		t.Errorf("the routes are %+v", routes)
	}
	_, err = e.client.Status(t.Context(), api.AppRequest{App: "shop"})
	e.refused(err, api.CodeNotFound, "shop")
	v, err := e.client.Version(t.Context())
	e.must(err)
	if v.Version == "" || v.Server == "" {
		t.Errorf("the version is %+v", v)
	}
}

func TestLongStoryIsCutAtItsBeginning(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	const events = 300
	for n := range events {
		_, err := e.client.Pace(t.Context(), api.PaceRequest{
			Rollout: id, Step: "todo-search/offline", InFlight: n + 1, Reason: strings.Repeat("x", 100<<10),
		})
		e.must(err)
	}
	story := e.show(id)
	if len(story.Events) < events/2 || story.Earlier+len(story.Events) != events+1 || story.Earlier == 0 {
		t.Fatalf("it tells %d events, and leaves %d out, of %d", len(story.Events), story.Earlier, events+1)
	}
	for i, event := range story.Events {
		if n := story.Earlier + i; event.Pace == nil || event.Pace.InFlight != n || len(event.Reason) > 5<<10 {
			t.Fatalf("event %d is %+v", n, event)
		}
	}
	if step, _ := story.Step("todo-search/offline"); step.Script.Pace == nil || step.Script.Pace.InFlight != events {
		t.Errorf("the step has the pace %+v", step.Script.Pace)
	}
}

// An orchestrator beside a newer one leaves to it what it does not know.
// An event of a higher format is not read in part: its rollout is left alone, whole, by all
// who do not know the format, and so is the ledger.
func TestAnEventOfAHigherFormatIsLeftToNewerOrchestrators(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	before := e.show(id)
	m := nats.NewMsg(protocol.RolloutSubject("todo-app", id))
	m.Header.Set("ce-id", newID(t))
	m.Header.Set("ce-type", "golive.rollout.frozen.v2")
	m.Data = fmt.Appendf(nil, `{"format": %d, "app": "todo-app", "version": "0.0.1", "rollout": %q, "previous": %d, "event": {"type": "frozen"}, "frozen": true}`,
		rollout.Format+1, id, before.Sequence)
	js, err := jetstream.New(e.nc)
	e.must(err)
	ack, err := js.PublishMsg(t.Context(), m, jetstream.WithExpectLastSequenceForSubject(before.Sequence, m.Subject))
	e.must(err)
	e.until("the work is left", func() bool { return e.logs.FilterMessage("work interrupted, it comes again").Len() > 1 })
	_, err = e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}})
	e.refused(err, api.CodeUnavailable, fmt.Sprintf("format %d is not known", rollout.Format+1))
	_, err = e.client.Show(t.Context(), api.RolloutRequest{Rollout: id})
	e.refused(err, api.CodeUnavailable, "is not known")
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: search()})
	if err == nil {
		t.Error("another rollout of its app has begun")
	}
	e.awaitStatus(e.deploy(recorded("another")), rollout.Completed)
	stream, err := js.Stream(t.Context(), protocol.Stream)
	e.must(err)
	if last, err := stream.GetLastMsgForSubject(t.Context(), m.Subject); err != nil || last.Sequence != ack.Sequence || len(starts) > 0 {
		t.Errorf("something has happened to the rollout: %+v, %v, %d starts", last, err, len(starts))
	}
}

func TestWhatANewerVersionHasWrittenIsLeftToIt(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	j, err := journal.Make(t.Context(), e.nc, 1)
	e.must(err)
	r, err := j.Load(t.Context(), "todo-app", id)
	e.must(err)
	newer := r.State
	newer.Status, newer.Event = "verifying", rollout.Event{Type: "verify-asked", At: r.State.Event.At}
	written, err := j.Append(t.Context(), newer, r.Sequence)
	e.must(err)
	e.until("the work is left", func() bool { return e.logs.FilterMessage("work interrupted, it comes again").Len() > 1 })
	_, err = e.client.Abort(t.Context(), api.AbortRequest{RolloutRequest: api.RolloutRequest{Rollout: id}})
	e.refused(err, api.CodeUnavailable, `status "verifying" is not known`)
	_, err = e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: search()})
	e.refused(err, api.CodeRolloutOpen, "verifying")
	if s := e.show(id); s.Sequence != written || len(starts) > 0 {
		t.Errorf("the rollout has gone on to %s, and its script was started %d times more", s.Event.Type, len(starts))
	}
	for _, text := range []string{`{}`, `no event`, `{"id": "4711", "status": "strange"}`} { // by hand
		_, err = e.nc.Request(protocol.RolloutSubject("by-hand", newID(t)), []byte(text), patience)
		e.must(err)
	}
	over := r.State // which the newer one brings to its end
	over.Status, over.Event = rollout.Aborted, rollout.Event{Type: rollout.AbortAsked, At: r.State.Event.At}
	_, err = j.Append(t.Context(), over, written)
	e.must(err)
	e.awaitStatus(e.deploy(recorded("another")), rollout.Completed)
	js, err := jetstream.New(e.nc)
	e.must(err)
	e.until("no work is left", func() bool {
		c, err := js.Consumer(t.Context(), protocol.Stream, "golive-orchestrators")
		e.must(err)
		return c.CachedInfo().NumAckPending == 0 && c.CachedInfo().NumPending == 0
	})
}

// TestARequestIsAnsweredAtAnInboxOnly is about whoever may ask, and names as its reply subject what
// only golive may write: the journal, a route, a command.
func TestARequestIsAnsweredAtAnInboxOnly(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	id := e.deployed(searchVersion("0.0.1", "0.0.1")).ID
	replies := []string{
		protocol.RolloutSubject("todo-app", id), protocol.KeySubject(protocol.RoutesBucket, "todo-search"),
		protocol.AnswerSubject(id, 1, 1, false), protocol.APISubject("abort"), "deployment-todo-search-0.0.1-offline-done", "todo-search.version",
	}
	heard := make(chan *nats.Msg, 100)
	for _, reply := range replies {
		_, err := e.nc.ChanSubscribe(reply, heard)
		e.must(err)
		e.must(e.nc.PublishRequest(protocol.APISubject("show"), reply, []byte(`{"rollout": "`+id+`"}`)))
	}
	retried(e, "status", func(ctx context.Context) ([]api.AppStatus, error) { return e.client.Status(ctx, api.AppRequest{}) })
	e.until("it is told", func() bool { return e.logs.FilterMessageSnippet("its reply subject is no inbox").Len() == 1 })
	select {
	case m := <-heard:
		t.Errorf("the answer %q came to %s", m.Data, m.Subject)
	default:
	}
}
