package release

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/golive-dev/golive/orchestrator/rollout"
)

// label is what a label of an agent and its value look like.
var label = regexp.MustCompile(fmt.Sprintf(`^[A-Za-z0-9._/-]{1,%d}$`, maxLabel))

// maxLabel is how many characters a label may have, and its value.
const maxLabel = 63

// readLabels reads on which agents a step runs.
func readLabels(v value) map[string]string {
	entries, ok := v.entries("a map of labels like {role: web}")
	switch {
	case !ok:
		return nil
	case len(entries) == 0:
		v.report("leave the key out for any one agent", "there is no label in it")
	case len(entries) > rollout.MaxLabels:
		e := entries[rollout.MaxLabels].value
		e.reportKey("", "this is label %d: at most %d are allowed", rollout.MaxLabels+1, rollout.MaxLabels)
		entries = entries[:rollout.MaxLabels]
	}
	labels := map[string]string{}
	for _, e := range entries {
		if !label.MatchString(e.name) {
			e.value.reportKey("", labelRule, "label", quote(e.name), maxLabel)
		}
		labels[e.name] = readLabelValue(e.value)
	}
	return labels
}

const labelRule = "the %s %s must be 1 to %d letters, digits, dots, slashes, hyphens and underscores"

// readLabelValue reads the value of a label.
func readLabelValue(v value) string {
	plain, ok := v.plain()
	if !ok {
		return ""
	}
	text, ok := textOf(plain.node)
	switch {
	case !ok:
		plain.report(asText(plain.node), "expected text, found %s", describe(plain.node))
	case !label.MatchString(text):
		plain.report("", labelRule, "value", quote(text), maxLabel)
	}
	return text
}

// needsOn reports a key of a step that means something on several hosts only.
func needsOn(v value, s *Step) {
	v.later(func() { // the labels may stand below
		if s.On == nil {
			v.reportKey("give labels of agents, such as on: {role: web}, or remove it", "without on the step runs on one host, and this has no effect")
		}
	})
}

// allHosts is the need of all hosts.
const allHosts = "all"

// readNeed reads how many hosts must succeed.
func readNeed(v value) rollout.Need {
	want := fmt.Sprintf(`%s, a number of hosts from 1 to %d, or a share of them from "1%%" to "100%%"`, allHosts, rollout.MaxHosts)
	plain, ok := v.plain()
	if !ok {
		return rollout.Need{}
	}
	if number, ok := plain.node.(*ast.IntegerNode); ok {
		n, ok := wholeOf(number)
		if !ok || n < 1 || n > rollout.MaxHosts {
			plain.wrongNumber(want)
			return rollout.Need{}
		}
		return rollout.Need{Hosts: int(n)}
	}
	text, _ := textOf(plain.node)
	digits, isShare := strings.CutSuffix(text, "%")
	percent, err := strconv.ParseUint(digits, 10, 8)
	switch {
	case text == allHosts:
	case isShare && err == nil && percent >= 1 && percent <= 100 && wholeNumber.MatchString(digits):
		return rollout.Need{Percent: int(percent)}
	default:
		plain.wrong(want)
	}
	return rollout.Need{}
}
