package orchestrator_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

// starter says that it starts the setup services of the app, as golive up does, and gives the
// starts that are wanted.
func (e *environment) starter() <-chan []string {
	e.t.Helper()
	asked := make(chan []string, 10)
	e.bare(protocol.WantedSubject("todo-app"), func(_ *nats.Conn, m *nats.Msg) {
		var q protocol.Wanted
		err := json.Unmarshal(m.Data, &q)
		if err == nil {
			asked <- q.Starts
			var data []byte
			if data, err = json.Marshal(protocol.Starting(q)); err == nil {
				err = m.Respond(data)
			}
		}
		if err != nil {
			e.t.Error(err)
		}
	})
	return asked
}

// meanwhile asks for something, and gives what came of it.
func meanwhile(ask func() error) <-chan error {
	result := make(chan error, 1)
	go func() { result <- ask() }()
	return result
}

func (e *environment) askBackward() error {
	_, err := e.client.Backward(e.t.Context(), api.BackwardRequest{App: "todo-app", By: "ada"})
	return err
}

// twoVersions brings two versions live, the newer with an offline script that has run; its setup
// service has ended since.
func (e *environment) twoVersions() (newer string) {
	e.t.Helper()
	e.service("todo-search", "0.0.0")
	e.awaitStatus(e.deploy(appOf("0.0.0")), rollout.Completed)
	newer, _, stop := e.withAside(search(protocol.Offline))
	stop()
	return newer
}

func TestASetupServiceThatIsNeededIsStarted(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id := e.twoVersions()
	asked := e.starter()

	result := meanwhile(func() error { return e.retryRecords(id, "") })
	if got := next(e, "the request", asked); !slices.Equal(got, []string{offlineStart}) {
		t.Errorf("wanted are %v", got)
	}
	starts := make(chan *nats.Msg, 10)
	stop := e.bare(offlineStart, func(_ *nats.Conn, m *nats.Msg) { starts <- m })
	e.must(next(e, "the retry", result))
	e.must(next(e, "the start", starts).Respond([]byte(`{"done": true, "items": 2, "putAside": 0}`)))
	e.awaitStatus(id, rollout.Completed)

	// As long as it is there, it is known to have no revert script.
	e.refused(e.askBackward(), api.CodeNoRevert, "nobody listens to the revert of todo-search/offline of 0.0.2")
	if len(asked) != 0 {
		t.Errorf("a setup service was asked for that is there: %v", <-asked)
	}
	stop()

	result = meanwhile(e.askBackward)
	if got := next(e, "the request", asked); !slices.Equal(got, []string{offlineRevert}) {
		t.Errorf("wanted are %v", got)
	}
	reverts := e.starts(offlineRevert)
	e.must(next(e, "going back", result))
	e.must(next(e, "the revert", reverts).Respond([]byte(`{"done": true}`)))
	e.awaitStatus(id, rollout.Reverted)
	e.answeredBy("0.0.0")
}

// One that is started, and has no revert script, is not waited for.
func TestASetupServiceWithoutARevertIsNotWaitedFor(t *testing.T) {
	relaytest.Long(t)
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.twoVersions()
	asked := e.starter()
	begun := time.Now()
	result := meanwhile(e.askBackward)
	next(e, "the request", asked)
	e.starts(offlineStart)
	err := next(e, "the refusal", result)
	e.refused(err, api.CodeNoRevert, "nobody listens to the revert")
	var refusal *protocol.ServiceError
	if !errors.As(err, &refusal) || !slices.Equal(refusal.Unheard, []string{offlineRevert}) ||
		!strings.HasPrefix(refusal.Hint, "start the setup service of todo-search 0.0.1, with its revert scripts, or leave") {
		t.Errorf("the refusal is %+v", refusal)
	}
	if took := time.Since(begun); took > 8*time.Second {
		t.Errorf("that took %s", took)
	}
	e.awaitStatus(e.backward(api.BackwardRequest{SkipMissing: true}), rollout.Reverted)
}

// One that takes its time is told of, and changes nothing.
func TestASetupServiceThatIsLate(t *testing.T) {
	t.Parallel()
	relaytest.Long(t)
	e := newEnvironment(t)
	e.orchestrate()
	id := e.twoVersions()
	e.starter()
	for what, ask := range map[string]func() error{
		api.CodeNoRevert: e.askBackward,
		api.CodeConflict: func() error { return e.retryRecords(id, "") },
	} {
		err := ask()
		e.refused(err, what, "nobody listens to")
		var refusal *protocol.ServiceError
		if !errors.As(err, &refusal) || refusal.Hint != "the setup service of todo-search 0.0.1 is being started: ask again when it listens" {
			t.Errorf("the refusal is %+v", refusal)
		}
	}
	if s := e.show(id); s.Status != rollout.Completed || len(s.Events) != 3 {
		t.Errorf("it is %s after %d events", s.Status, len(s.Events))
	}
}
