package orchestrator_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay"
	"github.com/golive-dev/golive/relay/protocol"
	"github.com/golive-dev/golive/relay/relaytest"
)

var errFollowed = errors.New("followed")

// follow collects what a client follows behind an event, until the rollout has a status.
func (e *environment) follow(ctx context.Context, id string, after uint64, until rollout.Status, begun func()) ([]api.RolloutView, error) {
	var all []api.RolloutView
	err := api.NewClient(e.connect().Conn()).Follow(ctx, id, after, func(v api.Followed) error {
		if all = append(all, v.RolloutView); len(all) == 1 {
			begun()
		}
		if v.Status == until {
			return errFollowed
		}
		return nil
	})
	return all, err
}

func TestARolloutIsFollowed(t *testing.T) {
	e := newEnvironment(t)
	stop := e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	type followed struct {
		all []api.RolloutView
		err error
	}
	ended, began := make(chan followed, 1), make(chan struct{})
	go func() {
		all, err := e.follow(t.Context(), id, 0, rollout.Completed, func() { close(began) })
		ended <- followed{all, err}
	}()
	next(e, "the first event", began)
	next(e, "the start", starts)
	stop() // nobody answers for a while
	e.orchestrate()
	e.answer(offlineDone, id, 1, "")
	e.awaitStatus(id, rollout.Completed)

	got := next(e, "the end of following", ended)
	if !errors.Is(got.err, errFollowed) {
		t.Fatal(got.err)
	}
	story := e.show(id)
	var sequences, want []uint64
	for _, v := range got.all {
		sequences = append(sequences, v.Sequence)
	}
	for _, event := range story.Events {
		want = append(want, event.Sequence)
	}
	if !slices.Equal(sequences, want) {
		t.Errorf("the events %v were followed, want %v", sequences, want)
	}
	if last := got.all[len(got.all)-1]; len(last.Steps) != len(story.Steps) || last.Release.App != "todo-app" {
		t.Errorf("the last state has %d steps of app %q", len(last.Steps), last.Release.App)
	}
	later, err := e.follow(t.Context(), id, want[1], rollout.Completed, func() {})
	if !errors.Is(err, errFollowed) || len(later) != len(want)-2 || later[0].Sequence != want[2] {
		t.Errorf("behind the second event %d were followed: %v", len(later), err)
	}
}

func TestFollowingIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(recorded("shop"))
	_, err := e.follow(t.Context(), newID(t), 0, rollout.Completed, func() {})
	e.refused(err, api.CodeNotFound, "there is no rollout")
	for request, words := range map[string]string{
		`{"rollout": "` + id + `", "after": 1000000}`:  "after is 1000000",
		`{"rollout": "` + id + `", "wait": "10.001s"}`: "from 0s to 10s",
		`{"rollout": "` + id + `", "wait": "-1s"}`:     "from 0s to 10s",
	} {
		m, err := e.nc.Request(protocol.APISubject("follow"), []byte(request), patience)
		e.must(err)
		var answer struct{ Error *protocol.ServiceError }
		e.must(json.Unmarshal(m.Data, &answer))
		if answer.Error == nil {
			t.Errorf("%s is answered with %s", request, m.Data)
			continue
		}
		e.refused(answer.Error, api.CodeInvalid, words)
	}
}

// Whoever waits for something to happen to a rollout that has ended gets an empty answer in
// time, and one that ends meanwhile does not have to wait.
func TestFollowingWaitsNoLongerThanItIsAskedTo(t *testing.T) {
	relaytest.Long(t)
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(recorded("shop"))
	last := e.awaitStatus(id, rollout.Completed)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // longer than one answer is waited for
	defer cancel()
	all, err := e.follow(ctx, id, last.Sequence, rollout.Completed, func() {})
	if !errors.Is(err, context.DeadlineExceeded) || len(all) > 0 {
		t.Errorf("%d events were followed behind the last one: %v", len(all), err)
	}
}

// What happens while the follower's connection is gone is told as soon as it is back, however
// long an answer may be waited for.
func TestFollowingGoesOnWhenTheBusIsBack(t *testing.T) {
	bus := relaytest.Start(t)
	e := environmentOn(t, bus.Connect)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	starts := e.starts(offlineStart)
	cable := bus.Cable()
	r, err := relay.Connect(t.Context(), relay.Config{URL: cable.URL(), Logger: e.log})
	e.must(err)
	t.Cleanup(r.Close)
	id := e.deploy(search(protocol.Offline))
	began, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		ended <- api.NewClient(r.Conn()).Follow(t.Context(), id, 0, func(v api.Followed) error {
			switch v.Status {
			case rollout.Completed:
				return errFollowed
			case rollout.Running:
				if v.Event.Type == rollout.Created {
					close(began)
				}
			}
			return nil
		})
	}()
	next(e, "the first event", began)
	next(e, "the start", starts)
	cable.Hold()
	e.answer(offlineDone, id, 1, "")
	e.awaitStatus(id, rollout.Completed)
	cable.Cut()
	healed := time.Now()
	cable.Release()
	if err := next(e, "the end of following", ended); !errors.Is(err, errFollowed) {
		t.Fatal(err)
	}
	if took := time.Since(healed); took > 3*time.Second {
		t.Errorf("the end was noticed %s after the bus was back", took)
	}
}
