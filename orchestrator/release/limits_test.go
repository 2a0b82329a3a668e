package release_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golive-dev/golive/orchestrator/release"
)

func TestLimits(t *testing.T) {
	for _, c := range []struct {
		name           string
		allowed, above string
		want           string // the problem of what is above
	}{
		{"size", sized(release.MaxSize), sized(release.MaxSize + 1),
			"golive.yaml:1:1: the manifest is larger than 1048576 bytes (1 MiB), the most that is allowed"},
		{"services", services(release.MaxServices), services(release.MaxServices + 1),
			"golive.yaml:504:3: services.s501: this is service 501: at most 500 are allowed"},
		{"instances", one("instances: 1000"), one("instances: 1001"),
			"golive.yaml:6:16: services.b.instances: expected a whole number from 0 to 1000, found the number 1001"},
		{"no instances", one("instances: 0"), one("instances: -1"),
			"golive.yaml:6:16: services.b.instances: expected a whole number from 0 to 1000, found the number -1"},
		{"timeout", one("timeout: 720h"), one("timeout: 720h0m0.000000001s"),
			`golive.yaml:6:14: services.b.timeout: a timeout is at most 720h (30 days), found "720h0m0.000000001s"`},
		{"no timeout", one("timeout: 1ns"), one("timeout: 0s"),
			`golive.yaml:6:14: services.b.timeout: a timeout must be longer than 0, found "0s"`},
		{"retries", one("retries: 100"), one("retries: 101"),
			"golive.yaml:6:14: services.b.retries: expected a whole number from 0 to 100, found the number 101"},
		{"no retries", one("retries: 0"), one("retries: -1"),
			"golive.yaml:6:14: services.b.retries: expected a whole number from 0 to 100, found the number -1"},
		{"backoff", one(retried("5m")), one(retried("5m0.000000001s")),
			`golive.yaml:7:14: services.b.backoff: a pause is at most 5m, found "5m0.000000001s"`},
		{"little backoff", one(retried("100ms")), one(retried("99999999ns")),
			`golive.yaml:7:14: services.b.backoff: a pause is at least 100ms, found "99999999ns"`},
		{"streams", one("state: {streams: " + manyWords(100) + "}"), one("state: {streams: " + manyWords(101) + "}"),
			"golive.yaml:6:513: services.b.state.streams[100]: this is stream 101: at most 100 are allowed"},
		{"golive's own", one("state: {kv: [golivex]}"), one("state: {kv: [golive-routes]}"),
			"golive.yaml:6:18: services.b.state.kv[0]: golive-routes is golive's own, and no data of a service"},
		{"name of a stream", one("state: {streams: [" + strings.Repeat("A", 200) + "]}"), one("state: {streams: [A.B]}"),
			`golive.yaml:6:23: services.b.state.streams[0]: "A.B" is no name of a stream or a bucket: those have 1 to 200 letters, digits, - and _`},
		{"time of a state", one("state: {messages: true, timeout: 24h}"), one("state: {messages: true, timeout: 24h0m0.000000001s}"),
			`golive.yaml:6:38: services.b.state.timeout: a timeout is at most 24h, found "24h0m0.000000001s"`},
		{"little time of a state", one("state: {messages: true, timeout: 1s}"), one("state: {messages: true, timeout: 999ms}"),
			`golive.yaml:6:38: services.b.state.timeout: a timeout is at least 1s, found "999ms"`},
		{"size of a state", one("state: {command: [x], maxMB: 1048576}"), one("state: {command: [x], maxMB: 1048577}"),
			"golive.yaml:6:34: services.b.state.maxMB: expected a whole number from 1 to 1048576, found the number 1048577"},
		{"snapshots", head + "snapshots: {keep: 1000}", head + "snapshots: {keep: 1001}", "golive.yaml:3:19: snapshots.keep: expected a whole number from 0 to 1000, found the number 1001"},
		{"inFlight", one("pace: {inFlight: 1024}"), one("pace: {inFlight: 1025}"),
			"golive.yaml:6:22: services.b.pace.inFlight: expected a whole number from 0 to 1024, found the number 1025"},
		{"little inFlight", one("pace: {inFlight: 1}"), one("pace: {inFlight: 0}"),
			"golive.yaml:6:22: services.b.pace.inFlight: at least one batch must be under way, found the number 0"},
		{"rate", one("pace: {rate: 0}"), one("pace: {rate: -0.1}"),
			"golive.yaml:6:18: services.b.pace.rate: expected a number of records a second, 0 (no limit) or more, found the number -0.1"},
		{"little rate", one("pace: {rate: 0.001}"), one("pace: {rate: 0.000999}"),
			"golive.yaml:6:18: services.b.pace.rate: a rate is 0 (no limit) or at least 0.001 records a second, found the number 0.000999"},
		{"keepOnline", one("keepOnline: " + versions(release.MaxKeepOnline)), one("keepOnline: " + versions(release.MaxKeepOnline+1)),
			"golive.yaml:6:136: services.b.keepOnline[16]: this is version 17: at most 16 are allowed"},
		{"mustNotSkip", head + "mustNotSkip: " + versions(release.MaxMustNotSkip), head + "mustNotSkip: " + versions(release.MaxMustNotSkip+1),
			"golive.yaml:3:805: mustNotSkip[100]: this is version 101: at most 100 are allowed"},
		{"newest in mustNotSkip", head + "mustNotSkip: [1.0.0]", head + "mustNotSkip: [1.0.1-0]",
			`golive.yaml:3:15: mustNotSkip[0]: "1.0.1-0" is newer than the app's version "1.0.0"`},
		{"retryAfter", head + "retryAfter: 1h", head + "retryAfter: 1h0m1s",
			`golive.yaml:3:13: retryAfter: a time to wait is at most 1h, found "1h0m1s"`},
		{"little retryAfter", head + "retryAfter: 1s", head + "retryAfter: 999ms",
			`golive.yaml:3:13: retryAfter: a time to wait is at least 1s, found "999ms"`},
		{"whole seconds", head + "retryAfter: 2s", head + "retryAfter: 2s1ns",
			`golive.yaml:3:13: retryAfter: a time to wait must be whole seconds, found "2s1ns"`},
		{"name", named(63), named(64),
			`golive.yaml:1:6: app: name "` + strings.Repeat("a", 64) + `" is 64 characters long, at most 63 are allowed`},
		{"blank lines", head + "services:" + strings.Repeat("\n", 101) + "  {}\n", head + "services:" + strings.Repeat("\r", 102) + "  {}\n",
			"golive.yaml:105:1: more than 100 blank lines in a row"},
		{"nesting", head + "services: {b: {version: 1.0.0}}", head + "x: " + strings.Repeat("[", 21),
			"golive.yaml:3:24: lists and maps are nested more than 20 deep"},
		{"tokens", one(words(49_980)), one(words(50_000)),
			"golive.yaml:6:199979: more than 100000 words and signs"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parse(t, c.allowed)
			if got := onlyProblem(t, c.above).Error(); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestTooManyKeysAreRefusedBeforeTheyAreRead(t *testing.T) {
	got := onlyProblem(t, head+strings.Repeat("x: 1\n", 10_000))
	if got.Line != 10_001 || got.Message != "more than 10000 keys" {
		t.Errorf("got %v", got)
	}
}

// sized is a manifest of so many bytes.
func sized(size int) string {
	return head + "#" + strings.Repeat("x", size-len(head)-2) + "\n"
}

// services is a manifest of so many services.
func services(count int) string {
	var b strings.Builder
	b.WriteString(head + "services:\n")
	for i := range count {
		fmt.Fprintf(&b, "  s%d: {version: 1.0.0}\n", i+1)
	}
	return b.String()
}

// one is a manifest of one service with this key.
func one(key string) string {
	return head + "services:\n  b:\n    version: 1.0.0\n    " + key + "\n"
}

func named(length int) string {
	return "app: " + strings.Repeat("a", length) + "\nversion: 1.0.0\n"
}

// retried are the keys of a service that is tried again after such a pause.
func retried(backoff string) string {
	return "retries: 1\n    backoff: " + backoff
}

// versions is a list of so many versions.
func versions(count int) string {
	versions := make([]string, count)
	for i := range versions {
		versions[i] = fmt.Sprintf("0.0.%d", i)
	}
	return "[" + strings.Join(versions, ", ") + "]"
}

// words is a command of so many words.
func words(count int) string {
	return "run: [" + strings.Repeat("xx, ", count) + "]"
}

// TestHostileInputIsReadInAShortTime holds what takes the YAML library minutes, or
// all memory, if it is let through.
func TestHostileInputIsReadInAShortTime(t *testing.T) {
	for name, part := range map[string]string{
		"blank lines of a block": "\n", "spaces of a block": "   \n", "open lists": "[", "open maps": "{a: ",
		"lists in lists": "- ", "empty entries": "-\n", "keys": "a: b\n", "keys without value": "a:\n",
		"tags": "!a\n", "anchors": "&a\n", "aliases": "*a\n", "question marks": "? ", "documents": "---\n", "quotes": "\"\"\n",
		"nested blocks": "- - - - - - -\n", "blank lines and text": strings.Repeat("\n", 99) + "  a\n", "empty maps": "{},",
	} {
		for _, before := range []string{"a: |\n", "services: {"} {
			t.Run(name+" behind "+before, func(t *testing.T) {
				refusedSoon(t, before+strings.Repeat(part, release.MaxSize/4/len(part)))
			})
		}
	}
}

// TestWhatTheGuardsLetThroughIsReadInAShortTime goes near to
// what they allow.
func TestWhatTheGuardsLetThroughIsReadInAShortTime(t *testing.T) {
	if testing.Short() {
		t.Skip("takes long: without -short it runs")
	}
	for name, text := range map[string]string{
		"empty entries":          strings.Repeat("-\n", 40_000),
		"empty entries in lists": strings.Repeat("- -\n", 20_000),
		"entries":                "[" + strings.Repeat("a,", 49_000) + "]",
		"keys":                   strings.Repeat("a: b\n", 9_999),
		"keys without value":     strings.Repeat("a:\n", 9_999),
		"keys in braces":         "{" + strings.Repeat("a,", 20_000) + "}",
		"empty maps":             "[" + strings.Repeat("{},", 33_000) + "]",
		"tags":                   strings.Repeat("!a\n", 49_000),
		"anchors":                strings.Repeat("&a\n", 49_000),
		"aliases":                "[" + strings.Repeat("*a,", 33_000) + "]",
		"stairs":                 stairs(1_400),
		"versions":               "services: {b: {version: 1.0.0, keepOnline: [" + strings.Repeat("1.0.0,", 49_000) + "]}}",
		"versions of the app":    "app: a\nmustNotSkip: " + versions(40_000) + "\nversion: 0.0.1\n",
		"unknown services":       knot(release.MaxServices, 20, func(service, i int) int { return 10_000 + service*100 + i }),
		"cycles":                 knot(release.MaxServices, 60, func(service, i int) int { return (service + i) % release.MaxServices }),
	} {
		t.Run(name, func(t *testing.T) { refusedSoon(t, text) })
	}
}

// stairs are maps in maps by indentation.
func stairs(steps int) string {
	var b strings.Builder
	for i := range steps {
		b.WriteString(strings.Repeat(" ", i) + "a:\n")
	}
	return b.String()
}

// knot is a manifest whose services have so many dependencies each.
func knot(services, each int, on func(service, i int) int) string {
	var b strings.Builder
	b.WriteString(head + "services:\n")
	for s := range services {
		fmt.Fprintf(&b, "  service-%05d: {version: 1.0.0, dependsOn: [", s)
		for i := range each {
			fmt.Fprintf(&b, "service-%05d, ", on(s, i))
		}
		b.WriteString("]}\n")
	}
	return b.String()
}

func refusedSoon(t *testing.T, text string) {
	t.Helper()
	if len(text) > release.MaxSize {
		t.Fatalf("%d bytes are refused for their number", len(text))
	}
	began := time.Now()
	if _, err := release.Parse("golive.yaml", []byte(text)); err == nil {
		t.Error("it is taken for a manifest")
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it took %v", took)
	}
}
