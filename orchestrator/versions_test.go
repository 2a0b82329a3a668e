package orchestrator_test

import (
	"errors"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/api"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

// dated is a release of which nothing has to be there.
func dated(v, digest string) rollout.Release {
	return rollout.Release{App: "dated", Version: v, Digest: digest, Strategy: rollout.Parallel,
		Services: []rollout.Service{{Name: "dated-one", Version: "1.0.0"}}}
}

// bring deploys a release, waits until it is live, and gives the answer to the deploy.
func (e *environment) bring(r rollout.Release) api.RolloutView {
	e.t.Helper()
	v, err := e.client.Deploy(e.t.Context(), api.DeployRequest{Rollout: newID(e.t), Release: r, By: "test"})
	e.must(err)
	e.awaitStatus(v.ID, rollout.Completed)
	return v
}

func TestAVersionThatWasLiveWithAnotherManifestIsTold(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	if p := e.plan(dated("1.0.0", "one")); p.Before != nil {
		t.Errorf("before the first time, the plan says %+v", p.Before)
	}
	first := e.bring(dated("1.0.0", "one"))
	if p := e.plan(dated("1.0.0", "one")); first.Before != nil || p.Before != nil {
		t.Errorf("of the same manifest the deploy says %+v, and the plan %+v", first.Before, p.Before)
	}
	if p := e.plan(dated("1.0.1", "two")); p.Before != nil {
		t.Errorf("of another version the plan says %+v", p.Before)
	}
	mustTell := func(what string, got *api.LiveBefore) {
		t.Helper()
		if got == nil || got.Rollout != first.ID || got.Digest != "one" || time.Since(got.At) > time.Minute {
			t.Errorf("%s says %+v", what, got)
		}
	}
	mustTell("the plan", e.plan(dated("1.0.0", "two")).Before)
	second := e.bring(dated("1.0.0", "two"))
	mustTell("the deploy", second.Before)
	again, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: second.ID, Release: dated("1.0.0", "two"), By: "test"})
	e.must(err)
	mustTell("the same request", again.Before)
	if p := e.plan(dated("1.0.0", "two")); p.Before != nil {
		t.Errorf("once more, the plan says %+v", p.Before)
	}
}

// The guards hold for versions that are dates and times of any length.
func TestVersionsOfManyDigitsAreGuarded(t *testing.T) {
	e := newEnvironment(t)
	e.orchestrate()
	e.bring(dated("1.0.20261128084930123456", "new"))
	refused := func(r rollout.Release, code string) {
		t.Helper()
		_, err := e.client.Deploy(t.Context(), api.DeployRequest{Rollout: newID(t), Release: r, By: "test"})
		if refusal := new(protocol.ServiceError); !errors.As(err, &refusal) || refusal.Code != code {
			t.Errorf("%s: error %v, want %s", r.Version, err, code)
		}
	}
	refused(dated("1.0.20251128084930123456", "old"), api.CodeOlder)
	skips := dated("1.0.20281128084930123456", "later")
	skips.MustNotSkip = []string{"1.0.20271128084930123456"}
	refused(skips, api.CodeMustNotSkip)
	e.bring(dated("1.0.20271128084930123456", "next"))
	e.bring(skips)
}
