package rollout_test

import (
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func TestTheLimitsOfARelease(t *testing.T) {
	valid := func() rollout.Release {
		return rollout.Release{
			App: strings.Repeat("a", 63), Version: "1.0.0-" + strings.Repeat("a", 58), Strategy: rollout.Downtime,
			Services: []rollout.Service{{
				Name: strings.Repeat("b", 63), Version: "1.0.0+" + strings.Repeat("b", 58),
				Migrations: protocol.ServicePhases(), Timeout: 1, Instances: 1_000_000,
			}},
		}
	}
	if err := valid().Validate(); err != nil {
		t.Errorf("at its limits: %v", err)
	}
	for why, change := range map[string]func(*rollout.Release){
		`app: name "` + strings.Repeat("a", 64) + `" is 64 characters long, at most 63 are allowed`: func(r *rollout.Release) { r.App += "a" },
		`app a: version "" must not be empty`:                                                       func(r *rollout.Release) { r.App, r.Version = "a", "" },
		`app a: strategy "" is neither parallel nor downtime`:                                       func(r *rollout.Release) { r.App, r.Strategy = "a", "" },
		`service "": name "" must not be empty`:                                                     func(r *rollout.Release) { r.Services[0].Name = "" },
		`service "b": migrations: unknown phase "": valid are before, offline, online`: func(r *rollout.Release) {
			r.Services[0].Name, r.Services[0].Migrations = "b", []protocol.Phase{""}
		},
		`service b depends on "", which the release does not hold`: func(r *rollout.Release) {
			r.Services[0].Name, r.Services[0].DependsOn = "b", []string{""}
		},
		`release a 1.0.0 holds no service and no setup script: there is nothing to bring live`: func(r *rollout.Release) {
			r.App, r.Version, r.Services = "a", "1.0.0", nil
		},
	} {
		r := valid()
		change(&r)
		if err := r.Validate(); err == nil || err.Error() != why {
			t.Errorf("error %v, want %s", err, why)
		}
	}
}

func TestWhatIsSaidTwiceIsPlannedOnce(t *testing.T) {
	r := rollout.Release{App: "shop", Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
		{Name: "a", Version: "1.0.0", Migrations: []protocol.Phase{protocol.Before, protocol.Before}},
		{Name: "b", Version: "1.0.0", DependsOn: []string{"a", "a"}},
	}}
	s, err := rollout.Compile("r1", "", time.Time{}, r, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	var ids []string
	for _, step := range s.All() {
		ids = append(ids, step.ID)
	}
	if !reflect.DeepEqual(ids, []string{"a/before", "a/traffic", "b/traffic"}) || !reflect.DeepEqual(s.Steps[2].Needs, []int{2}) {
		t.Errorf("steps %v, the last one after %v", ids, s.Steps[2].Needs)
	}
}

func neverRan(protocol.Script) (rollout.Ran, bool) { return rollout.Ran{}, false }

func TestDurationsAreText(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Second, 90 * time.Second, 1<<63 - 1} {
		data, err := json.Marshal(rollout.Duration(d))
		if err != nil || string(data) != `"`+d.String()+`"` {
			t.Errorf("%s is written %s, error %v", d, data, err)
		}
		var back rollout.Duration
		if err := json.Unmarshal(data, &back); err != nil || time.Duration(back) != d {
			t.Errorf("%s is read as %s, error %v", data, time.Duration(back), err)
		}
	}
	for _, text := range []string{`"10"`, `"ten"`, `10`, `""`} {
		var d rollout.Duration
		if err := json.Unmarshal([]byte(text), &d); err == nil {
			t.Errorf("%s is read as %s", text, time.Duration(d))
		}
	}
}

// deployed is a rollout of one service with an online script and of an app with one.
func deployed(t *testing.T) rollout.State {
	t.Helper()
	r := rollout.Release{App: "todo-app", Version: "0.0.2", Strategy: rollout.Parallel, Setup: true, Services: []rollout.Service{
		{Name: "todo-search", Version: "0.0.1", Migrations: []protocol.Phase{protocol.Online}, Timeout: rollout.Duration(time.Minute)},
	}}
	s, err := rollout.Compile("r1", "ada", time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC), r, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func apply(t *testing.T, s rollout.State, events ...rollout.Event) rollout.State {
	t.Helper()
	for _, e := range events {
		e.At = s.Created
		next, err := s.Apply(e)
		if err != nil {
			t.Fatal(err)
		}
		s = next
	}
	return s
}

func TestAStartTellsTheScriptAllItNeeds(t *testing.T) {
	s := apply(t, deployed(t), rollout.Event{Type: rollout.Opened, Step: "todo-search/traffic", Attempt: 1})
	services := map[string]string{"todo-search": "0.0.1"}
	want := protocol.StartMessage{
		Rollout: "r1", Step: "todo-search/online", Attempt: 1, App: "todo-app", AppVersion: "0.0.2",
		Service: "todo-search", Version: "0.0.1", Phase: protocol.Online,
		Deadline: s.Created.Add(time.Minute), Heartbeat: rollout.Duration(5 * time.Second), Lease: rollout.Duration(20 * time.Second), Services: services,
	}
	if got := s.Start(s.Todo()[0], 5*time.Second); !reflect.DeepEqual(got, want) {
		t.Errorf("start %+v, want %+v", got, want)
	}
	s = apply(t, s, rollout.Event{Type: rollout.StepAnswered, Step: "todo-search/online", Attempt: 1})
	want = protocol.StartMessage{
		Rollout: "r1", Step: "todo-app/setup", Attempt: 1, App: "todo-app", AppVersion: "0.0.2",
		Phase: protocol.Setup, Heartbeat: rollout.Duration(5 * time.Second), Lease: rollout.Duration(20 * time.Second), Services: services,
	}
	if got := s.Start(s.Todo()[0], 5*time.Second); !reflect.DeepEqual(got, want) {
		t.Errorf("start %+v, want %+v", got, want)
	}
}

func TestWhatIsAnnounced(t *testing.T) {
	failure := &protocol.ScriptError{Code: protocol.CodeReply, Message: "disk full"}
	s := apply(t, deployed(t),
		rollout.Event{Type: rollout.Opened, Step: "todo-search/traffic", Attempt: 1},
		rollout.Event{Type: rollout.StepBroke, Step: "todo-search/online", Attempt: 1, Answer: &protocol.Answer{Error: failure, Items: 7}},
	)
	mustAnnounce(t, s, []rollout.Announcement{
		{
			Subject: "deployment-todo-search-0.0.1-online-failed", Step: "todo-search/online", Attempt: 1,
			Key:     "deployment-todo-search-0.0.1-online-failed 1",
			Payload: protocol.Answer{Rollout: "r1", Attempt: 1, Items: 7, Error: failure},
		},
		{
			Subject: "todo-app-0.0.2-setup-failed", Fact: true, Key: "failed todo-search/online 1",
			Payload: rollout.Outcome{Rollout: "r1", App: "todo-app", Version: "0.0.2", Step: "todo-search/online", Error: failure},
		},
	})
	mustAnnounce(t, apply(t, s, rollout.Event{Type: rollout.Replaced}), []rollout.Announcement{{
		Subject: "todo-app-0.0.2-setup-failed", Fact: true, Key: "superseded todo-search/online 1",
		Payload: rollout.Outcome{Rollout: "r1", App: "todo-app", Version: "0.0.2", Step: "todo-search/online", Error: failure, Final: true},
	}})
	s = apply(t, s, rollout.Event{Type: rollout.Retried})
	mustAnnounce(t, s, nil)
	s = apply(t, s, rollout.Event{Type: rollout.StepAnswered, Step: "todo-search/online", Attempt: 2, Answer: &protocol.Answer{Items: 12}})
	mustAnnounce(t, s, []rollout.Announcement{{
		Subject: "deployment-todo-search-0.0.1-online-done", Step: "todo-search/online", Attempt: 2,
		Key:     "deployment-todo-search-0.0.1-online-done 2",
		Payload: protocol.Answer{Rollout: "r1", Attempt: 2, Done: true, Items: 12},
	}})
	s = apply(t, s, rollout.Event{Type: rollout.StepAnswered, Step: "todo-app/setup", Attempt: 1, Named: true})
	mustAnnounce(t, s, []rollout.Announcement{{
		Subject: "todo-app-0.0.2-set-up", Fact: true, Key: "completed",
		Payload: rollout.Outcome{Rollout: "r1", App: "todo-app", Version: "0.0.2", Final: true},
	}})
}

func mustAnnounce(t *testing.T, s rollout.State, want []rollout.Announcement) {
	t.Helper()
	got := s.Announcements()
	if !reflect.DeepEqual(got, want) {
		t.Errorf("after %s, told\n%+v\nwant\n%+v", s.What(), got, want)
	}
	if again := s.Announcements(); !reflect.DeepEqual(again, got) {
		t.Errorf("after %s, told\n%+v\nand then\n%+v", s.What(), got, again)
	}
}

func TestAnUnknownEventIsNotStale(t *testing.T) {
	s := deployed(t)
	after, err := s.Apply(rollout.Event{Type: "aborted"})
	if err == nil || errors.Is(err, rollout.ErrStale) || err.Error() != `rollout r1: unknown event "aborted"` || !reflect.DeepEqual(after, s) {
		t.Errorf("error %v, state %+v", err, after)
	}
}

func TestAStepIsFoundByItsID(t *testing.T) {
	s := deployed(t)
	if step, found := s.Step("todo-search/online"); !found || step.Number != 2 {
		t.Errorf("found %+v", step)
	}
	if step, found := s.Step("todo-search/offline"); found {
		t.Errorf("found %+v", step)
	}
}

// A state is a value: nobody who keeps what it was made of can change it.
func TestAPaceIsTheStatesOwn(t *testing.T) {
	rate := func(r float64) *protocol.Pace { return &protocol.Pace{Rate: &r} }
	manifest := rate(200)
	s, err := rollout.Compile("r1", "ada", time.Time{}, rollout.Release{
		App: "shop", Version: "1.0.0", Strategy: rollout.Parallel, Services: []rollout.Service{
			{Name: "a", Version: "1.0.0", Migrations: []protocol.Phase{protocol.Before, protocol.Offline}, Pace: manifest},
		},
	}, rollout.Facts{Ran: neverRan})
	if err != nil {
		t.Fatal(err)
	}
	asked := rate(5)
	after := apply(t, s, rollout.Event{Type: rollout.PaceAsked, Step: "a/before", Pace: asked})
	later := apply(t, after, rollout.Event{Type: rollout.PaceAsked, Step: "a/before", Pace: &protocol.Pace{InFlight: 2}})
	*manifest.Rate, *asked.Rate = 1, 1
	for _, step := range []struct {
		pace     *protocol.Pace
		rate     float64
		inFlight int
	}{
		{s.Steps[0].Script.Pace, 200, 0}, {s.Steps[1].Script.Pace, 200, 0},
		{after.Steps[0].Script.Pace, 5, 0}, {after.Steps[1].Script.Pace, 200, 0}, {later.Steps[0].Script.Pace, 5, 2},
	} {
		if *step.pace.Rate != step.rate || step.pace.InFlight != step.inFlight {
			t.Errorf("the pace is %g a second, %d in flight, want %+v", *step.pace.Rate, step.pace.InFlight, step)
		}
	}
}

func TestTheLimitsOfAPace(t *testing.T) {
	number := func(r float64) *float64 { return &r }
	for _, p := range []protocol.Pace{{}, {Rate: number(0)}, {Rate: number(math.MaxFloat64)}, {InFlight: rollout.MaxInFlight}} {
		if err := rollout.ValidatePace(p); err != nil {
			t.Errorf("%+v: %v", p, err)
		}
	}
	for _, p := range []protocol.Pace{
		{Rate: number(-0.1)}, {Rate: number(math.NaN())}, {Rate: number(math.Inf(1))}, {Rate: number(math.Inf(-1))},
		{InFlight: -1}, {InFlight: rollout.MaxInFlight + 1},
	} {
		if err := rollout.ValidatePace(p); err == nil {
			t.Errorf("%+v is valid", p)
		}
	}
}
