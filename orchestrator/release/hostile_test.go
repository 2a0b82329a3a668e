package release_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
)

// environments is a block of as many environments as there may be.
func environments(each string) string {
	var b strings.Builder
	b.WriteString("environments:\n")
	for i := range release.MaxEnvironments {
		fmt.Fprintf(&b, "  e%d: %s\n", i, each)
	}
	return b.String()
}

// TestManyEnvironmentsAreReadInAShortTime holds manifests that take long each time that
// they are read, with as many environments as there may be.
func TestManyEnvironmentsAreReadInAShortTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: without -short it runs")
	}
	for name, text := range map[string]string{
		"cycles":           knot(release.MaxServices, 60, func(service, i int) int { return (service + i) % release.MaxServices }),
		"unknown services": knot(release.MaxServices, 20, func(service, i int) int { return 10_000 + service*100 + i }),
		"stairs":           head + stairs(1_400),
		"versions":         head + "mustNotSkip: " + versions(40_000) + "\n",
	} {
		t.Run(name, func(t *testing.T) { refusedSoon(t, text+environments("{strategy: downtime}")) })
	}
	for name, each := range map[string]string{
		"cycles of an environment": "{services: {service-00000: {dependsOn: [service-00000]}}}",
		"steps":                    "{steps: [" + strings.Repeat("{phase: online},", 200) + "]}",
	} {
		t.Run(name, func(t *testing.T) {
			refusedSoon(t, knot(release.MaxServices, 20, func(service, i int) int { return min(service+i+1, release.MaxServices) })+environments(each))
		})
	}
}

// TestALargeManifestOfManyEnvironmentsIsReadInAShortTime holds one that is valid.
func TestALargeManifestOfManyEnvironmentsIsReadInAShortTime(t *testing.T) {
	var b strings.Builder
	b.WriteString(head + "services:\n")
	for i := range release.MaxServices {
		fmt.Fprintf(&b, "  s%d: {version: 1.0.0, run: [a, b], setup: [a, b], migrations: [online], timeout: 1h, retries: 3, backoff: 1s, keepOnline: [0.0.1], pace: {rate: 1, inFlight: 3}}\n", i)
	}
	text := b.String() + environments("{services: {s7: {instances: 3}}}")
	began := time.Now()
	m, err := release.ParseFor("golive.yaml", []byte(text), "e7")
	if took := time.Since(began); err != nil || m.Services[7].Instances != 3 || took > 30*time.Second {
		t.Errorf("it took %v: %v", took, err)
	}
	t.Log(time.Since(began))
}
