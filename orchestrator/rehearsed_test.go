package orchestrator_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rehearsed"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/bus"
	"github.com/golive-dev/golive/relay/protocol"
)

// tellRehearsal tells that a release was rehearsed.
func (e *environment) tellRehearsal(r rollout.Release, change func(*rehearsed.Outcome)) error {
	o := rehearsed.Outcome{
		ID: newID(e.t), App: r.App, Version: r.Version, Digest: r.Digest, Snapshot: newID(e.t), Passed: true, Downtime: rollout.Duration(3 * time.Second),
		Steps: []rehearsed.Step{
			{ID: "shop/offline", Took: rollout.Duration(2 * time.Second), Records: 50, Offline: true},
			{ID: "shop/online", Took: rollout.Duration(time.Second)},
		},
		Held: []rehearsed.Held{{Stream: "DATA", Messages: 50}, {Stream: "ELSEWHERE", Messages: 5}},
	}
	change(&o)
	_, err := e.client.TellRehearsal(e.t.Context(), api.RehearsalRequest{Outcome: o, By: "ann"})
	return err
}

// An environment that wants a rehearsal takes only the very release that has passed one in time.
func TestWhatWasNotRehearsedIsRefused(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	ctx := t.Context()
	r := stateful()
	r.Digest = strings.Repeat("0a", 32)
	r.Approvals.Rehearsed = rollout.Duration(time.Hour)
	deploy := func() error {
		_, err := e.client.Deploy(ctx, api.DeployRequest{Rollout: newID(t), Release: r, By: "test"})
		return err
	}
	e.refused(deploy(), api.CodeNotRehearsed, "has passed none")
	if p := e.plan(r); len(p.Problems) == 0 || p.Problems[0].Code != api.CodeNotRehearsed || p.Rehearsed != nil {
		t.Errorf("the plan says %+v, %+v", codes(p), p.Rehearsed)
	}
	e.refused(e.tellRehearsal(r, func(o *rehearsed.Outcome) { o.Digest = "x" }), api.CodeInvalid, "SHA-256")
	e.must(e.tellRehearsal(r, func(o *rehearsed.Outcome) { o.Passed = false }))
	e.refused(deploy(), api.CodeNotRehearsed, "has failed in the last one")
	e.must(e.tellRehearsal(r, func(o *rehearsed.Outcome) { o.Digest = strings.Repeat("0b", 32) }))
	e.refused(deploy(), api.CodeNotRehearsed, "has failed in the last one")
	e.aged(r, 2*time.Hour)
	e.refused(deploy(), api.CodeNotRehearsed, "has passed the last one 2h")
	e.must(e.tellRehearsal(r, func(*rehearsed.Outcome) {}))
	p := e.plan(r)
	if p.Rehearsed == nil || !p.Rehearsed.Passed || p.Rehearsed.By != "ann" || time.Since(p.Rehearsed.At) > time.Minute {
		t.Errorf("the plan says %+v", p.Rehearsed)
	}
	e.must(deploy())
}

// aged keeps an outcome that has passed so long ago, as an orchestrator would have written it then.
func (e *environment) aged(r rollout.Release, ago time.Duration) {
	e.t.Helper()
	kv, err := bus.Make(e.t.Context(), e.nc, bus.Rehearsals, "", 1)
	e.must(err)
	data, err := json.Marshal(rehearsed.Outcome{
		ID: newID(e.t), App: r.App, Version: r.Version, Digest: r.Digest, Snapshot: newID(e.t), Passed: true, At: time.Now().Add(-ago),
	})
	e.must(err)
	_, err = kv.Put(e.t.Context(), r.App+"."+r.Digest, data)
	e.must(err)
}

// A plan tells how long steps took in a rehearsal that have never run, longer as the data has grown.
func TestAPlanTellsWhatARehearsalPredicts(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	r := stateful()
	r.Digest = strings.Repeat("0a", 32)
	r.Services[0].Migrations = []protocol.Phase{protocol.Offline, protocol.Online}
	e.data(150)
	e.must(e.tellRehearsal(r, func(o *rehearsed.Outcome) {
		for i := range o.Steps {
			o.Steps[i].ID = strings.Replace(o.Steps[i].ID, "shop", r.Services[0].Name, 1)
		}
	}))
	p := e.plan(r)
	if p.Rehearsed == nil || time.Duration(p.Rehearsed.Downtime) != 7*time.Second {
		t.Errorf("it predicts %+v", p.Rehearsed)
	}
	for _, s := range p.Steps {
		if s.Kind == rollout.Migration && (s.Last == nil || !s.Last.Rehearsal) {
			t.Errorf("of step %s it is known %+v", s.ID, s.Last)
		}
	}
}
