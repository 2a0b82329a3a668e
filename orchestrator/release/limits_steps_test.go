package release_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

func TestLimitsOfSteps(t *testing.T) {
	for _, c := range []struct {
		name           string
		allowed, above string
		want           string // the problem of what is above
	}{
		{"steps", manySteps(rollout.MaxItems), manySteps(rollout.MaxItems + 1), "steps[200]: this is step 201: at most 200 are allowed"},
		{"checklist", asked("y", "checklist: "+manyWords(100)), asked("y", "checklist: "+manyWords(101)), "steps[1].checklist[100]: this is item 101: at most 100 are allowed"},
		{"text", asked(strings.Repeat("y", 2000)), asked(strings.Repeat("y", 2001)), "steps[1].approval: the text is 2001 bytes long, at most 2000 are allowed"},
		{"item", asked("y", "checklist: ["+strings.Repeat("z", 2000)+"]"), asked("y", "checklist: ["+strings.Repeat("z", 2001)+"]"),
			"steps[1].checklist[0]: the text is 2001 bytes long, at most 2000 are allowed"},
		{"deadline", asked("y", "deadline: 2160h"), asked("y", "deadline: 2160h1ns"), `steps[1].deadline: a deadline is at most 2160h, found "2160h1ns"`},
		{"little deadline", asked("y", "deadline: 1s"), asked("y", "deadline: 999ms"), `steps[1].deadline: a deadline is at least 1s, found "999ms"`},
		{"labels", run("on: " + labels(16)), run("on: " + labels(17)), "steps[1].on.l16: this is label 17: at most 16 are allowed"},
		{"label", run("on: {a: " + strings.Repeat("y", 63) + "}"), run("on: {a: " + strings.Repeat("y", 64) + "}"),
			`steps[1].on.a: the value "` + strings.Repeat("y", 64) + `" must be 1 to 63 letters, digits, dots, slashes, hyphens and underscores`},
		{"need", run("on: {a: b}, need: 1000"), run("on: {a: b}, need: 1001"), needWanted + "found the number 1001"},
		{"little need", run("on: {a: b}, need: 1"), run("on: {a: b}, need: 0"), needWanted + "found the number 0"},
		{"share", run("on: {a: b}, need: 100%"), run("on: {a: b}, need: 101%"), needWanted + `found the text "101%"`},
		{"little share", run("on: {a: b}, need: 1%"), run("on: {a: b}, need: 0%"), needWanted + `found the text "0%"`},
		{"atOnce", run("on: {a: b}, atOnce: 1000"), run("on: {a: b}, atOnce: 1001"), "steps[1].atOnce: expected a whole number from 1 to 1000, found the number 1001"},
		{"timeout", run("timeout: 720h"), run("timeout: 721h"), `steps[1].timeout: a timeout is at most 720h (30 days), found "721h"`},
		{"retries", run("retries: 100"), run("retries: 101"), "steps[1].retries: expected a whole number from 0 to 100, found the number 101"},
		{"backoff", run("retries: 1, backoff: 5m"), run("retries: 1, backoff: 301s"), `steps[1].backoff: a pause is at most 5m, found "301s"`},
		{"tries", look("tries: 1000"), look("tries: 1001"), "steps[1].check.tries: expected a whole number from 1 to 1000, found the number 1001"},
		{"no tries", look("tries: 1"), look("tries: 0"), "steps[1].check.tries: expected a whole number from 1 to 1000, found the number 0"},
		{"pause", look("pause: 1h"), look("pause: 61m"), `steps[1].check.pause: a pause is at most 1h, found "61m"`},
		{"little pause", look("pause: 100ms"), look("pause: 99ms"), `steps[1].check.pause: a pause is at least 100ms, found "99ms"`},
		{"healthyFor", look("healthyFor: 24h"), look("healthyFor: 24h1s"), `steps[1].check.healthyFor: a time to be well is at most 24h, found "24h1s"`},
		{"no healthyFor", look("healthyFor: 1ns"), look("healthyFor: 0s"), `steps[1].check.healthyFor: a time to be well must be longer than 0, found "0s"`},
		{"within", look("within: 1h"), look("within: 1h1s"), `steps[1].check.within: the time of a try is at most 1h, found "1h1s"`},
		{"no within", look("within: 1ns"), look("within: -1ns"), `steps[1].check.within: the time of a try must be longer than 0, found "-1ns"`},
		{"expect", look("expect: 599"), look("expect: 600"), "steps[1].check.expect: expected a whole number from 100 to 599, found the number 600"},
		{"little expect", look("expect: 100"), look("expect: 99"), "steps[1].check.expect: expected a whole number from 100 to 599, found the number 99"},
		{"contains", look("contains: " + strings.Repeat("y", 2000)), look("contains: " + strings.Repeat("y", 2001)),
			"steps[1].check.contains: the text is 2001 bytes long, at most 2000 are allowed"},
		{"approvers", head + "approvals: {by: " + manyWords(100) + "}", head + "approvals: {by: " + manyWords(101) + "}",
			"approvals.by[100]: this is user 101: at most 100 are allowed"},
		{"count", head + "approvals: {count: 100}", head + "approvals: {count: 101}", "approvals.count: expected a whole number from 1 to 100, found the number 101"},
		{"as many as there are", head + "approvals: {count: 2, by: [a, b]}", head + "approvals: {count: 3, by: [a, b]}", "approvals.count: 3 people have to approve, but by names 2"},
		{"rehearsed", head + "approvals: {rehearsed: 720h}", head + "approvals: {rehearsed: 720h1s}", `approvals.rehearsed: the time since a rehearsal is at most 720h, found "720h1s"`},
		{"just rehearsed", head + "approvals: {rehearsed: 1m}", head + "approvals: {rehearsed: 59s}", `approvals.rehearsed: the time since a rehearsal is at least 1m, found "59s"`},
		{"older", head + "requires: {version: 1.0.0-rc.1}", head + "requires: {version: 1.0.0}", `requires.version: "1.0.0" is not older than the app's version "1.0.0"`},
		{"environments", head + environments("{}"), head + environments("{}") + "  more: {}\n", "environments.more: this is environment 51: at most 50 are allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			parse(t, c.allowed)
			if _, got, _ := strings.Cut(onlyProblem(t, c.above).Error(), ": "); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

const needWanted = `steps[1].need: expected all, a number of hosts from 1 to 1000, or a share of them from "1%" to "100%", `

// stepped is a manifest with a step behind the online phase.
func stepped(step string) string {
	return head + "services: {b: {version: 1.0.0}}\nsteps:\n  - phase: online\n  - " + step + "\n"
}

func asked(text string, more ...string) string {
	return stepped("{" + strings.Join(append([]string{"name: x, approval: " + text}, more...), ", ") + "}")
}

func run(keys string) string { return stepped("{name: x, command: [y], " + keys + "}") }

func look(keys string) string { return stepped(`{name: x, check: {http: "http://b/", ` + keys + "}}") }

// manySteps is a manifest of so many steps.
func manySteps(count int) string {
	var b strings.Builder
	b.WriteString(head + "services: {b: {version: 1.0.0}}\nsteps:\n  - phase: online\n")
	for i := range count - 1 {
		fmt.Fprintf(&b, "  - {name: s%d, shell: y}\n", i)
	}
	return b.String()
}

// manyWords is a list of so many different words.
func manyWords(count int) string {
	words := make([]string, count)
	for i := range words {
		words[i] = fmt.Sprintf("w%d", i)
	}
	return "[" + strings.Join(words, ", ") + "]"
}

// labels is a map of so many labels.
func labels(count int) string {
	labels := make([]string, count)
	for i := range labels {
		labels[i] = fmt.Sprintf("l%d: x", i)
	}
	return "{" + strings.Join(labels, ", ") + "}"
}
