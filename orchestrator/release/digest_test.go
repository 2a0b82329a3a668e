package release_test

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
	"github.com/golive-dev/golive/orchestrator/rollout"
	"github.com/golive-dev/golive/relay/protocol"
)

const digested = `
app: a
version: 1.0.0
services:
  b: {version: 1.0.0, migrations: [online, before], timeout: 1h}
  c: {version: 1.0.0, setup: [go, run, c], migrations: [offline], dependsOn: [b]}
  d: {version: 1.0.0, dependsOn: [b, c]}
setup: [go, run, a]
`

func TestDigestIsThatOfTheRelease(t *testing.T) {
	const want = "c4e98fe2c5d363ed1abce932277ec6732b26ad4e7772b7dd696d992f3e332977"
	if got := parse(t, digested).Digest(); got != want {
		t.Errorf("the digest of this manifest is now %s: environments that know it by the old one would take it for another release", got)
	}
	same := parse(t, `
# Other order, other commands, other folder, other spelling.
services:
  d: {version: "1.0.0", dependsOn: [c, b], run: [./d]}
  c: {migrations: [offline], dependsOn: [b], version: 1.0.0, instances: 1, keepOnline: [], retries: 0, pace: {}, state: {streams: []}}
  b: {version: 1.0.0, migrations: [before, online], timeout: 60m}
setup: external
data: elsewhere
seed: [./seed]
retryAfter: 5000ms
mustNotSkip: []
strategy: parallel
version: 1.0.0
app: a
`)
	if same.Digest() != want {
		t.Error("the digest depends on what belongs to the host")
	}
}

func TestDigestChangesWithTheRelease(t *testing.T) {
	seen := map[string]string{parse(t, digested).Digest(): "nothing"}
	for name, change := range map[string]func(*release.Manifest){
		"app":         func(m *release.Manifest) { m.App = "x" },
		"version":     func(m *release.Manifest) { m.Version = "2.0.0" },
		"strategy":    func(m *release.Manifest) { m.Strategy = rollout.Downtime },
		"retryAfter":  func(m *release.Manifest) { m.RetryAfter = rollout.Duration(time.Minute) },
		"mustNotSkip": func(m *release.Manifest) { m.MustNotSkip = []string{"0.0.1"} },
		"setup":       func(m *release.Manifest) { m.Setup = release.Setup{} },
		"services":    func(m *release.Manifest) { m.Services = m.Services[:2] },
		"name":        func(m *release.Manifest) { m.Services[2].Name = "x" },
		"of service":  func(m *release.Manifest) { m.Services[0].Version = "2.0.0" },
		"migrations":  func(m *release.Manifest) { m.Services[0].Migrations = []protocol.Phase{protocol.Online} },
		"dependsOn":   func(m *release.Manifest) { m.Services[2].DependsOn = []string{"b"} },
		"timeout":     func(m *release.Manifest) { m.Services[0].Timeout = 0 },
		"retries":     func(m *release.Manifest) { m.Services[0].Retries = 3 },
		"backoff":     func(m *release.Manifest) { m.Services[0].Backoff = rollout.Duration(time.Minute) },
		"instances":   func(m *release.Manifest) { m.Services[0].Instances = 0 },
		"keepOnline":  func(m *release.Manifest) { m.Services[0].KeepOnline = []string{"0.0.1"} },
		"state":       func(m *release.Manifest) { m.Services[0].State = &rollout.Data{Streams: []string{"TODOS"}} },
		"messages":    func(m *release.Manifest) { m.Services[0].State = &rollout.Data{Messages: true} },
		"of state": func(m *release.Manifest) {
			m.Services[0].State, m.Services[0].StateCommand = &rollout.Data{Command: true}, []string{"x"}
		},
		"state words": func(m *release.Manifest) {
			m.Services[0].State, m.Services[0].StateCommand = &rollout.Data{Command: true}, []string{"y"}
		},
		"state on":    func(m *release.Manifest) { m.Services[0].State = &rollout.Data{On: map[string]string{"a": "b"}} },
		"state time":  func(m *release.Manifest) { m.Services[0].State = &rollout.Data{Timeout: 1} },
		"state size":  func(m *release.Manifest) { m.Services[0].State = &rollout.Data{MaxMB: 1} },
		"pace":        func(m *release.Manifest) { m.Services[0].Pace = &protocol.Pace{InFlight: 8} },
		"no limit":    func(m *release.Manifest) { m.Services[0].Pace = &protocol.Pace{Rate: new(0.0)} },
		"snapshot":    func(m *release.Manifest) { m.Snapshot = rollout.NeverSnapshot },
		"autoRevert":  func(m *release.Manifest) { m.AutoRevert = true },
		"requires":    func(m *release.Manifest) { m.Requires = &release.Requirement{Version: "0.0.1", Completed: true} },
		"phase":       step(release.Step{Phase: protocol.Online}),
		"traffic":     step(release.Step{Traffic: rollout.MaintenanceOn}),
		"one service": step(release.Step{Traffic: rollout.MaintenanceOn, Services: []string{"b"}}),
		"approval":    step(release.Step{Name: "x", Approval: &rollout.Question{Text: "y"}}),
		"checklist":   step(release.Step{Name: "x", Approval: &rollout.Question{Text: "y", Checklist: []string{"z"}}}),
		"deadline":    step(release.Step{Name: "x", Approval: &rollout.Question{Text: "y", Deadline: rollout.Duration(time.Hour)}}),
		"command":     step(release.Step{Name: "x", Command: &release.Command{Args: []string{"y"}}}),
		"words":       step(release.Step{Name: "x", Command: &release.Command{Args: []string{"y", "z"}}}),
		"shell":       step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}}),
		"backward":    step(release.Step{Name: "x", Command: &release.Command{Shell: "y", Backward: true}}),
		"rehearse":    step(release.Step{Name: "x", Command: &release.Command{Shell: "y", Rehearse: true}}),
		"status":      step(release.Step{Name: "x", Command: &release.Command{Shell: "y", Status: true}}),
		"on":          step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, On: map[string]string{"a": "b"}}),
		"need":        step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, On: map[string]string{"a": "b"}, Need: rollout.Need{Hosts: 50}}),
		"share":       step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, On: map[string]string{"a": "b"}, Need: rollout.Need{Percent: 50}}),
		"atOnce":      step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, On: map[string]string{"a": "b"}, AtOnce: 50}),
		"its timeout": step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, Timeout: rollout.Duration(time.Hour)}),
		"its retries": step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, Retries: 3}),
		"its backoff": step(release.Step{Name: "x", Command: &release.Command{Shell: "y"}, Retries: 3, Backoff: rollout.Duration(time.Minute)}),
		"check":       step(release.Step{Name: "x", Check: &release.Check{Shell: "y"}}),
		"its words":   step(release.Step{Name: "x", Check: &release.Check{Args: []string{"y"}}}),
		"http":        step(release.Step{Name: "x", Check: &release.Check{HTTP: "y"}}),
		"expect":      step(release.Step{Name: "x", Check: &release.Check{HTTP: "y", Expect: 200}}),
		"contains":    step(release.Step{Name: "x", Check: &release.Check{HTTP: "y", Contains: "z"}}),
		"message":     step(release.Step{Name: "x", Check: &release.Check{Message: "y"}}),
		"payload":     step(release.Step{Name: "x", Check: &release.Check{Message: "y", Payload: "z"}}),
		"tries":       step(release.Step{Name: "x", Check: &release.Check{HTTP: "y", Tries: 2}}),
		"pause":       step(release.Step{Name: "x", Check: &release.Check{HTTP: "y", Pause: time.Hour}}),
		"healthyFor":  step(release.Step{Name: "x", Check: &release.Check{HTTP: "y", HealthyFor: time.Hour}}),
		"within":      step(release.Step{Name: "x", Check: &release.Check{HTTP: "y", Within: time.Hour}}),
		"required":    approvals(rollout.Policy{Required: true}),
		"by":          approvals(rollout.Policy{By: []string{"ann"}}),
		"count":       approvals(rollout.Policy{Count: 2}),
		"notStarter":  approvals(rollout.Policy{NotStarter: true}),
		"rehearsed":   approvals(rollout.Policy{Rehearsed: rollout.Duration(time.Hour)}),
		"reminder":    approvals(rollout.Policy{Deadline: rollout.Duration(time.Hour)}),
		"rate":        func(m *release.Manifest) { m.Services[0].Pace = &protocol.Pace{Rate: new(8.0)} },
	} {
		m := parse(t, digested)
		change(m)
		digest := m.Digest()
		if other, twice := seen[digest]; twice {
			t.Errorf("a change of %s has the same digest as a change of %s", name, other)
		}
		seen[digest] = name
	}
}

func step(s release.Step) func(*release.Manifest) {
	return func(m *release.Manifest) { m.Steps = []release.Step{s} }
}

func approvals(a rollout.Policy) func(*release.Manifest) {
	return func(m *release.Manifest) { m.Environment.Approvals = a }
}

// TestDigestIsThatOfTheReleaseInItsEnvironment holds that the place of the bus does not
// count, nor the environment's name.
func TestDigestIsThatOfTheReleaseInItsEnvironment(t *testing.T) {
	const text = digested + "environments:\n  one: {nats: nats://one:4222, creds: one.creds}\n  two: {context: two}\n  three: {services: {b: {instances: 2}}}\n"
	digest := func(environment string) string {
		m, err := release.ParseFor("golive.yaml", []byte(text), environment)
		if err != nil {
			t.Fatal(err)
		}
		return m.Digest()
	}
	plain := parse(t, digested).Digest()
	if digest("") != plain || digest("one") != plain || digest("two") != plain {
		t.Error("it depends on where the bus is, or on what is different elsewhere")
	}
	if digest("three") == plain {
		t.Error("it does not depend on what is different")
	}
}

func TestDigestDoesNotDependOnHowStepsAreWritten(t *testing.T) {
	const long = head + `
services: {b: {version: 1.0.0}, c: {version: 1.0.0}}
steps:
  - {traffic: maintenance-on, services: [c, b]}
  - phase: online
  - {name: x, check: {http: "http://b/", tries: 1, pause: 1000ms, within: 10s}, on: {a: b, c: d}, need: all, retries: 1, backoff: 1s}
approvals: {required: false, by: [], count: 1, notStarter: false}
autoRevert: false
`
	const short = head + `
services: {b: {version: 1.0.0}, c: {version: 1.0.0}}
steps:
  - {services: [b, c], traffic: maintenance-on}
  - {phase: online}
  - {retries: 1, on: {c: d, a: b}, check: {http: "http://b/"}, name: x}
`
	if parse(t, long).Digest() != parse(t, short).Digest() {
		t.Error("it does")
	}
}

func TestDigestDoesNotDependOnWhetherADefaultIsWritten(t *testing.T) {
	silent, written := parse(t, one("retries: 1")), parse(t, one(retried("1000ms")))
	if silent.Digest() != written.Digest() {
		t.Error("it does")
	}
}

func TestDigestDoesNotDependOnTheOrderOfWhatStaysOnline(t *testing.T) {
	first, other := parse(t, one("keepOnline: [0.0.1, 0.0.2]")), parse(t, one("keepOnline: [0.0.2, 0.0.1]"))
	if first.Digest() != other.Digest() {
		t.Error("it does")
	}
	if other.Services[0].KeepOnline[0] != "0.0.2" {
		t.Errorf("the order has changed: %q", other.Services[0].KeepOnline)
	}
}

func TestDigestDoesNotDependOnTheOrderOfWhatMustNotBeSkipped(t *testing.T) {
	first, other := parse(t, head+"mustNotSkip: [0.0.1, 0.0.2]"), parse(t, head+"mustNotSkip: [0.0.2, 0.0.1]")
	if first.Digest() != other.Digest() {
		t.Error("it does")
	}
	if other.MustNotSkip[0] != "0.0.2" {
		t.Errorf("the order has changed: %q", other.MustNotSkip)
	}
}

func TestDigestLeavesTheManifestAlone(t *testing.T) {
	m := parse(t, "app: a\nversion: 1.0.0\nservices:\n  c: {version: 1.0.0, dependsOn: [z, b]}\n  b: {version: 1.0.0}\n  z: {version: 1.0.0}\n")
	m.Digest()
	if m.Services[0].Name != "c" || m.Services[0].DependsOn[0] != "z" {
		t.Errorf("the order has changed: %+v", m.Services)
	}
}
