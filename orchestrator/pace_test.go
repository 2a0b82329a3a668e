package orchestrator_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/journal"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const offlinePace = "deployment-todo-search-0.0.1-offline-pace"

// paced is the search release with a pace.
func paced(rate float64, inFlight int, phases ...protocol.Phase) rollout.Release {
	r := search(phases...)
	r.Services[0].Pace = &protocol.Pace{Rate: &rate, InFlight: inFlight}
	return r
}

// pace asks for a pace; a rate below 0 is not named.
func (e *environment) pace(id, step string, rate float64, inFlight int) error {
	q := api.PaceRequest{Rollout: id, Step: step, InFlight: inFlight, By: "ada", Reason: "quiet hours"}
	if rate >= 0 {
		q.Rate = &rate
	}
	_, err := e.client.Pace(e.t.Context(), q)
	return err
}

// paceIn is the pace in a start, or a message to its script, in words.
func paceIn(m *nats.Msg) string {
	var p struct {
		Attempt int            `json:"attempt"`
		Pace    *protocol.Pace `json:"pace"`
	}
	if err := json.Unmarshal(m.Data, &p); err != nil {
		return err.Error()
	}
	text := fmt.Sprintf("#%d", p.Attempt)
	if p.Pace != nil && p.Pace.Rate != nil {
		text += fmt.Sprintf(" rate %g", *p.Pace.Rate)
	}
	if p.Pace != nil && p.Pace.InFlight != 0 {
		text += fmt.Sprintf(" inFlight %d", p.Pace.InFlight)
	}
	return text
}

func (e *environment) paceIs(m *nats.Msg, want string) {
	e.t.Helper()
	if got := paceIn(m); got != want {
		e.t.Errorf("%s says %s, want %s: %s", m.Subject, got, want, m.Data)
	}
}

func TestPaceReachesTheScriptAndItsNextAttempt(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	starts, told := e.starts(offlineStart), e.starts(offlinePace)
	id := e.deploy(paced(200, 4, protocol.Offline, protocol.Online))
	e.paceIs(next(e, "the start", starts), "#1 rate 200 inFlight 4")
	e.must(e.pace(id, "todo-search/offline", 50, 0))
	m := next(e, "the pace", told)
	e.paceIs(m, "#1 rate 50 inFlight 4")
	if m.Header.Get(protocol.HeaderRollout) != id || m.Header.Get(protocol.HeaderStep) != "todo-search/offline" || m.Header.Get(protocol.HeaderMessageID) == "" {
		t.Errorf("it has the headers %v", m.Header)
	}
	e.must(e.pace(id, "todo-search/offline", -1, 1024))
	e.paceIs(next(e, "the pace", told), "#1 rate 50 inFlight 1024")
	before := len(e.show(id).Events)
	e.must(e.pace(id, "todo-search/offline", 50, 1024))
	e.paceIs(next(e, "the pace, once more", told), "#1 rate 50 inFlight 1024")
	story := e.show(id)
	last := story.Events[len(story.Events)-1]
	if len(story.Events) != before || last.Type != rollout.PaceAsked || last.By != "ada" || last.Reason != "quiet hours" || last.At.IsZero() {
		t.Errorf("the story has %d events, want %d, and ends with %+v", len(story.Events), before, last)
	}

	e.answer(offlineFailed, id, 1, "")
	e.awaitStatus(id, rollout.Failed)
	e.must(e.pace(id, "todo-search/offline", 0, 0))
	e.retry(id)
	e.paceIs(next(e, "the second start", starts), "#2 rate 0 inFlight 1024")
	select {
	case m := <-told:
		t.Errorf("a script that did not run was told %s", m.Data)
	default:
	}
	if step, _ := e.show(id).Step("todo-search/online"); step.Script.Pace == nil || step.Script.Pace.InFlight != 4 {
		t.Errorf("the other script has the pace %+v", step.Script.Pace)
	}
}

func TestStartThatIsSentAgainHasTheNewestPace(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	id := e.deploy(search(protocol.Offline))
	e.waiting(id, "todo-search/offline", offlineStart)
	e.must(e.pace(id, "todo-search/offline", 2.5, 3))
	e.paceIs(next(e, "the start", e.starts(offlineStart)), "#1 rate 2.5 inFlight 3")
}

// What somebody has asked for is told by whoever does the work of the event, however late,
// and the newest word is the last one.
func TestPaceIsToldByTheNextOrchestrator(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	stop := e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	next(e, "the start", starts)
	stop()
	j, err := journal.Make(t.Context(), e.nc, 1)
	e.must(err)
	const newest = 20
	for rate := range newest + 1 { // an orchestrator has died with these in its hands
		r, err := j.Load(t.Context(), "todo-app", id)
		e.must(err)
		s, err := r.State.Apply(rollout.Event{Type: rollout.PaceAsked, At: time.Now().UTC(), Step: "todo-search/offline", Pace: &protocol.Pace{Rate: new(float64(rate))}})
		e.must(err)
		_, err = j.Append(t.Context(), s, r.Sequence)
		e.must(err)
	}
	told := e.observe(offlinePace)
	e.orchestrate()
	e.orchestrate()
	told.count(newest + 1)
	e.until("the newest pace is the last one that was told", func() bool {
		all := told.heard(offlinePace)
		return paceIn(all[len(all)-1]) == fmt.Sprintf("#1 rate %d", newest)
	})
}

// An orchestrator that is behind may send a start with an older pace after another one has
// told the newer: it tells that again.
func TestPaceThatTheStartHasOvertakenIsToldAgain(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	asked := time.Now().UTC()
	e.orchestrate()
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline))
	e.paceIs(next(e, "the start", starts), "#1")
	told := e.observe(offlinePace)
	j, err := journal.Make(t.Context(), e.nc, 1)
	e.must(err)
	r, err := j.Load(t.Context(), "todo-app", id)
	e.must(err)
	s, err := r.State.Apply(rollout.Event{Type: rollout.PaceAsked, At: asked, Step: "todo-search/offline", Pace: &protocol.Pace{InFlight: 3}})
	e.must(err)
	_, err = j.Append(t.Context(), s, r.Sequence)
	e.must(err)
	told.count(2) // by who does the work of the event, and by who has sent the start
	for _, m := range told.heard(offlinePace) {
		e.paceIs(m, "#1 inFlight 3")
	}
}

func TestPaceIsRefused(t *testing.T) {
	t.Parallel()
	e := newEnvironment(t)
	e.orchestrate()
	e.service("todo-search", "0.0.1")
	e.starts("deployment-todo-search-0.0.1-online-start")
	starts := e.starts(offlineStart)
	id := e.deploy(search(protocol.Offline, protocol.Online))
	next(e, "the start", starts)
	e.answer(offlineDone, id, 1, "")
	e.running(id, "todo-search/online", 1)
	for name, c := range map[string]struct {
		request     string
		code, words string
	}{
		"nothing is named":   {`"step": "todo-search/online"`, api.CodeInvalid, "nothing is asked for"},
		"a negative rate":    {`"step": "todo-search/online", "rate": -1`, api.CodeInvalid, "rate is -1"},
		"next to nothing":    {`"step": "todo-search/online", "rate": 1e-300`, api.CodeInvalid, "at least 0.001"},
		"a rate in words":    {`"step": "todo-search/online", "rate": "5"`, api.CodeInvalid, "JSON"},
		"half a batch":       {`"step": "todo-search/online", "inFlight": 1.5`, api.CodeInvalid, "JSON"},
		"an endless rate":    {`"step": "todo-search/online", "rate": 1e999`, api.CodeInvalid, "JSON"},
		"no number":          {`"step": "todo-search/online", "rate": "NaN"`, api.CodeInvalid, "JSON"},
		"too many":           {`"step": "todo-search/online", "inFlight": 1025`, api.CodeInvalid, "inFlight is 1025"},
		"less than none":     {`"step": "todo-search/online", "inFlight": -1`, api.CodeInvalid, "inFlight is -1"},
		"no such step":       {`"step": "todo-search/before", "rate": 1`, api.CodeNotFound, `no step "todo-search/before"`},
		"no step":            {`"rate": 1`, api.CodeNotFound, `no step ""`},
		"no script":          {`"step": "todo-search/traffic", "rate": 1`, api.CodeInvalid, "runs no script"},
		"one that has ended": {`"step": "todo-search/offline", "rate": 1`, api.CodeConflict, "is done: its script does not run any more"},
	} {
		m, err := e.nc.Request(protocol.APISubject("pace"), []byte(`{"rollout": "`+id+`", `+c.request+`}`), patience)
		e.must(err)
		var answer struct {
			Error *protocol.ServiceError `json:"error"`
		}
		e.must(json.Unmarshal(m.Data, &answer))
		if answer.Error == nil || answer.Error.Hint == "" {
			t.Errorf("%s: the answer is %s", name, m.Data)
			continue
		}
		e.refused(answer.Error, c.code, c.words)
	}
	e.must(e.pace(id, "todo-search/online", 1, 0))
	e.answer(onlineDone, id, 1, "")
	e.awaitStatus(id, rollout.Completed)
	e.refused(e.pace(id, "todo-search/online", 2, 0), api.CodeConflict, "is done")
}
