package release_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

func TestARolloutKnowsAllButWhatIsRun(t *testing.T) {
	m, err := release.LoadFor("testdata/full", "production")
	if err != nil {
		t.Fatal(err)
	}
	got := m.Release()
	if err := got.Validate(); err != nil {
		t.Error(err)
	}
	if got.App != "todo-app" || got.Version != "0.0.2" || got.Strategy != m.Strategy || got.Digest != m.Digest() || got.Environment != "production" ||
		got.RetryAfter != m.RetryAfter || !got.Setup || !got.AutoRevert || got.Snapshot != m.Snapshot || !reflect.DeepEqual(got.MustNotSkip, m.MustNotSkip) {
		t.Errorf("the release is %+v", got)
	}
	if !reflect.DeepEqual(got.Approvals, m.Environment.Approvals) || got.Requires == nil || got.Requires.Version != "0.0.1" {
		t.Errorf("it is approved by %+v and requires %+v", got.Approvals, got.Requires)
	}
	for i, s := range m.Services {
		if !reflect.DeepEqual(got.Services[i], s.Service) {
			t.Errorf("the service is %+v, want %+v", got.Services[i], s.Service)
		}
	}
}

func TestARolloutKnowsWhatStepsThereAre(t *testing.T) {
	web := map[string]string{"role": "web"}
	m := &release.Manifest{Steps: fullSteps()}
	want := []rollout.Item{
		{Name: "confirm", Approval: &rollout.Question{
			Text: "Shall 0.0.2 go live now?", Checklist: []string{"backups are fresh", "support is told"}, Deadline: rollout.Duration(30 * time.Minute),
		}},
		{Phase: protocol.Before},
		{Traffic: rollout.MaintenanceOn, Services: []string{"web"}},
		{Name: "stop-front-ends", Work: &rollout.Work{
			Backward: true, On: map[string]string{"role": "web", "zone": "eu-1"}, Need: rollout.Need{Percent: 60}, AtOnce: 1,
			Timeout: rollout.Duration(2 * time.Minute), Retries: 2, Backoff: rollout.Duration(500 * time.Millisecond),
		}},
		{Phase: protocol.Offline},
		{Traffic: rollout.MaintenanceOff},
		{Name: "restart", Work: &rollout.Work{On: web, Need: rollout.Need{Hosts: 2}}},
		{Traffic: rollout.Drain, Services: []string{"old-search"}},
		{Traffic: rollout.Open},
		{Name: "smoke", Work: &rollout.Work{Check: true, On: web}},
		{Name: "count", Work: &rollout.Work{Check: true}},
		{Name: "look", Work: &rollout.Work{Check: true}},
		{Name: "listen", Work: &rollout.Work{Check: true}},
		{Phase: protocol.Online},
		{Phase: protocol.Setup},
	}
	if got := m.Release().Workflow; !reflect.DeepEqual(got, want) {
		t.Errorf("the steps are\n%+v\nwant\n%+v", got, want)
	}
}

func TestRetriesAndVersionsNotToBeSkippedReachTheRollout(t *testing.T) {
	r := parse(t, `
app: a
version: 0.0.2
mustNotSkip: [0.0.1, 0.0.2]
services:
  b: {version: 1.0.0, retries: 100, backoff: 5m}
  c: {version: 1.0.0, retries: 3}
`).Release()
	if err := r.Validate(); err != nil {
		t.Error(err)
	}
	if want := []string{"0.0.1", "0.0.2"}; !reflect.DeepEqual(r.MustNotSkip, want) {
		t.Errorf("mustNotSkip is %q", r.MustNotSkip)
	}
	b, c := r.Services[0], r.Services[1]
	if b.Retries != 100 || b.Backoff != rollout.Duration(5*time.Minute) || c.Retries != 3 || c.Backoff != 0 {
		t.Errorf("the services are %+v", r.Services)
	}
}
