package relay_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"

	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// gated is a service whose message "say" is answered with its version once the gate is
// opened; begun tells of each that was begun with.
func gated(version string, begun chan<- bool, proceed <-chan struct{}) relay.Service {
	return relay.Service{Name: "todos", Version: version, Handlers: map[string]relay.Handler{
		"say": func(context.Context, *relay.Message) (any, error) {
			begun <- true
			<-proceed
			return version, nil
		},
	}}
}

// later asks without waiting for the answer.
func later(t *testing.T, r *relay.Relay, name string, opts ...relay.RequestOption) <-chan string {
	answered := make(chan string, 1)
	go func() {
		var answer string
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := r.Request(ctx, name, nil, &answer, opts...); err != nil {
			answer = "error: " + err.Error()
		}
		answered <- answer
	}()
	return answered
}

func TestStandbyForwardsToWhoIsOnline(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	bus.Serve(says("todos", "0.0.2", "new"))
	revision := route(t, r, "todos", "0.0.1 online, 0.0.2 standby")
	confirmed.await(revision, protocol.StateStandby)
	confirmed.awaitOther(revision, protocol.StateOnline)
	for range 50 { // both get their share, and one of them answers
		if answer, err := ask(t, r, "todos.say"); answer != "old" || err != nil {
			t.Fatalf("answer %q, error %v", answer, err)
		}
	}
}

func TestFencedHoldsUntilTheNewVersionHasTakenOver(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	bus.Serve(says("todos", "0.0.2", "new"))
	revision := route(t, r, "todos", "0.0.1 fenced, 0.0.2 standby")
	confirmed.await(revision, protocol.StateFenced)
	confirmed.awaitOther(revision, protocol.StateStandby)
	var answers []<-chan string
	for range 50 {
		answers = append(answers, later(t, r, "todos.say"))
	}
	awaitHeld(t, r, 50)
	route(t, r, "todos", "0.0.1 fenced, 0.0.2 online")
	route(t, r, "todos", "0.0.1 draining, 0.0.2 online")
	for _, answered := range answers {
		if answer := receive(t, answered, "an answer"); answer != "new" {
			t.Errorf("answered %q", answer)
		}
	}
}

func TestWhatWasHeldIsAnsweredByTheOldVersionWhenItComesBack(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	confirmed.await(route(t, r, "todos", "0.0.1 fenced, 0.0.2 standby"), protocol.StateFenced)
	answered := later(t, r, "todos.say")
	awaitHeld(t, r, 1)
	route(t, r, "todos", "0.0.1 online")
	if answer := receive(t, answered, "an answer"); answer != "old" {
		t.Errorf("answered %q", answer)
	}
}

// awaitHeld waits until the instances of todos hold that many requests together.
func awaitHeld(t *testing.T, r *relay.Relay, want int64) {
	t.Helper()
	inbox := r.Conn().NewInbox()
	answers, err := r.Conn().SubscribeSync(inbox)
	must(t, err)
	defer func() { must(t, answers.Unsubscribe()) }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		must(t, r.Conn().PublishRequest("$SRV.STATS.todos", inbox, nil))
		var held int64
		for {
			m, err := answers.NextMsg(50 * time.Millisecond)
			if err != nil {
				break // that were all
			}
			held += statsOf(t, m).Held
		}
		if held == want {
			return
		}
	}
	t.Fatalf("not %d requests are held within %s", want, patience)
}

type stats struct {
	State    string `json:"state"`
	Revision uint64 `json:"revision"`
	Requests int64  `json:"productionRequests"`
	Errors   int64  `json:"productionErrors"`
	Held     int64  `json:"held"`
	Busy     int64  `json:"busy"`
}

func statsOf(t *testing.T, m *nats.Msg) stats {
	t.Helper()
	var all micro.Stats
	var data stats
	must(t, json.Unmarshal(m.Data, &all))
	must(t, json.Unmarshal(all.Endpoints[0].Data, &data))
	return data
}

func TestFencedIsConfirmedOnceWhatWasTakenIsAnswered(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	begun, proceed := make(chan bool, 1), make(chan struct{})
	bus.Serve(gated("0.0.1", begun, proceed))
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	answered := later(t, r, "todos.say")
	receive(t, begun, "the request")
	revision := route(t, r, "todos", "0.0.1 fenced, 0.0.2 standby")
	awaitState(t, r, "fenced")
	if c, early := confirmed.has(revision); early {
		t.Errorf("confirmed with a request under way: %+v", c)
	}
	close(proceed)
	confirmed.await(revision, protocol.StateFenced)
	if answer := receive(t, answered, "the answer"); answer != "0.0.1" {
		t.Errorf("answered %q", answer)
	}
}

// awaitState waits until an instance of todos plays a role.
func awaitState(t *testing.T, r *relay.Relay, state string) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		m, err := r.Conn().Request("$SRV.STATS.todos", nil, patience)
		must(t, err)
		if statsOf(t, m).State == state {
			return
		}
	}
	t.Fatalf("nobody is %s within %s", state, patience)
}

func TestARequestIsForwardedAgainOnlyUnderALaterRevision(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	bus.Serve(says("todos", "0.0.2", "new"))
	route(t, r, "todos", "0.0.2 online")
	revision := route(t, r, "todos", "0.0.2 online") // the one before is a number as well
	confirmed.await(revision, protocol.StateOnline)
	confirmed.awaitOther(revision, protocol.StateOffline)
	forwarded := func(by uint64) *nats.Subscription {
		m := nats.NewMsg(protocol.PrivateSubject("todos", "0.0.1", "say"))
		m.Header.Set(protocol.HeaderForwarded, strconv.FormatUint(by, 10))
		m.Reply = r.Conn().NewInbox()
		sub, err := r.Conn().SubscribeSync(m.Reply)
		must(t, err)
		must(t, r.Conn().PublishMsg(m))
		return sub
	}
	early := forwarded(revision - 1)
	m, err := early.NextMsg(patience)
	must(t, err)
	if string(m.Data) != `"new"` {
		t.Errorf("forwarded under an earlier revision, answered %q", m.Data)
	}
	same := forwarded(revision)
	awaitHeld(t, r, 1)
	route(t, r, "todos", "0.0.1 online")
	m, err = same.NextMsg(patience)
	must(t, err)
	if string(m.Data) != `"old"` {
		t.Errorf("forwarded under the same revision, answered %q", m.Data)
	}
}

// An instance that has not read a revision yet does not send back what one that has read it
// forwards.
func TestARequestThatWasForwardedUnderALaterRevisionIsHeld(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	bus.Serve(says("todos", "0.0.2", "new"))
	revision := route(t, r, "todos", "0.0.2 online")
	confirmed.await(revision, protocol.StateOnline)
	confirmed.awaitOther(revision, protocol.StateOffline)
	m := nats.NewMsg(protocol.PrivateSubject("todos", "0.0.1", "say"))
	m.Header.Set(protocol.HeaderForwarded, strconv.FormatUint(revision+1, 10))
	m.Reply = r.Conn().NewInbox()
	answers, err := r.Conn().SubscribeSync(m.Reply)
	must(t, err)
	must(t, r.Conn().PublishMsg(m))
	awaitHeld(t, r, 1)
	route(t, r, "todos", "0.0.1 online")
	m, err = answers.NextMsg(patience)
	must(t, err)
	if string(m.Data) != `"old"` {
		t.Errorf("answered %q", m.Data)
	}
}

func TestNoMoreIsHeldThanAllowed(t *testing.T) {
	const most = 3
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	s := says("todos", "0.0.1", "old")
	s.MaxHeld = most
	bus.Serve(s)
	confirmed.await(route(t, r, "todos", "0.0.1 fenced, 0.0.2 standby"), protocol.StateFenced)
	var answers []<-chan string
	for range most {
		answers = append(answers, later(t, r, "todos.say"))
	}
	awaitHeld(t, r, most)
	_, err := ask(t, r, "todos.say")
	var answered *relay.Error
	if !errors.As(err, &answered) || answered.Code != relay.CodeUnavailable || errors.Is(err, relay.ErrMaintenance) {
		t.Errorf("one more than allowed: %v", err)
	}
	route(t, r, "todos", "0.0.1 online")
	for _, held := range answers {
		if answer := receive(t, held, "an answer"); answer != "old" {
			t.Errorf("answered %q", answer)
		}
	}
}

func TestWhoStopsGivesBackWhatItHolds(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	it := serve(t, bus.Connect(), says("todos", "0.0.1", "first"))
	confirmed.await(route(t, r, "todos", "0.0.1 fenced, 0.0.2 standby"), protocol.StateFenced)
	answered := later(t, r, "todos.say")
	awaitHeld(t, r, 1)
	bus.Serve(says("todos", "0.0.1", "second"))
	confirmed.awaitOther(0, protocol.StateFenced)
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
	route(t, r, "todos", "0.0.1 online")
	if answer := receive(t, answered, "an answer"); answer != "second" {
		t.Errorf("answered %q", answer)
	}
}

func TestUnderMaintenanceNobodyIsAsked(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "old"))
	revision := writeRoute(t, r, protocol.Route{
		Service: "todos", Versions: []protocol.RouteVersion{{Version: "0.0.1", State: protocol.StateOnline}},
		Maintenance: &protocol.Maintenance{Since: time.Now().UTC(), RetryAfter: protocol.Duration(30 * time.Second)},
	})
	confirmed.await(revision, protocol.StateOnline)
	m, err := r.Conn().Request("todos.say", nil, patience)
	must(t, err)
	if m.Header.Get("Nats-Service-Error-Code") != "503" || m.Header.Get("Nats-Service-Error") != "under maintenance" || m.Header.Get("Golive-Reason") != "maintenance" ||
		m.Header.Get("Golive-Retry-After") != "30" || len(m.Data) != 0 {
		t.Errorf("answered %q with the headers %v", m.Data, http.Header(m.Header))
	}
	if answer, err := ask(t, r, "todos.say", relay.ToVersion("0.0.1")); answer != "old" || err != nil {
		t.Errorf("privately: %q, %v", answer, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if err := r.Request(ctx, "todos.say", nil, nil, relay.AwaitMaintenance()); !errors.Is(err, relay.ErrMaintenance) {
		t.Errorf("waiting, until there is no time left: %v", err)
	}
	waiting := later(t, r, "todos.say", relay.AwaitMaintenance())
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	if answer := receive(t, waiting, "the answer to who waited"); answer != "old" {
		t.Errorf("who waited was answered %q", answer)
	}
}

// An instance that cannot reach the bus stops answering when its lease runs out, also
// where requests reach it still, and asks for the route before it answers anything.
func TestWithoutALeaseNothingIsAnswered(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	cable := bus.Cable()
	s := says("todos", "0.0.1", "old")
	s.Lease = relay.MinLease
	cut := serve(t, bus.ConnectTo(cable.URL()), s)
	confirmed.await(route(t, r, "todos", "0.0.1 online"), protocol.StateOnline)
	cable.Hold()
	answers := burst(t, r, "todos.say", 10)
	awaitLeases(t, r, 0)
	bus.Serve(says("todos", "0.0.2", "new"))
	route(t, r, "todos", "0.0.2 online, 0.0.1 draining")
	cable.Release()
	for n := range 10 {
		m, err := answers.NextMsg(patience)
		must(t, err)
		if string(m.Data) != `"new"` {
			t.Errorf("request %d, which reached the instance while it was cut off, was answered %q", n, m.Data)
		}
	}
	cut.stop()
	must(t, receive(t, cut.ended, "the end of Serve"))
}

// awaitLeases waits until that many instances hold one.
func awaitLeases(t *testing.T, r *relay.Relay, want int) {
	t.Helper()
	ctx := within(t, patience)
	js, err := jetstream.New(r.Conn())
	must(t, err)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		stream, err := js.Stream(ctx, "KV_"+protocol.LeasesBucket)
		must(t, err)
		info, err := stream.Info(ctx, jetstream.WithSubjectFilter(">"))
		must(t, err)
		found := len(info.State.Subjects)
		if found == want {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%d leases, want %d", found, want)
		}
	}
}

func TestALeaseIsGivenBack(t *testing.T) {
	t.Parallel()
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	it := serve(t, bus.Connect(), says("todos", "0.0.1", "old"))
	confirmed.await(0, protocol.StateOffline)
	awaitLeases(t, r, 1)
	it.stop()
	must(t, receive(t, it.ended, "the end of Serve"))
	confirmed.await(0, protocol.StateLeft)
	began := time.Now()
	awaitLeases(t, r, 0)
	if took := time.Since(began); took > relay.DefaultLease/2 {
		t.Errorf("it took %s", took)
	}
}

func TestStatsTellOfProduction(t *testing.T) {
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(relay.Service{
		Name: "todos", Version: "0.0.1",
		Handlers: map[string]relay.Handler{"say": func(_ context.Context, m *relay.Message) (any, error) {
			if len(m.Data) == 0 {
				return nil, errors.New("nothing was said")
			}
			return nil, nil
		}},
		Schemas: map[string]relay.Schema{"say": {Request: `{"type":"string"}`, Response: "https://example.org/answer.json"}},
	})
	revision := route(t, r, "todos", "0.0.1 online")
	confirmed.await(revision, protocol.StateOnline)
	must(t, r.Request(within(t, patience), "todos.say", "hello", nil))
	if err := r.Request(within(t, patience), "todos.say", nil, nil); err == nil {
		t.Error("no error")
	}
	m, err := r.Conn().Request("$SRV.STATS.todos", nil, patience)
	must(t, err)
	if got := statsOf(t, m); got.State != "online" || got.Revision != revision || got.Requests != 2 || got.Errors != 1 {
		t.Errorf("the statistics are %+v", got)
	}
	endpoint := info(t, r, "todos").Endpoints[0].Metadata
	if endpoint["request-schema"] != `{"type":"string"}` || endpoint["response-schema"] != "https://example.org/answer.json" || endpoint["production"] != "todos.say" {
		t.Errorf("the endpoint tells %v", endpoint)
	}
}

// Two versions take turns under load, by routes that are written one after another as
// soon as each is confirmed by both.
func TestNoRequestIsLostWhenVersionsTakeTurns(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	bus := relaytest.Start(t)
	r := bus.Connect()
	confirmed := listenToConfirmations(t, r, "todos")
	bus.Serve(says("todos", "0.0.1", "0.0.1"))
	bus.Serve(says("todos", "0.0.2", "0.0.2"))
	both := func(versions string) {
		revision := route(t, r, "todos", versions)
		first := confirmed.awaitAny(revision)
		for second := first; second.instance == first.instance; {
			second = confirmed.awaitAny(revision)
		}
	}
	both("0.0.1 online")
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	var asked atomic.Int64
	for range 16 {
		asking.Go(func() {
			for ctx.Err() == nil {
				if _, err := ask(t, r, "todos.say"); err != nil {
					t.Error(err)
				}
				asked.Add(1)
			}
		})
	}
	for n := range 20 {
		from, to := []string{"0.0.1", "0.0.2"}[n%2], []string{"0.0.2", "0.0.1"}[n%2]
		for _, step := range []string{"%s online, %s standby", "%s fenced, %s standby", "%s fenced, %s online", "%s draining, %s online"} {
			both(fmt.Sprintf(step, from, to))
		}
		both(to + " online")
	}
	stop()
	asking.Wait()
	t.Logf("%d requests", asked.Load())
}
