package release_test

import (
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
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
  c: {migrations: [offline], dependsOn: [b], version: 1.0.0, instances: 1, keepOnline: [], retries: 0, pace: {}}
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
		"strategy":    func(m *release.Manifest) { m.Strategy = release.Downtime },
		"retryAfter":  func(m *release.Manifest) { m.RetryAfter = time.Minute },
		"mustNotSkip": func(m *release.Manifest) { m.MustNotSkip = []string{"0.0.1"} },
		"setup":       func(m *release.Manifest) { m.Setup = release.Setup{} },
		"services":    func(m *release.Manifest) { m.Services = m.Services[:2] },
		"name":        func(m *release.Manifest) { m.Services[2].Name = "x" },
		"of service":  func(m *release.Manifest) { m.Services[0].Version = "2.0.0" },
		"migrations":  func(m *release.Manifest) { m.Services[0].Migrations = []protocol.Phase{protocol.Online} },
		"dependsOn":   func(m *release.Manifest) { m.Services[2].DependsOn = []string{"b"} },
		"timeout":     func(m *release.Manifest) { m.Services[0].Timeout = 0 },
		"retries":     func(m *release.Manifest) { m.Services[0].Retries = 3 },
		"backoff":     func(m *release.Manifest) { m.Services[0].Backoff = time.Minute },
		"instances":   func(m *release.Manifest) { m.Services[0].Instances = 0 },
		"keepOnline":  func(m *release.Manifest) { m.Services[0].KeepOnline = []string{"0.0.1"} },
		"pace":        func(m *release.Manifest) { m.Services[0].Pace = &protocol.Pace{InFlight: 8} },
		"no limit":    func(m *release.Manifest) { m.Services[0].Pace = &protocol.Pace{Rate: new(0.0)} },
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
